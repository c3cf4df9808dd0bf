"""The overview kept fresh: strips take the place of old lines, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.documents import steady
from aemtwin.errors import BadConfig, DoseRefused, InstrumentFault
from aemtwin.inputs import View
from aemtwin.journal import Journal
from aemtwin.overview import Overview
from tests.small import small_twin

OPTIONS = {
    "first": 4,
    "steps": 6,
    "candidates": (6, 5),
    "seed": 4,
    "baseline": False,
    "surrogate": "dkl:members=2",
}
FRESH = {"inputs": {"refresh": 2, "channels": ["height"], "size": 4}}
STALE = {"inputs": {"channels": ["height"], "size": 4}}


def see(frame):
    """Every pixel is a candidate, and seen as its value."""
    return View(np.array(frame.values, float).reshape(-1, 1), np.ones(30, bool))


def of(twin, journal, lines=2, first=0):
    frame = twin.scan(channels=["height"], rid="r/0/overview")
    return Overview(twin, journal, "r", frame, lines, first, see)


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "run") as one:
        yield one


def test_a_strip_of_an_ideal_twin_is_the_frame_that_was_there(journal):
    twin = small_twin(ideal=True)
    overview = of(twin, journal)
    before = overview.frame
    view = see(before)
    for k in range(7):
        view = overview.refreshed(view, list(range(k)))
        assert np.array_equal(overview.frame.values, before.values)
        assert np.array_equal(view.X, see(before).X)
    twin.close()


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (2, [(0, 2), (2, 4), (4, 6), (0, 2)]),
        (4, [(0, 4), (2, 6), (0, 4)]),
        (6, [(0, 6), (0, 6)]),
        (99, [(0, 6), (0, 6)]),
    ],
)
def test_strips_go_round_and_the_last_one_reaches_back(journal, lines, rows):
    twin = small_twin()  # with noise: a line that was taken anew is another
    overview = of(twin, journal, lines)
    y = overview.frame.axis("y").values
    for k, (begin, end) in enumerate(rows):
        before = overview.frame.values
        overview.refreshed(see(overview.frame), list(range(k)))
        changed = (overview.frame.values != before).any(axis=1)
        assert changed.tolist() == [begin <= i < end for i in range(6)]
        (_, about) = (e := twin.events()[-1]), e["arguments"]["region"]
        assert about[1] == [y[begin], y[end - 1]]
        assert e["rid"] == f"r/{k + 1}/strip"
    twin.close()


def test_what_was_measured_stays_as_it_was_seen_and_the_rest_is_seen_anew(journal):
    twin = small_twin()
    overview = of(twin, journal, lines=6)
    old = see(overview.frame)
    new = overview.refreshed(old, [3, 7])
    done = np.isin(np.arange(30), [3, 7])
    assert np.array_equal(new.X[done], old.X[done])
    assert np.array_equal(new.X[~done], see(overview.frame).X[~done])
    assert (new.X[~done] != old.X[~done]).all()
    twin.close()


def test_before_anything_is_decided_nothing_is_taken(journal):
    twin = small_twin()
    overview = of(twin, journal, first=3)
    view = see(overview.frame)
    for k in range(3):
        assert overview.refreshed(view, list(range(k))) is view
    assert overview.refreshed(view, [0, 1, 2]) is not view
    twin.close()


@pytest.mark.parametrize("error", [InstrumentFault, DoseRefused])
def test_a_strip_that_fails_is_told_and_the_old_lines_stay(journal, monkeypatch, error):
    twin = small_twin()
    overview = of(twin, journal)
    before, view = overview.frame, see(overview.frame)

    def fail(**_):
        raise error("no beam")

    monkeypatch.setattr(twin, "scan", fail)
    assert overview.refreshed(view, []) is view
    assert overview.frame is before
    assert "was not taken: no beam" in overview.notice
    monkeypatch.undo()
    again = Overview(twin, journal, "r", before, 2, 0, see)
    assert again.again(view, [5]) is view  # as it was, and not tried once more
    assert "was not taken" in again.notice
    twin.close()


def told(run):
    return [steady(event) for event in run.record.events]


def test_a_run_that_keeps_it_fresh_cut_at_every_step_is_the_run_left_alone(tmp_path):
    options = {**OPTIONS, **FRESH}
    twin = small_twin()
    whole = aemtwin.run(twin, out=str(tmp_path / "whole"), **options)
    strips = [e["rid"].split("/")[1] for e in twin.events() if "/strip" in e["rid"]]
    assert strips == ["5", "6", "7", "8", "9", "10"]
    twin.close()
    twin = small_twin()

    def cut(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), on_step=cut, **options)
    folder = next((tmp_path / "cut").iterdir())
    for _ in range(1, 10):
        with pytest.raises(KeyboardInterrupt):
            aemtwin.resume(folder, twin, on_step=cut)
    run = aemtwin.resume(folder, twin)
    assert told(run) == told(whole)
    for name, values in whole.record.maps.items():
        np.testing.assert_array_equal(values, run.record.maps[name], err_msg=name)
    assert sum("/strip" in e["rid"] for e in twin.events()) == 6  # each once
    twin.close()


def test_a_run_that_does_not_ask_for_it_takes_no_strip(tmp_path):
    twin = small_twin()
    run = aemtwin.run(twin, out=str(tmp_path), **OPTIONS, **STALE)
    assert not any("/strip" in event["rid"] for event in twin.events())
    assert not (run.path / "strips").exists()
    twin.close()


def test_a_failed_strip_stands_in_the_record_and_the_run_goes_on(tmp_path, monkeypatch):
    twin = small_twin()
    scan = twin.scan

    def once(*args, rid=None, **kwargs):
        if rid.endswith("/6/strip"):
            raise InstrumentFault("the frame was dropped")
        return scan(*args, rid=rid, **kwargs)

    monkeypatch.setattr(twin, "scan", once)
    run = aemtwin.run(twin, out=str(tmp_path), **OPTIONS, **FRESH)
    notices = [event["data"]["notices"] for event in run.record.events]
    assert "the frame was dropped" in notices[5]
    assert not any("dropped" in text for k, text in enumerate(notices) if k != 5)
    twin.close()


@pytest.mark.parametrize("lines", [1, -2, 2.5])
def test_lines_that_are_none_are_refused(tmp_path, lines):
    with pytest.raises(BadConfig, match="refresh"):
        aemtwin.run(small_twin(), out=str(tmp_path), inputs={"refresh": lines})
