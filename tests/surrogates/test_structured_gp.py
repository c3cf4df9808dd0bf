"""Structured GPs against conjugate models, grids of integration and plain mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates.base import float64, pad
from aemtwin.surrogates.bayes_gp import BayesGP
from aemtwin.surrogates.coordinates import straight
from aemtwin.surrogates.evidence import bridge
from aemtwin.surrogates.exact import (
    Hyper,
    natural,
    objective,
    posterior,
    prior,
    standardise,
    trend_sd,
)
from aemtwin.surrogates.hypotheses import Hypotheses, density
from aemtwin.surrogates.means import Mean, load
from aemtwin.surrogates.nuts import Chains, rounds
from aemtwin.surrogates.predictive import conditioned, moments
from aemtwin.surrogates.structured_gp import StructuredGP

prepare_jax()  # its programs take long to compile: keep them between test runs

KEY = jax.random.key(2)
RNG = np.random.default_rng(3)
LINE = RNG.random((14, 1))
WAVE = np.sin(7 * LINE[:, 0]) + 0.3 * RNG.normal(size=14)
AT = np.linspace(0, 1, 9)[:, None]
PHI = np.log([1.2, 0.3, 0.1])  # of fixed hyperparameters, as `straight` takes them
LINEAR = Hypotheses((Mean("linear", load("linear"), 1),), "matern52")


def matern52(A, B, length):
    r = np.sqrt(5.0) * np.abs(A - B.T) / length
    return (1 + r + r**2 / 3) * np.exp(-r)


def fixed():
    """Return y standardised, H of the linear mean, B of its prior and K with noise."""
    u = (WAVE - WAVE.mean()) / WAVE.std()
    scale, length, noise = np.exp(np.asarray(straight(PHI)))
    K = scale**2 * matern52(LINE, LINE, length) + noise**2 * np.eye(14)
    H = np.concatenate([LINE - 0.5, np.ones((14, 1))], axis=1)  # slope, then level
    B = np.diag(trend_sd("linear", 1)[::-1] ** 2)
    return u, H, B, K + 1e-10 * scale**2 * np.eye(14)


def of_fixed(beta):
    """Return what is sampled of beta alone, with hyperparameters fixed."""
    data = pad(LINE, WAVE)
    u, _, _ = standardise(data.y, data.mask)
    one = jnp.array([0.0, 1.0])
    value, slope = density(
        *(jnp.concatenate([PHI, beta]), 0, data.X, u, data.mask, 0.0, one),
        hypotheses=LINEAR,
    )
    return value, slope[3:]


def test_the_density_is_that_of_all_data_and_parameters_and_its_slope_too():
    u, H, _, K = fixed()
    phi = np.array([*PHI, 0.7, -0.4])
    theta, (middle, sd) = np.asarray(straight(phi[:3])), prior("matern52", 1)
    log_p = multivariate_normal(H @ phi[3:], K).logpdf(u)
    log_p += norm(middle, sd).logpdf(theta).sum()
    log_p += norm(0, trend_sd("linear", 1)[::-1]).logpdf(phi[3:]).sum()
    data = pad(LINE, WAVE)

    def value(phi):
        given = phi, 0, data.X, standardise(data.y, data.mask)[0], data.mask, 0.0
        level = jnp.array([0.0, 1.0])
        return density(*given, level, hypotheses=LINEAR)

    with float64():
        found, slope = jax.device_get(jax.jit(value)(phi))
        steps = np.concatenate([1e-5 * np.eye(5), -1e-5 * np.eye(5)])
        near = np.asarray(jax.jit(jax.vmap(lambda s: value(phi + s)[0]))(steps))
    assert found == pytest.approx(-log_p, rel=1e-9)
    np.testing.assert_allclose(slope, (near[:5] - near[5:]) / 2e-5, rtol=1e-6)


def test_with_hyperparameters_fixed_sampling_and_bridging_are_the_conjugate_model():
    """Bayesian linear regression under correlated errors, known to the last digit.

    Of 1024 draws, means to 0.15 sd, sd to 15 percent, and the log evidence to 0.03.
    """
    u, H, B, K = fixed()
    with float64():
        start = Chains(np.random.default_rng(0).normal(size=(4, 256, 2)), np.array(0.5))

        @jax.jit
        def run(key, chains):
            found, _ = rounds(
                key,
                chains,
                of_fixed,
                warmup=10,
                depth=6,
                least=jnp.array(2),
                most=2,
                agree=1.01,
            )
            return found.draws, bridge(key, found.draws, of_fixed, np.ones(2, bool))

        draws, (evidence, error, lost) = jax.device_get(run(KEY, start))
    middle, sd = prior("matern52", 1)
    constant = norm(middle, sd).logpdf(np.asarray(straight(PHI))).sum()
    known = multivariate_normal(np.zeros(14), K + H @ B @ H.T).logpdf(u) + constant
    assert evidence == pytest.approx(known, abs=0.03)
    assert error < 0.03
    assert lost == 0
    # Rasmussen and Williams (2006), eq. 2.42, in other words
    A = np.linalg.inv(np.linalg.inv(B) + H.T @ np.linalg.solve(K, H))
    mean = A @ H.T @ np.linalg.solve(K, u)
    flat = draws.reshape(-1, 2)
    assert np.abs((flat.mean(0) - mean) / np.sqrt(np.diag(A))).max() < 0.15
    np.testing.assert_allclose(np.cov(flat.T), A, rtol=0.3, atol=0.02)
    np.testing.assert_allclose(flat.std(0), np.sqrt(np.diag(A)), rtol=0.15)


def test_a_mixture_over_a_linear_mean_is_the_gp_with_basis_functions():
    """Four points have the moments of the coefficients' normal posterior exactly."""
    u, H, B, K = fixed()
    A = np.linalg.inv(np.linalg.inv(B) + H.T @ np.linalg.solve(K, H))
    mean, root = A @ H.T @ np.linalg.solve(K, u), np.linalg.cholesky(A)
    beta = mean + np.sqrt(2.0) * np.concatenate([root.T, -root.T])
    phi = np.concatenate([np.tile(PHI, (4, 1)), beta], axis=1)[None]
    data, level = pad(LINE, WAVE), np.array([WAVE.mean(), WAVE.std()])
    with float64():
        given = np.zeros(1), phi, np.array(14), level, data.X, data.y, data.mask
        read = conditioned(*given, np.zeros(16), hypotheses=LINEAR)
        found = moments(read, level, AT, hypotheses=LINEAR)
    scale, length, _ = np.exp(straight(PHI))
    H_at = np.concatenate([AT - 0.5, np.ones((9, 1))], axis=1)
    K_at = scale**2 * matern52(LINE, AT, length) + H @ B @ H_at.T
    whole = K + H @ B @ H.T
    before = scale**2 + np.diag(H_at @ B @ H_at.T)
    left = before - np.sum(K_at * np.linalg.solve(whole, K_at), axis=0)
    middle = level[0] + level[1] * K_at.T @ np.linalg.solve(whole, u)
    np.testing.assert_allclose(found.mean, middle, rtol=1e-7)
    np.testing.assert_allclose(found.variance, level[1] ** 2 * left, rtol=1e-7)


