"""What every registered surrogate promises: each of them beside each law.

The laws are those of `aemtwin.testing.surrogates`, which `aemtwin check` holds to as
well; `tests/testing/test_surrogate_laws.py` shows that each can fail.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from aemtwin.acquisition import available as acquisitions
from aemtwin.acquisition import get as get_acquisition
from aemtwin.environment import prepare_jax
from aemtwin.surrogates import available, get
from aemtwin.surrogates.base import count_compilations, pad
from aemtwin.testing.acquisitions import ACQUISITION_LAWS
from aemtwin.testing.conformance import Skip, hold
from aemtwin.testing.learners import Learner, key
from aemtwin.testing.surrogates import SURROGATE_LAWS

prepare_jax()  # some programs take long to compile: keep them between test runs

CHEAP: dict[str, dict[str, Any]] = {  # settings that cost little; others: the defaults
    "bayes_gp": {"chains": 2, "samples": 16, "kept": 16, "warmup": 4, "rounds": 2},
    "structured_gp": {"chains": 2, "samples": 16, "kept": 8, "warmup": 4, "rounds": 2},
    "dkl": {"members": 2},
    "bnn": {"samples": 8, "hidden": (8,), "warmup": 4, "depth": 4},
    "sparse_gp": {"inducing": 13},  # one less than the points of most laws
}
KINDS: dict[str, dict[str, Any]] = {  # other inferences and nets, by the name they have
    "dkl:svi": {"inference": "svi", "members": 4, "cold_steps": 300},
    "dkl:bayes": {"inference": "bayes", "chains": 2, "samples": 16, "rounds": 2},
    "dkl:cnn": {"network": "cnn", "members": 2, "size": 2, "coordinates": 1},
}
QUICK = {"gp"}  # held to all laws by default, the others in the slow tier
SOME = ("bayes_gp", "structured_gp", "dkl")  # whose programs are counted, besides gp


@cache
def of(name: str) -> Learner:
    """Return the learner of a surrogate; laws share what it has fitted."""
    if name in KINDS:
        surrogate, columns = name.partition(":")[0], 5 if name == "dkl:cnn" else 2
        return Learner(lambda: get(surrogate, **KINDS[name]), columns)
    return Learner(lambda: get(name, **CHEAP.get(name, {})))


def pairs():
    for name in sorted({*available(), *KINDS}):
        for law in SURROGATE_LAWS:
            marks = [] if name in QUICK else [pytest.mark.slow]
            yield pytest.param(name, law, marks=marks, id=f"{name}-{law}")


@pytest.mark.parametrize(("name", "law"), list(pairs()))
def test_a_surrogate_keeps_the_law(name, law, caplog):
    caplog.set_level(logging.ERROR)  # few chains disagree, and say so
    try:
        hold(SURROGATE_LAWS[law], of(name))
    except Skip as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("law", ACQUISITION_LAWS)
@pytest.mark.parametrize("name", sorted(acquisitions()))
def test_an_acquisition_keeps_the_law(name, law):
    try:
        hold(ACQUISITION_LAWS[law], lambda: get_acquisition(name))
    except Skip as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", sorted(available()))
def test_the_registry_knows_it_by_the_name_it_says(name):
    assert of(name).make().name == name


@pytest.mark.parametrize(
    "name",
    ["gp", *(pytest.param(n, marks=pytest.mark.slow) for n in SOME)],
)
def test_the_first_step_at_a_capacity_is_three_programs_or_less(name):
    X = np.random.default_rng(2).random((70, 2))  # a capacity that no law has
    candidates, data = np.random.default_rng(3).random((61, 2)), pad(X, X[:, 0])
    surrogate, keys = of(name).make(), (key(0), key(0, 1))
    state = surrogate.init(2)
    with count_compilations() as seen:
        state, _ = surrogate.fit(keys[0], state, data)
        surrogate.predict(keys[1], state, candidates)
    assert seen.count == (2 if name == "dkl" else 3)


def test_all_that_is_registered_is_checked():
    assert {name for name, *_ in (p.values for p in pairs())} == {*available(), *KINDS}
    assert set(CHEAP) | QUICK <= set(available())
    assert not jax.config.jax_enable_x64
