"""What a call asks for, before it is done: arguments complete, pixels placed, timed.

Pure functions of `InstrumentSpec`, so that a twin, a driver and a client agree on what
is refused and how long a thing takes. `aemtwin.instruments.twin` does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, WrongType, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.kinds import FLUX, SETTLE, SPEED, Kind
from aemtwin.specs import Bounds, InstrumentSpec

CALLS = ("configure", "move_to", "scan", "trace", "measure", "pulse")
Arguments = dict[str, Any]


def complete(
    spec: InstrumentSpec, kind: Kind, call: str, given: Mapping[str, Any]
) -> Arguments:
    """Check the arguments of an acting call and fill in the defaults.

    Args:
        spec: What the instrument can do.
        kind: Its usual times.
        call: One of `CALLS`.
        given: The arguments as the caller gave them; None stands for a default.

    Returns:
        All arguments of the call, as JSON values.

    Raises:
        AemtwinError: The kind that fits, if anything is not as it should be.
    """
    if not isinstance(given, Mapping):
        raise WrongType(f"{call} takes its arguments by name; got {given!r}.")
    if call == "configure":
        return dict(checks.parameters(call, given, spec.settings))
    takes = {
        "move_to": ("position",),
        "scan": ("region", "shape", "channels", "dwell_s", "rotation", "backward"),
        "trace": ("points", "channels", "dwell_s"),
        "measure": None,
        "pulse": None,
    }
    if call not in takes:
        raise unknown("call", call, CALLS, "See the instrument protocol.")
    names = takes[call]
    for name in given:
        if names is not None and name not in names:
            raise unknown(f"{call} argument", name, names, "See the protocol.")
    return _COMPLETE[call](spec, kind, given)


def dose_of(
    kind: Kind,
    settings: Mapping[str, float],
    call: str,
    arguments: Mapping[str, Any],
) -> float:
    """Return what a whole checked call adds to the dose, in the units of its kind.

    That is the time on the specimen, or what arrives in it at the current or the power
    that is set.
    """
    if call not in ("scan", "trace", "measure", "pulse"):
        return 0.0
    spots = 1
    if call == "scan":
        spots = math.prod(arguments["shape"])
    elif call == "trace":
        spots = len(arguments["points"])
    at_a_spot = float(arguments["dwell_s"])
    if kind.flux:
        at_a_spot = settings[kind.flux] * at_a_spot / FLUX[kind.flux]
    return at_a_spot * spots


def exposure_of(
    spec: InstrumentSpec, settings: Mapping[str, float], dwell_s: float, usual_s: float
) -> float:
    """Return dwell times current over the usual ones: what counts are in proportion to.

    Where light counts, its power takes the place of the current; where neither can be
    set, it is the dwell over the usual one.
    """
    exposure = dwell_s / usual_s
    for setting in spec.settings:
        if setting.name in FLUX:
            exposure *= settings[setting.name] / setting.default
    return exposure


def _move_to(spec: InstrumentSpec, kind: Kind, given: Mapping[str, Any]) -> Arguments:
    return {"position": checks.position("move_to", given.get("position"), spec.bounds)}


def _scan(spec: InstrumentSpec, kind: Kind, given: Mapping[str, Any]) -> Arguments:
    channels = _channels(spec, "scan", given)
    native = given.get("region") is None and given.get("shape") is None
    rotation = checks.number(
        "scan", "rotation", _or(given.get("rotation"), 0.0), -1e6, 1e6, "rad"
    )
    own = spec.channel(channels[0]).shape
    if given.get("shape") is not None:
        shape = checks.shape("scan", given["shape"], spec.limits.points)
    else:
        shape = checks.shape("scan", own or (256, 256), spec.limits.points)
    arguments = {
        "region": checks.region("scan", given.get("region"), spec.bounds),
        "shape": shape,
        "channels": channels,
        "dwell_s": _dwell(spec, "scan", given, kind.pixel_dwell_s),
        "rotation": rotation,
        "native": native and rotation == 0 and own is not None,
    }
    if checks.flag("scan", "backward", given.get("backward")):
        arguments["backward"] = True  # said only where it is so: older ids stay valid
    if not arguments["native"]:
        corners = _corners(arguments)
        if rotation != 0:  # turning rounds: a corner on the edge may land beside it
            corners = checks.rounded_inside(corners, spec.bounds)
        _require_corners(corners, rotation, spec.bounds)
    return arguments


def _require_corners(
    corners: NDArray[np.float64], rotation: float, bounds: Bounds
) -> None:
    try:
        checks.require_inside("scan", corners, bounds)
    except OutOfRange as error:
        if rotation == 0:
            raise
        raise OutOfRange(
            f"scan got rotation = {rotation:g} rad ({math.degrees(rotation):.4g} "
            f"degrees), which turns a corner of the region out of reach: {error} "
            "Rotation is in radians; a smaller region leaves room to turn."
        ) from None


def _trace(spec: InstrumentSpec, kind: Kind, given: Mapping[str, Any]) -> Arguments:
    points = checks.points("trace", given.get("points"))
    if len(points) > spec.limits.points:
        raise OutOfRange(
            f"trace got {len(points)} points; at most {spec.limits.points} are allowed "
            "in one trace. Take it in parts."
        )
    checks.require_inside("trace", points, spec.bounds)
    return {
        "points": points.tolist(),
        "channels": _channels(spec, "trace", given),
        "dwell_s": _dwell(spec, "trace", given, kind.pixel_dwell_s),
    }


def _measure(spec: InstrumentSpec, kind: Kind, given: Mapping[str, Any]) -> Arguments:
    mode = spec.mode(given.get("mode"))
    parameters = {k: v for k, v in given.items() if k not in ("mode", "dwell_s")}
    dwell = mode.dwell_s
    asked = given.get("dwell_s")
    return {
        "mode": mode.name,
        "dwell_s": dwell.default
        if asked is None
        else checks.number("measure", "dwell_s", asked, dwell.low, dwell.high, "s"),
        **{p.name: p.default for p in mode.parameters},
        **checks.parameters("measure", parameters, mode.parameters),
    }


def _pulse(spec: InstrumentSpec, kind: Kind, given: Mapping[str, Any]) -> Arguments:
    pulse = spec.pulse(given.get("name"))
    parameters = {k: v for k, v in given.items() if k not in ("name", "dwell_s")}
    dwell, asked = pulse.dwell_s, given.get("dwell_s")
    return {
        "name": pulse.name,
        "dwell_s": dwell.default
        if asked is None
        else checks.number("pulse", "dwell_s", asked, dwell.low, dwell.high, "s"),
        **{p.name: p.default for p in pulse.parameters},
        **checks.parameters("pulse", parameters, pulse.parameters),
    }


_COMPLETE = {
    "move_to": _move_to,
    "scan": _scan,
    "trace": _trace,
    "measure": _measure,
    "pulse": _pulse,
}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _channels(spec: InstrumentSpec, call: str, given: Mapping[str, Any]) -> list[str]:
    allowed = [c.name for c in spec.channels]
    return checks.names(call, "channel", given.get("channels"), allowed)


def _dwell(
    spec: InstrumentSpec, call: str, given: Mapping[str, Any], usual: float
) -> float:
    value = _or(given.get("dwell_s"), usual)
    return checks.number(call, "dwell_s", value, *spec.limits.dwell_s, "s")


def frame_axes(
    arguments: Mapping[str, Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x (columns,) and y (rows,) of a frame before its rotation, metres."""
    rows, columns = arguments["shape"]
    (x_low, x_high), (y_low, y_high) = arguments["region"]
    return _spread(x_low, x_high, columns), _spread(y_low, y_high, rows)