@pytest.mark.slow
def test_evidence_and_posterior_are_those_of_integration_over_a_grid():
    """The mean is integrated by algebra, hyperparameters over 25³ points.

    Log evidences to 0.1, means to 0.2 sd, and sd to 20 percent.
    """
    data = pad(LINE, WAVE)
    middle, sd = prior("matern52", 1)
    steps = np.linspace(-4, 4, 25)
    axes = [m + s * steps for m, s in zip(middle, sd, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    model = StructuredGP(means=["constant", "linear"], samples=128)
    state, info = model.fit(KEY, model.init(1), data)
    shares, moments = [], []
    for name in model.means:
        trend = trend_sd(name, 1)

        def one(theta, trend=trend):
            u, shift, spread = standardise(data.y, data.mask)
            value, _, _ = objective(
                theta, data.X, u, data.mask, trend=tuple(trend.tolist())
            )
            h = natural(theta)
            hyper = Hyper(spread * h.scale, h.length, spread * h.noise, shift)
            hyper = hyper._replace(trend=spread * trend)
            return value, posterior(hyper, LINE, WAVE, AT)

        with float64():
            value, each = jax.jit(
                lambda g, one=one: jax.lax.map(one, g, batch_size=500)
            )(grid)
            value, each = jax.device_get((value, each))
        cell = np.log(steps[1] - steps[0]) - 0.5 * np.log(2 * np.pi)
        evidence = logsumexp(-value) + 3 * cell
        assert info[f"evidence_{name}"] == pytest.approx(evidence, abs=0.1)
        weight = np.exp(-value - logsumexp(-value))
        mean = weight @ each.mean
        moments.append((mean, weight @ (each.variance + (each.mean - mean) ** 2)))
        shares.append(evidence)
    share = np.exp(shares - logsumexp(shares))
    for name, known in zip(model.means, share, strict=True):
        assert info[f"weight_{name}"] == pytest.approx(known, abs=0.04)
    means, variances = (np.array(part) for part in zip(*moments, strict=True))
    mean = share @ means
    sd = np.sqrt(share @ (variances + (means - mean) ** 2))
    found = model.predict(KEY, state, AT)
    assert np.abs((found.mean - mean) / sd).max() < 0.2
    np.testing.assert_allclose(np.sqrt(found.variance), sd, rtol=0.2)


@pytest.mark.slow
def test_a_linear_mean_is_believed_as_bayes_gp_believes_it():
    """It has the same model, with the mean integrated by algebra."""
    plain, model = BayesGP(mean="linear"), StructuredGP(means=("linear",), kept=64)
    found = []
    for one in (plain, model):
        state, info = one.fit(KEY, one.init(1), pad(LINE, WAVE))
        found.append(one.predict(KEY, state, AT))
    sd = np.sqrt(found[0].variance)
    assert info["weight_linear"] == 1.0
    assert np.abs((found[1].mean - found[0].mean) / sd).max() < 0.3
    np.testing.assert_allclose(np.sqrt(found[1].variance), sd, rtol=0.3)


def boundary(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 1))
    return X, np.where(X[:, 0] > 0.62, 3.0, 1.0) + 0.1 * rng.normal(size=n)


HYPOTHESES = ("constant", "linear", "step")


def test_weights_are_the_likelihoods_of_points_averaged_over_draws():
    """Against multivariate normal densities of each."""
    X, y = boundary(12)
    means = tuple(Mean(name, load(name), 1) for name in ("constant", "step"))
    hypotheses, level = Hypotheses(means, "matern52"), np.array([y.mean(), y.std()])
    with float64():
        phi = np.random.default_rng(2).normal(size=(2, 32, max(hypotheses.sizes)))
        which = np.repeat([0, 1], 32)
        many = jax.jit(jax.vmap(lambda k, beta: hypotheses.at(k, beta, X)[0]))
        f = np.asarray(many(which, phi.reshape(64, -1)[:, 3:])).reshape(2, 32, 12)
    for n in (2, 6, 12):
        data, logs = pad(X[:n], y[:n]), np.zeros((2, 32))
        with float64():
            given = np.zeros(2), phi, np.array(0), level, data.X, data.y, data.mask
            read = conditioned(*given, np.zeros(16), hypotheses=hypotheses)
        for at in np.ndindex(2, 32):
            scale, length, noise = np.exp(straight(phi[at][:3]))
            K = scale**2 * matern52(X[:n], X[:n], length) + noise**2 * np.eye(n)
            r = (y[:n] - level[0]) / level[1] - f[at][:n]
            logs[at] = multivariate_normal(np.zeros(n), K).logpdf(r)
        known = logsumexp(logs, axis=1) - logsumexp(logs)
        np.testing.assert_allclose(read.share, np.exp(known), rtol=1e-6)


@pytest.mark.slow
def test_a_step_wins_as_points_arrive_and_its_boundary_is_found():
    X, y = boundary(30)
    model = StructuredGP(means=HYPOTHESES)
    state, weights = model.init(1), []
    for n in (3, 16, 30):
        state, info = model.fit(KEY, state, pad(X[:n], y[:n]))
        weights.append(info["weight_step"])
        assert sum(info[f"weight_{m}"] for m in HYPOTHESES) == pytest.approx(1.0)
    assert weights[0] < 0.7 < weights[1] < weights[2]
    assert weights[2] > 0.95
    left, right = X[X < 0.62].max(), X[X > 0.62].min()
    assert left - 0.02 < 0.5 + info["step.offset"] < right + 0.02
    assert info["step.height"] * y.std() == pytest.approx(2.0, rel=0.15)


@pytest.mark.slow
def test_a_field_without_structure_leaves_the_constant_mean_its_weight():
    """Draws of the kernel about 0: others gain less than a factor e, on average."""
    rng, model, gains = np.random.default_rng(1), StructuredGP(means=HYPOTHESES), []
    for _ in range(5):
        X = rng.random((16, 1))
        K = matern52(X, X, 0.2) + 0.01 * np.eye(16)
        y = np.linalg.cholesky(K) @ rng.normal(size=16)
        _, info = model.fit(KEY, model.init(1), pad(X, y))
        evidence = [info[f"evidence_{name}"] for name in HYPOTHESES]
        gains.append(np.subtract(evidence[1:], evidence[0]))
        assert 0.05 < info["weight_constant"] < 0.95
    assert np.mean(gains, axis=0).max() < 1.0


LAW = """
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist


def decay(X):
    height = numpyro.sample("height", dist.HalfNormal(1e-9))
    length = numpyro.sample("length", dist.LogNormal(-1.0, 1.0))
    return height * jnp.exp(-X[:, 0] / length)


def broken(X):
    return X
"""


@pytest.mark.slow
def test_a_law_of_ones_own_in_its_own_unit_is_weighed_and_its_parameters_told(
    tmp_path, monkeypatch
):
    (tmp_path / "my_laws.py").write_text(LAW)
    monkeypatch.syspath_prepend(tmp_path)
    X = np.random.default_rng(5).random((16, 1))
    noise = np.random.default_rng(6).normal(size=16)
    y = 8e-10 * np.exp(-X[:, 0] / 0.2) + 1e-11 * noise
    means = ["constant", "my_laws:decay", "linear"]
    model = StructuredGP(means=means, standardise=False)
    with pytest.raises(BadConfig, match="takes true or false"):
        StructuredGP(standardise=1)
    state, info = model.fit(KEY, model.init(1), pad(X, y))
    assert info["finite"] == 1
    assert info["weight_my_laws:decay"] > 0.9
    assert info["my_laws:decay.height"] == pytest.approx(8e-10, rel=0.1)
    assert info["my_laws:decay.length"] == pytest.approx(0.2, rel=0.15)
    found = model.predict(KEY, state, AT)
    truth = 8e-10 * np.exp(-AT[:, 0] / 0.2)
    assert np.abs(found.mean - truth).max() < 3e-11
    with pytest.raises(ShapeMismatch, match="one number for each row"):
        StructuredGP(means=["my_laws:broken"]).init(2)


@pytest.mark.slow
def test_between_samplings_draws_are_weighed_by_what_they_foretold_and_resume_too():
    """By the ratio of two multivariate normal densities of each draw, all points."""
    X, y = boundary(12)
    model = StructuredGP(means=HYPOTHESES, refit_every=4)
    state, before = model.fit(KEY, model.init(1), pad(X[:9], y[:9]))
    later, after = model.fit(KEY, state, pad(X, y))
    assert (before["searched"], after["searched"], after["rounds"]) == (1, 0, 0)
    shift, spread = state.level
    kept, logs = model._kept(state), []
    for k, name in enumerate(HYPOTHESES):
        mean = Mean(name, load(name), 1)
        for phi in kept[k]:
            with float64():
                f, _ = mean.at(jnp.asarray(phi[3 : 3 + mean.layout.size]), X)
            scale, length, noise = np.exp(np.asarray(straight(phi[:3])))
            K = scale**2 * matern52(X, X, length) + noise**2 * np.eye(12)
            r = (y - shift) / spread - np.asarray(f)
            log_p = [
                multivariate_normal(np.zeros(n), K[:n, :n]).logpdf(r[:n])
                for n in (12, 9)
            ]
            logs.append(state.evidence[k] + log_p[0] - log_p[1])
    known = np.exp(logs - logsumexp(logs)).reshape(3, -1).sum(axis=1)
    found = [after[f"weight_{name}"] for name in HYPOTHESES]
    np.testing.assert_allclose(found, known, atol=1e-4)
    assert np.abs(np.subtract(found, [before[f"weight_{m}"] for m in HYPOTHESES])).max()
    restored = model.restore(model.carry(state), 1)
    again, told = model.fit(KEY, restored, pad(X, y))
    assert told == after
    for one, two in zip(*(model.predict(KEY, s, AT) for s in (later, again))):  # noqa: B905
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
def test_covariance_and_draws_are_those_of_what_is_predicted():
    X, y = boundary(8, seed=1)
    model = StructuredGP(means=HYPOTHESES)
    state, _ = model.fit(KEY, model.init(1), pad(X, y))
    found = model.predict(KEY, state, AT)
    cross = model.covariance(state, AT, AT)
    assert np.diag(cross.covariance) == pytest.approx(found.variance, rel=1e-9)
    assert (cross.noise > 0).all()
    f = np.stack([model.draw(jax.random.key(k), state, AT) for k in range(400)])
    error = np.sqrt(found.variance / 400)
    assert (np.abs(f.mean(axis=0) - found.mean) < 5 * error + 1e-3).all()
    top = cross.covariance.max()
    np.testing.assert_allclose(np.cov(f.T), cross.covariance, atol=0.35 * top)


@pytest.mark.slow
def test_chunks_of_candidates_are_read_as_if_alone():
    X, y = boundary(8, seed=1)
    model = StructuredGP(means=HYPOTHESES)
    state, _ = model.fit(KEY, model.init(1), pad(X, y))
    many = np.linspace(0, 1, 4099)[:, None]
    whole = model.predict(KEY, state, many)
    few = model.predict(KEY, state, many[[0, 7, 99, 2050, 2051, 4000, 4096, 4097, -1]])
    for one, two in zip(whole, few, strict=True):
        part = one[[0, 7, 99, 2050, 2051, 4000, 4096, 4097, -1]]
        np.testing.assert_allclose(part, two, rtol=1e-8, atol=1e-10)
    cross = model.covariance(state, many[[7, 4000]], many).covariance
    own = cross[[0, 1], [7, 4000]]
    np.testing.assert_allclose(own, whole.variance[[7, 4000]], rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("X", "y"),
    [
        (LINE[:1], [4.0]),
        (LINE[:6], np.full(6, -2e7)),
        (np.repeat(LINE[:2], 3, axis=0), np.arange(6.0)),
        (np.repeat(LINE[:2], 3, axis=0), np.repeat([1.0, 2.0], 3)),
    ],
    ids=["one point", "constant", "clash", "duplicates"],
)
def test_odd_data_are_believed_within_reason(X, y):
    model = StructuredGP(means=HYPOTHESES)
    state, info = model.fit(KEY, model.init(1), pad(X, y))
    found = model.predict(KEY, state, X)
    assert info["finite"] == 1
    assert np.all(np.isfinite(list(info.values())))
    middle = [np.mean(np.asarray(y)[(X == x).all(axis=1)]) for x in X]
    off = np.abs(found.mean - middle)
    assert (off < 3 * np.sqrt(found.variance) + 0.1 * np.std(y) + 1e-9).all()


def test_misuse_is_told_in_a_sentence():
    model = StructuredGP(means=["constant"])
    with pytest.raises(UnknownName, match="my_module:my_model"):
        StructuredGP(means=["lineal"])
    assert StructuredGP(means="linear+step").means == ("linear", "step")
    with pytest.raises(BadConfig, match="one name or more"):
        StructuredGP(means=[])
    with pytest.raises(BadConfig, match="each once"):
        StructuredGP(means=["linear", "linear"])
    with pytest.raises(BadConfig, match="whole number from 4 on"):
        StructuredGP(samples=3)
    with pytest.raises(BadConfig, match="Keep fewer"):
        StructuredGP(samples=10, kept=41)
    with pytest.raises(BadConfig, match="above 1"):
        StructuredGP(agree=float("nan"))
    with pytest.raises(BadConfig, match="without data"):
        model.predict(KEY, model.init(2), np.zeros((3, 2)))
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        model.fit(KEY, model.init(3), pad(np.zeros((1, 2)), [0.0]))
    with pytest.raises(ShapeMismatch, match=r"\(1, 4, 64, 6\)"):
        model.restore(model.carry(model.init(2)), 3)
