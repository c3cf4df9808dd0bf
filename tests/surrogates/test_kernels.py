"""Covariances against SciPy's Bessel functions, and gradients where points meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import gamma, kv

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.kernels import KERNELS, matern52, rbf, squared_distance

LENGTH = np.array([0.3, 0.7])
POINTS = np.random.default_rng(0).random((12, 2))
OTHERS = np.random.default_rng(1).random((7, 2))


def test_matern52_is_the_bessel_form_of_order_five_halves():
    r = cdist(POINTS / LENGTH, OTHERS / LENGTH)
    z = np.sqrt(5.0) * r
    expected = 4.0 * 2 ** (1 - 2.5) / gamma(2.5) * z**2.5 * kv(2.5, z)
    with float64():
        found = matern52(jnp.array(2.0), LENGTH, POINTS, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rbf_is_a_gaussian_of_the_scaled_distance():
    expected = 4.0 * np.exp(-0.5 * cdist(POINTS / LENGTH, OTHERS / LENGTH) ** 2)
    with float64():
        found = rbf(jnp.array(2.0), LENGTH, POINTS, OTHERS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_many_dimensions_and_few_give_the_same_distance():
    A, B = (np.random.default_rng(k).random((5, 20)) for k in (0, 1))
    with float64():
        found = squared_distance(jnp.full(20, 0.5), A, B)
    np.testing.assert_allclose(found, cdist(A, B, "sqeuclidean") / 0.25, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_near_points_keep_all_digits_of_their_distance(kernel):
    A, step = np.array([[2.0**20, 0.0]]), np.array([[2.0**-14, 0.0]])
    with float64():
        found = kernel(jnp.array(1.0), jnp.ones(2), A, A + step)
        expected = kernel(jnp.array(1.0), jnp.ones(2), 0 * A, 0 * A + step)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("which", [1, 2])
def test_gradients_are_finite_where_points_meet(kernel, which):
    def total(*args):
        return jnp.sum(kernel(*args))

    args = jnp.array(1.0), jnp.asarray(LENGTH), POINTS, POINTS
    with float64():
        gradient = jax.jit(jax.grad(total, argnums=which))(*args)
        twice = jax.jit(jax.hessian(total, argnums=which))(*args)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(twice))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_gradients_by_length_equal_finite_differences(kernel):
    def total(length):
        return jnp.sum(kernel(jnp.array(1.5), length, POINTS, OTHERS))

    step = 1e-6
    with float64():
        gradient = jax.grad(total)(jnp.asarray(LENGTH))
        for k, unit in enumerate(np.eye(2)):
            ahead, behind = total(LENGTH + step * unit), total(LENGTH - step * unit)
            slope = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(gradient[k], slope, rtol=1e-7)


@pytest.mark.parametrize("n", [3, 20, 42])
def test_a_point_covaries_with_itself_as_much_inside_any_compiled_program(n):
    """XLA may compute r² twice with other rounding; the diagonal must not notice."""
    X = np.random.default_rng(n).random((n, 2))

    @jax.jit
    def both(length):
        K, pull = jax.vjp(lambda a: matern52(jnp.array(1.0), a, X, X), length)
        return jnp.linalg.cholesky(K + 0.01 * jnp.eye(n)), pull(K), K

    with float64():
        L, _, K = both(jnp.asarray(LENGTH))
    assert np.all(np.isfinite(L))
    np.testing.assert_allclose(np.diag(K), 1.0, rtol=0, atol=1e-15)