def _spread(low: float, high: float, n: int) -> NDArray[np.float64]:
    return np.array([(low + high) / 2]) if n == 1 else np.linspace(low, high, n)


def turned(
    points: NDArray[np.float64], region: Sequence[Sequence[float]], rotation: float
) -> NDArray[np.float64]:
    """Turn points (k, 2) about the centre of `region`, counterclockwise, radians."""
    if rotation == 0:
        return points
    centre = np.mean(region, axis=1)
    cos, sin = math.cos(rotation), math.sin(rotation)
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.asarray((points - centre) @ turn.T + centre)


def _corners(arguments: Mapping[str, Any]) -> NDArray[np.float64]:
    x, y = frame_axes(arguments)
    ends = np.array([(i, j) for i in x[[0, -1]] for j in y[[0, -1]]])
    return turned(ends, arguments["region"], arguments["rotation"])


def frame_points(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    arguments: Mapping[str, Any],
) -> NDArray[np.float64]:
    """Return where every pixel of a frame lies, row by row, (rows * columns, 2), m."""
    grid_x, grid_y = np.meshgrid(x, y)
    points = np.column_stack([grid_x.ravel(), grid_y.ravel()])
    return turned(points, arguments["region"], arguments["rotation"])


def line_s(kind: Kind, arguments: Mapping[str, Any]) -> float:
    """Return how long a line of a frame takes, turning round included, seconds."""
    _, columns = arguments["shape"]
    return float(columns * arguments["dwell_s"] + kind.line_overhead_s)


def duration_s(
    kind: Kind,
    settings: Mapping[str, float],
    position: NDArray[np.float64],
    call: str,
    arguments: Mapping[str, Any],
) -> float:
    """Return how long a checked call takes, moving there included, seconds."""

    def travel(to: Any) -> float:
        return math.dist(to, position.tolist()) / settings[SPEED] + settings[SETTLE]

    if call == "configure":
        return float(settings[SETTLE])
    if call == "move_to":
        return travel(arguments["position"])
    if call in ("measure", "pulse"):
        return float(arguments["dwell_s"])
    dwell = float(arguments["dwell_s"])
    if call == "scan":
        rows, _ = arguments["shape"]
        line = line_s(kind, arguments)
        first = _corners(arguments)[2 if arguments.get("backward") else 0]
        return float(travel(first) + rows * line)
    points = np.asarray(arguments["points"], np.float64)
    path_m = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    moving = travel(points[0]) + path_m / settings[SPEED]
    return float(moving + len(points) * dwell)
