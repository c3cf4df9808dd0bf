"""Data that are hard on arithmetic: nearly equal points, heavy tails, all measured.

Every surrogate is asked. What else is hard is a law that each keeps (`test_contract`):
NaN, a constant, equal points, one point, points on a line, one huge value, large and
small units. `test_robustness` has what the loop makes of such measurements.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.surrogates import available, exact, get
from aemtwin.surrogates.base import float64, pad
from aemtwin.surrogates.gp import GP
from aemtwin.values import tamed

prepare_jax()  # some programs take long to compile: keep them between test runs
KEY, N = jax.random.key(2), 48
CHEAP: dict[str, dict[str, Any]] = {  # settings that cost little; others: the defaults
    "bayes_gp": {"chains": 2, "samples": 32, "kept": 16},
    "structured_gp": {"chains": 2, "samples": 32, "kept": 16},
    "bnn": {"samples": 16, "hidden": (8, 8), "depth": 6},
}
EVERY = [
    name if name == "gp" else pytest.param(name, marks=pytest.mark.slow)
    for name in sorted(available())
]
X = np.random.default_rng(5).random((N, 2))
TRUTH = np.sin(5 * X[:, 0]) + X[:, 1]
SPREAD = TRUTH.std()


@cache
def model(name):
    return get(name, **CHEAP.get(name, {}))


def believed(name, X, y, at=X):
    """Fit, require plain finite numbers of all that is told, and read."""
    state, info = model(name).fit(KEY, model(name).init(2), pad(X, y))
    found = model(name).predict(KEY, state, at)
    assert info["finite"] == 1
    assert all(type(value) in (int, float) for value in info.values())
    assert np.isfinite([*info.values(), *found.mean, *found.variance]).all()
    assert np.all(found.variance >= 0)
    return found, info


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("apart", [1e-15, 1e-9, 1e-4])
@pytest.mark.parametrize("name", EVERY)
def test_points_that_are_nearly_equal_are_believed_to_have_the_mean_value(name, apart):
    """Two at each of 24 places, whose values differ by more than their distance can."""
    near = np.repeat(X[:24], 2, axis=0)
    near[1::2] += apart
    middle, off = np.repeat(TRUTH[:24], 2), 0.1 * np.tile([-1.0, 1.0], 24)
    found, info = believed(name, near, middle + off, near)
    assert rms(found.mean - middle) < 0.5 * SPREAD
    np.testing.assert_allclose(found.mean[::2], found.mean[1::2], atol=0.01)
    assert info.get("jitter", 0.0) <= 1e-8


@pytest.mark.parametrize("name", EVERY)
def test_where_everything_was_measured_little_is_left_to_learn(name):
    """All candidates, once and exactly, and half of them twice."""
    found, _ = believed(name, X, TRUTH)
    assert rms(found.mean - TRUTH) < 0.35 * SPREAD
    assert np.sqrt(found.variance.mean()) < 0.5 * SPREAD
    half = X[: N // 2], TRUTH[: N // 2]
    twice, _ = believed(name, np.tile(half[0], (2, 1)), np.tile(half[1], 2))
    assert rms(twice.mean[: N // 2] - half[1]) < 0.35 * SPREAD


@pytest.mark.parametrize("freedom", [1, 2])
@pytest.mark.parametrize("name", EVERY)
def test_the_mean_is_nearer_to_the_truth_than_noise_of_heavy_tails_left_it(
    name, freedom
):
    """Student's t of one and two degrees, as the loop gives it (`values.tamed`).

    The mean is inside the range of the measurements, or beyond it by less than a tenth
    of it (bnn by 7 % in one of 18 fields), and in the median over nine fields it is
    nearer to the truth than they are. That is all: noise is normal to all of these
    models. Measured medians of the ratio, of one and two degrees: gp 0.61 and
    0.38, bayes_gp 0.58 and 0.40, structured_gp 0.76 (one degree), bnn 0.93 and 0.51,
    dkl 0.92 and 0.84. `gp` left more than 0.9 of one degree's in 11 of 60 fields.
    """
    ratios = []
    for seed in range(9):
        noise = np.random.default_rng([seed, freedom]).standard_t(freedom, N)
        y = tamed(TRUTH + 0.3 * noise)
        found, _ = believed(name, X, y)
        room = 0.1 * np.ptp(y)
        assert np.all((found.mean > y.min() - room) & (found.mean < y.max() + room))
        ratios.append(rms(found.mean - TRUTH) / rms(y - TRUTH))
    assert np.median(ratios) < 1.0
    assert max(ratios) < 1.1


@pytest.mark.parametrize("name", EVERY)
def test_values_over_many_decades_are_believed_in_their_order(name):
    """A field whose logarithm is smooth: ten to the power of 0 to 6."""
    y = 10.0 ** (6 * (TRUTH - TRUTH.min()) / np.ptp(TRUTH))
    found, _ = believed(name, X, y)
    top = y > 1e5
    assert found.mean[top].min() > np.median(found.mean)
    assert rms(found.mean - y) < 0.8 * y.std()


@pytest.mark.parametrize("name", EVERY)
def test_an_outlier_that_was_tamed_leaves_the_rest_of_the_map_as_it_was(name):
    y = TRUTH.copy()
    y[7] = 1e9
    found, _ = believed(name, X, tamed(y))
    rest = np.arange(N) != 7
    order = np.corrcoef(found.mean[rest], TRUTH[rest])[0, 1]
    assert np.ptp(found.mean) < 1e3
    assert order > 0.3


@pytest.mark.parametrize("name", EVERY)
def test_float32_values_are_fitted_as_the_float64_of_the_same_numbers(name):
    short = X.astype(np.float32), TRUTH.astype(np.float32)
    one, info = believed(name, *short)
    two, told = believed(name, *(a.astype(np.float64) for a in short))
    assert info == told
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.variance, two.variance)


def correlation(length, at=X):
    """Return that of the smooth kernel, (n, n), by NumPy alone."""
    apart = np.linalg.norm((at[:, None] - at[None]) / length, axis=-1)
    return np.exp(-0.5 * apart**2)


@jax.jit
def factor(hyper, X, y):
    L, _, jitter = exact.condition(hyper, X, y, np.ones(N, bool), kernel="rbf")
    return L, jitter


@pytest.mark.parametrize(("length", "at"), [(2.0, X), (0.3, 0.5 + 1e-2 * X)])
def test_a_smooth_kernel_is_singular_in_float32_and_needs_little_in_float64(length, at):
    """Long lengths, or points close together; what either precision adds, it says."""
    hyper = exact.Hyper(np.float64(1.3), np.full(2, length), np.float64(0.0))
    with float64():
        L, little = map(np.asarray, factor(hyper, at, TRUTH))
    short = jax.tree.map(np.float32, (hyper._replace(mean=np.float32(0)), at, TRUTH))
    coarse, much = map(np.asarray, factor(*short))
    assert (L.dtype, coarse.dtype) == (np.float64, np.float32)
    assert np.isfinite(L).all()
    assert np.isfinite(coarse).all()
    limit = 1.3**2 * (1.0 + 1e-6)
    assert 0.0 < little <= 1e-10 * limit < much <= 1e-4 * limit
    K = 1.3**2 * correlation(length, at)
    np.testing.assert_allclose(L @ L.T, K + little * np.eye(N), atol=1e-13)
    np.testing.assert_allclose(coarse @ coarse.T, K + much * np.eye(N), atol=1e-5)


def frozen(noise):
    """A gp that keeps the hyperparameters that it is given, and its state."""
    gp = GP(kernel="rbf", refit_every=10**6, drift=np.inf, modes=1, spread=0)
    theta = np.array([[0.0, np.log(2.0), np.log(2.0), np.log(noise)]])
    carried = {"theta": theta, "weight": [1.0], "level": [0.0, 1.0]}
    carried |= dict.fromkeys(("fitted", "whole"), N - 1)
    return gp, gp.restore(carried, 2)


def test_the_jitter_that_a_fit_needed_is_in_info_and_no_more_than_was_needed():
    """None with noise; without it, about the rounding of the largest root."""
    gp, state = frozen(noise=0.1)
    _, info = gp.fit(KEY, state, pad(X, TRUTH))
    assert (info["jitter"], info["jitter_tries"]) == (0.0, 0)
    gp, state = frozen(noise=1e-12)
    after, info = gp.fit(KEY, state, pad(X, TRUTH))
    roots = np.linalg.eigvalsh(correlation(2.0) + exact.MEAN_SD**2)
    rounding = N * np.finfo(float).eps * roots[-1]
    assert roots[0] < rounding  # singular, as far as float64 can tell
    assert info["jitter"] in exact.JITTERS[1:]
    assert info["jitter_tries"] == exact.JITTERS.index(info["jitter"])
    assert info["jitter"] < 100 * rounding
    assert (info["finite"], info["searched"]) == (1, 0)
    found = gp.predict(KEY, after, X)
    np.testing.assert_allclose(found.mean, TRUTH, atol=0.01)


def test_where_no_jitter_helps_a_fit_says_that_it_is_not_finite():
    gp, state = frozen(noise=np.nan)
    _, info = gp.fit(KEY, state, pad(X, TRUTH))
    assert info["finite"] == 0
