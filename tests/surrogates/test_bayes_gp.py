"""The sampled GP against integration over a grid, and against plainer mixtures."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import float64, pad
from aemtwin.surrogates.bayes_gp import APART, HIGHEST, BayesGP
from aemtwin.surrogates.coordinates import prior_draws, straight
from aemtwin.surrogates.exact import (
    Hyper,
    natural,
    objective,
    posterior,
    prior,
    standardise,
)
from aemtwin.surrogates.gp import GP

prepare_jax()  # its programs take long to compile: keep them between test runs

KEY = jax.random.key(2)
RNG = np.random.default_rng(3)
LINE = RNG.random((14, 1))
WAVE = np.sin(7 * LINE[:, 0]) + 0.3 * RNG.normal(size=14)


def test_sampling_coordinates_keep_volume_and_lead_back_to_theta():
    with float64():
        for phi in RNG.normal(size=(20, 4)):
            J = np.asarray(jax.jacobian(straight)(jnp.asarray(phi)))
            assert abs(np.linalg.det(J)) == pytest.approx(1.0, rel=1e-12)
            h = natural(straight(jnp.asarray(phi)))
            assert np.log(h.scale / h.noise) == pytest.approx(phi[-1])
            assert 0.5 * np.log(h.scale**2 + h.noise**2) == pytest.approx(phi[0])


def test_the_first_draws_are_those_of_the_prior():
    phi = prior_draws(4, 250, "matern52", 2)
    assert phi.shape == (4, 250, 4)
    with float64():
        theta = np.asarray(jax.vmap(straight)(jnp.asarray(phi.reshape(-1, 4))))
    middle, sd = prior("matern52", 2)
    np.testing.assert_allclose(theta.mean(0), middle, atol=0.05)
    np.testing.assert_allclose(theta.std(0), sd, rtol=0.05)
    assert np.abs(np.corrcoef(theta.T) - np.eye(4)).max() < 0.15


@pytest.mark.slow
def test_the_posterior_is_the_integral_over_hyperparameters():
    """Sum over a grid of theta, in one dimension, on which nothing is sampled."""
    data, at = pad(LINE, WAVE), np.linspace(0, 1, 9)[:, None]
    middle, sd = prior("matern52", 1)
    axes = [m + s * np.linspace(-4, 4, 25) for m, s in zip(middle, sd, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)

    def one(theta):
        u, shift, spread = standardise(data.y, data.mask)
        value, _, _ = objective(theta, data.X, u, data.mask)
        h = natural(theta)
        level = shift, spread * jnp.ones(1)
        h = Hyper(spread * h.scale, h.length, spread * h.noise, *level)
        return value, posterior(h, LINE, WAVE, at)

    with float64():
        value, each = jax.jit(lambda g: jax.lax.map(one, g, batch_size=500))(grid)
        value, each = jax.device_get((value, each))
    weight = np.exp(value.min() - value)
    weight /= weight.sum()
    mean = weight @ each.mean
    variance = weight @ (each.variance + (each.mean - mean) ** 2)

    model = BayesGP(samples=256, kept=256)
    state, info = model.fit(KEY, model.init(1), data)
    found = model.predict(KEY, state, at)
    assert info["r_hat"] < 1.05
    assert np.abs((found.mean - mean) / np.sqrt(variance)).max() < 0.15
    np.testing.assert_allclose(np.sqrt(found.variance), np.sqrt(variance), rtol=0.15)


@pytest.mark.slow
def test_a_read_is_the_mixture_over_the_draws_that_were_kept():
    model, at = BayesGP(), RNG.random((5, 1))
    state, info = model.fit(KEY, model.init(1), pad(LINE, WAVE))
    means, variances = [], []
    with float64():
        for k in range(model.kept):
            one = Hyper(*(jnp.asarray(part[k]) for part in state.mixture.hyper))
            each = posterior(one, LINE, WAVE, at)
            means.append(each.mean)
            variances.append(each.variance)
    found = model.predict(KEY, state, at)
    np.testing.assert_allclose(found.mean, np.mean(means, 0), rtol=1e-8)
    np.testing.assert_allclose(
        found.variance, np.mean(variances, 0) + np.var(means, 0), rtol=1e-8
    )
    assert info["noise_sd"] == pytest.approx(np.median(state.mixture.hyper.noise))
    assert {"r_hat", "ess", "divergences", "accept_prob", "step_size"} <= set(info)


@pytest.mark.slow
def test_where_the_optimum_is_sure_that_all_is_structure_the_mixture_is_not():
    """Pure noise: a MAP may thread it; averaged, the field stays uncertain."""
    inside = {"gp": [], "bayes_gp": []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y, at = rng.random((14, 2)), rng.normal(size=14), rng.random((60, 2))
        for model in (GP(), BayesGP()):
            state, _ = model.fit(KEY, model.init(2), pad(X, y))
            found = model.predict(KEY, state, at)
            inside[model.name].append(np.abs(found.mean) < 2 * np.sqrt(found.variance))
    assert np.mean(inside["bayes_gp"]) > 0.85
    assert np.mean(inside["bayes_gp"]) >= np.mean(inside["gp"])


def test_between_samplings_hyperparameters_stay_and_the_posterior_moves():
    model, key = BayesGP(refit_every=3), KEY
    state, info = model.fit(key, model.init(1), pad(LINE[:10], WAVE[:10]))
    later, told = model.fit(key, state, pad(LINE[:12], WAVE[:12]))
    last, again = model.fit(key, later, pad(LINE[:13], WAVE[:13]))
    assert [i["searched"] for i in (info, told, again)] == [1, 0, 1]
    assert (told["rounds"], told["evaluations"]) == (0, 0)
    np.testing.assert_array_equal(later.chains.draws, state.chains.draws)
    assert last.fitted == 13
    before, after = (model.predict(key, s, LINE).variance for s in (state, later))
    assert after.sum() < before.sum()


def test_a_first_fit_has_no_more_rounds_than_asked_for_and_says_what_they_miss(caplog):
    model = BayesGP(rounds=1, warmup=0, samples=4, kept=4)
    with caplog.at_level(logging.WARNING, logger="aemtwin"):
        state, info = model.fit(KEY, model.init(1), pad(LINE, WAVE))
    assert info["rounds"] == 1
    assert info["r_hat"] > APART
    (record,) = caplog.records
    assert record.name == "aemtwin.surrogates.bayes_gp"
    assert f"r-hat is {info['r_hat']:.3g}" in record.getMessage()
    assert "disagree on 14 points after all of its rounds = 1" in record.getMessage()
    caplog.clear()
    model.fit(KEY, state._replace(fitted=14), pad(LINE, WAVE))  # nothing is sampled
    assert not caplog.records


def test_a_usual_fit_logs_nothing(caplog):
    model = BayesGP()
    state = model.init(1)
    for n in (10, 12, 14):
        state, info = model.fit(KEY, state, pad(LINE[:n], WAVE[:n]))
        assert info["r_hat"] < APART
    assert not caplog.records


@pytest.mark.parametrize(("apart", "ess"), [(0.0, 0.0), (1.0, 2.0)])
def test_chains_that_never_moved_do_not_agree(apart, ess):
    """Whether all stand at one place, where r-hat is 0/0, or each at its own."""
    model = BayesGP()
    blank = model.carry(model.init(1))
    draws = np.zeros_like(blank["draws"]) + apart * np.arange(4.0)[:, None, None] / 4
    state = model.restore({**blank, "draws": draws, "fitted": 14}, 1)
    _, info = model.fit(KEY, state, pad(LINE, WAVE))
    assert info["searched"] == 0
    assert info["r_hat"] == HIGHEST
    assert info["ess"] == pytest.approx(ess, abs=0.1)


def test_misuse_is_told_in_a_sentence():
    model = BayesGP()
    with pytest.raises(UnknownName, match="matern52"):
        BayesGP(kernel="matern")
    with pytest.raises(BadConfig, match="whole number from 4 on"):
        BayesGP(samples=3)
    with pytest.raises(BadConfig, match="Keep fewer"):
        BayesGP(samples=10, kept=41)
    with pytest.raises(BadConfig, match="above 1"):
        BayesGP(agree=float("nan"))
    with pytest.raises(BadConfig, match="without data"):
        model.predict(KEY, model.init(2), np.zeros((3, 2)))
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        model.fit(KEY, model.init(3), pad(np.zeros((1, 2)), [0.0]))
    with pytest.raises(ShapeMismatch, match=r"\(4, 64, 5\)"):
        model.restore(model.carry(model.init(2)), 3)
