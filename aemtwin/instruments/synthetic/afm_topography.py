"""The sample `afm_topography`: a scratched blend of two polymers under a sharp tip.

Drops of polystyrene in semicrystalline poly(3-hexylthiophene), a film of 34 nm on
conducting PEDOT:PSS, with two scratches down to it, pinholes, and silica particles:
what a tip widens and a feedback flies over. From this one hidden specimen come
`height`, `phase`, `potential` and `current`, each with the noise of its recording, and
maps that no channel shows, of which `force_curve`, `contact_iv` and `kelvin` are
computed.
`twins/afm_topography/card.md` has the equations and what this cannot do.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import fields, junctions
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M, BOX = 2e-6, 300  # side of the field; pixels of the periodic raster
PIXEL_M = FIELD_M / 255  # of the raster: that of an image of 256 x 256
FILM_M = 34e-9  # mean thickness of the poly(3-hexylthiophene)
DROP_M = 9e-9  # how far polystyrene stands out of it
CONTACT_M = 6e-9  # sd of the area that a tip in contact averages
REACH_M = 20e-9  # sd of what the potential of a lifted tip averages
BIAS_V = 0.5  # at which the image of the current is taken
JUNCTION = {"ideality": 3.0, "series_ohm": 3e8, "limit_a": 1e-8}
SETPOINT, QUALITY = 0.7, 300.0  # of the tapping: amplitude over the free one, and Q
TAPPING_J = math.pi * 5.0 * 25e-9**2  # pi k A0^2: 5 N/m, 25 nm


class Specimen(NamedTuple):
    """What a tip finds, each (BOX, BOX)."""

    height: Array  # of the surface above the PEDOT:PSS, m
    dissipated: Array  # by one tap, J
    modulus: Array  # reduced, Pa
    adhesion: Array  # work of adhesion, J/m^2
    conductance: Array  # of the ohmic path, S
    barrier: Array  # of the diode, eV
    potential: Array  # bias at which no field is left, V


MATERIALS: dict[str, tuple[float, ...]] = {
    # E*, Pa; w, J/m^2; loss, eV; log10 G/S; barrier, eV; potential, V
    "p3ht": (1.3e9, 0.050, 22.0, -10.6, 0.51, 0.12),
    "ps": (3.6e9, 0.062, 9.0, -14.0, 1.10, -0.06),
    "pedot": (2.2e9, 0.095, 15.0, -9.2, 1.10, -0.18),
    "silica": (6.0e10, 0.110, 6.0, -15.0, 1.20, -0.30),
}
"""The usual numbers of each material; the specimen varies about them."""

SCRATCHES = (  # ends (x, y) and half width, m
    ((1.02e-6, 0.30e-6), (1.80e-6, 0.62e-6), 55e-9),
    ((1.12e-6, 0.08e-6), (2.20e-6, 0.523e-6), 35e-9),
)


def _smooth(rng: np.random.Generator, length: float) -> Array:
    k = fields.wave_numbers(BOX, PIXEL_M)
    return fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))


def _fibrils(rng: np.random.Generator) -> Array:
    """Return waves of 40 nm whose direction turns slowly: bundles of fibrils."""
    kx = 2 * math.pi * np.fft.rfftfreq(BOX, PIXEL_M)[None, :]
    ky = 2 * math.pi * np.fft.fftfreq(BOX, PIXEL_M)[:, None]
    length, angle = np.hypot(kx, ky) * 40e-9 / (2 * math.pi), np.arctan2(ky, kx)
    ring = np.exp(-(((length - 1.0) / 0.25) ** 2))
    turned = np.arctan2(_smooth(rng, 160e-9), _smooth(rng, 160e-9))
    waves = np.zeros((BOX, BOX))
    for direction in np.arange(8) * math.pi / 8:
        off = np.sin(angle - direction)  # a wave and its reverse are one
        wave = fields.random_field(rng, BOX, ring * np.exp(-((off / 0.3) ** 2)))
        waves += wave * np.exp(2.0 * np.cos(turned - 2.0 * direction))
    return np.asarray((waves - waves.mean()) / waves.std())


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return columns and rows over the field, metres."""
    return np.linspace(0.0, FIELD_M, shape[1]), np.linspace(0.0, FIELD_M, shape[0])


