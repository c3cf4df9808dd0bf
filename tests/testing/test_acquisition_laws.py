"""A law that cannot fail proves nothing: each is held against what breaks it."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from aemtwin.testing.acquisitions import ACQUISITION_LAWS, check_acquisition, pool


class Sound:
    """Two standard deviations above the mean: breaks nothing."""

    name = "sound"

    def score(self, mean, sd, context):
        return mean + 2 * sd

    def __call__(self, posterior, context):
        scores = self.score(posterior.mean, np.sqrt(posterior.variance), context)
        return np.where(context.measured, -np.inf, scores)


class SoundOrder:
    """Row by row: breaks nothing."""

    name = "rows"

    def order(self, seed, shape):
        return np.arange(shape[0] * shape[1])


class HasNoName(Sound):
    name = ""


class ForgetsWhatWasMeasured(Sound):
    def __call__(self, posterior, context):
        return posterior.mean


class NeedsDoubt(Sound):
    def score(self, mean, sd, context):
        with np.errstate(divide="ignore"):
            return np.log(sd)


class FollowsItsOwnChance(Sound):
    def score(self, mean, sd, context):
        return mean + np.random.default_rng().normal(size=len(mean))


class MarksTheBelief(Sound):
    def __call__(self, posterior, context):
        posterior.variance[context.measured] = 0.0
        return super().__call__(posterior, context)


class PrefersTheFirst(Sound):
    def score(self, mean, sd, context):
        return mean - 0.1 * np.arange(len(mean))


class TakesUnitsAsTheyAre(Sound):
    def score(self, mean, sd, context):
        return mean + 2 * sd**2


class CompilesForEveryCall(Sound):
    def score(self, mean, sd, context):
        return np.asarray(jax.jit(lambda a: 2 * a)(mean), float)


class ComesBack(SoundOrder):
    def order(self, seed, shape):
        return np.zeros(shape[0] * shape[1], int)


class HasNoSeed(SoundOrder):
    def order(self, seed, shape):
        return np.random.default_rng().permutation(shape[0] * shape[1])


BREAKS = [
    (HasNoName, "it_satisfies_a_protocol_and_names_itself"),
    (
        ForgetsWhatWasMeasured,
        "a_measured_candidate_scores_lowest_and_every_other_a_finite_number",
    ),
    (NeedsDoubt, "a_measured_candidate_scores_lowest_and_every_other_a_finite_number"),
    (FollowsItsOwnChance, "the_same_belief_gives_the_same_bits"),
    (MarksTheBelief, "scoring_changes_nothing_it_is_given"),
    (PrefersTheFirst, "the_order_of_candidates_does_not_matter"),
    (TakesUnitsAsTheyAre, "the_unit_of_y_moves_no_choice"),
    (CompilesForEveryCall, "nothing_is_compiled_after_the_first_call"),
    (ComesBack, "an_order_has_every_candidate_once"),
    (HasNoSeed, "an_order_has_every_candidate_once"),
]


@pytest.mark.parametrize("kind", [Sound, SoundOrder])
def test_what_breaks_nothing_passes(kind):
    outcomes = {r.name: r.outcome for r in check_acquisition(kind)}
    assert "failed" not in outcomes.values()
    assert list(outcomes) == list(ACQUISITION_LAWS)
    assert list(outcomes.values()).count("skipped") == (1 if kind is Sound else 6)


@pytest.mark.parametrize(("kind", "law"), BREAKS)
def test_what_is_broken_fails_its_law(kind, law):
    (result,) = check_acquisition(kind(), [ACQUISITION_LAWS[law]])
    assert result.outcome == "failed"
    assert len(result.told) > 20


def test_every_law_is_shown_to_fail():
    assert {law for _, law in BREAKS} == set(ACQUISITION_LAWS)


def test_every_law_says_what_it_proves():
    for law in ACQUISITION_LAWS.values():
        assert law.proves.endswith("."), law.name
        assert "_" not in law.sentence


def test_the_pool_is_a_process_that_was_measured():
    at = pool()
    variance = np.diag(at.covariance)
    assert np.linalg.eigvalsh(at.covariance).min() > -1e-12
    assert variance[at.measured].max() < 0.04 < variance[~at.measured].max() <= 1.0
    cross = at.context.joint(np.array([3, 9]))
    np.testing.assert_array_equal(cross.covariance, at.covariance[[3, 9]])
