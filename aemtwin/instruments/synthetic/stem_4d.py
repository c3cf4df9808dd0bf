"""The sample `stem_4d`: p-n junctions in a lamella of GaAs, for diffraction at a spot.

A buried p layer of uneven width and a p pocket in n-type material, with small voids.
One hidden specimen gives the image (`haadf`: thickness and voids, and next to nothing
of the doping) and the map of projected potential that the mode `diffraction` reads: its
gradient turns the beam, strongly at voids, by some per cent of the disk's radius at the
junctions. `twins/stem_4d/card.md` has the equations and what this cannot do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import fields
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M = 256e-9  # side of the scanned field
PIXEL_M, BOX = 1e-9, 360  # the periodic raster on which fields live
CHARGE_C, PERMITTIVITY = 1.602176634e-19, 12.9 * 8.8541878128e-12  # of GaAs
BUILT_IN_V = 1.35  # from p to n
DOPING_M3 = 2.5e24  # of either side, before it varies
INNER_V = 14.2  # mean inner potential
THICK_M, DEAD_M = 180e-9, 40e-9  # of the lamella; of it, without a field
PATH_M = 125e-9  # mean free path of what leaves the disk, Bragg reflections included
VOIDS = 26
CLEAR = 4e-9  # m, rms of what the probe of the image blurs
ELECTRONS = 50e-12 * 2e-5 / CHARGE_C  # a pixel of the image: 50 pA and 20 µs
SCATTERED = 0.09  # to the dark-field detector, where the lamella is as it should be


@dataclass(frozen=True, eq=False)
class Specimen:
    """A lamella: all on one raster, (n, n), metres and volts."""

    depth: Array  # m, distance from the nearest junction, negative in p
    width: Array  # m, of the depletion
    thickness: Array  # m, voids taken off
    bent: Array  # of Bragg reflections, about 0
    solid: Array  # m, thickness without the voids taken off


def depletion_m(doping_m3: Array | float) -> Array:
    """Return the width of the depletion of a junction of equal doping, metres.

    W = √(4 eps V / (e N)), N on either side.

    Source:
        Sze and Ng (2007), "Physics of Semiconductor Devices", 3rd ed., section 2.2,
        the abrupt junction.

    >>> round(float(depletion_m(2e24)) * 1e9, 1)
    43.9
    """
    charge = CHARGE_C * np.asarray(doping_m3, np.float64)
    return np.asarray(np.sqrt(4.0 * PERMITTIVITY * BUILT_IN_V / charge))


def junction_v(depth_m: Array, width_m: Array | float) -> Array:
    """Return the potential across a junction, 0 in p to `BUILT_IN_V` in n, volts.

    Its field is a triangle, 2 V / W at its top (the depletion approximation).

    >>> junction_v(np.array([-9.0, -1.0, 0.0, 1.0, 9.0]), 2.0).tolist()
    [0.0, 0.0, 0.675, 1.35, 1.35]
    """
    s = np.clip(2.0 * depth_m / width_m, -1.0, 1.0)
    return np.asarray(BUILT_IN_V * (0.5 + s - 0.5 * s * np.abs(s)))


def make_specimen(seed: int = 0) -> Specimen:
    """Draw the lamella: junctions, doping, thickness, voids."""
    rng = generator(seed, 0, "stem_4d", "specimen")
    at = PIXEL_M * np.arange(round(FIELD_M / PIXEL_M) + 1)
    x, y = at[None, :], at[:, None]
    bow = 14e-9 * _smooth(rng, 28e-9)[0][None, :]
    half = 34e-9 + 9e-9 * _smooth(rng, 20e-9)[0][None, :]
    layer = np.abs(y - 0.4 * FIELD_M - 0.12 * x - bow) - half
    angle = np.arctan2(y - 0.83 * FIELD_M, x - 0.24 * FIELD_M)
    pocket = np.hypot(x - 0.24 * FIELD_M, y - 0.83 * FIELD_M) - 30e-9
    pocket = pocket - 4e-9 * np.sin(3.0 * angle)
    depth = np.minimum(layer, pocket)
    width = depletion_m(DOPING_M3 * np.exp(0.5 * _smooth(rng, 30e-9)))
    curtain = _smooth(rng, 9e-9)[0][None, :] * np.ones_like(depth)
    solid = THICK_M * (1.0 + 0.1 * (y / FIELD_M - 0.5) + 0.008 * curtain)
    solid = solid + THICK_M * 0.012 * _smooth(rng, 30e-9)
    gone = np.zeros_like(solid)
    for _ in range(VOIDS):
        place = rng.uniform(0.0, FIELD_M, 2)
        radius = float(np.clip(5e-9 * np.exp(0.3 * rng.standard_normal()), 3e-9, 9e-9))
        away = np.hypot(x - place[0], y - place[1])
        gone = np.maximum(gone, 2.0 * np.sqrt(np.maximum(radius**2 - away**2, 0.0)))
    thickness = _blurred(solid - gone, 0.8e-9)
    return Specimen(depth, width, thickness, _smooth(rng, 35e-9), solid)


def _smooth(rng: np.random.Generator, length: float) -> Array:
    k = fields.wave_numbers(BOX, PIXEL_M)
    field = fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))
    n = round(FIELD_M / PIXEL_M) + 1
    return field[:n, :n]


def _blurred(image: Array, sd_m: float) -> Array:
    """Blur with a Gaussian; the borders are mirrored."""
    wide = np.pad(image, ((0, len(image)), (0, image.shape[1])), mode="symmetric")
    return fields.blur(wide, PIXEL_M, sd_m)[: len(image), : image.shape[1]]


def make_potential(specimen: Specimen) -> Array:
    """Return the projected potential, (n, n), V m, but for a constant.

    V0 t + (t - dead layers) phi: the material's own, and that of the junctions.
    """
    phi = junction_v(specimen.depth, specimen.width)
    phi = _blurred(phi, 1.5e-9)  # carriers' tails, a few Debye lengths
    whole = INNER_V * specimen.thickness + (specimen.thickness - DEAD_M) * phi
    return np.asarray(whole - whole.mean())


def make_absorption(specimen: Specimen) -> Array:
    """Return the thickness over the path of what leaves the disk, (n, n)."""
    return specimen.thickness / PATH_M * (1.0 + 0.05 * specimen.bent)


def make_image(specimen: Specimen) -> Array:
    """Return expected counts of the dark field, (n, n), at 50 pA and 20 µs.

    In proportion to the mass; bending adds some, and the p layer is darker by a
    hundredth and less, as a strained or damaged layer is.
    """
    seen = SCATTERED * specimen.thickness / THICK_M * (1.0 + 0.012 * specimen.bent)
    seen = seen * (1.0 - 0.008 / (1.0 + np.exp(specimen.depth / 8e-9)))
    return ELECTRONS * _blurred(seen, CLEAR)


def _rounded(values: Array, step: float) -> NDArray[np.float32]:
    """Round to whole steps, so that the file packs well."""
    return np.asarray(step * np.rint(values / step), np.float32)


def make_stem_4d(seed: int = 0) -> list[StoredArray]:
    """Make the specimen: an image, and maps of what turns and weakens the beam.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.

    Returns:
        `haadf` (y, x), expected counts at 50 pA and 20 µs, on pixels of 2 nm;
        `potential`, V m, about its mean, and `absorption`, mean free paths, on pixels
        of 1 nm. All float32 over a field of 256 nm.

    >>> [(a.name, a.units, a.data.shape) for a in make_stem_4d()]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('haadf', 'counts', (129, 129)), ('potential', 'V m', (257, 257)),
     ('absorption', '', (257, 257))]
    """
    specimen = make_specimen(seed)
    about = {"sample": "stem_4d", "technique": "STEM", "seed": seed}

    def stored(
        name: str, quantity: str, units: str, data: Array, step: float
    ) -> StoredArray:
        y, x = (np.linspace(0.0, FIELD_M, n) for n in data.shape)
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=_rounded(data, step),
            axes=(
                Axis("y", "m", y, "Length", "spatial"),
                Axis("x", "m", x, "Length", "spatial"),
            ),
            metadata={**about, "beam_energy_ev": 200e3, "synthetic": True},
            data_type="IMAGE",
            modality="STEM",
            source="aemtwin synthetic",
        )

    potential, absorption = make_potential(specimen), make_absorption(specimen)
    image = make_image(specimen)[::2, ::2]
    return [
        stored("haadf", "HAADF intensity", "counts", image, 2.0**-4),
        stored("potential", "Projected potential", "V m", potential, 2.0**-36),
        stored("absorption", "Absorption", "", absorption, 2.0**-10),
    ]
