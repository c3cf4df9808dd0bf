"""One contract for every instrument, in this process and over the wire.

A new twin or driver joins `INSTRUMENTS`; every test below then holds for it twice.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import aemtwin
from aemtwin import errors
from aemtwin.codec import to_wire
from aemtwin.instruments.dose import dose_map
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.twin import Twin
from aemtwin.specs import PROTOCOL
from tests.conftest import small_twin

INSTRUMENTS: dict[str, Callable[[], Twin]] = {
    "small": small_twin,
    "small ideal": lambda: small_twin(ideal=True),
    "pfm_loops": lambda: aemtwin.open_twin("pfm_loops", seed=5),
    "stem_eels": lambda: aemtwin.open_twin("stem_eels", seed=5),
    "stem_eels ideal": lambda: aemtwin.open_twin("stem_eels", ideal=True),
}


@pytest.fixture(params=INSTRUMENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[str], tuple[Twin, Instrument]]]:
    """Serve each instrument once: to start and stop a server takes 0.2 s."""
    with ExitStack() as stack:

        @functools.cache
        def serve(name: str) -> tuple[Twin, Instrument]:
            twin = INSTRUMENTS[name]()
            server = stack.enter_context(aemtwin.serve(twin, truth=True))
            client = aemtwin.connect(server.uri)
            stack.callback(client.close)
            return twin, client

        yield serve


@pytest.fixture(params=["in process", "over the wire"])
def scope(request: pytest.FixtureRequest, name: str, served: Any) -> Instrument:
    twin, client = served(name)
    twin.reset()
    return twin if request.param == "in process" else client


def fingerprint(scope: Instrument) -> Any:
    """All that can be seen of an instrument without acting on it."""
    state = to_wire(dataclasses.replace(scope.state(), busy=""), "list")
    return state, len(scope.events())


def middle(scope: Instrument) -> np.ndarray:
    return np.mean(scope.describe().bounds, axis=1)


def somewhere(scope: Instrument) -> list[float]:
    (x_low, x_high), (y_low, y_high) = scope.describe().bounds
    return [x_low + 0.3 * (x_high - x_low), y_low + 0.7 * (y_high - y_low)]


def a_second(scope: Instrument) -> float:
    """The dose that one second on the specimen is, by the definition of its unit."""
    if scope.describe().dose_units == "s":
        return 1.0
    assert scope.describe().dose_units == "electrons"
    return scope.state().settings["current_A"] / 1.602176634e-19


def counted(scope: Instrument) -> list[str]:
    return [mode.name for mode in scope.describe().modes if mode.counts]


def test_it_satisfies_the_protocol(scope):
    assert isinstance(scope, Instrument)
    assert scope.describe().protocol == PROTOCOL


def test_its_description_is_constant(scope):
    before = copy.deepcopy(scope.describe())
    scope.move_to(somewhere(scope))
    scope.measure()
    assert scope.describe() == before


def test_it_rests_where_it_was_sent(scope):
    at = scope.move_to(somewhere(scope))
    assert at.tolist() == somewhere(scope)
    assert scope.state().position.tolist() == somewhere(scope)


def test_a_measurement_is_what_the_mode_says(scope):
    spec = scope.describe()
    for mode in spec.modes:
        m = scope.measure(mode.name)
        assert (m.call, m.mode, m.name) == ("measure", mode.name, mode.channels[0])
        assert tuple(m.arrays) == mode.channels
        assert m.values.dtype == mode.dtype
        assert m.axes == mode.axes
        assert m.values.shape == tuple(len(axis) for axis in mode.axes)
        assert m.units[m.name] == mode.units
        assert m.dwell_s == mode.dwell_s.default


def test_a_frame_is_what_the_channels_say(scope):
    spec = scope.describe()
    frame = scope.scan(shape=(4, 3))
    assert tuple(frame.arrays) == tuple(c.name for c in spec.channels)
    for channel in spec.channels:
        assert frame.arrays[channel.name].shape == (4, 3)
        assert frame.arrays[channel.name].dtype == channel.dtype
        assert frame.units[channel.name] == channel.units
    assert [axis.name for axis in frame.axes] == ["y", "x"]
    (x_low, x_high), (y_low, y_high) = spec.bounds
    assert frame.axis("x").values[[0, -1]].tolist() == [x_low, x_high]
    assert frame.axis("y").values[[0, -1]].tolist() == [y_low, y_high]


def test_a_trace_reads_each_point_and_ends_at_the_last(scope):
    points = np.array([middle(scope), somewhere(scope), middle(scope)])
    trace = scope.trace(points)
    assert trace.values.shape == (3,)
    np.testing.assert_array_equal(trace.actual, points)
    np.testing.assert_array_equal(scope.state().position, points[-1])


def test_the_same_request_is_answered_once(scope):
    first = scope.measure(rid="r/1/measure")
    before = fingerprint(scope)
    again = scope.measure(rid="r/1/measure")
    assert fingerprint(scope) == before
    assert to_wire(again) == to_wire(first)


def test_one_id_stands_for_one_request(scope):
    scope.move_to(middle(scope), rid="r/1/move")
    before = fingerprint(scope)
    with pytest.raises(errors.BadRequest, match="one id stands for one request"):
        scope.move_to(somewhere(scope), rid="r/1/move")
    assert fingerprint(scope) == before


@pytest.mark.parametrize(
    "rid", ["", "a", "a/b/c", "a/1", "a/1/b/c", "a/-1/b", "a/1 /b"]
)
def test_another_form_of_id_is_refused(scope, rid):
    before = fingerprint(scope)
    with pytest.raises(errors.BadRequest, match="A request id is"):
        scope.measure(rid=rid)
    assert fingerprint(scope) == before


def test_calls_without_an_id_are_given_one(scope):
    scope.move_to(middle(scope))
    assert scope.measure().rid == "server/1/plain-measure"
    assert [e["rid"] for e in scope.events()] == [
        "server/0/plain-move_to",
        "server/1/plain-measure",
    ]


def test_duration_says_what_the_clock_then_does(scope):
    calls = [
        ("move_to", {"position": somewhere(scope)}),
        ("measure", {"dwell_s": 0.25}),
        ("scan", {"shape": (3, 4), "dwell_s": 0.002}),
        ("trace", {"points": [somewhere(scope), middle(scope).tolist()]}),
    ]
    if scope.describe().pulses:
        calls.append(("pulse", {"dwell_s": 0.125}))
    for call, arguments in calls:
        told = scope.duration({"call": call, "arguments": arguments})
        before = scope.state().time_s
        getattr(scope, call)(**arguments)
        assert scope.state().time_s - before == pytest.approx(told, rel=1e-12)
        assert told > 0


def test_dose_is_the_time_spent_on_the_specimen_or_what_came_down_in_it(scope):
    measured = scope.measure(dwell_s=0.5)
    frame = scope.scan(shape=(2, 3), dwell_s=0.01)
    trace = scope.trace([somewhere(scope)] * 4, dwell_s=0.02)
    want = np.array([0.5, 6 * 0.01, 4 * 0.02]) * a_second(scope)
    assert [m.dose for m in (measured, frame, trace)] == pytest.approx(want, rel=1e-12)
    assert [e["dose"] for e in scope.events()] == pytest.approx(want, rel=1e-12)
    assert scope.state().dose == pytest.approx(want.sum(), rel=1e-12)


def test_the_dose_is_the_sum_of_what_the_events_tell_bit_for_bit(scope):
    scope.measure(dwell_s=0.1)
    scope.move_to(somewhere(scope))
    if "current_A" in scope.state().settings:
        scope.configure(current_A=3e-12)
    scope.scan(shape=(3, 7), dwell_s=0.003)
    scope.measure(dwell_s=0.7)
    total = 0.0
    for event in scope.events():
        total += event.get("dose", 0.0)
    assert scope.state().dose == total


def test_a_map_of_the_dose_has_all_of_it(scope):
    scope.scan()
    scope.move_to(somewhere(scope))
    scope.measure()
    if scope.describe().pulses:
        scope.pulse()
    scope.trace([somewhere(scope), middle(scope).tolist()])
    bounds = scope.describe().bounds
    cell = np.prod(np.diff(bounds)) / (8 * 5)
    there = dose_map(scope.events(), bounds, (8, 5)) * cell
    assert there.sum() == pytest.approx(scope.state().dose, rel=1e-12)
    assert there.argmax() // 5 == int(0.7 * 8)


def test_a_pulse_is_dose_without_data(scope):
    if not scope.describe().pulses:
        with pytest.raises(errors.NotSupported, match="has no pulse"):
            scope.pulse()
        assert fingerprint(scope)[1] == 0
        return
    at = scope.move_to(somewhere(scope)).tolist()
    told = scope.pulse("exposure", 0.25, rid="r/1/pulse")
    dose = 0.25 * a_second(scope)
    begin, end = told["time_s"]
    assert told["dose"] == pytest.approx(dose, rel=1e-12)
    assert scope.state().dose == told["dose"]
    assert end - begin == pytest.approx(0.25, rel=1e-9)
    assert (told["pulse"], told["position"]) == ("exposure", at)
    assert (told["dwell_s"], told["rid"]) == (0.25, "r/1/pulse")
    event = scope.events()[-1]
    assert (event["call"], event["actual"], event["dose"]) == (
        "pulse",
        at,
        told["dose"],
    )
    before = fingerprint(scope)
    assert scope.pulse("exposure", 0.25, rid="r/1/pulse") == told
    assert fingerprint(scope) == before
    usual = scope.describe().pulse().dwell_s.default
    assert scope.pulse()["dwell_s"] == usual


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (errors.UnknownName, {"name": "exposre"}),
        (errors.UnknownName, {"name": 3}),
        (errors.UnknownName, {"volts": 1.0}),
        (errors.UnknownName, {"encoding": "list"}),
        (errors.OutOfRange, {"dwell_s": 0.0}),
        (errors.OutOfRange, {"dwell_s": math.inf}),
        (errors.WrongType, {"dwell_s": True}),
        (errors.BadRequest, {"rid": "r"}),
        (errors.LeaseRefused, {"token": "x"}),
    ],
)
def test_a_bad_pulse_is_a_typed_error_and_changes_nothing(scope, kind, arguments):
    before = fingerprint(scope)
    if not scope.describe().pulses and kind in (
        errors.UnknownName,
        errors.OutOfRange,
        errors.WrongType,
    ):
        kind = errors.NotSupported
    with pytest.raises(kind):
        scope.pulse(**arguments)
    assert fingerprint(scope) == before


def test_counts_are_in_proportion_to_dwell_and_current(scope):
    point = [somewhere(scope)]
    usual = scope.describe().modes[0].dwell_s.default
    one = scope.truth(points=point)
    longer = scope.truth(points=point, dwell_s=4 * usual)
    assert (one.dwell_s, longer.dwell_s) == (usual, 4 * usual)
    assert one.dose == longer.dose == 0
    factor = 4 if counted(scope) else 1
    assert longer.values.dtype == one.values.dtype
    np.testing.assert_allclose(longer.values, factor * one.values, rtol=1e-6)
    if "current_A" in scope.state().settings:
        scope.configure(current_A=25e-12)
        half = scope.truth(points=point).values
        np.testing.assert_allclose(half, one.values / 2, rtol=1e-6)


def test_counts_are_whole_and_about_what_is_expected(scope):
    for name in counted(scope):
        scope.move_to(somewhere(scope))
        want = scope.truth(name, [somewhere(scope)]).values[0]
        counts = scope.measure(name).values
        if scope.describe().identity["ideal"]:
            assert counts.tobytes() == want.tobytes()
            continue
        np.testing.assert_array_equal(counts, np.rint(counts))
        assert abs(counts - want).max() < 6 * np.sqrt(want.max())
        assert abs(counts.sum() - want.sum()) < 6 * np.sqrt(want.sum())


def test_settings_are_what_they_were_set_to(scope):
    settings = scope.configure(settle_s=0.5)
    assert settings["settle_s"] == 0.5
    assert scope.state().settings == settings


def test_what_comes_back_cannot_be_written_to(scope):
    for array in (scope.measure().values, scope.scan(shape=(2, 2)).values):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_spot_measured_twice_is_told(scope):
    scope.move_to(somewhere(scope))
    first = scope.measure()
    again = scope.measure()
    assert f"measured here before, by {first.rid}" in again.info["notices"]


def test_repeats_differ_by_fresh_noise_unless_ideal(scope):
    first, again = scope.measure().values, scope.measure().values
    assert np.array_equal(first, again) == scope.describe().identity["ideal"]


def test_truth_has_no_noise(scope):
    truth = scope.truth(points=[somewhere(scope)] * 2)
    np.testing.assert_array_equal(truth.values[0], truth.values[1])


def test_stop_and_state_answer_at_any_time(scope):
    assert scope.stop().busy == ""


def test_two_threads_take_turns(scope):
    failures = []

    def measure(k: int) -> None:
        try:
            for i in range(5):
                scope.measure(rid=f"thread{k}/{i}/measure")
        except Exception as error:  # shown below
            failures.append(error)

    threads = [threading.Thread(target=measure, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    entries = scope.events()
    assert len(entries) == 15
    for before, after in itertools.pairwise(entries):
        assert after["begin_s"] >= before["end_s"]


ODD = {1: 2}
BAD: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (errors.OutOfRange, "move_to", {"position": (math.nan, 0.0)}),
    (errors.OutOfRange, "move_to", {"position": (0.0, math.inf)}),
    (errors.OutOfRange, "move_to", {"position": (-1.0, 0.0)}),
    (errors.OutOfRange, "move_to", {"position": (0.0, 1e300)}),
    (errors.WrongType, "move_to", {"position": (True, 0.0)}),
    (errors.WrongType, "move_to", {"position": "here"}),
    (errors.WrongType, "move_to", {"position": None}),
    (errors.WrongType, "move_to", {"position": (1j, 0.0)}),
    (errors.ShapeMismatch, "move_to", {"position": (0.0,)}),
    (errors.ShapeMismatch, "move_to", {"position": (0.0, 0.0, 0.0)}),
    (errors.ShapeMismatch, "move_to", {"position": [[0.0, 0.0]]}),
    (errors.LeaseRefused, "move_to", {"position": (0.0, 0.0), "token": "x"}),
    (errors.UnknownName, "measure", {"mode": "lops"}),
    (errors.UnknownName, "measure", {"frequency": 1.0}),
    (errors.OutOfRange, "measure", {"dwell_s": 0.0}),
    (errors.OutOfRange, "measure", {"dwell_s": -1.0}),
    (errors.OutOfRange, "measure", {"dwell_s": math.nan}),
    (errors.WrongType, "measure", {"dwell_s": True}),
    (errors.WrongType, "measure", {"dwell_s": "long"}),
    (errors.UnknownName, "scan", {"channels": ["heigth"]}),
    (errors.UnknownName, "scan", {"channels": []}),
    (errors.WrongType, "scan", {"channels": 3}),
    (errors.OutOfRange, "scan", {"shape": (0, 4)}),
    (errors.OutOfRange, "scan", {"shape": (2**14, 2**14)}),
    (errors.WrongType, "scan", {"shape": (2.0, 2)}),
    (errors.WrongType, "scan", {"shape": (True, 2)}),
    (errors.ShapeMismatch, "scan", {"shape": (2, 2, 2)}),
    (errors.ShapeMismatch, "scan", {"shape": 4}),
    (errors.ShapeMismatch, "scan", {"region": (0.0, 1e-8)}),
    (errors.OutOfRange, "scan", {"region": ((1e-8, 0.0), (0.0, 1e-8))}),
    (errors.OutOfRange, "scan", {"region": ((0.0, 1.0), (0.0, 1e-8))}),
    (errors.OutOfRange, "scan", {"region": ((0.0, math.nan), (0.0, 1e-8))}),
    (errors.OutOfRange, "scan", {"rotation": math.nan}),
    (errors.OutOfRange, "scan", {"rotation": 0.5}),  # its corners leave the field
    (errors.WrongType, "scan", {"rotation": False}),
    (errors.OutOfRange, "scan", {"dwell_s": 1e9}),
    (errors.ShapeMismatch, "trace", {"points": []}),
    (errors.ShapeMismatch, "trace", {"points": [[0.0, 0.0, 0.0]]}),
    (errors.OutOfRange, "trace", {"points": [[0.0, 0.0], [0.0, 7.0]]}),
    (errors.OutOfRange, "trace", {"points": [[0.0, math.nan]]}),
    (errors.WrongType, "trace", {"points": [[0.0, True]]}),
    (errors.UnknownName, "trace", {"points": [[0.0, 0.0]], "channels": ["x"]}),
    (errors.UnknownName, "configure", {"sped_m_s": 1.0}),
    (errors.OutOfRange, "configure", {"speed_m_s": -1.0}),
    (errors.OutOfRange, "configure", {"speed_m_s": math.inf}),
    (errors.WrongType, "configure", {"settle_s": None}),
    (errors.UnknownName, "duration", {"operation": {"call": "fly"}}),
    (errors.UnknownName, "duration", {"operation": {"call": "measure", "args": {}}}),
    (
        errors.UnknownName,
        "duration",
        {"operation": {"call": "scan", "arguments": {1: 2}}},
    ),
    (errors.WrongType, "duration", {"operation": "measure"}),
    (errors.WrongType, "duration", {"operation": None}),
    (errors.OutOfRange, "measure", {"dwell_s": 10**400}),
    (errors.WrongType, "measure", {"dwell_s": Fraction(1, 2)}),
    (errors.UnknownName, "measure", {"encoding": "list"}),
    (errors.UnknownName, "measure", {"call": 1.0}),
    (errors.UnknownName, "measure", {"again": 1.0}),
    (errors.UnknownName, "measure", {"proxy": 1.0}),
    (errors.UnknownName, "configure", {"call": 1.0}),
    (errors.BadRequest, "measure", {"rid": "server/1/plain-measure"}),
    (errors.BadRequest, "measure", {"rid": "a/1/\ud800"}),
    (errors.BadRequest, "measure", {"rid": 7}),
    (errors.WrongType, "move_to", {"position": {0.0, 1e-9}}),
    (errors.WrongType, "scan", {"channels": [["height"]]}),
    (errors.WrongType, "scan", {"channels": [1]}),
    (errors.ShapeMismatch, "truth", {"points": np.empty((0, 2))}),
    (errors.ShapeMismatch, "truth", {"points": [[0.0, 0.0, 0.0]]}),
    (errors.OutOfRange, "events", {"after": -1}),
    (errors.UnknownName, "truth", {"mode": "lops"}),
    (errors.OutOfRange, "truth", {"points": [[9.0, 9.0]]}),
    (errors.OutOfRange, "truth", {"dwell_s": -1.0}),
    (errors.WrongType, "truth", {"dwell_s": True}),
]


@pytest.mark.parametrize(("kind", "call", "arguments"), BAD)
def test_bad_input_is_a_typed_error_and_changes_nothing(scope, kind, call, arguments):
    before = fingerprint(scope)
    with pytest.raises(kind) as caught:
        getattr(scope, call)(**arguments)
    assert type(caught.value) is kind
    assert fingerprint(scope) == before
    message = str(caught.value)
    assert message.endswith(".")
    assert len(message) > 30
