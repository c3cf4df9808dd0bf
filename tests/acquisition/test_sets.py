"""Scores near a level against plain formulas and the law of chance."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.registry import Acquisition
from aemtwin.acquisition.sets import random_beta
from aemtwin.errors import BadConfig
from aemtwin.surrogates.base import Posterior, count_compilations

RNG = np.random.default_rng(0)
m = 30
AT = Posterior(RNG.normal(size=m), RNG.uniform(0.0, 1.5, m))
MEASURED = RNG.uniform(size=m) < 0.4
KNOWN = Context(float(AT.mean[MEASURED].max()), MEASURED, n=12)


def plain(level, beta=1.96):
    scores = beta * np.sqrt(AT.variance) - np.abs(AT.mean - level)
    return np.where(MEASURED, -np.inf, scores)


def test_it_is_an_acquisition_that_never_repeats_a_measurement():
    acquire = get("level_set")
    assert isinstance(acquire, Acquisition)
    assert acquire.name == "level_set"
    found = acquire(AT, KNOWN)
    assert np.array_equal(np.isneginf(found), MEASURED)


@pytest.mark.parametrize("level", [-0.5, 0.0, 2.0])
def test_a_level_is_straddled_by_beta_standard_deviations(level):
    found = get("level_set", level=level, beta=1.3)(AT, KNOWN)
    np.testing.assert_allclose(found, plain(level, 1.3), rtol=1e-14)
    inside = np.abs(AT.mean - level) < 1.3 * np.sqrt(AT.variance)
    assert np.array_equal(found > 0, inside & ~MEASURED)


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.5, 0.87, 1.0])
def test_a_quantile_is_that_of_what_was_seen(quantile):
    level = np.quantile(AT.mean[MEASURED], quantile)
    found = get("level_set", quantile=quantile)(AT, KNOWN)
    np.testing.assert_allclose(found, plain(level), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_a_fraction_lies_between_the_lowest_and_the_highest_seen(fraction):
    seen = AT.mean[MEASURED]
    level = seen.min() + fraction * np.ptp(seen)
    found = get("level_set", fraction=fraction)(AT, KNOWN)
    np.testing.assert_allclose(found, plain(level), rtol=1e-12, atol=1e-14)


def test_without_a_setting_the_level_is_half_way():
    half = get("level_set", fraction=0.5)(AT, KNOWN)
    assert np.array_equal(get("level_set")(AT, KNOWN), half)


def test_before_anything_is_measured_all_candidates_say_where_the_level_is():
    nothing = KNOWN._replace(measured=np.zeros(m, bool))
    found = get("level_set", quantile=0.5)(AT, nothing)
    expected = 1.96 * np.sqrt(AT.variance) - np.abs(AT.mean - np.median(AT.mean))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_squares_of_random_beta_are_chi_squared_with_two_degrees_of_freedom():
    squares = [random_beta(3, n) ** 2 for n in range(4000)]
    assert kstest(squares, chi2(2).cdf).pvalue > 0.01


def test_a_randomised_score_is_a_function_of_seed_and_measurements():
    acquire = get("level_set", level=0.2, randomised=True, seed=4)
    found = acquire(AT, KNOWN)
    np.testing.assert_allclose(found, plain(0.2, random_beta(4, 12)), rtol=1e-12)
    assert np.array_equal(found, acquire(AT, KNOWN))
    assert not np.array_equal(found, acquire(AT, KNOWN._replace(n=13)))


def test_other_levels_and_measurements_compile_nothing_new():
    get("level_set", level=0.2)(AT, KNOWN)
    with count_compilations() as seen:
        get("level_set", level=0.4, randomised=True)(AT, KNOWN._replace(n=99))
    assert seen.count == 0


@pytest.mark.parametrize("randomised", [False, True])
def test_straddling_finds_a_border_with_fewer_errors_than_chance(randomised):
    line = np.linspace(0, 1, 25)
    X = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    f = 2.0 - 6.0 * np.hypot(*(X - [0.4, 0.55]).T)  # 0 on a circle
    prior = np.exp(-0.5 * np.sum((X[:, None] - X) ** 2, -1) / 0.15**2)
    acquire = get("level_set", level=0.0, randomised=randomised)

    def wrong(choose):
        measured = [0, 12, 312]
        for _ in range(30):
            K = prior[np.ix_(measured, measured)] + 1e-6 * np.eye(len(measured))
            gain = np.linalg.solve(K, prior[measured])
            mean = gain.T @ f[measured]
            v = np.maximum(1 - np.sum(prior[measured] * gain, axis=0), 0)
            mask = np.isin(np.arange(len(X)), measured)
            measured.append(choose(Posterior(mean, v), mask, len(measured)))
        return np.sum((mean > 0) != (f > 0))

    def ours(at, mask, n):
        return int(acquire(at, Context(0.0, mask, n=n)).argmax())

    rng = np.random.default_rng(0)
    chance = [wrong(lambda *_: int(rng.integers(len(X)))) for _ in range(10)]
    assert wrong(ours) < min(chance), (wrong(ours), np.sort(chance))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"level": 0.0, "fraction": 0.5}, "Keep one"),
        ({"level": np.inf}, "finite number in the unit of y"),
        ({"quantile": 1.5}, "quantile = 1.5"),
        ({"fraction": np.nan}, "fraction = nan"),
        ({"beta": 0.0}, "beta = 0.0"),
        ({"seed": -1}, "seed = -1"),
    ],
)
def test_misuse_is_told_in_a_sentence(settings, said):
    with pytest.raises(BadConfig, match=said):
        get("level_set", **settings)
