"""Modes of a STEM that are computed: diffraction patterns, X-rays, core losses.

All are counts: what is expected at 50 pA and the model's usual dwell, which the
detector scales with dwell and current and counts. The physics is in `diffraction`,
`xrays` and `coreloss` of `aemtwin.instruments.synthetic`; maps of atoms a square metre,
named by their line or edge, serve both spectroscopies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import unknown
from aemtwin.instruments.effects.seeing import focus, focusing
from aemtwin.instruments.kinds import ELECTRON_C
from aemtwin.instruments.modes.base import Model, View
from aemtwin.instruments.synthetic import coreloss, diffraction, lowloss, xrays
from aemtwin.sample import Field
from aemtwin.specs import Axis, Parameter

Array = NDArray[np.float64]

CURRENT_A = 50e-12  # usual, of the kind
COULOMB_EV_M = 1.43996454e-9  # e^2 / (4 pi eps0)
EMISSION_M2 = 5.793e-32  # fine-structure constant times (classical radius)^2
NUMBERS: Mapping[str, int] = {  # atomic numbers of what xrays.LINES has
    **{"C": 6, "N": 7, "O": 8, "Al": 13, "Si": 14, "Ti": 22, "Mn": 25, "Fe": 26},
    **{"Ni": 28, "Cu": 29, "Sr": 38, "Au": 79},
}
BETHE: Mapping[str, tuple[int, float, float]] = {  # electrons, b and c of a shell
    "K": (2, 0.9, 0.65),
    "L": (8, 0.6, 0.6),
    "M": (18, 0.6, 0.6),
}
PLASMON = 30.0, 15.0  # eV, energy and width of the loss that blurs edges, of an oxide
LOW_STEPS = 512  # channels of the low loss, its last quarter negative
BLOCK = 512  # points whose spectra are computed at a time

_EMITTERS = """
C K 284 0.0014; N K 410 0.0031; O K 543 0.0058; Al K 1560 0.033; Si K 1839 0.0429
Ti K 4966 0.218; Ti L 456 0.0015; Mn K 6539 0.319; Fe K 7112 0.351; Fe L 708 0.0063
Ni K 8333 0.412; Ni L 855 0.0093; Cu K 8979 0.441; Cu L 931 0.011
Sr K 16105 0.665; Sr L 1940 0.026; Au M 2206 0.0256; Au L 11919 0.32
"""


class Emitter(NamedTuple):
    """A shell that emits X-rays."""

    edge_ev: float  # to ionize it
    per_hole: float  # fluorescence yield: X-rays a hole


EMITTERS: dict[str, Emitter] = {
    f"{element} {shell}": Emitter(float(edge), float(share))
    for element, shell, edge, share in (
        one.split() for one in _EMITTERS.strip().replace("\n", ";").split(";")
    )
}
"""Shells as `xrays.LINES` names them.

