"""Faults, each at its worst: what is raised, what is told, what is left behind."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import FrameDropped, InstrumentFault, StageStuck
from aemtwin.instruments.effects.faults import ROOM, Faults
from tests.instruments.effects.making import MIDDLE, made, ramps, rough


def test_a_stuck_stage_leaves_the_probe_where_it_was_and_says_so():
    twin = made(ramps(), Faults(stuck=1.0))
    dose = twin.state().dose
    with pytest.raises(StageStuck, match="where it was"):
        twin.move_to((1e-7, 1e-7))
    assert tuple(twin.state().position) == MIDDLE
    assert twin.state().dose == dose
    (event,) = twin.events()
    assert event["error"][0] == "StageStuck"
    assert event["actual"] == list(MIDDLE)
    assert event["end_s"] > event["begin_s"]  # the time is gone
    assert twin.scan(shape=(3, 3)).values.shape == (3, 3)  # a scanner is no stage


def test_a_dropped_frame_has_given_its_dose():
    twin = made(ramps(), Faults(dropped=1.0))
    with pytest.raises(FrameDropped, match="lost"):
        twin.scan(shape=(4, 5), dwell_s=1e-3)
    assert twin.state().dose == pytest.approx(20e-3, rel=1e-12)
    (event,) = twin.events()
    assert event["dose"] == twin.state().dose
    assert event["error"][0] == "FrameDropped"
    assert twin.measure().values.shape == (12,)  # no frame, no frame to lose
    assert twin.trace([MIDDLE]).values.shape == (1,)


def test_a_blanked_beam_gives_nothing_of_the_specimen_and_says_so():
    twin = made(ramps(), Faults(blanked=1.0), noise={"x": 1e-12})
    frame = twin.scan(shape=(9, 9))
    assert np.abs(frame.arrays["x"]).max() < 1e-11  # the noise of the read-out
    assert frame.arrays["x"].any()
    assert not frame.arrays["y"].any()
    (notice,) = frame.info["notices"]
    assert "blanked" in notice
    assert "blanked" in twin.measure().info["notices"][0]


def test_a_saturated_detector_cuts_what_is_high_and_says_so():
    twin = made(ramps(), Faults(saturated=1.0))
    want = made(ramps()).scan().arrays["x"]
    frame = twin.scan()
    top = want.min() + ROOM * np.ptp(want)
    np.testing.assert_allclose(frame.arrays["x"], np.minimum(want, top), rtol=1e-12)
    (notice,) = frame.info["notices"]
    assert "saturated" in notice


def test_faults_that_never_happen_change_nothing():
    twin, plain = made(rough(), Faults(), seed=3), made(rough(), seed=3)
    np.testing.assert_array_equal(twin.scan().values, plain.scan().values)
    assert twin.scan().info["notices"] == []


def luck(part, seed=0, run="a"):
    """Return which of 60 moves failed."""
    twin = made(ramps(), Faults(stuck=0.3), seed=seed)
    failed = []
    for step in range(60):
        try:
            twin.move_to((1e-7, 1e-7), rid=f"{run}/{step}/{part}")
        except StageStuck:
            failed.append(step)
    return failed


def test_the_same_seed_has_the_same_faults_and_another_part_other_luck():
    assert luck("move") == luck("move")
    assert luck("move") == luck("move", run="b")  # a run that is done again
    assert luck("move") != luck("move-again")
    assert luck("move") != luck("move", seed=1)
    assert 8 <= len(luck("move")) <= 30  # of 60 at 0.3


def test_the_same_request_fails_again_without_being_done_again():
    twin = made(ramps(), Faults(dropped=1.0))
    for _ in range(3):
        with pytest.raises(FrameDropped):
            twin.scan(shape=(2, 2), rid="a/1/frame")
    assert len(twin.events()) == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_campaign_with_faults_tries_again_and_journals_what_it_skipped(
    tmp_path, seed
):
    faults = {"faults": {"stuck": 0.2, "dropped": 0.2}}
    twin = aemtwin.open_twin("pfm_loops", seed=seed, effects=faults)
    run = aemtwin.run(
        twin, out=str(tmp_path), acquisition="random", steps=20, first=4, seed=seed
    )
    events = twin.events()
    stuck = [e["rid"] for e in events if e.get("error", [""])[0] == "StageStuck"]
    assert stuck
    rids = {e["rid"] for e in events}
    again = {r + "-again" for r in stuck if not r.endswith("-again")}
    assert again <= rids  # each was asked for once more
    lost = {r.rsplit("/", 2)[1] for r in stuck if r.endswith("-again")}
    data = [e["data"] for e in run.record.events]
    assert len(data) >= 20
    skipped = {str(e["seq_num"]) for e in run.record.events if e["data"]["failed"]}
    assert skipped == {n for n in lost if n != "0"}
    assert all(d["valid"] for d in data if not d["failed"])


def test_all_faults_are_of_one_family():
    for kind in (StageStuck, FrameDropped):
        assert issubclass(kind, InstrumentFault)
