"""Dwells against the best of a fine ladder, and against a plain Kalman update."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from aemtwin.acquisition.dwell import best_dwell_s, overhead_of, reduction
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch

LIMITS = {"low_s": 1e-6, "high_s": 1e6}


def test_the_reduction_is_what_conditioning_takes_off_all_variances():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6))
    K, j, t = A @ A.T, 2, 0.7
    noise = 3.0 * 0.5 / t + 0.2
    precision = np.linalg.inv(K)
    precision[j, j] += 1 / noise
    off = np.diag(K) - np.diag(np.linalg.inv(precision))
    found = reduction(t, K[j, j], 3.0, 0.5, floor=0.2)
    assert found == pytest.approx(off[j], rel=1e-9)
    assert found * np.sum(K[j] ** 2) / K[j, j] ** 2 == pytest.approx(off.sum())


@pytest.mark.parametrize("v", [1e-3, 0.4, 30.0])
@pytest.mark.parametrize("floor", [0.0, 0.3])
@pytest.mark.parametrize("t0", [2e-3, 5.0])
def test_no_other_dwell_lowers_the_variance_faster(v, floor, t0):
    s2, reference = 0.8, 0.1

    def slowness(u):
        t = np.exp(u)
        return -np.log(reduction(t, v, s2, reference, floor=floor) / (t0 + t))

    best = minimize_scalar(
        slowness, bounds=(-12, 12), method="bounded", options={"xatol": 1e-9}
    )
    found = best_dwell_s(v, s2, reference, t0, floor=floor, **LIMITS)
    assert found == pytest.approx(np.exp(best.x), rel=1e-5)
    assert slowness(np.log(found)) <= best.fun + 1e-12
    if floor == 0:
        assert found == pytest.approx(np.sqrt(t0 * s2 * reference / v))


def test_between_limits_and_on_a_ladder_the_best_of_all_tried_is_chosen():
    rng = np.random.default_rng(1)
    v = 10 ** rng.uniform(-3, 3, 60)
    s2 = 10 ** rng.uniform(-2, 2, 60)
    low, high, t0 = 0.05, 2.0, 0.4
    tried = np.geomspace(low, high, 20_001)[:, None]
    rate = reduction(tried, v, s2, 1.0) / (t0 + tried)
    found = best_dwell_s(v, s2, 1.0, t0, low_s=low, high_s=high)
    np.testing.assert_allclose(found, tried[rate.argmax(axis=0), 0], rtol=3e-4)
    assert {low, high} <= set(found.tolist())  # both limits were met

    levels = np.array([1.0, 0.01, 0.1, 0.2, 0.5, 5.0])
    inside = np.array([0.1, 0.2, 0.5, 1.0])[:, None]
    rate = reduction(inside, v, s2, 1.0) / (t0 + inside)
    found = best_dwell_s(v, s2, 1.0, t0, low_s=low, high_s=high, levels=levels)
    np.testing.assert_array_equal(found, inside[rate.argmax(axis=0), 0])
    assert set(found.tolist()) == set(inside[:, 0])  # every level was chosen


def test_of_two_levels_alike_the_shorter_is_chosen():
    found = best_dwell_s(1.0, 1.0, 1.0, 4.0, **LIMITS, levels=[1.0, 4.0])
    assert found == 1.0  # √(1 · 4) is the best dwell, so both are as fast


def test_known_spots_are_measured_long_and_free_ones_short():
    assert best_dwell_s(0.0, 1.0, 1.0, 1.0, low_s=0.1, high_s=9.0) == 9.0
    assert best_dwell_s(1.0, 0.0, 1.0, 1.0, low_s=0.1, high_s=9.0) == 0.1
    assert best_dwell_s(1.0, 1.0, 1.0, 0.0, low_s=0.1, high_s=9.0) == 0.1
    levels = [0.1, 1.0, 9.0]
    ladder = {"low_s": 0.1, "high_s": 9.0, "levels": levels}
    assert best_dwell_s(0.0, 1.0, 1.0, 1.0, **ladder) == 9.0
    assert best_dwell_s(1.0, 1.0, 1.0, 0.0, **ladder) == 0.1
    assert reduction(1.0, 0.0, 0.0, 1.0) == 0.0


def test_a_dose_gains_most_in_the_shortest_dwells():
    t = np.geomspace(1e-3, 1e3, 200)
    per_dose = reduction(t, 2.0, 0.5, 1.0) / (7.0 * t)
    assert np.all(np.diff(per_dose) < 0)
    overhead = overhead_of(0.3, dose_per_s=7.0)
    assert overhead == 0.0
    assert best_dwell_s(2.0, 0.5, 1.0, overhead, low_s=1e-3, high_s=1.0) == 1e-3


def test_many_short_visits_teach_as_much_as_a_long_one():
    v, a, t, k = 2.0, 0.5, 3.0, 8
    left = v
    for _ in range(k):
        left -= reduction(t / k, left, a, 1.0)
    assert v - left == pytest.approx(reduction(t, v, a, 1.0))


def test_prices_of_time_and_dose_together_have_the_dwell_that_gains_most():
    v, a, t0, d0, flux, price = 2.0, 0.5, 0.3, 4.0, 7.0, 0.05
    t = np.geomspace(1e-4, 1e2, 200_001)
    cost = (t0 + t) + price * (d0 + flux * t)
    best = t[np.argmax(reduction(t, v, a, 1.0) / cost)]
    overhead = overhead_of(
        t0, dose_per_s=flux, overhead_dose=d0, per_second=1.0, per_dose=price
    )
    assert best_dwell_s(v, a, 1.0, overhead, **LIMITS) == pytest.approx(best, rel=1e-4)


def test_a_run_on_a_clock_learns_most_with_the_best_dwell():
    rng = np.random.default_rng(2)
    t0, noise, clock = 0.5, 1.0, 400.0
    best = float(best_dwell_s(1.0, noise, 1.0, t0, **LIMITS))

    def error(t):  # squared error over spots of variance 1; those not reached keep it
        spots = int(clock / (t0 + t))
        f = rng.normal(size=(400, spots))
        seen = f + np.sqrt(noise / t) * rng.normal(size=f.shape)
        believed = seen / (1 + noise / t)
        gain = np.sum(f**2 - (f - believed) ** 2, axis=1)
        return gain.mean(), gain.std() / 20

    (most, sd), (short, _), (long, _) = error(best), error(best / 4), error(4 * best)
    assert most > max(short, long) + 4 * sd
    expected = clock / (t0 + best) * reduction(best, 1.0, noise, 1.0)
    assert most == pytest.approx(expected, abs=4 * sd + 1)  # a spot is not begun


def test_misuse_of_dwells_is_told_in_a_sentence():
    with pytest.raises(BadConfig, match="limits from 2"):
        best_dwell_s(1.0, 1.0, 1.0, 1.0, low_s=2, high_s=1)
    with pytest.raises(BadConfig, match="no level"):
        best_dwell_s(1.0, 1.0, 1.0, 1.0, **LIMITS, levels=[1e9])
    with pytest.raises(OutOfRange, match="overhead_s = -1"):
        best_dwell_s(1.0, 1.0, 1.0, -1, **LIMITS)
    with pytest.raises(OutOfRange, match="negative or not finite"):
        best_dwell_s(-1.0, 1.0, 1.0, 1.0, **LIMITS)
    with pytest.raises(OutOfRange, match="not more than 0"):
        reduction(0.0, 1.0, 1.0, 1.0)
    with pytest.raises(ShapeMismatch, match="do not fit"):
        best_dwell_s(np.ones(3), np.ones(2), 1.0, 1.0, **LIMITS)
    with pytest.raises(OutOfRange, match="what is scarce"):
        overhead_of(1.0, dose_per_s=0.0)


def test_each_spot_may_cost_another_way():
    v, way = np.array([1.0, 1.0, 4.0]), np.array([0.5, 2.0, 2.0])
    found = best_dwell_s(v, 0.8, 0.1, way, **LIMITS)
    one = [best_dwell_s(a, 0.8, 0.1, t, **LIMITS) for a, t in zip(v, way, strict=True)]
    np.testing.assert_array_equal(found, one)
    with pytest.raises(ShapeMismatch, match="overhead_s of shape"):
        best_dwell_s(v, 0.8, 0.1, way[:2], **LIMITS)