def _from_segment(
    x: Array, y: Array, ends: tuple[tuple[float, float], ...]
) -> tuple[Array, Array]:
    """Return how far points are from a segment, and on which side of it, -1 or 1."""
    (x0, y0), (x1, y1) = ends
    along = np.array([x1 - x0, y1 - y0])
    share = ((x - x0) * along[0] + (y - y0) * along[1]) / (along @ along)
    share = np.clip(share, 0.0, 1.0)
    side = np.sign((y - y0) * along[0] - (x - x0) * along[1])
    return np.hypot(x - x0 - share * along[0], y - y0 - share * along[1]), side


def _removed(
    rng: np.random.Generator, x: Array, y: Array, film: Array
) -> tuple[Array, Array]:
    """Return where the film is gone, 0 to 1, and what the scratches heaped up, m."""
    gone, heap = np.zeros_like(film), np.zeros_like(film)
    ragged, lumps = 4e-9 * _smooth(rng, 25e-9), _smooth(rng, 35e-9)
    for start, end, half in SCRATCHES:
        distance, side = _from_segment(x, y, (start, end))
        out = distance - half + ragged
        gone = np.maximum(gone, 0.5 - 0.5 * np.tanh(out / 5e-9))
        rim = np.exp(-(((out - 24e-9) / 16e-9) ** 2)) * (1.0 + 0.45 * side)
        heap = np.maximum(heap, 7e-9 * rim * np.exp(0.35 * lumps))
    for _ in range(5):  # pinholes, of which some do not go through
        centre, half = rng.uniform(0.1e-6, 1.9e-6, 2), rng.uniform(20e-9, 45e-9)
        out = np.hypot(x - centre[0], y - centre[1]) - half + ragged
        through = rng.uniform(0.5, 1.0)
        gone = np.maximum(gone, through * (0.5 - 0.5 * np.tanh(out / 7e-9)))
    return gone, heap * (1.0 - gone)


def _particles(
    rng: np.random.Generator, x: Array, y: Array, ground: Array
) -> tuple[Array, Array]:
    """Lay silica spheres on the film; return the surface, and where it is silica."""
    top, on = ground.copy(), np.zeros_like(ground)
    for _ in range(10):
        column, row = rng.integers(8, 248, 2)
        radius = 15e-9 * float(np.exp(0.25 * rng.standard_normal()))
        far = np.hypot(x - column * PIXEL_M, y - row * PIXEL_M)
        centre = ground[row, column] + 0.6 * radius  # it has sunk in a little
        cap = centre + np.sqrt(np.maximum(radius**2 - far**2, 0.0))
        inside = (far < radius) & (cap > top)
        top[inside], on[inside] = cap[inside], 1.0
    return top, on


