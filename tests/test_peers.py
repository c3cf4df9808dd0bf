"""The comparison with peers: lines merged, ratios computed, and who is skipped.

Lines are invented; nothing is timed and no peer is needed.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from benchmarks.peers import compare, environments, plan
from benchmarks.peers.environments import Absent, python_of
from benchmarks.peers.plan import OURS, Cell
from benchmarks.peers.tables import merged, ratios, summed_up


def line(who="aemtwin", model="gp", n=50, cpu=1.0, what="steps", **more):
    told = {"what": what, "who": who, "model": model, "n": n, "cpu_s": cpu}
    return {**told, "wall_s": 2 * cpu, "rmse": 0.5, "warm_up": False, **more}


def campaign(who, model, cpu, **more):
    told = {"what": "campaigns", "who": who, "model": model, "cpu_s": cpu}
    return {**told, "campaign": [20, 200], "rmse": 0.5, **more}


def test_a_cell_is_the_median_of_its_steps_without_the_warm_up():
    lines = [line(cpu=t, run="a") for t in (3.0, 1.0, 8.0)]
    lines.append(line(cpu=100.0, warm_up=True))

    (cell,) = summed_up([*lines, {"failed": "no"}])

    assert (cell["cpu_s"], cell["cpu_s_least"], cell["cpu_s_most"]) == (3.0, 1.0, 8.0)
    assert (cell["steps"], cell["wall_s"], cell["run"]) == (3, 6.0, "a")
    assert cell["cpu_s_mean"] == 4.0


def test_effective_draws_are_told_for_each_second_of_cpu():
    (cell,) = summed_up([line(cpu=0.5, ess=100.0, r_hat=1.005)])
    assert cell["ess_per_cpu_s"] == 200.0


def test_a_cell_that_is_measured_again_replaces_the_older_and_no_other():
    old = summed_up([line(cpu=1.0), line(n=100, cpu=2.0), line("gpax", "viGP", cpu=9)])
    new = summed_up([line(cpu=4.0), line(what="budget", cpu=7.0, against="gpax/viGP")])

    both = {(c["what"], c["model"], c["n"]): c["cpu_s"] for c in merged(old, new)}

    assert both == {
        ("steps", "gp", 50): 4.0,
        ("steps", "gp", 100): 2.0,
        ("steps", "viGP", 50): 9.0,
        ("budget", "gp", 50): 7.0,
    }


def test_a_ratio_is_the_time_of_the_peer_over_ours_at_the_same_n():
    cells = summed_up(
        [
            line(cpu=0.01, run="a", evaluations=80),
            line(n=100, cpu=0.04, run="a"),
            line("gpax", "viGP", cpu=3.0, run="a", evaluations=1000),
            line("gpax", "viDKL", cpu=5.0, run="a"),
            line("gpax", "viGP", n=200, cpu=4.0, run="b"),
        ]
    )

    (one,) = ratios(cells, [("gp", "viGP")])

    assert one["cpu"] == pytest.approx(300.0)
    assert (one["n"], one["peer"], one["one_run"]) == (50, "gpax/viGP", True)
    assert one["evaluations"] == [80, 1000]


def test_an_equal_budget_is_compared_with_the_step_that_it_spends_as_much_as():
    cells = summed_up(
        [
            line(cpu=0.01),
            line(what="budget", cpu=0.2, against="gpax/viGP"),
            line(what="budget", cpu=0.005, against="botorch/SingleTaskGP"),
            line("gpax", "viGP", cpu=3.0),
            line("botorch", "SingleTaskGP", cpu=0.1),
        ]
    )

    found = {(r["what"], r["peer"]): r["cpu"] for r in ratios(cells, [])}

    assert found == {
        ("budget", "gpax/viGP"): pytest.approx(15.0),
        ("budget", "botorch/SingleTaskGP"): pytest.approx(20.0),
    }


def test_a_campaign_is_compared_with_an_empty_and_with_a_filled_cache():
    cells = [
        campaign("aemtwin", "gp", 40.0, cache="empty"),
        campaign("aemtwin", "gp", 20.0, cache="filled"),
        campaign("gpax", "viGP", 800.0),
        line("gpax", "viGP", cpu=3.0),
    ]

    found = {r["cache"]: r["cpu"] for r in ratios(cells, plan.RATIOS)}

    assert found == {"empty": 20.0, "filled": 40.0}


def test_cells_are_those_asked_for():
    some = list(plan.cells("steps", ["botorch"], ["gp", "viGP", "SingleTaskGP"], [50]))
    assert [(c.who, c.model, c.n) for c in some] == [
        (OURS, "gp", (50,)),
        ("botorch", "SingleTaskGP", (50,)),
    ]
    budget = plan.cells("budget", ["gpax"], ["gp"], [50, 200])
    assert [(c.against, c.n) for c in budget] == [
        ("gpax/viGP", (50,)),
        ("gpax/viGP", (200,)),
    ]


def test_an_environment_that_cannot_be_made_leaves_nothing_and_says_why(
    tmp_path, monkeypatch
):
    def fails(command, **also):
        (tmp_path / "botorch").mkdir(exist_ok=True)
        return subprocess.CompletedProcess(command, 1, "", "so\nno torch for this CPU")

    monkeypatch.setattr(environments.subprocess, "run", fails)
    with pytest.raises(Absent, match="no torch for this CPU"):
        python_of("botorch", tmp_path)
    assert not (tmp_path / "botorch").exists()


def test_without_uv_a_peer_that_it_would_make_is_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(environments.shutil, "which", lambda name: None)
    with pytest.raises(Absent, match="uv, which makes"):
        python_of("gpcam", tmp_path)
    with pytest.raises(Absent, match=r"no requirements\.txt"):
        python_of("nobody", tmp_path)


def test_a_peer_that_is_absent_is_skipped_with_the_reason(tmp_path, monkeypatch):
    def absent(name):
        raise Absent(f"no {name} here")

    monkeypatch.setattr(compare, "python_of", absent)
    monkeypatch.setattr(compare, "problem", lambda **_: plan.Cell("", "", "", ""))
    result = tmp_path / "peers.json"
    run = compare.Run(tmp_path, ["gpax"], result)

    run.measure(Cell("steps", "gpax", "viGP", "coordinates", (50,)))
    budget = Cell("budget", OURS, "gp", "coordinates", (50,), against="gpax/viGP")
    run.measure(budget)
    compare.write(run, "a machine")

    told = json.loads(result.read_text(encoding="utf-8"))
    assert told["cells"] == []
    assert [(one["peer"], one["reason"]) for one in told["skipped"]] == [
        ("gpax", "no gpax here"),
        ("gpax/viGP", "no steps of it at n = 50, whose evaluations ours spends"),
    ]
