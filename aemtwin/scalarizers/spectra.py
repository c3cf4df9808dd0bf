"""What a spectrum says in one number: intensity of a band or two, a peak and its width.

The axis may rise or fall and need not be uniform. A spectrum has no value where a
sample that counts is not finite; samples outside the band may be. How a name in a
campaign file becomes one of these functions is in `aemtwin.scalarizers.registry`; loops
have `aemtwin.scalarizers.hysteresis`, what is learned `aemtwin.scalarizers.learned`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.scalarizers.arrays import finite, quiet, require_real

SLACK = 0.5  # of a step: an edge that misses the end of the axis by less is the end


@quiet
def band_intensity(
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[np.float64]:
    """Return the integral of spectra over a band.

    The spectrum is taken as straight lines between its samples, also at the two edges
    of the band, so that bands which share an edge add up.

    Args:
        axis: Energy, wave number or whatever the spectrum runs over, (e,), in a unit a.
        spectrum: Intensity at each, (..., e), in any unit u.
        low: Lower edge of the band, in a; None is the end of the axis.
        high: Upper edge of the band, in a; None is the end of the axis.

    Returns:
        Integral of each spectrum, (...,), u·a; NaN where a sample is not finite that
        lies in the band, or beside an edge between two samples.

    Raises:
        OutOfRange: If the band is empty or not all on the axis, or if the axis turns.
        ShapeMismatch: If `spectrum` does not end in an axis as long as `axis`.
        WrongType: If either is complex or not numeric.

    Source:
        The trapezoidal rule; with interpolated edges it is exact for such a spectrum.

    >>> float(band_intensity([0.0, 1, 2], [0.0, 1, 2], low=0.5, high=1.5))
    1.0
    """
    x, y = _require_spectrum("band_intensity", axis, spectrum)
    low, high = _require_band("band_intensity", x, low, high)
    inside = (x > low) & (x < high)
    first, last = (_at(x, y, edge)[..., None] for edge in (low, high))
    y = np.concatenate((first, y[..., inside], last), axis=-1)
    x = np.concatenate(([low], x[inside], [high]))
    return finite(np.trapezoid(y, x, axis=-1))


@quiet
def band_ratio(
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None = None,
    high: float | None = None,
    low2: float | None = None,
    high2: float | None = None,
) -> NDArray[np.float64]:
    """Return the integral of spectra over one band as a multiple of that over another.

    The ratio of two bands tells composition or order where thickness, dwell or focus
    change the intensity of both alike. Edges are treated as in `band_intensity`.

    Args:
        axis: What the spectrum runs over, (e,), in any unit.
        spectrum: Intensity at each, (..., e), in any unit.
        low: Lower edge of the band above the line, unit of `axis`; None is its end.
        high: Upper edge of that band, unit of `axis`; None is the axis' end.
        low2: Lower edge of the band below the line, unit of `axis`; None is its end.
        high2: Upper edge of that band, unit of `axis`; None is the axis' end.

    Returns:
        Ratio of each spectrum, (...,), without unit; NaN where the second band's
        integral is not positive, or where either band holds a sample that is not
        finite.

    Raises:
        OutOfRange: If a band is empty or not all on the axis, or if the axis turns.
        ShapeMismatch: If `spectrum` does not end in an axis as long as `axis`.
        WrongType: If either is complex or not numeric.

    Source:
        Tuinstra and Koenig (1970), J. Chem. Phys. 53, 1126: the ratio of two Raman
        bands as a measure, there of crystal size.

    >>> float(band_ratio([0.0, 1, 2], [2.0, 2, 6], 0, 1, 1, 2))
    0.5
    """
    above = band_intensity(axis, spectrum, low, high)
    below = band_intensity(axis, spectrum, low2, high2)
    return finite(np.where(below > 0, above / below, np.nan))


@quiet
def peak_position(
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[np.float64]:
    """Return where spectra are highest, finer than their samples.

    A parabola through the highest sample in the band and its two neighbours gives the
    position. A highest sample at the edge of the band is returned as it is, since the
    peak may lie beyond; of several equally high samples the lowest on the axis counts.

    Args:
        axis: What the spectrum runs over, (e,), in any unit.
        spectrum: Intensity at each, (..., e), in any unit.
        low: Lower edge of the band searched, unit of `axis`; None is the axis' end.
        high: Upper edge of the band searched, unit of `axis`; None is the axis' end.

    Returns:
        Position of each peak, (...,), unit of `axis`; NaN where a sample in the band
        is not finite.

    Raises:
        OutOfRange: If the band holds no sample or leaves the axis, or the axis turns.
        ShapeMismatch: If `spectrum` does not end in an axis as long as `axis`.
        WrongType: If either is complex or not numeric.

    Source:
        The vertex of the parabola through three points (Lagrange).

    >>> x = np.array([0.0, 1, 2, 3])
    >>> float(peak_position(x, 5 - (x - 1.25) ** 2))
    1.25
    """
    x, y = _samples_in_band("peak_position", axis, spectrum, low, high)
    top = np.argmax(y, axis=-1)[..., None]  # (..., 1)
    position = x[top]
    if x.size >= 3:
        middle = np.clip(top, 1, x.size - 2)
        vertex = _vertex(
            *((x[i], _take(y, i)) for i in (middle - 1, middle, middle + 1))
        )
        position = np.where(top == middle, vertex, position)
    position = np.where(np.isnan(y).any(axis=-1, keepdims=True), np.nan, position)
    return np.asarray(position[..., 0], dtype=np.float64)


@quiet
def peak_width(
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None = None,
    high: float | None = None,
    baseline: float | None = None,
) -> NDArray[np.float64]:
    """Return the full width at half maximum of the highest peak of spectra.

    Half maximum lies mid-way between the baseline and the highest sample in the band;
    of several equally high samples the lowest on the axis counts. From there the first
    crossing on either side is taken, interpolated linearly between its two samples, so
    that other peaks and the noise beyond change nothing. Without a baseline the lowest
    sample in the band is that: give one where noise makes this too low.

    Args:
        axis: What the spectrum runs over, (e,), in a unit a.
        spectrum: Intensity at each, (..., e), in any unit u.
        low: Lower edge of the band searched, in a; None is the axis' end.
        high: Upper edge of the band searched, in a; None is the axis' end.
        baseline: Intensity under the peak, in u; None is the lowest in the band.

    Returns:
        Width of each peak, (...,), a; NaN where the peak does not fall to half its
        maximum on both sides within the band, where nothing rises above the baseline
        (a constant spectrum), and where a sample in the band is not finite.

    Raises:
        OutOfRange: If the band holds no sample or leaves the axis, or the axis turns.
        ShapeMismatch: If `spectrum` does not end in an axis as long as `axis`.
        WrongType: If either is complex or not numeric.

    Source:
        The full width at half maximum; linear interpolation between samples.

    >>> float(peak_width([0.0, 1, 2, 3, 4], [1.0, 1, 3, 1, 1]))
    1.0
    """
    x, y = _samples_in_band("peak_width", axis, spectrum, low, high)
    top = np.argmax(y, axis=-1)[..., None]  # (..., 1); NaN, if there is one
    peak = _take(y, top)
    base = y.min(axis=-1, keepdims=True) if baseline is None else np.float64(baseline)
    half = 0.5 * peak + 0.5 * base  # halves first, for their sum may overflow
    index, below = np.arange(x.size), y <= half
    left = np.where(below & (index < top), index, -1).max(axis=-1, keepdims=True)
    right = np.where(below & (index > top), index, x.size).min(axis=-1, keepdims=True)
    found = (left >= 0) & (right < x.size) & (half < peak)
    begin = _crossing(x, y, np.where(found, left, 0), 1, half)
    end = _crossing(x, y, np.where(found, right, x.size - 1), -1, half)
    return finite(np.where(found, end - begin, np.nan)[..., 0])


def _crossing(
    axis: NDArray[np.float64],
    spectrum: NDArray[np.float64],
    outer: NDArray[np.intp],
    inward: int,
    level: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Where the line from a sample to its neighbour has a level, (..., 1)."""
    inner = np.clip(outer + inward, 0, axis.size - 1)
    y0, y1 = _take(spectrum, outer), _take(spectrum, inner)
    share = (level - y0) / (y1 - y0)
    return np.asarray(axis[outer] + share * (axis[inner] - axis[outer]))


