"""How uncertain a number is that was made of counts: Poisson's law, where it holds.

A sum of counts tells its own standard deviation; that of a peak's position, or of an
array that is no counts, does not follow from one measurement, and nothing is said of
it. `aemtwin.scalarizers.registry` asks here for the built-in scalarizers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.measurement import Measurement
from aemtwin.scalarizers.arrays import spectrum_of
from aemtwin.scalarizers.diffraction import pattern_of

Array = NDArray[np.float64]
PER = "per_dwell_s"  # in the info: the dwell that counts were scaled to


def per_dwell(measurement: Measurement, dwell_s: float) -> Measurement:
    """Return counts as they would be expected after another dwell.

    Counts are in proportion to the dwell, so numbers made of them compare only at one.

    Args:
        measurement: Of counts, as the instrument gave it.
        dwell_s: The dwell to scale to, seconds.

    Returns:
        The same with a main array of float64; its `info` tells the dwell, and `dwell_s`
        stays what it was, so that `scale_of` knows the factor.
    """
    scaled = np.asarray(measurement.values, np.float64)
    scaled = scaled * (dwell_s / measurement.dwell_s)
    return replace(
        measurement,
        arrays={**measurement.arrays, measurement.name: scaled},  # still the first
        info={**measurement.info, PER: dwell_s},
    )


def scale_of(measurement: Measurement) -> float:
    """Return what one count of the detector is in the arrays of a measurement."""
    return float(measurement.info.get(PER, measurement.dwell_s)) / measurement.dwell_s


def weights(axis: ArrayLike, low: float | None, high: float | None) -> Array:
    """Return by what `band_intensity` multiplies each sample of a spectrum.

    Args:
        axis: What the spectrum runs over, (e,), up or down.
        low: Lower edge of the band; None is the end of the axis.
        high: Upper edge of the band; None is the end of the axis.

    Returns:
        (e,), unit of the axis.

    >>> weights([0.0, 1.0, 2.0], 0.5, None).tolist()
    [0.125, 0.875, 0.5]
    """
    x = np.asarray(axis, np.float64)
    if x[0] > x[-1]:
        return weights(x[::-1], low, high)[::-1]
    low, high = x[0] if low is None else low, x[-1] if high is None else high
    inside = (x > low) & (x < high)
    nodes = np.concatenate(([low], x[inside], [high]))
    half = 0.5 * np.diff(nodes)
    each = np.append(half, 0.0) + np.append(0.0, half)  # of the trapezoidal rule
    found = np.zeros(x.shape)
    found[inside] = each[1:-1]
    for edge, weight in ((low, each[0]), (high, each[-1])):
        j = int(np.clip(np.searchsorted(x, edge, "right") - 1, 0, x.size - 2))
        part = (edge - x[j]) / (x[j + 1] - x[j])
        found[j : j + 2] += weight * np.array([1.0 - part, part])
    return found


def sum_sd(counts: ArrayLike, weights: ArrayLike, scale: float = 1.0) -> float:
    """Return the standard deviation of a weighted sum of counts.

    The rates are not known, the counts are: with a flat prior of the rate behind N
    counts its variance is N + 1, so one count more is shared among all that is summed,
    and a sum of nothing is not taken for certain.

    Args:
        counts: Counts times the scale, (e,).
        weights: Of each in the sum, (e,).
        scale: What one count of the detector is in them.

    Returns:
        Unit of the sum; NaN where what is summed is negative or not finite, and so not
        counts, or where nothing is summed.

    Source: Poisson's law; the posterior of a rate under a flat prior is Gamma(N + 1).

    >>> sum_sd([3.0, 5.0], [1.0, 1.0])
    3.0
    """
    w = np.asarray(weights, np.float64)
    N, w = np.asarray(counts, np.float64)[w != 0] / scale, w[w != 0]
    if not N.size or not np.isfinite(N).all() or N.min() < 0:
        return float("nan")
    return float(scale * np.sqrt(np.sum(w**2 * N) + np.mean(w**2)))


def _band_sd(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    axis, values = spectrum_of("band_intensity", measurement)
    return sum_sd(values, weights(axis, low, high), scale_of(measurement))


def _annular_sd(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    rows, columns, pattern = pattern_of("annular", measurement)
    angle = np.hypot(np.asarray(rows)[:, None], np.asarray(columns)[None, :])
    ring = angle >= (0.0 if low is None else low)
    ring &= angle <= (np.inf if high is None else high)
    return sum_sd(np.ravel(pattern), np.ravel(ring), scale_of(measurement))


OF_COUNTS: Mapping[str, Callable[..., float]] = {
    "band_intensity": _band_sd,
    "annular": _annular_sd,
}
"""Built-in scalarizers whose uncertainty counts alone tell."""
