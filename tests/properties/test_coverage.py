"""Intervals hold the truth as often as they say, on fields of the prior.

`fields` draws them. What is compared is the share of the true, noiseless f at 200 held
out positions, averaged over fields; errors are over fields, since positions of one
field go right or wrong together. `benchmarks/honesty.py` has all surrogates and more
fields; `test_calibration_by_simulation` looks at the samplers themselves.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from aemtwin import surrogates
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import pad, step_keys
from tests.properties.fields import (
    LEVELS,
    Array,
    Field,
    components,
    draw,
    error,
    expected,
    expected_of_mixture,
    inside,
)

prepare_jax()  # some programs take long to compile: keep them between test runs
QUICK = 60  # fields of a quick look: the standard error of a share is about 0.01
CLOSE = 0.03  # by which a share may differ from what was said
WIDE = 0.08  # the same where there is one quick look


class Seen(NamedTuple):
    """What a surrogate believed of many fields."""

    fields: list[Field]
    mean: list[Array]  # (m,) each
    sd: list[Array]  # (m,) each, of the normal of the same moments
    mixture: Array  # (fields, 3), shares inside intervals of the mixture itself

    def shares(self, *, narrower: float = 1.0, shifted: float = 0.0) -> Array:
        """Return those inside the normal's intervals, (fields, 3)."""
        each = zip(self.fields, self.mean, self.sd, strict=True)
        return np.array(
            [expected(f, mean + shifted * sd, narrower * sd) for f, mean, sd in each]
        )


@cache
def seen(name: str, n: int, count: int, *, usual: bool = False) -> Seen:
    """Fit a surrogate to many fields of n points each."""
    model, found = surrogates.get(name), []
    for seed in range(count):
        field = draw([seed, n], n, usual=usual)
        fit, read, _ = step_keys(seed, n)
        state, info = model.fit(fit, model.init(2), pad(field.X, field.y))
        assert info["finite"]
        at = model.predict(read, state, field.at)
        mixed = expected_of_mixture(field, components(model, state, field.at))
        found.append((field, at.mean, np.sqrt(at.variance), mixed))
    fields, mean, sd, mixture = zip(*found, strict=True)
    return Seen(list(fields), list(mean), list(sd), np.array(mixture))


def honest(shares: Array, limit: float) -> bool:
    """Say whether shares, in the mean over fields, are what was said."""
    return bool(np.all(np.abs(shares.mean(axis=0) - LEVELS) <= limit))


@pytest.mark.parametrize("usual", [False, True], ids=["prior", "usual"])
def test_one_who_knows_the_hyperparameters_is_right_as_often_as_said(usual):
    fields = [draw([seed, 30], 30, usual=usual) for seed in range(60)]
    shares = np.array([inside(field, field.mean, field.sd) for field in fields])
    np.testing.assert_allclose(
        shares.mean(axis=0), LEVELS, rtol=0, atol=3 * error(shares).max()
    )
    known = [expected(field, field.mean, field.sd) for field in fields]
    np.testing.assert_allclose(known, np.tile(LEVELS, (60, 1)), rtol=0, atol=1e-12)


def test_the_average_share_is_that_of_the_truths_drawn():
    found = seen("gp", 30, QUICK)
    each = zip(found.fields, found.mean, found.sd, strict=True)
    drawn = np.array([inside(*one) for one in each])
    gap = drawn - found.shares()
    assert np.all(np.abs(gap.mean(axis=0)) <= 3 * error(gap))


def test_intervals_of_gp_hold_about_as_much_as_they_say():
    assert honest(seen("gp", 30, QUICK).shares(), WIDE)


@pytest.mark.parametrize(
    "wrong",
    [{"narrower": 0.7}, {"narrower": 1.6}, {"shifted": 0.8}],
    ids=["narrower", "wider", "shifted"],
)
def test_a_wrong_posterior_is_told_by_a_quick_look(wrong):
    assert not honest(seen("gp", 30, QUICK).shares(**wrong), WIDE)


PRECISE = 400  # fields: the standard error of a share is below 0.8 % at each level


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("usual", [False, True], ids=["prior", "usual"])
@pytest.mark.parametrize("n", [10, 30, 80])
def test_intervals_of_gp_hold_what_they_say(n, usual):
    """Those of the mixture; at 30 and more also of the normal that `predict` tells."""
    found = seen("gp", n, PRECISE, usual=usual)
    shares = found.shares()
    assert max(error(found.mixture).max(), error(shares).max()) < 0.009
    assert honest(found.mixture, CLOSE)
    assert n < 30 or honest(shares, CLOSE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("wrong", [{"narrower": 0.7}, {"shifted": 0.5}], ids=str)
def test_a_wrong_posterior_does_not_hold_what_it_says(wrong):
    assert not honest(seen("gp", 80, PRECISE).shares(**wrong), CLOSE)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("usual", [False, True], ids=["prior", "usual"])
def test_intervals_of_bayes_gp_hold_what_they_say(usual):
    """Those of the mixture; of the normal that `predict` tells, all but that of 50 %.

    A normal of the same variance is flatter in the middle than the mixture.
    """
    found = seen("bayes_gp", 10, 200, usual=usual)
    shares = found.shares()
    assert max(error(found.mixture).max(), error(shares)[1:].max()) < 0.0125
    assert honest(found.mixture, CLOSE)
    assert np.all(np.abs(shares.mean(axis=0) - LEVELS)[1:] <= CLOSE)
    assert shares.mean(axis=0)[0] > LEVELS[0]
