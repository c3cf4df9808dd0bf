"""Rules that end a search, against closed forms and orthant probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from aemtwin.acquisition import stopping
from aemtwin.acquisition.stopping import Standing, regret_probability
from aemtwin.errors import BadConfig, UnknownName
from aemtwin.surrogates.base import Posterior

COVARIANCE = np.array([[0.04, 0.03, 0.0], [0.03, 0.25, 0.1], [0.0, 0.1, 0.5]])
MEAN = np.array([1.0, 0.6, 0.2])


def standing(mean=MEAN, covariance=COVARIANCE, measured=(0,), decided=20, seed=(1,)):
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    left = np.ones(len(mean), bool)
    left[list(measured)] = False
    return Standing(
        Posterior(mean, np.diag(covariance).copy()),
        left,
        np.array(measured),
        decided,
        lambda chosen: covariance[np.ix_(chosen, chosen)],
        seed,
    )


def test_the_regret_of_two_candidates_is_that_of_their_difference():
    mean, covariance = MEAN[:2], COVARIANCE[:2, :2]
    sd = math.sqrt(0.04 + 0.25 - 2 * 0.03)
    for margin in (0.0, 0.1, 0.5):
        expected = stats.norm.sf((1.0 - 0.6 + margin) / sd)
        found = regret_probability(standing(mean, covariance), margin)
        assert found == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 4096))


def test_the_regret_of_three_is_the_orthant_of_their_differences():
    to = np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])
    ahead = stats.multivariate_normal(to @ MEAN, to @ COVARIANCE @ to.T)
    expected = 1 - ahead.cdf(np.array([0.1, 0.1]))
    found = regret_probability(standing(), 0.1)
    assert found == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 4096))


def test_candidates_that_are_not_drawn_are_bounded_and_not_forgotten(monkeypatch):
    exact = regret_probability(standing(), 0.1)
    monkeypatch.setattr(stopping, "TOP", 1)
    assert regret_probability(standing(), 0.1) > exact - 0.03
    far = standing([1.0, 0.6, 0.2, 0.9], np.diag([0.0, 0.0, 0.0, 1e-2]))
    assert regret_probability(far, 0.5) < 1e-3


def test_a_search_that_measured_all_has_no_regret():
    done = standing([1.0], [[0.1]])
    assert regret_probability(done, 0.0) == 0.0
    several = standing(MEAN, np.zeros((3, 3)), measured=(0, 1, 2))
    assert regret_probability(several, 0.0) == 0.0


def test_the_bound_is_that_of_its_definition():
    verdict = stopping.get("bounds", margin=0.5, beta=1.5)(standing())
    sd = np.sqrt(np.diag(COVARIANCE))
    expected = (MEAN + 1.5 * sd).max() - (MEAN[0] - 1.5 * sd[0])
    assert verdict.value == pytest.approx(expected)
    assert verdict.limit == 0.5


def test_the_gain_is_the_expected_improvement():
    verdict = stopping.get("gain")(standing())
    sd = np.sqrt(np.diag(COVARIANCE))[1:]
    z = (MEAN[1:] - MEAN[0]) / sd
    expected = sd * (z * stats.norm.cdf(z) + stats.norm.pdf(z))
    assert verdict.value == pytest.approx(expected.max(), rel=1e-9)
    assert verdict.limit == pytest.approx(0.001 * 0.8)


@pytest.mark.parametrize("rule", ["regret", "bounds", "gain"])
def test_a_rule_ends_only_where_all_is_known_and_enough_was_decided(rule):
    rule = stopping.get(rule, margin=0.01, after=5)
    unsure, sure = standing(), standing(covariance=1e-10 * COVARIANCE)
    assert not rule(unsure).stop
    assert rule(sure).stop
    assert not rule(sure._replace(decided=4)).stop
    assert f"{rule.name}:" in rule(sure).why


def test_a_verdict_is_a_function_of_its_seed():
    rule = stopping.get("regret", margin=0.1)
    assert rule(standing()) == rule(standing())
    assert rule(standing()).value != rule(standing(seed=(2,))).value


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("regret", {"risk": 0.0}),
        ("regret", {"margin": -1.0}),
        ("bounds", {"beta": math.nan}),
        ("gain", {"relative": -0.1}),
        ("gain", {"after": 1.5}),
        ("bounds", {"depth": 1}),
    ],
)
def test_what_no_rule_can_mean_is_refused(name, params):
    with pytest.raises(BadConfig, match=next(iter(params))):
        stopping.get(name, **params)


def test_an_unknown_rule_names_those_there_are():
    with pytest.raises(UnknownName, match="regret"):
        stopping.get("never")


def test_regret_without_covariances_says_what_has_them():
    with pytest.raises(BadConfig, match="gp, bayes_gp"):
        regret_probability(standing()._replace(among=None), 0.1)
