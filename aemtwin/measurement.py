"""What an instrument gave: arrays with axes and units; where, when, at what dose.

One record for spectra, traces and frames, the same from a twin in this process, a twin
behind a URI and a real controller. What an instrument *can* give is in `aemtwin.specs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import unknown
from aemtwin.specs import Axis

if TYPE_CHECKING:
    import sidpy


@dataclass(frozen=True, eq=False)
class Measurement:
    """The result of `measure`, `trace` or `scan`.

    Every array has the shape of `axes`. A frame has axes (y, x), a trace (point,), a
    spectrum those of its mode. Arrays keep the dtype and the unit of the instrument.
    """

    call: str  # "measure", "trace" or "scan"
    mode: str  # the mode measured; "" for a trace or a frame
    arrays: Mapping[str, NDArray[Any]]  # the main one first
    units: Mapping[str, str]  # of each array
    quantities: Mapping[str, str]  # of each array
    axes: tuple[Axis, ...]
    asked: NDArray[np.float64]  # (2,) m; a trace (k, 2); a frame (2,), its centre
    actual: NDArray[np.float64]  # where the probe was instead, same shape
    time_s: tuple[float, float]  # begin and end on the instrument's clock
    dwell_s: float  # at each spot
    dose: float  # that this operation added, in `InstrumentSpec.dose_units`
    rid: str
    info: Mapping[str, Any] = field(default_factory=dict)  # parameters of the call

    @property
    def name(self) -> str:
        """The name of the main array."""
        return next(iter(self.arrays))

    @property
    def values(self) -> NDArray[Any]:
        """The main array."""
        return self.arrays[self.name]

    def axis(self, name: str) -> Axis:
        """Return the axis of that name.

        Raises:
            UnknownName: If there is none.
        """
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise unknown(
            "axis",
            name,
            (axis.name for axis in self.axes),
            f"See the axes of this {self.call}.",
        )

    def to_sidpy(self, name: str | None = None) -> sidpy.Dataset:
        """Return one array (default: the main one) as a `sidpy.Dataset`.

        Raises:
            MissingExtra: If sidpy is not installed.
            UnknownName: If there is no array `name`.
        """
        from aemtwin.formats.pycroscopy import measurement_to_sidpy

        return measurement_to_sidpy(self, name)
