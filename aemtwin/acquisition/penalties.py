"""What keeps measurements apart: masks and penalties around points in the field.

Points are those measured, asked for, failed or damaged, as the caller sees fit.
`exclude` forbids what lies within a radius, `closeness` tells how near a candidate is,
on a scale from 0 to 1, for `cost.discounted` to take off its score, and
`local_penalties` repels in proportion to what the posterior leaves open, for
`batch.spread`. All pass over candidates in pieces or point by point, so that memory
grows with the number of candidates and never with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.surrogates.base import Posterior, float64

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

PIECE = 2**20  # distances that are held at once
LEAST = 1e-6  # of the largest standard deviation: what a local penalty takes as some


class Exclusion(NamedTuple):
    """Which candidates are too close to a point."""

    mask: NDArray[np.bool_]  # (m,), True where excluded
    radius_m: float  # within which they are; less than asked where all would be


def exclude(
    candidates: ArrayLike,
    points: ArrayLike,
    radius_m: float,
    *,
    closed: ArrayLike | None = None,
) -> Exclusion:
    """Exclude candidates that lie within a radius of any point, but never all.

    Where nothing would be left to measure, the radius is halved until something is,
    because a run that has filled its field should go on in the gaps and not stop.
    Compare `radius_m` of the answer with what was asked, to tell people.

    Args:
        candidates: (m, 2), metres.
        points: (n, 2), metres; n may be 0.
        radius_m: Radius, 0 or more; 0 excludes the points alone.
        closed: True where a candidate may not be measured anyway, (m,).

    Returns:
        The mask, closed candidates not among it unless they lie close, and the radius.

    Raises:
        OutOfRange: If the radius is negative or not finite, or if every open candidate
            lies on a point, so that no radius leaves one.
        ShapeMismatch: If an array has another shape.

    >>> found = exclude([[0.0, 0.0], [1e-9, 0.0], [5e-9, 0.0]], [[0.0, 0.0]], 2e-9)
    >>> found.mask.tolist(), found.radius_m
    ([True, True, False], 2e-09)
    """
    _require("exclude", "radius_m", radius_m, least=0.0)
    at, to = _positions("exclude", candidates, points)
    open_ = ~_closed("exclude", closed, len(at))
    if not len(to):
        return Exclusion(np.zeros(len(at), bool), radius_m)
    distance = nearest_m(at, to)
    farthest = float(distance[open_].max(initial=-1.0))
    if farthest <= 0:
        raise OutOfRange(
            f"exclude got {len(at)} candidates, of which {int(open_.sum())} are open "
            "and each of them lies on a point; nothing is left to measure. Make the "
            "grid of candidates finer, or end the run."
        )
    radius = float(radius_m)
    while radius >= farthest:
        radius *= 0.5
    return Exclusion(distance <= radius, radius)


def nearest_m(candidates: ArrayLike, points: ArrayLike) -> Array:
    """Return the distance to the nearest point, (m,), metres; inf without points.

    >>> nearest_m([[3.0, 4.0]], [[0.0, 0.0], [9.0, 9.0]]).tolist()
    [5.0]
    """
    at, to = _positions("nearest_m", candidates, points)
    return np.sqrt(_least(at, to, np.zeros(len(to)), 1.0))


def closeness(
    candidates: ArrayLike,
    points: ArrayLike,
    length_m: float,
    *,
    age: ArrayLike | None = None,
    lifetime: float = np.inf,
) -> Array:
    """Return how close each candidate is to the nearest point, from 0 to 1.

    It is the largest of exp(−½ (d / length)² − age / lifetime) over the points, so
    that a fresh point a little farther away may count more than an old one nearby.

    Args:
        candidates: (m, 2), metres.
        points: (n, 2), metres; n may be 0.
        length_m: Distance at which a fresh point counts e^(−½).
        age: Of each point, (n,), 0 or more, any unit; None: all are fresh.
        lifetime: Age at which a point counts 1/e, unit of `age`; infinite: for ever.

    Returns:
        (m,): 1 on a fresh point, 0 far from all and without points.

    Raises:
        OutOfRange: If length or lifetime is not positive, or an age is negative.
        ShapeMismatch: If an array has another shape.

    >>> closeness([[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0]], 1.0).round(4).tolist()
    [1.0, 0.6065]
    """
    _require("closeness", "length_m", length_m)
    at, to = _positions("closeness", candidates, points)
    old = np.zeros(len(to)) if age is None else np.asarray(age, np.float64)
    if old.shape != to.shape[:1]:
        raise ShapeMismatch(
            f"closeness got ages of shape {old.shape} for {len(to)} points. Give one "
            "age a point, or none."
        )
    if not (lifetime > 0 and np.all(old >= 0) and np.isfinite(old).all()):
        raise OutOfRange(
            f"closeness got lifetime = {lifetime!r} and ages from "
            f"{old.min(initial=np.inf):g}; a lifetime is more than 0 and an age 0 or "
            "more. Give ages that count from the measurement on."
        )
    return np.exp(-0.5 * _least(at, to, 2.0 * old / lifetime, length_m))


def lipschitz(
    posterior: Posterior, positions: ArrayLike, shape: tuple[int, int]
) -> float:
    """Return how steep the mean is at most between neighbours on a grid.

    In each cell the slope along x and that along y are averaged over its sides; the
    length of the gradient is largest over all cells. Where the mean is nearly flat
    this says nothing of f, so the slope is at least the largest standard deviation
    over the diagonal of the field.

    Args:
        posterior: Mean and variance of f at m candidates.
        positions: (m, 2), any unit of length, in the order of `designs.candidate_grid`.
        shape: (rows, columns) of the grid.

    Returns:
        Largest slope, unit of y per unit of length; positive, unless there is nothing
        to know or nowhere to go.

    Raises:
        ShapeMismatch: If positions, shape and posterior do not belong together.

    Source: González, Dai, Hennig and Lawrence (2016), PMLR 51, 648, section 2.2, for
    the largest gradient of the mean; differences and the lower bound derived here.
    """
    mean, sd, at = _moments(posterior, positions)
    rows, columns = shape
    if rows * columns != mean.size:
        raise ShapeMismatch(
            f"lipschitz got {mean.size} candidates for a grid of {rows} x {columns}. "
            "Give the shape of the candidate grid, (rows, columns)."
        )
    f, grid = mean.reshape(shape), at.reshape(rows, columns, at.shape[1])
    steepest = np.zeros((max(rows - 1, 1), max(columns - 1, 1)))
    for axis in (0, 1):
        if shape[axis] > 1:
            step = np.linalg.norm(np.diff(grid, axis=axis), axis=-1)
            slope = np.diff(f, axis=axis) / step
            if shape[1 - axis] > 1:  # both sides of a cell
                pair = slope if axis == 0 else slope.T
                slope = 0.5 * (pair[:, 1:] + pair[:, :-1])
                slope = slope if axis == 0 else slope.T
            steepest += slope**2
    extent = float(np.linalg.norm(np.ptp(at, axis=0)))
    least = float(sd.max()) / extent if extent > 0 else 0.0
    return max(float(np.sqrt(steepest.max())), least)


def local_penalties(
    posterior: Posterior,
    positions: ArrayLike,
    taken: Sequence[int] | Indices,
    *,
    slope: float,
    top: float | None = None,
) -> Array:
    """Return by how much points that are taken repel each candidate, as a logarithm.

    A maximum of height M cannot lie within (M − f) / L of a point of height f if no
    slope exceeds L; each factor is the probability that a candidate lies farther.

    Args:
        posterior: Mean and variance of f at m candidates.
        positions: (m, 2), any unit of length.
        taken: Candidates that repel.
        slope: L, unit of y per unit of length, as from `lipschitz`.
        top: M, unit of y; None: the highest mean.

    Returns:
        Sum of the logarithms of the factors, (m,), 0 or less.

    Raises:
        OutOfRange: If L is negative or not finite, or a candidate does not exist.
        ShapeMismatch: If positions do not fit the posterior.

    Source: González, Dai, Hennig and Lawrence (2016), PMLR 51, 648, proposition 1.
    """
    import jax
    from jax.scipy.special import log_ndtr

    mean, sd, at = _moments(posterior, positions)
    if not 0 <= slope < np.inf:
        raise OutOfRange(
            f"local_penalties got slope = {slope!r}; it takes a finite one, 0 or more. "
            "Use acquisition.penalties.lipschitz."
        )
    M = float(mean.max()) if top is None else float(top)
    total, most = np.zeros(mean.size), float(sd.max())
    for index in taken:
        j = require_index(int(index), mean.size)
        if most > 0:  # else all is known, and no place is better left out
            gap = slope * np.linalg.norm(at - at[j], axis=1) - M + mean[j]
            with float64():
                total += np.asarray(jax.jit(log_ndtr)(gap / max(sd[j], LEAST * most)))
    return total


def _moments(posterior: Posterior, positions: ArrayLike) -> tuple[Array, Array, Array]:
    """Return mean (m,), standard deviation (m,) and positions (m, d)."""
    mean = np.asarray(posterior.mean, np.float64)
    at = np.asarray(positions, np.float64)
    if at.ndim != 2 or mean.shape != at.shape[:1]:
        raise ShapeMismatch(
            f"A batch got positions of shape {at.shape} for a posterior of "
            f"{mean.shape}; it takes (m, 2) and (m,). Give every candidate a position."
        )
    return mean, np.sqrt(np.maximum(posterior.variance, 0.0)), at


def require_index(index: int, m: int) -> int:
    """Return the index of a candidate, or refuse one that is not among the m."""
    if not 0 <= index < m:
        raise OutOfRange(
            f"A batch was given candidate {index} of {m}; they are numbered from 0 to "
            f"{m - 1}. Give indices into the pool."
        )
    return index


def _least(at: Array, to: Array, extra: Array, length: float) -> Array:
    """Return min over points of |a − b|² / length² + extra, (m,), piece by piece."""
    least = np.full(len(at), np.inf)
    if not len(to):
        return least
    rows = max(1, PIECE // len(to))
    for begin in range(0, len(at), rows):
        piece = at[begin : begin + rows]
        square = np.zeros((len(piece), len(to))) + extra
        for k in range(at.shape[1]):
            square += ((piece[:, k, None] - to[None, :, k]) / length) ** 2
        least[begin : begin + rows] = square.min(axis=1)
    return least


def _positions(
    call: str, candidates: ArrayLike, points: ArrayLike
) -> tuple[Array, Array]:
    at = np.asarray(candidates, np.float64)
    to = np.asarray(points, np.float64)
    if to.size == 0:
        to = to.reshape(0, 2)
    if not at.ndim == to.ndim == 2 or not at.shape[1] == to.shape[1] == 2:
        raise ShapeMismatch(
            f"{call} got candidates of shape {at.shape} and points of {to.shape}; it "
            "takes (m, 2) and (n, 2), metres. Give one (x, y) a row."
        )
    if not (np.isfinite(at).all() and np.isfinite(to).all()):
        raise OutOfRange(
            f"{call} got a position that is not finite; positions are in metres. "
            "Leave out points that have none."
        )
    return at, to


def _closed(call: str, closed: ArrayLike | None, m: int) -> NDArray[np.bool_]:
    mask = np.zeros(m, bool) if closed is None else np.asarray(closed, bool)
    if mask.shape != (m,):
        raise ShapeMismatch(
            f"{call} got closed of shape {mask.shape} for {m} candidates. Give one "
            "truth value a candidate."
        )
    return mask


def _require(call: str, name: str, value: float, least: float | None = None) -> None:
    fits = value > 0 if least is None else value >= least
    if not (fits and value < np.inf):
        allowed = "more than 0" if least is None else f"{least:g} or more"
        raise OutOfRange(
            f"{call} got {name} = {value!r}; it is finite and {allowed}, metres. "
            "Compare it with the spacing of the candidates."
        )
