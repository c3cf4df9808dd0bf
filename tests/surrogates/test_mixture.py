"""Mixtures against plainer sums, and growth by rows against conditioning anew."""

import jax
import numpy as np
import pytest

from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import Joint, bucket, count_compilations, float64, pad
from aemtwin.surrogates.bayes_gp import BayesGP
from aemtwin.surrogates.exact import posterior
from aemtwin.surrogates.gp import GP
from aemtwin.surrogates.mixture import (
    Mixture,
    advanced,
    conditioned,
    hyper_of,
    joint,
    known,
    moments,
)

prepare_jax()

KEY = jax.random.key(4)
RNG = np.random.default_rng(6)
X, POOL = RNG.random((40, 2)), RNG.random((25, 2))
Y = 2.0 + np.sin(8 * X[:, 0]) * np.cos(5 * X[:, 1]) + 0.1 * RNG.normal(size=40)
THETA = np.log([[1.0, 0.2, 0.3, 0.1], [0.8, 0.6, 0.4, 0.3], [2.0, 0.1, 0.9, 0.05]])
WEIGHT = np.array([0.5, 0.0, 0.5])
HYPER = hyper_of(THETA, np.array([2.0, 0.7]), np.array([1.0]))


def mixture(n=30, noise=None):
    data = pad(X[:n], Y[:n], noise)
    with float64():
        arrays = data.X, data.y, data.mask, known(data)
        return conditioned(WEIGHT, HYPER, *arrays, kernel="matern52")


def each(n=30):
    """Each process by itself, by the textbook."""
    for k, weight in enumerate(WEIGHT):
        if weight:
            one = jax.tree.map(lambda a, k=k: np.asarray(a)[k], HYPER)
            yield weight, posterior(one, X[:n], Y[:n], POOL)


def test_moments_are_those_of_the_weighted_sum_of_densities():
    with float64():
        found = moments(mixture(), POOL, kernel="matern52")
        parts = [(w, np.asarray(p.mean), np.asarray(p.variance)) for w, p in each()]
    mean = sum(w * m for w, m, _ in parts)
    square = sum(w * (v + m**2) for w, m, v in parts)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(found.variance, square - mean**2, rtol=1e-8)


def test_the_joint_covariance_has_the_variance_on_its_diagonal():
    with float64():
        mix = mixture()
        found = joint(mix, POOL, POOL, kernel="matern52")
        alone = moments(mix, POOL, kernel="matern52").variance
    C = np.asarray(found.covariance)
    np.testing.assert_allclose(np.diag(C), alone, rtol=1e-8)
    np.testing.assert_allclose(C, C.T, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(C).min() > -1e-10
    noise = WEIGHT @ np.asarray(HYPER.noise) ** 2
    np.testing.assert_allclose(found.noise, noise, rtol=1e-12)


@pytest.mark.slow
def test_the_joint_covariance_says_what_one_more_measurement_will_say():
    gp = GP(modes=1, spread=0, refit_every=1000, drift=np.inf)
    state, _ = gp.fit(KEY, gp.init(2), pad(X[:20], Y[:20]))
    assert isinstance(gp, Joint)
    told, before = gp.covariance(state, POOL[:1], POOL), gp.predict(KEY, state, POOL)
    here = before.variance[0] + told.noise[0]
    later, _ = gp.fit(
        KEY,
        state,
        pad(np.vstack([X[:20], POOL[:1]]), np.append(Y[:20], before.mean[0] + 0.3)),
    )
    after = gp.predict(KEY, later, POOL)
    c = told.covariance[0]
    np.testing.assert_allclose(after.variance, before.variance - c**2 / here, rtol=1e-9)
    np.testing.assert_allclose(after.mean, before.mean + 0.3 * c / here, rtol=1e-9)


@pytest.mark.parametrize("n", [20, 24, 25, 40])
def test_growing_by_rows_is_conditioning_on_all(n):
    noise = np.linspace(0.0, 0.4, 40)
    with float64():
        mix = mixture(18, noise[:18])
        data = pad(X[:n], Y[:n], noise[:n])
        grown = advanced(mix, WEIGHT, HYPER, 18, data, kernel="matern52")
        anew = mixture(n, noise[:n])
        one, other = (moments(m, POOL, kernel="matern52") for m in (grown, anew))
    assert grown.mask.shape == (bucket(n),)
    np.testing.assert_allclose(grown.L, anew.L, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-8)


def test_step_by_step_and_at_once_are_the_same_bits():
    with float64():
        mix: Mixture | None = None
        for n in range(12, 30):
            data = pad(X[:n], Y[:n])
            mix = advanced(mix, WEIGHT, HYPER, 12, data, kernel="matern52")
        once = advanced(None, WEIGHT, HYPER, 12, data, kernel="matern52")
    for one, other in zip(jax.tree.leaves(mix), jax.tree.leaves(once), strict=True):
        np.testing.assert_array_equal(one, other)


def test_points_that_changed_are_conditioned_on_anew():
    moved = X[:22].copy()
    moved[3] = [0.5, 0.5]
    with float64():
        mix, data = mixture(20), pad(moved, Y[:22] + 1.0)
        found = advanced(mix, WEIGHT, HYPER, 20, data, kernel="matern52")
        expected = advanced(None, WEIGHT, HYPER, 20, data, kernel="matern52")
    np.testing.assert_array_equal(found.L, expected.L)
    np.testing.assert_array_equal(found.alpha, expected.alpha)


@pytest.mark.parametrize(
    "model",
    [GP(refit_every=7, drift=np.inf), BayesGP(refit_every=7, samples=16, kept=16)],
    ids=["gp", "bayes_gp"],
)
def test_between_searches_a_run_resumes_to_the_bit(model):
    state, searched = model.init(2), []
    for n in range(14, 28):
        data, key = pad(X[:n], Y[:n]), jax.random.fold_in(KEY, n)
        carried = {
            k: np.array(v.tolist(), v.dtype) for k, v in model.carry(state).items()
        }
        resumed, told = model.fit(key, model.restore(carried, 2), data)
        state, info = model.fit(key, state, data)
        searched.append(info["searched"])
        assert info == told
        one, other = (model.predict(key, s, POOL) for s in (state, resumed))
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.variance, other.variance)
    assert searched == [1, 0, 0, 0, 0, 0, 0] * 2


def test_between_searches_nothing_is_compiled_inside_a_bucket():
    gp = GP(refit_every=1000, drift=np.inf)
    state, _ = gp.fit(KEY, gp.init(2), pad(X[:17], Y[:17]))
    counts = []
    for n in range(18, 24):
        with count_compilations() as seen:
            state, _ = gp.fit(KEY, state, pad(X[:n], Y[:n]))
        counts.append(seen.count)
    assert counts[1:] == [0] * 5


def test_a_surprise_is_a_reason_to_seek_at_once():
    gp = GP(refit_every=1000)
    state, _ = gp.fit(KEY, gp.init(2), pad(X[:20], Y[:20]))
    odd = np.append(Y[:21], Y[21] + 5.0)
    calm, usual = gp.fit(KEY, state, pad(X[:21], Y[:21]))
    _, told = gp.fit(KEY, calm, pad(X[:22], odd))
    assert (usual["searched"], told["searched"]) == (0, 1)
    assert usual["surprise"] < gp.drift
