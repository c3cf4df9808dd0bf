"""Bayesian nets against exact regression, plainer mixtures, and degenerate data."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import Draws, Surrogate, count_compilations, float64, pad
from aemtwin.surrogates.bayes_nets import (
    FLOOR,
    NOISE,
    dimensions,
    features,
    inputs,
    last_layer,
    negative_log_density,
    output,
)
from aemtwin.surrogates.bnn import BNN

prepare_jax()  # its programs take long to compile: keep them between test runs

KEY = jax.random.key(4)
KINDS = ("nuts", "svi", "partial")
EACH = [  # the two that go a long way to their weights in the slow tier
    pytest.param(kind, marks=[] if kind == "partial" else [pytest.mark.slow])
    for kind in KINDS
]
SIDE = np.linspace(0.0, 1.0, 7)
WIDE = np.stack(np.meshgrid(SIDE, SIDE, indexing="ij"), -1).reshape(-1, 2)
PLANE = 3 * WIDE[:, 0] - 2 * WIDE[:, 1] + 0.3 * np.random.default_rng(0).normal(size=49)
AT = np.random.default_rng(1).random((40, 2)) * 1.4 - 0.2
SMALL = {"samples": 16, "depth": 6, "hidden": (8, 8)}


@cache
def fitted(kind):
    model = BNN(inference=kind, **SMALL)
    y = np.sin(5 * WIDE[:, 0]) + WIDE[:, 1]
    return model, *model.fit(KEY, model.init(2), pad(WIDE, y))


def exact_regression(X, y, at):
    """Mean and variance of the plane, by full covariances and a sum over the noise."""
    shift, spread = y.mean(), y.std()
    u = (y - shift) / spread
    phi, new = (
        np.hstack([(x - 0.5) * np.sqrt(12 / 2), np.ones((len(x), 1))]) for x in (X, at)
    )
    grid = np.linspace(-4, 4, 801)
    logs, means, variances = [], [], []
    for z in grid:
        noise = FLOOR + np.exp(NOISE[0] + NOISE[1] * z)
        K = phi @ phi.T + noise**2 * np.eye(len(u))
        logs.append(multivariate_normal.logpdf(u, cov=K) - 0.5 * z**2)
        V = np.linalg.solve(K, phi @ new.T)
        means.append(V.T @ u)
        variances.append(np.sum(new**2, 1) - np.sum((phi @ new.T) * V, 0))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    variance = weight @ (np.array(variances) + (np.array(means) - mean) ** 2)
    level = FLOOR + np.exp(NOISE[0] + NOISE[1] * grid)
    return shift + spread * mean, spread**2 * variance, spread * (weight @ level)


@pytest.mark.parametrize("kind", EACH)
def test_a_net_without_hidden_layers_is_an_exact_linear_regression(kind):
    """On a full grid X'X is diagonal, so that a guide without correlations is exact."""
    model = BNN(inference=kind, hidden=(), samples=256, warmup=20, depth=4)
    state, info = model.fit(KEY, model.init(2), pad(WIDE, PLANE))
    found = model.predict(KEY, state, AT)
    mean, variance, noise = exact_regression(WIDE, PLANE, AT)
    sd = np.sqrt(variance)
    size = min(info["ess"], 512)
    assert size > 100
    assert np.abs((found.mean - mean) / sd).max() < 4.5 / np.sqrt(size)
    off = np.sqrt(found.variance) / sd - 1.0
    assert np.abs(off).max() < 4.5 / np.sqrt(2 * size)
    assert info["noise_sd"] == pytest.approx(noise, rel=0.05)
    assert info["r_hat"] < 1.1


def test_the_last_layer_has_the_posterior_of_a_regression_on_its_features():
    rng = np.random.default_rng(5)
    phi, mask = rng.normal(size=(24, 5)), np.arange(24) < 20
    u = np.where(mask, phi @ rng.normal(size=5) + 0.5 * rng.normal(size=24), 0.0)
    with float64():
        z, head = jax.jit(last_layer, static_argnums=4)(KEY, phi, u, mask, 20_000)
    z, head = np.asarray(z), np.asarray(head)
    grid, logs, means, covariances = np.linspace(-4, 4, 401), [], [], []
    for one in grid:
        variance = (FLOOR + np.exp(NOISE[0] + NOISE[1] * one)) ** 2
        K = phi[mask] @ phi[mask].T + variance * np.eye(20)
        logs.append(multivariate_normal.logpdf(u[mask], cov=K) - 0.5 * one**2)
        C = np.linalg.inv(phi[mask].T @ phi[mask] / variance + np.eye(5))
        covariances.append(C)
        means.append(C @ phi[mask].T @ u[mask] / variance)
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    apart = np.array(means) - mean
    covariance = np.einsum("g,gij->ij", weight, np.array(covariances))
    covariance += np.einsum("g,gi,gj->ij", weight, apart, apart)
    sd = np.sqrt(np.diag(covariance))
    middle = weight @ grid
    assert z.mean() == pytest.approx(middle, abs=0.005)
    assert z.std() == pytest.approx(np.sqrt(weight @ (grid - middle) ** 2), rel=0.02)
    assert np.abs((head.mean(0) - mean) / sd).max() < 0.01
    off = (np.cov(head.T) - covariance) / np.outer(sd, sd)
    assert np.abs(off).max() < 4.5 * np.sqrt(2 / 20_000)