def make_specimen(seed: int = 0, hidden_seed: int | None = None) -> Specimen:
    """Draw the film, what lies on it and what was scratched out of it.

    Args:
        seed: Of all that images show: drops, fibrils, order, charge, particles.
        hidden_seed: Of what else there is in the polymers: their purity, which only
            force curves tell, and the ways of the current, of which an image at one
            bias tells a part; default: `seed`.
    """
    rng = generator(seed, 0, "afm_topography", "specimen")
    x, y = np.meshgrid(*[np.arange(BOX) * PIXEL_M] * 2)
    drop = fields.wall_distance(_smooth(rng, 85e-9) - 0.35, PIXEL_M, 1e-6)
    drop = 0.5 + 0.5 * np.tanh(drop / 7e-9)
    fibril, order, charge = _fibrils(rng), _smooth(rng, 110e-9), _smooth(rng, 130e-9)
    waves, rough, grains = _smooth(rng, 300e-9), _smooth(rng, 9e-9), _smooth(rng, 12e-9)
    film = FILM_M + 2e-9 * waves + 0.25e-9 * rough
    film += DROP_M * drop * (1.0 + 0.12 * order) + 0.9e-9 * fibril * (1.0 - drop)
    gone, heap = _removed(rng, x, y, film)
    ground = film * (1.0 - gone) + 1.1e-9 * grains * gone + heap
    height, silica = _particles(rng, x, y, ground)

    own = seed if hidden_seed is None else hidden_seed
    rng = generator(own, 0, "afm_topography", "hidden")
    purity, path, injected = (_smooth(rng, length) for length in (75e-9, 90e-9, 80e-9))
    bare = np.clip((gone - 0.6) / 0.4, 0.0, 1.0) * (1.0 - silica)
    shares = {
        "p3ht": (1.0 - drop) * (1.0 - bare) * (1.0 - silica),
        "ps": drop * (1.0 - bare) * (1.0 - silica),
        "pedot": bare,
        "silica": silica,
    }
    table = {
        name: np.array([MATERIALS[m][i] for m in shares])
        for i, name in enumerate(
            ("modulus", "adhesion", "loss", "conductance", "barrier", "potential")
        )
    }
    weight = np.stack(list(shares.values()))  # (materials, BOX, BOX)
    soft, glassy, salt = weight[:3]

    def mixed(values: Array) -> Array:
        return np.asarray(np.tensordot(values, weight, 1))

    stiff = soft * (0.14 * order + 0.10 * fibril + 0.16 * purity)
    stiff += glassy * (0.03 * order + 0.10 * purity) + 0.15 * salt * grains
    lost = -soft * (0.16 * order + 0.12 * fibril) - 0.03 * glassy * order
    ways = soft * (0.25 * order + 0.35 * fibril + 0.35 * path) + 0.25 * salt * grains
    weak = 1.0 + 0.10 * purity * (soft + glassy) + 0.05 * salt * grains
    over = soft * (0.028 * injected - 0.010 * fibril)
    level = 0.015 * soft * fibril + 0.035 * charge * (glassy + 0.4 * soft)
    found = (
        np.exp(mixed(np.log(table["modulus"])) + stiff),
        mixed(table["adhesion"]) * weak,
        np.exp(mixed(np.log(table["loss"])) + lost) * junctions.CHARGE_C,
        mixed(table["conductance"]) + ways,
        mixed(table["barrier"]) + over,
    )
    modulus, adhesion, loss, decades, barrier = (
        fields.blur(v, PIXEL_M, CONTACT_M) for v in found
    )
    potential = mixed(table["potential"]) + level
    conductance = 10.0**decades
    return Specimen(height, loss, modulus, adhesion, conductance, barrier, potential)


def tapping_phase(dissipated_j: ArrayLike) -> Array:
    """Return the phase of tapping, degrees ahead of a cantilever that taps nothing.

    Driven at resonance, a cantilever lags by 90 deg when free and less when it repels.
    Per cycle the drive gives pi k A0 A sin(lag) / Q, and the air takes pi k A^2 / Q;
    the difference is what a tap loses, so sin(lag) = A / A0 + Q E / (pi k A A0).

    Args:
        dissipated_j: E, by one tap, any shape, joules, 0 or more.

    Returns:
        90 deg - lag, same shape, on the repulsive branch; 0 where a tap loses more
        than the drive can give.

    Source:
        Cleveland et al. (1998), Appl. Phys. Lett. 72, 2613: phase and dissipation; the
        balance is written out above.

    >>> round(float(tapping_phase(0.0)), 2)  # arccos(0.7)
    45.57
    """
    loss = np.asarray(dissipated_j, np.float64) * QUALITY / (TAPPING_J * SETPOINT)
    return np.asarray(90.0 - np.degrees(np.arcsin(np.minimum(SETPOINT + loss, 1.0))))


def current_a(conductance: Array, barrier: Array) -> Array:
    """Return the current at the bias of the image, amperes, same shape."""
    flat = junctions.contact_iv([BIAS_V], conductance, barrier, **JUNCTION)  # type: ignore[arg-type]
    return flat[..., 0]


