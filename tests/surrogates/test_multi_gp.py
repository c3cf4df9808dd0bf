"""Several outputs against one at a time, the normal density and plainer versions."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import matrix_normal

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, UnknownName
from aemtwin.surrogates import several
from aemtwin.surrogates.base import (
    Data,
    Draws,
    Joint,
    Surrogate,
    count_compilations,
    float64,
    pad,
)
from aemtwin.surrogates.gp import GP
from aemtwin.surrogates.multi_gp import MultiGP, MultiState, pad_several

prepare_jax()

KEY = jax.random.key(0)
RNG = np.random.default_rng(2)
X, POOL = RNG.random((30, 2)), RNG.random((40, 2))
NOISE = RNG.normal(size=(30, 4))
WAVES = np.array([[5.0, 3.0], [4.0, -4.0], [3.0, 6.0], [6.0, 2.0]])
Y = np.sin(X @ WAVES.T) + 0.1 * NOISE  # (30, 4)


GP4 = MultiGP()
VALUE = jax.jit(several.objective)


def matern52(theta, A, B):
    """The prior covariance by its formula, Rasmussen and Williams (2006), eq. 4.17."""
    scale, length = np.exp(theta[0]), np.exp(theta[1:-1])
    r = np.sqrt(5) * np.linalg.norm((A[:, None] - B[None]) / length, axis=-1)
    return scale**2 * (1 + r + r**2 / 3) * np.exp(-r)


def fitted(Y, gp=GP4, n=30):
    return gp.fit(KEY, gp.init(2), pad_several(X[:n], Y[:n]))


def alone(state, k):
    """The exact process of output k alone, Rasmussen and Williams, eqs. 2.25, 2.26."""
    (shift, spread), noise = state.level[:, k], np.exp(state.theta[-1])
    K = spread**2 * (matern52(state.theta, X, X) + 1.0 + noise**2 * np.eye(30))
    K_new = spread**2 * (matern52(state.theta, X, POOL) + 1.0)
    C = spread**2 * (matern52(state.theta, POOL, POOL) + 1.0)
    mean = shift + K_new.T @ np.linalg.solve(K, Y[:, k] - shift)
    return mean, C - K_new.T @ np.linalg.solve(K, K_new), (spread * noise) ** 2


@pytest.mark.slow
def test_every_output_is_the_exact_process_of_its_own_column():
    state, info = fitted(Y)
    found = MultiGP().predict(KEY, state, POOL)
    cross = MultiGP().covariance(state, POOL[:3], POOL)
    assert found.mean.shape == found.variance.shape == (4, 40)
    for k in range(4):
        mean, C, noise = alone(state, k)
        np.testing.assert_allclose(found.mean[k], mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.variance[k], np.diag(C), rtol=0, atol=1e-8)
        np.testing.assert_allclose(cross.covariance[k], C[:3], rtol=0, atol=1e-8)
        np.testing.assert_allclose(cross.noise[k], noise, rtol=1e-10)
    assert info["finite"] == 1
    assert info["outputs"] == 4


@pytest.mark.slow
def test_with_one_output_it_is_the_gp_of_one_mode():
    gp = GP(modes=1, spread=0)
    for data in (pad(X, Y[:, 0]), pad(X, Y[:, 0], np.linspace(0.0, 0.3, 30))):
        state, info = MultiGP().fit(KEY, MultiGP().init(2), data)
        other, told = gp.fit(KEY, gp.init(2), data)
        one = MultiGP().predict(KEY, state, POOL)
        two = gp.predict(KEY, other, POOL)
        assert one.mean.shape == (40,)
        np.testing.assert_allclose(one.mean, two.mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(one.variance, two.variance, rtol=0, atol=1e-8)
        for name in ("objective", "nll", "noise_sd", "scale", "length_1"):
            assert info[name] == pytest.approx(told[name], rel=1e-6)


def parts(theta, n=20, p=3):
    data = pad_several(X[:n], Y[:n, :p])
    U, _ = several.standardise(jnp.asarray(data.y), jnp.asarray(data.mask))
    return (theta, data.X, U, data.mask, jnp.ones(p))


def test_the_likelihood_is_the_matrix_normal_density():
    theta = np.log([1.2, 0.3, 0.5, 0.2])
    with float64():
        given = parts(theta)
        _, _, nll = VALUE(*given)
        U = np.asarray(given[2])[:20]
    K = matern52(theta, X[:20], X[:20]) + 1.0 + (0.2**2 + 1e-10 * 1.2**2) * np.eye(20)
    density = matrix_normal(np.zeros((20, 3)), K, np.eye(3))
    np.testing.assert_allclose(nll, -density.logpdf(U), rtol=1e-10)


def test_the_slope_of_the_objective_equals_finite_differences():
    theta, step = np.log([1.2, 0.3, 0.5, 0.2]), 1e-5
    with float64():
        rest = parts(theta)[1:]

        def value(t):
            return VALUE(t, *rest)

        for k, unit in enumerate(np.eye(4)):
            ahead, behind = value(theta + step * unit)[0], value(theta - step * unit)[0]
            slope = (ahead - behind) / (2 * step)
            np.testing.assert_allclose(value(theta)[1][k], slope, rtol=1e-6, atol=1e-6)


def test_a_free_covariance_between_outputs_changes_no_mean():
    """Cokriging with K ⊗ Σ, by the Kronecker product itself."""
    state, _ = fitted(Y, n=18)
    found = MultiGP().predict(KEY, state, POOL)
    shift, spread = state.level
    K = matern52(state.theta, X[:18], X[:18]) + 1.0
    K = K + np.exp(2 * state.theta[-1]) * np.eye(18)
    K_new = matern52(state.theta, POOL, X[:18]) + 1.0
    A = np.random.default_rng(0).normal(size=(4, 4))
    sigma, u = A @ A.T, ((Y[:18] - shift) / spread).ravel()
    mean = np.kron(K_new, sigma) @ np.linalg.solve(np.kron(K, sigma), u)
    expected = (shift + spread * mean.reshape(40, 4)).T
    np.testing.assert_allclose(found.mean, expected, rtol=0, atol=1e-9)


def factorised(p):
    """Return shapes that are factorised for p outputs: in a search, and in a belief."""
    theta, level = np.zeros(4), np.ones((2, p))
    data = pad_several(X, np.tile(Y, 2)[:, :p])
    with float64():
        search = jax.make_jaxpr(several.objective)(
            theta, data.X, data.y, data.mask, np.ones(p)
        )
        belief = jax.make_jaxpr(
            lambda *a: several.conditioned(*a, kernel="rbf", trend=(1.0,))
        )(theta, level, data.X, data.y, data.mask, np.zeros(32))
    return [
        re.findall(r":f64\[([\d,]+)\] = cholesky", str(a)) for a in (search, belief)
    ]


def test_one_cholesky_factor_serves_all_outputs():
    assert factorised(1) == factorised(7) == [["32,32"], ["32,32"]]


@pytest.mark.slow
def test_draws_have_the_moments_told_and_outputs_do_not_hang_together():
    """400 draws, to 5 standard errors of a mean, a variance and a covariance of 0."""
    gp = MultiGP()
    state, _ = fitted(Y, n=18)
    found, at = gp.predict(KEY, state, POOL), POOL[:5]
    f = np.stack([gp.draw(jax.random.key(k), state, at) for k in range(400)])
    assert f.shape == (400, 4, 5)
    z = (f - found.mean[:, :5]) / np.sqrt(found.variance[:, :5])
    assert np.abs(z.mean(axis=0)).max() < 5 / np.sqrt(400)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 5 * np.sqrt(2 / 400)
    assert np.abs(np.mean(z[:, :1] * z[:, 1:], axis=0)).max() < 5 / np.sqrt(400)
    np.testing.assert_array_equal(gp.draw(jax.random.key(0), state, at), f[0])


def test_the_unit_of_an_output_changes_that_output_alone():
    units = np.array([1e-12, 1.0, 1e9, -1e3])
    plain, _ = fitted(Y)
    other, info = fitted(units * Y)
    one, two = (MultiGP().predict(KEY, s, POOL) for s in (plain, other))
    np.testing.assert_allclose(two.mean.T / units, one.mean.T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(two.variance.T / units**2, one.variance.T, atol=1e-5)
    assert info["finite"] == 1


@pytest.mark.slow
def test_a_constant_output_leaves_the_hyperparameters_of_others_alone():
    odd = np.insert(Y, 1, -3e5, axis=1)[:, :4]
    with_it, info = fitted(odd)
    three, _ = fitted(np.delete(odd, 1, axis=1))
    np.testing.assert_allclose(with_it.theta, three.theta, rtol=0, atol=1e-6)
    found = MultiGP().predict(KEY, with_it, POOL)
    np.testing.assert_allclose(found.mean[1], -3e5, rtol=1e-9)
    share = found.variance[1] / found.variance[0]
    expected = 9e10 / with_it.level[1, 0] ** 2 / 31  # one value of 3e5, and 30 of 0
    np.testing.assert_allclose(share, expected, rtol=1e-8)
    assert info["misfit_least"] == pytest.approx(0.0, abs=1e-20)


@pytest.mark.parametrize(
    "values",
    {
        "all constant": np.tile([0.0, 3.5e-12, -2e7, 1.0], (30, 1)),
        "an outlier": np.where(np.arange(30)[:, None] == 3, [[1e6, 1, -1e9, 0]], Y),
    }.items(),
    ids=lambda one: one[0],
)
def test_odd_outputs_are_believed_with_finite_numbers(values):
    state, info = fitted(values[1])
    found = MultiGP().predict(KEY, state, POOL)
    assert info["finite"] == 1
    assert np.all(np.isfinite(found.mean))
    assert np.all(found.variance >= 0)
    if values[0] == "all constant":
        off = np.abs(found.mean - values[1][0][:, None])
        assert np.all(
            off <= 3 * np.sqrt(found.variance) + 1e-6 * np.abs(values[1][0])[:, None]
        )


@pytest.mark.slow
def test_equal_points_and_a_single_point_are_enough():
    gp = MultiGP()
    for points, values in (
        (np.repeat(X[:3], 6, axis=0), np.arange(72.0).reshape(18, 4)),
        (X[:1], Y[:1]),
    ):
        state, info = gp.fit(KEY, gp.init(2), pad_several(points, values))
        assert info["finite"] == 1
        assert np.all(np.isfinite(gp.predict(KEY, state, POOL).variance))


def test_what_was_carried_goes_on_to_the_same_bits():
    gp = MultiGP(refit_every=3)
    state, _ = fitted(Y, gp, 18)
    restored = gp.restore(gp.carry(state), 2)
    for n, searched in ((20, 0), (21, 1)):
        data = pad_several(X[:n], Y[:n])
        (one, info), (two, told) = (gp.fit(KEY, s, data) for s in (state, restored))
        assert info == told
        assert info["searched"] == searched
        found = [gp.predict(KEY, s, POOL) for s in (one, two)]
        np.testing.assert_array_equal(found[0].mean, found[1].mean)
        np.testing.assert_array_equal(found[0].variance, found[1].variance)


def test_misfit_tells_outputs_that_do_not_belong_together():
    """Four alike, and three alike with one that is nothing but noise."""
    odd = np.column_stack([Y[:, :3], NOISE[:, 3]])
    alike, apart = fitted(Y)[1], fitted(odd)[1]
    ratio = [info["misfit_most"] / info["misfit_least"] for info in (alike, apart)]
    assert 1.0 <= ratio[0] < ratio[1]
    assert ratio[1] > 2.0


def test_misuse_is_told_in_a_sentence():
    gp = MultiGP()
    assert all(isinstance(gp, one) for one in (Surrogate, Draws, Joint))
    with pytest.raises(ShapeMismatch, match=r"\(n, p\)"):
        pad_several(X, Y[:5])
    with pytest.raises(ShapeMismatch, match=r"\(n, p\)"):
        pad_several(X, Y[:, 0])
    with pytest.raises(OutOfRange, match=r"Y\[3, 1\] = nan"):
        pad_several(X, np.where(np.arange(120).reshape(30, 4) == 13, np.nan, Y))
    with pytest.raises(OutOfRange, match=r"X\[2\]"):
        pad_several(np.where(np.arange(30)[:, None] == 2, np.inf, X), Y)
    with pytest.raises(UnknownName, match="matern52"):
        MultiGP(kernel="matern")
    with pytest.raises(UnknownName, match="linear"):
        MultiGP(mean="flat")
    with pytest.raises(BadConfig, match="starts = 0"):
        MultiGP(starts=0)
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        gp.fit(KEY, gp.init(3), pad_several(X, Y))
    state = MultiState(gp.init(2).theta, np.ones((2, 3)), 30)
    with pytest.raises(ShapeMismatch, match="4 outputs and a state of 3"):
        gp.fit(KEY, state, pad_several(X, Y))
    noisy: Data = pad_several(X, Y)._replace(noise=np.zeros(32))
    with pytest.raises(BadConfig, match="share one noise"):
        gp.fit(KEY, gp.init(2), noisy)
    with pytest.raises(ShapeMismatch, match=r"multi_gp.restore"):
        gp.restore(gp.carry(gp.init(2)), 3)
    with pytest.raises(BadConfig, match="without data"):
        gp.predict(KEY, gp.init(2), POOL)


def test_inside_a_bucket_nothing_is_compiled_after_the_first_step():
    gp, counts = MultiGP(), []
    state = gp.init(2)
    for n in (18, 21, 30):
        with count_compilations() as seen:
            state, _ = gp.fit(KEY, state, pad_several(X[:n], Y[:n]))
            gp.predict(KEY, state, POOL)
        counts.append(seen.count)
    assert counts[1:] == [0, 0]
    assert counts[0] <= 3
