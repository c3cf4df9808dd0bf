"""Where the probe goes in one operation, and when: every reading has its time.

Pure functions of a checked request. The times are those that `planning.duration_s`
adds up to, so that a slow scan in a drifting instrument is bent as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.instruments import planning
from aemtwin.instruments.kinds import SPEED, Kind
from aemtwin.sample import Grid

Array = NDArray[np.float64]


class Path:
    """The readings of one operation, in the order of the data and not of time.

    Points and times are made when somebody asks for them: a frame without effects
    needs neither.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        points: Callable[[], Array],
        times_s: Callable[[], Array],
        last: Array,
        *,
        backward: bool = False,
        pixel_m: tuple[float, float] = (0.0, 0.0),
        turned: bool = False,
        spot_m: float = 0.0,
    ) -> None:
        self.shape = shape  # (rows, columns) of a frame, (k,) of a trace, () of a spot
        self.last = last  # (2,) m: where the probe is when all is read
        self.backward = backward  # each line is read from its far end
        self.pixel_m = pixel_m  # along columns and rows of a frame; 0: no raster
        self.turned = turned  # the frame is rotated
        self.spot_m = spot_m  # standard deviation of what a probe at rest doses
        self._points, self._times_s = points, times_s

    def __len__(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def points(self) -> Array:
        """Where each is asked for, (k, 2), metres."""
        return self._points()

    @cached_property
    def times_s(self) -> Array:
        """The middle of each on the instrument's clock, (k,), seconds."""
        return self._times_s()

    @property
    def lines(self) -> tuple[int, int]:
        """How many lines, and readings a line; a trace and a spot are one line."""
        return (1, *self.shape)[-2:] if self.shape else (1, 1)  # type: ignore[return-value]

    def area_m2(self, cell_m2: float) -> float:
        """Return what one reading doses: a pixel, or a spot, a cell being the least.

        Of a spot it is the area that the dose over its highest density would fill.
        """
        pixel = self.pixel_m[0] * self.pixel_m[1]
        return pixel or max(2.0 * math.pi * self.spot_m**2, cell_m2)

    def reached(self, share: float) -> Array:
        """Return where the probe is after a share of the readings, (2,)."""
        if share >= 1.0 or not self.shape:
            return self.last
        lines = self.in_time(self.points)
        points = lines.reshape(-1, 2)
        return np.asarray(points[min(int(share * len(points)), len(points) - 1)])

    def in_time(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (k, ...) as (lines, readings, ...), each line in the order of time."""
        lines = values.reshape(*self.lines, *values.shape[1:])
        return lines[:, ::-1] if self.backward else lines

    def as_data(self, lines: NDArray[Any]) -> NDArray[Any]:
        """Undo `in_time`: (lines, readings, ...) back to (k, ...)."""
        lines = lines[:, ::-1] if self.backward else lines
        return lines.reshape(len(self), *lines.shape[2:])


def frame(
    kind: Kind,
    arguments: Mapping[str, Any],
    raster: Grid,
    window: tuple[float, float],
) -> Path:
    """Return the path of a frame over a raster, before it is turned."""
    x, y = raster.x, raster.y
    dwell = float(arguments["dwell_s"])
    rows, columns = len(y), len(x)
    backward = bool(arguments.get("backward"))
    line_s = planning.line_s(kind, arguments)
    last = np.array([[x[0 if backward else -1], y[-1]]])

    def times() -> Array:
        begin = window[1] - rows * line_s
        along = (np.arange(columns) + 0.5) * dwell
        along = along[::-1] if backward else along
        lines = begin + np.arange(rows) * line_s
        return np.asarray((lines[:, None] + along[None, :]).ravel())

    return Path(
        (rows, columns),
        lambda: planning.frame_points(x, y, arguments),
        times,
        planning.turned(last, arguments["region"], arguments["rotation"])[0],
        backward=backward,
        pixel_m=raster.pixel,
        turned=bool(arguments["rotation"]),
    )


def trace(
    kind: Kind,
    settings: Mapping[str, float],
    arguments: Mapping[str, Any],
    window: tuple[float, float],
) -> Path:
    """Return the path along the points of a trace."""
    points = np.asarray(arguments["points"], np.float64)

    def times() -> Array:
        dwell = float(arguments["dwell_s"])
        steps = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
        ends = np.cumsum(steps / settings[SPEED] + dwell)
        return np.asarray(window[1] - ends[-1] + ends - dwell / 2)

    last, spot_m = points[-1], kind.spot_m
    return Path((len(points),), lambda: points, times, last, spot_m=spot_m)


def spot(kind: Kind, position: ArrayLike, window: tuple[float, float]) -> Path:
    """Return the path of one measurement: one reading, in the middle of its time."""
    at = np.array(position, np.float64)

    def middle() -> Array:
        return np.array([(window[0] + window[1]) / 2])

    return Path((), lambda: at[None, :], middle, at, spot_m=kind.spot_m)
