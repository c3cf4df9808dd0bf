"""The sample `stem_atoms`: a manganite film on titanate, atom by atom, under a STEM.

SrMnO3 on SrTiO3, seen along [100]. One hidden list of atomic columns gives the image
(`haadf`, sharp: what an ideal probe would count, which the effect `optics` blurs) and
maps of atoms a square metre of each element, of which X-rays and core losses are
computed. Both cations of the second sublattice are near in atomic number, so that the
image tells columns, steps and vacancies well and the mixing at the interface badly.
`twins/stem_atoms/card.md` has the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import fields
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M = 12.8e-9  # side of the scanned field
MARGIN_M = 1e-9  # of the specimen beyond it
TITANATE_M, FILM_M = 3.905e-10, 3.75e-10  # lattice constants along growth
TURN_RAD = math.radians(1.6)  # of the rows of atoms in the frame
INTERFACE_M = 6.3e-9  # height of the interface, left of its step
MIXED_M = 4.5e-10  # sd of the cations' way across it
LAYERS = 34  # unit cells along the beam
ELECTRONS = 50e-12 * 2e-5 / 1.602176634e-19  # a pixel: 50 pA and 20 µs
HIGH_ANGLE_M2 = 2.3e-25  # to the detector, by an atom, over Z^1.7
SHARP = 0.45  # share of it that is scattered from columns; the rest is diffuse
SHARP_M, DIFFUSE_M = 3.5e-11, 3e-10  # sd of both, without the probe
DARK = 0.4  # counts a pixel without a beam on anything
SEEN_M = 8e-11  # sd of a column in spectra: channelling and the range of the loss
PATH_M = 1.2e-7  # mean free path of losses
KINDS = ("Sr", "Ti", "Mn", "O")
NUMBER = np.array([38.0, 22.0, 25.0, 8.0])


@dataclass(frozen=True, eq=False)
class Columns:
    """Atomic columns: where they are and how many atoms of each kind they hold."""

    x: Array  # (c,) m, in the frame of the field
    y: Array  # (c,) m
    atoms: Array  # (c, 4), of `KINDS`
    site: NDArray[np.int64]  # (c,): 0 strontium's, 1 the second cation's, 2 oxygen's
    share: Array  # (c,): of manganese among second cations that was aimed at


def make_columns(seed: int = 0) -> Columns:
    """Draw the crystal: film, substrate, a step between, mixing, defects."""
    rng = generator(seed, 0, "stem_atoms", "columns")
    reach = FIELD_M + 4e-9
    along = np.arange(-2e-9, reach, TITANATE_M)
    cells = np.arange(-2e-9, INTERFACE_M - 1e-12, TITANATE_M)
    height = np.concatenate([cells, np.arange(cells[-1] + FILM_M, reach, FILM_M)])
    pitch = np.diff(height, append=height[-1] + FILM_M)
    x, y = (v.ravel() for v in np.meshgrid(along, height))
    half_y = 0.5 * np.repeat(pitch, len(along))
    half_x = np.full_like(x, 0.5 * TITANATE_M)
    parts = [(x, y, 0), (x + half_x, y + half_y, 1)]
    parts += [(x + half_x, y, 2), (x, y + half_y, 2)]
    x = np.concatenate([p[0] for p in parts])
    y = np.concatenate([p[1] for p in parts])
    site = np.concatenate([np.full(len(p[0]), p[2]) for p in parts])
    rumple = 0.5 * TITANATE_M * (_smooth(rng, 2.5e-9, x, y) > 0.9)
    step = TITANATE_M * (x > 0.58 * FIELD_M)  # the substrate was one cell higher there
    depth = y - INTERFACE_M - step - rumple
    wide = MIXED_M * np.exp(0.35 * _smooth(rng, 1.5e-9, x, y))
    share = 0.5 * (1 + _erf(depth / (math.sqrt(2.0) * wide)))
    layers = LAYERS + np.rint(1.2 * _smooth(rng, 5e-9, x, y)) - (y < 0.45 * x - 1.6e-9)
    atoms = _filled(rng, site, layers.astype(np.int64), share, depth)
    polar = 9e-12 * (site == 1) * np.exp(-(((depth - 8e-10) / 1.1e-9) ** 2))
    own = 2.5e-12 * rng.standard_normal((2, len(x)))
    x, y = x + own[0], y + own[1] + polar
    cos, sin = math.cos(TURN_RAD), math.sin(TURN_RAD)
    x, y = cos * x - sin * y + 3e-10, sin * x + cos * y
    kept = (np.abs(x - FIELD_M / 2) < FIELD_M / 2 + MARGIN_M) & (
        np.abs(y - FIELD_M / 2) < FIELD_M / 2 + MARGIN_M
    )
    return Columns(x[kept], y[kept], atoms[kept], site[kept], share[kept])


def _filled(
    rng: np.random.Generator,
    site: NDArray[np.int64],
    layers: NDArray[np.int64],
    share: Array,
    depth: Array,
) -> Array:
    """Draw how many atoms of each kind a column holds, (c, 4)."""
    atoms = np.zeros((len(site), 4))
    strontium, second, oxygen = (site == k for k in range(3))
    near = np.exp(-((depth / 1.2e-9) ** 2))
    vacant = 0.01 + 0.35 * (rng.random(len(site)) < 0.05 * near)  # some columns, much
    atoms[strontium, 0] = rng.binomial(layers, 1.0 - vacant)[strontium]
    swapped = 0.25 * (rng.random(len(site)) < 0.006)  # antisites
    guest = rng.binomial(layers, swapped)
    atoms[second, 0] = guest[second]
    manganese = rng.binomial(layers - guest, share)
    atoms[second, 2] = manganese[second]
    atoms[second, 1] = (layers - guest - manganese)[second]
    full = 1.0 - 0.06 * share  # the film lacks some oxygen
    atoms[second, 3] = rng.binomial(layers, full)[second]
    atoms[oxygen, 3] = rng.binomial(layers, full)[oxygen]
    return atoms


def _smooth(rng: np.random.Generator, length: float, x: Array, y: Array) -> Array:
    """Return a Gaussian random field of a correlation length at points, (c,)."""
    size, pixel = 96, 2e-10
    k = fields.wave_numbers(size, pixel)
    field = fields.random_field(rng, size, fields.smooth_spectrum(k, 0.5 * length))
    row, column = (np.rint((v + 2e-9) / pixel).astype(np.int64) % size for v in (y, x))
    return np.asarray(field[row, column])


def _erf(z: Array) -> Array:
    return np.array([math.erf(v) for v in z])


def splat(
    at: tuple[Array, Array], weights: Array, axes: tuple[Array, Array], sd_m: float
) -> Array:
    """Return Gaussians as their mean over each pixel, (rows, columns, w).

    Args:
        at: (x, y) of each, (c,), metres.
        weights: Their integrals over the plane, (c, w).
        axes: Middles of the pixels along (x, y), evenly spaced, metres.
        sd_m: Of each along both.
    """
    shares = []
    for place, middles in zip(at, axes, strict=True):
        pixel = middles[1] - middles[0]
        edges = np.append(middles - pixel / 2, middles[-1] + pixel / 2)
        z = (edges[:, None] - place[None, :]) / (math.sqrt(2.0) * sd_m)
        below = np.sign(z)
        near = np.abs(z) < 4.5
        below[near] = _erf(z[near])
        shares.append(np.diff(below, axis=0) / (2.0 * pixel))
    right, down = shares
    return np.stack([(down * w) @ right.T for w in weights.T], axis=-1)


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return columns and rows over the field, metres."""
    return np.linspace(0.0, FIELD_M, shape[1]), np.linspace(0.0, FIELD_M, shape[0])


