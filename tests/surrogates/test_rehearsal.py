"""Campaigns in one program against the plain loop that conditions anew each time."""

import jax.numpy as jnp
import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.surrogates.base import count_compilations, float64
from aemtwin.surrogates.exact import Hyper, posterior
from aemtwin.surrogates.rehearsal import rehearse

RNG = np.random.default_rng(2)
X = RNG.random((120, 2))
Y = np.sin(7 * X[:, 0]) + X[:, 1] + 0.05 * RNG.normal(size=120)
FIRST = np.array([[0, 7, 20], [3, 4, 5]])


def hyper():
    return Hyper(jnp.array(1.0), jnp.array([0.3, 0.4]), jnp.array(0.1), jnp.array(0.4))


def upper(at, best, measured):
    return at.mean + 2.0 * jnp.sqrt(at.variance)


@pytest.mark.parametrize("kernel", ["matern52", "rbf"])
def test_picks_are_those_of_a_posterior_conditioned_anew_each_time(kernel):
    found = rehearse(hyper(), X, Y, FIRST, 15, upper, kernel=kernel)
    for campaign, first in zip(found, FIRST, strict=True):
        np.testing.assert_array_equal(campaign[:3], first)
        for n in (3, 10, 17):  # each a shape to compile for
            done = campaign[:n]
            with float64():
                at = posterior(hyper(), X[done], Y[done], X, kernel=kernel)
            scores = np.asarray(at.mean) + 2.0 * np.sqrt(np.asarray(at.variance))
            scores[done] = -np.inf
            assert scores[campaign[n]] > scores.max() - 1e-4


def test_each_campaign_has_noise_of_its_own_where_it_is_given():
    noisy = np.stack([Y, -Y])
    both = rehearse(hyper(), X, noisy, FIRST[:1].repeat(2, axis=0), 10, upper)
    np.testing.assert_array_equal(
        both[0], rehearse(hyper(), X, Y, FIRST[:1], 10, upper)[0]
    )
    assert Y[both[0, 3:]].mean() > 0.5 > Y[both[1, 3:]].mean()


def test_no_candidate_is_taken_twice_until_all_are_measured():
    found = rehearse(hyper(), X, Y, FIRST, 117, upper)
    np.testing.assert_array_equal(
        np.sort(found, axis=1), np.tile(np.arange(120), (2, 1))
    )


def test_more_campaigns_of_the_same_shape_compile_nothing():
    rehearse(hyper(), X, Y, FIRST, 5, upper)
    with count_compilations() as seen:
        rehearse(hyper(), X, Y + 1.0, FIRST + 1, 5, upper)
    assert seen.count == 0


@pytest.mark.parametrize(
    ("first", "steps", "error"),
    [
        ([[0, 120]], 5, OutOfRange),
        ([[0, 1]], 119, OutOfRange),
        ([0, 1], 5, ShapeMismatch),
    ],
)
def test_what_cannot_be_rehearsed_is_told(first, steps, error):
    with pytest.raises(error, match="rehearse got"):
        rehearse(hyper(), X, Y, first, steps, upper)
