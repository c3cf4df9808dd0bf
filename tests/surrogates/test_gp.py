"""The exact GP against scikit-learn, closed forms and plainer versions of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern

from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates import exact
from aemtwin.surrogates.base import Surrogate, float64, pad
from aemtwin.surrogates.exact import Hyper, condition, objective, posterior, read
from aemtwin.surrogates.gp import GP


def field(X):
    return np.sin(9 * X[:, 0]) * np.cos(7 * X[:, 1])


def problem(seed, n=30, m=50, noise=0.1):
    rng = np.random.default_rng(seed)
    X, X_new = rng.random((n, 2)), rng.random((m, 2))
    return X, field(X) + noise * rng.normal(size=n), X_new


def hyper(scale=1.3, length=(0.2, 0.4), noise=0.1, mean=0.0):
    return Hyper(*(jnp.asarray(a, jnp.float64) for a in (scale, length, noise, mean)))


def peer(kernel, scale, length, noise):
    parts = {"rbf": RBF(length), "matern52": Matern(length, nu=2.5)}
    return GaussianProcessRegressor(
        ConstantKernel(scale**2) * parts[kernel], alpha=noise**2, optimizer=None
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
@pytest.mark.parametrize("noise", [0.3, 0.01])
def test_posterior_agrees_with_scikit_learn(kernel, seed, noise):
    X, y, X_new = problem(seed)
    model = peer(kernel, 1.3, [0.2, 0.4], noise).fit(X, y)
    mean, sd = model.predict(X_new, return_std=True)
    with float64():
        found = posterior(hyper(noise=noise), X, y, X_new, kernel=kernel)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.variance, sd**2, rtol=0, atol=1e-8)


def test_likelihood_agrees_with_the_normal_density():
    X, y, _ = problem(0, n=20)
    data, theta = pad(X, y), np.log([1.2, 0.3, 0.5, 0.2])
    with float64():
        _, _, nll = objective(theta, data.X, data.y, data.mask)
        unit = exact.natural(jnp.asarray(theta))
        K = exact.covariance("matern52", unit, X, np.ones(20, bool), 0.0, 1e-10)
        expected = -multivariate_normal(np.zeros(20), np.asarray(K) + 1.0).logpdf(y)
    np.testing.assert_allclose(nll, expected, rtol=1e-10)


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
def test_slope_of_the_objective_equals_finite_differences(kernel):
    X, y, _ = problem(1, n=20)
    data, theta, step = pad(X, y), np.log([1.2, 0.3, 0.5, 0.2]), 1e-5
    with float64():
        value = jax.jit(lambda t: objective(t, *data[:3], kernel=kernel)[:2])
        for k, unit in enumerate(np.eye(4)):
            ahead, behind = value(theta + step * unit)[0], value(theta - step * unit)[0]
            slope = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(value(theta)[1][k], slope, rtol=1e-6, atol=1e-6)


def test_the_search_ends_where_scipy_ends():
    X, y, _ = problem(2, n=40)
    data = pad(X, y)
    with float64():
        u, _, _ = exact.standardise(data.y, data.mask)
        value = jax.jit(lambda t: objective(t, data.X, u, data.mask)[:2])
        theirs = minimize(
            lambda t: jax.device_get(value(t)), np.log([1, 0.2, 0.2, 0.1]), jac=True
        )
    _, info = GP().fit(jax.random.key(0), GP().init(2), data)
    assert info["objective"] <= theirs.fun + 1e-3
    assert info["finite"] == 1


def test_many_starts_find_a_mode_that_one_start_misses():
    rng = np.random.default_rng(4)
    X = rng.random((16, 2))
    data = pad(X, np.sin(30 * X[:, 0]) + 2 * X[:, 1] + 0.2 * rng.normal(size=16))
    one, many = (
        GP(starts=starts).fit(jax.random.key(0), GP().init(2), data)[1]
        for starts in (1, 4)
    )
    assert many["objective"] < one["objective"] - 0.05
    assert many["length_0"] > 3 * one["length_0"]  # a trend, not wiggles
    assert many["start"] > 0


@pytest.mark.slow
def test_hyperparameters_of_a_known_process_are_found():
    rng = np.random.default_rng(0)
    X = rng.random((180, 2))
    with float64():
        K = exact.covariance("matern52", hyper(2.0), X, np.ones(180, bool))
    y = 5.0 + np.linalg.cholesky(np.asarray(K)) @ rng.normal(size=180)
    _, info = GP().fit(jax.random.key(0), GP().init(2), pad(X, y))
    assert info["length_0"] == pytest.approx(0.2, rel=0.4)
    assert info["length_1"] == pytest.approx(0.4, rel=0.4)
    assert info["scale"] == pytest.approx(2.0, rel=0.5)
    assert info["noise_sd"] == pytest.approx(0.1, rel=0.5)


def test_a_fitted_map_is_far_better_than_its_mean():
    X, y, _ = problem(0, n=100)
    X_new = np.random.default_rng(9).random((500, 2))
    state, _ = GP().fit(jax.random.key(0), GP().init(2), pad(X, y))
    found = GP().predict(jax.random.key(0), state, X_new)
    f = field(X_new)
    assert np.sqrt(np.mean((found.mean - f) ** 2)) < 0.2 * np.std(f)
    inside = np.abs(found.mean - f) < 2 * np.sqrt(found.variance)
    assert 0.85 < np.mean(inside) <= 1.0


def test_candidates_in_many_chunks_are_read_as_in_one(monkeypatch):
    X, y, X_new = problem(0, m=101)
    mask = np.ones(len(X), bool)
    with float64():
        h = hyper()
        L, alpha, _ = condition(h, X, y, mask)
        whole = read(h, X, mask, L, alpha, X_new)
        monkeypatch.setattr(exact, "CHUNK", 25)
        parts = read(h, X, mask, L, alpha, X_new)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=0, atol=1e-12)


def test_jitter_is_nothing_where_nothing_is_needed_and_little_where_it_is():
    with float64():
        X, y, _ = problem(0, n=40)
        h, mask = hyper(noise=0.0, length=(2.0, 2.0)), np.ones(40, bool)
        assert condition(hyper(), X, y, mask)[2] == 0.0
        L, _, jitter = map(np.asarray, condition(h, X, y, mask, kernel="rbf"))
    assert 0.0 < jitter <= 1e-8 * 1.3**2
    assert np.all(np.isfinite(L))


def test_between_searches_hyperparameters_stay_and_the_posterior_moves():
    gp, key = GP(refit_every=5), jax.random.key(0)
    X, y, X_new = problem(0)
    state, info = gp.fit(key, gp.init(2), pad(X[:20], y[:20]))
    later, told = gp.fit(key, state, pad(X[:24], y[:24]))
    last, again = gp.fit(key, later, pad(X[:25], y[:25]))
    assert [i["searched"] for i in (info, told, again)] == [1, 0, 1]
    np.testing.assert_array_equal(later.theta, state.theta)
    assert told["evaluations"] == 0
    assert last.fitted == 25
    before, after = (gp.predict(key, s, X_new).variance for s in (state, later))
    assert after.sum() < before.sum()


def test_misuse_is_told_in_a_sentence():
    gp, key = GP(), jax.random.key(0)
    assert isinstance(gp, Surrogate)
    with pytest.raises(UnknownName, match="matern52"):
        GP(kernel="matern")
    with pytest.raises(BadConfig, match="without data"):
        gp.predict(key, gp.init(2), np.zeros((3, 2)))
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        gp.fit(key, gp.init(3), pad(np.zeros((1, 2)), [0.0]))
    with pytest.raises(ShapeMismatch, match=r"\(12, 5\)"):
        gp.restore(gp.carry(gp.init(2)), 3)


def test_what_is_known_of_the_noise_counts_beside_what_is_learned():
    """Half of the points are shot noise of known size: the other half is trusted."""
    X, y, X_new = problem(5, n=60, noise=0.02)
    known = np.where(np.arange(60) % 2, 1.0, 0.0)
    y = y + known * np.random.default_rng(1).normal(size=60)
    f, key, error = field(X_new), jax.random.key(0), {}
    for name, noise in (("told", known), ("not told", None)):
        state, info = GP().fit(key, GP().init(2), pad(X, y, noise))
        found = GP().predict(key, state, X_new)
        error[name] = np.sqrt(np.mean((found.mean - f) ** 2))
        if noise is not None:
            assert info["noise_sd"] < 0.2
    assert error["told"] < 0.85 * error["not told"]


def test_known_noise_alone_is_the_noise_of_the_textbook():
    X, y, X_new = problem(6, n=20)
    known, mask = np.linspace(0.05, 0.5, 20), np.ones(20, bool)
    with float64():
        h = hyper(noise=0.0)
        L, alpha, _ = condition(h, X, y, mask, known)
        found = read(h, X, mask, L, alpha, X_new)
    model = GaussianProcessRegressor(
        ConstantKernel(1.3**2) * Matern([0.2, 0.4], nu=2.5),
        alpha=known**2,
        optimizer=None,
    )
    mean, sd = model.fit(X, y).predict(X_new, return_std=True)
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    np.testing.assert_allclose(found.variance, sd**2, atol=1e-8)


@pytest.mark.slow
def test_a_linear_mean_goes_on_beyond_the_data_and_says_how_unsure_it_is():
    rng = np.random.default_rng(3)
    X = rng.random((30, 2)) * [0.6, 1.0]
    y, far = 3.0 + 5.0 * X[:, 0] + 0.01 * rng.normal(size=30), np.array([[0.9, 0.2]])
    found = {}
    for mean in ("constant", "linear", "zero"):
        gp = GP(mean=mean)
        state, _ = gp.fit(jax.random.key(0), gp.init(2), pad(X, y))
        found[mean] = gp.predict(jax.random.key(0), state, far)
    error = {k: abs(float(v.mean[0]) - 7.5) for k, v in found.items()}
    assert error["linear"] < 0.3 < error["constant"]
    assert error["linear"] < 2 * np.sqrt(found["linear"].variance[0])


def test_the_mean_is_integrated_out_not_fixed():
    """Generalised least squares with a normal prior on both coefficients."""
    X, y, X_new = problem(7, n=12)
    mask, sd = np.ones(12, bool), np.array([1.0, 2.0, 3.0])
    with float64():
        h = hyper()
        L, alpha, _ = condition(h._replace(trend=sd), X, y, mask)
        found = read(h._replace(trend=sd), X, mask, L, alpha, X_new)
        K = np.asarray(exact.covariance("matern52", h, X, mask))
        K_new = np.asarray(exact.between("matern52", h, X, X_new))
    H, H_new = (np.column_stack([np.ones(len(A)), A - 0.5]) for A in (X, X_new))
    beta_cov = np.linalg.inv(np.diag(sd**-2.0) + H.T @ np.linalg.solve(K, H))
    beta = beta_cov @ H.T @ np.linalg.solve(K, y)
    gain = np.linalg.solve(K, K_new)
    R = H_new.T - H.T @ gain
    mean = H_new @ beta + gain.T @ (y - H @ beta)
    variance = (
        1.3**2 - np.sum(K_new * gain, axis=0) + np.sum(R * (beta_cov @ R), axis=0)
    )
    np.testing.assert_allclose(found.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-7)


@pytest.mark.slow
def test_two_modes_weigh_as_their_integrals_do():
    """The weight of a mode against a sum over a fine grid around it."""
    gp, key = GP(modes=4, starts=8, spread=0), jax.random.key(0)
    X, y, _ = problem(11, n=9, noise=0.4)
    data = pad(X[:, :1], y)
    state, info = gp.fit(key, gp.init(1), data)
    with float64():
        u, _, _ = exact.standardise(data.y, data.mask)
        median, sd = exact.prior("matern52", 1)
        axes = np.linspace(median - 4 * sd, median + 4 * sd, 41).T
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        value = jax.jit(
            lambda g: jax.lax.map(
                lambda t: objective(t, data.X, u, data.mask)[0], g, batch_size=1000
            )
        )
        density = np.exp(-np.asarray(value(grid)))
    used = state.weight > 0
    assert used.sum() >= 2
    modes = state.theta[used]
    nearest = np.argmin(np.sum(((grid[:, None] - modes) / sd) ** 2, axis=-1), axis=1)
    share = np.array([density[nearest == k].sum() for k in range(len(modes))])
    np.testing.assert_allclose(state.weight[used], share / share.sum(), atol=0.2)
    assert 1.0 < info["members"] <= 4.0


@pytest.mark.slow
def test_above_the_capacity_of_spread_the_mixture_is_of_modes_alone():
    gp, key = GP(spread=16, refit_every=1000, drift=np.inf), jax.random.key(0)
    X, y, X_new = problem(3, n=24)
    few, _ = gp.fit(key, gp.init(2), pad(X[:14], y[:14]))
    assert len(few.mixture.weight) == len(few.weight) == 2 + 2 * 4
    grown, _ = gp.fit(key, few, pad(X, y))  # what was settled on few points stays
    assert len(grown.mixture.weight) == len(few.weight)
    many, info = gp.fit(key, gp.init(2), pad(X, y))
    assert (len(many.mixture.weight), len(many.weight)) == (2, len(few.weight))
    assert many.weight[:2].sum() == pytest.approx(1.0)
    assert info["members"] <= 2
    again = gp.restore(gp.carry(many), 2)
    found, _ = gp.fit(key, again, pad(X, y))
    np.testing.assert_array_equal(
        gp.predict(key, found, X_new).mean, gp.predict(key, many, X_new).mean
    )


def test_what_another_version_carried_is_refused():
    gp = GP()
    carried = gp.carry(gp.init(2))
    del carried["whole"], carried["weight"]
    with pytest.raises(ShapeMismatch, match="no weight and no whole"):
        gp.restore(carried, 2)
