"""The sample `raman_map`: flakes of MoS2 on oxidized silicon under a Raman microscope.

Triangles of one layer, some with a second on them, grown from vapour. From this one
hidden specimen come, each by its own physics and with its own randomness, a white-light
image (`reflection`: layers, by interference) and a Raman spectrum at every point of a
coarser grid (`raman`, expected counts). Strain, doping and luminescence move and drown
the bands and are not in the image; neither is computed from the other.
`twins/raman_map/card.md` has the equations and what this cannot do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import fields, vibrations
from aemtwin.instruments.synthetic.xrays import voigt
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M, MARGIN_M = 30e-6, 1.5e-6  # side of the field, and of the specimen beyond it
BOX, PIXEL_M = 264, 0.125e-6  # the periodic raster on which the specimen lives
SPOT_M, LENS_M = 0.3e-6, 0.16e-6  # sd of the laser's spot, and of the image's blur
FIRST_PER_M, STEP_PER_M, CHANNELS = 35000.0, 100.0, 192  # of a spectrum
RESOLUTION_PER_M = 120.0  # full width at half maximum
OXIDE_M, LAYER_M = 270e-9, 0.615e-9  # thickness of the oxide, and of one layer
LIGHT_M = np.array([510e-9, 530e-9, 550e-9, 570e-9])  # the camera's green
FLAKE_N = np.array([5.350 + 0.905j, 5.077 + 0.908j, 4.965 + 0.909j, 4.728 + 0.895j])
OXIDE_N = np.array([1.462, 1.461, 1.460, 1.459])  # of fused silica
SILICON_N = np.array([4.241 + 0.039j, 4.151 + 0.033j, 4.077 + 0.028j, 4.015 + 0.024j])
RELAXED = {1: (38580.0, 40500.0), 2: (38420.0, 40640.0)}  # E' and A1', 1/m, by layers
BY_STRAIN = np.array([-520.0, -170.0])  # 1/m a percent of biaxial strain: chosen
BY_DOPING = np.array([-20.0, -220.0])  # 1/m for 1e13 electrons a cm^2: chosen
SECOND = 45200.0, 2800.0  # 2LA(M): position and width, 1/m
AREAS = np.array([2600.0, 4300.0, 900.0])  # counts of E', A1', 2LA(M) of one layer
SILICON = 24000.0, 350.0  # counts and width of bare silicon's line
RAMAN_S, RAMAN_W = 1.0, 1e-3  # the usual dwell and power


class Flake(NamedTuple):
    """One triangle: what image and spectra both come from."""

    x: float  # m, its middle, in the frame of the field
    y: float
    radius: float  # m, from the middle to a side
    angle: float
    second: float  # radius of the second layer over that of the first; 0 for none


@dataclass(frozen=True, eq=False)
class Specimen:
    """Flakes on oxide, on the raster of BOX x BOX."""

    flakes: tuple[Flake, ...]
    layers: NDArray[np.int64]  # 0, 1 or 2
    depth: Array  # m to the nearest side of the flake there; 0 outside
    owner: NDArray[np.int64]  # which flake; -1 for none
    residue: Array  # 0 to 1: oxide grains on which flakes began


@dataclass(frozen=True, eq=False)
class Hidden:
    """What only the spectra tell, on the same raster."""

    strain: Array  # percent, biaxial, tension above 0
    doping: Array  # 1e13 electrons a cm^2
    glow: Array  # luminescence, counts a channel
    focus: Array  # share of the light that is collected


def _smooth(rng: np.random.Generator, length: float) -> Array:
    k = fields.wave_numbers(BOX, PIXEL_M)
    return fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))


def _inside(flake: Flake, radius: float, turn: float) -> Array:
    """Return how far inside a triangle every pixel is, m; negative outside."""
    at = PIXEL_M * np.arange(BOX) - MARGIN_M
    x, y = at[None, :] - flake.x, at[:, None] - flake.y
    angles = flake.angle + turn + 2 * math.pi / 3 * np.arange(3)
    sides = [radius - x * math.cos(a) - y * math.sin(a) for a in angles]
    return np.asarray(np.min(sides, axis=0))


def make_specimen(seed: int = 0, *, flakes: int = 24) -> Specimen:
    """Draw triangles that may meet; where they do, the deeper one has the place."""
    rng = generator(seed, 0, "raman_map", "specimen")
    placed: list[Flake] = []
    while len(placed) < flakes:
        x, y = rng.uniform(-MARGIN_M, FIELD_M + MARGIN_M, 2)
        radius = float(
            np.clip(2.2e-6 * np.exp(0.35 * rng.standard_normal()), 1e-6, 4e-6)
        )
        angle = rng.uniform(0, 2 * math.pi)
        second = float(rng.uniform(0.3, 0.55)) if rng.random() < 0.4 else 0.0
        near = [
            math.hypot(x - f.x, y - f.y) - 1.15 * (radius + f.radius) for f in placed
        ]
        if min(near, default=1.0) > 0:
            placed.append(Flake(float(x), float(y), radius, float(angle), second))
    inside = np.array([_inside(f, f.radius, 0.0) for f in placed])
    depth = np.maximum(inside.max(axis=0), 0.0)
    layers = (depth > 0).astype(np.int64)
    at = PIXEL_M * np.arange(BOX) - MARGIN_M
    residue = np.zeros((BOX, BOX))
    for f in placed:
        turn = math.pi * float(rng.random() < 0.5)  # of the second layer, 2H or 3R
        if f.second:
            layers[_inside(f, f.second * f.radius, turn) > 0] = 2
        size, amount = rng.uniform(0.15e-6, 0.35e-6), rng.random()
        away = np.hypot(at[None, :] - f.x, at[:, None] - f.y)
        residue = np.maximum(residue, amount * np.exp(-((away / size) ** 2)))
    owner = np.where(depth > 0, inside.argmax(axis=0), -1)
    return Specimen(tuple(placed), layers, depth, owner, residue)


def make_hidden(seed: int, specimen: Specimen) -> Hidden:
    """Draw what the image does not show, some of it bound to the shape of the flakes.

    Strain is left by cooling and let go towards sides and along wrinkles; electrons
    are more at sides, and every flake has some of its own.
    """
    rng = generator(seed, 0, "raman_map", "hidden")
    own = rng.standard_normal((2, len(specimen.flakes) + 1))
    mine, depth = own[:, specimen.owner], specimen.depth
    wrinkle = fields.wall_distance(_smooth(rng, 3.0e-6), PIXEL_M, 5e-6)
    held = (1 - np.exp(-depth / 0.9e-6)) * (1 - 0.7 * np.exp(-((wrinkle / 4e-7) ** 2)))
    strain = 0.32 * held * (1 + 0.15 * mine[0]) + 0.08 * _smooth(rng, 1.6e-6)
    doping = 0.55 + 0.22 * _smooth(rng, 2.2e-6) + 0.12 * mine[1]
    doping = np.maximum(doping + 0.35 * np.exp(-depth / 0.6e-6), 0.0)
    glow = 45.0 * np.exp(0.5 * _smooth(rng, 3e-6)) + 700.0 * specimen.residue
    glow += np.where(depth > 0, 70.0 * np.exp(0.3 * _smooth(rng, 1.5e-6)), 0.0)
    focus = np.exp(-0.5 * (0.25 + 0.2 * _smooth(rng, 9e-6)) ** 2)
    return Hidden(strain, doping, glow, focus)


def bands(
    layers: NDArray[np.int64], strain: Array, doping: Array
) -> tuple[Array, Array, Array]:
    """Return positions and widths, 1/m, and areas, counts, of bands of MoS2, (n, 3).

    Args:
        layers: 1 or 2, (n,).
        strain: Biaxial, percent, (n,).
        doping: 1e13 electrons a cm^2, (n,); two layers share them.

    Source:
        E' falls and A1' rises with layers: Lee et al. (2010), ACS Nano 4, 2695;
        electrons soften and broaden A1' and leave E' nearly alone: Chakraborty et al.
        (2012), Phys. Rev. B 85, 161403; strain softens E' more than A1': Lloyd et al.
        (2016), Nano Lett. 16, 5836. The numbers are chosen with these in mind.

    >>> bands(np.array([1]), np.array([0.0]), np.array([0.0]))[0][0].tolist()
    [38580.0, 40500.0, 45200.0]
    """
    relaxed = np.where((layers == 2)[:, None], RELAXED[2], RELAXED[1])
    electrons = (doping / layers)[:, None]
    main = relaxed + BY_STRAIN * strain[:, None] + BY_DOPING * electrons
    second = np.full((len(layers), 1), SECOND[0])
    widths = np.column_stack(
        [
            np.full(len(layers), 280.0) + 80.0 * np.abs(strain),
            420.0 + 300.0 * electrons[:, 0],
            np.full(len(layers), SECOND[1]),
        ]
    )
    areas: Array = AREAS * np.where((layers == 2)[:, None], 1.75, 1.0)
    return np.hstack([main, second]), widths, areas


def reflectance(layers: int) -> float:
    """Return the share of green light that layers of MoS2 on the substrate send back.

    Fresnel's coefficients at normal incidence: flake and oxide on silicon (Airy).

    Source:
        MoS2: Hsu et al. (2019), Adv. Optical Mater. 7, 1900239; silicon: Green (2008),
        Sol. Energ. Mat. Sol. Cells 92, 1305, and at 570 nm Green and Keevers (1995),
        Prog. Photovolt. 3, 189; all as refractiveindex.info has them.

    >>> [round(100 * reflectance(n), 1) for n in (0, 1, 2)]
    [11.9, 8.7, 7.9]
    """

    def two(upper: Array, lower: Array, index: Array, depth: float) -> Array:
        turn = np.exp(4j * math.pi * index * depth / LIGHT_M)
        return np.asarray((upper + lower * turn) / (1 + upper * lower * turn))

    def step(a: Array | float, b: Array) -> Array:
        return np.asarray((a - b) / (a + b))

    below = two(step(FLAKE_N, OXIDE_N), step(OXIDE_N, SILICON_N), OXIDE_N, OXIDE_M)
    whole = two(step(1.0, FLAKE_N), below, FLAKE_N, layers * LAYER_M)
    return float(np.mean(np.abs(whole) ** 2))


def wave_axis() -> Array:
    """Return the Raman shift at the middle of each channel, (CHANNELS,), 1/m."""
    return np.asarray(FIRST_PER_M + STEP_PER_M * np.arange(CHANNELS), np.float64)


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return columns and rows over the field, metres."""
    return np.linspace(0.0, FIELD_M, shape[1]), np.linspace(0.0, FIELD_M, shape[0])


