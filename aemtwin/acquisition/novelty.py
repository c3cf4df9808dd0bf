"""Search for behaviour that was never seen, instead of for high values.

What a measurement gives is a point in a space of p outputs: some numbers of a spectrum,
or its principal components. A candidate is novel as far as its outcome, drawn from what
is believed, lies from all outcomes seen so far. `reached` says how much of that space a
run has covered. `hypervolume` is the other way to seek several numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from aemtwin.acquisition.hypervolume import Several
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, unknown
from aemtwin.surrogates.base import Posterior, bucket, float64

Floats = NDArray[np.float64]

BLOCK = 2**14  # distances that are computed at once
OF = ("draw", "mean")
SCALES = ("sd", "same")


def novelty(outcomes: Array, seen: Array, mask: Array, k: int) -> Array:
    """Return the mean distance from each outcome to the k nearest that were seen.

    Args:
        outcomes: What candidates may give, (m, p), all of one unit.
        seen: What was seen, (N, p), its unit.
        mask: True where seen, (N,); other rows count for nothing.
        k: Nearest ones that count; all where fewer were seen, 1 or more.

    Returns:
        Mean Euclidean distance, (m,), unit of the outcomes; NaN if nothing was seen.

    Source: Lehman and Stanley (2011), Evol. Comput. 19, 189, eq. 1; of a draw of the
    posterior: Tang, Chakrabarty and Paulson (2024), arXiv:2406.03616 (BEACON).

    >>> at, seen = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0], [0.0, 1.0]])
    >>> novelty(at, seen, jnp.array([True, True]), 2).tolist()
    [3.0]
    """
    m, p = outcomes.shape
    N = seen.shape[0]
    rows = min(m, max(8, BLOCK // N))
    chunks = -(-m // rows)
    nearest = min(k, N)
    count = jnp.minimum(nearest, jnp.sum(mask))

    def piece(at: Array) -> Array:
        square = jnp.zeros((rows, N), at.dtype)
        for j in range(p):  # differences first: near ones keep their digits
            square = square + (at[:, j, None] - seen[None, :, j]) ** 2
        square = jnp.where(mask[None, :], square, jnp.inf)

        def take(_: Array, at: tuple[Array, Array, Array]) -> tuple[Array, ...]:
            least, taken, total = at
            alike = jnp.sum(square == least[:, None], axis=1)
            more = jnp.minimum(alike, count - taken)
            total = total + jnp.where(more > 0, more * jnp.sqrt(least), 0.0)
            beyond = jnp.where(square > least[:, None], square, jnp.inf)
            return jnp.min(beyond, axis=1), taken + more, total

        taken, zero = jnp.zeros(rows, count.dtype), 0.0 * jnp.sum(at, axis=1)  # or NaN
        begin = jnp.min(square, axis=1), taken, zero
        total: Array = lax.fori_loop(0, nearest, take, begin)[2]
        return total / count

    padded = jnp.pad(outcomes, ((0, chunks * rows - m), (0, 0)))
    found: Array = lax.map(piece, padded.reshape(chunks, rows, p))
    return found.reshape(-1)[:m]


_novelty = jax.jit(novelty, static_argnames="k")


@dataclass(frozen=True)
class Novelty:
    """Measure where the outcome is believed to be least like all seen, as `novelty`.

    Attributes:
        k: Nearest outcomes seen that count.
        of: "draw", of the posterior: uncertainty is explored too; or "mean".
        scale: "sd" divides each output by its standard deviation among those seen, for
            outputs of several units; "same" leaves them as they are, so that distances
            of principal components are those of spectra.

    Source: as `novelty`; k = 10 and draws as in BEACON. Pratiush et al. (2026),
    arXiv:2603.16715, for its use with deep kernels in microscopy.
    """

    outputs: ClassVar[tuple[int, int]] = (2, 8)  # that it takes, least and most
    scores: ClassVar[str] = "positive"

    k: int = 10
    of: str = "draw"
    scale: str = "sd"

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or int(self.k) != self.k or self.k < 1:
            raise BadConfig(
                f"The acquisition novelty got k = {self.k!r}; it takes a whole number "
                "of nearest outcomes, from 1 on. 10 is usual."
            )
        if self.of not in OF:
            raise unknown("outcome of novelty", self.of, OF, 'Leave it out for "draw".')
        if self.scale not in SCALES:
            hint = 'Leave it out for "sd".'
            raise unknown("scale of novelty", self.scale, SCALES, hint)

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "novelty"

    @property
    def draws(self) -> bool:
        """Whether it reads a draw of every output."""
        return self.of == "draw"

    def __call__(self, posterior: Posterior, context: Several) -> Floats:
        """Return the scores of m candidates, (m,), a distance; −∞ where measured.

        Raises:
            BadConfig: If it reads a draw and the context has none.
            ShapeMismatch: If outcomes, values and measured do not fit.
            OutOfRange: If values are not finite.
        """
        if self.draws and context.draw is None:
            raise BadConfig(
                "The acquisition novelty got a context without draw; it reads a draw "
                "of every output at every candidate, (m, p). Choose a surrogate that "
                'has `draw`, such as gp, or set of = "mean".'
            )
        outcomes = np.asarray(
            context.draw if self.draws else posterior.mean, np.float64
        )
        measured = np.asarray(context.measured, bool)
        seen = np.asarray(context.values, np.float64)
        n, p = seen.shape if seen.ndim == 2 else (0, 0)
        if n == 0 or outcomes.shape != (measured.size, p):
            raise ShapeMismatch(
                f"The acquisition novelty got outcomes of shape {outcomes.shape} for "
                f"{measured.size} candidates and values of shape {seen.shape}; it "
                "takes (m, p) and (n, p) with one row or more. Give every output of "
                "every candidate, and measure first."
            )
        if not np.isfinite(seen).all():
            row = int(np.argwhere(~np.isfinite(seen))[0, 0])
            raise OutOfRange(
                f"The acquisition novelty got values[{row}] = {seen[row].tolist()}, "
                "which are not all finite. Leave that measurement out."
            )
        if self.scale == "sd":
            sd = seen.std(axis=0)
            unit = np.where(sd > 0, sd, 1.0)
            outcomes, seen = outcomes / unit, seen / unit
        mask = np.arange(bucket(n)) < n
        padded = np.zeros((mask.size, p))
        padded[:n] = seen
        with float64():
            scores = np.asarray(_novelty(outcomes, padded, mask, k=int(self.k)))
        return np.where(measured, -np.inf, scores)


class Cells(NamedTuple):
    """A box in the space of outcomes, cut into equal cells."""

    low: Floats  # (p,), unit of each output
    high: Floats  # (p,), above `low`; it belongs to the last cell
    many: NDArray[np.int64]  # (p,), cells along each output


def cells_of(outcomes: ArrayLike, many: int) -> Cells:
    """Return the cells of the smallest box around all outcomes, (N, p), `many` each.

    An output that never changes has one cell.

    >>> cells_of([[0.0, 5.0], [2.0, 5.0]], 4).many.tolist()
    [4, 1]
    """
    y = np.asarray(outcomes, np.float64)
    low, high = y.min(axis=0), y.max(axis=0)
    flat = high == low
    return Cells(low, np.where(flat, low + 1.0, high), np.where(flat, 1, many))


def reached(
    values: ArrayLike, cells: Cells, possible: ArrayLike | None = None
) -> float:
    """Return the share of cells in which a value lies, 0 to 1.

    Values outside the box reach nothing. With many outputs most cells can never be
    reached; then give `possible`.

    Args:
        values: Outcomes of a run, (n, p).
        cells: Where they may lie.
        possible: All outcomes that exist, (N, p), such as those of a whole field. Only
            cells with one of these count, in both parts of the share.

    Raises:
        ShapeMismatch: If values and cells do not fit.
        OutOfRange: If the box is empty, or none of the possible outcomes is in it.

    Source: Tang, Chakrabarty and Paulson (2024), arXiv:2406.03616, for the share of
    cells in their experiments; `possible` is ours.

    >>> cells = Cells(np.zeros(2), np.ones(2), np.array([2, 2]))
    >>> reached([[0.1, 0.1], [0.2, 0.2], [0.9, 1.0]], cells)
    0.5
    """
    low, high = (np.asarray(a, np.float64) for a in cells[:2])
    many = np.asarray(cells.many)
    if not ((low < high) & np.isfinite(high - low) & (many >= 1)).all():
        raise OutOfRange(
            f"reached got cells from {low.tolist()} to {high.tolist()}, "
            f"{many.tolist()} along each; each output takes a finite range above 0 "
            "and one cell or more. Make them with cells_of."
        )
    seen = _occupied("values", values, low, high, many)
    if possible is None:
        return len(seen) / float(np.prod(many.astype(float)))
    there = _occupied("possible", possible, low, high, many)
    if not there:
        raise OutOfRange(
            "reached got possible outcomes of which none lies in the cells. Make the "
            "cells from them, with cells_of."
        )
    return len(seen & there) / len(there)


def _occupied(
    name: str, values: ArrayLike, low: Floats, high: Floats, many: NDArray[np.int64]
) -> set[tuple[int, ...]]:
    """Return the cells in which a value lies, by their indices along each output."""
    y = np.asarray(values, np.float64)
    if y.ndim != 2 or y.shape[1:] != low.shape:
        raise ShapeMismatch(
            f"reached got {name} of shape {y.shape} and cells of {low.size} outputs; "
            f"it takes (n, {low.size}). Give a column for each output."
        )
    y = y[((y >= low) & (y <= high)).all(axis=1)]  # drops NaN too
    at = np.floor((y - low) / (high - low) * many).astype(np.int64)
    return set(map(tuple, np.minimum(at, many - 1).tolist()))
