"""A law that cannot fail proves nothing: each is held against what breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from aemtwin.errors import AemtwinError, InstrumentFault, OutOfRange, StageStuck
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.opening import open_twin
from aemtwin.instruments.protocol import Instrument, State
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.twin import Twin
from aemtwin.specs import InstrumentSpec
from aemtwin.testing.bad_input import REFUSING
from aemtwin.testing.conformance import LAWS, TWIN_LAWS, Skip, check, check_twin, hold
from tests.small import small_arrays

NOISE = {"height": 0.1, "counts": 3.0, "loops": 0.05, "lockin": 0.02}


def small(cls: type[Twin] = Twin, **options: Any) -> Twin:
    sample = make_sample(small_arrays())
    given = {"noise": NOISE, "identity": {"effects": {}}, **options}
    return cls(sample, given.pop("kind", AFM), name="small", **given)


def beam(cls: type[Twin] = Twin, **options: Any) -> Twin:
    return small(cls, kind=STEM, noise={}, counts=["loops"], **options)


class Sound(Twin):
    """Breaks nothing; those below change what goes in or what comes out."""

    ideal: ClassVar[bool] = False
    make: ClassVar[Any] = staticmethod(small)

    def before(self, call: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return given

    def after(self, call: str, answer: Any) -> Any:
        return answer

    def _act(self, call, given, rid, token):
        answer = super()._act(call, self.before(call, given), rid, token)
        return self.after(call, answer)


class DoublesDose(Sound):
    def after(self, call, answer):
        return replace(answer, dose=2 * answer.dose) if call == "measure" else answer


class SwapsWhereItRests(Sound):
    def after(self, call, answer):
        return answer[::-1] if call == "move_to" else answer


class GoesElsewhere(Sound):
    def before(self, call, given):
        if call != "move_to" or not np.array_equal(np.shape(given["position"]), (2,)):
            return given
        return {"position": np.mean(self.describe().bounds, axis=1)}


class TurnsFrames(Sound):
    ideal = True

    def after(self, call, answer):
        if call != "scan":
            return answer
        arrays = {k: v[::-1] for k, v in answer.arrays.items()}
        return replace(answer, arrays=arrays)


class MirrorsBackwards(Sound):
    ideal = True

    def _act(self, call, given, rid, token):
        answer = super()._act(call, given, rid, token)
        if call != "scan" or not given.get("backward"):
            return answer
        arrays = {k: v[:, ::-1] for k, v in answer.arrays.items()}
        return replace(answer, arrays=arrays)


class ForgetsToTurn(Sound):
    ideal = True

    def before(self, call, given):
        return {**given, "rotation": 0.0} if call == "scan" else given


class GivesItsOwnArrays(Sound):
    def after(self, call, answer):
        if call != "measure":
            return answer
        arrays = {k: np.array(v) for k, v in answer.arrays.items()}
        return replace(answer, arrays=arrays)


class ReusesItsBuffer(Sound):
    def after(self, call, answer):
        if call != "measure" or answer.name != "loops":
            return answer
        if not hasattr(self, "_buffer"):
            self._buffer = np.zeros_like(answer.values)
        self._buffer[:] = answer.values
        view = self._buffer.view()
        view.flags.writeable = False
        return replace(answer, arrays={**answer.arrays, "loops": view})


class TakesNan(Sound):
    def before(self, call, given):
        if call != "move_to":
            return given
        position = np.asarray(given["position"], dtype=object)
        if position.shape == (2,) and any(v != v for v in position):
            return {"position": np.mean(self.describe().bounds, axis=1)}
        return given


class ClampsDwells(Sound):
    def before(self, call, given):
        dwell = given.get("dwell_s")
        if call == "measure" and isinstance(dwell, float) and dwell > 3600.0:
            return {**given, "dwell_s": 3600.0}
        return given


class RaisesPlainErrors(Sound):
    def _act(self, call, given, rid, token):
        try:
            return super()._act(call, given, rid, token)
        except AemtwinError as error:
            if call == "configure":
                raise ValueError(str(error)) from None
            raise


class SaysTooLittle(Sound):
    def _act(self, call, given, rid, token):
        try:
            return super()._act(call, given, rid, token)
        except OutOfRange:
            raise OutOfRange("no") from None


class ActsBeforeItRefuses(Sound):
    def _act(self, call, given, rid, token):
        if call == "scan" and given.get("dwell_s") is not None:
            super()._act("move_to", {"position": (1e-7, 1e-7)}, None, None)
        return super()._act(call, given, rid, token)


class MeasuresAgain(Sound):
    def _act(self, call, given, rid, token):
        if rid is not None and call == "measure":
            super()._act(call, given, rid, token)  # checks the id
            return replace(super()._act(call, given, None, token), rid=rid)
        return super()._act(call, given, rid, token)


class TakesAnyRequestUnderAnId(Sound):
    def _act(self, call, given, rid, token):
        try:
            return super()._act(call, given, rid, token)
        except AemtwinError as error:
            if "one id stands" not in str(error):
                raise
            return super()._act(call, given, None, token)


class RepeatsItsNoise(Sound):
    def _act(self, call, given, rid, token):
        answer = super()._act(call, given, rid, token)
        kept = self.__dict__.setdefault("_kept", {})
        if call not in ("measure", "scan"):
            return answer
        arrays = {
            name: kept.setdefault((name, values.shape), values)
            for name, values in answer.arrays.items()
        }
        return replace(answer, arrays=arrays)


class ForgetsAnEvent(Sound):
    def events(self, after=0):
        told = super().events()
        return [e for e in told if e["call"] != "trace"][after:]


class MixesUpTimes(Sound):
    def events(self, after=0):
        return [{**e, "begin_s": -e["begin_s"] - 1.0} for e in super().events(after)]


class LeavesOutAPulseOfDose(Sound):
    make = staticmethod(beam)

    def events(self, after=0):
        told = super().events(after)
        return [{**e, "dose": 0.0} if e["call"] == "pulse" else e for e in told]


class TellsAnotherPulse(Sound):
    make = staticmethod(beam)

    def after(self, call, answer):
        return {**answer, "dwell_s": 1.0} if call == "pulse" else answer


class IgnoresTheCurrent(Sound):
    make = staticmethod(beam)

    def before(self, call, given):
        if call != "configure" or "current_A" not in given:
            return given
        return {k: v for k, v in given.items() if k != "current_A"}


class BreaksCounts(Sound):
    make = staticmethod(beam)

    def after(self, call, answer):
        if call != "measure" or answer.name != "loops":
            return answer
        arrays = {**answer.arrays, "loops": 0.7 * answer.arrays["loops"] + 100}
        return replace(answer, arrays=arrays)


class EstimatesBadly(Sound):
    def duration(self, operation):
        return 1.1 * super().duration(operation)


class ActsWhenAsked(Sound):
    def duration(self, operation):
        told = super().duration(operation)
        self._clock.now_s += 1.0
        return told


class ChangesItsMind(Sound):
    def describe(self) -> InstrumentSpec:
        return replace(super().describe(), name=f"small{len(self._ledger)}")


class GivesAnotherType(Sound):
    def after(self, call, answer):
        if call != "measure":
            return answer
        arrays = {k: v.astype(np.float16) for k, v in answer.arrays.items()}
        return replace(answer, arrays=arrays)


class ForgetsSettings(Sound):
    def state(self) -> State:
        usual = {p.name: p.default for p in self.describe().settings}
        return replace(super().state(), settings=usual)


class TellsOtherDwells(Sound):
    def after(self, call, answer):
        return replace(answer, dwell_s=1.0) if call == "scan" else answer


class HasNoisyTruth(Sound):
    def truth(self, *args, **kwargs):
        told = super().truth(*args, **kwargs)
        noise = np.random.default_rng(0).normal(size=told.values.shape)
        return replace(told, arrays={**told.arrays, told.name: told.values + noise})


class LearnsFromTruth(Sound):
    def truth(self, *args, **kwargs):
        self._probe.dose += 1.0
        return super().truth(*args, **kwargs)


class LiesWithTruth(Sound):
    ideal = True

    def truth(self, *args, **kwargs):
        told = super().truth(*args, **kwargs)
        return replace(told, arrays={k: v + 1 for k, v in told.arrays.items()})


class EndsATraceAtItsBegin(Sound):
    def after(self, call, answer):
        if call == "trace":
            self._probe.position = answer.actual[0]
        return answer


class KeepsQuiet(Sound):
    def after(self, call, answer):
        if call != "measure":
            return answer
        return replace(answer, info={**answer.info, "notices": []})


class LendsItsSettings(Sound):
    def state(self) -> State:
        return replace(super().state(), settings=self._probe.settings)


class IsBusyForEver(Sound):
    def stop(self) -> State:
        return replace(super().stop(), busy="a/1/b")


BREAKS: list[tuple[type[Sound], str]] = [
    (DoublesDose, "dose_is_the_time_on_the_specimen_or_what_came_down_in_it"),
    (SwapsWhereItRests, "it_rests_where_it_was_sent"),
    (GoesElsewhere, "it_rests_where_it_was_sent"),
    (TurnsFrames, "a_frame_and_a_trace_along_its_pixels_agree"),
    (MirrorsBackwards, "a_line_backwards_shows_the_same_place"),
    (ForgetsToTurn, "half_a_turn_turns_the_frame_round"),
    (GivesItsOwnArrays, "what_comes_back_cannot_be_written_to"),
    (ReusesItsBuffer, "what_was_given_stays_as_it_was"),
    (TakesNan, "bad_moves_and_settings_are_refused"),
    (ClampsDwells, "bad_measurements_and_pulses_are_refused"),
    (RaisesPlainErrors, "bad_moves_and_settings_are_refused"),
    (SaysTooLittle, "bad_frames_and_traces_are_refused"),
    (ActsBeforeItRefuses, "bad_frames_and_traces_are_refused"),
    (MeasuresAgain, "the_same_request_is_answered_once"),
    (TakesAnyRequestUnderAnId, "one_id_stands_for_one_request"),
    (RepeatsItsNoise, "repeats_differ_by_fresh_noise_unless_ideal"),
    (ForgetsAnEvent, "every_operation_is_one_event"),
    (ForgetsAnEvent, "the_dose_is_the_sum_of_what_the_events_tell_bit_for_bit"),
    (MixesUpTimes, "threads_take_turns"),
    (LeavesOutAPulseOfDose, "a_map_of_the_dose_has_all_of_it_where_it_was_given"),
    (TellsAnotherPulse, "a_pulse_acts_where_the_probe_is"),
    (IgnoresTheCurrent, "settings_are_what_they_were_set_to"),
    (BreaksCounts, "counts_are_whole_and_about_what_is_expected"),
    (EstimatesBadly, "duration_says_what_the_clock_then_does"),
    (ActsWhenAsked, "asking_how_long_does_nothing"),
    (ChangesItsMind, "its_description_stays_when_it_acts"),
    (GivesAnotherType, "a_measurement_is_what_its_mode_says"),
    (ForgetsSettings, "settings_are_what_they_were_set_to"),
    (TellsOtherDwells, "dose_is_the_time_on_the_specimen_or_what_came_down_in_it"),
    (HasNoisyTruth, "truth_is_told_of_every_mode_and_does_nothing"),
    (LearnsFromTruth, "truth_is_told_of_every_mode_and_does_nothing"),
    (LiesWithTruth, "an_ideal_twin_measures_the_truth"),
    (EndsATraceAtItsBegin, "a_trace_reads_each_point_and_ends_at_the_last"),
    (KeepsQuiet, "a_spot_measured_twice_is_told"),
    (LendsItsSettings, "what_a_caller_changes_changes_nothing"),
    (IsBusyForEver, "stop_answers_when_nothing_is_under_way"),
]


@pytest.mark.parametrize("make", [small, beam])
@pytest.mark.parametrize("ideal", [False, True])
def test_what_breaks_nothing_passes(make, ideal):
    assert [r for r in check(make(Sound, ideal=ideal)) if r.outcome == "failed"] == []


@pytest.mark.parametrize(("kind", "law"), BREAKS)
def test_what_is_broken_fails_its_law(kind, law):
    twin = kind.make(kind, ideal=kind.ideal)
    (result,) = check(twin, [LAWS[law]])
    assert result.outcome == "failed"
    assert len(result.told) > 20


class DrawsAnew(Sound):
    def after(self, call, answer):
        if call != "measure":
            return answer
        more = np.random.default_rng().normal(size=answer.values.shape)
        return replace(answer, arrays={answer.name: answer.values + more})


class KeepsItsClock(Sound):
    def reset(self):
        time_s = self._clock.now_s
        super().reset()
        self._clock.now_s = time_s


class LosesItsLedger(Sound):
    def __init__(self, *args, ledger=None, **kwargs):
        super().__init__(*args, **kwargs)
        if ledger is not None:
            ledger.touch()  # and writes nothing to it


class HashesNothing(Sound):
    def state_hash(self):
        return "always the same"


class IsChangedByLooks(Sound):
    def events(self, after=0):
        self._probe.dose += 1.0
        return super().events(after)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (DrawsAnew, "the_same_seed_and_requests_give_the_same_bits"),
        (DrawsAnew, "a_ledger_changes_nothing_else"),
        (KeepsItsClock, "reset_leads_back_to_time_zero"),
        (LosesItsLedger, "a_twin_opened_on_its_ledger_stands_where_it_stood"),
        (HashesNothing, "every_operation_shows_in_the_hash_of_the_state"),
        (IsChangedByLooks, "looking_changes_nothing"),
    ],
)
def test_what_cannot_be_made_again_fails_its_law(kind, law):
    (result,) = check_twin(
        lambda ledger=None: small(kind, ledger=ledger), [TWIN_LAWS[law]]
    )
    assert result.outcome == "failed"


def test_what_can_be_made_again_passes():
    results = check_twin(lambda ledger=None: small(ledger=ledger))
    assert [r.outcome for r in results] == ["ok"] * len(TWIN_LAWS)


def test_every_break_is_an_instrument_all_the_same():
    assert all(isinstance(kind.make(kind), Instrument) for kind, _ in BREAKS)


def test_without_spectra_the_laws_of_scans_are_held():
    images = [one for one in small_arrays() if len(one.axes) == 2]
    results = check(Twin(make_sample(images), AFM, name="images", noise=NOISE))
    by = {r.name: r for r in results}
    assert not [r for r in results if r.outcome == "failed"]
    assert by["a_frame_is_what_the_channels_say"].outcome == "ok"
    skipped = by["a_measurement_is_what_its_mode_says"]
    assert (skipped.outcome, skipped.told) == ("skipped", "it has no spectra")
    assert str(skipped).startswith("skipped  a measurement is what its mode says: ")


def test_what_only_looks_leaves_an_instrument_as_it_is():
    twin = small()
    before = twin.state_hash()
    results = check(twin, [law for law in LAWS.values() if not law.acts])
    assert len(results) >= 8
    assert {r.outcome for r in results} == {"ok"}
    assert twin.state_hash() == before
    assert twin.events() == []


def test_every_law_says_what_it_proves():
    for law in (*LAWS.values(), *TWIN_LAWS.values()):
        assert law.proves.endswith("."), law.name
        assert "_" not in law.sentence


def test_an_instrument_that_fails_now_and_then_breaks_no_law():
    faults = {"faults": {"stuck": 0.1, "dropped": 0.1}}
    twin = open_twin("stm_spectroscopy", seed=3, effects=faults)
    failed = []
    for law in set(LAWS.values()) - set(REFUSING.values()):
        twin.reset()
        with suppress(Skip):
            try:
                hold(law, twin)
            except InstrumentFault as error:  # three times in a row, and told as such
                failed.append(error.code)
    assert set(failed) <= {"StageStuck", "FrameDropped"}


def test_a_stage_that_sticks_in_a_thread_is_told_as_a_stuck_stage():
    twin = open_twin("stm_spectroscopy", effects={"faults": {"stuck": 1.0}})
    with pytest.raises(StageStuck):
        hold(LAWS["threads_take_turns"], twin)
