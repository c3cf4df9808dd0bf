"""Modes of an atomic force microscope that are computed from maps of the specimen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.modes.base import Model, View
from aemtwin.instruments.synthetic import forces, junctions
from aemtwin.specs import Axis, Parameter

Array = NDArray[np.float64]
TIPS = ("afm", "afm_ir", "afm_raman")


class ForceCurve(Model):
    """Force against the piezo's way to the specimen and back: contact and adhesion."""

    name: ClassVar[str] = "force_curve"
    says: ClassVar[str] = "Force-distance curve: DMT contact, snap-in and pull-off."
    kinds: ClassVar[tuple[str, ...]] = TIPS
    quantity: ClassVar[str] = "Force"
    units: ClassVar[str] = "N"
    dwell_s: ClassVar[float] = 0.5
    needs: ClassVar[Mapping[str, str]] = {"modulus": "Pa", "adhesion": "J/m^2"}
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("start_m", "m", 3e-8, 1e-9, 1e-6, "height at which it starts"),
        Parameter("depth_m", "m", 1e-8, 1e-10, 1e-6, "way beyond first contact"),
        Parameter(
            "points", "", 256, 16, 4096, "of approach and retract together", whole=True
        ),
        Parameter("radius_m", "m", 2e-8, 1e-9, 1e-5, "of the tip"),
        Parameter("stiffness_n_m", "N/m", 1.0, 1e-3, 1e3, "of the cantilever"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        way = forces.drive(given["start_m"], given["depth_m"], int(given["points"]))
        return (Axis("drive", "m", way, "Piezo displacement", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        return forces.curve(
            self.axes(given)[0].values,
            view.at("modulus"),
            view.at("adhesion"),
            given["radius_m"],
            given["stiffness_n_m"],
        )


class ContactCurrent(Model):
    """Current through the tip against bias: an ohmic path beside a Schottky diode."""

    name: ClassVar[str] = "contact_iv"
    says: ClassVar[str] = "Current-voltage curve of a tip in contact (c-AFM)."
    kinds: ClassVar[tuple[str, ...]] = TIPS
    quantity: ClassVar[str] = "Current"
    units: ClassVar[str] = "A"
    dwell_s: ClassVar[float] = 0.2
    needs: ClassVar[Mapping[str, str]] = {"conductance": "S", "barrier": "eV"}
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("bias_v", "V", 1.0, 1e-3, 10.0, "largest bias, either way"),
        Parameter(
            "points", "", 101, 11, 4001, "from the lowest to the highest", whole=True
        ),
        Parameter("series_ohm", "Ω", 1e6, 0.0, 1e12, "resistance in series"),
        Parameter("limit_a", "A", 1e-7, 1e-12, 1e-2, "what the amplifier can measure"),
        Parameter("temperature_k", "K", 295.0, 1.0, 1000.0, "of the junction"),
        Parameter("ideality", "", 1.0, 1.0, 100.0, "of the diode"),
        Parameter("area_m2", "m2", 1e-16, 1e-20, 1e-8, "of the contact"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        bias = np.linspace(-given["bias_v"], given["bias_v"], int(given["points"]))
        return (Axis("bias", "V", bias, "Bias", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        return junctions.contact_iv(
            self.axes(given)[0].values,
            view.at("conductance"),
            view.at("barrier"),
            series_ohm=given["series_ohm"],
            temperature_k=given["temperature_k"],
            limit_a=given["limit_a"],
            ideality=given["ideality"],
            area_m2=given["area_m2"],
        )


class Kelvin(Model):
    """The force on a biased tip against bias: its vertex is the contact potential.

    A lifted tip averages the potential around it, by a Gaussian of `reach_m`.
    """

    name: ClassVar[str] = "kelvin"
    says: ClassVar[str] = "Kelvin probe spectroscopy: a parabola about the potential."
    kinds: ClassVar[tuple[str, ...]] = TIPS
    quantity: ClassVar[str] = "Frequency shift"
    units: ClassVar[str] = "Hz"
    dwell_s: ClassVar[float] = 0.2
    needs: ClassVar[Mapping[str, str]] = {"potential": "V"}
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("bias_v", "V", 2.0, 1e-2, 10.0, "largest bias, either way"),
        Parameter(
            "points", "", 65, 5, 4001, "from the lowest to the highest", whole=True
        ),
        Parameter("curvature_hz_v2", "Hz/V^2", 3.0, 0.0, 1e4, "of the parabola"),
        Parameter("reach_m", "m", 0.0, 0.0, 1e-5, "sd of the area that the tip feels"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        bias = np.linspace(-given["bias_v"], given["bias_v"], int(given["points"]))
        return (Axis("bias", "V", bias, "Bias", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        bias = self.axes(given)[0].values
        potential = averaged(view, "potential", given["reach_m"])
        return forces.kelvin(bias, potential, given["curvature_hz_v2"])


def averaged(view: View, name: str, sd_m: float) -> Array:
    """Return a map averaged over a Gaussian about every point, (k,), in its unit.

    Args:
        view: Its maps and points; beyond its edge a map has the values of its edge.
        name: Of the map.
        sd_m: Standard deviation of the Gaussian along each axis, metres, 0 or more.

    Source:
        That the potential is a weighted mean over the surface: Jacobs et al. (1998), J.
        Appl. Phys. 84, 1168. The Gaussian is a choice. Gauss and Hermite's rule with
        5 x 5 nodes (Abramowitz and Stegun, 25.4.46) is exact to degree 9.
    """
    if not sd_m:
        return view.at(name)
    nodes, weights = np.polynomial.hermite.hermgauss(5)
    off = math.sqrt(2.0) * sd_m * nodes
    around = np.stack(np.meshgrid(off, off), axis=-1).reshape(-1, 2)  # (25, 2)
    share = np.outer(weights, weights).ravel() / math.pi
    points = (view.points[:, None] + around).reshape(-1, 2)
    wide = replace(view, points=points).at(name)
    return np.asarray(wide.reshape(len(view.points), -1) @ share)
