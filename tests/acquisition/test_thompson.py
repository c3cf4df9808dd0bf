"""Thompson sampling: the draw is the score."""

import jax
import numpy as np
import pytest

from aemtwin.acquisition import get
from aemtwin.acquisition.analytic import Context
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.errors import BadConfig
from aemtwin.surrogates import get as get_surrogate
from aemtwin.surrogates.base import Posterior, pad

AT = Posterior(np.zeros(3), np.ones(3))
MEASURED = np.array([False, True, False])


def test_it_is_an_acquisition_that_asks_for_draws():
    thompson = get("thompson")
    assert isinstance(thompson, Acquisition)
    assert not isinstance(thompson, Policy)
    assert thompson.name == "thompson"
    assert thompson.draws is True
    assert not getattr(get("ucb"), "draws", False)


def test_the_score_is_the_draw_and_measured_candidates_are_never_the_highest():
    known = Context(0.0, MEASURED, np.array([-4.0, 9.0, -5.0]))
    assert get("thompson")(AT, known).tolist() == [-4.0, -np.inf, -5.0]


@pytest.mark.parametrize("draw", [None, np.zeros(2)])
def test_a_missing_draw_is_told_in_a_sentence(draw):
    with pytest.raises(BadConfig, match=r"surrogate\.draw"):
        get("thompson")(AT, Context(0.0, MEASURED, draw))


@pytest.mark.slow
def test_candidates_are_chosen_as_often_as_they_are_believed_the_best():
    gp, x = get_surrogate("gp", spread=0), np.linspace(0, 1, 9)[:, None]
    y = np.array([0.0, 1.0, 0.2, 1.0, 0.0])
    state, _ = gp.fit(jax.random.key(0), gp.init(1), pad(x[::2], y))
    measured = np.arange(9) % 2 == 0
    chosen = [
        get("thompson")(
            AT, Context(1.0, measured, np.asarray(gp.draw(key, state, x)))
        ).argmax()
        for key in jax.random.split(jax.random.key(1), 200)
    ]
    often = np.bincount(chosen, minlength=9)
    assert not often[measured].any()
    assert often[3] + often[5] > 100  # beside the two peaks
    assert np.count_nonzero(often) > 2  # and elsewhere too
