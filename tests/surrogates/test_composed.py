"""Sums and products of kernels: what is written, what it means, how it is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.errors import BadConfig, UnknownName
from aemtwin.surrogates.base import float64, pad
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.gp import GP
from aemtwin.surrogates.kernels import KERNELS

A, B = (np.random.default_rng(k).random((9, 2)) for k in (0, 1))
LONG, SHORT = np.array([0.9, 0.7]), np.array([0.1, 0.3])


def of(name, shape):
    return np.asarray(KERNELS[name].correlation(jnp.asarray(shape), A, B))


def test_a_sum_is_the_mean_by_shares_and_a_product_the_product():
    with float64():
        shape = jnp.asarray([3.0, *LONG, *SHORT])  # odds of the second part, then both
        found = named("rbf + matern32").correlation(shape, A, B)
        expected = 0.25 * of("rbf", LONG) + 0.75 * of("matern32", SHORT)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        found = named("rbf * matern32").correlation(shape[1:], A, B)
        expected = of("rbf", LONG) * of("matern32", SHORT)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_products_bind_before_sums_and_brackets_before_both():
    first, second = named("rbf + matern12 * matern32"), named("(rbf + rbf) * matern12")
    assert first.labels(1) == (
        "matern12*matern32.odds",
        "rbf.length_0",
        "matern12*matern32.matern12.length_0",
        "matern12*matern32.matern32.length_0",
    )
    assert second.labels(1)[0].endswith("rbf_1.odds")
    assert named("rbf+matern12*matern32") == first


def test_equal_points_correlate_by_one_whatever_is_composed():
    kernel = named("rbf * periodic + matern12 + (matern32 + rbf) * matern52")
    with float64():
        shape = jnp.asarray(np.exp(kernel.prior(2)[0] + 0.3))
        found = kernel.correlation(shape, A, A)
        omega = kernel.frequencies(jax.random.key(0), shape, 100_000, 2)
        to = np.asarray(kernel.correlation(shape, A[:4], A[:1]))[:, 0]
    np.testing.assert_allclose(np.diag(found), 1.0, rtol=1e-12)
    assert np.linalg.eigvalsh(np.asarray(found)).min() > 0
    mean = np.cos(np.asarray(omega) @ (A[:4] - A[0]).T).mean(axis=0)
    np.testing.assert_allclose(mean, to, atol=4 / np.sqrt(100_000))


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("matern", UnknownName, "Did you mean 'matern"),
        ("rbf + matern", UnknownName, "allowed: matern12"),
        ("rbf - matern12", BadConfig, "names joined by"),
        ("rbf(2)", BadConfig, "names joined by"),
        ("2 * rbf", BadConfig, "names joined by"),
        ("rbf +", BadConfig, "cannot be read"),
        (5, BadConfig, "cannot be read"),
    ],
)
def test_what_is_no_kernel_is_told_in_a_sentence(text, error, told):
    with pytest.raises(error, match=told):
        GP(kernel=text)


@pytest.mark.slow
def test_a_lattice_is_found_and_goes_on_beyond_the_data():
    rng = np.random.default_rng(0)

    def field(X):
        return np.cos(2 * np.pi * X[:, 0] / 0.2) + 0.5 * np.cos(
            2 * np.pi * X[:, 1] / 0.31
        )

    X = rng.random((60, 2)) * [0.6, 1.0]  # nothing was seen of the right
    y, at = field(X) + 0.05 * rng.normal(size=60), np.array([0.65, 0.0]) + 0.3 * A
    errors = {}
    for kernel in ("periodic", "matern52"):
        gp = GP(kernel=kernel, starts=8)
        state, info = gp.fit(jax.random.key(0), gp.init(2), pad(X, y))
        found = gp.predict(jax.random.key(0), state, at)
        errors[kernel] = np.sqrt(np.mean((found.mean - field(at)) ** 2))
        if kernel == "periodic":
            assert info["period_0"] == pytest.approx(0.2, rel=0.05)
    assert errors["periodic"] < 0.3 * errors["matern52"]
