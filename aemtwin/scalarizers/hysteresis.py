"""What a hysteresis loop says in one number: its area, where and how far it switches.

Loops are arrays swept in time; the curve is closed from the last sample back to the
first, so the result does not depend on where in the cycle the sweep began. A loop with
a sample that is not finite has no value. How a name in a campaign file becomes one of
these functions is in `aemtwin.scalarizers.registry`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch
from aemtwin.scalarizers.arrays import finite, quiet, require_real

PLATEAUS = (0.1, 0.9)  # quantiles of the response that stand for the two branches


@quiet
def loop_area(bias: ArrayLike, response: ArrayLike) -> NDArray[np.float64]:
    """Return the area enclosed by hysteresis loops, the work of switching.

    Several cycles in one waveform add up: the result is the work of the whole sweep, as
    many times the area of one cycle as there are equal cycles.

    Args:
        bias: Tip bias in the order it was swept, (v,), volts.
        response: Response at each bias, (..., v), in any unit u.

    Returns:
        Enclosed area of each loop, (...,), u·V, never negative; NaN where the
        response is not finite.

    Raises:
        ShapeMismatch: If `response` does not end in an axis as long as `bias`.
        WrongType: If either is complex or not numeric.

    Source:
        Jesse, Baddorf and Kalinin (2006), Appl. Phys. Lett. 88, 062908; the shoelace
        formula.

    >>> float(loop_area(np.array([0.0, 1, 1, 0]), np.array([0.0, 0, 1, 1])))
    1.0
    """
    v, r = _require_loop("loop_area", bias, response)
    v, r = v - v[0], r - r[..., :1]  # a far origin would cost digits
    next_v, next_r = np.roll(v, -1), np.roll(r, -1, axis=-1)
    return finite(0.5 * np.abs(np.sum(v * next_r - next_v * r, axis=-1)))


def coercive_bias(bias: ArrayLike, response: ArrayLike) -> NDArray[np.float64]:
    """Return half the distance between the two biases at which loops switch.

    The offset is taken off first: zero is the middle between the two branches, which
    are the 10 % and the 90 % quantile of the response. A crossing is interpolated
    linearly between its two samples, and belongs to the rising or to the falling sweep
    by the direction of the bias there (where the bias stands still, by the last one
    that it had). Waveforms of several cycles, and noise that crosses zero more than
    once, give several crossings on each side: their medians are used.

    Args:
        bias: Tip bias in the order it was swept, (v,), volts.
        response: Response at each bias, (..., v), in any unit.

    Returns:
        Coercive bias of each loop, (...,), volts, never negative; NaN where the
        response does not cross zero on both sweeps, or is not finite.

    Raises:
        ShapeMismatch: If `response` does not end in an axis as long as `bias`.
        WrongType: If either is complex or not numeric.

    Source:
        Jesse, Baddorf and Kalinin (2006), Appl. Phys. Lett. 88, 062908:
        (V+ - V-) / 2.

    >>> float(coercive_bias(np.array([-2.0, 2, 2, -2]), np.array([-1.0, -1, 1, 1])))
    2.0
    """
    rising, falling = _switching_biases("coercive_bias", bias, response)
    return np.asarray(np.abs(rising - falling) / 2, dtype=np.float64)


def imprint(bias: ArrayLike, response: ArrayLike) -> NDArray[np.float64]:
    """Return how far the middle of hysteresis loops lies from zero bias.

    The two biases at which a loop switches are found as in `coercive_bias`; this is
    their mean. A loop that a built-in field moved to positive bias has a positive one,
    whatever the sign of the response.

    Args:
        bias: Tip bias in the order it was swept, (v,), volts.
        response: Response at each bias, (..., v), in any unit.

    Returns:
        Imprint of each loop, (...,), volts, of either sign; NaN where the response does
        not switch on both sweeps, or is not finite.

    Raises:
        ShapeMismatch: If `response` does not end in an axis as long as `bias`.
        WrongType: If either is complex or not numeric.

    Source:
        Jesse, Baddorf and Kalinin (2006), Appl. Phys. Lett. 88, 062908:
        (V+ + V-) / 2.

    >>> float(imprint(np.array([-1.5, 2.5, 2.5, -1.5]), np.array([-1.0, -1, 1, 1])))
    0.5
    """
    rising, falling = _switching_biases("imprint", bias, response)
    return np.asarray((rising + falling) / 2, dtype=np.float64)


@quiet
def switching(bias: ArrayLike, response: ArrayLike) -> NDArray[np.float64]:
    """Return the switchable response: how far loops are open at zero bias.

    The remanent response R+rem is what is left at zero bias on the falling sweep, after
    a positive bias; R-rem is that on the rising sweep. Both are interpolated linearly
    between the samples before and after zero. Waveforms of several cycles give several
    of each: their medians are used. A constant offset of the response drops out.

    Args:
        bias: Tip bias in the order it was swept, (v,), volts.
        response: Response at each bias, (..., v), in any unit u.

    Returns:
        R+rem - R-rem of each loop, (...,), u; negative where the loop runs the other
        way round, NaN where the bias does not pass zero in both directions, or where
        the response is not finite.

    Raises:
        ShapeMismatch: If `response` does not end in an axis as long as `bias`.
        WrongType: If either is complex or not numeric.

    Source:
        Jesse, Baddorf and Kalinin (2006), Appl. Phys. Lett. 88, 062908: the remanent
        switchable response.

    >>> float(switching(np.array([-2.0, 2, 2, -2]), np.array([-1.0, -1, 3, 3])))
    4.0
    """
    v, r = _require_loop("switching", bias, response)
    following, next_r = np.roll(v, -1), np.roll(r, -1, axis=-1)
    rising = np.flatnonzero((v < 0) & (following >= 0))
    falling = np.flatnonzero((v >= 0) & (following < 0))
    if not (rising.size and v.max() > 0):  # a closed curve passes as often down as up
        return np.full(r.shape[:-1], np.nan)

    def remanent(at: NDArray[np.intp]) -> NDArray[np.float64]:
        share = v[at] / (v[at] - following[at])  # of the way to the next sample
        there = r[..., at] * (1 - share) + next_r[..., at] * share
        return np.asarray(np.median(there, axis=-1))

    opening = remanent(falling) - remanent(rising)
    return finite(np.where(np.isnan(r).any(axis=-1), np.nan, opening))


def _switching_biases(
    call: str, bias: ArrayLike, response: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where loops switch on the rising and on the falling sweep, (...,) V."""
    v, r = _require_loop(call, bias, response)
    direction = _sweep_direction(v)
    found = [_crossings(v, direction, loop) for loop in r.reshape(-1, v.size)]
    pairs = np.array(found, dtype=np.float64).reshape(*r.shape[:-1], 2)
    return pairs[..., 0], pairs[..., 1]