def make_image(columns: Columns, shape: tuple[int, int]) -> Array:
    """Return what an ideal probe would count, at 50 pA and 20 µs.

    Source:
        Scattering to high angles grows about as Z^1.7: Krivanek et al. (2010), Nature
        464, 571; the prefactor and the diffuse share are chosen.
    """
    strength = HIGH_ANGLE_M2 * (columns.atoms @ NUMBER**1.7)
    at, axes = (columns.x, columns.y), _grid(shape)
    sharp = splat(at, strength[:, None], axes, SHARP_M)[..., 0]
    diffuse = splat(at, strength[:, None], axes, DIFFUSE_M)[..., 0]
    return DARK + ELECTRONS * (SHARP * sharp + (1.0 - SHARP) * diffuse)


def make_maps(columns: Columns, shape: tuple[int, int]) -> Array:
    """Return atoms a square metre as spectra see them, (rows, columns, 4)."""
    at = (columns.x, columns.y)
    return splat(at, columns.atoms, _grid(shape), SEEN_M)


def _rounded(values: Array, bits: int) -> NDArray[np.float32]:
    """Round to some bits of mantissa, so that the file packs well."""
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return np.asarray(whole, np.float32)


def make_stem_atoms(
    seed: int = 0,
    *,
    image_shape: tuple[int, int] = (257, 257),
    shape: tuple[int, int] = (161, 161),
) -> list[StoredArray]:
    """Make the specimen: the sharp image and a map of each element.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        image_shape: Rows and columns of the image over the field of 12.8 nm.
        shape: Of the maps of elements, over the same field.

    Returns:
        `haadf` (y, x), expected counts at 50 pA and 20 µs with an ideal probe; `sr`,
        `ti`, `mn`, `o`, atoms a square metre; `thickness` over the mean free path. All
        float32.

    >>> made = make_stem_atoms(image_shape=(33, 33), shape=(17, 17))
    >>> [(a.name, a.units, a.data.shape) for a in made][:2]
    [('haadf', 'counts', (33, 33)), ('sr', '1/m^2', (17, 17))]
    """
    columns = make_columns(seed)
    maps = make_maps(columns, shape)
    cells = splat(
        (columns.x, columns.y),
        (columns.atoms.sum(axis=1) / 5.0)[:, None],
        _grid(shape),
        4e-10,
    )[..., 0]
    thickness = cells * TITANATE_M**3 / PATH_M
    about = {"sample": "stem_atoms", "technique": "STEM", "seed": seed}

    def stored(
        name: str, quantity: str, units: str, data: Array, bits: int
    ) -> StoredArray:
        x, y = _grid((data.shape[0], data.shape[1]))
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=_rounded(data, bits),
            axes=(
                Axis("y", "m", y, "Length", "spatial"),
                Axis("x", "m", x, "Length", "spatial"),
            ),
            metadata={**about, "beam_energy_ev": 200e3, "synthetic": True},
            data_type="IMAGE",
            modality="STEM",
            source="aemtwin synthetic",
        )

    haadf = make_image(columns, image_shape)
    return [
        stored("haadf", "HAADF intensity", "counts", haadf, 12),
        *(
            stored(kind.lower(), f"{kind} areal density", "1/m^2", maps[..., i], 10)
            for i, kind in enumerate(KINDS)
        ),
        stored("thickness", "Thickness over mean free path", "", thickness, 10),
    ]
