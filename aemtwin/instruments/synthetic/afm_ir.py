"""The sample `afm_ir`: a blend of two polymers under a tip in infrared light.

Domains of poly(methyl methacrylate) in a polystyrene that has a few hydroxyls, a film
of about a tenth of a micrometre. From this one hidden specimen come `height`,
`ir_amplitude` at 1730 1/cm and `resonance`, each with the noise and the cross-talk of
its recording, and three maps that no channel shows, `composition`, `thickness` and
`bonded`, of which the mode `afm_ir` computes spectra. `twins/afm_ir/card.md` has the
equations and what this cannot do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.modes import light
from aemtwin.instruments.synthetic import fields, vibrations
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M, BOX, PIXEL_M = 5e-6, 300, 20e-9  # side of the field; the raster, 6 µm a side
WALL_M = 30e-9  # half width of the border of two domains
TIP_M = 25e-9  # sd of what the heat spreads and the tip averages
FILM_M = 110e-9  # mean thickness
LINE_PER_M = 173e3  # at which the image is taken
CONTACT_HZ = 186e3  # second resonance of the cantilever, in contact


class Specimen(NamedTuple):
    """What tip and light find, each (BOX, BOX)."""

    composition: Array  # share of poly(methyl methacrylate), 0 to 1
    thickness: Array  # m
    bonded: Array  # share of its C=O that is bonded to a hydroxyl, 0 to 1
    surface: Array  # height of the film's surface, m


def _smooth(rng: np.random.Generator, length: float) -> Array:
    k = fields.wave_numbers(BOX, PIXEL_M)
    return fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))


def make_specimen(seed: int = 0, hidden_seed: int | None = None) -> Specimen:
    """Draw the film: domains that stand out, and what only spectra tell of them.

    Args:
        seed: Of domains, thickness and surface.
        hidden_seed: Of the bonds, and of the little that each polymer takes of the
            other; default: `seed`.
    """
    rng = generator(seed, 0, "afm_ir", "specimen")
    phase = _smooth(rng, 170e-9) - 0.35  # a third of the field is acrylate
    domain = 0.5 + 0.5 * np.tanh(fields.wall_distance(phase, PIXEL_M, 1e-6) / WALL_M)
    thickness = FILM_M + 14e-9 * (domain - 0.4) + 7e-9 * _smooth(rng, 0.7e-6)
    k = fields.wave_numbers(BOX, PIXEL_M)
    rough = fields.random_field(rng, BOX, fields.rough_spectrum(k, 40e-9, 0.7))
    surface = thickness + 3e-9 * _smooth(rng, 0.9e-6) + 0.5e-9 * rough
    own = seed if hidden_seed is None else hidden_seed
    rng = generator(own, 0, "afm_ir", "hidden")
    taken = 0.05 + 0.04 * _smooth(rng, 0.4e-6), 0.07 + 0.05 * _smooth(rng, 0.4e-6)
    share = (1.0 - np.abs(taken[1])) * domain + np.abs(taken[0]) * (1.0 - domain)
    border = 4.0 * domain * (1.0 - domain)
    bonded = 0.20 + 0.14 * _smooth(rng, 0.30e-6) + 0.25 * border + 0.15 * (1.0 - domain)
    bonded = 0.02 + 0.8 * np.clip(bonded, 0.0, 1.0)
    share, thickness, bonded, surface = (
        fields.blur(v, PIXEL_M, TIP_M) for v in (share, thickness, bonded, surface)
    )
    return Specimen(share, thickness, bonded, surface)


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return columns and rows over the field, metres."""
    return np.linspace(0.0, FIELD_M, shape[1]), np.linspace(0.0, FIELD_M, shape[0])


def _read(field: Array, shape: tuple[int, int]) -> Array:
    x, y = _grid(shape)
    return fields.read_at(field, PIXEL_M, x, y)


