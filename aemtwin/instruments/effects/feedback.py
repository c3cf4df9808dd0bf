"""The height that a PI loop with limits gives for a surface: late, and parachuting.

A pure function beside `aemtwin.instruments.effects.tip`, which says what of a surface a
tip can touch; `effects.readings` joins it to the operation under way.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType

Array = NDArray[np.float64]

MOST = 4096  # updates a pixel
REAL = (int, float, np.integer, np.floating)


def follow(
    surface_m: ArrayLike,
    dt_s: float,
    *,
    proportional: float,
    integral_hz: float,
    slew_m_s: float,
    free_m: float = math.inf,
    oversample: int = 1,
    start_m: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Return the heights that the feedback gives to a surface, and the error left.

    Every dt_s the loop reads the error e of surface s at height z and moves, by an
    incremental PI law:

        e_k = max(s_k - z_k, -free)
        z_(k+1) = z_k + clip(P (e_k - e_(k-1)) + I dt e_k, -slew dt, slew dt)

    An error above 0 presses the tip. Off the surface it is at most `free`, as the
    detector then sees a free cantilever: behind an edge the tip parachutes at min(I
    free, slew). Nothing winds up while a limit holds, and what a limit cut off a
    proportional move is lost. Each line begins as if it had been settled at its start.

    A pixel has z and e as read at its last update, before the move. So height + error
    is the surface where the error was not limited, and for P = 0, I dt = 1 and no
    limits the height is the surface one update late. Under a ramp of v m/s the settled
    error is v / I. Between pixels the surface is a straight line.

    On a flat surface, without limits, e_(k+1) = (1 - P - I dt) e_k + P e_(k-1). That
    dies away if and only if

        0 <= P < 1 and 0 < I dt < 2 (1 - P)

    With more gain the errors grow with alternating sign, and heights oscillate until a
    limit holds them: such gains are allowed, as on an instrument. Without I the error
    of a step settles at 1 / (1 + P) of it.

    Args:
        surface_m: Heights in the order of time, (lines, n), metres; NaN where there is
            none: the loop holds its last surface there, and both results are NaN.
        dt_s: Time of one update, seconds, above 0; a pixel takes `oversample` of them.
        proportional: P, move over change of the error, from 0.
        integral_hz: I, moves per second over the error, Hz, from 0.
        slew_m_s: How fast the scanner moves at most, m/s, above 0; inf for no limit.
        free_m: Largest error off the surface, such as the deflection at the set point,
            metres, above 0; inf for no limit.
        oversample: Updates a pixel, 1 to 4096.
        start_m: Height before each line, (lines,), metres; None: of its first pixel.

    Returns:
        Heights and errors, each (lines, n), metres.

    Raises:
        OutOfRange: If a number is outside what is said, a height is infinite, or the
            loop runs away to where no float follows.
        ShapeMismatch: If the surface is not (lines, n), or the start not (lines,).
        WrongType: If something is no real number, or `oversample` not whole.

    Source:
        The velocity form of PI control is standard: du_k = P (e_k - e_(k-1)) + I e_k.
        Saturation of the error at the free amplitude: Sulchek et al. (2002), Rev. Sci.
        Instrum. 73, 2928. Stability by Jury's criterion and the rates are derived here.

    >>> step = [[0.0, 4e-9, 4e-9, 4e-9]]
    >>> z, e = follow(step, 1e-3, proportional=0, integral_hz=500, slew_m_s=1)
    >>> (z * 1e9).round(9).tolist(), (e * 1e9).round(9).tolist()
    ([[0.0, 0.0, 2.0, 3.0]], [[0.0, 4.0, 2.0, 1.0]])
    """
    surface = _heights("surface_m", surface_m)
    if surface.ndim != 2:
        raise ShapeMismatch(
            f"follow got surface_m of shape {surface.shape}; it is (lines, n)."
        )
    dt = _number("dt_s", dt_s, above=True)
    gain_p = _number("proportional", proportional)
    gain_i = _number("integral_hz", integral_hz) * dt
    most = _number("slew_m_s", slew_m_s, above=True, top=math.inf) * dt
    free = _number("free_m", free_m, above=True, top=math.inf)
    if isinstance(oversample, bool) or not isinstance(oversample, (int, np.integer)):
        raise WrongType(
            f"follow got oversample = {oversample!r}; it is a whole number."
        )
    if not 1 <= oversample <= MOST:
        raise OutOfRange(
            f"follow got oversample = {oversample}; allowed is 1 to {MOST} updates."
        )
    unknown = np.isnan(surface)
    points = np.ascontiguousarray(_held(surface, unknown).T)  # (n, lines): rows in time
    z, e = np.empty(points.shape), np.empty(points.shape)
    if points.size:
        start = points[0] if start_m is None else _heights("start_m", start_m)
        if start.shape != points[0].shape or np.isnan(start).any():
            raise ShapeMismatch(
                f"follow got start_m of shape {start.shape}; it is "
                f"{points[0].shape}: one known height for each line."
            )
        with np.errstate(all="ignore"):
            _loop(points, z, e, start, gain_p, gain_i, most, free, int(oversample))
        if not (np.isfinite(z[-1]).all() and np.isfinite(e[-1]).all()):
            raise OutOfRange(
                f"follow got P = {gain_p:g} and I dt = {gain_i:g}, with which the loop "
                "runs away; it settles for 0 < I dt < 2 (1 - P). Lower the gains, or "
                "give a finite slew_m_s."
            )
    z[unknown.T] = e[unknown.T] = np.nan
    return np.ascontiguousarray(z.T), np.ascontiguousarray(e.T)


