"""What all scalarizers ask of their arrays: one spectrum, real numbers, NaN for others.

`aemtwin.scalarizers.hysteresis`, `spectra` and `learned` check their own shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch, WrongType
from aemtwin.measurement import Measurement

# An outlier near the largest float overflows in silence: its spectrum has no value.
quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return real values as float64, with NaN for what is not finite.

    >>> finite([1, float("inf")])
    array([ 1., nan])
    """
    numbers = np.asarray(values, dtype=np.float64)
    cleaned = np.where(np.isfinite(numbers), numbers, np.nan)
    return np.asarray(cleaned, order="C")  # sums have the same bits however it came


def require_real(call: str, instead: str, **arrays: ArrayLike) -> list[NDArray[Any]]:
    """Return arrays of real numbers as they are.

    Args:
        call: Who asks, for the message.
        instead: What to give where one is complex: "the modulus".
        arrays: Each under the name that the message has for it.

    Raises:
        WrongType: If one is complex, boolean or not numeric.

    >>> require_real("loop_area", "the real part", bias=[0, 1])
    [array([0, 1])]
    """
    found = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in found.items():
        if array.dtype.kind not in "iuf":
            raise WrongType(
                f"{call} got a {name} of type {array.dtype}; it takes real numbers. "
                f"Give the part that is meant, such as {instead}."
            )
    return list(found.values())


def spectrum_of(name: str, measurement: Measurement) -> tuple[Any, Any]:
    """Return the spectral axis and the main array of a measurement, both (e,).

    Args:
        name: The scalarizer that asks, for the message.
        measurement: A spectrum or loop at one spot, from `measure`.

    Raises:
        WrongType: If it is a frame or a trace.
        ShapeMismatch: If it has more than one spectral axis, or none.
    """
    if measurement.call != "measure":
        raise WrongType(
            f"The scalarizer {name} got the result of {measurement.call!r}; it takes "
            "that of 'measure', a spectrum or loop at one spot."
        )
    values = np.asarray(measurement.values)
    if values.ndim == 0 or values.size != values.shape[-1]:
        axes = ", ".join(f"{axis.name} {len(axis)}" for axis in measurement.axes)
        raise ShapeMismatch(
            f"The scalarizer {name} got {measurement.name!r} of shape {values.shape} "
            f"({axes}); it takes one spectrum, (e,). Choose a mode with one spectral "
            "axis, or give a function that reduces the others."
        )
    return measurement.axes[-1].values, values.reshape(-1)
