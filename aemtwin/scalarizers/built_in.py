"""The scalarizers that come with aemtwin: a `Measurement` in, one number out.

Each takes the main array of one `measure` call with its spectral axis, and leaves the
arithmetic to `aemtwin.scalarizers.hysteresis` and `aemtwin.scalarizers.spectra`; `pca`,
which learns, has a module of its own. They are found by name in
`aemtwin.scalarizers.registry`, which has `require_values` check their parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from aemtwin.errors import BadConfig
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.arrays import spectrum_of
from aemtwin.scalarizers.diffraction import annular, centre_of_mass, pattern_of
from aemtwin.scalarizers.extremes import highest
from aemtwin.scalarizers.hysteresis import (
    coercive_bias,
    imprint,
    loop_area,
    switching,
)
from aemtwin.scalarizers.pca import PCA
from aemtwin.scalarizers.quality import clipped, signal_to_noise
from aemtwin.scalarizers.spectra import (
    band_intensity,
    band_ratio,
    peak_position,
    peak_width,
)

LOOPS = ("loop_area", "coercive_bias", "imprint", "switching")
AREA, AXIS, VALUES, NONE = "{values}·{axis}", "{axis}", "{values}", ""  # of the result
BANDS = (("low", "high"), ("low2", "high2"))
NUMBERS = {  # parameter -> what it is, for the message; any other is an edge of a band
    "baseline": "in the unit of the spectrum, or none for the lowest value in the band",
    "component": "from 1 up, whole",
}
EDGE = "in the unit of the spectral axis, or none for the axis' end"


def require_values(name: str, params: Mapping[str, Any]) -> dict[str, float]:
    """Return the parameters of a built-in scalarizer, without those that are None.

    Raises:
        BadConfig: If one is not a finite number, if a lower edge is not below its upper
            one, if a component is not 1, 2, ..., or if two bands are the same.

    >>> require_values("peak_position", {"low": 1, "high": None})
    {'low': 1.0}
    """
    for key, value in params.items():
        number = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
        good = number and np.isfinite(value)
        if key == "component":
            good = good and value >= 1 and value == int(value)
        elif value is None:
            continue
        if not good:
            raise BadConfig(
                f"The scalarizer {name} got {key} = {value!r}; it takes a finite "
                f"number {NUMBERS.get(key, EDGE)}."
            )
    kept = {key: float(value) for key, value in params.items() if value is not None}
    for lower, upper in BANDS:
        low, high = kept.get(lower, -np.inf), kept.get(upper, np.inf)
        if not low < high:
            raise BadConfig(
                f"The scalarizer {name} got {lower} = {low:g}, {upper} = {high:g}; "
                f"{lower} must be below {upper}, both in the unit of the spectral axis."
            )
    if name == "band_ratio":
        first, second = ([kept.get(edge) for edge in band] for band in BANDS)
        if first == second:
            raise BadConfig(
                "The scalarizer band_ratio got twice the same band, whose ratio is "
                "always 1. Give it two: band_ratio:low=...,high=...,low2=...,high2=..."
            )
    if "component" in kept:
        kept["component"] = int(kept["component"])
    return kept


def require_turning(name: str, axis: Any) -> None:
    """Refuse to seek a loop where the sweep never turns back, before it is measured.

    Raises:
        BadConfig: If the scalarizer `name` is one of loops, and `axis` only rises or
            only falls.
    """
    steps = np.diff(np.asarray(axis.values, float))
    if name.removeprefix("-") in LOOPS and (np.all(steps >= 0) or np.all(steps <= 0)):
        raise BadConfig(
            f"The scalarizer {name} takes a loop, and {axis.name!r} only goes from "
            f"{axis.values[0]:g} to {axis.values[-1]:g} {axis.units}. Choose another: "
            "--scalarizer band_intensity:low=...,high=... or peak_position."
        )


def _loop_area(measurement: Measurement) -> float:
    """The area enclosed by a hysteresis loop, the work of switching."""
    return float(loop_area(*spectrum_of("loop_area", measurement)))


def _coercive_bias(measurement: Measurement) -> float:
    """Half the distance between the two biases at which a loop switches."""
    return float(coercive_bias(*spectrum_of("coercive_bias", measurement)))


def _imprint(measurement: Measurement) -> float:
    """The middle between the two biases at which a loop switches.

    Positive where the loop is shifted to positive bias.
    """
    return float(imprint(*spectrum_of("imprint", measurement)))


def _switching(measurement: Measurement) -> float:
    """How far a loop is open at zero bias: the switchable response.

    Positive where positive bias leaves a higher response behind than negative bias.
    """
    return float(switching(*spectrum_of("switching", measurement)))


def _band_intensity(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """The integral of a spectrum from low to high, in the unit of its axis."""
    axis, values = spectrum_of("band_intensity", measurement)
    return float(band_intensity(axis, values, low, high))


def _band_ratio(
    measurement: Measurement,
    low: float | None = None,
    high: float | None = None,
    low2: float | None = None,
    high2: float | None = None,
) -> float:
    """The integral from low to high over that from low2 to high2.

    All four in the unit of the axis; there is none over an integral not positive.
    """
    axis, values = spectrum_of("band_ratio", measurement)
    return float(band_ratio(axis, values, low, high, low2, high2))


def _peak_position(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """Where a spectrum is highest between low and high, in the unit of its axis."""
    axis, values = spectrum_of("peak_position", measurement)
    return float(peak_position(axis, values, low, high))


def _peak_width(
    measurement: Measurement,
    low: float | None = None,
    high: float | None = None,
    baseline: float | None = None,
) -> float:
    """The full width at half maximum of the highest peak between low and high.

    Half lies mid-way between the peak and the baseline, in the unit of the spectrum;
    without one, that is the lowest value in the band.
    """
    axis, values = spectrum_of("peak_width", measurement)
    return float(peak_width(axis, values, low, high, baseline))


def _lowest(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """The lowest value of a spectrum between low and high, such as a pull-off force."""
    axis, values = spectrum_of("lowest", measurement)
    return float(-highest(axis, -np.asarray(values), low, high))


def _highest(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """The highest value of a spectrum between low and high, unit of the axis."""
    axis, values = spectrum_of("highest", measurement)
    return float(highest(axis, values, low, high))


def _deflection(measurement: Measurement) -> float:
    """How far the middle of a diffraction pattern is from zero."""
    x, y = centre_of_mass(*pattern_of("deflection", measurement))
    return float(np.hypot(x, y))


def _deflection_x(measurement: Measurement) -> float:
    """Where the middle of a diffraction pattern is along x: the field along x."""
    return float(centre_of_mass(*pattern_of("deflection_x", measurement))[0])


def _deflection_y(measurement: Measurement) -> float:
    """Where the middle of a diffraction pattern is along y: the field along y."""
    return float(centre_of_mass(*pattern_of("deflection_y", measurement))[1])


def _annular(
    measurement: Measurement, low: float | None = None, high: float | None = None
) -> float:
    """What falls on a ring of a diffraction pattern from angle low to high."""
    return float(annular(*pattern_of("annular", measurement), low, high))


def _snr(measurement: Measurement) -> float:
    """How far a spectrum rises above its noise: its range over its noise."""
    return float(signal_to_noise(spectrum_of("snr", measurement)[1]))


def _clipped(measurement: Measurement) -> float:
    """Which part of a spectrum stands still at its highest or lowest value."""
    return float(clipped(spectrum_of("clipped", measurement)[1]))


BUILT_IN: dict[str, tuple[Callable[..., float], str]] = {
    "loop_area": (_loop_area, AREA),
    "coercive_bias": (_coercive_bias, AXIS),
    "imprint": (_imprint, AXIS),
    "switching": (_switching, VALUES),
    "band_intensity": (_band_intensity, AREA),
    "band_ratio": (_band_ratio, NONE),
    "peak_position": (_peak_position, AXIS),
    "peak_width": (_peak_width, AXIS),
    "lowest": (_lowest, VALUES),
    "highest": (_highest, VALUES),
    "deflection": (_deflection, AXIS),
    "deflection_x": (_deflection_x, AXIS),
    "deflection_y": (_deflection_y, AXIS),
    "annular": (_annular, VALUES),
    "snr": (_snr, NONE),
    "clipped": (_clipped, NONE),
    "pca": (PCA(), VALUES),
}
