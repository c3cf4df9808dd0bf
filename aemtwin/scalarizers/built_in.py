"""The scalarizers that come with aemtwin: a `Measurement` in, one number out.

Each takes the main array of one `measure` call with its spectral axis, and leaves the
arithmetic to `aemtwin.scalarizers.hysteresis` and `aemtwin.scalarizers.spectra`. They
are found by name in `aemtwin.scalarizers.registry`, which checks their parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from aemtwin.errors import BadConfig, ShapeMismatch, WrongType
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.hysteresis import coercive_bias, loop_area
from aemtwin.scalarizers.spectra import band_intensity, peak_position

LOOPS = ("loop_area", "coercive_bias")
AREA, AXIS = "{values}·{axis}", "{axis}"  # the unit of the result


def require_band(name: str, params: Mapping[str, Any]) -> dict[str, float]:
    """Return parameters as floats, without those that are None.

    Raises:
        BadConfig: If one is not a finite number, or if low is not below high.

    >>> require_band("peak_position", {"low": 1, "high": None})
    {'low': 1.0}
    """
    for key, value in params.items():
        number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
        if value is not None and not (number and np.isfinite(value)):
            raise BadConfig(
                f"The scalarizer {name} got {key} = {value!r}; it takes a finite "
                "number in the unit of the spectral axis, or none for the axis' end."
            )
    kept = {key: float(value) for key, value in params.items() if value is not None}
    low, high = kept.get("low", -np.inf), kept.get("high", np.inf)
    if not low < high:
        raise BadConfig(
            f"The scalarizer {name} got low = {low:g}, high = {high:g}; low must be "
            "below high, both in the unit of the spectral axis."
        )
    return kept


def _spectrum(name: str, measurement: Measurement) -> tuple[Any, Any]:
    """Return the spectral axis (e,) and the main array (e,) of a measurement."""
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


def require_turning(name: str, axis: Any) -> None:
    """Refuse to seek a loop where the sweep never turns back, before it is measured.

    Raises:
        BadConfig: If the scalarizer `name` is one of loops, and `axis` only rises or
            only falls.
    """
    steps = np.diff(np.asarray(axis.values, float))
    if name in LOOPS and (np.all(steps >= 0) or np.all(steps <= 0)):
        raise BadConfig(
            f"The scalarizer {name} takes a loop, and {axis.name!r} only goes from "
            f"{axis.values[0]:g} to {axis.values[-1]:g} {axis.units}. Choose another: "
            "--scalarizer band_intensity:low=...,high=... or peak_position."
        )


def _loop_area(measurement: Measurement) -> float:
    """The area enclosed by a hysteresis loop, the work of switching."""
    return float(loop_area(*_spectrum("loop_area", measurement)))


def _coercive_bias(measurement: Measurement) -> float:
    """Half the distance between the two biases at which a loop switches."""
    return float(coercive_bias(*_spectrum("coercive_bias", measurement)))


def _band_intensity(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """The integral of a spectrum from low to high, in the unit of its axis."""
    axis, values = _spectrum("band_intensity", measurement)
    return float(band_intensity(axis, values, low, high))


def _peak_position(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """Where a spectrum is highest between low and high, in the unit of its axis."""
    axis, values = _spectrum("peak_position", measurement)
    return float(peak_position(axis, values, low, high))


BUILT_IN: dict[str, tuple[Callable[..., float], str]] = {
    "loop_area": (_loop_area, AREA),
    "coercive_bias": (_coercive_bias, AXIS),
    "band_intensity": (_band_intensity, AREA),
    "peak_position": (_peak_position, AXIS),
}
