"""Laws of what acts: where the probe goes, what comes back, what settings do."""

from __future__ import annotations

from typing import Any

import numpy as np

from aemtwin.codec import from_wire, to_wire
from aemtwin.errors import NotSupported
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement
from aemtwin.testing.laws import (
    SHAPE,
    Laws,
    Skip,
    changed,
    close,
    is_twin,
    modes,
    names,
    new_id,
    nudged,
    place,
    pulses,
    read,
    refused,
    require,
    require_still,
    same,
    somewhere,
    still,
)

ACTING: Laws[Instrument] = Laws()
law = ACTING
SLACK = 0.01  # of the field: how far from where it was sent an instrument may rest


def require_at(scope: Instrument, found: Any, wanted: Any, what: str) -> None:
    """Raise unless positions agree: to the bit of a twin, about of an instrument."""
    found, wanted = np.asarray(found), np.asarray(wanted, np.float64)
    sides = np.ptp(np.array(scope.describe().bounds), axis=1)
    slack = 0.0 if is_twin(scope) else SLACK
    near = found.shape == wanted.shape and np.all(abs(found - wanted) <= slack * sides)
    require(near, f"{what} is {found.tolist()}; it should be {wanted.tolist()}")


def require_sound(m: Measurement) -> None:
    """Raise unless a measurement is consistent in itself."""
    shape = tuple(len(axis) for axis in m.axes)
    for name, values in m.arrays.items():
        what = f"{m.call} gave {name!r}"
        require(values.shape == shape, f"{what} {values.shape}, with axes of {shape}")
        require(name in m.units and name in m.quantities, f"{what} without a unit")
    require(m.time_s[0] <= m.time_s[1], f"{m.call} ended before it began: {m.time_s}")
    require(m.dose >= 0, f"{m.call} added the dose {m.dose}")
    require(m.asked.shape == m.actual.shape, f"{m.call}: asked and actual differ")
    rebuilt = from_wire(Measurement, to_wire(m))
    require(same(rebuilt, m), f"a client would see another {m.call}")


@law()
def it_rests_where_it_was_sent(scope: Instrument) -> None:
    """`move_to` returns (x, y) in that order, and `state` tells the same."""
    for position in (somewhere(scope), place(scope, 0.0, 1.0), place(scope, 1.0, 0.0)):
        at = scope.move_to(position)
        require_at(scope, at, position, "where move_to came to rest")
        require_at(scope, scope.state().position, at, "state().position")
        event = scope.events(scope.state().operations - 1)[-1]
        require_at(scope, event.get("actual"), at, "where events() tell it moved")


@law()
def its_description_stays_when_it_acts(scope: Instrument) -> None:
    """Moving, setting and measuring leave `describe` as it was."""
    before = to_wire(scope.describe())
    scope.move_to(somewhere(scope))
    read(scope)
    require(to_wire(scope.describe()) == before, "describe() is another afterwards")


@law()
def a_measurement_is_what_its_mode_says(scope: Instrument) -> None:
    """Each mode gives the arrays, dtype, unit, axes and dwell of its description."""
    for mode in modes(scope):
        at = scope.move_to(somewhere(scope))
        m = scope.measure(mode.name)
        what = f"measure({mode.name!r})"
        require((m.call, m.mode) == ("measure", mode.name), f"{what} gave {m.mode!r}")
        require(tuple(m.arrays) == mode.channels, f"{what} gave {tuple(m.arrays)}")
        require(m.name == mode.channels[0], f"{what} gave {m.name!r} first")
        require(m.values.dtype == mode.dtype, f"{what} gave {m.values.dtype}")
        require(m.axes == mode.axes, f"{what} gave other axes than it describes")
        require(m.units[m.name] == mode.units, f"{what} is in {m.units[m.name]!r}")
        usual = mode.dwell_s.default
        require(m.dwell_s == usual, f"{what} took {m.dwell_s} s, not {usual} s")
        require_at(scope, m.actual, at, f"where {what} was taken")
        require_sound(m)
    require(scope.measure().mode == modes(scope)[0].name, "measure() is another mode")


@law()
def the_parameters_of_a_mode_are_used(scope: Instrument) -> None:
    """Each parameter takes another value in its range, and the answer tells it."""
    found = [(mode, p) for mode in modes(scope) for p in mode.parameters]
    if not found:
        raise Skip("no mode has parameters")
    scope.move_to(somewhere(scope))
    for mode, p in found:
        value = nudged(p, p.default)
        m = scope.measure(mode.name, **changed(p.name, value))
        what = f"measure({mode.name!r}, {p.name}={value})"
        require(m.info.get(p.name) == value, f"{what} tells {m.info.get(p.name)}")
        require_sound(m)