Sample = tuple[NDArray[np.float64], NDArray[np.float64]]


def _vertex(left: Sample, top: Sample, right: Sample) -> NDArray[np.float64]:
    """Where the parabola through three samples is highest; the middle if flat."""
    (x0, y0), (x1, y1), (x2, y2) = left, top, right
    rise, fall = (y1 - y0) / (x1 - x0), (y1 - y2) / (x2 - x1)  # both >= 0 at a top
    # the slope runs from `rise` mid-way on the left to `-fall` mid-way on the right
    share = rise / (rise + fall)
    share = np.where(np.isfinite(share), share, (x1 - x0) / (x2 - x0))
    return 0.5 * (x0 + x1) + share * 0.5 * (x2 - x0)


def _take(values: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    taken: NDArray[np.float64] = np.take_along_axis(values, index, axis=-1)
    return taken


def _samples_in_band(
    call: str,
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None,
    high: float | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what lies in the band, along a rising axis, at least one sample."""
    x, y = _require_spectrum(call, axis, spectrum)
    low, high = _require_band(call, x, low, high)
    inside = (x >= low) & (x <= high)
    if not inside.any():
        raise OutOfRange(
            f"{call} got the band {low:g} to {high:g}, which holds no sample of "
            "the axis. Widen the band."
        )
    return x[inside], y[..., inside]


def _at(
    axis: NDArray[np.float64], spectrum: NDArray[np.float64], where: float
) -> NDArray[np.float64]:
    """Linear interpolation on a rising axis, (..., e) -> (...,)."""
    right = int(np.clip(np.searchsorted(axis, where), 1, axis.size - 1))
    weight = (where - axis[right - 1]) / (axis[right] - axis[right - 1])
    if weight in (0.0, 1.0):  # so that a NaN next door does not count
        return np.asarray(spectrum[..., right - 1 + int(weight)])
    left_part = spectrum[..., right - 1] * (1 - weight)
    return np.asarray(left_part + spectrum[..., right] * weight)


def _require_spectrum(
    call: str, axis: ArrayLike, spectrum: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both as float64 along a rising axis; what is not finite is NaN."""
    x, y = require_real(call, "the modulus", axis=axis, spectrum=spectrum)
    if x.ndim != 1 or x.size < 2:
        raise ShapeMismatch(
            f"{call} got an axis of shape {x.shape}; it takes (e,) with e > 1."
        )
    if y.ndim == 0 or y.shape[-1] != x.size:
        raise ShapeMismatch(
            f"{call} got a spectrum of shape {y.shape}; its last axis must be as "
            f"long as the spectral axis, {x.size}. Move that axis to the end."
        )
    x, y = x.astype(np.float64), finite(y)
    if x[0] > x[-1]:
        x, y = x[::-1], y[..., ::-1]
    if not np.all(np.diff(x) > 0):
        raise OutOfRange(
            f"{call} got an axis that turns, repeats a value or holds NaN; it takes "
            "one that only rises or only falls. For loops there are loop_area, "
            "coercive_bias, imprint and switching."
        )
    return x, y


def _require_band(
    call: str, axis: NDArray[np.float64], low: float | None, high: float | None
) -> tuple[float, float]:
    """Return the band's edges, clipped to a rising axis that they miss by rounding."""
    first, last = float(axis[0]), float(axis[-1])
    low, high = first if low is None else low, last if high is None else high
    slack = SLACK * (last - first) / max(len(axis) - 1, 1)
    if not (first - slack <= low < high <= last + slack):  # also catches NaN
        raise OutOfRange(
            f"{call} got the band {low:g} to {high:g}; it takes low < high, both on "
            f"the axis, which goes from {first:g} to {last:g} in its own unit."
        )
    return max(low, first), min(high, last)
