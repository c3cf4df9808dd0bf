"""The ground truth under a twin's probe: stored arrays on their grids, and metres.

`Sample` is the one place that knows how a position in metres becomes an index. Whatever
the file did (x before y, descending or uneven axes, pixels that are not square, images
on a finer grid than the spectra) is settled once, in `aemtwin.formats.specimens`; all
other modules speak of positions (x, y) in metres, and `aemtwin.instruments` puts a
probe over them.

Between pixels, floating and complex values are interpolated bilinearly; integers are
counts and are read from the nearest grid point, since half an electron is none. Within
a millionth of a pixel of a grid point, the stored value itself is given. Beyond the
outermost pixel centre, as far as a finer image of the same field reaches, the value at
the edge holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import ShapeMismatch, unknown
from aemtwin.specs import Axis, Bounds

SNAP = 1e-6  # of a pixel: nearer than this to a grid point is on it
IN_MEMORY = 32 * 2**20  # bytes: smaller arrays are read once and kept


@dataclass(frozen=True, eq=False)
class StoredArray:
    """One dataset as its file holds it: native dtype, axes in stored order."""

    name: str
    quantity: str
    units: str
    data: Any  # h5py.Dataset or NDArray; sliced, never read whole unless small
    axes: tuple[Axis, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_type: str = "UNKNOWN"
    modality: str = ""
    source: str = ""
    path_in_file: str = ""
    derived: str = ""  # not empty: computed from another array, and how


@dataclass(frozen=True, eq=False)
class Grid:
    """A rectangular raster of pixel centres, ascending, in metres."""

    x: NDArray[np.float64]  # (columns,)
    y: NDArray[np.float64]  # (rows,)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(self.y), len(self.x)

    @property
    def bounds(self) -> Bounds:
        """The outermost pixel centres."""
        return (
            (float(self.x[0]), float(self.x[-1])),
            (float(self.y[0]), float(self.y[-1])),
        )

    @property
    def pixel(self) -> tuple[float, float]:
        """The mean distance of neighbours along x and y; 0 where there is one pixel."""
        return tuple(
            float(axis[-1] - axis[0]) / max(len(axis) - 1, 1)
            for axis in (self.x, self.y)
        )  # type: ignore[return-value]

    def same(self, other: Grid) -> bool:
        """Say whether another has its pixels at the same places."""
        return self is other or (
            np.array_equal(self.x, other.x) and np.array_equal(self.y, other.y)
        )

    def points(self) -> NDArray[np.float64]:
        """Return all pixel centres row by row, (rows * columns, 2), metres."""
        x, y = np.meshgrid(self.x, self.y)
        return np.column_stack([x.ravel(), y.ravel()])

    def locate(
        self, points: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Turn positions into the pixel below and left, and the way to the next.

        Args:
            points: Positions (x, y), (k, 2), metres. Those beyond the outermost pixel
                centre are read at the edge.

        Returns:
            Index (k, 2) as (row, column), and fraction (k, 2) in [0, 1) of the pixel
            towards the next row and column; exactly 0 within `SNAP` of a grid point.

        >>> grid = Grid(x=np.array([0.0, 2.0]), y=np.array([0.0, 1.0, 3.0]))
        >>> index, fraction = grid.locate(np.array([[1.0, 3.0]]))
        >>> index.tolist(), fraction.tolist()
        ([[2, 0]], [[0.0, 0.5]])
        """
        row, down = _locate(self.y, points[:, 1])
        column, right = _locate(self.x, points[:, 0])
        return np.column_stack([row, column]), np.column_stack([down, right])


