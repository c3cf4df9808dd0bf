"""Modes of a tip in light: the infrared spectrum that a cantilever feels (AFM-IR).

A pulsed tunable laser warms the film where it absorbs; the film swells under the tip
and the cantilever rings. The film is a blend of two polymers, which maps of the
specimen describe. The physics is in `aemtwin.instruments.synthetic.vibrations`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.instruments.modes.base import Model, View
from aemtwin.instruments.synthetic import vibrations
from aemtwin.instruments.synthetic.vibrations import Bands
from aemtwin.specs import Axis, Parameter

Array = NDArray[np.float64]

SHARE = "ir_power"  # the setting: of the laser's full power


def _bands(*rows: tuple[float, float, float]) -> Bands:
    """Return bands from 1/cm, 1/cm and the absorption at their top, 1/m."""
    at, width, top = 100.0 * np.array(rows).T
    return Bands(
        at.tolist(), width.tolist(), (math.pi / 2 * width * top / 100).tolist()
    )


FREE = _bands((1731.0, 22.0, 7.5e5))
BONDED = _bands((1706.0, 28.0, 7.5e5))
ACRYLATE = _bands(
    (1149.0, 24.0, 3.6e5),
    (1193.0, 22.0, 2.6e5),
    (1242.0, 20.0, 1.5e5),
    (1272.0, 18.0, 1.3e5),
    (1387.0, 16.0, 0.4e5),
    (1448.0, 22.0, 1.2e5),
    (1482.0, 16.0, 0.5e5),
)
STYRENE = _bands(
    (1028.0, 10.0, 0.4e5),
    (1452.0, 12.0, 1.1e5),
    (1493.0, 9.0, 1.4e5),
    (1601.0, 9.0, 6e4),
)
"""Bands of poly(methyl methacrylate) and polystyrene, areas in 1/m^2.

The ester's C=O stands apart, free at 1731 1/cm and bonded to a hydroxyl at 1706 1/cm.
Widths and heights are chosen, near those of films; positions are those commonly told.

Source: the bond, Dong and Ozaki (1997), Macromolecules 30, 286.
"""

CHIPS = Bands(
    [105e3, 125e3, 148e3, 173e3], [26e3, 24e3, 28e3, 26e3], [0.8, 1.0, 0.7, 0.6]
)
"""Gain of a quantum cascade laser of four chips: chosen, no maker's."""
LEAST = 0.02  # of its highest power: what is left between chips


def absorption(
    wavenumber_per_m: ArrayLike, composition: ArrayLike, bonded: ArrayLike
) -> Array:
    """Return the absorption coefficient of the blend, (..., s), 1/m.

    Args:
        wavenumber_per_m: Of the light, (s,).
        composition: Share of poly(methyl methacrylate) by volume, (...,), 0 to 1.
        bonded: Share of its C=O that is bonded to a hydroxyl, (...,), 0 to 1.

    >>> absorption([173.1e3], [0.0, 1.0], 0.0).round(-4).ravel().tolist()
    [0.0, 750000.0]
    """
    parts = np.array(
        [
            vibrations.absorption(wavenumber_per_m, *one)
            for one in (STYRENE, ACRYLATE, FREE, BONDED)
        ]
    )
    c, b = np.broadcast_arrays(*(np.asarray(v, float) for v in (composition, bonded)))
    return np.asarray(np.stack([1.0 - c, c, c * (1.0 - b), c * b], axis=-1) @ parts)


def laser(wavenumber_per_m: ArrayLike) -> Array:
    """Return the power of the laser over its highest, (s,): divide a spectrum by it."""
    return vibrations.laser_power(wavenumber_per_m, CHIPS, least=LEAST)


class Photothermal(Model):
    """How much a film swells under a pulsed infrared laser, as the cantilever tells.

    The amplitude is raw: in proportion to the laser's power, which differs from wave
    number to wave number (`laser` of this module) and is a setting as a whole.
    """

    name: ClassVar[str] = "afm_ir"
    says: ClassVar[str] = "AFM-IR spectrum: swelling of a blend in infrared light."
    kinds: ClassVar[tuple[str, ...]] = ("afm_ir",)
    quantity: ClassVar[str] = "Photothermal amplitude"
    units: ClassVar[str] = "V"
    dwell_s: ClassVar[float] = 4.0
    needs: ClassVar[Mapping[str, str]] = {
        "composition": "",
        "thickness": "m",
        "bonded": "",
    }
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("from_per_m", "1/m", 1e5, 8e4, 4e5, "wave number where it starts"),
        Parameter("to_per_m", "1/m", 1.84e5, 8e4, 4e5, "wave number where it ends"),
        Parameter("points", "", 211, 2, 4001, "of the sweep", whole=True),
        Parameter("fluence_j_m2", "J/m^2", 100.0, 0.0, 1e4, "of a pulse at full power"),
        Parameter("enhancement", "", 40.0, 1.0, 1e4, "by the contact resonance"),
        Parameter("sensitivity_v_m", "V/m", 2.5e7, 1e5, 1e10, "of the deflection"),
    )
    settings: ClassVar[tuple[Parameter, ...]] = (
        Parameter(SHARE, "", 0.05, 1e-3, 1.0, "share of the laser's full power"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        at = np.linspace(given["from_per_m"], given["to_per_m"], int(given["points"]))
        return (Axis("wavenumber", "1/m", at, "Infrared wave number", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        at = self.axes(given)[0].values
        share = view.settings.get(SHARE, self.settings[0].default)
        swelling = vibrations.photothermal(
            absorption(
                at,
                np.clip(view.at("composition"), 0.0, 1.0),
                np.clip(view.at("bonded"), 0.0, 1.0),
            ),
            np.maximum(view.at("thickness"), 0.0),
            given["fluence_j_m2"] * share * laser(at),
        )
        return given["enhancement"] * given["sensitivity_v_m"] * swelling