def make_spectra(specimen: Specimen, hidden: Hidden, shape: tuple[int, int]) -> Array:
    """Return expected counts at every point, (rows, columns, CHANNELS); 1 mW, 1 s.

    The spot is a Gaussian, taken at three places a way (Gauss and Hermite).
    """
    axis, (x, y) = wave_axis(), _grid(shape)
    nodes = math.sqrt(3.0) * SPOT_M * np.array([-1.0, 0.0, 1.0])
    weights = np.array([1.0, 4.0, 1.0]) / 6.0
    n = shape[0] * shape[1]
    total, silicon, glow = np.zeros((n, CHANNELS)), np.zeros(n), np.zeros(n)
    for down, w in zip(nodes, weights, strict=True):
        row = np.rint((y + down + MARGIN_M) / PIXEL_M).astype(int)
        for right, v in zip(nodes, weights, strict=True):
            column = np.rint((x + right + MARGIN_M) / PIXEL_M).astype(int)
            at = np.ix_(row, column)
            layers, share = (
                specimen.layers[at].ravel(),
                w * v * hidden.focus[at].ravel(),
            )
            on = layers > 0
            positions, widths, areas = bands(
                layers[on], hidden.strain[at].ravel()[on], hidden.doping[at].ravel()[on]
            )
            total[on] += share[on, None] * vibrations.raman(
                axis, positions, widths, areas, resolution_per_m=RESOLUTION_PER_M
            )
            silicon += share * SILICON[0] * 0.86**layers
            glow += share * hidden.glow[at].ravel()
    line = voigt(axis, vibrations.SILICON_PER_M, RESOLUTION_PER_M, SILICON[1])
    total += STEP_PER_M * silicon[:, None] * line
    under = vibrations.luminescence(axis, glow[:, None] * np.array([1.0, 0.25, -0.1]))
    return np.asarray((total + under).reshape(*shape, CHANNELS))


