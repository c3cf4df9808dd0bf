"""The highest value of a spectrum, and so the lowest, also where the axis turns back.

A force curve goes to the specimen and back, so its axis is none of those that
`aemtwin.scalarizers.spectra` takes, and it is no loop either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.scalarizers.arrays import finite, quiet, require_real


@quiet
def highest(
    axis: ArrayLike,
    spectrum: ArrayLike,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[np.float64]:
    """Return the highest sample of spectra in a band; the axis may turn.

    Args:
        axis: What the spectrum runs over, (e,), in any unit.
        spectrum: Value at each, (..., e), in any unit u.
        low: Lower edge of the band, unit of `axis`; None is the axis' end.
        high: Upper edge of the band; None is the axis' end.

    Returns:
        (...,), u; NaN where a sample in the band is not finite.

    Raises:
        OutOfRange: If the band holds no sample.
        ShapeMismatch: If `spectrum` does not end in an axis as long as `axis`.
        WrongType: If either is complex or not numeric.

    >>> float(highest([0.0, 1.0, 0.5], [1.0, 5.0, 3.0], high=0.7))
    3.0
    """
    x, y = require_real("highest", "the modulus", axis=axis, spectrum=spectrum)
    if x.ndim != 1 or y.ndim == 0 or y.shape[-1] != x.size:
        raise ShapeMismatch(
            f"highest got a spectrum of shape {y.shape} and an axis of {x.shape}; the "
            "last axis of the spectrum is as long as the spectral axis, (e,)."
        )
    inside = np.ones(x.shape, bool) if low is None else x >= low
    inside &= True if high is None else x <= high
    if not inside.any():
        raise OutOfRange(
            f"highest got the band {low} to {high}, which holds no sample of an axis "
            f"from {x.min():g} to {x.max():g}."
        )
    return np.asarray(finite(y[..., inside]).max(axis=-1))
