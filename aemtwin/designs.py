"""Where a campaign may measure and where it begins: candidates and first points.

NumPy alone. Candidates are positions (x, y) in metres on a regular grid, numbered row
by row, rows along y; surrogates see them scaled to the unit box. The orders of whole
grids, as baselines, are in `aemtwin.acquisition.policies`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.specs import Bounds

PLASTIC = 1.324717957244746  # the real root of x³ = x + 1


def candidate_grid(bounds: Bounds, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the positions of a regular grid over bounds, edges included.

    Args:
        bounds: ((x low, x high), (y low, y high)), metres.
        shape: (rows, columns): points along y and along x. A side of one point lies in
            the middle of the bounds.

    Returns:
        Positions (x, y), (rows · columns, 2), metres; x varies fastest.

    Raises:
        ShapeMismatch: If a side is less than 1.
        OutOfRange: If bounds are not finite or run downwards.

    >>> candidate_grid(((0.0, 2e-6), (0.0, 1e-6)), (2, 3)).tolist()[:4]
    [[0.0, 0.0], [1e-06, 0.0], [2e-06, 0.0], [0.0, 1e-06]]
    """
    rows, columns = _sides("candidate_grid", shape)
    _require_bounds("candidate_grid", bounds)
    x, y = (
        np.linspace(low, high, count) if count > 1 else np.array([0.5 * (low + high)])
        for (low, high), count in zip(bounds, (columns, rows), strict=True)
    )
    return np.stack([np.tile(x, rows), np.repeat(y, columns)], axis=-1)


def scale_to_box(positions: ArrayLike, bounds: Bounds) -> NDArray[np.float64]:
    """Return positions as fractions of the bounds, what a surrogate takes as X.

    Args:
        positions: (x, y), (m, 2), metres.
        bounds: ((x low, x high), (y low, y high)), metres.

    Returns:
        Fractions, (m, 2), in [0, 1] inside the bounds; 0 along an axis without extent.

    Raises:
        ShapeMismatch: If positions are not (m, 2).
        OutOfRange: If bounds are not finite or run downwards.

    >>> scale_to_box([[1e-6, 5.0]], ((0.0, 2e-6), (5.0, 5.0))).tolist()
    [[0.5, 0.0]]
    """
    points = np.asarray(positions, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeMismatch(
            f"scale_to_box got positions of shape {points.shape}; it takes (m, 2), "
            "metres. Give one (x, y) a row."
        )
    _require_bounds("scale_to_box", bounds)
    low, high = np.array(bounds, np.float64).T
    extent = high - low
    return np.where(extent > 0, (points - low) / np.where(extent > 0, extent, 1.0), 0.0)


def first_points(seed: int, shape: tuple[int, int], n: int) -> NDArray[np.int64]:
    """Return n cells of a grid that fill it evenly, none twice.

    They follow the R2 sequence, shifted by an amount that the seed decides and rounded
    to cells, cells already taken left out. The first n of n + 1 points are those of n.

    Args:
        seed: 0 or more, below 2^128.
        shape: (rows, columns).
        n: How many, up to rows · columns.

    Returns:
        Row-major indices, (n,).

    Raises:
        OutOfRange: If n is negative or exceeds the grid, or the seed is out of range.
        ShapeMismatch: If a side is less than 1.

    Source: the sequence, Roberts (2018), "The unreasonable effectiveness of
    quasirandom sequences"; the shift, Cranley and Patterson (1976), SIAM J. Numer.
    Anal. 13, 904.

    >>> len(set(first_points(0, (50, 50), 10).tolist()))
    10
    """
    rows, columns = _sides("first_points", shape)
    m = rows * columns
    if not 0 <= n <= m or not 0 <= seed < 2**128:
        raise OutOfRange(
            f"first_points got n = {n}, seed = {seed} on {rows} x {columns} "
            f"candidates; n is 0 to {m}, a seed 0 to 2^128 − 1. Ask for fewer points, "
            "or make the grid of candidates finer."
        )
    words = np.random.Philox(key=seed).random_raw(2)
    shift = (words >> np.uint64(11)) * 2.0**-53  # (2,), in [0, 1)
    steps = np.array([PLASTIC**-1, PLASTIC**-2])
    length = max(16, 2 * n)
    while True:  # a longer stretch reaches every cell in the end
        at = (shift + np.arange(1, length + 1)[:, None] * steps) % 1.0
        cells = np.minimum(at * (columns, rows), (columns - 1, rows - 1)).astype(int)
        index = cells[:, 1] * columns + cells[:, 0]
        _, first = np.unique(index, return_index=True)
        if len(first) >= n:
            taken: NDArray[np.int64] = index[np.sort(first)][:n].astype(np.int64)
            return taken
        length *= 2


def _sides(call: str, shape: tuple[int, int]) -> tuple[int, int]:
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise ShapeMismatch(
            f"{call} got shape {shape}; it takes (rows, columns), 1 or more each. "
            "Give the number of candidates along y and along x."
        )
    return int(rows), int(columns)


def _require_bounds(call: str, bounds: Bounds) -> None:
    for axis, (low, high) in zip("xy", bounds, strict=True):
        if not (np.isfinite([low, high]).all() and low <= high):
            raise OutOfRange(
                f"{call} got {axis} from {low:g} to {high:g} m; bounds are finite and "
                "run upwards. Use instrument.describe().bounds."
            )
