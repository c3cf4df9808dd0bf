"""Laws of conditioning, over any data: fixed shapes, so each compiles once."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.acquisition.normal import log_h
from aemtwin.surrogates.base import float64
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import Hyper, condition, posterior, read

N, CAPACITY = 6, 16
GRID = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 2), axis=-1).reshape(-1, 2)

points = hnp.arrays(np.float64, (N, 2), elements=st.floats(0, 1))
values = hnp.arrays(np.float64, N, elements=st.floats(-5, 5))
orders = st.permutations(range(N))
few = settings(max_examples=50, deadline=None)


def hyper(noise=0.1, scale=1.0, mean=0.0):
    return Hyper(
        np.float64(scale), np.array([0.3, 0.5]), np.float64(noise), np.float64(mean)
    )


@jax.jit
def conditioned(h, X, y, X_new):
    return posterior(h, X, y, X_new)


@jax.jit
def masked(h, X, y, mask, X_new):
    L, alpha, _ = condition(h, X, y, mask)
    return read(h, X, mask, L, alpha, X_new)


@jax.jit
def drawn(key, h, X, y, X_new):
    mask = jnp.ones(N, bool)
    L, alpha, _ = condition(h, X, y, mask)
    return path(key, h, X, mask, L, alpha, X_new, waves=64)


def at(X, y, X_new=GRID, **changes):
    with float64():
        found = conditioned(hyper(**changes), X, y, X_new)
        return np.asarray(found.mean), np.asarray(found.variance)


@few
@given(X=points, y=values)
def test_one_more_measurement_never_widens_the_posterior(X, y):
    _, before = at(X[:-1], y[:-1])
    _, after = at(X, y)
    assert np.all(after <= before + 1e-9)


@few
@given(X=points, y=values)
def test_variance_lies_between_nothing_and_the_prior(X, y):
    _, variance = at(X, y, scale=2.0)
    assert np.all((variance >= 0) & (variance <= 4.0 + 1e-12))


@few
@given(
    cells=st.lists(st.integers(0, len(GRID) - 1), min_size=N, max_size=N, unique=True),
    y=values,
)
def test_without_noise_the_posterior_passes_through_every_measurement(cells, y):
    mean, variance = at(GRID[cells], y, noise=0.0)
    np.testing.assert_allclose(mean[cells], y, rtol=0, atol=1e-8)
    np.testing.assert_allclose(variance[cells], 0.0, rtol=0, atol=1e-8)


@few
@given(
    cells=st.lists(st.integers(0, len(GRID) - 1), min_size=N, max_size=N, unique=True),
    y=values,
    seed=st.integers(0, 2**31 - 1),
)
def test_without_noise_every_draw_passes_through_every_measurement(cells, y, seed):
    with float64():
        f = drawn(jax.random.key(seed), hyper(noise=0.0), GRID[cells], y, GRID)
    np.testing.assert_allclose(np.asarray(f)[cells], y, rtol=0, atol=1e-8)


@few
@given(X=points, y=values, order=orders)
def test_the_order_of_measurements_does_not_matter(X, y, order):
    for one, other in zip(at(X, y), at(X[order], y[order]), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)


@few
@given(X=points, y=values, rubbish=st.floats(-1e6, 1e6))
def test_padding_changes_nothing_whatever_it_holds(X, y, rubbish):
    more = CAPACITY - N
    X_padded = np.concatenate([X, np.full((more, 2), rubbish)])
    y_padded = np.concatenate([y, np.full(more, rubbish)])
    with float64():
        found = masked(hyper(), X_padded, y_padded, np.arange(CAPACITY) < N, GRID)
    for one, other in zip(at(X, y), found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)


@few
@given(X=points, y=values, factor=st.floats(1e-12, 1e12))
def test_scaling_y_scales_the_posterior(X, y, factor):
    mean, variance = at(X, y)
    m, v = at(X, factor * y, scale=factor, noise=0.1 * factor)
    np.testing.assert_allclose(m / factor, mean, rtol=0, atol=1e-10)
    np.testing.assert_allclose(v / factor**2, variance, rtol=0, atol=1e-10)


@few
@given(X=points, y=values, shift=st.floats(-1e3, 1e3))
def test_moving_y_and_its_prior_mean_moves_the_posterior(X, y, shift):
    mean, variance = at(X, y)
    m, v = at(X, y + shift, mean=shift)
    np.testing.assert_allclose(m - shift, mean, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(v, variance)


@few
@given(X=points, y=values)
def test_measuring_twice_is_measuring_once_with_less_noise(X, y):
    twice = at(np.concatenate([X, X]), np.concatenate([y, y]), noise=0.1)
    once = at(X, y, noise=0.1 / np.sqrt(2.0))
    for one, other in zip(twice, once, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)


@few
@given(z=st.lists(st.floats(-1e6, 30), min_size=8, max_size=8))
def test_expected_improvement_grows_with_the_gap(z):
    z = np.sort(np.array(z))
    with float64():
        h = np.asarray(log_h(jnp.asarray(z)))
    assert np.all(np.isfinite(h))
    assert np.all(np.diff(h) >= -1e-12 * np.abs(h[1:]))