Source: fluorescence yields of K, L3 and M5 as the table of xraylib has them: Schoonjans
et al. (2011), Spectrochim. Acta B 66, 776; edges to some eV.
"""


def electrons(dwell_s: float) -> float:
    """Return how many electrons arrive in a dwell at the usual current.

    >>> round(electrons(1e-3))
    312075
    """
    return CURRENT_A * dwell_s / ELECTRON_C


def emission_m2(families: Sequence[str], beam_ev: float) -> Array:
    """Return cross-sections for the X-rays of shells, into all directions, m², (n,).

    Bethe's law, pi (e²/4 pi eps0)² n b / (T Ec) · ln(c T / Ec) with T = m v² / 2, times
    the fluorescence yield; 0 where the beam cannot ionize.

    Args:
        families: Keys of `EMITTERS`, such as "Ti K".
        beam_ev: Energy of the electrons.

    Raises:
        UnknownName: For another family.

    Source:
        Powell (1976), Rev. Mod. Phys. 48, 33: b = 0.9, c = 0.65 of the K shell; those
        of L and M here are chosen. Right to about a factor of 1.5.

    >>> float(1e28 * emission_m2(["Ti K"], 200e3)[0]).__round__()  # barns
    116
    """
    speed = lowloss.Beam(beam_ev, 0.01).speed
    kinetic = 0.5 * lowloss.REST_EV * speed**2
    found = np.zeros(len(families))
    for i, family in enumerate(families):
        if family not in EMITTERS:
            raise unknown("family of lines", family, EMITTERS, "See modes.stem.")
        edge, share = EMITTERS[family]
        count, b, c = BETHE[family.split()[1]]
        ratio = c * kinetic / edge
        if ratio > 1.0:
            holes = count * b / (kinetic * edge) * math.log(ratio)
            found[i] = math.pi * COULOMB_EV_M**2 * holes * share
    return found


def continuum_m2(number: int, beam_ev: float) -> float:
    """Return the cross-section of bremsstrahlung at half the beam's energy, m²/eV.

    (16/3) alpha r_e² Z² / (beta² E) ln((√T + √(T - E))² / E) at E = T / 2, into all
    directions: Born's approximation for slow electrons.

    Source:
        Heitler (1954), "The Quantum Theory of Radiation", 3rd ed., section 25.

    >>> f"{continuum_m2(38, 200e3):.1e}"
    '1.6e-32'
    """
    square = lowloss.Beam(beam_ev, 0.01).speed ** 2
    soft = math.log((1.0 + math.sqrt(0.5)) ** 2 / 0.5)
    return 16.0 / 3.0 * EMISSION_M2 * number**2 / (square * 0.5 * beam_ev) * soft


class Diffraction(Model):
    """A diffraction pattern at the spot (4D-STEM), behind a phase object.

    The probe is computed from energy, convergence and the settings of the lenses, the
    same as those of the effect `optics`; what that effect has of its own, not told, is
    not in it. The map must be finer than the finest detail of the probe.
    """

    name: ClassVar[str] = "diffraction"
    says: ClassVar[str] = "Convergent-beam pattern of a phase object (4D-STEM, DPC)."
    kinds: ClassVar[tuple[str, ...]] = ("stem",)
    quantity: ClassVar[str] = "Diffracted intensity"
    whole_probe: ClassVar[bool] = True
    units: ClassVar[str] = "counts"
    counts: ClassVar[bool] = True
    flux: ClassVar[float] = CURRENT_A
    dwell_s: ClassVar[float] = 1e-3
    needs: ClassVar[Mapping[str, str]] = {"potential": "V m"}
    may: ClassVar[Mapping[str, str]] = {"absorption": ""}
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("pixels", "", 32, 8, 64, "of the camera along each side", whole=True),
        Parameter("half_angle_rad", "rad", 1e-3, 1e-4, 0.2, "where the camera ends"),
        Parameter("energy_ev", "eV", 200e3, 20e3, 1e6, "of the electrons"),
        Parameter("convergence_rad", "rad", 5e-4, 1e-5, 0.1, "half angle of the probe"),
    )
    settings: ClassVar[tuple[Parameter, ...]] = focusing({})

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        along = diffraction.camera_axes(int(given["pixels"]), given["half_angle_rad"])
        return tuple(
            Axis(name, "rad", along, "Scattering angle", "reciprocal")
            for name in ("theta_y", "theta_x")
        )

    def require(
        self,
        maps: Mapping[str, Field],
        settings: Mapping[str, float],
        given: Mapping[str, float],
    ) -> None:
        angles = self.axes(given)[0].values
        diffraction.window(
            float(np.mean(maps["potential"].grid.pixel)),
            given["energy_ev"],
            given["convergence_rad"],
            focus(settings),
            float(angles[1] - angles[0]),
        )

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        field = view.maps["potential"]
        absorption = None
        if "absorption" in view.maps:
            absorption = view.maps["absorption"].image.astype(np.float64)
        (x_low, _), (y_low, _) = field.grid.bounds
        shares = diffraction.patterns(
            field.image.astype(np.float64),
            field.grid.pixel,
            view.points - np.array([x_low, y_low]),
            self.axes(given)[0].values,
            energy_ev=given["energy_ev"],
            convergence_rad=given["convergence_rad"],
            aberrations=focus(view.settings),
            absorption=absorption,
        )
        shares *= electrons(self.dwell_s)
        return shares


class XRays(Model):
    """X-rays that a spectrometer of some solid angle counts in a live dwell (EDS).

    Maps are of atoms a square metre, named by their lines ("Ti K"); two families of one
    element may share a map. No absorption in the specimen, no fluorescence, no pile-up.
    """

    name: ClassVar[str] = "eds"
    says: ClassVar[str] = "X-ray spectrum of a thin specimen: lines and continuum."
    kinds: ClassVar[tuple[str, ...]] = ("stem",)
    quantity: ClassVar[str] = "X-ray counts"
    units: ClassVar[str] = "counts"
    counts: ClassVar[bool] = True
    flux: ClassVar[float] = CURRENT_A
    dwell_s: ClassVar[float] = 5.0
    needs: ClassVar[Mapping[str, str]] = {}
    may: ClassVar[Mapping[str, str]] = dict.fromkeys(xrays.LINES, "1/m^2")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(
            "channels", "", 500, 16, 4096, "of the spectrum, from 0 eV on", whole=True
        ),
        Parameter("channel_ev", "eV", 20.0, 1.0, 200.0, "width of a channel"),
        Parameter("energy_ev", "eV", 200e3, 20e3, 1e6, "of the electrons"),
        Parameter("solid_angle_sr", "sr", 0.7, 1e-3, 6.0, "of the detectors"),
        Parameter("noise_ev", "eV", 50.0, 0.0, 200.0, "electronics, full width"),
        Parameter("window_ev", "eV", 400.0, 0.0, 5e3, "of which the window passes 1/e"),
        Parameter("continuum", "", 1.0, 0.0, 100.0, "of what theory has for it"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        middles = (np.arange(int(given["channels"])) + 0.5) * given["channel_ev"]
        return (Axis("energy", "eV", middles, "X-ray energy", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        families = tuple(name for name in xrays.LINES if name in view.maps)
        density = np.stack([view.at(name) for name in families], axis=-1)  # (k, n)
        beam, width = given["energy_ev"], given["channel_ev"]
        taken = electrons(self.dwell_s) * given["solid_angle_sr"] / (4.0 * math.pi)
        atoms = {name.split()[0]: i for i, name in enumerate(families)}
        soft = np.zeros(len(families))  # of each element once
        for element, i in atoms.items():
            soft[i] = continuum_m2(NUMBERS[element], beam)
        main = np.array([xrays.LINES[name][0].energy_ev for name in families])
        passed = np.exp(-((given["window_ev"] / main) ** 3))
        shapes = xrays.spectrum(
            self.axes(given)[0].values,
            taken * np.diag(emission_m2(families, beam) * passed),
            families,
            xrays.bremsstrahlung(
                self.axes(given)[0].values,
                beam,
                given["continuum"] * taken * width * soft,
                window_ev=given["window_ev"],
            ),
            noise_ev=given["noise_ev"],
        )
        return np.asarray(density @ shapes)


class CoreLoss(Model):
    """Core-loss spectra: edges of each element on a falling background (EELS).

    Maps are of atoms a square metre, named by their edges ("Ti L"), and one may be the
    `thickness` over the mean free path, for plural scattering and for the background.
    Cross-sections are those of `coreloss.EDGES`.
    """

    name: ClassVar[str] = "core_loss"
    says: ClassVar[str] = "Core-loss EELS: edges, plural scattering, background."
    kinds: ClassVar[tuple[str, ...]] = ("stem",)
    quantity: ClassVar[str] = "EELS intensity"
    units: ClassVar[str] = "counts"
    counts: ClassVar[bool] = True
    flux: ClassVar[float] = CURRENT_A
    dwell_s: ClassVar[float] = 0.1
    needs: ClassVar[Mapping[str, str]] = {}
    may: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(coreloss.EDGES, "1/m^2"),
        "thickness": "",
    }
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("first_ev", "eV", 420.0, 100.0, 3000.0, "loss where it begins"),
        Parameter("step_ev", "eV", 0.5, 0.05, 5.0, "width of a channel"),
        Parameter("channels", "", 520, 16, 2048, "of the spectrum", whole=True),
        Parameter("resolution_ev", "eV", 1.0, 0.05, 10.0, "of the beam, full width"),
        Parameter("thickness", "", 0.15, 0.0, 5.0, "over the path, without a map"),
        Parameter("ground_per_ev", "1/eV", 7e-5, 0.0, 1.0, "background at 400 eV"),
        Parameter("exponent", "", 3.0, 0.5, 8.0, "by which the background falls"),
    )

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        along = np.arange(int(given["channels"])) * given["step_ev"]
        loss = given["first_ev"] + along
        return (Axis("energy", "eV", loss, "Energy loss", "spectral"),)

    def values(self, view: View, given: Mapping[str, float]) -> Array:
        loss, step = self.axes(given)[0].values, given["step_ev"]
        names = [name for name in coreloss.EDGES if name in view.maps]
        density = np.empty((len(view.points), len(names)))
        for i, name in enumerate(names):
            density[:, i] = view.at(name)
        thick = np.full(len(density), given["thickness"])
        if "thickness" in view.maps:
            thick = view.at("thickness")
        arriving = electrons(self.dwell_s)
        ground = arriving * step * given["ground_per_ev"] * thick
        power = coreloss.background(
            loss, ground * 400.0 ** given["exponent"], given["exponent"]
        )
        zero, single = _losses(step, given["resolution_ev"])
        out = np.empty((len(density), len(loss)))
        for low in range(0, len(out), BLOCK):
            part = slice(low, low + BLOCK)
            out[part] = coreloss.core_loss(
                loss,
                density[part],
                [coreloss.EDGES[name] for name in names],
                electrons=arriving,
                low_loss=coreloss.plural_low_loss(zero, single, thick[part]),
                background=power[part],
            )
        return np.maximum(out, 0.0)  # of Fourier's rounding


@lru_cache(maxsize=8)
def _losses(step_ev: float, resolution_ev: float) -> tuple[Array, Array]:
    """Return the zero-loss peak and a single plasmon on channels, (LOW_STEPS,) each."""
    loss = step_ev * np.arange(LOW_STEPS)
    whole = LOW_STEPS * step_ev
    around = np.where(loss > 0.75 * whole, loss - whole, loss)
    zero = xrays.gaussian(around, 0.0, max(resolution_ev, step_ev))
    single = lowloss.drude_loss(np.maximum(loss, 1e-9), *PLASMON)
    single = np.where(around > 0, single, 0.0)
    for kept in (zero, single):
        kept.flags.writeable = False
    return zero, single
