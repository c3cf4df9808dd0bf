"""How long to measure at a spot: long enough to pay for getting there, no longer.

Counting noise falls as 1/dwell while the way there costs the same, so there is a dwell
at which the variance falls fastest in the time, or in the dose, that is spent. `cost`
weighs which spot; here the spot is given. NumPy alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch

Array = NDArray[np.float64]


def reduction(
    dwell_s: ArrayLike,
    variance: ArrayLike,
    noise_variance: ArrayLike,
    reference_s: float,
    *,
    floor: float = 0.0,
) -> Array:
    """Return by how much a measurement lowers the variance of f where it is made.

    With noise of variance s(t) = noise_variance · reference_s / t + floor it is
    v² / (v + s(t)). Summed over all candidates it is Σ c² / (v + s(t)), c the
    covariances with them: another factor, the same function of t.

    Args:
        dwell_s: t, seconds, more than 0; any shape that fits the variance.
        variance: v, of the latent f at the spot, unit of y squared.
        noise_variance: Of one measurement of `reference_s`, unit of y squared.
        reference_s: The dwell at which the noise is that.
        floor: Variance of the noise that no dwell removes, unit of y squared.

    Returns:
        Unit of y squared; known before the measurement, as it does not depend on y.

    Source: Rasmussen and Williams (2006), eq. A.6, for one point.

    >>> float(reduction(2.0, 1.0, 1.0, 1.0).round(4))
    0.6667
    """
    t, v, a = _noise("reduction", variance, noise_variance, reference_s, floor, dwell_s)
    below = (v + floor) * t + a
    return v**2 * t / np.where(below > 0, below, 1.0)  # 0 where v is 0


def best_dwell_s(
    variance: ArrayLike,
    noise_variance: ArrayLike,
    reference_s: float,
    overhead_s: ArrayLike,
    *,
    low_s: float,
    high_s: float,
    levels: ArrayLike | None = None,
    floor: float = 0.0,
) -> Array:
    """Return the dwell at which the variance falls fastest, for each spot.

    A measurement of t seconds takes `overhead_s` + t, so the rate is
    v² t / (((v + floor) t + a) (t0 + t)), a = noise_variance · reference_s. Its
    logarithm has the derivative 1/t − (v + floor)/((v + floor) t + a) − 1/(t0 + t),
    which is positive where (v + floor) t² < a t0 and negative beyond: one maximum, at
    t = √(a t0 / (v + floor)). So between limits the nearest to it is best, and of a
    ladder one of the two levels around it; the rate decides which.

    What is well known is measured long, what is unknown short; without overhead the
    shortest is best.

    Args:
        variance: v, of the latent f, (m,) or (), unit of y squared. Where it and the
            floor are 0 the answer is the limit, `high_s`.
        noise_variance: Of one measurement of `reference_s`, (m,) or (), unit of y
            squared; 0 takes `low_s`.
        reference_s: The dwell at which the noise is that, seconds.
        overhead_s: t0: moving, settling and all else that a spot costs, seconds, (m,)
            or (). For a budget of dose see `overhead_of`.
        low_s: Shortest dwell of the mode.
        high_s: Longest dwell of the mode.
        levels: Dwells to choose among, (k,), seconds; those outside the limits are
            left out. None: any.
        floor: Variance of the noise that no dwell removes, unit of y squared.

    Returns:
        Seconds, shape of the variance.

    Raises:
        BadConfig: If limits are not 0 < low ≤ high, or no level lies between them.
        OutOfRange: If a variance or a time is negative or not finite.
        ShapeMismatch: If shapes do not fit.

    Source: derived here.

    >>> best_dwell_s([1.0, 4.0], 1.0, 1.0, 4.0, low_s=0.01, high_s=10.0).tolist()
    [2.0, 1.0]
    """
    if not 0 < low_s <= high_s < np.inf:
        raise BadConfig(
            f"best_dwell_s got limits from {low_s!r} to {high_s!r} s; they are finite, "
            "more than 0 and run upwards. Use the dwell_s of the mode."
        )
    spent = np.asarray(overhead_s, np.float64)
    if not (np.isfinite(spent) & (spent >= 0)).all():
        raise OutOfRange(
            f"best_dwell_s got overhead_s = {overhead_s!r}; it is finite and 0 or "
            "more, seconds. Take moving and settling together."
        )
    _, v, a = _noise(
        "best_dwell_s", variance, noise_variance, reference_s, floor, low_s
    )
    if spent.ndim and spent.shape != v.shape:
        raise ShapeMismatch(
            f"best_dwell_s got overhead_s of shape {spent.shape} for spots of "
            f"{v.shape}. Give one number, or one for each spot."
        )
    known = v + floor
    square = np.divide(
        a * spent, known, where=known > 0, out=np.full(np.shape(known), np.inf)
    )
    square = np.where(a * spent > 0, square, 0.0)
    dwell: Array = np.clip(np.sqrt(square), low_s, high_s)
    return dwell if levels is None else _on_ladder(dwell, levels, low_s, high_s, square)


def overhead_of(
    overhead_s: float,
    *,
    dose_per_s: float,
    overhead_dose: float = 0.0,
    per_second: float = 0.0,
    per_dose: float = 1.0,
) -> float:
    """Return the overhead that makes `best_dwell_s` spend a price of time and dose.

    A spot costs C0 + C1 t with C0 = per_second · overhead_s + per_dose · overhead_dose
    and C1 = per_second + per_dose · dose_per_s, which is time with the overhead C0/C1.

    Where dose alone counts and only the dwell doses, that is 0, and the shortest dwell
    is best: a unit of dose gains in proportion to v² / (v t + a), which falls with t.
    The first bit of dose at a spot teaches most, so a dose is spread over as many
    spots as time allows. Nothing is lost by it where the noise has no floor: k visits
    of t/k to one spot teach as much as one of t. What bounds the dwell from below is
    then time, the dose of arriving, or the mode.

    Args:
        overhead_s: Moving, settling and all else that a spot costs, seconds.
        dose_per_s: Dose of a second of dwell, unit of the instrument.
        overhead_dose: Dose that a spot gets besides, such as while settling.
        per_second: Price of a second, as in `cost.Cost`.
        per_dose: Price of a unit of dose.

    Returns:
        Seconds.

    Raises:
        OutOfRange: If a number is negative or not finite, or a dwell costs nothing.

    Source: derived here.

    >>> overhead_of(0.5, dose_per_s=2.0)
    0.0
    >>> overhead_of(0.5, dose_per_s=2.0, per_second=1.0, per_dose=0.0)
    0.5
    """
    numbers = overhead_s, dose_per_s, overhead_dose, per_second, per_dose
    each = per_second + per_dose * dose_per_s
    if not all(0 <= number < np.inf for number in numbers) or each <= 0:
        raise OutOfRange(
            f"overhead_of got overhead_s = {overhead_s!r}, dose_per_s = {dose_per_s!r},"
            f" overhead_dose = {overhead_dose!r}, per_second = {per_second!r} and "
            f"per_dose = {per_dose!r}; all are finite and 0 or more, and a second of "
            "dwell costs more than 0. Give a price to what is scarce."
        )
    return (per_second * overhead_s + per_dose * overhead_dose) / each


def _on_ladder(
    dwell: Array, levels: ArrayLike, low_s: float, high_s: float, square: Array
) -> Array:
    """Return the level with the highest rate, the shorter of two alike."""
    ladder = np.unique(np.asarray(levels, np.float64))
    ladder = ladder[(ladder >= low_s) & (ladder <= high_s)]
    if not ladder.size:
        raise BadConfig(
            f"best_dwell_s got no level between {low_s:g} and {high_s:g} s. Give one, "
            "or leave levels out."
        )
    above = np.searchsorted(ladder, dwell).clip(0, ladder.size - 1)
    below = (above - 1).clip(0)
    # 1/rate is proportional to t + t*²/t up to a constant: rates are equal where the
    # product of two levels is t*²
    shorter = square <= ladder[below] * ladder[above]
    chosen: Array = np.where(shorter, ladder[below], ladder[above])
    return chosen


def _noise(
    call: str,
    variance: ArrayLike,
    noise_variance: ArrayLike,
    reference_s: float,
    floor: float,
    dwell_s: ArrayLike,
) -> tuple[Array, Array, Array]:
    """Return dwell, variance and noise variance times its dwell, in one shape."""
    t, v = np.asarray(dwell_s, np.float64), np.asarray(variance, np.float64)
    noise = np.asarray(noise_variance, np.float64)
    numbers = (v, noise, np.asarray(floor))
    good = all(np.isfinite(x).all() and (x >= 0).all() for x in numbers)
    if not (good and 0 < reference_s < np.inf and (t > 0).all()):
        raise OutOfRange(
            f"{call} got a variance, a noise variance or a floor ({floor:g}) that is "
            f"negative or not finite, or a dwell ({reference_s:g} s is the reference) "
            "that is not more than 0. Give variances of the latent value and of one "
            "measurement."
        )
    try:
        t, v, a = np.broadcast_arrays(t, v, noise * reference_s)
    except ValueError:
        raise ShapeMismatch(
            f"{call} got dwells of shape {t.shape}, variances of {v.shape} and noise "
            f"of {noise.shape}, which do not fit. Give (m,) or one number each."
        ) from None
    return t, v, a