def _locate(
    axis: NDArray[np.float64], value: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    last = len(axis) - 1
    if last == 0:
        return np.zeros(len(value), np.int64), np.zeros(len(value))
    value = np.clip(value, axis[0], axis[-1])
    index = np.clip(np.searchsorted(axis, value, side="right") - 1, 0, last - 1)
    fraction = (value - axis[index]) / (axis[index + 1] - axis[index])
    at_next = fraction > 1.0 - SNAP
    fraction = np.where((fraction < SNAP) | at_next, 0.0, fraction)
    return (index + at_next).astype(np.int64), fraction


@dataclass(frozen=True, eq=False)
class Field:
    """One stored quantity over its grid: an image, or a spectrum at every pixel."""

    stored: StoredArray
    grid: Grid
    spatial: tuple[int, int]  # which stored axes are (y, x)
    flipped: tuple[bool, bool]  # whether the stored (y, x) descend
    calibrated: bool

    @property
    def name(self) -> str:
        """The name of the stored array."""
        return self.stored.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The stored dtype; what is read keeps it."""
        dtype: np.dtype[Any] = np.dtype(self.stored.data.dtype)
        return dtype

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes at one pixel, in stored order; none for an image."""
        return tuple(
            axis for i, axis in enumerate(self.stored.axes) if i not in self.spatial
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape at one pixel; () for an image."""
        return tuple(len(axis) for axis in self.axes)

    @cached_property
    def _data(self) -> Any:
        data = self.stored.data
        if data.size * data.dtype.itemsize <= IN_MEMORY:
            return np.asarray(data[()])
        return data

    def pixel(self, row: int, column: int) -> NDArray[Any]:
        """Return a copy of the stored value(s) at one pixel, (*spectral,)."""
        index: list[int | slice] = [slice(None)] * len(self.stored.axes)
        for axis, i, flipped, n in zip(
            self.spatial, (row, column), self.flipped, self.grid.shape, strict=True
        ):
            index[axis] = n - 1 - i if flipped else i
        return np.array(self._data[tuple(index)], dtype=self.dtype)

    @cached_property
    def image(self) -> NDArray[Any]:
        """The whole field as (rows, columns), both ascending; images only."""
        if self.shape:
            raise ShapeMismatch(
                f"{self.name!r} holds a spectrum at every pixel, not an image."
            )
        values = np.moveaxis(np.asarray(self._data[()]), self.spatial, (0, 1))
        values = values[tuple(slice(None, None, -1 if f else 1) for f in self.flipped)]
        return values

    def at(self, points: NDArray[np.float64]) -> NDArray[Any]:
        """Read the field at positions, as the head of this module says.

        Args:
            points: Positions (x, y), (k, 2), metres.

        Returns:
            (k, *spectral), in the stored dtype, a copy.
        """
        index, fraction = self.grid.locate(points)
        if self.dtype.kind not in "fc":  # counts and flags: the nearest grid point
            index = index + (fraction >= 0.5)
            fraction = np.zeros_like(fraction)
        wide = np.result_type(self.dtype, np.float64)
        read = self._read_image if not self.shape else self._read_spectra
        on_grid = ~fraction.any(axis=1)
        out = np.empty((len(points), *self.shape), self.dtype)
        out[on_grid] = read(index[on_grid])
        between = ~on_grid
        if between.any():
            total = np.zeros((int(between.sum()), *self.shape), wide)
            for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
                part = np.where(step, fraction[between], 1.0 - fraction[between])
                weight = part.prod(axis=1)
                some = weight > 0  # a neighbour of no weight may be NaN, or not exist
                values = read(index[between][some] + step).astype(wide)
                total[some] += weight[some].reshape(-1, *[1] * len(self.shape)) * values
            out[between] = total.astype(self.dtype)
        return out

    def _read_image(self, index: NDArray[np.int64]) -> NDArray[Any]:
        return self.image[index[:, 0], index[:, 1]]

    def _read_spectra(self, index: NDArray[np.int64]) -> NDArray[Any]:
        if not len(index):
            return np.empty((0, *self.shape), self.dtype)
        return np.stack([self.pixel(int(row), int(column)) for row, column in index])


@dataclass(frozen=True, eq=False)
class Sample:
    """One specimen: all its fields, in one frame of metres."""

    name: str
    fields: tuple[Field, ...]
    others: tuple[str, ...] = ()  # samples of the same file that were not selected

    @property
    def images(self) -> tuple[Field, ...]:
        """Fields with one value at a pixel."""
        return tuple(f for f in self.fields if not f.shape)

    @property
    def spectra(self) -> tuple[Field, ...]:
        """Fields with a spectrum, a loop or a pattern at a pixel."""
        return tuple(f for f in self.fields if f.shape)

    @property
    def calibrated(self) -> bool:
        """Whether every spatial axis had a length for a unit."""
        return all(f.calibrated for f in self.fields)

    @property
    def bounds(self) -> Bounds:
        """The outermost pixel centres of all fields."""
        boxes = np.array([f.grid.bounds for f in self.fields])  # (fields, 2, 2)
        low, high = boxes[:, :, 0].min(axis=0), boxes[:, :, 1].max(axis=0)
        return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))

    def field(self, name: str) -> Field:
        """Return the field of that name.

        Raises:
            UnknownName: If there is none.
        """
        for one in self.fields:
            if one.name == name:
                return one
        raise unknown(
            "array", name, (f.name for f in self.fields), "`aemtwin info` lists them."
        )

    def beside(self, one: Field) -> tuple[Field, ...]:
        """Return `one` and the fields recorded with it: same grid, same axes."""
        same = (
            other
            for other in self.spectra
            if other is not one and other.axes == one.axes and other.grid.same(one.grid)
        )
        return (one, *same)
