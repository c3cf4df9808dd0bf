"""The sample `stem_eels`: metal nanoparticles on a carbon film under a STEM.

Aluminium-magnesium particles of 5 to 17 nm radius lie on both sides of a thin film.
From this one hidden specimen come, each by its own physics and with its own
randomness, an image (`haadf`, mass and thickness) and a low-loss spectrum at every
point of a coarser grid (`eels`, collective excitations). Oxide shells and disorder
shift and damp the plasmons and are not in the image; neither is computed from the
other. `twins/stem_eels/card.md` has the equations and what this cannot do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import fields, lowloss
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M = 140e-9  # side of the scanned field
MARGIN_M = 10e-9  # of the specimen beyond it
BOX, PIXEL_M = 320, 0.5e-9  # the periodic raster on which fields live
PROBE_M = 0.4e-9  # sd of the probe
BEAM = lowloss.Beam(volts=60e3, collection_rad=0.015)
ELECTRONS_A_SECOND = 50e-12 / 1.602176634e-19  # the usual current
EELS_S, HAADF_S = 1e-3, 2e-5  # the usual dwells
CHANNELS, STEP_EV, FIRST_EV = 100, 0.5, -3.0  # of a spectrum
LONG = 1024  # channels of the energy axis on which losses are added
SPREAD_EV = 0.8  # full width at half maximum of the zero loss
FAR_M = 60e-9  # from a surface: beyond, its modes are not felt
ORDERS = 8  # modes of a sphere, dipole first
AL_EV, CARBON = 15.0, (24.0, 16.0)  # plasmon; plasmon and damping
OXIDE, OXIDE_EPS = (23.5, 14.0), 3.0  # plasmon and damping; permittivity at 8 eV
FERMI_EV_M = 1.34e-9  # hbar v_F of aluminium: damping by the wall is this over radius
MASS = 4721.0, 2944.0, 2100.0  # atoms a nm^3 times Z^1.7 of Al, Mg, C
SCATTERED = 4e-7  # nm^2: to the detector, by an atom, over Z^1.7


class Particle(NamedTuple):
    """One sphere: what the image and the spectra both come from."""

    x: float  # m, in the frame of the field
    y: float
    radius: float  # m, with its oxide
    upper: bool  # on which side of the film
    magnesium: float  # atomic fraction


class Skin(NamedTuple):
    """What only the spectra tell of a particle."""

    oxide: float  # m, thickness of the shell; the metal lies within
    damping: float  # eV, of its plasmons


@dataclass(frozen=True, eq=False)
class Specimen:
    """Particles on a film."""

    particles: tuple[Particle, ...]
    film: NDArray[np.float64]  # (BOX, BOX), thickness, m


def _smooth(rng: np.random.Generator, length: float) -> Array:
    k = fields.wave_numbers(BOX, PIXEL_M)
    return fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))


def _at(field: Array, x: float, y: float) -> float:
    where = (np.array([v + MARGIN_M]) for v in (x, y))
    return float(fields.read_at(field, PIXEL_M, *where)[0, 0])


def make_specimen(seed: int = 0, *, particles: int = 44) -> Specimen:
    """Draw particles, a third of them touching another, and the film under them."""
    rng = generator(seed, 0, "stem_eels", "specimen")
    film = 12e-9 * (1 + 0.15 * _smooth(rng, 25e-9))
    alloy = _smooth(rng, 25e-9)
    low, high = -MARGIN_M, FIELD_M + MARGIN_M
    placed: list[Particle] = []
    while len(placed) < particles:
        radius = float(
            np.clip(9e-9 * np.exp(0.33 * rng.standard_normal()), 5e-9, 17e-9)
        )
        upper = bool(rng.random() < 0.7)
        x, y = rng.uniform(low, high, 2)
        same = [p for p in placed if p.upper == upper]
        if same and rng.random() < 0.35:
            other, angle = same[rng.integers(len(same))], rng.uniform(0, 2 * math.pi)
            apart = 2 * math.sqrt(
                radius * other.radius
            )  # spheres that touch on a plane
            x, y = other.x + apart * math.cos(angle), other.y + apart * math.sin(angle)
        free = all(
            math.hypot(x - p.x, y - p.y) > 1.999 * math.sqrt(radius * p.radius)
            for p in same
        )
        if free and low < min(x, y) and max(x, y) < high:
            mg = 0.15 + 0.06 * _at(alloy, x, y) + 0.03 * rng.standard_normal()
            mg = float(np.clip(mg, 0.0, 0.35))
            placed.append(Particle(float(x), float(y), radius, upper, mg))
    return Specimen(tuple(placed), film)


def make_skins(seed: int, specimen: Specimen) -> tuple[Skin, ...]:
    """Draw oxide and damping: smooth over the field, and each particle's own part."""
    rng = generator(seed, 0, "stem_eels", "skins")
    exposed, disorder = _smooth(rng, 22e-9), _smooth(rng, 22e-9)
    skins = []
    for p in specimen.particles:
        own = rng.standard_normal(2)
        oxide = 1.3e-9 * math.exp(0.5 * _at(exposed, p.x, p.y) + 0.15 * own[0])
        damping = 1.2 * math.exp(0.25 * _at(disorder, p.x, p.y) + 0.1 * own[1])
        damping += FERMI_EV_M / p.radius
        skins.append(Skin(min(oxide, 3.5e-9), damping))
    return tuple(skins)


