"""Posteriors of a deep kernel against SciPy, finite differences, and the contract."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import split_gelman_rubin
from scipy.stats import multivariate_normal

from aemtwin.environment import prepare_jax
from aemtwin.errors import BadConfig, ShapeMismatch, UnknownName
from aemtwin.surrogates import deep, exact
from aemtwin.surrogates.base import count_compilations, float64, pad
from aemtwin.surrogates.deep import embed, prior
from aemtwin.surrogates.dkl import DKL
from aemtwin.surrogates.posteriors import density, joined, likelihood, named

prepare_jax()  # some programs take long to compile: keep them between test runs
KEY = jax.random.key(0)
SIZE = 4
TINY = {"size": SIZE, "hidden": (6,), "members": 4}
QUICK = {
    "ensemble": {"network": "cnn", "steps": 2, "cold_steps": 20},
    "svi": {"steps": 5, "cold_steps": 40, "learning_rate": 0.05},
    "bayes": {"chains": 2, "samples": 8, "warmup": 2, "depth": 3, "rounds": 2},
}
MADE = {name: DKL(inference=name, **TINY, **QUICK[name]) for name in QUICK}


def scene(seed, m=60, channels=2):
    """Positions, patches, and a value that only the patches show: their roughness."""
    rng = np.random.default_rng(seed)
    box = rng.random((m, 2))
    rough = np.exp(0.7 * rng.normal(size=(m, 1, 1)))
    images = rough * rng.normal(size=(m, channels, SIZE**2))
    value = np.log(np.std(images[:, 0], axis=1))
    return np.hstack([box, images.reshape(m, -1)]), (value - value.mean()) / value.std()


X, F = scene(0)


def dear(name):
    """Mark an inference whose programs take long to compile."""
    return pytest.param(name, marks=[pytest.mark.slow] if name != "ensemble" else [])


@pytest.fixture(scope="module", params=[dear(name) for name in QUICK])
def fitted(request):
    dkl = MADE[request.param]
    with count_compilations() as first:
        state, info = dkl.fit(KEY, dkl.init(X.shape[1]), pad(X[:20], F[:20]))
        found = dkl.predict(KEY, state, X)
    return dkl, state, info, found, first.count


def test_each_inference_is_one_program_to_fit_and_one_to_read(fitted):
    dkl, state, _, _, count = fitted
    assert count == 2
    with count_compilations() as later:
        for n in (21, 25, 32):
            state, _ = dkl.fit(KEY, state, pad(X[:n], F[:n]))
            dkl.predict(KEY, state, X)
    assert later.count == 0


def test_what_is_carried_leads_to_the_same_bits_in_less_than_a_megabyte(fitted):
    dkl, state, *_ = fitted
    carried, data = dkl.carry(state), pad(X[:22], F[:22])
    assert sum(a.nbytes for a in carried.values()) < 1e5
    again = dkl.restore({k: np.array(a) for k, a in carried.items()}, X.shape[1])
    (one, told), (two, said) = (dkl.fit(KEY, s, data) for s in (state, again))
    assert told == said
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    large = DKL(inference=dkl.inference).init(2 + 4 * 2 * 64)  # 4 channels, 2 scales
    assert sum(a.nbytes for a in DKL().carry(large).values()) < 1e6


def test_between_two_inferences_only_the_conditioning_is_new(fitted):
    dkl, state, *_ = fitted
    patient = DKL(**{**vars(dkl), "refit_every": 3})
    stays, told = patient.fit(KEY, state, pad(X[:22], F[:22]))
    moves, said = patient.fit(KEY, stays, pad(X[:23], F[:23]))
    assert (told["searched"], said["searched"]) == (0, 1)
    before, between, after = (jax.tree.leaves(s.members) for s in (state, stays, moves))
    for a, b in zip(before, between, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(between, after, strict=True))
    means = [patient.predict(KEY, s, X).mean for s in (state, stays)]
    assert np.abs(means[0] - means[1]).max() > 1e-6


@pytest.mark.slow
def test_the_mixture_is_that_of_members_conditioned_alone(fitted):
    """Each member by an inverse: K of its features with noise, and the unknown mean."""
    dkl, state, _, found, _ = fitted
    design, at, y = dkl._design(X.shape[1]), state.at, F[:20]
    run = jax.jit(
        lambda w, h, A, B: exact.between(design.kernel, h, *embed_both(w, A, B))
    )

    def embed_both(weights, A, B):
        return [embed(weights, design.seen(P), P, design) for P in (A, B)]

    means, variances = [], []
    for k in range(design.members):
        weights, hyper = jax.tree.map(lambda a, k=k: a[k], (at.weights, at.hyper))
        with float64():
            K, K_new, own = (
                np.asarray(run(weights, hyper, A, B))
                for A, B in ((X[:20], X[:20]), (X[:20], X), (X, X))
            )
        inverse = np.linalg.inv(K + float(hyper.noise) ** 2 * np.eye(20))
        means.append(float(hyper.mean) + K_new.T @ inverse @ (y - float(hyper.mean)))
        variances.append(np.diag(own - K_new.T @ inverse @ K_new))
    np.testing.assert_allclose(found.mean, np.mean(means, axis=0), atol=1e-5)
    expected = np.mean(variances, axis=0) + np.var(means, axis=0)
    np.testing.assert_allclose(found.variance, expected, atol=1e-5)


def test_candidates_that_stay_are_embedded_once_a_training(fitted, monkeypatch):
    """Followed or read anew, the same bits; and the posterior that `predict` reads."""
    dkl, state, *_ = fitted
    dkl = DKL(**{**vars(dkl), "refit_every": 3})
    calls, place = [], deep.place

    def counted(*given, **told):
        calls.append(1)
        return place(*given, **told)

    monkeypatch.setattr(deep, "place", counted)
    pool, seen = None, []
    for n in (21, 22):  # neither trains
        state, _ = dkl.fit(KEY, state, pad(X[:n], F[:n]))
        pool, found = dkl.look(state, pool, X)
        seen.append((found, dkl.predict(KEY, state, X)))
    assert len(calls) == 1
    for one, other in seen:
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5)
        np.testing.assert_allclose(one.variance, other.variance, atol=1e-5)
    _, anew = dkl.look(state, None, X)
    np.testing.assert_array_equal(anew.mean, found.mean)
    np.testing.assert_array_equal(anew.variance, found.variance)
    assert len(calls) == 2
    state, told = dkl.fit(KEY, state, pad(X[:23], F[:23]))
    assert told["searched"] == 1
    dkl.look(state, pool, X)
    assert len(calls) == 3  # other weights
    monkeypatch.setattr(deep, "MOST", 1)
    assert dkl.look(state, pool, X) == (None, None)


@pytest.mark.slow
def test_a_net_over_images_reads_many_candidates_in_pieces(monkeypatch):
    """Pieces of 16 say what all 60 at once say, and nothing holds their layers."""
    design = MADE["ensemble"]._design(X.shape[1])
    weights = {
        name: jax.random.normal(KEY, shape)
        for name, shape in design.shapes(X.shape[1]).items()
    }
    x = design.seen(jnp.asarray(X))
    whole = jax.jit(lambda w, x: deep.features_of(w, x, design))(weights, x)
    monkeypatch.setattr(deep, "CHUNK", 16)
    lowered = jax.jit(lambda w, x: deep.features_of(w, x, design)).lower(weights, x)
    np.testing.assert_allclose(lowered.compile()(weights, x), whole, rtol=1e-5)
    assert "60x2x2x" not in lowered.as_text()  # windows of all patches


@pytest.mark.slow
def test_draws_and_features_are_finite_and_repeat(fitted):
    dkl, state, info, found, _ = fitted
    draws = [dkl.draw(jax.random.key(k), state, X) for k in (0, 1, 0)]
    np.testing.assert_array_equal(draws[0], draws[2])
    assert np.abs(draws[0] - draws[1]).max() > 1e-3
    wide = np.sqrt(found.variance) + np.abs(found.mean) + 1.0
    assert np.all(np.abs(draws[0]) < 6 * wide)
    assert dkl.latent(state, X).shape == (60, 2)
    assert np.isfinite(dkl.latent(state, X)).all()
    assert info["finite"] == 1
    assert all(isinstance(value, int | float) for value in info.values())


def test_slopes_and_value_of_the_likelihood_are_those_of_scipy_and_of_differences():
    rng = np.random.default_rng(5)
    Z, u, mask = pad(rng.normal(size=(12, 4)), rng.normal(size=12))[:3]
    theta, step = np.log([1.2, 0.8, 0.8, 0.3, 0.5, 0.2]), 1e-6
    with float64():
        run = jax.jit(partial(likelihood, kernel="matern32"))
        value, by_theta, by_Z = jax.device_get(run(theta, Z, u, mask))
        K = exact.covariance("matern32", exact.natural(theta), Z, mask)
        K = np.asarray(K)[:12, :12] + exact.MEAN_SD**2
        for k, unit in enumerate(np.eye(len(theta))):
            ahead, behind = (
                run(theta + s * step * unit, Z, u, mask)[0] for s in (1, -1)
            )
            np.testing.assert_allclose(
                by_theta[k], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6
            )
        for row, column in [(0, 0), (7, 1), (11, 3)]:
            move = np.zeros_like(Z)
            move[row, column] = step
            ahead, behind = (run(theta, Z + s * move, u, mask)[0] for s in (1, -1))
            np.testing.assert_allclose(
                by_Z[row, column], (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6
            )
    expected = -multivariate_normal(np.zeros(12), K).logpdf(u[:12])
    np.testing.assert_allclose(value, expected, rtol=1e-7)  # but for the jitter
    assert not by_Z[~mask].any()


@pytest.mark.slow
def test_the_density_has_a_normal_prior_and_the_slope_of_differences():
    """Without data what is left is the prior; with data, differences agree."""
    dkl = MADE["svi"]
    design, d = dkl._design(X.shape[1]), X.shape[1]
    shapes, (median, sd) = design.shapes(d), prior(2, 2)
    data = pad(X[:12], F[:12])
    p = len(MADE["svi"].init(d).members.mean)
    v = 0.5 * np.random.default_rng(2).normal(size=p)

    def parameters(v):
        return named(v[len(median) :] / 2.0, shapes), median + sd * v[: len(median)]

    with float64():

        def at(v, mask):
            x = design.seen(jnp.asarray(data.X))
            return density(parameters, x, data.X, data.y, mask, design)(v)

        run = jax.jit(at)
        none = np.zeros(16, bool)
        value, slope = run(v, none)
        np.testing.assert_allclose(value, 0.5 * v @ v, rtol=1e-12)
        np.testing.assert_allclose(slope, v, atol=1e-12)
        _, slope = run(v, data.mask)
        along = np.random.default_rng(3).normal(size=p)
        along[: len(median)] *= 0.3
        ahead, behind = (run(v + s * 1e-3 * along, data.mask)[0] for s in (1, -1))
        np.testing.assert_allclose(slope @ along, (ahead - behind) / 2e-3, rtol=2e-2)
    flat = jnp.arange(p - len(median), dtype=jnp.float32)
    np.testing.assert_array_equal(joined(named(flat, shapes), shapes), flat)


@pytest.mark.slow
def test_more_steps_raise_the_bound_and_draws_are_of_a_guide_not_of_one_point():
    tiny, data = {**TINY, **QUICK["svi"]}, pad(X[:20], F[:20])
    bounds = []
    for steps in (1, 400):
        dkl = DKL(inference="svi", **{**tiny, "cold_steps": steps})
        state, info = dkl.fit(KEY, dkl.init(X.shape[1]), data)
        bounds.append((info["elbo"], info["elbo_error"]))
        assert info["failed"] == 0
    assert bounds[1][0] > bounds[0][0] + 5 * max(error for _, error in bounds)
    assert len(np.unique(np.asarray(state.at.hyper.scale))) == 4


@pytest.mark.slow
def test_chains_tell_whether_they_agree_and_how_much_they_hold():
    dkl = MADE["bayes"]
    state, info = dkl.fit(KEY, dkl.init(X.shape[1]), pad(X[:20], F[:20]))
    assert 1 <= info["rounds"] <= 2
    assert 0 < info["ess"] <= 3 * 16
    assert 0 <= info["divergences"] <= 2 * (8 + 2) * 4
    assert 0.3 < info["accept_prob"] <= 1.0
    scale = np.log(np.asarray(state.at.hyper.scale) / np.std(F[:20]))
    kept = np.asarray(state.members.draws).reshape(16, -1)[::4, 0]  # every fourth
    np.testing.assert_allclose(scale, kept, atol=1e-9)  # of the prior, sd 1
    whole = split_gelman_rubin(np.asarray(state.members.draws)[..., :1])
    assert 0.9 < info["r_hat"] < 1e6
    assert info["r_hat"] >= float(whole.max()) - 1e-6


@pytest.mark.slow
def test_the_net_that_is_sampled_begins_where_it_began_and_so_never_drifts():
    """After ten fits its weights are those of one fit to the same data."""
    dkl, data = MADE["bayes"], pad(X[:24], F[:24])
    state, _ = dkl.fit(KEY, dkl.init(X.shape[1]), pad(X[:20], F[:20]))
    straight, _ = dkl.fit(KEY, state, data)
    for n in (21, 22, 23, 24):
        state, _ = dkl.fit(jax.random.key(n), state, pad(X[:n], F[:n]))
    np.testing.assert_array_equal(state.members.weights, straight.members.weights)
    np.testing.assert_array_equal(state.members.theta, straight.members.theta)


@pytest.mark.slow
def test_few_points_are_enough():
    for name in ("svi", "bayes"):
        state, info = MADE[name].fit(
            KEY, MADE[name].init(X.shape[1]), pad(X[:1], F[:1])
        )
        assert info["finite"] == 1
        assert np.isfinite(MADE[name].predict(KEY, state, X).variance).all()


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(UnknownName, match="svi"):
        DKL(inference="mcmc")
    with pytest.raises(UnknownName, match="cnn"):
        DKL(network="transformer")
    with pytest.raises(BadConfig, match="chains · samples"):
        DKL(inference="bayes", members=129)
    with pytest.raises(BadConfig, match="above 1"):
        DKL(inference="bayes", agree=1.0)
    with pytest.raises(BadConfig, match="widths"):
        DKL(network="flax.linen:Dense", hidden=(4,))
    with pytest.raises(BadConfig, match="cannot be made"):
        DKL(network="flax.linen:Conv")
    with pytest.raises(ShapeMismatch, match="images"):
        DKL(network="cnn").init(2)
    carried = MADE["svi"].carry(MADE["svi"].init(34))
    with pytest.raises(ShapeMismatch, match="restore"):
        MADE["bayes"].restore(carried, 34)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["svi", "bayes"])
def test_what_only_images_show_is_predicted_and_about_as_well_as_is_said(inference):
    X, f = scene(1, m=300)
    y = f + 0.1 * np.random.default_rng(1).normal(size=300)
    dkl = DKL(inference=inference, size=SIZE)
    state, _ = dkl.fit(KEY, dkl.init(X.shape[1]), pad(X[:60], y[:60]))
    found = dkl.predict(KEY, state, X[60:])
    assert np.sqrt(np.mean((found.mean - f[60:]) ** 2)) < 0.6
    inside = np.abs(found.mean - f[60:]) < 1.645 * np.sqrt(found.variance)
    assert 0.75 < inside.mean() <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("inference", list(QUICK))
def test_a_net_over_images_beats_one_over_positions_where_images_have_structure(
    inference,
):
    """An image whose stripes run across here and down there; f says which.

    Errors of about 0.31, 0.25 and 0.32 sd against 0.78, 0.70 and 0.62 of positions. To
    "mlp" a patch and the same one turned are one patch: 0.90, 0.70 and 0.62.
    """
    rng = np.random.default_rng(11)
    side, size = 96, 8
    rows, columns = np.mgrid[:side, :side]
    coarse = np.kron(rng.random((12, 12)) < 0.5, np.ones((8, 8), bool))
    phase = 2 * np.pi * np.where(coarse, rows, columns) / 4
    image = np.sin(phase + rng.uniform(0, 2 * np.pi)) + 0.2 * rng.normal(
        size=2 * [side]
    )
    at = rng.integers(0, side - size, (400, 2))
    patches = np.array([image[r : r + size, c : c + size].ravel() for r, c in at])
    share = [coarse[r : r + size, c : c + size].mean() for r, c in at]
    f = (np.array(share) - np.mean(share)) / np.std(share)
    X, n = np.hstack([at / side, patches]), 120
    y = f + 0.1 * rng.normal(size=len(f))

    def error(X, **settings):
        dkl = DKL(inference=inference, size=size, **settings)
        state, _ = dkl.fit(KEY, dkl.init(X.shape[1]), pad(X[:n], y[:n]))
        found = dkl.predict(KEY, state, X[n:]).mean
        return np.sqrt(np.mean((found - f[n:]) ** 2))

    assert error(X, network="cnn") < 0.65 * error(X[:, :2])
