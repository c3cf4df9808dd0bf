"""Guides against normal targets, whose nearest guide is known, and a regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.surrogates.base import count_compilations, float64
from aemtwin.surrogates.variational import Guide, descend, draws, fit

KEY = jax.random.key(0)
MEAN = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [0.0, 0.5, 2.0]])
PRECISION = np.linalg.inv(ROOT @ ROOT.T)
BLANK = Guide(np.zeros(3), np.zeros(3))


def run(target, start=BLANK, steps=4000, learning_rate=0.05):
    program = jax.jit(
        lambda key, guide, steps: fit(
            key, guide, target, steps=steps, learning_rate=learning_rate
        )
    )
    with float64():
        return jax.device_get(program(KEY, start, np.array(steps)))


def normal(theta):
    slope = jnp.asarray(PRECISION) @ (theta - MEAN)
    return 0.5 * (theta - MEAN) @ slope, slope


@pytest.fixture(scope="module")
def found():
    return run(normal)


def test_the_guide_of_a_normal_target_has_its_mean_and_its_precisions(found):
    """Bishop (2006), section 10.1.2: the variance is 1 over the precision."""
    guide, told = found
    np.testing.assert_allclose(guide.mean, MEAN, atol=0.02)
    np.testing.assert_allclose(
        np.exp(guide.log_sd), 1 / np.sqrt(np.diag(PRECISION)), rtol=0.02
    )
    assert told.failed == 0


def test_the_bound_misses_the_evidence_by_the_divergence_of_the_guide(found):
    """KL of two normals of equal mean, whose precision has diagonal D: log|D|−log|P|"""
    _, told = found
    evidence = 0.5 * (3 * np.log(2 * np.pi) - np.linalg.slogdet(PRECISION)[1])
    gap = np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1]
    assert 0 < told.error < 0.5
    assert abs(told.elbo - (evidence - 0.5 * gap)) < 4.5 * told.error


def test_an_orthogonal_regression_has_its_conjugate_posterior():
    """Murphy (2012), eq. 7.60, where X'X is diagonal, so that nothing is missed."""
    rng = np.random.default_rng(1)
    X = np.linalg.qr(rng.normal(size=(30, 3)))[0] * [8.0, 4.0, 1.0]
    y, sd = X @ [1.0, -0.5, 0.3] + 0.4 * rng.normal(size=30), 0.4

    def density(w):
        value = lambda w: 0.5 * jnp.sum((y - X @ w) ** 2) / sd**2 + 0.5 * w @ w  # noqa: E731
        return jax.value_and_grad(value)(w)

    guide, told = run(density)
    precision = np.diag(X.T @ X / sd**2 + np.eye(3))
    np.testing.assert_allclose(guide.mean, X.T @ y / sd**2 / precision, atol=0.002)
    np.testing.assert_allclose(np.exp(guide.log_sd), precision**-0.5, rtol=0.002)
    assert told.error < 0.01  # path derivatives: a guide that is right has no noise


def test_a_warm_start_stays_and_none_moves_without_steps(found):
    warm, told = run(normal, start=found[0], steps=50, learning_rate=0.01)
    np.testing.assert_allclose(warm.mean, found[0].mean, atol=0.1)
    same, _ = run(normal, start=found[0], steps=0)
    np.testing.assert_array_equal(same.mean, found[0].mean)
    np.testing.assert_array_equal(same.log_sd, found[0].log_sd)
    assert told.failed == 0


def test_steps_that_are_not_finite_are_not_taken_and_are_counted():
    def walled(theta):
        value, slope = normal(theta)
        return jnp.where(theta[0] > 1.5, jnp.nan, value), slope

    guide, told = run(walled, steps=300)
    assert told.failed > 0
    assert np.all(np.isfinite(np.concatenate(guide)))
    nothing, all_failed = run(lambda t: (jnp.nan * t[0], jnp.nan * t), steps=20)
    assert all_failed.failed == 20
    np.testing.assert_array_equal(nothing.mean, BLANK.mean)


def test_a_descent_ends_at_the_lowest_point_of_any_tree():
    target = {"a": np.array([1.0, 2.0]), "b": np.array(-3.0)}

    def slope(_, at):
        gap = jax.tree.map(lambda x, t: x - t, at, target)
        return sum(jnp.sum(g**2) for g in gap.values()), gap

    start = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    end, failed = descend(slope, start, steps=600, learning_rate=0.1)
    np.testing.assert_allclose(end["a"], target["a"], atol=1e-3)
    np.testing.assert_allclose(end["b"], target["b"], atol=1e-3)
    assert failed == 0


def test_draws_have_the_moments_of_the_guide_and_come_in_opposite_pairs():
    guide = Guide(jnp.asarray(MEAN), jnp.log(jnp.array([0.5, 1.0, 2.0])))
    some = np.asarray(draws(KEY, guide, 20_000))
    np.testing.assert_allclose(some.mean(0), MEAN, atol=1e-4)
    np.testing.assert_allclose(some.std(0), [0.5, 1.0, 2.0], rtol=4.5 / np.sqrt(2e4))
    np.testing.assert_allclose(
        (some[::2] + some[1::2]) / 2, MEAN[None] + 0 * some[::2], atol=1e-5
    )
    assert draws(KEY, guide, 3).shape == (3, 3)


def test_the_number_of_steps_is_an_argument_not_a_program():
    program = jax.jit(
        lambda key, guide, steps: fit(
            key, guide, normal, steps=steps, learning_rate=0.1
        )
    )
    with float64(), count_compilations() as seen:
        for steps in (3, 5, 9):
            jax.block_until_ready(program(KEY, BLANK, np.array(steps)))
    assert seen.count == 1
