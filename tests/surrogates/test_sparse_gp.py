"""Inducing points against the exact process, published formulas and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr
from scipy.stats import multivariate_normal

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates import exact, get, inducing
from aemtwin.surrogates.base import (
    Draws,
    Joint,
    Surrogate,
    count_compilations,
    float64,
    pad,
)
from aemtwin.surrogates.gp import GP
from aemtwin.surrogates.sparse_gp import SparseGP, SparseState, _search

prepare_jax()

KEY = jax.random.key(0)
RNG = np.random.default_rng(5)
X, POOL = RNG.random((24, 2)), RNG.random((40, 2))
KNOWN = np.linspace(0.0, 0.3, 24)  # sd of each measurement
y = 5.0 + np.sin(X @ [5.0, 3.0]) + 0.1 * RNG.normal(size=24)
HYPER = exact.Hyper(
    np.array(1.2), np.array([0.3, 0.5]), np.array(0.2), np.array(4.5), np.ones(1)
)
DATA = pad(X, y, KNOWN)
COVARIANCE = jax.jit(lambda A, B: exact.between("matern52", HYPER, A, B))
BOUND = jax.jit(lambda Z, used: inducing.bound(HYPER, *DATA, Z, used))


def prior(A, B):
    with float64():
        return np.asarray(COVARIANCE(A, B))


def seen_through(Z):
    """Moments and the collapsed bound of Titsias (2009), by plain inverses."""
    D = np.diag(HYPER.noise**2 + KNOWN**2)
    K_inv = np.linalg.inv(prior(Z, Z))
    K_nz, K_z = prior(X, Z), prior(Z, POOL)
    Q = K_nz @ K_inv @ K_nz.T
    density = multivariate_normal(np.full(24, HYPER.mean), Q + D).logpdf(y)
    lost = np.trace(np.linalg.solve(D, prior(X, X) - Q))
    A = np.linalg.inv(prior(Z, Z) + K_nz.T @ np.linalg.solve(D, K_nz))
    mean = HYPER.mean + K_z.T @ A @ K_nz.T @ np.linalg.solve(D, y - HYPER.mean)
    C = prior(POOL, POOL) - K_z.T @ (K_inv - A) @ K_z
    return mean, C, density - 0.5 * lost


def likelihood():
    """The exact log likelihood, by the normal density."""
    D = np.diag(HYPER.noise**2 + KNOWN**2)
    return multivariate_normal(np.full(24, HYPER.mean), prior(X, X) + D).logpdf(y)


def induced(count):
    with float64():
        return inducing.condition(HYPER, *DATA, kernel="matern52", count=count)


def moments(of, at=POOL):
    with float64():
        return inducing.moments(of, at, kernel="matern52")


def test_with_inducing_points_at_all_data_it_is_the_exact_process():
    D = np.diag(HYPER.noise**2 + KNOWN**2)
    K, K_new = prior(X, X) + D, prior(X, POOL)
    mean = HYPER.mean + K_new.T @ np.linalg.solve(K, y - HYPER.mean)
    C = prior(POOL, POOL) - K_new.T @ np.linalg.solve(K, K_new)
    of = induced(24)
    found = moments(of)
    assert np.sum(of.used) == 24
    assert sorted(np.asarray(of.rows)) == list(range(24))
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.variance, np.diag(C), rtol=0, atol=1e-7)
    with float64():
        cross = inducing.joint(of, POOL[:3], POOL, kernel="matern52")
        everywhere = BOUND(X, np.ones(24, bool))
    np.testing.assert_allclose(cross.covariance, C[:3], rtol=0, atol=1e-7)
    np.testing.assert_allclose(everywhere, likelihood(), rtol=0, atol=1e-6)


def test_the_bound_lies_below_the_likelihood_and_rises_with_every_point():
    used = np.arange(24)[None, :] < np.arange(1, 25)[:, None]
    with float64():
        bounds = np.array([BOUND(X, few) for few in used])
    assert np.all(bounds <= likelihood() + 1e-9)
    assert np.all(np.diff(bounds) >= -1e-9)
    assert (
        bounds[0] < likelihood() - 10
    )  # one point tells little, and the bound says so
    for k in (1, 5, 12):
        expected = seen_through(X[:k])[2]
        np.testing.assert_allclose(bounds[k - 1], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_through_a_few_points_it_believes_what_titsias_found():
    of = induced(24)
    rows = np.asarray(of.rows)[:10]
    few, (mean, C, _) = induced(10), seen_through(X[rows])
    np.testing.assert_array_equal(few.rows, rows)  # the first are the same
    found = moments(few)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.variance, np.diag(C), rtol=0, atol=1e-7)
    assert float(few.left) > float(of.left) == pytest.approx(0.0, abs=1e-12)


def test_points_are_chosen_where_those_before_leave_most_variance():
    """By the Schur complement of all points chosen so far, each time anew."""
    rows, K = [], prior(X, X)
    for _ in range(10):
        left = np.diag(K).copy()
        if rows:
            left -= np.einsum(
                "ij,ij->j", K[rows], np.linalg.solve(K[np.ix_(rows, rows)], K[rows])
            )
        rows.append(int(np.argmax(left)))
    np.testing.assert_array_equal(induced(24).rows[:10], rows)


def test_no_more_points_are_used_than_there_are_places():
    thrice = pad(np.tile(X[:8], (3, 1)), y, KNOWN)
    with float64():
        of = inducing.condition(HYPER, *thrice, kernel="matern52", count=24)
    assert np.sum(of.used) == 8
    assert np.all(np.isfinite(moments(of).variance))


def sizes(of):
    """Return the numbers in every array of a program, loops and branches included."""
    jaxpr = of.jaxpr if isinstance(of, ClosedJaxpr) else of
    for equation in jaxpr.eqns:
        yield from (int(np.prod(v.aval.shape)) for v in equation.outvars)
        for part in jax.tree.leaves(
            list(equation.params.values()),
            is_leaf=lambda a: isinstance(a, ClosedJaxpr | Jaxpr),
        ):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield from sizes(part)


def test_memory_grows_with_inducing_points_and_never_with_pairs_of_others():
    """n = 5,792 points, M = 32 inducing ones, m = 50,000 candidates: none compiled."""
    n, M, m = 5_792, 32, 50_000
    with float64():
        X, u = jnp.zeros((n, 2)), jnp.zeros(n)
        given, at = (X, u, jnp.ones(n, bool), u), jnp.zeros((m, 2))
        of = jax.eval_shape(
            lambda: inducing.condition(HYPER, *given, kernel="rbf", count=M)
        )
        programs = {
            "condition": jax.make_jaxpr(
                lambda: inducing.condition(HYPER, *given, kernel="rbf", count=M)
            )(),
            "search": jax.make_jaxpr(
                lambda: _search.__wrapped__(
                    jnp.zeros((2, 4)),
                    *given,
                    kernel="rbf",
                    trend=(1.0,),
                    count=M,
                    limit=9,
                )
            )(),
            "moments": jax.make_jaxpr(
                lambda of: inducing.moments(of, at, kernel="rbf")
            )(of),
            "drawn": jax.make_jaxpr(
                lambda of: inducing.drawn(KEY, of, at, kernel="rbf")
            )(of),
        }
    most = {name: max(sizes(program)) for name, program in programs.items()}
    assert most["condition"] <= n * M * 2  # differences of points in each dimension
    assert most["search"] <= n * M * 2
    assert most["moments"] <= exact.CHUNK * M * 2
    assert most["drawn"] <= exact.CHUNK * inducing.draws.WAVES


def test_misuse_is_told_in_a_sentence():
    gp = SparseGP()
    assert all(isinstance(gp, one) for one in (Surrogate, Draws, Joint))
    assert get("sparse_gp", inducing=32) == SparseGP(inducing=32)
    with pytest.raises(UnknownName, match="matern52"):
        SparseGP(kernel="matern")
    with pytest.raises(UnknownName, match="linear"):
        SparseGP(mean="flat")
    for field in ("inducing", "starts", "limit", "refit_every"):
        with pytest.raises(BadConfig, match=f"{field} = 0"):
            SparseGP(**{field: 0})
    with pytest.raises(BadConfig, match="1/16 of the points"):
        SparseGP(refit_every=2.5)
    with pytest.raises(BadConfig, match=r"sparse_gp\.predict got a state without data"):
        gp.predict(KEY, gp.init(2), POOL)
    with pytest.raises(ShapeMismatch, match=r"init\(2\)"):
        gp.fit(KEY, gp.init(3), DATA)
    with pytest.raises(ShapeMismatch, match="restore"):
        gp.restore(gp.carry(gp.init(2)), 3)
    assert gp.init(2).induced is None
    assert isinstance(gp.restore(gp.carry(gp.init(2)), 2), SparseState)


def field(n, seed=0):
    """Return points, a field with structure of 0.15, and its noisy values."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    f = np.sin(9 * X[:, 0]) * np.cos(7 * X[:, 1]) + 0.5 * np.sin(14 * X @ [1.0, 1.0])
    return X, f, f + 0.3 * rng.normal(size=n)


