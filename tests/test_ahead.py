"""What is compiled ahead of a run: when, what, and that the run then finds it."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from aemtwin import ahead, config
from aemtwin.ahead import Ahead, rehearse, request_of
from aemtwin.decisions import Decision, State
from aemtwin.environment import prepare_jax
from aemtwin.inputs import View

prepare_jax()
VIEW = View(np.zeros((100, 2)), np.ones(100, bool))
SAID = config.build({"twin": {"source": "pfm_loops"}, "surrogate": "gp", "steps": 60})
BOTH = config.build(
    {
        "twin": {"source": "pfm_loops"},
        "scalarizer": ["loop_area", "imprint"],
        "surrogate": "multi_gp",
        "acquisition": "ehvi",
    }
)


def campaign(acquire=None, steps=70):
    return SimpleNamespace(config=SAID, view=VIEW, acquire=acquire, steps=lambda: steps)


def told(look, n, *, seconds=1.0, phase="search"):
    state = State(indices=tuple(range(n)), values=(1.0,) * n)
    timings = {"total_s": seconds}
    look(state, Decision(n, 0, np.zeros(2), phase, timings=timings))


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """What was asked for, without a process that answers."""
    asked = []
    monkeypatch.setattr(ahead, "compilation_cache", lambda: tmp_path)
    monkeypatch.setattr(ahead, "_begun", lambda request: asked.append(request))
    return asked


def test_the_first_decision_and_each_capacity_are_asked_for_once(begun):
    look = Ahead(campaign())
    for n in range(1, 71):
        told(look, n, phase="first" if n <= 10 else "search")
    assert [one["points"] for one in begun] == [10, 17, 33, 65]
    assert begun[0]["surrogate"] == ["gp", {}]
    assert (begun[0]["candidates"], begun[0]["width"]) == (100, 2)


def test_nothing_is_compiled_that_is_not_needed_or_finds_no_time(begun):
    look = Ahead(campaign(steps=30))
    told(look, 20)  # 33 points never come
    told(look, 12, seconds=0.9 * ahead.SLOW_S)
    policy = ahead.acquisition.get("random")
    told(Ahead(campaign(policy)), 12)
    assert begun == []


def test_what_was_compiled_before_is_not_compiled_again(begun):
    told(Ahead(campaign()), 12)
    (request,) = begun
    mark = ahead.Path(request["mark"])
    mark.parent.mkdir()
    mark.touch()
    told(Ahead(campaign()), 12)
    assert len(begun) == 1


def test_a_machine_without_a_cache_or_a_python_goes_without(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "compilation_cache", lambda: None)
    told(Ahead(campaign()), 12)
    monkeypatch.setattr(ahead, "compilation_cache", lambda: tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    look = Ahead(campaign())
    told(look, 12)
    look.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("surrogate", ["gp", "dkl"])
def test_a_run_loads_what_was_compiled_ahead(surrogate, tmp_path):
    """Two decisions in a new process write no program to the cache but small ones."""
    said = config.build({"twin": {"source": "pfm_loops"}, "surrogate": surrogate})
    request = request_of(said, VIEW, 17) | {"mark": str(tmp_path / "ahead" / "mark")}
    variables = {**os.environ, "AEMTWIN_CACHE": str(tmp_path)}
    programs = []
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "aemtwin.ahead"],
            input=json.dumps(request).encode(),
            env=variables,
            check=True,
        )
        programs.append({path.name for path in tmp_path.glob("*-cache")})
    assert (tmp_path / "ahead" / "mark").exists()
    assert len(programs[0]) >= 3
    assert programs[0] == programs[1]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("believe", SAID),
        pytest.param("believe_several", BOTH, marks=pytest.mark.slow),
    ],
)
def test_a_rehearsal_decides_twice_as_a_run_does(how, said, monkeypatch):
    seen, decide = [], getattr(ahead, how)

    def heard(*args):
        seen.append(decide(*args))
        return seen[-1]

    monkeypatch.setattr(ahead, how, heard)
    rehearse(request_of(said, VIEW, 10))
    assert [belief.info["n"] for belief in seen] == [10, 11]
    assert all(belief.batch for belief in seen)
