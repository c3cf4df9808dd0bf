"""Laws of bad input: a typed error that tells how to go on, and nothing has changed.

And of its likeness: what only looks odd, such as NumPy's numbers, is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from aemtwin.codec import to_wire
from aemtwin.errors import AemtwinError, NotSupported, TruthRefused
from aemtwin.instruments.protocol import Instrument
from aemtwin.testing.cases import Case, cases
from aemtwin.testing.laws import (
    Laws,
    Skip,
    changed,
    names,
    new_id,
    place,
    require,
    somewhere,
)

REFUSING: Laws[Instrument] = Laws()
law = REFUSING
LEAST = 30  # characters of a message that can tell what, what is allowed, and how on
TOLD = 8  # breaches that are told; the others are counted


def breaches(scope: Instrument, some: Iterable[Case]) -> list[str]:
    """Return a sentence for each case that is not refused as it should be."""
    found = []
    before = _look(scope)
    for case in some:
        breach = _breach(scope, case)
        now = _look(scope)
        if now != before:
            breach = breach or "is refused, and has changed the state"
            before = now
        if breach:
            found.append(f"{case} {breach}")
    return found


def _look(scope: Instrument) -> Any:
    """Return all that a refused call could change, at the least cost."""
    state = scope.state()
    tell = getattr(scope, "state_hash", None)
    seen = to_wire(dataclasses.replace(state, busy=""), "list")
    return seen, len(scope.events(state.operations)), tell() if tell else ""


def _breach(scope: Instrument, case: Case) -> str:
    wanted = " or ".join(kind.__name__ for kind in case.kinds)
    try:
        getattr(scope, case.call)(**case.arguments)
    except AemtwinError as error:
        if type(error) not in case.kinds:
            return f"raised {error.code}, not {wanted}: {error}"
        if not str(error).endswith(".") or len(str(error)) <= LEAST:
            return f"says too little: {error}"
    except Exception as error:  # whatever else it raises is the breach
        return f"raised {type(error).__name__}, not {wanted}: {error}"
    else:
        return f"was accepted; it should raise {wanted}"
    return ""


def tells_truth(scope: Instrument) -> bool:
    """Say whether this instrument answers `truth`."""
    tell = getattr(scope, "truth", None)
    if tell is None:
        return False
    try:
        tell(mode="", points=[])
    except (NotSupported, TruthRefused):
        return False
    except AemtwinError:
        return True
    return True


def _hold(scope: Instrument, calls: tuple[str, ...]) -> None:
    everything = cases(scope.describe(), truth="truth" in calls and tells_truth(scope))
    some = [case for case in everything if case.call in calls]
    if not some:
        raise Skip(f"it has no {' or '.join(calls)}")
    found = breaches(scope, some)
    if found:
        told = "; ".join(found[:TOLD])
        more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
        raise AssertionError(f"{len(found)} of {len(some)} bad calls: {told}{more}")


@law()
def bad_moves_and_settings_are_refused(scope: Instrument) -> None:
    """What is no position or no setting in range is a typed error and does nothing."""
    _hold(scope, ("move_to", "configure"))


@law()
def bad_frames_and_traces_are_refused(scope: Instrument) -> None:
    """So is what is no shape, region, path, channel, dwell or turn."""
    _hold(scope, ("scan", "trace"))


@law()
def bad_measurements_and_pulses_are_refused(scope: Instrument) -> None:
    """So is what is no mode or pulse, no dwell, and no parameter of it."""
    _hold(scope, ("measure", "pulse"))


@law(acts=False)
def bad_questions_are_refused(scope: Instrument) -> None:
    """So is what is no operation to ask the duration of, no event, no truth."""
    _hold(scope, ("duration", "events", "truth"))


@law()
def what_only_looks_odd_is_taken(scope: Instrument) -> None:
    """Lists, tuples, arrays and NumPy's numbers are positions, shapes and times."""
    spec, at = scope.describe(), somewhere(scope)
    single = np.array(place(scope, 0.5, 0.5), np.float32)
    for position in (at, tuple(at), np.array(at), [np.float64(v) for v in at], single):
        found = scope.move_to(position, rid=new_id())
        sides = np.ptp(np.array(spec.bounds), axis=1)
        near = abs(found - np.array(position, np.float64)) <= 0.01 * sides
        require(near.all(), f"move_to({position!r}) went to {found.tolist()}")
    for p in spec.settings:
        value = scope.state().settings[p.name]
        same: Any
        for same in (np.float64(value), np.array(value)):
            scope.configure(**changed(p.name, same))
    for mode in spec.modes:
        usual = mode.dwell_s.default
        some: list[tuple[float, Any]] = [(usual, np.array(usual))]
        some += [(usual, np.float64(usual))]
        some += [(float(np.float32(usual)), np.float32(usual))]
        for want, dwell in some:
            if mode.dwell_s.low <= want <= mode.dwell_s.high:
                took = scope.measure(np.str_(mode.name), dwell).dwell_s
                require(took == want, f"measure(dwell_s={dwell!r}) took {took} s")
        scope.measure(mode.name, None)


@law()
def what_only_looks_odd_is_a_frame(scope: Instrument) -> None:
    """So are the shapes, regions and channels of frames and traces."""
    said, (low, high) = names(scope), np.array(scope.describe().bounds).T
    shapes = ((2, 1), [2, 1], np.array([2, 1]), (np.int64(2), np.uint8(1)))
    for shape in shapes:
        got = scope.scan(shape=shape).values.shape  # type: ignore[arg-type]
        require(got == (2, 1), f"scan(shape={shape!r}) gave {got}")
    region = tuple(zip(low.tolist(), high.tolist(), strict=True))
    alike: Any
    for alike in (region, [list(pair) for pair in region], np.array(region)):
        ends = scope.scan(alike, (1, 2)).axis("x").values.tolist()
        near = np.allclose(ends, [low[0], high[0]], rtol=1e-6)
        require(near, f"scan({alike!r}) runs from {ends[0]} to {ends[1]}")
    some: Any
    for some in (said[0], [said[0]], (said[0],), [said[0]] * 2):
        got_names = list(scope.scan(shape=(1, 1), channels=some).arrays)
        require(got_names == said[:1], f"scan(channels={some!r}) gave {got_names}")
    for turn in (0, np.float32(0), np.array(0.0), None):
        scope.scan(shape=(1, 1), rotation=turn, backward=np.False_)  # type: ignore[arg-type]
    at = somewhere(scope)
    for points in ([at], (tuple(at),), np.array([at]), np.array([at]).T.copy().T):
        got_points = scope.trace(points).actual.shape
        require(got_points == (1, 2), f"trace({points!r}) read {got_points} points")