def test_the_density_is_that_of_a_net_written_out():
    model = BNN(hidden=(4, 3))
    design, d = model._design(2), 2
    rng = np.random.default_rng(2)
    theta = rng.normal(size=dimensions(design, d))
    assert dimensions(design, d) == 1 + 4 + 2 + (2 * 4 + 4) + (4 * 3 + 3)
    X, u, mask = rng.random((6, 2)), rng.normal(size=6), np.arange(6) < 5
    parts = np.split(theta, np.cumsum([1, 3, 1, 1, 1, 8, 4, 12]))
    z, head, bias, reach, amplitude, w0, b0, w1, b1 = parts
    h = (X - 0.5) * np.sqrt(12)
    h = 4 * np.exp(0.5 * reach) * (h @ w0.reshape(2, 4) / np.sqrt(2) + b0)
    h = np.tanh(3 * np.tanh(h) @ w1.reshape(4, 3) / np.sqrt(4) + b1)
    f = 4 * np.exp(0.5 * amplitude) * h @ head / np.sqrt(3) + bias
    sd = FLOOR + 0.1 * np.exp(1.5 * z[0])
    value = 0.5 * np.sum((u - f)[mask] ** 2) / sd**2 + 5 * np.log(sd)
    value += 0.5 * theta @ theta
    with float64():
        x = inputs(jnp.asarray(X), design)
        np.testing.assert_allclose(output(theta, x, design), f, rtol=1e-5)
        assert features(theta, x, design).dtype == np.float32
        found = negative_log_density(jnp.asarray(theta), x, u, mask, design)
    assert float(found) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("kind", EACH)
def test_a_read_is_the_mixture_over_draws_and_a_draw_is_one_of_them(kind):
    model, state, info = fitted(kind)
    many = np.random.default_rng(3).random((5000, 2))  # more than one chunk
    found, design = model.predict(KEY, state, many), model._design(2)
    with float64():
        x = inputs(jnp.asarray(many), design)
        one = jax.jit(output, static_argnums=2)
        each = [np.asarray(one(t, x, design), np.float64) for t in state.theta]
    each = state.point["shift"] + state.point["spread"] * np.array(each)
    np.testing.assert_allclose(found.mean, each.mean(0), atol=1e-4)
    np.testing.assert_allclose(
        found.variance, each.var(0, ddof=1), rtol=1e-3, atol=1e-6
    )
    drawn = model.draw(KEY, state, many)
    assert np.abs(each - drawn).max(axis=1).min() < 1e-4
    other = model.draw(jax.random.key(9), state, many)
    assert np.abs(other - drawn).max() > 1e-4
    assert isinstance(model, Surrogate)
    assert isinstance(model, Draws)
    expected = {"r_hat", "ess", "divergences", "evaluations", "noise_sd", "finite"}
    assert expected | {"n", "capacity", "searched"} <= set(info)
    assert (info["n"], info["capacity"], info["finite"]) == (49, 64, 1)


@pytest.mark.parametrize("kind", EACH)
def test_a_smooth_field_is_learned_better_than_its_mean(kind):
    model, state, _ = fitted(kind)
    inside = AT[np.all((AT > 0) & (AT < 1), axis=1)]
    truth = np.sin(5 * inside[:, 0]) + inside[:, 1]
    found = model.predict(KEY, state, inside)
    assert np.sqrt(np.mean((found.mean - truth) ** 2)) < 0.6 * truth.std()


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("case", ["constant", "duplicates", "one point", "outlier"])
def test_degenerate_data_give_finite_posteriors(kind, case):
    model, _, _ = fitted(kind)
    X, y = WIDE.copy(), PLANE.copy()
    if case == "constant":
        y[:] = 3.5e-12
    elif case == "duplicates":
        X, y = np.repeat(WIDE[:12], 4, axis=0), np.arange(48.0)
    elif case == "one point":
        X, y = WIDE[:1], PLANE[:1]
    else:
        y[3] = 1e9
    data = pad(X, y)
    if len(data.y) < 64:  # one program for all cases
        blank = pad(WIDE, PLANE)
        data = blank._replace(X=0 * blank.X, y=0 * blank.y, mask=np.arange(64) < len(y))
        data.X[: len(y)], data.y[: len(y)] = X, y
    state, info = model.fit(KEY, model.init(2), data)
    found = model.predict(KEY, state, AT)
    assert info["finite"] == 1
    assert all(type(value) in (int, float) for value in info.values())
    assert np.all(np.isfinite(list(info.values())))
    assert np.all(np.isfinite(found.mean))
    assert np.all(np.isfinite(found.variance) & (found.variance >= 0))
    if case == "constant":
        assert np.all(np.abs(found.mean - 3.5e-12) < 3.5e-12)