@pytest.mark.slow
def test_draws_have_the_moments_told():
    """8,000 draws, to 4 standard errors of a mean and a covariance."""
    of, at = induced(10), POOL[:5]
    found = jax.tree.map(np.asarray, moments(of, at))

    def draw(key):
        return inducing.drawn(key, of, at, kernel="matern52")

    with float64():
        cross = inducing.joint(of, at, at, kernel="matern52")
        f = np.asarray(jax.lax.map(draw, jax.random.split(KEY, 8000)))
    about = f - found.mean
    assert np.all(np.abs(about.mean(axis=0)) < 4 * np.sqrt(found.variance / 8000))
    pairs = about[:, :, None] * about[:, None, :]
    off = np.abs(pairs.mean(axis=0) - np.asarray(cross.covariance))
    assert np.all(off < 4 * pairs.std(axis=0) / np.sqrt(8000))


@pytest.mark.slow
def test_of_3000_points_it_learns_what_the_exact_process_learns():
    """Beside the exact process with its hyperparameters, and one of 500 points."""
    (X, _, y), (at, f, _) = field(3000), field(400, seed=1)
    sparse, gp = SparseGP(inducing=256), GP(modes=1)
    state, info = sparse.fit(KEY, sparse.init(2), pad(X, y))
    found = sparse.predict(KEY, state, at)
    with float64():
        hyper = jax.tree.map(jnp.asarray, state.induced.hyper)
        whole = exact.posterior(hyper, jnp.asarray(X), jnp.asarray(y), jnp.asarray(at))
    few, _ = gp.fit(KEY, gp.init(2), pad(X[:500], y[:500]))
    part = gp.predict(KEY, few, at)
    rmse, of_whole, of_part = (
        np.sqrt(np.mean((np.asarray(one.mean) - f) ** 2))
        for one in (found, whole, part)
    )
    assert (info["finite"], info["inducing"]) == (1, 256)
    assert rmse < 1.02 * of_whole
    assert rmse < 0.75 * of_part
    mean, sd = np.asarray(whole.mean), np.sqrt(np.asarray(whole.variance))
    assert np.sqrt(np.mean((found.mean - mean) ** 2)) < 0.2 * sd.mean()
    np.testing.assert_allclose(np.sqrt(found.variance), sd, rtol=0.25)
    assert 0.27 < info["noise_sd"] < 0.33  # 0.3


