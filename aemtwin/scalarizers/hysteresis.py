"""What a hysteresis loop says in one number: the area it encloses, where it switches.

Loops are arrays swept in time; the curve is closed from the last sample back to the
first, so the result does not depend on where in the cycle the sweep began. How a name
in a campaign file becomes one of these functions is in `aemtwin.scalarizers.registry`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch, WrongType

PLATEAUS = (0.1, 0.9)  # quantiles of the response that stand for the two branches


def loop_area(bias: ArrayLike, response: ArrayLike) -> NDArray[np.float64]:
    """Return the area enclosed by hysteresis loops, the work of switching.

    Several cycles in one waveform add up: the result is the work of the whole sweep, as
    many times the area of one cycle as there are equal cycles.

    Args:
        bias: Tip bias in the order it was swept, (v,), volts.
        response: Response at each bias, (..., v), in any unit u.

    Returns:
        Enclosed area of each loop, (...,), u·V, never negative.

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
    area = 0.5 * np.abs(np.sum(v * next_r - next_v * r, axis=-1))
    return np.asarray(area, dtype=np.float64)


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
    v, r = _require_loop("coercive_bias", bias, response)
    direction = _sweep_direction(v)
    found = [_half_width(v, direction, loop) for loop in r.reshape(-1, v.size)]
    return np.array(found, dtype=np.float64).reshape(r.shape[:-1])


def _half_width(
    bias: NDArray[np.float64],
    direction: NDArray[np.float64],
    response: NDArray[np.float64],
) -> float:
    """Coercive bias of one loop; arrays (v,)."""
    if not np.all(np.isfinite(response)):
        return float("nan")
    centred = response - np.mean(np.quantile(response, PLATEAUS))
    following = np.roll(centred, -1)
    crosses = (centred < 0) != (following < 0)
    rising, falling = crosses & (direction > 0), crosses & (direction < 0)
    if not rising.any() or not falling.any():
        return float("nan")
    step = np.roll(bias, -1) - bias
    change = np.where(crosses, following - centred, 1.0)
    at = bias - centred / change * step  # (v,) V, read where `crosses`
    return float(abs(np.median(at[rising]) - np.median(at[falling])) / 2)


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
    """Return both as float64, of lengths that agree."""
    v, r = np.asarray(bias), np.asarray(response)
    for name, array in (("bias", v), ("response", r)):
        if array.dtype.kind not in "iuf":
            raise WrongType(
                f"{call} got a {name} of type {array.dtype}; it takes real numbers. "
                "Give the part that is meant, such as the real part of a response."
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
    return v.astype(np.float64), r.astype(np.float64)
