"""`aemtwin check`: by name, by file and by URI, one line a law."""

from __future__ import annotations

import pytest

import aemtwin
from aemtwin.cli import app
from aemtwin.testing import sources
from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Result
from aemtwin.testing.laws import Law
from aemtwin.testing.telling import TELLING
from tests.conftest import small_twin


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