def _loop(
    points: Array,
    z: Array,
    e: Array,
    start: Array,
    gain_p: float,
    gain_i: float,
    most: float,
    free: float,
    oversample: int,
) -> None:
    """Write heights and errors, (n, lines), all lines at once."""
    height, before, error = start.copy(), np.zeros(start.shape), np.empty(start.shape)
    move, part, between = np.empty((3, *start.shape))
    last = points[0]
    for here, height_there, error_there in zip(points, z, e, strict=True):
        for update in range(1, oversample + 1):
            if update < oversample:
                np.subtract(here, last, out=between)
                np.multiply(between, update / oversample, out=between)
                np.add(between, last, out=between)
                np.subtract(between, height, out=error)
            else:
                np.subtract(here, height, out=error)
            np.maximum(error, -free, out=error)
            if update == oversample:
                height_there[:], error_there[:] = height, error
            np.subtract(error, before, out=move)
            np.multiply(move, gain_p, out=move)
            np.multiply(error, gain_i, out=part)
            np.add(move, part, out=move)
            np.minimum(move, most, out=move)
            np.maximum(move, -most, out=move)
            np.add(height, move, out=height)
            before, error = error, before
        last = here


def _held(surface: Array, unknown: NDArray[np.bool_]) -> Array:
    """Return the surface with the last known height, or the first, where unknown."""
    if not unknown.any():
        return surface
    index = np.arange(surface.shape[1])
    known = np.maximum.accumulate(np.where(unknown, -1, index), axis=1)
    first = np.argmin(unknown, axis=1)[:, None]
    held = np.take_along_axis(surface, np.where(known < 0, first, known), axis=1)
    return np.nan_to_num(held, nan=0.0)  # of lines without any surface


def _heights(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise WrongType(
            f"follow got {name} of dtype {array.dtype}; heights are real numbers."
        )
    if np.isinf(array).any():
        raise OutOfRange(
            f"follow got an infinite height in {name}; allowed are finite metres, and "
            "NaN where the surface is unknown."
        )
    return array.astype(np.float64)


def _number(name: str, value: Any, *, above: bool = False, top: float = 1e300) -> float:
    if isinstance(value, bool) or not isinstance(value, REAL):
        raise WrongType(f"follow got {name} = {value!r}; it is a real number.")
    if not 0 <= value <= top or (above and value == 0):
        raise OutOfRange(
            f"follow got {name} = {value:g}; allowed is {'above' if above else 'from'} "
            f"0 to {top:g}. Give it in SI units."
        )
    return float(value)