@law()
def a_frame_is_what_the_channels_say(scope: Instrument) -> None:
    """`scan` gives every channel as (y, x), from edge to edge of the bounds."""
    said = names(scope)
    spec, frame = scope.describe(), scope.scan(shape=SHAPE)
    require(list(frame.arrays) == said, f"scan gave {list(frame.arrays)}, not {said}")
    for channel in spec.channels:
        values = frame.arrays[channel.name]
        require(values.shape == SHAPE, f"{channel.name} is {values.shape}, not {SHAPE}")
        require(values.dtype == channel.dtype, f"{channel.name} is {values.dtype}")
        units = frame.units[channel.name]
        require(units == channel.units, f"{channel.name} is in {units!r}")
    _require_axes(scope, frame, spec.bounds)
    some = [said[-1], said[0]] if len(said) > 1 else said
    chosen = list(scope.scan(shape=(1, 2), channels=some).arrays)
    require(chosen == some, f"scan(channels={some}) gave {chosen}")


@law()
def a_frame_covers_the_region_that_was_asked_for(scope: Instrument) -> None:
    """The outermost pixels lie on the edges of the region, x across and y down."""
    names(scope)
    (x_low, y_low), (x_high, y_high) = place(scope, 0.2, 0.5), place(scope, 0.4, 0.9)
    region = ((x_low, x_high), (y_low, y_high))
    frame = scope.scan(region, SHAPE)
    _require_axes(scope, frame, region)
    require_at(scope, scope.state().position, (x_high, y_high), "the probe at the end")
    back = scope.scan(region, SHAPE, backward=True)
    _require_axes(scope, back, region)
    require_at(scope, scope.state().position, (x_low, y_high), "the end, backwards,")


def _require_axes(scope: Instrument, frame: Measurement, region: Any) -> None:
    require_sound(frame)
    said = [axis.name for axis in frame.axes]
    require(said == ["y", "x"], f"the axes of a frame are {said}")
    ends = [frame.axis(name).values[[0, -1]] for name in "xy"]
    require_at(scope, np.array(ends).T, np.array(region).T, "the extent of a frame")


@law()
def a_trace_reads_each_point_and_ends_at_the_last(scope: Instrument) -> None:
    """`trace` gives a value a point, tells where, and leaves the probe at the end."""
    said = names(scope)
    points = [place(scope, 0.5, 0.5), somewhere(scope), place(scope, 0.9, 0.2)]
    trace = scope.trace(points)
    require(list(trace.arrays) == said, f"trace gave {list(trace.arrays)}, not {said}")
    require(trace.values.shape == (3,), f"3 points gave {trace.values.shape} values")
    require_at(scope, trace.actual, points, "where the trace was read")
    require_at(scope, scope.state().position, points[-1], "the end of the trace")
    require_sound(trace)


@law()
def settings_are_what_they_were_set_to(scope: Instrument) -> None:
    """`configure` changes the one that is named, answers with all, and keeps it."""
    spec = scope.describe()
    if not spec.settings:
        raise Skip("it has no settings")
    usual: dict[str, Any] = dict(scope.state().settings)
    try:
        for p in spec.settings:
            wanted = {**usual, p.name: nudged(p, usual[p.name])}
            answer = scope.configure(**changed(p.name, wanted[p.name]))
            found = dict(scope.state().settings)
            exact = is_twin(scope)
            for name, value in wanted.items():
                for got in (answer[name], found[name]):
                    ok = got == value if exact else close(got, value, rel=1e-2)
                    require(ok, f"{name} is {got} and was set to {value}")
            scope.configure(**changed(p.name, usual[p.name]))
    finally:
        scope.configure(**usual)


@law()
def what_it_cannot_do_is_said(scope: Instrument) -> None:
    """Without a pulse, `pulse` says that it has none, and nothing is done."""
    if scope.describe().pulses:
        raise Skip("it has pulses")
    before = still(scope)
    refused(NotSupported, scope.pulse)
    require_still(scope, before, "a pulse that is not there")


@law()
def a_pulse_acts_where_the_probe_is(scope: Instrument) -> None:
    """Each pulse tells its name, place, dwell, time, dose and id, and is an event."""
    for one in pulses(scope):
        at, rid = scope.move_to(somewhere(scope)), new_id("pulse")
        before = scope.state()
        told = scope.pulse(one.name, rid=rid)
        what, usual = f"pulse({one.name!r})", one.dwell_s.default
        require(told["pulse"] == one.name, f"{what} tells {told['pulse']!r}")
        require(told["rid"] == rid, f"{what} tells the id {told['rid']!r}")
        require(told["dwell_s"] == usual, f"{what} took {told['dwell_s']}, not {usual}")
        require_at(scope, told["position"], at, f"where {what} was")
        event = scope.events(before.operations)[-1]
        known = event["call"], event["actual"], event["dose"]
        wanted = "pulse", told["position"], told["dose"]
        require(known == wanted, f"the event of {what} is {known}, not {wanted}")
        for p in one.parameters:
            scope.pulse(one.name, **changed(p.name, nudged(p, p.default)))
    first = scope.pulse()["pulse"]
    require(first == pulses(scope)[0].name, f"pulse() is {first!r}, not the first")
