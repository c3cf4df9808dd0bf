"""Where a request takes the probe, before it goes: outline, way, speed, dwells.

A pure function of a checked request, for limits that hold for any instrument. The
readings of a twin, each with its place and time, are `aemtwin.instruments.paths`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments import planning
from aemtwin.instruments.protocol import Request
from aemtwin.specs import InstrumentSpec

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Route:
    """What a request does with the probe."""

    corners: Array  # (k, 2) m: what it does lies within their convex hull
    rounds: bool = False  # they were computed: on an edge they may land beside it
    path_m: float = 0.0  # the whole way, from where the probe is, turning back included
    line_m_s: float = 0.0  # from pixel to pixel, or point to point, in one dwell
    spots: int = 0  # how many dwells


def route_of(spec: InstrumentSpec, request: Request, position: Array) -> Route:
    """Return where a checked request takes the probe from `position`, (2,), metres."""
    call, given = request.call, request.arguments
    if call == "configure":
        return Route(np.empty((0, 2)))
    if call == "move_to":
        to = np.array([given["position"]], np.float64)
        return Route(to, path_m=_length(np.vstack([position, to])))
    if call == "trace":
        points = np.asarray(given["points"], np.float64)
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        return Route(
            points,
            path_m=_length(np.vstack([position, points])),
            line_m_s=_speed(float(np.max(steps, initial=0.0)), given["dwell_s"]),
            spots=len(points),
        )
    if call == "scan":
        return _frame(spec, request, position)
    return Route(position[None, :], rounds=True, spots=1)  # measure, pulse: where it is


def _frame(spec: InstrumentSpec, request: Request, position: Array) -> Route:
    """Lines follow each other from low y; the probe goes back after each but the last.

    A recording's own pixels lie in its extent, which may be less than the bounds.
    """
    given = dict(request.arguments)
    own = spec.channel(given["channels"][0]).extent
    if given["native"] and own is not None:
        given["region"] = own
    x, y = planning.frame_axes(given)
    ends = [0, -1]
    corners = planning.frame_points(x[ends], y[ends], given)
    start = corners[1 if given.get("backward") else 0]
    width, height = float(x[-1] - x[0]), float(y[-1] - y[0])
    rows, columns = given["shape"]
    down = height / max(rows - 1, 1)
    pitch = width / (columns - 1) if columns > 1 else down
    way = _length(np.vstack([position, start])) + rows * width
    return Route(
        corners,
        rounds=given["rotation"] != 0,
        path_m=way + (rows - 1) * math.hypot(width, down),
        line_m_s=_speed(pitch, given["dwell_s"]),
        spots=rows * columns,
    )


def _length(points: Array) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _speed(way_m: float, time_s: float) -> float:
    if way_m == 0.0:
        return 0.0
    return way_m / time_s if time_s > 0.0 else math.inf
