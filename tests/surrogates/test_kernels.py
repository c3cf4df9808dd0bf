"""Covariances against SciPy's Bessel functions, and gradients where points meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import gamma, kv

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.kernels import KERNELS, RADIAL, squared_distance

LENGTH = np.array([0.3, 0.7])
POINTS = np.random.default_rng(0).random((12, 2))
OTHERS = np.random.default_rng(1).random((7, 2))


def shape_of(name, d=2):
    """Some shape of that kernel, not equal in any two numbers."""
    return np.linspace(0.3, 0.7, len(KERNELS[name].labels(d)))


@pytest.mark.parametrize(
    ("name", "order"), [("matern12", 1), ("matern32", 3), ("matern52", 5)]
)
def test_a_matern_kernel_is_the_bessel_form_of_its_order(name, order):
    nu, r = order / 2, cdist(POINTS / LENGTH, OTHERS / LENGTH)
    z = np.sqrt(2 * nu) * r
    expected = 2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z)
    with float64():
        found = KERNELS[name].correlation(jnp.asarray(LENGTH), POINTS, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rbf_is_a_gaussian_of_the_scaled_distance():
    expected = np.exp(-0.5 * cdist(POINTS / LENGTH, OTHERS / LENGTH) ** 2)
    with float64():
        found = KERNELS["rbf"].correlation(jnp.asarray(LENGTH), POINTS, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_periodic_is_an_rbf_of_the_place_on_a_circle():
    """Two circles of unit radius: chords are 2 sin(pi (a - b) / period)."""
    period, turn = np.array([0.3, 0.5]), np.array([0.8, 1.7])

    def circles(X):
        angle = 2 * np.pi * X / period
        return np.hstack([np.cos(angle) / turn, np.sin(angle) / turn])

    expected = np.exp(-0.5 * cdist(circles(POINTS), circles(OTHERS)) ** 2)
    with float64():
        shape = jnp.asarray(np.concatenate([period, turn]))
        found = KERNELS["periodic"].correlation(shape, POINTS, OTHERS)
        again = KERNELS["periodic"].correlation(shape, POINTS + 3 * period, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(again, expected, rtol=1e-11)


@pytest.mark.parametrize("name", KERNELS)
def test_the_spectrum_is_that_of_the_kernel(name):
    """The mean cosine over many frequencies, Bochner's theorem."""
    apart = np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.2], [0.15, 0.3]])
    count = 200_000
    with float64():
        shape = jnp.asarray(shape_of(name))
        omega = KERNELS[name].frequencies(jax.random.key(1), shape, count, 2)
        mean = np.cos(np.asarray(omega) @ apart.T).mean(axis=0)
        expected = KERNELS[name].correlation(shape, apart, 0 * apart[:1])[:, 0]
    np.testing.assert_allclose(mean, expected, atol=4 / np.sqrt(count))


def test_many_dimensions_and_few_give_the_same_distance():
    A, B = (np.random.default_rng(k).random((5, 20)) for k in (0, 1))
    with float64():
        found = squared_distance(jnp.full(20, 0.5), A, B)
    np.testing.assert_allclose(found, cdist(A, B, "sqeuclidean") / 0.25, rtol=1e-12)


@pytest.mark.parametrize("name", RADIAL)
def test_near_points_keep_all_digits_of_their_distance(name):
    A, step = np.array([[2.0**20, 0.0]]), np.array([[2.0**-14, 0.0]])
    with float64():
        found = KERNELS[name].correlation(jnp.ones(2), A, A + step)
        expected = KERNELS[name].correlation(jnp.ones(2), 0 * A, 0 * A + step)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("which", [0, 1])
def test_gradients_are_finite_where_points_meet(name, which):
    def total(*args):
        return jnp.sum(KERNELS[name].correlation(*args))

    args = jnp.asarray(shape_of(name)), jnp.asarray(POINTS), POINTS
    with float64():
        gradient = jax.jit(jax.grad(total, argnums=which))(*args)
        twice = jax.jit(jax.hessian(total, argnums=which))(*args)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(twice))


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_by_shape_equal_finite_differences(name):
    def total(shape):
        return jnp.sum(KERNELS[name].correlation(shape, POINTS, OTHERS))

    step, shape = 1e-6, shape_of(name)
    with float64():
        gradient = jax.grad(total)(jnp.asarray(shape))
        for k, unit in enumerate(np.eye(len(shape))):
            ahead, behind = total(shape + step * unit), total(shape - step * unit)
            slope = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(gradient[k], slope, rtol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("n", [3, 42])
def test_a_point_covaries_with_itself_as_much_inside_any_compiled_program(name, n):
    """XLA may compute r² twice with other rounding; the diagonal must not notice."""
    X = np.random.default_rng(n).random((n, 2))

    @jax.jit
    def both(shape):
        K, pull = jax.vjp(lambda a: KERNELS[name].correlation(a, X, X), shape)
        return jnp.linalg.cholesky(K + 0.01 * jnp.eye(n)), pull(K), K

    with float64():
        L, _, K = both(jnp.asarray(shape_of(name)))
    assert np.all(np.isfinite(L))
    np.testing.assert_allclose(np.diag(K), 1.0, rtol=0, atol=1e-15)