@quiet
def _crossings(
    bias: NDArray[np.float64],
    direction: NDArray[np.float64],
    response: NDArray[np.float64],
) -> tuple[float, float]:
    """Return where one loop switches on each sweep, V; arrays (v,)."""
    none = float("nan"), float("nan")
    middle = np.mean(np.quantile(response, PLATEAUS))
    if not np.isfinite(middle):
        return none
    centred = response - middle
    following = np.roll(centred, -1)
    crosses = (centred < 0) != (following < 0)
    rising, falling = crosses & (direction > 0), crosses & (direction < 0)
    if not rising.any() or not falling.any():
        return none
    step = np.roll(bias, -1) - bias
    change = np.where(crosses, following - centred, 1.0)
    at = bias - centred / change * step  # (v,) V, read where `crosses`
    return float(np.median(at[rising])), float(np.median(at[falling]))


def _sweep_direction(bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sign of the bias step after each sample, (v,); a pause keeps the last sign."""
    sign = np.sign(np.roll(bias, -1) - bias)
    moving = np.flatnonzero(sign)
    if moving.size == 0:
        return sign
    before = np.searchsorted(moving, np.arange(bias.size), side="right") - 1
    return sign[moving[before]]  # -1 reads the last one: the curve is closed


def _require_loop(
    call: str, bias: ArrayLike, response: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64, of lengths that agree; what is not finite is NaN."""
    v, r = require_real(
        call, "the real part of a response", bias=bias, response=response
    )
    if v.ndim != 1 or v.size == 0:
        raise ShapeMismatch(
            f"{call} got a bias of shape {v.shape}; it takes (v,) with v > 0. "
            "Give the waveform in the order in which it was swept."
        )
    if r.ndim == 0 or r.shape[-1] != v.size:
        raise ShapeMismatch(
            f"{call} got a response of shape {r.shape}; its last axis must be "
            f"as long as the bias, {v.size}. Move the bias axis to the end."
        )
    return v.astype(np.float64), finite(r)
