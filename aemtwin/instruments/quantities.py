"""The numbers that a request applies, with units: settings, parameters, fixed sweeps.

What is a voltage, a current or a speed is told by its unit, whatever the name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from aemtwin.instruments.protocol import Request
from aemtwin.specs import InstrumentSpec, Parameter

PREFIXES = {"": 1.0, "G": 1e9, "M": 1e6, "k": 1e3, "m": 1e-3, "n": 1e-9, "p": 1e-12}
PREFIXES |= {"f": 1e-15, "u": 1e-6, "µ": 1e-6, "μ": 1e-6}  # both letters of micro


class Quantity(NamedTuple):
    """One number with its unit."""

    name: str
    units: str
    value: float
    size: bool = False  # it is never negative: an amplitude, which counts both ways


def scale(units: str, base: str) -> float:
    """Return what one `units` is in `base`; 0 where it is something else.

    >>> scale("mV", "V"), scale("eV", "V"), scale("V/s", "V")
    (0.001, 0.0, 0.0)
    """
    head = units.removesuffix(base)
    return PREFIXES.get(head, 0.0) if units.endswith(base) else 0.0


def settings_of(
    spec: InstrumentSpec, settings: Mapping[str, float]
) -> Iterator[Quantity]:
    """Give the settings in effect; one that is not told is NaN, within no limit."""
    for p in spec.settings:
        yield _quantity(p, settings.get(p.name, math.nan))


def applied(
    spec: InstrumentSpec, request: Request, settings: Mapping[str, float]
) -> Iterator[Quantity]:
    """Give what is in effect during a checked request.

    Of `configure` it is what it sets: a setting beyond its limit must not stand in the
    way of another that is put right.
    """
    call, given = request.call, request.arguments
    if call == "configure":
        yield from (
            _quantity(p, given[p.name]) for p in spec.settings if p.name in given
        )
        return
    yield from settings_of(spec, settings)
    if call == "pulse":
        yield from (
            _quantity(p, given[p.name]) for p in spec.pulse(given["name"]).parameters
        )
    if call == "measure":
        mode = spec.mode(given["mode"])
        yield from (_quantity(p, given[p.name]) for p in mode.parameters)
        if any(scale(p.units, "V") for p in mode.parameters):
            return  # its axis follows from them
        for axis in mode.axes:  # a sweep that nobody can change
            if scale(axis.units, "V") and len(axis):
                for end in (np.min(axis.values), np.max(axis.values)):
                    yield Quantity(f"the axis {axis.name}", axis.units, float(end))


def reach(quantities: Iterable[Quantity]) -> tuple[float, float] | None:
    """Return the lowest and the highest voltage that can come of several; None: no one.

    Those of either sign take turns, or one follows the other; sizes swing about them
    and add up.

    >>> offset, swing = Quantity("offset_v", "V", 1.0), Quantity("a", "V", 3.0, True)
    >>> reach([offset, swing])
    (-2.0, 4.0)
    """
    volts = [(q.value * s, q.size) for q in quantities if (s := scale(q.units, "V"))]
    if not volts:
        return None
    middles = np.array([value for value, size in volts if not size] or [0.0])
    swing = sum(abs(value) for value, size in volts if size)
    return float(np.min(middles)) - swing, float(np.max(middles)) + swing  # NaN stays


def _quantity(parameter: Parameter, value: float) -> Quantity:
    return Quantity(parameter.name, parameter.units, value, parameter.low >= 0)
