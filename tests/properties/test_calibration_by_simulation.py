"""Samplers draw from the posterior they say: ranks of the truth are uniform.

`simulated` draws truths and posteriors, `ranks` has the tests of uniformity. A thousand
simulations of each sampler are a soak, by hand; `benchmarks/honesty.py` has figures.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from aemtwin.environment import prepare_jax
from aemtwin.surrogates.bayes_gp import BayesGP
from aemtwin.surrogates.bnn import BNN
from tests.properties import simulated
from tests.properties.ranks import DRAWS, chi_square, envelope, gamma, least, rank

prepare_jax()  # some programs take long to compile: keep them between test runs
LEAST = 0.01  # a p-value below it is no chance
COUNT = 150  # simulations
MANY = 1000  # of a soak


def normal_ranks(count, *, narrower=1.0, shifted=0.0, seed=0):
    """Ranks where the posterior is a normal that is known."""
    random = np.random.default_rng(seed)
    truth, draws = random.normal(size=count), random.normal(size=(DRAWS, count))
    return rank(truth, narrower * draws + shifted)


def test_p_values_of_uniform_ranks_are_uniform():
    for test in (envelope, chi_square):
        p = np.array([test(normal_ranks(150, seed=s)) for s in range(400)])
        share = np.array([np.mean(p <= level) for level in (0.05, 0.2, 0.5)])
        assert np.all(share <= [0.09, 0.27, 0.59])  # 3.5 binomial errors above
        assert np.all(share >= [0.01, 0.12, 0.40])


def test_the_least_probability_over_steps_is_that_of_a_plain_loop():
    ranks = normal_ranks(40, shifted=0.3)
    tails = []
    for k in range(1, DRAWS + 1):
        below, p = int(np.sum(ranks < k)), k / (DRAWS + 1)
        every = binom.pmf(np.arange(41), 40, p)
        tails += [2 * every[: below + 1].sum(), 2 * every[below:].sum()]
    np.testing.assert_allclose(gamma(ranks), min(tails), rtol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [{"narrower": 0.7}, {"narrower": 1.4}, {"shifted": 0.4}],
    ids=["narrower", "wider", "shifted"],
)
def test_ranks_among_wrong_draws_are_not_uniform(wrong):
    told = [least({"x": normal_ranks(150, **wrong, seed=s)}) for s in range(40)]
    assert np.mean(np.array(told) < LEAST) > 0.5


@cache
def gp_simulations():
    return [simulated.hyperparameters(seed, BayesGP()) for seed in range(COUNT)]


def ranks_of(found, *, narrower=1.0, shifted=0.0):
    """Ranks of each quantity, with draws narrowed or moved by parts of their sd."""
    ranks = []
    for one in found:
        middle, sd = one.draws.mean(axis=0), one.draws.std(axis=0)
        draws = middle + narrower * (one.draws - middle) + shifted * sd
        ranks.append(rank(one.truth, draws))
    return dict(zip(found[0].names, np.transpose(ranks), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bayes_gp_samples_the_posterior_of_its_hyperparameters():
    assert least(ranks_of(gp_simulations())) > LEAST


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "wrong", [{"narrower": 0.7}, {"shifted": 0.4}], ids=["narrower", "shifted"]
)
def test_hyperparameters_drawn_too_narrow_or_shifted_are_told(wrong):
    assert least(ranks_of(gp_simulations(), **wrong)) < LEAST


@cache
def fitted_simulations():
    return [simulated.predictive(seed, BayesGP()) for seed in range(COUNT)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_bayes_gp_is_calibrated_where_y_came_standardised():
    assert least(ranks_of(fitted_simulations())) > LEAST


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fit_that_is_too_narrow_or_shifted_is_told():
    for wrong in ({"narrower": 0.6}, {"shifted": 0.5}):
        assert least(ranks_of(fitted_simulations(), **wrong)) < LEAST


@cache
def linear_simulations():
    model = BNN(inference="nuts", hidden=())
    return [simulated.net(seed, model) for seed in range(COUNT)]


@pytest.mark.slow
def test_bnn_samples_the_posterior_of_a_net_without_hidden_layers():
    assert least(ranks_of(linear_simulations())) > LEAST


@pytest.mark.slow
def test_a_net_that_is_drawn_too_narrow_or_shifted_is_told():
    for wrong in ({"narrower": 0.6}, {"shifted": 0.5}):
        assert least(ranks_of(linear_simulations(), **wrong)) < LEAST


# Measured, 80 simulations: p = 1e-4 for noise and likelihood, 0.47 for f; r-hat 2.6 in
# the median. It does not converge in its budget, as `BNN` says.
@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.xfail(reason="chains of hidden layers do not converge", strict=True)
def test_bnn_samples_the_posterior_of_its_hidden_layers():
    model = BNN(inference="nuts")
    assert least(ranks_of([simulated.net(s, model) for s in range(COUNT)])) > LEAST


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("simulate", ["hyperparameters", "predictive"])
def test_a_thousand_simulations_find_bayes_gp_calibrated(simulate):
    run = getattr(simulated, simulate)
    assert least(ranks_of([run(seed, BayesGP()) for seed in range(MANY)])) > LEAST


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_simulations_find_a_linear_net_calibrated():
    model = BNN(inference="nuts", hidden=())
    assert least(ranks_of([simulated.net(s, model) for s in range(MANY)])) > LEAST