def make_image(seed: int, specimen: Specimen, shape: tuple[int, int]) -> Array:
    """Record the white-light image: reflectance in percent, with shading and noise."""
    rng = generator(seed, 0, "raman_map", "reflection")
    of = np.array([100 * reflectance(n) for n in range(3)])
    seen = of[specimen.layers] + 5.0 * specimen.residue
    seen = fields.blur(seen, PIXEL_M, LENS_M)
    x, y = _grid(shape)
    values = fields.read_at(seen, PIXEL_M, x + MARGIN_M, y + MARGIN_M)
    away = np.hypot(x[None, :] - 0.6 * FIELD_M, y[:, None] - 0.45 * FIELD_M) / FIELD_M
    return values * (1 - 0.06 * away**2) + 0.06 * rng.standard_normal(shape)


def _rounded(values: Array) -> NDArray[np.float32]:
    """Round to 11 bits, a 1/4096 of each value at most, so that the file packs well."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.rint(mantissa * 2048) / 2048, exponent)
    return np.asarray(rounded, np.float32)


def make_raman_map(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (48, 48),
    image_shape: tuple[int, int] = (128, 128),
    image_seed: int | None = None,
    spectra_seed: int | None = None,
) -> list[StoredArray]:
    """Make the specimen: an image, and a Raman spectrum at every point of a grid.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of the grid of spectra.
        image_shape: Rows and columns of the image, over the same field of 30 µm.
        image_seed: Of what the image alone has, its recording; default: `seed`.
        spectra_seed: Of what the spectra alone have: strain, doping, luminescence,
            focus; default: `seed`.

    Returns:
        `reflection` (y, x), percent, as recorded; `raman` (y, x, wave number), expected
        counts at 1 s and 1 mW. Both float32.

    >>> made = make_raman_map(shape=(2, 3), image_shape=(4, 4))
    >>> [(a.name, a.units, a.data.shape) for a in made]
    [('reflection', '%', (4, 4)), ('raman', 'counts', (2, 3, 192))]
    """
    specimen = make_specimen(seed)
    image = make_image(
        seed if image_seed is None else image_seed, specimen, image_shape
    )
    hidden = make_hidden(seed if spectra_seed is None else spectra_seed, specimen)
    spectra = make_spectra(specimen, hidden, shape)
    about = {"sample": "raman_map", "technique": "Raman", "seed": seed}

    def stored(
        name: str, quantity: str, units: str, kind: str, data: Array, *axes: Axis
    ) -> StoredArray:
        x, y = _grid((data.shape[0], data.shape[1]))
        places = (
            Axis("y", "m", y, "Length", "spatial"),
            Axis("x", "m", x, "Length", "spatial"),
        )
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=_rounded(data),
            axes=(*places, *axes),
            metadata={**about, "wavelength_m": 532e-9, "synthetic": True},
            data_type=kind,
            modality="Raman",
            source="aemtwin synthetic",
        )

    shift = Axis("wavenumber", "1/m", wave_axis(), "Raman shift", "spectral")
    return [
        stored("reflection", "Reflectance", "%", "IMAGE", image),
        stored("raman", "Raman intensity", "counts", "SPECTRAL_IMAGE", spectra, shift),
    ]
