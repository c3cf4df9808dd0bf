"""Information about the maximum against quadrature, sampling and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import gumbel_r, norm

from aemtwin.acquisition import available, get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.information import (
    KG,
    envelope,
    log_gain,
    log_kg,
    mes,
    peak_quantiles,
)
from aemtwin.acquisition.registry import Acquisition
from aemtwin.errors import BadConfig, OutOfRange
from aemtwin.surrogates.base import Cross, Posterior, count_compilations, float64

gain = jax.jit(log_gain)
quantiles = jax.jit(peak_quantiles)
information = jax.jit(lambda at, peaks: mes(at, NONE, peaks=peaks))
RNG = np.random.default_rng(0)
LOWEST = np.finfo(np.float64).min
m = 40
AT = Posterior(RNG.normal(size=m), RNG.uniform(0.01, 1.5, m))
NONE = Context(0.0, np.zeros(m, bool))


def field(n, length, noise, side=20, seed=0):
    """A posterior over a grid, how it hangs together, and what was measured."""
    rng = np.random.default_rng(seed)
    line = np.linspace(0, 1, side)
    X = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    r = np.sqrt(5.0 * np.sum((X[:, None] - X) ** 2, axis=-1)) / length
    prior = (1 + r + r**2 / 3) * np.exp(-r)  # Matérn-5/2
    at = rng.choice(len(X), n, replace=False)
    K = prior[np.ix_(at, at)] + noise**2 * np.eye(n)
    y = np.linalg.cholesky(K) @ rng.normal(size=n)
    covariance = prior - prior[:, at] @ np.linalg.solve(K, prior[at])
    mean = prior[:, at] @ np.linalg.solve(K, y)
    measured = np.zeros(len(X), bool)
    measured[at] = True
    posterior = Posterior(mean, np.maximum(np.diag(covariance), 0.0))
    asked = []

    def joint(indices):
        asked.append(np.asarray(indices))
        return Cross(covariance[indices], np.full(len(indices), noise**2))

    return posterior, Context(mean[at].max(), measured, joint=joint, n=n), asked


@pytest.mark.parametrize("gamma", [-6.0, -2.0, 0.0, 1.3, 4.0])
def test_the_gain_is_the_entropy_that_truncation_takes(gamma):
    below = norm.cdf(gamma)
    entropy, _ = quad(
        lambda u: -norm.pdf(u) / below * (norm.logpdf(u) - np.log(below)),
        min(gamma, 0.0) - 12,
        gamma,
        epsabs=0,
        epsrel=1e-12,
        limit=200,
        points=[gamma - 1.0],
    )
    with float64():
        found = float(jnp.exp(gain(jnp.array(gamma))))
    assert found == pytest.approx(norm.entropy() - entropy, rel=1e-7, abs=1e-12)


def test_the_gain_falls_without_a_step_where_its_forms_meet():
    gamma = np.linspace(-60, 60, 24001)
    with float64():
        found = np.asarray(gain(jnp.asarray(gamma)))
    assert np.all(np.isfinite(found))
    slope = np.diff(found)
    assert np.all(slope < 0)
    assert np.all(np.diff(slope) < 1e-4)
    with float64():
        ends = np.asarray(gain(jnp.array([-1e300, -1e77, 1e9, 1e300])))
    assert np.all(np.isfinite(ends))
    assert np.all(np.diff(ends) <= 0)


def test_the_gumbel_law_has_the_quartiles_of_the_product_of_marginals():
    sd = np.sqrt(AT.variance)

    def below(y):
        return np.sum(norm.logcdf((y - AT.mean) / sd))

    with float64():
        found = np.asarray(quantiles(AT, jnp.array([0.25, 0.75, 0.9])))
    for p, height in zip((0.25, 0.75), found, strict=False):
        exact = brentq(lambda y, p=p: below(y) - np.log(p), -5, 20, xtol=1e-12)
        assert height == pytest.approx(exact, abs=1e-4)
    rank = gumbel_r.ppf([0.25, 0.75, 0.9])
    line = found[0] + (rank - rank[0]) * (found[1] - found[0]) / (rank[1] - rank[0])
    np.testing.assert_allclose(found, line, atol=1e-9)


def test_quantiles_follow_the_maxima_of_independent_draws():
    rng = np.random.default_rng(1)
    draws = rng.normal(AT.mean, np.sqrt(AT.variance), (100_000, m)).max(1)
    p = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
    with float64():
        found = np.asarray(quantiles(AT, jnp.asarray(p)))
    # a tenth of a standard deviation: the law of Gumbel is not theirs
    np.testing.assert_allclose(found, np.quantile(draws, p), atol=0.1 * draws.std())


def test_a_maximum_that_is_known_is_where_it_is():
    known = Posterior(np.linspace(0, 2, m), np.zeros(m))
    with float64():
        found = np.asarray(quantiles(known, jnp.array([0.25, 0.75, 0.9])))
    np.testing.assert_allclose(found, 2.0)
    # one that is measured without noise bounds it from below
    half = Posterior(np.linspace(0, 2, m), np.where(np.arange(m) == m - 1, 0.0, 0.01))
    with float64():
        found = np.asarray(quantiles(half, jnp.array([0.001, 0.05, 0.5])))
    assert np.all(found >= 2.0)


def test_mes_is_the_mean_gain_over_heights():
    peaks = np.array([1.0, 2.5, 4.0])
    with float64():
        found = np.asarray(information(AT, jnp.asarray(peaks)))
    gamma = (peaks[:, None] - AT.mean) / np.sqrt(AT.variance)
    plain = gamma * norm.pdf(gamma) / (2 * norm.cdf(gamma)) - norm.logcdf(gamma)
    np.testing.assert_allclose(np.exp(found), plain.mean(0), rtol=1e-9, atol=1e-13)


def test_middles_of_equal_parts_stand_for_the_law_better_than_as_many_draws():
    def score(p):
        with float64():
            found = information(AT, quantiles(AT, jnp.asarray(p)))
        return np.exp(np.asarray(found))

    rng = np.random.default_rng(2)
    exact = score((np.arange(4096) + 0.5) / 4096)
    drawn = np.array([score(rng.uniform(size=16)) for _ in range(50)])
    error = np.sqrt(np.mean((drawn - exact) ** 2, axis=0))
    ours = np.abs(np.exp(get("mes")(AT, NONE)) - exact)
    assert np.all(ours < error)
    assert np.median(ours / error) < 0.1
    promising = exact > 0.1 * exact.max()
    assert np.all(ours[promising] < 0.02 * exact[promising])


def test_mes_keeps_the_order_of_candidates_without_promise():
    at = Posterior(np.array([-300.0, -60.0, -5.0, 0.0, -1e200]), np.ones(5))
    found = get("mes")(at, Context(0.0, np.zeros(5, bool)))
    assert np.all(np.isfinite(found))
    assert found.argsort().tolist() == [4, 0, 1, 2, 3]


@pytest.mark.parametrize("name", ["mes", "kg"])
def test_a_measured_candidate_is_never_the_highest(name):
    at, known, _ = field(n=8, length=0.2, noise=0.1)
    found = get(name)(at, known)
    assert isinstance(get(name), Acquisition)
    assert get(name).name == name in available()
    assert np.all(np.isneginf(found[known.measured]))
    assert np.all(np.isfinite(found[~known.measured]))


def test_certainty_teaches_nothing():
    at = Posterior(AT.mean, np.zeros(m))
    zeros = Cross(np.zeros((m, m)), np.zeros(m))
    known = NONE._replace(joint=lambda i: Cross(zeros.covariance[i], zeros.noise[i]))
    assert np.all(get("mes")(at, known) == LOWEST)
    assert np.all(get("kg")(at, known) == LOWEST)
    assert np.all(get("kg", shortlist=3)(at, known) == LOWEST)


def by_enumeration(mean, slope):
    """Integrate the maximum exactly between all crossings of all pairs of lines."""
    pairs = itertools.combinations(range(len(mean)), 2)
    cuts = [
        (mean[i] - mean[j]) / (slope[j] - slope[i])
        for i, j in pairs
        if slope[i] != slope[j]
    ]
    cuts = np.concatenate([[-np.inf], np.sort(cuts), [np.inf]])
    total = 0.0
    for low, high in itertools.pairwise(cuts):
        middle = np.clip(
            0.5 * (np.clip(low, -99, 99) + np.clip(high, -99, 99)), -99, 99
        )
        j = np.argmax(mean + slope * middle)
        total += mean[j] * (norm.cdf(high) - norm.cdf(low))
        total += slope[j] * (norm.pdf(low) - norm.pdf(high))
    return total - mean.max()


def test_kg_agrees_with_the_enumeration_of_all_crossings():
    rng = np.random.default_rng(3)
    for k in (2, 3, 10, 25):
        mean, slopes = rng.normal(size=k), rng.normal(size=(6, k))
        plain = [by_enumeration(mean, slope) for slope in slopes]
        np.testing.assert_allclose(
            np.exp(log_kg(mean, slopes)), plain, rtol=1e-9, atol=1e-14
        )


def test_kg_agrees_with_quadrature_over_a_thousand_alternatives():
    rng = np.random.default_rng(4)
    mean, slopes = rng.normal(size=1000), rng.normal(size=(3, 1000))
    z = np.linspace(-9, 9, 20001)
    for slope, found in zip(slopes, np.exp(log_kg(mean, slopes)), strict=True):
        top = np.array([np.max(mean + slope * at) for at in z])
        plain = np.trapezoid((top - mean.max()) * norm.pdf(z), z)
        assert found == pytest.approx(plain, rel=1e-6)


def test_the_envelope_is_the_lines_that_win_somewhere():
    rng = np.random.default_rng(5)
    z = np.tan(np.linspace(-1.57, 1.57, 200_001))
    for k in (1, 2, 7, 60):
        a, b = rng.normal(size=k), rng.normal(size=k)
        top = np.unique([np.argmax(a + b * at) for at in z])
        found = envelope(a, b)
        assert np.all(np.diff(b[found]) > 0)
        assert set(top) <= set(found.tolist())
        assert np.max(a[found] + np.outer(z[::100], b[found]), axis=1) == pytest.approx(
            np.max(a + np.outer(z[::100], b), axis=1)
        )
    tied = envelope(np.array([1.0, 1.0, 0.5, 1.0]), np.zeros(4))
    assert tied.size == 1
    assert tied[0] != 2


def test_kg_of_two_alternatives_stays_exact_in_the_far_tail():
    # E[max(0, z − c)] = h(−c), the expected improvement
    for gap in (1.0, 30.0, 1e3, 1e8):
        found = log_kg(np.array([0.0, -gap]), np.array([[0.0, 1.0]]))[0]
        ei = get("log_ei")(
            Posterior(np.array([-gap]), np.ones(1)), Context(0.0, np.zeros(1, bool))
        )[0]
        assert found == pytest.approx(ei, rel=1e-12)


@pytest.mark.parametrize("unit", [1e-150, 1e-6, 1.0, 1e6, 1e150])
def test_kg_goes_with_the_unit_of_y(unit):
    rng = np.random.default_rng(6)
    mean, slopes = rng.normal(size=30), rng.normal(size=(2, 30))
    found = log_kg(unit * mean, unit * slopes)
    np.testing.assert_allclose(found, log_kg(mean, slopes) + np.log(unit), rtol=1e-9)


def test_lines_too_flat_to_ever_meet_give_a_finite_score():
    flat = np.array([[0.0, 1e-300], [1e-300, 1e-300]])
    found = log_kg(np.array([1e5, -1e5]), flat)
    assert np.all(np.isfinite(found))
    assert found[1] == LOWEST


SETTINGS = [
    (8, 0.15, 0.5),
    (8, 0.15, 0.01),
    (20, 0.3, 0.1),
    (20, 0.1, 0.01),
    (60, 0.15, 0.1),
    (60, 0.1, 0.5),
    (120, 0.15, 0.1),
    (120, 0.3, 0.5),
]


@pytest.mark.parametrize(("n", "length", "noise"), SETTINGS)
def test_the_shortlist_holds_the_best_of_the_whole_pool(n, length, noise):
    at, known, asked = field(n, length, noise, seed=n)
    found = KG()(at, known)
    assert [indices.shape for indices in asked] == [(64,)]
    all_of_them = KG(shortlist=400)(at, known)
    assert found.argmax() == all_of_them.argmax()
    assert np.unique(asked[0]).size == 64
    listed = np.zeros(400, bool)
    listed[asked[0]] = True
    listed &= ~known.measured
    np.testing.assert_allclose(found[listed], all_of_them[listed], rtol=1e-9)
    rest = ~listed & ~known.measured
    assert found[rest].max() < found[listed].min()
    cheap = get("log_ei")(at, known._replace(best=at.mean.max()))
    assert np.all(np.diff(found[rest][np.argsort(cheap[rest])]) >= 0)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "length", "noise"), SETTINGS)
def test_on_a_fine_grid_the_shortlist_loses_little(n, length, noise):
    at, known, _ = field(n, length, noise, side=64, seed=n)
    found = KG()(at, known)
    every = np.concatenate(
        [
            log_kg(at.mean, slopes(known.joint(part), part))
            for part in np.array_split(np.flatnonzero(~known.measured), 40)
        ]
    )
    assert found.max() > every.max() + np.log(0.95)


def slopes(cross, indices):
    total = cross.covariance[np.arange(len(indices)), indices] + cross.noise
    return cross.covariance / np.sqrt(total)[:, None]


def test_scores_of_the_pool_are_those_of_simulated_measurements():
    at, known, _ = field(n=20, length=0.3, noise=0.3)
    found = np.exp(KG()(at, known))
    rng = np.random.default_rng(7)
    for j in found.argsort()[-3:]:
        cross = known.joint(np.array([j]))
        v, row = cross.covariance[0, j] + cross.noise[0], cross.covariance[0]
        y = rng.normal(0.0, np.sqrt(v), 20_000)  # measured, less its mean
        gains = [np.max(at.mean + row * (d / v)) - at.mean.max() for d in y]
        error = np.std(gains) / np.sqrt(len(gains))
        assert found[j] == pytest.approx(np.mean(gains), abs=5 * error)


def test_a_step_compiles_nothing_new():
    at, known, _ = field(n=20, length=0.3, noise=0.3)
    acquire = [get("kg"), get("mes")]
    for each in acquire:
        each(at, known)
    other, known, _ = field(n=60, length=0.1, noise=0.1)
    with count_compilations() as seen:
        for each in acquire:
            each(other, known)
    assert seen.count == 0


def test_a_pool_that_was_all_measured_asks_for_nothing():
    at, known, asked = field(n=8, length=0.2, noise=0.1)
    found = get("kg")(at, known._replace(measured=np.ones(400, bool)))
    assert np.all(np.isneginf(found))
    assert asked == []


def test_misuse_is_told_in_a_sentence():
    at, known, _ = field(n=8, length=0.2, noise=0.1)
    with pytest.raises(BadConfig, match="surrogate that has `covariance`"):
        get("kg")(at, known._replace(joint=None))
    for shape, value, noise in [
        ((64, 400), np.nan, 0.0),
        ((64, 400), 1.0, -1.0),
        ((64, 399), 1.0, 0.0),
    ]:
        bad = Cross(np.full(shape, value), np.full(64, noise))
        with pytest.raises(OutOfRange, match=r"takes \(64, 400\), all finite"):
            get("kg")(at, known._replace(joint=lambda i, bad=bad: bad))
    with pytest.raises(BadConfig, match="shortlist = 0"):
        get("kg", shortlist=0)
    with pytest.raises(BadConfig, match="samples = 0"):
        get("mes", samples=0)
