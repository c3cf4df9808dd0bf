"""Modes of piezoresponse: switching loops by band excitation and at one frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.modes.afm import TIPS
from aemtwin.instruments.modes.base import Model, View
from aemtwin.instruments.synthetic import piezoresponse, resonance
from aemtwin.specs import Axis, Parameter

Array = NDArray[np.float64]
STAIRCASE = (
    Parameter("amplitude_v", "V", 10.0, 0.0, 100.0, "of the bias staircase"),
    Parameter("offset_v", "V", 0.0, -100.0, 100.0, "middle of the staircase"),
    Parameter(
        "steps", "", 64, 8, 1024, "of one cycle; rounded to a multiple of 4", whole=True
    ),
    Parameter("cycles", "", 1, 1, 16, "one after the other", whole=True),
)
LOOP: Mapping[str, str] = {
    "positive_v": "V",
    "negative_v": "V",
    "half_opening": "pm",
    "offset": "pm",
    "width_v": "V",
    "slope": "pm/V",
    "resonance": "Hz",
    "quality": "",
}


def bias_axis(given: Mapping[str, float]) -> Axis:
    """Return the axis of bias steps that the parameters describe."""
    steps = 4 * max(2, round(given["steps"] / 4))
    bias = piezoresponse.staircase(
        given["amplitude_v"], given["offset_v"], steps, int(given["cycles"])
    )
    return Axis("bias", "V", bias, "Bias", "spectral")


def _loops(view: View, bias: Array) -> Array:
    """Return the response far below resonance at every step, (k, v), pm."""
    state = piezoresponse.switched(
        bias, view.at("positive_v"), view.at("negative_v"), view.at("width_v")
    )
    return piezoresponse.piezo_loop(
        bias, state, view.at("half_opening"), view.at("offset"), view.at("slope")
    )


class BandExcitation(Model):
    """A band of frequencies at every step of a bias staircase (BEPS).

    The response is that of the contact resonance, whose frequency follows the contact:
    where the surface is, not the polarization alone, decides what one bin shows.
    """

    name: ClassVar[str] = "beps"
    says: ClassVar[str] = "Band-excitation switching: a spectrum at every bias step."
    kinds: ClassVar[tuple[str, ...]] = TIPS
    quantity: ClassVar[str] = "Piezoresponse"
    units: ClassVar[str] = "pm"
    dtype: ClassVar[str] = "complex64"
    dwell_s: ClassVar[float] = 0.512
    needs: ClassVar[Mapping[str, str]] = LOOP
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *STAIRCASE,
        Parameter("centre_hz", "Hz", 335e3, 1e3, 1e7, "middle of the band"),
        Parameter("band_hz", "Hz", 6e4, 1e2, 1e6, "width of the band"),
        Parameter("bins", "", 32, 5, 512, "frequencies in it", whole=True),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        band = resonance.band(given["centre_hz"], given["band_hz"], int(given["bins"]))
        frequency = Axis("frequency", "Hz", band, "Frequency", "spectral")
        return bias_axis(given), frequency

    def values(self, view: View, given: Mapping[str, float]) -> NDArray[Any]:
        bias, band = (axis.values for axis in self.axes(given))
        unit = resonance.response(band, 1.0, view.at("resonance"), view.at("quality"))
        return np.asarray(_loops(view, bias)[:, :, None] * unit[:, None, :])


class SingleFrequency(Model):
    """The in-phase response at one frequency at every step of a bias staircase.

    Far below the contact resonance it is the loop itself; near it the loop is larger,
    turned, and mixed with what moves the resonance.
    """

    name: ClassVar[str] = "loop"
    says: ClassVar[str] = "Single-frequency switching loop: in-phase part at the drive."
    kinds: ClassVar[tuple[str, ...]] = TIPS
    quantity: ClassVar[str] = "Piezoresponse"
    units: ClassVar[str] = "pm"
    dwell_s: ClassVar[float] = 0.512
    needs: ClassVar[Mapping[str, str]] = LOOP
    parameters: ClassVar[tuple[Parameter, ...]] = (
        *STAIRCASE,
        Parameter("drive_hz", "Hz", 2e4, 1e2, 1e7, "frequency of the drive"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        return (bias_axis(given),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        gain = resonance.response(
            [given["drive_hz"]], 1.0, view.at("resonance"), view.at("quality")
        )
        return np.asarray(_loops(view, bias_axis(given).values) * gain.real)