def amplitude_v(composition: Array, thickness: Array, bonded: Array) -> Array:
    """Return AFM-IR's amplitude at 1730 1/cm and the usual power, volts, any shape."""
    model = light.Photothermal
    given = {p.name: p.default for p in model.parameters}
    share = {p.name: p.default for p in model.settings}[light.SHARE]
    at = np.array([LINE_PER_M])
    swelling = vibrations.photothermal(
        light.absorption(at, composition, bonded),
        thickness,
        given["fluence_j_m2"] * share * light.laser(at),
    )[..., 0]
    return np.asarray(given["enhancement"] * given["sensitivity_v_m"] * swelling)


def make_images(
    seed: int, specimen: Specimen, shape: tuple[int, int]
) -> dict[str, Array]:
    """Record the channels: height, m; amplitude at 1730 1/cm, V; contact resonance, Hz.

    The resonance follows the stiffness, which differs a little between the polymers,
    and drops on slopes; the amplitude is off where the pulses miss the resonance.
    """
    rng = generator(seed, 0, "afm_ir", "images")
    share, thickness, bonded, surface = (_read(v, shape) for v in specimen)
    height = surface - surface.mean() + 0.08e-9 * rng.standard_normal((shape[0], 1))
    slope = _read(np.hypot(*np.gradient(specimen.surface, PIXEL_M)), shape)
    stiffness = _read(_smooth(rng, 0.5e-6), shape)
    resonance = CONTACT_HZ + 2.2e3 * (share - 0.4) + 5e2 * stiffness - 5e3 * slope
    missed = 1.0 + 0.05 * stiffness - 0.6 * slope
    amplitude = amplitude_v(share, thickness, bonded) * missed
    amplitude *= 1.0 + 0.01 * rng.standard_normal((shape[0], 1))  # the laser wanders
    return {
        "height": height + 0.1e-9 * rng.standard_normal(shape),
        "ir_amplitude": amplitude + 2e-4 * rng.standard_normal(shape),
        "resonance": resonance + 60.0 * rng.standard_normal(shape),
    }


def _rounded(values: Array) -> NDArray[np.float32]:
    """Round to 14 bits, 1/32768 of each value at most, so that the file packs well."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.rint(mantissa * 16384) / 16384, exponent)
    return np.asarray(rounded, np.float32)


def make_afm_ir(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (128, 128),
    image_seed: int | None = None,
    hidden_seed: int | None = None,
) -> list[StoredArray]:
    """Make the specimen: three images of it, and three maps that spectra come from.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of all six, over the field of 5 µm.
        image_seed: Of what the recording of the images has; default: `seed`.
        hidden_seed: Of what the spectra alone have, bonds and purity; default: `seed`.

    Returns:
        `height` m, `ir_amplitude` V, `resonance` Hz, `composition`, `thickness` m and
        `bonded`, each (y, x) float32.

    >>> made = make_afm_ir(shape=(4, 5))
    >>> [(a.name, a.units) for a in made[:3]], made[5].data.shape
    ([('height', 'm'), ('ir_amplitude', 'V'), ('resonance', 'Hz')], (4, 5))
    """
    specimen = make_specimen(seed, hidden_seed)
    images = make_images(seed if image_seed is None else image_seed, specimen, shape)
    x, y = _grid(shape)
    axes = (
        Axis("y", "m", y, "Length", "spatial"),
        Axis("x", "m", x, "Length", "spatial"),
    )
    maps = {
        name: _read(getattr(specimen, name), shape) for name in light.Photothermal.needs
    }
    about = {
        "height": ("Height", "m"),
        "ir_amplitude": ("Infrared amplitude", "V"),
        "resonance": ("Contact resonance", "Hz"),
        "composition": ("Share of PMMA", ""),
        "thickness": ("Thickness", "m"),
        "bonded": ("Share of bonded C=O", ""),
    }
    meta = {"sample": "afm_ir", "technique": "AFM-IR", "seed": seed, "synthetic": True}
    return [
        StoredArray(
            name=name,
            quantity=about[name][0],
            units=about[name][1],
            data=_rounded(data),
            axes=axes,
            metadata={
                **meta,
                **({"wavenumber_per_m": LINE_PER_M} if name == "ir_amplitude" else {}),
            },
            data_type="IMAGE",
            modality="AFM-IR",
            source="aemtwin synthetic",
        )
        for name, data in {**images, **maps}.items()
    ]
