"""The sampler against targets with a closed form, and NumPyro's own diagnostics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import float64
from aemtwin.surrogates.coordinates import prior_draws
from aemtwin.surrogates.nuts import ACCEPT, Chains, pooled, r_hat, rounds

prepare_jax()  # keep what takes long to compile between test runs

KEY = jax.random.key(0)
MEAN = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [0.0, 0.5, 2.0]])
COVARIANCE = ROOT @ ROOT.T


def normal(theta):
    slope = jnp.linalg.solve(jnp.asarray(COVARIANCE), theta - MEAN)
    return 0.5 * (theta - MEAN) @ slope, slope


def walled(theta):
    """Half a normal: no value below the mean of the first dimension."""
    value, slope = normal(theta)
    out = theta[0] < MEAN[0]
    return jnp.where(out, jnp.nan, value), jnp.where(out, jnp.nan, slope)


def sample(target, *, least=4, most=4, samples=300, start=None):
    chains = Chains(prior_draws(4, samples, "matern52", 1), np.array(0.5))
    run = jax.jit(
        lambda key, chains, least: rounds(
            key, chains, target, warmup=20, depth=6, least=least, most=most, agree=1.05
        )
    )
    with float64():
        return jax.device_get(run(KEY, start or chains, np.array(least)))


def test_draws_have_the_mean_and_covariance_of_a_normal_target():
    chains, told = sample(normal)
    flat = chains.draws.reshape(-1, 3)
    sd = np.sqrt(np.diag(COVARIANCE))
    size = effective_sample_size(chains.draws).min()
    assert size > 300
    assert np.all(np.abs(flat.mean(0) - MEAN) < 4.5 * sd / np.sqrt(size))
    off = (np.cov(flat.T) - COVARIANCE) / np.outer(sd, sd)
    assert np.abs(off).max() < 4.5 * np.sqrt(2 / size)
    assert told.r_hat < 1.02
    assert told.divergences == 0


def test_the_step_finds_the_acceptance_that_it_aims_at():
    _, told = sample(normal, least=12, most=12, samples=100)
    assert told.accept == pytest.approx(ACCEPT, abs=0.1)
    assert told.rounds == 12


@pytest.mark.slow
def test_where_the_target_has_no_value_no_draw_lies():
    chains, told = sample(walled)
    assert np.all(chains.draws[..., 0] >= MEAN[0])
    half = MEAN[0] + np.sqrt(2 / np.pi)
    assert chains.draws[..., 0].mean() == pytest.approx(half, abs=0.15)
    assert np.isfinite(told.r_hat)


def test_rounds_end_when_the_chains_agree_and_none_is_sampled_when_none_is_asked():
    chains, told = sample(normal, least=1, most=8)
    assert 1 <= told.rounds < 8
    same, none = sample(normal, least=0, most=8, start=chains)
    np.testing.assert_array_equal(same.draws, chains.draws)
    assert (none.rounds, none.evaluations) == (0, 0)
    assert none.r_hat == pytest.approx(told.r_hat)


@pytest.mark.slow
def test_no_more_rounds_are_sampled_than_the_most_even_where_the_least_is_more():
    _, told = sample(normal, least=3, most=2, samples=20)
    assert told.rounds == 2


def test_r_hat_agrees_with_numpyro():
    draws = np.random.default_rng(0).normal(size=(4, 50, 3)).cumsum(axis=1)
    with float64():
        ours = np.asarray(r_hat(jnp.asarray(draws)))
    np.testing.assert_allclose(ours, split_gelman_rubin(draws), rtol=1e-12)


def test_the_pooled_covariance_is_that_of_all_draws_nearly():
    draws = np.random.default_rng(1).normal(size=(4, 500, 3)) @ ROOT.T
    with float64():
        found = np.asarray(pooled(jnp.asarray(draws)))
    np.testing.assert_allclose(found, np.cov(draws.reshape(-1, 3).T), rtol=0.01)
