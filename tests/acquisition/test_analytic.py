"""Scores against numerical integration, asymptotics and each other."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx, log_ndtr
from scipy.stats import norm

from aemtwin.acquisition import available, get
from aemtwin.acquisition.analytic import Context, srinivas
from aemtwin.acquisition.normal import log_cdf, log_h
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.errors import BadConfig, UnknownName
from aemtwin.surrogates.base import Posterior, count_compilations, float64


def scores(name, mean, variance, best=0.0, measured=None, n=0, **params):
    at = Posterior(np.atleast_1d(mean), np.atleast_1d(variance))
    known = np.zeros(len(at.mean), bool) if measured is None else np.array(measured)
    return get(name, **params)(at, Context(best, known, n=n))


@pytest.mark.parametrize("mean", [-4.0, -1.7, -0.3, 0.0, 0.8, 2.5])
@pytest.mark.parametrize("sd", [0.4, 1.0, 3.0])
def test_log_ei_is_the_logarithm_of_the_integral(mean, sd):
    best = 0.5
    ei, _ = quad(
        lambda u: (u - best) * norm.pdf(u, mean, sd),
        best,
        max(best, mean) + 12 * sd,
        epsabs=0,
        epsrel=1e-12,
    )
    assert scores("log_ei", mean, sd**2, best)[0] == pytest.approx(
        np.log(ei), rel=1e-8, abs=1e-8
    )


def test_log_h_agrees_with_a_scaled_complementary_error_function():
    z = -np.linspace(0.0, 60.0, 2001)
    mills = np.sqrt(np.pi / 2) * erfcx(-z / np.sqrt(2))
    expected = norm.logpdf(z) + np.log1p(z * mills)
    with float64():
        found = np.asarray(log_h(jnp.asarray(z)))
    loss = 1e-14 * (1 + z**2)  # the digits that the plain form loses
    assert np.all(np.abs(found - expected) <= loss * (1 + np.abs(expected)))


@pytest.mark.parametrize("z", [-30.0, -1e2, -1e3, -1e6, -1e12])
def test_log_h_has_the_right_far_tail(z):
    tail = 1 - 3 / z**2 + 15 / z**4 - 105 / z**6 + 945 / z**8
    expected = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-z) + np.log(tail)
    with float64():
        assert float(log_h(jnp.array(z))) == pytest.approx(expected, rel=1e-12)


def test_log_h_is_smooth_where_its_two_forms_meet():
    z = -3.0 + np.array([-1e-9, 0.0, 1e-9])
    with float64():
        below, at, above = np.asarray(log_h(jnp.asarray(z)))
    assert below < at < above
    assert above - below == pytest.approx(2e-9 * (at - below) / 1e-9, rel=1e-4)


def test_log_ei_still_orders_candidates_that_ei_calls_equal():
    found = scores("log_ei", [-50.0, -40.0, -1e9], [1.0, 1.0, 1e-30])
    assert found[1] > found[0] > found[2]
    assert np.all(np.isfinite(found))


def test_without_variance_the_improvement_is_certain_or_none():
    found = scores("log_ei", [2.0, 1.0, -3.0], [0.0, 0.0, 0.0], best=1.0)
    assert found[0] == pytest.approx(0.0)
    assert np.isfinite(found[1])
    assert found[1] == found[2] < scores("log_ei", -1e6, 1e-20)[0]


@pytest.mark.parametrize("name", ["log_ei", "log_poi", "ucb", "variance"])
def test_a_measured_candidate_is_never_the_highest(name):
    measured = [True, True, False]
    found = scores(name, [9.0, 8.0, -1e5], [4.0, 1.0, 0.0], measured=measured)
    assert found.argmax() == 2
    assert np.all(np.isneginf(found[:2]))
    assert np.isfinite(found[2])


def test_ucb_adds_beta_standard_deviations():
    assert scores("ucb", 1.0, 4.0)[0] == 5.0
    assert scores("ucb", 1.0, 4.0, beta=0.5)[0] == 2.0


def test_log_cdf_agrees_with_another_implementation():
    z = np.concatenate([np.linspace(-60, 37, 2001), [-1e3, -1e6, -1e9]])
    with float64():
        found = np.asarray(log_cdf(jnp.asarray(z)))
        edges = np.asarray(log_cdf(jnp.array([-np.inf, -1e300, 1e300])))
    np.testing.assert_allclose(found, log_ndtr(z), rtol=1e-12, atol=0)
    assert np.all(np.isfinite(edges))


def test_log_poi_is_the_logarithm_of_the_integral():
    mean, sd, best = np.array([-2.0, 0.1, 0.9]), np.array([0.7, 0.2, 2.0]), 0.5
    found = scores("log_poi", mean, sd**2, best)
    for at, middle, width in zip(found, mean, sd, strict=True):
        p, _ = quad(
            norm.pdf, best, best + 40, args=(middle, width), points=[middle + 1]
        )
        assert np.exp(at) == pytest.approx(p, rel=1e-7)


def test_a_margin_counts_standard_deviations_of_f_over_the_pool():
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=50), rng.uniform(0.1, 1.0, 50)
    drawn = mean + sd * rng.normal(size=(40_000, 50))
    found = scores("log_poi", mean, sd**2, best=1.0, margin=0.3)
    expected = norm.logsf(1.0 + 0.3 * drawn.std(), mean, sd)
    np.testing.assert_allclose(found, expected, rtol=5e-3)
    # so the unit of y decides nothing
    other = scores("log_poi", 1e3 * mean, 1e6 * sd**2, best=1e3, margin=0.3)
    np.testing.assert_allclose(other, found, rtol=1e-9)


def test_without_variance_an_improvement_is_sure_or_impossible():
    found = scores("log_poi", [2.0, 1.0, -3.0], [0.0, 0.0, 0.0], best=1.0)
    assert found[0] == 0.0
    assert np.all(found[1:] == np.finfo(np.float64).min)


def test_the_schedule_of_srinivas_bounds_every_candidate_in_every_round():
    # theorem 1: the union of tails of m candidates and all rounds is below delta
    m, delta = 50, 0.2
    beta = np.array([srinivas(n, m, delta) for n in range(5000)])
    t = np.arange(1, 5001)
    np.testing.assert_allclose(
        beta**2, 2 * np.log(m * t**2 * np.pi**2 / (6 * delta)), rtol=1e-12
    )
    assert np.sum(m * np.exp(-(beta**2) / 2)) < delta
    assert np.sum(2 * m * norm.sf(beta)) < delta
    found = scores(
        "ucb", np.zeros(m), np.ones(m), n=7, schedule="srinivas", delta=delta
    )
    np.testing.assert_allclose(found, beta[7], rtol=1e-12)


def test_a_decaying_beta_falls_by_its_factor_at_each_measurement():
    for n in (0, 1, 10):
        found = scores("ucb", 1.0, 4.0, n=n, beta=3.0, schedule="decay", decay=0.9)
        assert found[0] == pytest.approx(1.0 + 2.0 * 3.0 * 0.9**n)


def test_another_beta_or_margin_compiles_nothing_new():
    scores("ucb", 1.0, 4.0)
    scores("log_poi", 1.0, 4.0)
    with count_compilations() as seen:
        scores("ucb", 1.0, 4.0, n=9, schedule="srinivas")
        scores("log_poi", 1.0, 4.0, margin=0.5)
    assert seen.count == 0


def test_variance_seeks_ignorance_alone():
    found = scores("variance", [9.0, 0.0], [1.0, 2.0])
    assert found.tolist() == [1.0, 2.0]


def test_every_name_makes_an_acquisition_or_a_policy_of_that_name():
    for name in ("log_ei", "log_poi", "ucb", "variance"):
        assert isinstance(get(name), Acquisition)
        assert get(name).name == name
    for name in ("random", "grid"):
        assert isinstance(get(name), Policy)
        assert get(name).name == name
    assert set(available()) >= {"log_ei", "ucb", "variance", "random", "grid"}


def test_misuse_is_told_in_a_sentence():
    with pytest.raises(UnknownName, match="Did you mean 'log_ei'"):
        get("logei")
    with pytest.raises(BadConfig, match="takes beta"):
        get("ucb", kappa=2.0)
    with pytest.raises(BadConfig, match="finite"):
        get("ucb", beta=-1.0)
    with pytest.raises(UnknownName, match="srinivas"):
        get("ucb", schedule="srinivasan")
    with pytest.raises(BadConfig, match="delta = 1"):
        get("ucb", schedule="srinivas", delta=1.0)
    with pytest.raises(BadConfig, match=r"decay = 1\.1"):
        get("ucb", schedule="decay", decay=1.1)
    with pytest.raises(BadConfig, match=r"margin = -0\.1"):
        get("log_poi", margin=-0.1)


@pytest.mark.parametrize("name", ["log_ei", "log_poi", "ucb", "variance"])
def test_what_is_not_known_is_not_scored_as_certain(name):
    found = scores(name, [0.0, 1.0], [np.nan, 1.0])
    assert np.isnan(found[0])
    assert np.isfinite(found[1])
