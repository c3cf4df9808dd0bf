"""The sample `stm_spectroscopy`: a charge-ordered layered crystal under an STM.

Three terraces carry a superlattice over the atoms, point defects with a resonance in
the gap, a gap and a doping that vary, and adsorbed molecules without states of their
own near the Fermi energy. Hidden maps say what the density of states is at each point;
`aemtwin.instruments.modes.stm` makes spectra of them. The recorded images are a frame
at constant current: heights of the crystal and of the density of states together, so
they inform about spectra and do not determine them. `twins/stm_spectroscopy/card.md`
has the equations and what this cannot do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.modes.stm import held_m, swept
from aemtwin.instruments.synthetic import fields, tunnelling
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

Array = NDArray[np.float64]

FIELD_M = 30e-9  # side of the scanned field
BOX, PIXEL_M = 256, 0.25e-9  # the periodic raster on which random fields live
ATOM_M = 0.336e-9  # from atom to atom
CELLS = 3, 1  # of the superlattice: 3 a + b, sqrt(13) atoms long and turned by 13.9 deg
LAYER_M = 0.59e-9  # height of a step
EDGE_M = 0.12e-9  # width of the logistic function at a step
ATOMS_M, WAVES_M = 4e-12, 18e-12  # amplitude of atoms and superlattice in the geometry
DEFECTS, MOLECULES = 24, 7
PIT_M = 45e-12  # depth of a defect of strength 1
DEFECT_M, BEND_M = 0.55e-9, 1.6e-9  # reach of a resonance and of a charge
SPREAD_EV_M2 = 0.025e18  # how far a resonance moves with the square of the distance
EDGE_EV, FWHM_EV = 0.028, 0.045  # softness of the gap, width of a resonance
SET_V, SET_A = 0.6, 1e-10  # set point of the recorded frame
GAP = tunnelling.Gap(temperature_k=4.5)
FOLLOW = 0.65  # of its error that the feedback takes back in a pixel
FLOOR_A, SHAKE_M = 0.4e-12, 0.6e-12  # noise of the amplifier; of the gap
LINE_M, READ_M = 1.0e-12, 0.8e-12  # noise of a recorded height: of lines, of pixels
SWING_V, LOCKIN_S = 0.01, 1.5e-11  # modulation and noise of the recorded conductance
LATTICE_RAD = 0.35  # of the atoms' first direction to x


@dataclass(frozen=True, eq=False)
class Crystal:
    """What the specimen is made of, before anything is drawn on a raster."""

    angle_rad: float  # of the direction down the steps
    meander: NDArray[np.float64]  # (BOX, BOX), unit variance: steps are not straight
    phases: NDArray[np.float64]  # (3, 2) m, where the superlattice begins on a terrace
    defects: NDArray[np.float64]  # (d, 5): x, y (m), strength, energy (eV), charge
    molecules: NDArray[np.float64]  # (q, 3): x, y, height (m)
    gap: NDArray[np.float64]  # (BOX, BOX), unit variance: of the gap
    doping: NDArray[np.float64]  # (BOX, BOX), unit variance: of its middle


def make_crystal(seed: int = 0) -> Crystal:
    """Draw the specimen: steps, defects, molecules, gap and doping."""
    rng = generator(seed, 0, "stm_spectroscopy", "crystal")
    k = fields.wave_numbers(BOX, PIXEL_M)
    meander, gap, doping = (
        fields.random_field(rng, BOX, fields.smooth_spectrum(k, length))
        for length in (5e-9, 2.2e-9, 4.5e-9)
    )
    places = rng.uniform(0.0, FIELD_M, (DEFECTS + MOLECULES, 2))
    n = rng.standard_normal((DEFECTS, 3))
    strength = 0.9 * np.exp(0.45 * n[:, 0])
    energy = np.clip(-0.02 + 0.075 * n[:, 1], -0.15, 0.15)
    charge = np.where(n[:, 2] > -0.4, 1.0, -1.0)
    heights = 55e-12 * np.exp(0.35 * rng.standard_normal(MOLECULES))
    return Crystal(
        angle_rad=float(rng.uniform(0.35, 0.75)),
        meander=meander,
        phases=rng.uniform(0.0, 1.2e-9, (3, 2)),
        defects=np.column_stack([places[:DEFECTS], strength, energy, charge]),
        molecules=np.column_stack([places[DEFECTS:], heights]),
        gap=gap,
        doping=doping,
    )


def atom_vectors() -> Array:
    """Return the two shortest steps from atom to atom, (2, 2), metres.

    >>> bool(np.allclose(np.linalg.norm(atom_vectors(), axis=1), ATOM_M))
    True
    """
    turns = LATTICE_RAD + np.array([0.0, math.pi / 3])
    return ATOM_M * np.column_stack([np.cos(turns), np.sin(turns)])


def cell_vectors() -> Array:
    """Return the two vectors of the superlattice, (2, 2), metres.

    They are m a + n b of the atoms' a and b, and that turned by 60 degrees, so that
    they are sqrt(m^2 + m n + n^2) atoms long.

    Source:
        Derived here; sqrt(13) at 13.9 degrees is the charge order of 1T-TaS2, Butler et
        al. (2020), Nat. Commun. 11, doi 10.1038/s41467-020-16132-9, Introduction.
    """
    (m, n), (a, b) = CELLS, atom_vectors()
    return np.array([m * a + n * b, m * b + n * (b - a)])


def lattice(x: Array, y: Array, vectors: Array) -> Array:
    """Return a hexagonal pattern, 1 at lattice points and -1/2 at the lowest.

    Args:
        x: Of each point, (...), metres.
        y: Likewise.
        vectors: Two shortest vectors of the lattice, 60 degrees apart, (2, 2), metres.

    Returns:
        (...), the mean of the three waves whose crests run along the lattice.
    """
    first, second = 2 * math.pi * np.linalg.inv(vectors).T
    waves = [np.cos(x * k[0] + y * k[1]) for k in (first, second, first + second)]
    return np.asarray(sum(waves) / 3)


def _grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    return np.linspace(0, FIELD_M, shape[1]), np.linspace(0, FIELD_M, shape[0])


def terraces(crystal: Crystal, shape: tuple[int, int]) -> Array:
    """Return how far below the highest terrace a point is, in layers, 0 to 2."""
    x, y = _grid(shape)
    along = np.cos(crystal.angle_rad) * x + np.sin(crystal.angle_rad) * y[:, None]
    along = along + 1.3e-9 * fields.read_at(crystal.meander, PIXEL_M, x, y)
    length = FIELD_M * (math.cos(crystal.angle_rad) + math.sin(crystal.angle_rad))
    steps = [(along - share * length) / (2 * EDGE_M) for share in (0.30, 0.72)]
    return np.asarray(sum((1 + np.tanh(step)) / 2 for step in steps))


def order(crystal: Crystal, shape: tuple[int, int]) -> Array:
    """Return the charge order, 1 at the centres of its cells; each terrace has its."""
    x, y = _grid(shape)
    level = np.rint(terraces(crystal, shape)).astype(int)
    begin = crystal.phases[level]
    return lattice(x - begin[..., 0], y[:, None] - begin[..., 1], cell_vectors())


def states(crystal: Crystal, shape: tuple[int, int]) -> dict[str, Array]:
    """Return maps of the density of states, as `tunnelling.local_density` takes them.

    Args:
        crystal: The specimen.
        shape: Rows and columns of the raster over the field.

    Returns:
        Arguments of `local_density` by name, each of that shape.
    """
    x, y = _grid(shape)
    gap = 0.36 + 0.028 * fields.read_at(crystal.gap, PIXEL_M, x, y)
    gap = gap + 0.02 * order(crystal, shape)
    centre = 0.03 + 0.022 * fields.read_at(crystal.doping, PIXEL_M, x, y)
    peak, weighted, weight = np.zeros(shape), np.zeros(shape), np.full(shape, 1e-30)
    for at_x, at_y, strength, energy, charge in crystal.defects:
        away = (x - at_x) ** 2 + (y[:, None] - at_y) ** 2
        here = strength * np.exp(-away / (2 * DEFECT_M**2))
        moved = energy + charge * np.minimum(SPREAD_EV_M2 * away, 0.08)
        peak += here
        weighted += here * moved
        weight += here
        near = np.exp(-np.sqrt(away) / BEND_M)
        centre -= 0.045 * charge * near
        gap *= 1 - 0.22 * strength * np.exp(-away / (2 * (1.3 * DEFECT_M) ** 2))
    level = terraces(crystal, shape)
    rim = 4 * (level % 1) * (1 - level % 1)  # 1 on the edge of a step
    return {
        "gap_ev": np.maximum(gap * (1 - 0.3 * rim), 0.05),
        "centre_ev": centre,
        "edge_ev": np.full(shape, EDGE_EV),
        "floor": 0.012 + 0.10 * rim,
        "peak": np.where(peak < 1e-3, 0.0, peak),
        "peak_ev": np.where(peak < 1e-3, 0.0, weighted / weight),
        "peak_fwhm_ev": np.full(shape, FWHM_EV),
    }


def heights(crystal: Crystal, maps: dict[str, Array], shape: tuple[int, int]) -> Array:
    """Return where the tip would be at the set point, (rows, columns), metres.

    The crystal's steps, atoms and superlattice, molecules on it, and by how much more
    or fewer states put the tip farther or nearer at the same current.

    Args:
        crystal: The specimen.
        maps: What `states` gave, on any raster over the field.
        shape: Rows and columns wanted.
    """
    x, y = _grid(shape)
    z = -LAYER_M * terraces(crystal, shape)
    z += 2 * WAVES_M / 3 * order(crystal, shape)
    z += 2 * ATOMS_M / 3 * lattice(x, y[:, None], atom_vectors())
    for at_x, at_y, height in crystal.molecules:
        away = (x - at_x) ** 2 + (y[:, None] - at_y) ** 2
        z += height * np.exp(-away / (2 * 0.42e-9**2))
    for at_x, at_y, strength, *_ in crystal.defects:  # something is missing there
        away = (x - at_x) ** 2 + (y[:, None] - at_y) ** 2
        z -= PIT_M * strength * np.exp(-away / (2 * 0.4e-9**2))
    return z + _between(held_m(_points(maps), SET_V, SET_A, GAP), maps, shape)


def conductance(maps: dict[str, Array], shape: tuple[int, int]) -> Array:
    """Return dI/dV at the set point, as a lock-in gives it meanwhile, siemens."""
    held = SET_V, SET_A
    values = swept(_points(maps), np.array([SET_V]), held, GAP, modulation_v=SWING_V)
    return _between(values, maps, shape)


def _points(maps: dict[str, Array]) -> dict[str, Array]:
    return {name: values.ravel() for name, values in maps.items()}


def _between(values: Array, maps: dict[str, Array], shape: tuple[int, int]) -> Array:
    """Read what was worked out at the pixels of maps on another raster."""
    known = values.reshape(maps["gap_ev"].shape)
    inside = (a * (1 - 1e-12) for a in _grid(shape))  # the last pixel is not the first
    return fields.read_at(known, FIELD_M / (len(known) - 1), *inside)


def record(seed: int, surface: Array) -> tuple[Array, Array]:
    """Record a frame at constant current, line by line from the left.

    Args:
        seed: Of the noise.
        surface: What `heights` gave, (rows, columns), metres.

    Returns:
        Heights (m) about their mean, and the current meanwhile (A): it is
        I exp(2 kappa (z - z_tip)), and above the set point before an edge is climbed.
    """
    rng = generator(seed, 0, "stm_spectroscopy", "frame")
    rows, columns = surface.shape
    shaken = surface + SHAKE_M * rng.standard_normal(surface.shape)
    tip, error = np.empty_like(surface), np.empty_like(surface)
    at = shaken[:, 0]
    for column in range(columns):
        error[:, column] = shaken[:, column] - at
        at = at + FOLLOW * error[:, column]
        tip[:, column] = at
    decay = 2 * float(tunnelling.barrier_decay(GAP.work_function_ev))
    current = SET_A * np.exp(decay * np.clip(error, -1e-9, 2.1e-10))
    current += FLOOR_A * rng.standard_normal(surface.shape)
    tip += LINE_M * rng.standard_normal((rows, 1))
    tip += READ_M * rng.standard_normal(surface.shape)
    return tip - tip.mean(), current


def _rounded(values: Array, step: float = 0.0) -> NDArray[np.float32]:
    """Round so that the file packs: to a step, or to 12 bits of each value."""
    if step:
        return np.asarray(step * np.rint(values / step), np.float32)
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 4096) / 4096, exponent), np.float32)


def make_stm_spectroscopy(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (128, 128),
    image_shape: tuple[int, int] = (256, 256),
    image_seed: int | None = None,
) -> list[StoredArray]:
    """Make the specimen: a recorded frame, and maps of the density of states.

    Args:
        seed: Another number, another specimen. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of the maps, square.
        image_shape: Rows and columns of the images, over the same field of 30 nm.
        image_seed: Of the noise of the frame alone; default: `seed`.

    Returns:
        `topography` (m), `current` (A) and `lockin` (dI/dV, S) at +0.6 V and 100 pA,
        with the noise of their recording; the arguments of `local_density` as maps,
        without. All float32.

    >>> made = make_stm_spectroscopy(shape=(9, 9), image_shape=(8, 8))
    >>> [a.name for a in made][:4], made[0].data.shape
    (['topography', 'current', 'lockin', 'gap_ev'], (8, 8))
    """
    crystal = make_crystal(seed)
    maps = states(crystal, shape)
    surface = heights(crystal, maps, image_shape)
    frame_seed = seed if image_seed is None else image_seed
    z, current = record(frame_seed, surface)
    rng = generator(frame_seed, 0, "stm_spectroscopy", "lock-in")
    lockin = conductance(maps, image_shape)
    lockin = lockin * np.clip(current / SET_A, 0.0, 2.0)  # both fall as the gap widens
    lockin += LOCKIN_S * rng.standard_normal(image_shape)
    about = {"sample": "stm_spectroscopy", "technique": "STM", "seed": seed}
    about |= {"set_bias_v": SET_V, "set_current_a": SET_A, "synthetic": True}

    def stored(
        name: str, quantity: str, units: str, data: NDArray[np.float32]
    ) -> StoredArray:
        x, y = _grid((data.shape[0], data.shape[1]))
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=data,
            axes=(
                Axis("y", "m", y, "Length", "spatial"),
                Axis("x", "m", x, "Length", "spatial"),
            ),
            metadata=about,
            data_type="IMAGE",
            modality="STM",
            source="aemtwin synthetic",
        )

    said = {
        "gap_ev": ("Gap", "eV"),
        "centre_ev": ("Middle of the gap", "eV"),
        "edge_ev": ("Width of the edges of the gap", "eV"),
        "floor": ("Density in the gap", ""),
        "peak": ("Height of the resonance", ""),
        "peak_ev": ("Energy of the resonance", "eV"),
        "peak_fwhm_ev": ("Width of the resonance", "eV"),
    }
    return [
        stored("topography", "Height", "m", _rounded(z, 2.0**-42)),
        stored("current", "Tunnelling current", "A", _rounded(current, 2.0**-44)),
        stored("lockin", "Tunnelling conductance", "S", _rounded(lockin, 2.0**-40)),
        *(stored(name, *said[name], _rounded(maps[name])) for name in said),
    ]
