"""A voltage on the tip that switches a ferroelectric: the domain that it writes.

Pure functions; `aemtwin.instruments.effects.seeing` makes an effect of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch

Array = NDArray[np.float64]


def domain_radius(
    bias_v: float,
    dwell_s: float,
    threshold_v: float,
    *,
    metres_per_volt: float,
    onset_s: float,
) -> float:
    """Return the radius of the domain that a pulse writes, metres.

    slope · (|V| - Vc) · ln(1 + t / onset): nothing up to the threshold, in proportion
    to the bias above it and to the logarithm of the time.

    Args:
        bias_v: Of the tip, of either sign.
        dwell_s: How long, 0 or more.
        threshold_v: Vc, 0 or more.
        metres_per_volt: Slope for each factor e in time, 0 or more.
        onset_s: When growth begins, above 0.

    Raises:
        OutOfRange: If a number is not as above, or not finite.

    Source:
        Linear in bias: Rodriguez, Nemanich, Kingon, Gruverman, Kalinin, Terabe, Liu and
        Kitamura (2005), Appl. Phys. Lett. 86, 012906. Linear in bias and in the
        logarithm of time: Blaser and Paruch (2015), arXiv:1501.02603, who call both
        well known. The offset by threshold and onset is chosen here.

    >>> domain_radius(2.0, 1.0, 3.0, metres_per_volt=1e-8, onset_s=0.1)
    0.0
    """
    if not (
        abs(bias_v) < math.inf
        and 0 <= dwell_s < math.inf
        and 0 <= threshold_v < math.inf
        and 0 <= metres_per_volt < math.inf
        and 0 < onset_s < math.inf
    ):
        raise OutOfRange(
            f"domain_radius got bias_v = {bias_v!r}, dwell_s = {dwell_s!r}, "
            f"threshold_v = {threshold_v!r}, metres_per_volt = {metres_per_volt!r} and "
            f"onset_s = {onset_s!r}; all are finite, none but the bias is negative, "
            "and the last is above 0."
        )
    above = max(abs(bias_v) - threshold_v, 0.0)
    return metres_per_volt * above * math.log1p(dwell_s / onset_s)


def stamped(
    polarity: Array, away_m: Array, radius_m: float, sign: float, wall_m: float
) -> Array:
    """Return polarity with a round domain in it.

    Args:
        polarity: -1 to 1, any shape.
        away_m: Distance from the middle of the domain, same shape.
        radius_m: To the middle of its wall; nothing is written where it is not above 0.
        sign: Of the polarity inside, above or below 0; only its sign counts.
        wall_m: Half width of the wall's tanh, above 0.

    Returns:
        A new array: `sign` well inside, as it was well outside; written twice is as
        written once. A domain not much wider than its wall does not switch fully.

    Raises:
        OutOfRange: If the wall is not above 0, or the sign is 0 or not a number.

    >>> stamped(np.array([-1.0, -1.0]), np.array([0.0, 9.0]), 3.0, 1.0, 0.1).tolist()
    [1.0, -1.0]
    """
    if not (0 < wall_m < math.inf and abs(sign) > 0):
        raise OutOfRange(
            f"stamped got wall_m = {wall_m!r} and sign = {sign!r}; a wall is above 0, "
            "and a domain is 1 or -1 inside."
        )
    if not radius_m > 0:
        return polarity.copy()
    wall = np.tanh((radius_m - away_m) / wall_m)  # 1 inside, -1 outside
    if sign > 0:
        return np.asarray(np.maximum(polarity, wall))
    return np.asarray(np.minimum(polarity, -wall))


def written(
    polarity: ArrayLike,
    x_m: ArrayLike,
    y_m: ArrayLike,
    centre_m: ArrayLike,
    radius_m: float,
    sign: float,
    wall_m: float,
) -> Array:
    """Return a map of polarity with a round domain in it, on any grid.

    Args:
        polarity: -1 to 1, (rows, columns).
        x_m: Of the columns, (columns,), metres, in any order and spacing.
        y_m: Of the rows, (rows,), metres.
        centre_m: (x, y) of the middle of the domain, metres.
        radius_m: As the next two: see `stamped`.
        sign: Of the polarity inside.
        wall_m: Half width of the wall's tanh.

    Returns:
        A new map, (rows, columns).

    Raises:
        OutOfRange: As `stamped`.
        ShapeMismatch: If the shapes are not as above.

    >>> written([[-1.0, -1.0, -1.0]], [0, 1, 9], [0], (0, 0), 3.0, 1, 0.1).tolist()
    [[1.0, 1.0, -1.0]]
    """
    now = np.asarray(polarity, np.float64)
    x, y = np.asarray(x_m, np.float64), np.asarray(y_m, np.float64)
    centre = np.asarray(centre_m, np.float64)
    if (y.shape + x.shape) != now.shape or now.ndim != 2 or centre.shape != (2,):
        raise ShapeMismatch(
            f"written got polarity of shape {now.shape}, x of {x.shape}, y of "
            f"{y.shape} and a centre of {centre.shape}; they are (rows, columns), "
            "(columns,), (rows,) and (2,)."
        )
    away = np.hypot(x - centre[0], (y - centre[1])[:, None])
    return stamped(now, away, radius_m, sign, wall_m)


def piezo_amplitude(amplitude: NDArray[Any], flip: Array) -> Array:
    """Return a recorded amplitude with the polarity turned by `flip`, -1 to 1."""
    return np.asarray(amplitude * np.abs(flip))


def piezo_phase(phase_deg: NDArray[Any], flip: Array) -> Array:
    """Return a recorded phase, turned by half a turn where `flip` is negative.

    Args:
        phase_deg: -180 to 180 degrees; elsewhere than there it is left as it is where
            `flip` is not negative.
        flip: -1 to 1, same shape.

    >>> piezo_phase(np.array([-90.0, 80.0]), np.array([-1.0, 1.0])).tolist()
    [90.0, 80.0]
    """
    turned = phase_deg + np.where(phase_deg > 0, -180.0, 180.0)  # stays in its range
    return np.asarray(np.where(flip < 0, turned, phase_deg), np.float64)


def piezo_image(
    amplitude: NDArray[Any], phase_deg: NDArray[Any], flip: Array
) -> tuple[Array, Array]:
    """Return the recorded amplitude and phase with the polarity turned by `flip`.

    As A e^{iφ} times `flip`: amplitude dips at a wall, phase jumps by half a turn.

    Args:
        amplitude: As recorded, any shape and unit.
        phase_deg: As recorded, -180 to 180 degrees, same shape.
        flip: Polarity now times polarity as recorded, -1 to 1, same shape.

    >>> both = piezo_image(np.array([2.0]), np.array([90.0]), np.array([-1.0]))
    >>> [values.tolist() for values in both]
    [[2.0], [-90.0]]
    """
    return piezo_amplitude(amplitude, flip), piezo_phase(phase_deg, flip)
