"""A run that ends by itself: what it says, what it is compared with, how it resumes."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.documents import steady
from aemtwin.errors import BadConfig
from aemtwin.record import read_run
from aemtwin.screen import summary
from tests.small import small_twin


def run(out, stop="bounds:margin=1e9,after=3", **said):
    told = {
        "candidates": (9, 8),
        "steps": 12,
        "first": 4,
        "stop": stop,
        "seed": 2,
        **said,
    }
    return aemtwin.run(small_twin(), out=str(out), **told)


def test_a_run_ends_once_its_rule_is_content_and_says_so(tmp_path):
    done = run(tmp_path)
    assert len(done.record.events) == 4 + 3
    assert done.record.stop["exit_status"] == "success"
    assert done.record.stop["reason"].startswith("stopping rule bounds: bound ")
    assert "ended after 7 by the stopping rule bounds" in summary(done)
    assert "ended before all its steps" in done.report().read_text()
    search = [row["info"] for row in done.table() if row["phase"] == "search"]
    assert all(info["stop_limit"] == 1e9 for info in search)


def test_the_random_run_beside_it_measures_as_often(tmp_path):
    done = run(tmp_path)
    random = read_run(done.path / "random")
    assert len(random.events) == len(done.record.events)
    assert random.stop["reason"] == ""


def test_a_rule_that_is_never_content_changes_nothing(tmp_path):
    with_rule = run(tmp_path / "a", "regret:margin=0,risk=1e-9")
    without = run(tmp_path / "b", None)
    events = [steady(e) for e in without.record.events]
    for one, other in zip(with_rule.record.events, events, strict=True):
        told = steady(one)
        info = told["data"]["info"] or {}
        told["data"]["info"] = {k: v for k, v in info.items() if "stop_" not in k}
        assert told == other


def test_a_run_that_was_cut_off_ends_where_it_would_have(tmp_path):
    whole = run(tmp_path / "whole")
    journal = whole.path / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    events = [i for i, line in enumerate(lines) if line.startswith('["event"')]
    journal.write_text("".join(lines[: events[5]]))
    again = aemtwin.resume(whole.path, small_twin())
    assert len(again.record.events) == 7
    np.testing.assert_array_equal(
        [e["data"]["index"] for e in again.record.events],
        [e["data"]["index"] for e in whole.record.events],
    )


def test_rules_that_do_not_go_together_with_the_rest_are_refused(tmp_path):
    with pytest.raises(BadConfig, match="random believes nothing"):
        run(tmp_path, acquisition="random")
    with pytest.raises(BadConfig, match="no method `covariance`"):
        run(tmp_path, "regret", surrogate="dkl:members=1")
    assert not list(tmp_path.iterdir())
