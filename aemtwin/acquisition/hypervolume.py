"""Several numbers sought at once: how much the volume below their front may grow.

Every output is maximised; `aemtwin.fronts` has the front and its hypervolume.
`log_ehvi` says how much a candidate is expected to add to it: exactly, for outputs
whose beliefs are independent normals. With one output, `analytic.log_ei` is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from aemtwin.acquisition.normal import log_h
from aemtwin.errors import BadConfig, ShapeMismatch
from aemtwin.fronts import (
    MARGIN,
    above,
    hypervolume,
    pareto,
    reference_of,
    table,
)
from aemtwin.surrogates.base import Posterior, bucket, float64

__all__ = [
    "EHVI",
    "Boxes",
    "Several",
    "boxes",
    "hypervolume",
    "log_ehvi",
    "log_excess",
    "pareto",
    "reference_of",
]

Floats = NDArray[np.float64]

BLOCK = 2**17  # excesses over edges that are computed at once


class Several(NamedTuple):
    """What an acquisition of several outputs knows besides the posterior."""

    values: Floats  # (n, p), outputs measured so far, or what is believed of them
    measured: NDArray[np.bool_]  # (m,), True where a candidate was measured
    reference: Floats | None = None  # (p,), unit of y; None: as `reference_of` says
    draw: Floats | None = None  # (m, p), of f, where an acquisition reads it


class Boxes(NamedTuple):
    """Disjoint boxes that fill what lies above the reference and is not dominated.

    Box b reaches from `edges[j, lower[b, j]]` to `edges[j, upper[b, j]]` in output j;
    in the second output all reach to inf.
    """

    edges: Floats  # (p, E), unit of y, ascending; the last and padded ones are inf
    lower: NDArray[np.int32]  # (B, p), of `edges`
    upper: NDArray[np.int32]  # (B, p); equal to `lower` where padded


def boxes(front: ArrayLike, reference: ArrayLike) -> Boxes:
    """Cut what lies above the reference and is not dominated into disjoint boxes.

    Two outputs give n + 1 boxes and three 2n + 1, for n values on the front. The third
    output is swept downwards. Above all values nothing is dominated; below a value its
    corner is: strips of the first output that reach into the corner end there, and two
    new ones begin, one over it and one beside it.

    Args:
        front: Values, (n, p) with p 2 or 3; dominated ones change nothing.
        reference: (p,), unit of y.

    Returns:
        Boxes padded to the capacity `base.bucket` of n, so that compiled programs are
        used again. Raises as `hypervolume` does.

    Source: Yang, Emmerich, Deutz and Fonseca (2017), EMO, LNCS 10173, 685, for the
    slices of three outputs; the list of strips derived here.

    >>> cut = boxes([[1.0, 2.0], [2.0, 1.0]], [0.0, 0.0])
    >>> cut.edges[0, :4].tolist(), cut.lower[:3].tolist()
    ([0.0, 1.0, 2.0, inf], [[0, 2], [1, 1], [2, 0]])
    """
    y, r = above("boxes", front, reference)
    y = np.unique(y[pareto(y)], axis=0)  # ascending in the first output
    n, p = y.shape
    capacity = bucket(n)
    top = capacity + 1  # the edge at inf
    edges = np.full((p, top + 1), np.inf)
    rank = np.ones((n, 3), np.int64)  # of two outputs, one slice of three
    for j in range(p):
        level = np.unique(np.append(y[:, j], r[j]))
        edges[j, : level.size] = level
        rank[:, j] = np.searchsorted(level, y[:, j])
    found = _swept(rank, top, 1 if p == 2 else top)[..., :p]
    padded = np.full((2, (p - 1) * capacity + 1, p), top, np.int32)
    padded[:, : found.shape[1]] = found
    return Boxes(edges, padded[0], padded[1])


def _swept(rank: NDArray[np.int64], top: int, highest: int) -> NDArray[np.int64]:
    """Return lower and upper corners, (2, b, 3), of the boxes over a front of ranks."""
    found = list[tuple[tuple[int, int, int], tuple[int, int, int]]]()
    # Left to right: from, to, floor, and the level at which the strip began.
    strips = [(0, top, 0, highest)]

    def end(left: int, right: int, floor: int, begun: int, level: int) -> None:
        if level < begun:
            found.append(((left, floor, level), (right, top, begun)))

    for x, y, z in rank[np.argsort(-rank[:, 2], kind="stable")].tolist():
        cut = [s for s in strips if s[0] < x and s[2] < y]  # one at least
        kept = [s for s in strips if s[0] >= x or s[2] >= y]
        for strip in cut:
            end(*strip, z)
        new = [(cut[0][0], x, y, z)]
        if cut[-1][1] > x:
            new.append((x, cut[-1][1], cut[-1][2], z))
        strips = sorted(kept + new)
    for strip in strips:
        end(*strip, 0)
    return np.array(found).transpose(1, 0, 2)


def log_ehvi(posterior: Posterior, boxes: Boxes, measured: Array) -> Array:
    """Return the logarithm of the expected hypervolume improvement.

    A value f adds the part of each box that lies below f. As outputs are independent,
    the expectation of that is a product over outputs of E[(f − lower)₊] −
    E[(f − upper)₊], each sd · h((mean − edge)/sd) with h of `analytic.log_h`. All are
    kept as logarithms, so that candidates far below the front still differ; and each
    edge has one excess, so that in the sum over boxes shared ones cancel.

    Args:
        posterior: Mean and variance of f at m candidates, (m, p).
        boxes: As `boxes` returns them.
        measured: True where a candidate was measured, (m,).

    Returns:
        log E[hypervolume with f − hypervolume], (m,), log of the product of the units.
        The lowest finite number where no improvement is possible (an output is known,
        and below all boxes). −∞ if measured.

    Source: Yang, Emmerich, Deutz and Bäck (2019), J. Glob. Optim. 75, 3, for the sum
    over boxes; its factors as differences of expected improvements, and logarithms,
    derived here. Daulton, Balandat and Bakshy (2020), NeurIPS, for the review.
    """
    mean, v = jnp.asarray(posterior.mean), jnp.asarray(posterior.variance)
    m, p = mean.shape
    edges, lower, upper = map(jnp.asarray, boxes)
    rows = min(m, max(8, BLOCK // edges.size))
    chunks = -(-m // rows)

    def piece(at: tuple[Array, Array]) -> Array:
        total: Array | float = 0.0
        for j in range(p):
            excess = log_excess(at[0][:, j], at[1][:, j], edges[j])  # (E, rows)
            low = excess[lower[:, j]]  # (B, rows)
            if j != 1:  # there, nothing lies above the boxes
                high = excess[upper[:, j]]
                empty = low <= high  # in digits too; NaN stays NaN
                fall = jnp.where(empty, -1.0, high - low)
                low = jnp.where(empty, -jnp.inf, low + jnp.log(-jnp.expm1(fall)))
            total = total + low
        summed: Array = jax.nn.logsumexp(jnp.asarray(total), axis=0)
        return summed

    padded = [jnp.pad(a, ((0, chunks * rows - m), (0, 0))) for a in (mean, v)]
    split = [a.reshape(chunks, rows, p) for a in padded]
    scores = lax.map(piece, (split[0], split[1])).reshape(-1)[:m]
    scores = jnp.maximum(scores, np.finfo(scores.dtype).min)
    return jnp.where(measured, -jnp.inf, scores)


def log_excess(mean: Array, variance: Array, edges: Array) -> Array:
    """Return log E[(f − edge)₊] for each edge and candidate, (E, m); −∞ if it is 0."""
    beyond = jnp.isposinf(edges)[:, None]
    gap = mean - jnp.where(beyond, 0.0, edges[:, None])
    sure = variance <= 0  # so that NaN stays NaN
    sd = jnp.sqrt(jnp.where(sure, 1.0, variance))
    certain = jnp.where(gap <= 0, -jnp.inf, jnp.log(jnp.where(gap <= 0, 1.0, gap)))
    found = jnp.where(sure, certain, log_h(gap / sd) + jnp.log(sd))
    return jnp.where(beyond, -jnp.inf, found)


_log_ehvi = jax.jit(log_ehvi)


@dataclass(frozen=True)
class EHVI:
    """Logarithm of the expected hypervolume improvement, as `log_ehvi` says.

    Attributes:
        margin: Of `reference_of`, where the context has no reference.
    """

    outputs: ClassVar[tuple[int, int]] = (2, 3)  # that it takes, least and most
    scores: ClassVar[str] = "log"

    margin: float = MARGIN

    def __post_init__(self) -> None:
        if isinstance(self.margin, bool) or not 0.0 < self.margin < float("inf"):
            raise BadConfig(
                f"The acquisition ehvi got margin = {self.margin!r}; it takes a finite "
                "part of the range of the front, above 0. 0.1 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "ehvi"

    def __call__(self, posterior: Posterior, context: Several) -> Floats:
        """Return the scores of m candidates, (m,), log of the product of the units.

        Raises ShapeMismatch if the parts do not fit, OutOfRange as `boxes` does.
        """
        mean, variance = (np.asarray(a, np.float64) for a in posterior)
        measured = np.asarray(context.measured, bool)
        values = table("ehvi", context.values)
        shape = measured.size, values.shape[1]
        if not mean.shape == variance.shape == shape:
            raise ShapeMismatch(
                f"The acquisition ehvi got mean {mean.shape} and variance "
                f"{variance.shape} for {measured.size} candidates and values "
                f"{values.shape}; it takes {shape} of both. Read the posterior of "
                "every output at every candidate."
            )
        reference = context.reference
        if reference is None:
            reference = reference_of(values, self.margin)
        cut = boxes(values, reference)
        with float64():
            return np.asarray(_log_ehvi(Posterior(mean, variance), cut, measured))
