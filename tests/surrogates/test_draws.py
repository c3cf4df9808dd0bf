"""Joint draws against the posterior they are drawn from, in closed form."""

import jax
import numpy as np
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, UnknownName
from aemtwin.surrogates import draws, get
from aemtwin.surrogates.base import Draws, float64, pad
from aemtwin.surrogates.draws import path, prior
from aemtwin.surrogates.exact import Hyper, between, condition

prepare_jax()  # keep what takes long to compile between test runs

MANY = 4000  # draws; a variance is then known to 2.2 percent
KEY = jax.random.key(11)
RNG = np.random.default_rng(5)
X, X_NEW = RNG.random((12, 2)), RNG.random((7, 2))
Y = 3.0 + np.sin(6 * X[:, 0]) + X[:, 1]


def hyper(noise=0.2):
    return Hyper(
        np.float64(1.5), np.array([0.3, 0.6]), np.float64(noise), np.float64(2.5)
    )


def exact_posterior(h, kernel):
    """Mean and covariance of f at X_NEW by the textbook, without any factor."""
    K, K_new, K_both = (
        np.asarray(between(kernel, h, *pair))
        for pair in ((X, X), (X, X_NEW), (X_NEW, X_NEW))
    )
    weights = np.linalg.solve(K + h.noise**2 * np.eye(len(X)), K_new)
    return h.mean + weights.T @ (Y - h.mean), K_both - K_new.T @ weights


def drawn(h, at, count, kernel, **settings):
    data = pad(X, Y)  # the padding must count for nothing

    def one(key, L, alpha):
        return path(key, h, data.X, data.mask, L, alpha, at, kernel=kernel, **settings)

    with float64():
        L, alpha, _ = condition(h, *data[:3], kernel=kernel)
        many = jax.jit(jax.vmap(one, (0, None, None)))
        return np.asarray(many(jax.random.split(KEY, count), L, alpha))


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
def test_many_draws_have_the_joint_mean_and_covariance_of_the_posterior(kernel):
    f = drawn(hyper(), X_NEW, MANY, kernel, waves=64)
    with float64():
        mean, covariance = exact_posterior(hyper(), kernel)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(f.mean(0) - mean) < 4.5 * sd / np.sqrt(MANY))
    off = (np.cov(f.T) - covariance) / np.outer(sd, sd)
    assert np.abs(off).max() < 4.5 * np.sqrt(2.5 / MANY)  # tails a little heavier


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
def test_the_waves_of_one_draw_have_the_covariance_of_the_kernel(kernel):
    """The phases average over chance, the frequencies alone over many waves."""
    at = np.linspace([0.0, 0.0], [0.7, 0.4], 6)

    def one(key):
        return prior(key, hyper(), 2, kernel=kernel, waves=256, dtype=np.float64)(at)

    with float64():
        f = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, MANY)))
        K = np.asarray(between(kernel, hyper(), at, at))
    error = np.abs(f.T @ f / MANY - K).max() / hyper().scale ** 2
    assert error < 4.5 * np.sqrt(2.0 / MANY)


def test_without_noise_every_draw_passes_through_the_data():
    f = drawn(hyper(noise=1e-6), X, 20, "matern52")
    np.testing.assert_allclose(f, np.tile(Y, (20, 1)), rtol=0, atol=1e-4)


def test_candidates_in_many_chunks_are_drawn_as_in_one(monkeypatch):
    whole = drawn(hyper(), X_NEW, 3, "matern52")
    monkeypatch.setattr(draws, "CHUNK", 3)
    parts = drawn(hyper(), X_NEW, 3, "matern52")
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-10)


def test_a_kernel_without_a_known_spectrum_is_refused():
    with pytest.raises(UnknownName, match="matern52"):
        prior(KEY, hyper(), 2, kernel="cosine", waves=8, dtype=np.float32)


@pytest.mark.parametrize("name", ["gp", "bayes_gp"])
def test_a_surrogate_draws_what_it_predicts(name):
    surrogate = get(name)
    assert isinstance(surrogate, Draws)
    rng = np.random.default_rng(0)
    at, points = rng.random((60, 2)), rng.random((14, 2))
    y = np.sin(6 * points[:, 0]) + 0.05 * rng.normal(size=14)
    with pytest.raises(BadConfig, match="draw got a state without data"):
        surrogate.draw(KEY, surrogate.init(2), at)
    state, _ = surrogate.fit(KEY, surrogate.init(2), pad(points, y))
    found = surrogate.predict(KEY, state, at)
    keys = jax.random.split(KEY, 400)
    f = np.array([surrogate.draw(key, state, at) for key in keys])
    assert f.dtype == np.float64
    assert f.shape == (400, 60)
    np.testing.assert_array_equal(f[0], surrogate.draw(keys[0], state, at))
    z = (f.mean(0) - found.mean) / np.sqrt(found.variance / 400)
    assert np.abs(z).max() < 4.5
    ratio = f.var(0) / found.variance
    assert 0.6 < ratio.min() <= ratio.max() < 1.6
    assert abs(np.mean(ratio) - 1) < 0.1


@pytest.mark.slow
def test_a_fitted_surface_that_is_certain_is_drawn_without_much_chance():
    gp = get("gp")
    x = np.linspace(0, 1, 16)[:, None]
    state, info = gp.fit(KEY, gp.init(1), pad(x, np.sin(6 * x[:, 0])))
    f = np.array([gp.draw(key, state, x) for key in jax.random.split(KEY, 5)])
    assert np.abs(f - np.sin(6 * x[:, 0])).max() < 5 * info["noise_sd"] + 0.01
