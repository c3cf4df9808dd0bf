"""What the loop does when a measurement, a spectrum or a value is not sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aemtwin
from aemtwin.errors import InstrumentFault, Unreachable
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.record import read_run
from aemtwin.sample import StoredArray
from aemtwin.values import FAR, LONE, tamed
from tests.small import bias_axis, small_arrays, small_twin, spatial

SMALL = {"first": 4, "steps": 6, "candidates": (6, 5), "seed": 2, "baseline": False}


class Faulty(Twin):
    """A twin that cannot do some requests, and says so in its ledger."""

    failing: tuple[str, ...] = ()

    def fail(self, *parts: str) -> Faulty:
        perform = self._probe.perform

        def sometimes(request, time_s):
            if request.rid.partition("/")[2] in parts:
                raise InstrumentFault("The detector is saturated.")
            return perform(request, time_s)

        self._probe.perform = sometimes
        return self


def faulty(*parts: str) -> Faulty:
    return Faulty(make_sample(small_arrays()), AFM, name="small").fail(*parts)


def rids(twin) -> list[str]:
    return [event["rid"].partition("/")[2] for event in twin.events()]


def test_a_failure_that_was_recorded_is_tried_once_more_under_a_new_id(tmp_path):
    twin = faulty("3/measure", "7/move")
    run = aemtwin.run(twin, out=str(tmp_path), **SMALL)
    assert len(run.record.events) == 10
    assert all(e["data"]["valid"] for e in run.record.events)
    assert [r for r in rids(twin) if r.startswith("3/")] == [
        "3/move",
        "3/measure",
        "3/move-again",
        "3/measure-again",
    ]
    assert [r for r in rids(twin) if r.startswith("7/")] == [
        "7/move",
        "7/move-again",
        "7/measure-again",
    ]
    assert run.record.events[2]["data"]["rid"].endswith("3/measure-again")


LATER = pytest.param(8, marks=pytest.mark.slow)


@pytest.mark.parametrize("number", [1, 3, LATER])
def test_a_spot_that_fails_twice_is_skipped_and_journalled(tmp_path, number):
    twin = faulty(f"{number}/measure", f"{number}/measure-again")
    run = aemtwin.run(twin, out=str(tmp_path), **SMALL)
    data = run.record.events[number - 1]["data"]
    assert data["failed"]
    assert not data["valid"]
    assert math.isnan(data["value"])
    assert "saturated" in data["notices"]
    others = [e["data"] for e in run.record.events if e["seq_num"] != number]
    assert all(d["valid"] and not d["failed"] for d in others)
    assert len({e["data"]["index"] for e in run.record.events}) == 10
    assert run.scores["n"] == 10
    run.report()
    again = aemtwin.resume(run.path, twin)  # whole: read, not measured
    assert [e["seq_num"] for e in again.record.events] == list(range(1, 11))


def test_a_run_with_a_failure_is_resumed_bit_for_bit(tmp_path):
    parts = ("5/measure", "5/measure-again", "8/measure")
    whole = aemtwin.run(faulty(*parts), out=str(tmp_path / "whole"), **SMALL)
    twin = faulty(*parts)

    def cut(campaign, state, decision):
        if decision.seq_num == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aemtwin.run(twin, out=str(tmp_path / "cut"), on_step=cut, **SMALL)
    resumed = aemtwin.resume(next((tmp_path / "cut").iterdir()), twin)
    assert [e["data"]["index"] for e in resumed.record.events] == [
        e["data"]["index"] for e in whole.record.events
    ]
    np.testing.assert_array_equal(
        resumed.posterior()["mean"], whole.posterior()["mean"]
    )


def test_a_frame_that_failed_is_tried_once_more_and_a_picture_can_be_missed(tmp_path):
    once = faulty("0/overview")
    run = aemtwin.run(once, out=str(tmp_path / "once"), **SMALL)
    assert rids(once)[:2] == ["0/overview", "0/overview-again"]
    assert run.record.overview is not None
    twice = faulty("0/overview", "0/overview-again")
    run = aemtwin.run(twice, out=str(tmp_path / "twice"), **SMALL)
    assert run.record.overview is None
    assert len(run.record.events) == 10
    run.report()


def test_a_frame_that_is_needed_ends_the_run_which_goes_on_when_it_is_mended(tmp_path):
    twin = faulty("0/overview", "0/overview-again")
    options = {**SMALL, "surrogate": "dkl", "out": str(tmp_path)}
    with pytest.raises(InstrumentFault, match="dkl reads its images"):
        aemtwin.run(twin, **options)
    folder = next(tmp_path.iterdir())
    run = aemtwin.resume(folder, twin)
    assert "0/overview-1" in rids(twin)
    assert len(run.record.events) == 10


def test_what_gave_no_value_does_not_count_as_found(tmp_path):
    every = [f"{n}/measure{again}" for n in range(1, 11) for again in ("", "-again")]
    run = aemtwin.run(faulty(*every), out=str(tmp_path), **SMALL)
    assert run.scores["top_1_percent_found"] == 0
    assert run.scores["n"] == 10
    assert run.scores["regret"] is None
    curves = run.record.scores["curves"]
    assert all(np.isnan(curve).all() for curve in curves.values())
    run.report()


def test_whatever_goes_wrong_inside_an_operation_is_a_fault_of_the_instrument(tmp_path):
    from aemtwin.errors import BadFile

    twin = small_twin()
    perform, times = twin._probe.perform, []

    def torn(request, time_s):
        if request.rid.endswith("2/measure"):
            times.append(request.rid)
            raise BadFile("a block of the file cannot be read")
        return perform(request, time_s)

    twin._probe.perform = torn
    run = aemtwin.run(twin, out=str(tmp_path), **SMALL)
    assert len(times) == 1
    assert all(e["data"]["valid"] for e in run.record.events)


def test_an_instrument_that_is_gone_ends_the_run_which_goes_on_later(tmp_path):
    twin = small_twin()
    measure, calls = twin.measure, []

    def gone(*arguments, **named):
        calls.append(named["rid"])
        if len(calls) == 6:
            measure(*arguments, **named)  # done, and the answer is lost
            raise Unreachable("No instrument answers.")
        return measure(*arguments, **named)

    twin.measure = gone
    with pytest.raises(Unreachable):
        aemtwin.run(twin, out=str(tmp_path), **SMALL)
    folder = next(tmp_path.iterdir())
    assert read_run(folder).stop["exit_status"] == "fail"
    run = aemtwin.resume(folder, twin)
    assert len(run.record.events) == 10
    assert calls[5] == calls[6]  # the same id, so that nothing is dosed twice
    measured = [r for r in rids(twin) if r.endswith("/measure")]
    assert len(measured) == len(set(measured)) == 10


def twin_of(loops: np.ndarray) -> Twin:
    axes = [spatial("y", "nm", range(6)), spatial("x", "nm", range(5))]
    stored = StoredArray("loops", "Response", "pm", loops, (*axes, bias_axis()))
    return Twin(make_sample([stored]), AFM, name="loops")


def test_spectra_that_hold_nan_or_a_spike_do_not_blind_the_search(tmp_path):
    random = np.random.default_rng(1)
    width = np.linspace(1, 3, 30).reshape(6, 5, 1)
    loops = width * np.sign(np.arange(12) - 5.5) + 0.1 * random.normal(size=(6, 5, 12))
    loops[2, 2, 4] = np.nan
    loops[0, 1, 3] = 1e9
    run = aemtwin.run(twin_of(loops), out=str(tmp_path), **{**SMALL, "steps": 24})
    by_index = {e["data"]["index"]: e["data"] for e in run.record.events}
    assert not by_index[12]["valid"]
    if len(run.record.events) > 10:
        told = [d for d in by_index.values() if "far beyond" in d["notices"]]
        assert {d["index"] for d in told} <= {1}
    mean = run.posterior()["mean"]
    assert np.ptp(mean) < 1e4  # not the scale of the spike
    assert np.corrcoef(np.delete(mean, 1), np.delete(width.ravel(), 1))[0, 1] > 0.6


OTHERS = [pytest.param(n, marks=pytest.mark.slow) for n in ("bayes_gp", "dkl")]


@pytest.mark.parametrize("surrogate", ["gp", *OTHERS])
def test_where_all_values_are_equal_it_still_spreads_out(tmp_path, surrogate):
    run = aemtwin.run(
        twin_of(np.tile(np.sign(np.arange(12) - 5.5), (6, 5, 1))),
        out=str(tmp_path),
        scalarizer="loop_area",
        surrogate=surrogate,
        **SMALL,
    )
    assert len({e["data"]["index"] for e in run.record.events}) == 10
    assert np.isfinite(run.posterior()["mean"]).all()
    assert run.posterior()["mean"] == pytest.approx(run.best["value"], rel=1e-6)
    run.report()


@pytest.mark.parametrize("surrogate", ["gp", *OTHERS])
def test_it_ends_when_every_candidate_was_measured(tmp_path, surrogate):
    options = {**SMALL, "candidates": (3, 2), "steps": 50}
    run = aemtwin.run(small_twin(), out=str(tmp_path), surrogate=surrogate, **options)
    assert sorted(e["data"]["index"] for e in run.record.events) == list(range(6))
    assert run.scores["top_1_percent_found"] == 1.0


def test_candidates_at_one_place_are_each_measured_once(tmp_path):
    """A field without extent along x: all columns of the grid are the same spot."""
    axes = [spatial("y", "nm", range(6)), spatial("x", "nm", [2.0])]
    loops = np.random.default_rng(0).normal(size=(6, 1, 12))
    stored = StoredArray("loops", "Response", "pm", loops, (*axes, bias_axis()))
    twin = Twin(make_sample([stored]), AFM, name="line")
    run = aemtwin.run(twin, out=str(tmp_path), **{**SMALL, "candidates": (4, 3)})
    assert len({e["data"]["index"] for e in run.record.events}) == 10
    assert np.isfinite(run.posterior()["mean"]).all()


@given(st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_taming_keeps_the_order(values):
    out = tamed(values)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(out[order]) >= -1e-9 * np.abs(out).max(initial=1.0))


@given(st.integers(1, LONE), st.floats(1e2, 1e12), st.sampled_from([-1, 1]))
def test_one_or_two_far_values_come_nearer_and_stay_the_farthest(lone, far, sign):
    values = sign * np.array([*np.linspace(0, 1, 9), *[far, 1.5 * far][:lone]])
    out = tamed(values)
    np.testing.assert_array_equal(out[:9], values[:9])
    assert (sign * out[9:] > 1).all()
    assert (sign * out[9:] <= (FAR + 1) ** lone + 1e-9 * far).all()


def test_far_values_on_both_sides_come_nearer_too():
    values = np.array([*np.linspace(0, 1, 9), 1e9, -1e9])
    out = tamed(values)
    np.testing.assert_allclose(out, [*np.linspace(0, 1, 9), 1 + FAR, -FAR])


@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=20))
def test_values_without_a_lone_one_are_left_as_they_are(values):
    spread = [*values, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    np.testing.assert_array_equal(tamed(spread), spread)
