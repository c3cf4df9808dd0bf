"""What a loop should be told of a spot: measured twice, off the grid, off the edge."""

from __future__ import annotations

import sqlite3
from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.base import Shot
from aemtwin.instruments.modes.base import Reader
from aemtwin.specs import Bounds

MARGIN = 2.0  # pixels that a frame may reach over the edge without a word
KEPT = 4096  # spots in memory; more of them go to a temporary file

Spot = tuple[str, str, float, float]
"""Run, mode, x and y."""


class _Spots:
    """Which request was first at a spot, of as many spots as there may be."""

    def __init__(self) -> None:
        self._recent: dict[Spot, str] = {}
        self._older: sqlite3.Connection | None = None

    def first(self, spot: Spot, rid: str) -> str:
        """Return who was first at a spot: `rid`, if nobody was."""
        earlier = self._recent.get(spot) or self._found(spot)
        if earlier is None:
            self._recent[spot] = earlier = rid
            if len(self._recent) > KEPT:
                self._make_room()
        return earlier

    def _found(self, spot: Spot) -> str | None:
        if self._older is None:
            return None
        where = "run = ? AND mode = ? AND x = ? AND y = ?"
        found = self._older.execute(f"SELECT rid FROM spot WHERE {where}", spot)
        row = found.fetchone()
        return None if row is None else str(row[0])

    def _make_room(self) -> None:
        if self._older is None:
            # temporary, and written by whoever holds the instrument's lock
            self._older = sqlite3.connect(
                "", isolation_level=None, check_same_thread=False
            )
            self._older.execute("PRAGMA synchronous = OFF")
            self._older.execute(
                "CREATE TABLE spot (run TEXT, mode TEXT, x REAL, y REAL, rid TEXT, "
                "PRIMARY KEY (run, mode, x, y)) WITHOUT ROWID"
            )
        self._older.execute("BEGIN")
        rows = [(*spot, rid) for spot, rid in self._recent.items()]
        self._older.executemany("INSERT INTO spot VALUES (?, ?, ?, ?, ?)", rows)
        self._older.execute("COMMIT")
        self._recent.clear()

    def __del__(self) -> None:
        if self._older is not None:
            self._older.close()


class Visits:
    """The spots measured so far, by run and mode."""

    def __init__(self) -> None:
        self._seen = _Spots()

    def notices(
        self,
        reader: Reader,
        mode: str,
        rid: str,
        position: NDArray[np.float64],
        dealt: Container[str] = (),
    ) -> list[str]:
        """Return what is to be said of measuring a mode at (x, y), and remember it.

        Args:
            reader: Of the mode.
            mode: Its name.
            rid: The request.
            position: Where the probe was sent, (2,), metres.
            dealt: Arrays that give out recorded counts, pixel by pixel.
        """
        told, grid = [], reader.grid
        if reader.fields:
            index, fraction = grid.locate(position[None, :])
            row, column = (float(v) for v in (index + fraction)[0])
            if fraction.any():
                told.append(
                    f"between grid points, at row {row:.3f} and column {column:.3f}: "
                    f"{_between(reader, dealt)}"
                )
        inside = [
            low <= value <= high
            for value, (low, high) in zip(position, grid.bounds, strict=True)
        ]
        if not all(inside):
            told.append("beyond the outermost pixel: the value at the edge is given")
        run = rid.partition("/")[0]  # another run may well come here too
        at = (run, mode, float(position[0]), float(position[1]))
        earlier = self._seen.first(at, rid)
        if earlier != rid:
            told.append(f"measured here before, by {earlier}")
        return told

    def beyond(self, shot: Shot, bounds: Bounds) -> list[str]:
        """Return what is to be said of readings that drifted off the specimen."""
        if shot.off is None:
            return []
        low, high = np.array(bounds).T
        slack = 1e-9 * (high - low) + MARGIN * np.array(shot.path.pixel_m)
        off = ((shot.where < low - slack) | (shot.where > high + slack)).any(axis=1)
        if not off.any():
            return []
        return [
            f"{int(off.sum())} of {len(off)} readings lay beyond the specimen, where "
            "the probe had drifted: there the value at its edge is given"
        ]


def _between(reader: Reader, dealt: Container[str]) -> str:
    """Say what is read between grid points: `Field.at` blends no whole numbers."""
    nearest = [
        one.name
        for one in reader.fields
        if one.dtype.kind not in "fc" or one.name in dealt
    ]
    if not nearest:
        return "values are interpolated"
    said = "values are those of the nearest grid point"
    if len(nearest) == len(reader.fields):
        return said
    return f"values are interpolated, and of {', '.join(nearest)} {said[11:]}"