def plasmon_ev(magnesium: float) -> float:
    """Return the plasmon energy of an Al-Mg alloy: the root of its electron density.

    Args:
        magnesium: Atomic fraction c; (3 - c) electrons in 16.6 + 6.6 c cubic angstrom.

    Source:
        The free-electron formula, Egerton (2011), section 3.3.1, scaled to the 15.0 eV
        of aluminium; it gives 10.4 eV for magnesium, where about 10.3 is measured.

    >>> plasmon_ev(0.0), round(plasmon_ev(1.0), 1)
    (15.0, 10.4)
    """
    return AL_EV * math.sqrt((3 - magnesium) / 3 / (1 + 6.6 / 16.6 * magnesium))


def _chord(radius: float, distance: Array) -> Array:
    return np.asarray(2 * np.sqrt(np.maximum(radius**2 - distance**2, 0.0)))


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    return np.linspace(0, FIELD_M, shape[1]), np.linspace(0, FIELD_M, shape[0])


def energy_axis() -> Array:
    """Return the energy losses of a spectrum, eV, (CHANNELS,)."""
    return np.asarray(FIRST_EV + STEP_EV * np.arange(CHANNELS), np.float64)


def losses(
    specimen: Specimen, skins: tuple[Skin, ...], shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Return what one electron loses at each point of a grid, before any plurality.

    Args:
        specimen: Particles and film.
        skins: Oxide and damping of each particle.
        shape: Rows and columns of the grid over the field.

    Returns:
        Energy losses, (LONG,), eV, from 0 on; mean number of losses of each energy,
        (rows, columns, LONG). Its sum over energy is t/lambda.
    """
    energy = np.asarray(STEP_EV * np.arange(LONG), np.float64)
    some = energy[1:]  # nothing is lost at 0
    x, y = _grid(shape)
    carbon = lowloss.bulk_loss(BEAM, some, lowloss.drude_loss(some, *CARBON))
    oxide = lowloss.bulk_loss(BEAM, some, lowloss.drude_loss(some, *OXIDE))
    film = fields.read_at(specimen.film, PIXEL_M, x + MARGIN_M, y + MARGIN_M)
    single = film[..., None] * carbon
    for p, skin in zip(specimen.particles, skins, strict=True):
        away = np.hypot(x[None, :] - p.x, y[:, None] - p.y)
        near = away < p.radius - skin.oxide + FAR_M
        parts, amounts = _sphere(p, skin, some, away[near])
        shell = _chord(p.radius, away[near]) - _chord(p.radius - skin.oxide, away[near])
        amounts, parts = np.vstack([amounts, shell]), np.vstack([parts, oxide])
        single[near] += amounts.T @ parts
    whole = np.zeros((*shape, LONG))
    whole[..., 1:] = np.maximum(STEP_EV * single, 0.0)
    return energy, whole


def _sphere(p: Particle, skin: Skin, energy: Array, away: Array) -> tuple[Array, Array]:
    """Return loss spectra of a sphere (1 + ORDERS, e) and metres of each (.., n)."""
    core, plasmon = p.radius - skin.oxide, plasmon_ev(p.magnesium)
    orders = range(1, ORDERS + 1)
    around = [
        lowloss.shell_permittivity(n, core, skin.oxide, OXIDE_EPS) for n in orders
    ]
    modes = np.array(
        [
            lowloss.mode_energy(plasmon, n, e)
            for n, e in zip(orders, around, strict=True)
        ]
    )
    share = (modes / [lowloss.mode_energy(plasmon, n, 1.0) for n in orders]) ** 2
    beyond = core + FAR_M * np.linspace(0.0, 1.0, 45) ** 2
    table = np.concatenate([np.linspace(0.0, core, 45)[:-1], beyond])  # of distances
    given = lowloss.sphere_lengths(
        BEAM, core, table, np.full(ORDERS, plasmon), inside=True
    ).sum(axis=0)
    taken = share[:, None] * lowloss.sphere_lengths(BEAM, core, table, modes)
    bulk_log = float(BEAM.logarithm(np.array(plasmon)))
    bulk = np.maximum(_chord(core, table) - given / bulk_log, 0.0)
    amounts = np.array([np.interp(away, table, row) for row in (bulk, *taken)])
    loss = lowloss.drude_loss(energy, plasmon, skin.damping)
    spectra = lowloss.drude_loss(energy, modes[:, None], skin.damping)
    bulk_spectrum = lowloss.bulk_loss(BEAM, energy, loss)
    return np.vstack([bulk_spectrum, BEAM.per_metre * spectra]), amounts


def make_spectra(
    specimen: Specimen, skins: tuple[Skin, ...], shape: tuple[int, int]
) -> Array:
    """Return expected counts at every point, (rows, columns, CHANNELS)."""
    energy, single = losses(specimen, skins, shape)
    around = np.where(energy > energy[-1] / 2, energy - LONG * STEP_EV, energy)
    zero = np.exp(-4 * math.log(2) * (around / SPREAD_EV) ** 2)
    zero *= ELECTRONS_A_SECOND * EELS_S / zero.sum()
    spectra = lowloss.plural_scattering(zero, single)
    seen = np.rint(energy_axis() / STEP_EV).astype(int) % LONG
    return np.maximum(spectra[..., seen], 0.0)


def make_image(seed: int, specimen: Specimen, shape: tuple[int, int]) -> Array:
    """Record the dark field: counts at the usual dwell, the mean of 16 frames.

    Source:
        Scattering to high angles grows about as Z^1.7: Krivanek et al. (2010), Nature
        464, 571; the rest is mass and thickness, and the counts are Poisson's.
    """
    rng = generator(seed, 0, "stem_eels", "haadf")
    at = PIXEL_M * np.arange(BOX) - MARGIN_M
    mass = MASS[2] * 1e9 * specimen.film
    for p in specimen.particles:
        away = np.hypot(at[None, :] - p.x, at[:, None] - p.y)
        metal = (1 - p.magnesium) * MASS[0] + p.magnesium * MASS[1]
        mass = mass + metal * 1e9 * _chord(p.radius, away)
    seen = fields.blur(1 - np.exp(-SCATTERED * mass), PIXEL_M, PROBE_M)
    x, y = _grid(shape)
    counts = fields.read_at(seen, PIXEL_M, x + MARGIN_M, y + MARGIN_M)
    counts = ELECTRONS_A_SECOND * HAADF_S * counts
    counts += 3.0 * rng.standard_normal((shape[0], 1))  # each line has its offset
    return np.asarray(rng.poisson(16 * np.maximum(counts, 0.0)) / 16)


def _rounded(values: Array) -> NDArray[np.float32]:
    """Round to 12 bits, a 1/8192 of each value at most, so that the file packs well."""
    mantissa, exponent = np.frexp(values)
    rounded = np.ldexp(np.rint(mantissa * 4096) / 4096, exponent)
    return np.asarray(rounded, np.float32)


def make_stem_eels(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (48, 48),
    image_shape: tuple[int, int] = (128, 128),
    image_seed: int | None = None,
    spectra_seed: int | None = None,
) -> list[StoredArray]:
    """Make the specimen: an image, and a spectrum at every point of a grid.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of the grid of spectra.
        image_shape: Rows and columns of the image, over the same field of 140 nm.
        image_seed: Of what the image alone has, its recording; default: `seed`.
        spectra_seed: Of what the spectra alone have, oxide and disorder; default:
            `seed`.

    Returns:
        `haadf` (y, x), counts at 20 µs and 50 pA, as recorded; `eels` (y, x, energy),
        expected counts at 1 ms and 50 pA. Both float32.

    >>> made = make_stem_eels(shape=(2, 3), image_shape=(4, 4))
    >>> [(a.name, a.units, a.data.shape) for a in made]
    [('haadf', 'counts', (4, 4)), ('eels', 'counts', (2, 3, 100))]
    """
    specimen = make_specimen(seed)
    image = make_image(
        seed if image_seed is None else image_seed, specimen, image_shape
    )
    skins = make_skins(seed if spectra_seed is None else spectra_seed, specimen)
    spectra = make_spectra(specimen, skins, shape)
    about = {"sample": "stem_eels", "technique": "STEM", "seed": seed}

    def stored(
        name: str, quantity: str, kind: str, data: Array, *axes: Axis
    ) -> StoredArray:
        x, y = _grid((data.shape[0], data.shape[1]))
        places = (
            Axis("y", "m", y, "Length", "spatial"),
            Axis("x", "m", x, "Length", "spatial"),
        )
        return StoredArray(
            name=name,
            quantity=quantity,
            units="counts",
            data=_rounded(data),
            axes=(*places, *axes),
            metadata={**about, "beam_energy_ev": BEAM.volts, "synthetic": True},
            data_type=kind,
            modality="STEM",
            source="aemtwin synthetic",
        )

    loss = Axis("energy", "eV", energy_axis(), "Energy loss", "spectral")
    return [
        stored("haadf", "HAADF intensity", "IMAGE", image),
        stored("eels", "EELS intensity", "SPECTRAL_IMAGE", spectra, loss),
    ]
