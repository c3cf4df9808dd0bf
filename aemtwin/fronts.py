"""Several numbers at once, all maximised: which values nothing beats, and how much.

A value dominates another if it is nowhere lower and somewhere higher; those that
nothing dominates are the front. The front dominates a volume above a reference point.
`aemtwin.acquisition.hypervolume` seeks what adds to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch

Floats = NDArray[np.float64]

MOST = 3  # outputs of which a hypervolume is computed
MARGIN = 0.1  # of the range of the front, by which the reference lies below it


def pareto(values: ArrayLike) -> NDArray[np.bool_]:
    """Return which values no other dominates, (n,); of equal ones all are.

    Args:
        values: Outputs, all maximised, (n, p).

    Raises:
        ShapeMismatch: If `values` is not (n, p).
        OutOfRange: If a number is not finite.

    >>> pareto([[0.0, 2.0], [1.0, 1.0], [0.5, 0.5]]).tolist()
    [True, True, False]
    """
    y = table("pareto", values)
    front = np.zeros(len(y), bool)
    left = np.lexsort(y.T[::-1])[::-1]  # the first of those left is never dominated
    while left.size:
        top, left = left[0], left[1:]
        front[top] = True
        apart = (y[left] > y[top]).any(axis=1) | (y[left] == y[top]).all(axis=1)
        left = left[apart]
    return front


def reference_of(values: ArrayLike, margin: float = MARGIN) -> Floats:
    """Return a point from which to count hypervolume, (p,), unit of y.

    It lies below the lowest value that the front has of each output by a part of the
    front's range, so that the ends of the front count too. An output of which the
    front has no range takes that of all values, or else |y|, or else 1. Keep one
    reference for hypervolumes that are to be compared.

    Args:
        values: Outputs, all maximised, (n, p), one row or more.
        margin: Part of the range, above 0.

    Raises ShapeMismatch or OutOfRange as `pareto` does.

    Source: the rule of BoTorch's `infer_reference_point`, which takes a tenth from
    Ishibuchi, Akedo and Nojima (2011), GECCO; without range, ours.

    >>> [float(r) for r in reference_of([[0.0, 2.0], [1.0, 1.0], [-9.0, -9.0]])]
    [-0.1, 0.9]
    """
    y = table("reference_of", values)
    if not len(y):
        raise ShapeMismatch(
            f"reference_of got values of shape {y.shape}; it takes one row or more. "
            "Give the reference yourself, or measure first."
        )
    front = y[pareto(y)]
    nadir = front.min(axis=0)
    span = np.ptp(front, axis=0)
    span = np.where(span > 0, span, np.ptp(y, axis=0))
    span = np.where(span > 0, span, np.abs(nadir))
    reference: Floats = nadir - margin * np.where(span > 0, span, 1.0)
    return reference


def hypervolume(front: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume that lies above the reference and below some value, exactly.

    Args:
        front: Values, (n, p) with p 2 or 3; dominated ones change nothing.
        reference: (p,), unit of y.

    Returns:
        Volume, product of the units of the outputs. Raises ShapeMismatch if shapes do
        not fit, OutOfRange if a number is not finite.

    Source: Fonseca, Paquete and López-Ibáñez (2006), IEEE CEC, for the sweep over one
    output; here each slice is computed anew, so three outputs cost n².

    >>> hypervolume([[1.0, 2.0], [2.0, 1.0]], [0.0, 0.0])
    3.0
    """
    y, r = above("hypervolume", front, reference)
    if y.shape[1] == 2:
        return _area(y, r)
    y = y[np.argsort(-y[:, 2], kind="stable")]
    heights = -np.diff(np.append(y[:, 2], r[2]))
    slices = [_area(y[: k + 1, :2], r[:2]) for k in range(len(y))]
    return float(heights @ np.array(slices)) if slices else 0.0


def volumes(values: ArrayLike, reference: ArrayLike) -> Floats:
    """Return the hypervolume of the first 1, 2, ... n values, (n,).

    Args:
        values: In the order found, (n, p) with p 2 or 3; a row with NaN adds nothing.
        reference: (p,), unit of y.

    >>> volumes([[1.0, 2.0], [np.nan, 9.0], [2.0, 1.0]], [0.0, 0.0]).tolist()
    [2.0, 2.0, 3.0]
    """
    y = np.asarray(values, np.float64)
    front, found = np.empty((0, y.shape[1])), list[float]()
    for row in y:
        more = bool(np.isfinite(row).all() and not (front >= row).all(axis=1).any())
        if more:
            front = np.vstack([front, row])
            front = front[pareto(front)]
        fresh = more or not found
        found.append(hypervolume(front, reference) if fresh else found[-1])
    return np.array(found, np.float64)


def _area(y: Floats, r: Floats) -> float:
    """Return the area between values above r, (n, 2), and r."""
    y = y[np.argsort(-y[:, 0], kind="stable")]
    widths = -np.diff(np.append(y[:, 0], r[0]))
    return float(widths @ (np.maximum.accumulate(y[:, 1]) - r[1])) if len(y) else 0.0


def table(call: str, values: ArrayLike) -> Floats:
    """Return values as (n, p) finite numbers."""
    y = np.asarray(values, np.float64)
    if y.ndim != 2 or not y.shape[1]:
        raise ShapeMismatch(
            f"{call} got values of shape {y.shape}; it takes (n, p), a row for each "
            "measurement and a column for each output."
        )
    if not np.isfinite(y).all():
        row = int(np.argwhere(~np.isfinite(y))[0, 0])
        raise OutOfRange(
            f"{call} got values[{row}] = {y[row].tolist()}, which are not all finite. "
            "Leave that measurement out."
        )
    return y


def above(call: str, front: ArrayLike, reference: ArrayLike) -> tuple[Floats, Floats]:
    """Return the values above the reference in every output, and the reference."""
    y, r = table(call, front), np.asarray(reference, np.float64)
    if y.shape[1] not in (2, 3) or r.shape != y.shape[1:]:
        raise ShapeMismatch(
            f"{call} got values of shape {y.shape} and a reference of shape {r.shape}; "
            "it takes (n, p) and (p,) with 2 or 3 outputs. Leave outputs out, or "
            "weigh some into one number."
        )
    if not np.isfinite(r).all():
        raise OutOfRange(
            f"{call} got the reference {r.tolist()}; it takes finite numbers. Take "
            "them from reference_of."
        )
    return y[(y > r).all(axis=1)], r
