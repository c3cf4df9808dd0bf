"""Where the dose went: what an instrument's events tell, as a map over the field.

Pure functions of `Instrument.events()`, so that the map of a twin, of a twin behind a
URI and of a real microscope are made alike. How much dose an operation adds is in
`aemtwin.instruments.planning`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange
from aemtwin.instruments import checks, planning
from aemtwin.specs import Bounds, InstrumentSpec

Array = NDArray[np.float64]
CELLS = 2**24  # of a map, at most
FINE = 4  # points a cell that stand for a turned frame
SPOTS = 1024  # such points along one side, at most


def dose_map(
    events: Iterable[Mapping[str, Any]], bounds: Bounds, shape: tuple[int, int]
) -> Array:
    """Fold what was done into dose per area.

    `measure` and `pulse` give theirs to the cell that holds the spot, a trace to that
    of each of its points, a frame evenly to its region: exactly where it is not turned,
    by points a quarter of a cell apart where it is. What was stopped counts with the
    dose that it had added; of a frame that is spread over the whole region all the
    same. The sum over cells times their area is the dose so far, but for what lies
    outside `bounds`.

    Args:
        events: `Instrument.events()`, all of them, in order.
        bounds: ((x low, x high), (y low, y high)) of the map, metres.
        shape: Rows and columns of its cells, which tile the bounds.

    Returns:
        (rows, columns), both ascending, in `describe().dose_units` per square metre.

    Raises:
        OutOfRange: If the bounds enclose no area, or there are too many cells.

    >>> one = {"call": "measure", "arguments": {}, "actual": [1.0, 1.0], "dose": 8.0}
    >>> dose_map([one], ((0.0, 4.0), (0.0, 2.0)), (1, 2)).tolist()
    [[2.0, 0.0]]
    """
    rows, columns = checks.shape("dose_map", shape, CELLS)
    box = checks.floats("dose_map", "bounds", bounds, "(2, 2)", 2)
    if box.shape != (2, 2) or not (box[:, 0] < box[:, 1]).all():
        raise OutOfRange(
            f"dose_map got the bounds {bounds}; they are ((x low, x high), (y low, "
            "y high)) in metres, each low below its high, so that cells have an area."
        )
    edges = tuple(
        np.linspace(low, high, n + 1)
        for (low, high), n in zip(box, (columns, rows), strict=True)
    )
    total = np.zeros((rows, columns))
    at = box.mean(axis=1)  # where a twin's probe is at time zero
    for event in events:
        dose, arguments = float(event.get("dose") or 0.0), event["arguments"]
        call, done = str(event["call"]), "error" not in event
        if call in ("move_to", "measure", "pulse"):
            if event.get("actual") is not None:
                at = np.asarray(event["actual"], np.float64)
            total += dose * _spots(at[None, :], edges)
        elif call == "trace":
            points = np.asarray(arguments["points"], np.float64)
            total += dose * _spots(points, edges) / len(points)
            at = points[-1] if done else at
        elif call == "scan":
            region: Any = event.get("extent") or arguments.get("region") or box
            angle = float(arguments.get("rotation") or 0.0)
            total += dose * _frame(region, angle, edges)
            last = np.array(region, np.float64)[:, 1]
            at = planning.turned(last[None, :], region, angle)[0] if done else at
    area = np.diff(edges[0])[None, :] * np.diff(edges[1])[:, None]
    return np.asarray(total / area)


def _index(values: Array, edges: Array) -> NDArray[np.int64]:
    """Return the cell of each value, -1 where there is none; the last has its edge."""
    index = np.searchsorted(edges, values, side="right") - 1
    index[values == edges[-1]] = len(edges) - 2
    return np.where(index < len(edges) - 1, index, -1)


def _spots(points: Array, edges: tuple[Array, ...]) -> Array:
    """Count points (k, 2) in cells, (rows, columns)."""
    column, row = (_index(points[:, i], edges[i]) for i in (0, 1))
    columns, rows = (len(edge) - 1 for edge in edges)
    inside = (column >= 0) & (row >= 0)
    index = row[inside] * columns + column[inside]
    found = np.bincount(index, minlength=rows * columns).reshape(rows, columns)
    return found.astype(np.float64)


def _frame(region: Any, angle: float, edges: tuple[Array, ...]) -> Array:
    """Return the share of a frame's dose in every cell, (rows, columns)."""
    (x_low, x_high), (y_low, y_high) = region
    if angle == 0:
        x, y = _overlap(x_low, x_high, edges[0]), _overlap(y_low, y_high, edges[1])
        return y[:, None] * x[None, :]
    fine = min(float(np.diff(edge).min()) for edge in edges) / FINE
    sides = []
    for low, high in ((x_low, x_high), (y_low, y_high)):
        n = max(1, min(SPOTS, math.ceil((high - low) / fine - 1e-6)))
        sides.append(low + (high - low) * (np.arange(n) + 0.5) / n)
    grid = np.meshgrid(*sides)
    points = np.column_stack([axis.ravel() for axis in grid])
    points = planning.turned(points, region, angle)
    box = [(float(edge[0]), float(edge[-1])) for edge in edges]
    points = checks.rounded_inside(points, (box[0], box[1]))
    return _spots(points, edges) / len(points)


def _overlap(low: float, high: float, edges: Array) -> Array:
    """Return the share of the interval in each cell between `edges`."""
    if high == low:  # a frame of one line: all of it in one row of cells
        here = np.arange(len(edges) - 1) == _index(np.array([low]), edges)
        return np.asarray(here, np.float64)
    inner = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.maximum(inner, 0.0) / (high - low))


def raster(spec: InstrumentSpec) -> tuple[int, int]:
    """Return rows and columns of the first mode or channel that has a raster."""
    shapes = [mode.shape for mode in spec.modes] + [c.shape for c in spec.channels]
    return next((shape for shape in shapes if shape is not None), (64, 64))