@pytest.mark.slow
def test_it_goes_from_few_points_to_many_and_on_after_a_restore_to_the_same_bits():
    X, _, y = field(64)
    sparse = SparseGP(inducing=24, refit_every=4)
    state = sparse.init(2)
    for n, seen, searched in ((20, 20, 1), (26, 24, 1), (29, 24, 0), (31, 24, 1)):
        data = pad(X[:n], y[:n])
        restored = sparse.restore(sparse.carry(state), 2)
        (one, info), (two, told) = (sparse.fit(KEY, s, data) for s in (state, restored))
        assert info == told
        assert (info["inducing"], info["searched"]) == (seen, searched)
        found = [sparse.predict(KEY, s, POOL) for s in (one, two)]
        np.testing.assert_array_equal(found[0].mean, found[1].mean)
        np.testing.assert_array_equal(found[0].variance, found[1].variance)
        state = one


@pytest.mark.slow
def test_each_bucket_compiles_a_search_and_a_belief_once():
    """What looks first at 20 points, and what reads, is the same for every bucket."""
    X, _, y = field(120)
    sparse, counts = SparseGP(inducing=20, refit_every=3), {}
    state = sparse.init(2)
    for n in (40, 44, 46, 64, 66, 70, 90):
        data = pad(X[:n], y[:n])
        with count_compilations() as seen:
            state, info = sparse.fit(KEY, state, data)
            sparse.predict(KEY, state, POOL)
        step = info["searched"], seen.count
        counts.setdefault(len(data.y), []).append(step)
    assert counts[64][1:] == [(1, 0), (0, 0), (1, 0)]
    assert counts[128] == [(0, 1), (1, 1), (1, 0)]
