"""A law that cannot fail proves nothing: each is held against what breaks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
import pytest

from aemtwin.errors import BadConfig
from aemtwin.surrogates import get
from aemtwin.surrogates.base import Cross, Draws, Joint, Posterior, without_data
from aemtwin.testing.conformance import Skip, hold
from aemtwin.testing.learners import apart, digest, learner
from aemtwin.testing.surrogates import SURROGATE_LAWS, check_surrogate

NOISE = 0.1  # sd of a measurement, in spreads of y


class Fit(NamedTuple):
    fits: int  # so far
    mu: Any = None  # (f,), weights, in spreads of y
    S: Any = None  # (f, f), their covariance
    shift: float = 0.0
    spread: float = 1.0


@dataclass(frozen=True)
class Sound:
    """Bayesian linear regression on random waves: breaks nothing, and offers all."""

    refit_every: int = 1  # there is nothing to freeze
    name: ClassVar[str] = "sound"

    def phi(self, X):
        rng = np.random.default_rng(1)
        W, b = 3 * rng.normal(size=(np.shape(X)[1], 80)), rng.uniform(0, 7, 80)
        return np.cos(np.asarray(X, np.float64) @ W + b) * np.sqrt(2 / 80)

    def init(self, d):
        return Fit(0)

    def scale(self, y):
        return y.mean(), y.std() or abs(y[0]) or 1.0

    def fit(self, key, state, data):
        X, y = data.X[data.mask], data.y[data.mask]
        (shift, spread), F = self.scale(y), self.phi(X)
        S = np.linalg.inv(F.T @ F / NOISE**2 + np.eye(F.shape[1]))
        mu = S @ (F.T @ ((y - shift) / spread)) / NOISE**2
        info = {"finite": int(np.isfinite(mu).all()), "fits": state.fits + 1}
        return Fit(state.fits + 1, mu, S, shift, spread), info

    def predict(self, key, state, candidates):
        if state.mu is None:
            raise without_data("sound.predict")
        F, (_, mu, S, shift, spread) = self.phi(candidates), state
        return Posterior(shift + spread * F @ mu, spread**2 * np.sum(F @ S * F, axis=1))

    def draw(self, key, state, candidates):
        self.predict(key, state, candidates)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        w = rng.multivariate_normal(state.mu, state.S, method="cholesky")
        return state.shift + state.spread * self.phi(candidates) @ w

    def covariance(self, state, points, candidates):
        self.predict(None, state, points)
        at, F = self.phi(points), self.phi(candidates)
        noise = np.full(len(at), (NOISE * state.spread) ** 2)
        return Cross(state.spread**2 * at @ state.S @ F.T, noise)

    def carry(self, state):
        return {"fits": np.array(state.fits)}

    def restore(self, carried, d):
        return Fit(int(carried["fits"]))


class HasNoName(Sound):
    name = ""


class CountsItsReads(Sound):
    reads: ClassVar[list[int]] = []

    def predict(self, key, state, candidates):
        self.reads.append(1)
        mean, variance = super().predict(key, state, candidates)
        return Posterior(mean + 1e-9 * len(self.reads), variance)


class ForgetsToCarry(Sound):
    def carry(self, state):
        return {"fits": np.array(0)}


class CarriesEverything(Sound):
    def carry(self, state):
        return {**super().carry(state), "more": np.zeros(10**6)}


class CompilesForEveryNumberOfPoints(Sound):
    def fit(self, key, state, data):
        jax.jit(lambda y: 2 * y)(data.y[data.mask])
        return super().fit(key, state, data)


class LearnsFromPadding(Sound):
    def fit(self, key, state, data):
        return super().fit(key, state, data._replace(mask=np.ones_like(data.mask)))


class TrustsLaterPointsMore(Sound):
    def fit(self, key, state, data):
        rows = np.append(np.flatnonzero(data.mask), np.flatnonzero(data.mask)[7:])
        whole = np.ones(len(rows), bool)
        return super().fit(key, state, type(data)(data.X[rows], data.y[rows], whole))


class AddsToVariance(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(mean, variance + 1e-9)


class PullsTowardsZero(Sound):
    def scale(self, y):
        return 0.0, super().scale(y)[1]


class IsAlwaysContent(Sound):
    def fit(self, key, state, data):
        state, info = super().fit(key, state, data)
        return state, {**info, "finite": 1}


class TellsArrays(Sound):
    def fit(self, key, state, data):
        state, info = super().fit(key, state, data)
        return state, {**info, "spread": np.float64(state.spread)}


class TellsNoEnd(Sound):
    def fit(self, key, state, data):
        state, info = super().fit(key, state, data)
        return state, {**info, "nll": float("inf")}


class AnswersWithoutData(Sound):
    def predict(self, key, state, candidates):
        if state.mu is None:
            return Posterior(np.zeros(len(candidates)), np.ones(len(candidates)))
        return super().predict(key, state, candidates)


class RaisesPlainErrors(Sound):
    def predict(self, key, state, candidates):
        try:
            return super().predict(key, state, candidates)
        except BadConfig as error:
            raise ValueError(str(error)) from None


class ChangesItsState(Sound):
    def predict(self, key, state, candidates):
        found = super().predict(key, state, candidates)
        state.mu[0] += 1e-3
        return found


class CentresItsData(Sound):
    def fit(self, key, state, data):
        found = super().fit(key, state, data)
        data.y[data.mask] -= 1.0
        return found


class SeedsTheWorld(Sound):
    def fit(self, key, state, data):
        np.random.seed(0)  # noqa: NPY002
        return super().fit(key, state, data)


class ComputesAsItIsAsked(Sound):
    def phi(self, X):
        at = np.asarray(X)
        return super().phi(at).astype(at.dtype)  # float32 of float32


class GivesTwoColumns(Sound):
    def predict(self, key, state, candidates):
        found = super().predict(key, state, candidates)
        return Posterior(*(np.stack([a, a], axis=1) for a in found))


class IsNeverInDoubt(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(0.5 * mean, 0.0 * variance)


class NeedsASpread(Sound):
    def scale(self, y):
        with np.errstate(invalid="ignore", divide="ignore"):
            return y.mean(), np.float64(np.sum((y - y.mean()) ** 2)) / (len(y) - 1)


class NeedsDistinctPoints(Sound):
    def fit(self, key, state, data):
        X = data.X[data.mask]
        np.linalg.inv(np.linalg.norm(X[:, None] - X, axis=-1) - 2 * (len(X) == 1))
        return super().fit(key, state, data)


class DividesByTheRange(Sound):
    def fit(self, key, state, data):
        with np.errstate(invalid="ignore"):
            X = data.X[data.mask]
            scaled = (data.X - X.min(axis=0)) / np.ptp(X, axis=0)
        return super().fit(key, state, data._replace(X=scaled))


class KeepsHalfOfTheBits(Sound):
    def fit(self, key, state, data):
        with np.errstate(over="ignore", invalid="ignore"):
            half = data.y.astype(np.float16).astype(np.float64)
            return super().fit(key, state, data._replace(y=half))


class HasTheWrongSign(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(2 * state.shift - mean, variance)


class IsSurestFarAway(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(mean, np.maximum(4 * state.spread**2 - variance, 0))


class IsBelowZero(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(mean, variance - variance.mean())


class DrawsTooWide(Sound):
    def draw(self, key, state, candidates):
        mean = super().predict(key, state, candidates).mean
        return mean + 1.5 * (super().draw(key, state, candidates) - mean)


class DrawsBesideTheMean(Sound):
    def draw(self, key, state, candidates):
        return super().draw(key, state, candidates) + 0.5 * state.spread


class DrawsWithoutTheKey(Sound):
    def draw(self, key, state, candidates):
        return super().draw(jax.random.key(0), state, candidates)


class DrawsEachByItself(Sound):
    def draw(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return mean + np.sqrt(variance) * rng.normal(size=len(mean))


class TellsThePriorCovariance(Sound):
    def covariance(self, state, points, candidates):
        prior = state._replace(S=np.eye(len(state.mu)))
        return super().covariance(prior, points, candidates)


class TellsEachWithItself(Sound):
    def covariance(self, state, points, candidates):
        found = super().covariance(state, points, candidates)
        same = np.all(np.asarray(points)[:, None] == np.asarray(candidates), axis=-1)
        return found._replace(covariance=np.where(same, found.covariance, 0.0))


class TellsNoNoise(Sound):
    def covariance(self, state, points, candidates):
        found = super().covariance(state, points, candidates)
        return found._replace(noise=100 * found.noise)


class TakesEveryPair(Sound):
    def predict(self, key, state, candidates):
        found = super().predict(key, state, candidates)
        K = np.zeros((len(candidates), len(candidates)))  # room that is not touched
        return found._replace(mean=found.mean + K[0])


class ReadsOnlyTheFirst(Sound):
    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(np.where(np.arange(len(mean)) < 10_000, mean, 0.0), variance)


BREAKS: list[tuple[type[Sound], str]] = [
    (HasNoName, "it_satisfies_the_protocol_and_names_itself"),
    (CountsItsReads, "the_same_key_gives_the_same_bits"),
    (ForgetsToCarry, "a_fit_goes_on_from_what_was_carried"),
    (CarriesEverything, "what_is_carried_is_small"),
    (
        CompilesForEveryNumberOfPoints,
        "inside_a_bucket_nothing_is_compiled_after_the_first_step",
    ),
    (LearnsFromPadding, "padding_does_not_matter"),
    (TrustsLaterPointsMore, "the_order_of_points_does_not_matter"),
    (AddsToVariance, "the_unit_of_y_changes_nothing_but_the_unit"),
    (PullsTowardsZero, "where_y_is_zero_changes_nothing_but_the_mean"),
    (IsAlwaysContent, "data_that_are_not_finite_are_refused_or_told"),
    (TellsArrays, "info_holds_plain_finite_numbers"),
    (TellsNoEnd, "info_holds_plain_finite_numbers"),
    (AnswersWithoutData, "without_data_it_refuses_to_be_read"),
    (RaisesPlainErrors, "without_data_it_refuses_to_be_read"),
    (ChangesItsState, "nothing_changes_what_it_is_given"),
    (CentresItsData, "nothing_changes_what_it_is_given"),
    (SeedsTheWorld, "global_settings_are_left_alone"),
    (ComputesAsItIsAsked, "any_array_of_candidates_is_read"),
    (GivesTwoColumns, "any_array_of_candidates_is_read"),
    (IsNeverInDoubt, "a_constant_is_believed"),
    (NeedsASpread, "one_point_is_enough"),
    (NeedsDistinctPoints, "points_may_repeat_and_clash"),
    (DividesByTheRange, "points_may_lie_on_a_line"),
    (KeepsHalfOfTheBits, "one_huge_value_leaves_it_finite"),
    (HasTheWrongSign, "what_was_measured_is_believed"),
    (IsSurestFarAway, "it_is_surer_where_it_has_measured"),
    (IsBelowZero, "it_is_surer_where_it_has_measured"),
    (DrawsTooWide, "draws_have_mean_and_variance_of_the_posterior"),
    (DrawsBesideTheMean, "draws_have_mean_and_variance_of_the_posterior"),
    (DrawsWithoutTheKey, "draws_have_mean_and_variance_of_the_posterior"),
    (TellsThePriorCovariance, "covariances_agree_with_the_variance"),
    (DrawsEachByItself, "covariances_agree_with_the_draws"),
    (TellsEachWithItself, "covariances_agree_with_the_draws"),
    (TellsNoNoise, "a_covariance_says_what_one_more_point_will_tell"),
    (TakesEveryPair, "a_large_pool_is_read_in_pieces"),
    (ReadsOnlyTheFirst, "a_large_pool_is_read_in_pieces"),
]


def test_what_breaks_nothing_passes_every_law_and_skips_none():
    results = check_surrogate(Sound)
    assert [str(r) for r in results if r.outcome != "ok"] == []
    assert [r.name for r in results] == list(SURROGATE_LAWS)


@pytest.mark.parametrize(("kind", "law"), BREAKS)
def test_what_is_broken_fails_its_law(kind, law):
    (result,) = check_surrogate(kind, laws=[SURROGATE_LAWS[law]])
    assert result.outcome == "failed"
    assert len(result.told) > 20


def test_every_law_is_shown_to_fail():
    assert {law for _, law in BREAKS} == set(SURROGATE_LAWS)


def test_every_law_says_what_it_proves():
    for law in SURROGATE_LAWS.values():
        assert law.proves.endswith("."), law.name
        assert "_" not in law.sentence


class Plain:
    """What `Sound` does, and no more than the protocol asks."""

    def __init__(self):
        self.inner = Sound()
        for call in ("name", "init", "fit", "predict", "carry", "restore"):
            setattr(self, call, getattr(self.inner, call))


def test_what_is_not_offered_is_skipped_with_a_reason():
    plain = Plain()
    assert not isinstance(plain, Draws | Joint)
    skipped = {r.name: r.told for r in check_surrogate(Plain) if r.outcome == "skipped"}
    assert skipped == {
        "draws_have_mean_and_variance_of_the_posterior": "it has no draw",
        "covariances_agree_with_the_variance": "it has no covariance",
        "covariances_agree_with_the_draws": "it has no covariance",
        "a_covariance_says_what_one_more_point_will_tell": "it has no covariance",
    }


class FollowsChance(Sound):
    def fit(self, key, state, data):
        state, info = super().fit(key, state, data)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return state._replace(mu=state.mu + 0.02 * rng.normal(size=80)), info


def test_where_chance_decides_order_is_not_asked_and_padding_less_strictly():
    of = learner(FollowsChance)
    assert of.chance > 1e-3
    with pytest.raises(Skip, match="chance decides"):
        hold(SURROGATE_LAWS["the_order_of_points_does_not_matter"], of)
    hold(SURROGATE_LAWS["padding_does_not_matter"], of)


class Mixture(Sound):
    """Wider the larger the values are, as a mixture may be."""

    def scale(self, y):
        return 0.0, abs(y).max()

    def predict(self, key, state, candidates):
        mean, variance = super().predict(key, state, candidates)
        return Posterior(mean, variance + 0.1 * mean**2)


def test_of_a_mixture_nothing_is_foretold():
    with pytest.raises(Skip, match="no single Gaussian"):
        hold(
            SURROGATE_LAWS["a_covariance_says_what_one_more_point_will_tell"],
            learner(Mixture),
        )


def test_an_object_is_checked_as_its_class_is_and_stays_as_it_was():
    gp = get("gp", starts=1)
    before = digest(gp)
    law = SURROGATE_LAWS["the_same_key_gives_the_same_bits"]
    (result,) = check_surrogate(gp, 2, [law])
    assert result.outcome == "ok"
    assert digest(gp) == before
    assert learner(gp).make() == gp


def test_the_distance_of_beliefs_is_the_larger_of_mean_and_sd():
    one = Posterior(np.zeros(2), np.array([1.0, 1.0]))
    other = Posterior(np.array([3.0, -3.0]), np.array([4.0, 4.0]))
    assert apart(one, other, 2.0) == pytest.approx(1.5)
    assert apart(one, one._replace(variance=np.array([9.0, 9.0])), 1.0) == 2.0


@pytest.mark.parametrize("d", [1, 3])
def test_any_number_of_dimensions_can_be_checked(d):
    assert [r for r in check_surrogate(Sound, d) if r.outcome == "failed"] == []
