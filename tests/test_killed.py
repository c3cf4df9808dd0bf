"""A run killed at each of its steps, one after the other, is the run left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import aemtwin
from aemtwin.config import build
from aemtwin.documents import steady
from aemtwin.record import read_run
from tests.small import small_twin
from tests.test_cli import ENV

STEPS = 20
OPTIONS = {"first": 4, "steps": STEPS - 4, "candidates": (6, 5), "seed": 4}

ONE_STEP = """
import os, signal, sys
import aemtwin
from aemtwin import config, runs

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

file, folder = sys.argv[1:]
if folder:
    runs.resume(folder, on_step=die)
else:
    runs.run(config=config.load(config.Path(file)), on_step=die)
"""


def told(run) -> list[object]:
    return [steady(event) for event in run.record.events]


def same(one: aemtwin.Run, other: aemtwin.Run) -> None:
    assert told(one) == told(other)
    assert one.record.scores == other.record.scores
    for name, values in one.record.maps.items():
        np.testing.assert_array_equal(values, other.record.maps[name], err_msg=name)


@pytest.mark.parametrize(
    "changed",
    [
        {"surrogate": "gp"},
        {"surrogate": "dkl"},
        pytest.param({"surrogate": "bayes_gp"}, marks=pytest.mark.slow),
        {"scalarizer": "pca", "acquisition": "thompson"},
        {"surrogate": "gp:refit_every=6", "acquisition": "kg"},
    ],
    ids=lambda changed: "-".join(changed.values()),
)
def test_cut_at_every_step_in_one_process(tmp_path, changed):
    options = {**OPTIONS, **changed, "baseline": False}
    whole = aemtwin.run(small_twin(), out=str(tmp_path / "whole"), **options)
    twin = small_twin()

    def cut(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), on_step=cut, **options)
    folder = next((tmp_path / "cut").iterdir())
    for done in range(1, STEPS):
        assert len(read_run(folder).events) == done
        with pytest.raises(KeyboardInterrupt):
            aemtwin.resume(folder, twin, on_step=cut)
    same(aemtwin.resume(folder, twin), whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("surrogate", ["gp", "dkl"])
def test_kill_minus_nine_at_every_step(tmp_path, surrogate):
    described = build(
        {
            "twin": {"source": "pfm_loops", "seed": 4},
            "surrogate": surrogate,
            "first": OPTIONS["first"],
            "steps": OPTIONS["steps"],
            "seed": 4,
            "baseline": False,
        }
    )
    whole = aemtwin.run(config=described, out=str(tmp_path / "whole"))
    file, folder = tmp_path / "campaign.toml", ""
    changed = described.model_copy(update={"out": str(tmp_path / "killed")})
    file.write_text(changed.to_toml())
    for done in range(1, STEPS + 1):
        killed = subprocess.run(
            [sys.executable, "-c", ONE_STEP, str(file), folder], env=ENV, check=False
        )
        assert killed.returncode == -signal.SIGKILL
        folder = str(next(Path(tmp_path / "killed").iterdir()))
        assert len(read_run(folder).events) == done
    same(aemtwin.resume(folder), whole)
