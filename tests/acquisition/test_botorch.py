"""Scores against those of BoTorch, stored with its version in botorch.json.

`benchmarks/peers/botorch_values.py` makes the file.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.information import KG, log_kg, mes
from aemtwin.acquisition.normal import log_gain
from aemtwin.surrogates.base import Cross, Posterior, float64

STORED = json.loads((Path(__file__).parent / "botorch.json").read_text())
ANALYTIC = {k: np.array(v) for k, v in STORED["analytic"].items()}
SAMPLED = {k: np.array(v) for k, v in STORED["sampled"].items()}
AT = Posterior(ANALYTIC["mean"], ANALYTIC["sd"] ** 2)
KNOWN = Context(float(ANALYTIC["best"]), np.zeros(len(AT.mean), bool))


@pytest.mark.parametrize("name", ["log_ei", "log_poi"])
def test_logarithms_agree_with_botorch_from_40_below_to_8_above_the_best(name):
    found = get(name)(AT, KNOWN)
    np.testing.assert_allclose(found, ANALYTIC[name], rtol=1e-6, atol=1e-9)
    assert found.min() < -800


@pytest.mark.parametrize(("name", "plain"), [("log_ei", "ei"), ("log_poi", "poi")])
def test_exponentials_agree_with_botorch_where_those_keep_digits(name, plain):
    z = (AT.mean - KNOWN.best) / ANALYTIC["sd"]
    keeps = z > -5
    found = np.exp(get(name)(AT, KNOWN))
    np.testing.assert_allclose(found[keeps], ANALYTIC[plain][keeps], rtol=1e-6)
    assert np.all(found[~keeps] <= ANALYTIC["sd"][~keeps] * 1e-7 + 3e-7)


def test_ucb_agrees_with_botorch():
    found = get("ucb", beta=float(ANALYTIC["beta"]))(AT, KNOWN)
    np.testing.assert_allclose(found, ANALYTIC["ucb"], rtol=1e-6)


def test_log_gain_agrees_with_six_hundred_digits():
    with float64():
        found = log_gain(jnp.array(STORED["gains"]["gamma"]))
    np.testing.assert_allclose(found, STORED["gains"]["log_gain"], rtol=1e-12)


def test_mes_agrees_with_botorch_for_the_same_heights_of_the_maximum():
    covariance = SAMPLED["covariance"]
    at = Posterior(SAMPLED["mean"], np.diag(covariance).copy())
    known = Context(0.0, np.zeros(21, bool))
    with float64():
        found = np.exp(mes(at, known, peaks=jnp.array(SAMPLED["peaks"])))
    # 16384 samples of y in theirs, a standard error of half a percent
    np.testing.assert_allclose(found, SAMPLED["mes"], rtol=0.02, atol=1e-3)


def test_kg_agrees_with_botorch_that_averages_over_values():
    covariance, noise = SAMPLED["covariance"], np.full(21, float(SAMPLED["noise"]))
    slopes = covariance / np.sqrt(np.diag(covariance) + noise)[:, None]
    found = np.exp(log_kg(SAMPLED["mean"], slopes))
    # their average over 4096 parts is off where lines cross inside an outer part
    np.testing.assert_allclose(found, SAMPLED["kg"], rtol=1e-5, atol=8e-6)
    at = Posterior(SAMPLED["mean"], np.diag(covariance).copy())
    known = Context(
        0.0, np.zeros(21, bool), joint=lambda i: Cross(covariance[i], noise[i])
    )
    np.testing.assert_allclose(np.exp(KG()(at, known)), found, rtol=1e-9)
