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


def told(look, n, *, seconds=1.0, phase="search", ours=0.2):
    state = State(indices=tuple(range(n)), values=(1.0,) * n)
    timings = {"total_s": seconds + 2 * ours, "fit_s": ours, "decide_s": ours}
    look(state, Decision(n, 0, np.zeros(2), phase, timings=timings))


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """What was asked for, without a process that answers."""
    asked = []
    monkeypatch.setattr(ahead, "movable_cache", lambda: tmp_path)
    monkeypatch.setattr(ahead, "begun", lambda request, folder: asked.append(request))
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
    told(look, 12, seconds=0.9 * ahead.SLOW_S)  # all else is the loop's own
    policy = ahead.acquisition.get("random")
    told(Ahead(campaign(policy)), 12)
    assert begun == []


REQUEST = request_of(SAID, VIEW, 17)


@pytest.fixture
def sleeping(monkeypatch):
    """A process that reads its request and does nothing, whatever is to be begun."""
    popen = subprocess.Popen

    def begin(command, **said):
        code = "import sys, time; sys.stdin.read(); time.sleep(100)"
        return popen([command[0], "-c", code], **said)

    monkeypatch.setattr(ahead.subprocess, "Popen", begin)


def compiled(folder, **changes):
    """Let a process make a request to its end, and return what its mark says."""
    process = ahead.begun(REQUEST | changes, folder)
    assert process.process.wait() == 0
    process.end()
    (mark,) = (one for one in (folder / "ahead").iterdir() if one.is_file())
    return mark.read_text()


def test_what_is_stopped_leaves_nothing_behind(sleeping, monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "movable_cache", lambda: tmp_path)
    look = Ahead(campaign())
    told(look, 12)
    process = look._begun.process
    assert process.poll() is None
    told(look, 40)  # one at a time
    assert look._begun.process is process
    look.close()
    assert process.returncode < 0
    assert list((tmp_path / "ahead").iterdir()) == []


def test_what_cannot_be_compiled_ahead_is_not_tried_again(tmp_path):
    surrogate = ["dkl", {"network": "nowhere_at_all:Net"}]
    assert "nowhere_at_all" in compiled(tmp_path, surrogate=surrogate)
    assert ahead.begun(REQUEST | {"surrogate": surrogate}, tmp_path) is None


def test_a_machine_without_a_cache_or_a_python_goes_without(monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "movable_cache", lambda: None)
    look = Ahead(campaign())
    told(look, 12)
    assert look._begun is None
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    assert ahead.begun(REQUEST, tmp_path) is None


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("surrogate", ["gp", "dkl"])
def test_a_run_loads_what_was_compiled_ahead(surrogate, tmp_path):
    """Two decisions in a new process write no program to the cache."""
    assert compiled(tmp_path, surrogate=[surrogate, {}]) == ""
    made = {path.name for path in tmp_path.glob(ahead.PROGRAMS)}
    assert len(made) >= 3
    request = json.dumps(REQUEST | {"surrogate": [surrogate, {}]})
    code = (
        "import json; from aemtwin import ahead; ahead.prepare_jax(); "
        f"ahead.rehearse(json.loads({request!r}))"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AEMTWIN_CACHE": str(tmp_path)},
        check=True,
    )
    assert {path.name for path in tmp_path.glob(ahead.PROGRAMS)} == made
    assert ahead.begun(REQUEST | {"surrogate": [surrogate, {}]}, tmp_path) is None


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
