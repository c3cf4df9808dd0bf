"""Laws of what never waits and never acts: description, state, events, durations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aemtwin.codec import from_wire, to_wire
from aemtwin.instruments.protocol import Instrument, State
from aemtwin.specs import PROTOCOL, InstrumentSpec, Parameter
from aemtwin.testing.laws import (
    Laws,
    dwells,
    names,
    require,
    require_still,
    somewhere,
    still,
)

ASKING: Laws[Instrument] = Laws()
law = ASKING


@law(acts=False)
def it_satisfies_the_protocol(scope: Instrument) -> None:
    """Every call of the protocol is there, and the major version is ours."""
    require(isinstance(scope, Instrument), "a call of the protocol is missing")
    major = scope.describe().protocol.split(".")[0]
    require(
        major == PROTOCOL.split(".")[0],
        f"it speaks {scope.describe().protocol}, this suite {PROTOCOL}",
    )


@law(acts=False)
def its_description_makes_sense(scope: Instrument) -> None:
    """Names are unique, ranges hold their defaults, rasters lie inside the bounds."""
    spec = scope.describe()
    for axis, (low, high) in zip("xy", spec.bounds, strict=True):
        finite = math.isfinite(low) and math.isfinite(high)
        require(finite and low <= high, f"bounds of {axis} are {low} to {high}")
    for what, said in (
        ("channel", [channel.name for channel in spec.channels]),
        ("mode", [mode.name for mode in spec.modes]),
        ("setting", [setting.name for setting in spec.settings]),
        ("pulse", [pulse.name for pulse in spec.pulses]),
    ):
        require(len(said) == len(set(said)), f"a {what} is there twice: {said}")
        require(all(said), f"a {what} has no name: {said}")
    for parameter in _parameters(spec):
        _require_range(parameter)
    low, high = spec.limits.dwell_s
    require(0 < low <= high, f"limits.dwell_s is {low} to {high}")
    require(spec.limits.points >= 1, f"limits.points is {spec.limits.points}")
    for mode in spec.modes:
        require(mode.channels, f"mode {mode.name!r} returns nothing")
        require(np.dtype(mode.dtype).kind in "iufcb", f"{mode.name}: {mode.dtype}")
        require(mode.axes, f"mode {mode.name!r} has no axis; is it a channel?")
    extents = {c.name: c.extent for c in spec.channels}
    extents |= {mode.name: mode.extent for mode in spec.modes}
    for name, extent in extents.items():
        if extent is None:
            continue
        for (low, high), (least, most) in zip(extent, spec.bounds, strict=True):
            inside = least <= low <= high <= most
            require(inside, f"{name!r} extends {extent}, beyond {spec.bounds}")


def _parameters(spec: InstrumentSpec) -> list[Parameter]:
    found = list(spec.settings)
    for mode in spec.modes:
        found += [mode.dwell_s, *mode.parameters]
    for pulse in spec.pulses:
        found += [pulse.dwell_s, *pulse.parameters]
    return found


def _require_range(p: Parameter) -> None:
    require(
        p.low <= p.default <= p.high,
        f"{p.name} is {p.default} {p.units} by default, outside {p.low} to {p.high}",
    )


@law(acts=False)
def its_description_crosses_the_wire_whole(scope: Instrument) -> None:
    """What a client rebuilds of the description is the description."""
    spec = scope.describe()
    rebuilt = from_wire(InstrumentSpec, to_wire(spec))
    require(to_wire(rebuilt) == to_wire(spec), "a client would see another description")


@law(acts=False)
def its_description_is_the_same_each_time(scope: Instrument) -> None:
    """`describe` is constant for a run."""
    one, other = to_wire(scope.describe()), to_wire(scope.describe())
    require(one == other, "describe() answered twice, and not alike")


@law(acts=False)
def its_state_is_of_what_it_describes(scope: Instrument) -> None:
    """Every setting has a value in its range, and the probe is inside the bounds."""
    spec, state = scope.describe(), scope.state()
    said = {p.name for p in spec.settings}
    require(
        set(state.settings) == said,
        f"describe() has the settings {sorted(said)}, state() {sorted(state.settings)}",
    )
    for p in spec.settings:
        value = state.settings[p.name]
        require(p.low <= value <= p.high, f"{p.name} is {value}, not {p.low}-{p.high}")
    for axis, value, (low, high) in zip("xy", state.position, spec.bounds, strict=True):
        require(low <= value <= high, f"{axis} is {value}, outside {low} to {high}")
    require(state.time_s >= 0 and state.dose >= 0, f"time or dose below 0: {state}")
    rebuilt = from_wire(State, to_wire(state))
    require(to_wire(rebuilt) == to_wire(state), "a client would see another state")


@law(acts=False)
def events_are_told_from_any_number_on(scope: Instrument) -> None:
    """`events(after=n)` leaves out the first n; there are as many as operations."""
    events, state = scope.events(), scope.state()
    require(
        len(events) == state.operations,
        f"state() tells of {state.operations} operations, events() of {len(events)}",
    )
    numbers = [event["n"] for event in events]
    counted = list(range(1, len(events) + 1))
    require(numbers == counted, f"events are numbered {numbers}")
    for after in {0, len(events) // 2, len(events), len(events) + 7}:
        later = scope.events(after)
        require(later == events[after:], f"events({after}) is not what follows {after}")


@law(acts=False)
def asking_how_long_does_nothing(scope: Instrument) -> None:
    """`duration` answers in seconds, above zero, and the instrument stays as it is."""
    before = still(scope)
    call, (low, high) = dwells(scope)
    position = somewhere(scope)
    more: dict[str, Any] = {"points": [position]} if call == "trace" else {}
    if call == "trace":
        names(scope)
    short, long = (
        scope.duration({"call": call, "arguments": {**more, "dwell_s": dwell}})
        for dwell in (low, high)
    )
    require(0 < short <= long, f"{low} s of {call} take {short} s, {high} s {long} s")
    there = scope.duration({"call": "move_to", "arguments": {"position": position}})
    require(there >= 0, f"to move takes {there} s")
    require_still(scope, before, "asking for durations")


@law(acts=False)
def stop_answers_when_nothing_is_under_way(scope: Instrument) -> None:
    """Anyone may stop at any time; with nothing under way it changes nothing."""
    before = still(scope)
    state = scope.stop()
    require(state.busy == "", f"after stop() it is busy with {state.busy!r}")
    require_still(scope, before, "stop()")