def make_images(
    seed: int, specimen: Specimen, shape: tuple[int, int]
) -> dict[str, Array]:
    """Record the channels: height, m; phase, deg; potential, V; current, A.

    Each is the mean of several frames, so its noise is a third of that of a reading.
    """
    rng = generator(seed, 0, "afm_topography", "images")
    x, y = _grid(shape)

    def read(field: Array) -> Array:
        return fields.read_at(field, PIXEL_M, x, y)

    def noise(sd: float, line: float) -> Array:
        lines = line * rng.standard_normal((shape[0], 1))
        return np.asarray(lines + sd * rng.standard_normal(shape))

    height = read(specimen.height)
    slope = read(np.gradient(specimen.height, PIXEL_M, axis=1))
    current = current_a(read(specimen.conductance), read(specimen.barrier))
    worn = 1.0 + 0.03 * rng.standard_normal((shape[0], 1))  # contact, line by line
    potential = read(fields.blur(specimen.potential, PIXEL_M, REACH_M))
    phase = tapping_phase(read(specimen.dissipated)) + 0.6 * np.tanh(slope)
    return {
        "height": height - np.median(height) + noise(0.02e-9, 0.03e-9),
        "phase": phase + noise(0.1, 0.05),
        "potential": potential + noise(1.2e-3, 0.8e-3),
        "current": current * worn + noise(0.15e-12, 0.03e-12),
    }


def _rounded(values: Array, step: float) -> NDArray[np.float32]:
    """Round to 12 bits and to a step, so that the file packs well."""
    mantissa, exponent = np.frexp(np.rint(values / step) * step if step else values)
    return np.asarray(np.ldexp(np.rint(mantissa * 4096) / 4096, exponent), np.float32)


def make_afm_topography(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (160, 160),
    image_shape: tuple[int, int] = (256, 256),
    image_seed: int | None = None,
    hidden_seed: int | None = None,
) -> list[StoredArray]:
    """Make the specimen: four images of it, and five maps that curves come from.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of the maps, over the field of 2 µm.
        image_shape: Rows and columns of the images, over the same field.
        image_seed: Of what the recording of the images has; default: `seed`.
        hidden_seed: As of `make_specimen`; default: `seed`.

    Returns:
        `height` m, `phase` deg, `potential` V, `current` A; `modulus` Pa, `adhesion`
        J/m^2, `conductance` S, `barrier` eV, `contact_potential` V; (y, x) float32.

    >>> made = make_afm_topography(shape=(3, 4), image_shape=(5, 6))
    >>> [(a.name, a.units) for a in made[:3]], made[4].data.shape
    ([('height', 'm'), ('phase', 'deg'), ('potential', 'V')], (3, 4))
    """
    specimen = make_specimen(seed, hidden_seed)
    images = make_images(
        seed if image_seed is None else image_seed, specimen, image_shape
    )
    x, y = _grid(shape)
    log_g = fields.read_at(np.log(specimen.conductance), PIXEL_M, x, y)
    maps = {
        "modulus": fields.read_at(specimen.modulus, PIXEL_M, x, y),
        "adhesion": fields.read_at(specimen.adhesion, PIXEL_M, x, y),
        "conductance": np.exp(log_g),
        "barrier": fields.read_at(specimen.barrier, PIXEL_M, x, y),
        "contact_potential": fields.read_at(specimen.potential, PIXEL_M, x, y),
    }
    about = {  # quantity, unit, step of the converter
        "height": ("Height", "m", 5e-12),
        "phase": ("Phase", "deg", 0.02),
        "potential": ("Surface potential", "V", 2e-4),
        "current": ("Current", "A", 3e-14),
        "modulus": ("Reduced modulus", "Pa", 0.0),
        "adhesion": ("Work of adhesion", "J/m^2", 0.0),
        "conductance": ("Ohmic conductance", "S", 0.0),
        "barrier": ("Barrier", "eV", 0.0),
        "contact_potential": ("Contact potential", "V", 0.0),
    }
    meta = {"sample": "afm_topography", "technique": "AFM", "seed": seed}

    def stored(name: str, data: Array) -> StoredArray:
        quantity, units, step = about[name]
        columns, rows = _grid((len(data), len(data[0])))
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=_rounded(data, step),
            axes=(
                Axis("y", "m", rows, "Length", "spatial"),
                Axis("x", "m", columns, "Length", "spatial"),
            ),
            metadata={
                **meta,
                "synthetic": True,
                **({"bias_v": BIAS_V} if name == "current" else {}),
            },
            data_type="IMAGE",
            modality="AFM",
            source="aemtwin synthetic",
        )

    return [stored(name, data) for name, data in {**images, **maps}.items()]
