"""`aemtwin check`: twins, files and URIs, surrogates and acquisitions, a line a law."""

from __future__ import annotations

import sys

import pytest

import aemtwin
from aemtwin.cli import app
from aemtwin.errors import BadConfig, UnknownName
from aemtwin.testing import sources
from aemtwin.testing.acquisitions import ACQUISITION_LAWS
from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Result
from aemtwin.testing.laws import Law, Laws
from aemtwin.testing.surrogates import SURROGATE_LAWS
from aemtwin.testing.telling import TELLING
from tests.small import small_twin


def command(*said: str) -> int:
    try:
        app(["check", *said], exit_on_error=False, print_error=False)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_name_is_held_to_every_law_at_every_place(capsys):
    assert command("raman_map") == 0
    lines = capsys.readouterr().out.splitlines()
    places = [line for line in lines if line.endswith(":")]
    assert places == [
        "in process:",
        "in process, ideal:",
        "made again:",
        "behind its URI:",
    ]
    laws = 2 * len(LAWS) + len(TELLING) + len(TWIN_LAWS)
    assert len(lines) == len(places) + laws + 1
    assert lines[-1].endswith(", 0 failed")
    assert "  ok       it rests where it was sent" in lines


def test_a_uri_is_held_to_the_laws_where_it_is_and_without_its_truth():
    with aemtwin.serve(small_twin()) as server:
        told = list(sources.check_source(server.uri))
    assert {where for where, _ in told} == {"behind its URI"}
    by = {result.name: result for _, result in told}
    assert list(by) == list(LAWS)
    assert not [r for r in by.values() if r.outcome == "failed"]
    truth = by["truth_is_told_of_every_mode_and_does_nothing"]
    assert (truth.outcome, truth.told) == ("skipped", "it does not tell its truth")


def test_without_dose_nothing_is_done():
    twin = small_twin()
    with aemtwin.serve(twin, truth=True) as server:
        told = list(sources.check_source(server.uri, acting=False))
    assert [r.name for _, r in told] == [n for n, law in LAWS.items() if not law.acts]
    assert twin.events() == []


def test_a_law_that_is_broken_is_told_and_is_the_exit_status(capsys, monkeypatch):
    def broken(scope: object) -> None:
        raise AssertionError("it is not\nso")

    law = Law("it_is_so", "It is so.", broken, acts=False)
    monkeypatch.setattr(sources, "LAWS", {law.name: law})
    assert command("pfm_loops", "--no-dose") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  FAILED   it is so: it is not so"
    assert lines[-1] == "0 ok, 0 skipped, 2 failed"


def test_an_unknown_twin_is_wrong_use():
    with pytest.raises(aemtwin.errors.UnknownName, match="Did you mean 'pfm_loops'"):
        command("pfm_lops")


def test_the_lines_count_each_outcome():
    told = iter([("here", Result("a_b", "ok")), ("there", Result("c", "skipped", "x"))])
    failed: list[Result] = []
    assert list(sources.lines(told, failed)) == [
        "here:",
        "  ok       a b",
        "there:",
        "  skipped  c: x",
        "1 ok, 1 skipped, 0 failed",
    ]
    assert failed == []


MODULE = """
class Empty:
    pass


class Mine:
    name = "mine"

    def __init__(self, depth=3):
        self.depth = depth

    def __call__(self, posterior, context):
        return 0.0 * posterior.mean


def make(depth=3):
    return Mine(depth)


made = Mine(5)
number = 7
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_models"
    sys.modules.pop("my_models", None)


def few(monkeypatch, *names):
    laws = Laws({name: SURROGATE_LAWS[name] for name in names})
    monkeypatch.setattr(sources, "SURROGATE_LAWS", laws)


def test_a_surrogate_is_held_to_its_laws_by_name_and_parameters(capsys, monkeypatch):
    few(monkeypatch, "it_satisfies_the_protocol_and_names_itself")
    assert command("dkl:members=2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "as a surrogate:",
        "  ok       it satisfies the protocol and names itself",
        "1 ok, 0 skipped, 0 failed",
    ]


@pytest.mark.parametrize("source", ["log_ei", "random", "ucb:beta=3"])
def test_an_acquisition_is_held_to_its_laws_by_name(capsys, source):
    assert command(source) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "as an acquisition:"
    assert len(lines) == 2 + len(ACQUISITION_LAWS)
    assert lines[-1].endswith(", 0 failed")


@pytest.mark.parametrize(
    "what", ["Mine", "Mine:depth=4", "make", "make:depth=4", "made"]
)
def test_a_law_that_a_class_breaks_is_the_exit_status(capsys, module, what):
    assert command(f"{module}:{what}") == 1
    out = capsys.readouterr().out
    assert "  FAILED   a measured candidate scores lowest" in out
    assert out.count("FAILED") == 1


@pytest.mark.parametrize(("what", "depth"), [("Mine:depth=4", 4), ("made", 5)])
def test_what_is_checked_is_what_was_named(module, what, depth):
    make = sources.factory(f"{module}:{what}")
    assert make().depth == depth
    assert make() is not make()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("number", "stands for 7"),
        ("made:depth=4", "without parameters"),
        ("Mine:death=4", "Did you mean 'depth'"),
        ("Empty", "a surrogate has fit"),
    ],
)
def test_what_can_be_no_model_is_refused(module, what, said):
    with pytest.raises(BadConfig, match=said):
        command(f"{module}:{what}")


@pytest.mark.parametrize(
    ("source", "near"),
    [("log_i", "log_ei"), ("dlk:members=2", "dkl"), ("raman_mop", "raman_map")],
)
def test_an_unknown_name_is_told_the_nearest_of_all_kinds(source, near):
    with pytest.raises(UnknownName, match=f"Did you mean '{near}'"):
        command(source)


def test_a_module_that_is_not_there_is_told():
    with pytest.raises(UnknownName, match=r"No module named 'no_such_lab'"):
        command("no_such_lab:Mine")


def test_a_parameter_that_a_surrogate_does_not_take_is_wrong_use():
    with pytest.raises(BadConfig, match="Did you mean 'kernel'"):
        command("gp:kernal=rbf")


def test_what_describes_a_twin_is_refused_beside_a_surrogate():
    with pytest.raises(BadConfig, match="kind can only describe a twin; gp is none"):
        command("gp", "--kind", "afm")


def test_a_file_of_the_name_of_a_surrogate_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gp").write_text("no NSID")
    assert sources.factory("gp") is None
    assert sources.factory("other.h5") is None  # told as a file that is not there
