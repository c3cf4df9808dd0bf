"""How good a spectrum is: what a gate asks before a number is learned from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch
from aemtwin.scalarizers.arrays import finite, quiet, require_real

MAD = 1.4826022185056018  # standard deviations of a normal law per median |deviation|
FEWEST = 8  # samples from which noise is told


@quiet
def signal_to_noise(spectrum: ArrayLike) -> NDArray[np.float64]:
    """Return how far a spectrum rises above its noise.

    The signal is the distance between the 5th and the 95th percentile of the samples;
    the noise is told by second differences, in which whatever is straight over three
    samples vanishes: of independent noise of variance s² they have 6 s².

    Args:
        spectrum: Samples in the order in which they were taken, (..., e), any unit.

    Returns:
        (...,), a ratio: about 3.3 for noise alone. Infinite without noise, 0 where all
        samples are equal, NaN where one is not finite.

    Raises:
        ShapeMismatch: If there are fewer than 8 samples.
        WrongType: If they are complex or not numeric.

    Source: derived here; the scale of the median is that of a normal law.

    >>> float(signal_to_noise([0.0, 1, 2, 3, 4, 5, 6, 7]))
    inf
    """
    (y,) = require_real("signal_to_noise", "the modulus", spectrum=spectrum)
    if y.ndim == 0 or y.shape[-1] < FEWEST:
        raise ShapeMismatch(
            f"signal_to_noise got a spectrum of shape {y.shape}; it takes {FEWEST} "
            "samples or more along the last axis, (..., e)."
        )
    values = finite(y)
    low, high = np.percentile(values, [5.0, 95.0], axis=-1)
    second = np.diff(values, n=2, axis=-1)
    middle = np.median(second, axis=-1, keepdims=True)
    noise = MAD * np.median(np.abs(second - middle), axis=-1) / np.sqrt(6.0)
    # what rounding leaves of a straight line is no noise
    floor = 8 * np.finfo(np.float64).eps * np.abs(values).max(axis=-1)
    noise = np.where(noise > floor, noise, 0.0)
    level = high - low <= floor
    return np.where(level, 0.0, (high - low) / noise)


@quiet
def clipped(spectrum: ArrayLike) -> NDArray[np.float64]:
    """Return which part of a spectrum stands still at its highest or lowest value.

    A saturated detector gives the same number again and again. What stands at one of
    the two ends counts where at least two samples do.

    Args:
        spectrum: Samples, (..., e), any unit.

    Returns:
        (...,), from 0 to 1; 0 where all samples differ, NaN where one is not finite.

    Raises:
        WrongType: If they are complex or not numeric.

    >>> float(clipped([1, 4, 4, 4, 2, 0, 3, 2.5]))
    0.375
    """
    (y,) = require_real("clipped", "the modulus", spectrum=spectrum)
    values = finite(np.atleast_1d(y))
    ends = values.max(axis=-1, keepdims=True), values.min(axis=-1, keepdims=True)
    counts = [(values == end).sum(axis=-1) for end in ends]
    still = np.maximum(*(np.where(count > 1, count, 0) for count in counts))
    part = still / values.shape[-1]
    return np.where(np.isnan(values).any(axis=-1), np.nan, part)
