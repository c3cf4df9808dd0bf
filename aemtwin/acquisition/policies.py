"""Orders in which to visit a grid without learning: the baselines of every campaign.

NumPy alone. An order is a pure function of (seed, shape), so a resumed run goes on in
it, and any first part of it is a fair sample of the field. `registry` finds them by
name; `aemtwin.designs` chooses the few points that a learning campaign begins with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch


def random_order(seed: int, m: int) -> NDArray[np.int64]:
    """Return the indices 0 ... m−1 in an order that the seed decides.

    They are sorted by the raw words of a Philox generator keyed by the seed, which
    NumPy promises to keep, as it does not for `Generator.permutation`.

    Args:
        seed: 0 or more, below 2^128.
        m: Number of candidates.

    Returns:
        A permutation, (m,).

    Raises:
        OutOfRange: If the seed or m is negative, or the seed too large.

    Source: Salmon, Moraes, Dror and Shaw (2011), SC '11, doi:10.1145/2063384.2063405.

    >>> random_order(0, 5).tolist() == random_order(0, 5).tolist()
    True
    """
    if not 0 <= seed < 2**128 or m < 0:
        raise OutOfRange(
            f"random_order got seed = {seed}, m = {m}; a seed is a whole number from 0 "
            "to 2^128 − 1, m is 0 or more. Give the seed of the run and its candidates."
        )
    words = np.random.Philox(key=seed).random_raw(m)
    return np.argsort(words, kind="stable").astype(np.int64)


def grid_order(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the cells of a grid from coarse to fine, the centre first.

    The order is that of an ordered dither: offsets from the centre cell, modulo a power
    of two, are read bit by bit from the finest, which says first which diagonal half of
    the coarsest checkerboard, then which of its cells, and so on. After 4^k visits of a
    square of 2^p cells the visited ones are the nodes of a square grid, and between
    they fill its gaps evenly; on any other shape, nearly so.

    Args:
        shape: (rows, columns).

    Returns:
        Row-major indices of all cells, (rows · columns,).

    Raises:
        ShapeMismatch: If a side is less than 1.

    Source: Bayer (1973), Proc. IEEE Int. Conf. on Communications 1, 26-11.

    >>> grid_order((1, 5)).tolist()
    [2, 4, 0, 3, 1]
    """
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise ShapeMismatch(
            f"grid_order got shape {shape}; it takes (rows, columns), 1 or more each. "
            "Give the shape of the candidate grid."
        )
    bits = max(1, (max(rows, columns) - 1).bit_length())
    row, column = np.divmod(np.arange(rows * columns), columns)
    down = (row - rows // 2) % 2**bits
    across = (column - columns // 2) % 2**bits
    rank = np.zeros(rows * columns, np.int64)
    for bit in range(bits):  # the finest bit weighs most
        a, b = (down >> bit) & 1, (across >> bit) & 1
        rank = 4 * rank + 2 * (a ^ b) + a
    return np.argsort(rank, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class Random:
    """Visits every candidate once in a seeded random order."""

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "random"

    def order(self, seed: int, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Return `random_order(seed, rows · columns)`."""
        return random_order(seed, shape[0] * shape[1])


@dataclass(frozen=True)
class Grid:
    """Visits the whole field from coarse to fine."""

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "grid"

    def order(self, seed: int, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Return `grid_order(shape)`, whatever the seed."""
        del seed
        return grid_order(shape)