@pytest.mark.parametrize("kind", EACH)
def test_a_fit_goes_on_bit_for_bit_and_compiles_nothing(kind):
    model, state, _ = fitted(kind)
    carried = {k: np.array(a.tolist(), a.dtype) for k, a in model.carry(state).items()}
    assert sum(a.nbytes for a in carried.values()) < 1_000_000
    data = pad(WIDE[:40], PLANE[:40])
    one, info = model.fit(KEY, state, data)
    with count_compilations() as compiled:
        two, told = model.fit(KEY, model.restore(carried, 2), data)
    assert compiled.count == 0
    assert info == told
    np.testing.assert_array_equal(one.theta, two.theta)


@pytest.mark.parametrize("kind", EACH)
def test_between_inferences_only_a_last_layer_moves(kind):
    model, state, _ = fitted(kind)
    lazy = BNN(inference=kind, refit_every=3, **SMALL)
    y = np.append(np.sin(5 * WIDE[:, 0]) + WIDE[:, 1], 40.0)
    later, info = lazy.fit(KEY, state, pad(np.vstack([WIDE, [[0.5, 0.5]]]), y))
    assert info["searched"] == 0
    assert later.fitted == 49
    name = {"nuts": "draws", "svi": "mean", "partial": "theta"}[kind]
    np.testing.assert_array_equal(later.point[name], state.point[name])
    before, after = (model.predict(KEY, s, AT).mean for s in (state, later))
    if kind == "partial":
        assert np.abs(after - before).max() > 0.1
    else:
        assert later.point["shift"] == state.point["shift"]


def test_modes_of_a_partial_net_begin_anew_so_that_no_fit_trains_another():
    """Modes that went on and on would fit the noise, and be ever more sure of it."""
    model, state, _ = fitted("partial")
    data = pad(WIDE[:40], PLANE[:40])
    first, later = (model.fit(KEY, s, data)[0] for s in (model.init(2), state))
    np.testing.assert_array_equal(first.theta, later.theta)
    behind = np.asarray(first.theta)[:, 1 + 9 :].reshape(8, 16, -1)
    assert np.all(behind == behind[:, :1])  # draws of a mode share the hidden layers
    assert len(np.unique(behind[:, 0], axis=0)) == 8


@pytest.mark.slow
def test_intervals_of_a_partial_net_hold_what_they_say():
    """Six fields of a Gaussian process, 49 points; of one mode 90 % are 67 %."""
    rng = np.random.default_rng(11)
    X = rng.random((249, 2))
    r = np.sqrt(5) * np.linalg.norm(X[:, None] - X[None], axis=-1) / 0.15
    L = np.linalg.cholesky((1 + r + r**2 / 3) * np.exp(-r) + 1e-9 * np.eye(len(X)))
    model, inside = BNN(inference="partial"), []
    for k in range(6):
        f = L @ rng.normal(size=len(X))
        y = f[:49] + 0.1 * rng.normal(size=49)
        state, _ = model.fit(jax.random.key(k), model.init(2), pad(X[:49], y))
        found = model.predict(KEY, state, X[49:])
        inside.append(np.abs(f[49:] - found.mean) < 1.645 * np.sqrt(found.variance))
    assert 0.85 < np.mean(inside) < 0.95


@pytest.mark.slow
def test_patches_are_read_beside_the_position():
    rng = np.random.default_rng(6)
    X = rng.random((49, 2))
    X = np.hstack([X, np.exp(rng.normal(size=(49, 1))) * rng.normal(size=(49, 16))])
    y = X[:, 0] + np.log(X[:, 2:].std(axis=1))
    model = BNN(inference="partial", size=4)
    with float64():
        x = np.asarray(inputs(jnp.asarray(X), model._design(18)))
    assert x.shape == (49, 2 + 6)
    state, _ = model.fit(KEY, model.init(18), pad(X[:40], y[:40]))
    error = model.predict(KEY, state, X[40:]).mean - y[40:]
    assert np.sqrt(np.mean(error**2)) < 0.6 * y.std()
    with pytest.raises(ShapeMismatch, match="multiple of 16"):
        model.init(17)


def test_misuse_is_told_in_a_sentence():
    model = BNN()
    with pytest.raises(UnknownName, match="partial"):
        BNN(inference="vi")
    with pytest.raises(UnknownName, match="tanh"):
        BNN(activation="relu")
    with pytest.raises(BadConfig, match="whole numbers from 4 on"):
        BNN(samples=3)
    with pytest.raises(BadConfig, match="even"):
        BNN(samples=5)
    with pytest.raises(BadConfig, match="whole numbers from 1 on"):
        BNN(hidden=[0])
    with pytest.raises(BadConfig, match="above 1"):
        BNN(agree=float("nan"))
    with pytest.raises(BadConfig, match="without data"):
        model.predict(KEY, model.init(2), AT)
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        model.fit(KEY, model.init(1), pad(np.zeros((1, 2)), [0.0]))
    with pytest.raises(ShapeMismatch, match="restore"):
        model.restore(model.carry(model.init(2)), 1)
    assert BNN(hidden=[4, 4]).hidden == (4, 4)
