"""The sample `pfm_loops`: a ferroelectric film under a piezoresponse force microscope.

Hidden properties of the film (domains, grain height, response, and defects that nobody
sees) are random fields. From them come, each by its own physics and with its own
randomness, an overview (`topography`, `amplitude`, `phase`) and a switching loop at
every point of a coarser grid (`loops`). The images therefore inform about the loops and
do not determine them; neither is computed from the other. `twins/pfm_loops/card.md` has
the equations and what this cannot do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.synthetic import fields
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

FIELD_M = 2e-6  # side of the scanned field
BOX = 512  # pixels of the periodic raster on which the film lives
PIXEL_M = 5e-9
TIP_M = 18e-9  # sd of the area that the tip averages
STEPS = 64  # bias steps of a loop
BIAS_V = 10.0  # its largest bias


class LoopParameters(NamedTuple):
    """What makes the loop at each point of the grid, all (rows, columns)."""

    positive_v: NDArray[np.float64]  # coercive bias of the rising branch
    negative_v: NDArray[np.float64]  # of the falling branch
    half_opening: NDArray[np.float64]  # saturated response about its middle, pm
    offset: NDArray[np.float64]  # middle of the loop, pm
    width_v: NDArray[np.float64]  # bias over which a branch switches
    slope: NDArray[np.float64]  # electrostatic part, pm/V


class Contact(NamedTuple):
    """How tip and film touch at each point of the grid, (rows, columns)."""

    resonance_hz: NDArray[np.float64]
    quality: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Film:
    """The hidden properties of the specimen on its raster, each (BOX, BOX)."""

    polarity: NDArray[np.float64]  # -1 to 1 across a wall
    wall: NDArray[np.float64]  # 1 on a domain wall, 0 far from all
    height: NDArray[np.float64]  # of grains, unit variance
    response: NDArray[np.float64]  # local piezoelectric coefficient over its mean
    defects: tuple[NDArray[np.float64], ...]  # seen by no image: three fields


def make_film(rng: np.random.Generator) -> Film:
    """Draw a film: about ten domains, grains of 90 nm, defects of 120 nm."""
    k = fields.wave_numbers(BOX, PIXEL_M)
    draw = [
        fields.random_field(rng, BOX, spectrum)
        for spectrum in (
            fields.smooth_spectrum(k, 130e-9),
            fields.rough_spectrum(k, 90e-9, 0.8),
            fields.smooth_spectrum(k, 90e-9),
            *[fields.smooth_spectrum(k, 120e-9)] * 3,
        )
    ]
    distance = fields.wall_distance(draw[0], PIXEL_M, 300e-9)
    return Film(
        polarity=np.tanh(distance / 8e-9),
        wall=np.exp(-((distance / 60e-9) ** 2)),
        height=draw[1],
        response=np.exp(0.18 * draw[2]),
        defects=(draw[3], draw[4], draw[5]),
    )


def bias_axis() -> NDArray[np.float64]:
    """Return the triangular sweep 0, +10 V, -10 V, back; (STEPS,), volts.

    >>> bias = bias_axis()
    >>> float(bias[0]), float(bias.max()), float(bias.min()), len(bias)
    (0.0, 10.0, -10.0, 64)
    """
    phase = np.arange(STEPS) / STEPS
    return BIAS_V * (np.abs((4 * phase + 3) % 4 - 2) - 1)


def loop_shape(bias: NDArray[np.float64], p: LoopParameters) -> NDArray[np.float64]:
    """Return the loop of every point: two branches, each an error function of bias.

    Args:
        bias: The sweep, (v,), volts; it rises, falls, and rises again.
        p: Parameters, each of any one shape.

    Returns:
        Piezoresponse (..., v), pm.

    Source:
        Two error-function branches with their own coercive biases and a linear term,
        after Jesse, Lee and Kalinin (2006), Rev. Sci. Instrum. 77, 073702, of which
        this keeps six parameters.

    >>> one = LoopParameters(*(np.array(v) for v in (2.0, -2.0, 5.0, 0.0, 1.0, 0.0)))
    >>> np.round(loop_shape(bias_axis(), one)[[0, 16, 32, 48]], 2) + 0.0
    array([-4.98,  5.  ,  4.98, -5.  ])
    """
    rising = bias > np.roll(bias, 1)  # (v,); a turning point ends the branch before it
    at = np.where(rising, p.positive_v[..., None], p.negative_v[..., None])
    switched = erf((bias - at) / p.width_v[..., None])
    return np.asarray(
        p.offset[..., None]
        + p.half_opening[..., None] * switched
        + p.slope[..., None] * bias
    )


def erf(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the error function of every value, same shape."""
    flat = [math.erf(value) for value in values.ravel().tolist()]
    return np.array(flat).reshape(values.shape)


def loop_parameters(
    seed: int = 0, *, shape: tuple[int, int] = (50, 50)
) -> LoopParameters:
    """Return the true parameters of every loop, which no instrument shows.

    Coercive bias falls at domain walls, where reverse domains nucleate easily, and
    rises steeply where a wall is pinned in a groove between grains.

    Args:
        seed: As `make_pfm_loops`.
        shape: Rows and columns of the grid of loops.

    Source:
        Nucleation at local structure: Jesse et al. (2008), Nature Mater. 7, 209. The
        numbers are chosen, not fitted.
    """
    return _parameters(make_film(fields.generator(seed)), shape)


def _parameters(film: Film, shape: tuple[int, int]) -> LoopParameters:
    x, y = _grid(shape)

    def under_tip(field: NDArray[np.float64]) -> NDArray[np.float64]:
        return fields.read_at(fields.blur(field, PIXEL_M, TIP_M), PIXEL_M, x, y)

    groove = 1.0 / (1.0 + np.exp((film.height + 1.0) / 0.3))
    u = [under_tip(field) for field in film.defects]
    wall, height = under_tip(film.wall), under_tip(film.height)
    pinned = under_tip(film.wall * groove)
    coercive = 2.4 * np.exp(-0.30 * wall + 0.10 * height + 0.14 * u[0] + 0.9 * pinned)
    imprint = 0.35 * under_tip(film.polarity) + 0.30 * u[1]
    half = 22.0 * under_tip(film.response) * np.exp(-0.15 * wall + 0.12 * u[2])
    return LoopParameters(
        positive_v=coercive + imprint,
        negative_v=-coercive + imprint,
        half_opening=half,
        offset=2.0 * under_tip(film.polarity) + 1.0 * u[1],
        width_v=0.9 * np.exp(0.25 * wall - 0.10 * u[0]),
        slope=0.25 + 0.05 * u[2],
    )


def contact(seed: int = 0, *, shape: tuple[int, int] = (50, 50)) -> Contact:
    """Return the contact resonance at every point of the grid, which no image shows.

    A grain that stands out is touched from the top, more softly: its resonance is
    lower. Damping is higher on domain walls, which move under the tip.

    Args:
        seed: As `make_pfm_loops`.
        shape: Rows and columns of the grid of loops.

    Source:
        That contact stiffness moves the resonance: Rabe, Janser and Arnold (1996), Rev.
        Sci. Instrum. 67, 3281. The numbers are chosen.
    """
    return _contact(make_film(fields.generator(seed)), shape)


def _contact(film: Film, shape: tuple[int, int]) -> Contact:
    x, y = _grid(shape)
    height, wall, stiff = (
        fields.read_at(fields.blur(field, PIXEL_M, TIP_M), PIXEL_M, x, y)
        for field in (film.height, film.wall, film.defects[2])
    )
    return Contact(
        resonance_hz=335e3 * (1.0 - 0.010 * height + 0.006 * stiff),
        quality=130.0 * np.exp(-0.25 * wall + 0.08 * height),
    )


def _grid(shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.linspace(0, FIELD_M, shape[1]), np.linspace(0, FIELD_M, shape[0])


def make_pfm_loops(
    seed: int = 0,
    *,
    shape: tuple[int, int] = (50, 50),
    image_shape: tuple[int, int] = (128, 128),
) -> list[StoredArray]:
    """Make the specimen: three images and a loop at every point of a grid.

    Args:
        seed: Another number, another film. Equal numbers give equal values on one
            version of NumPy, and the same to rounding on any other.
        shape: Rows and columns of the grid of loops.
        image_shape: Rows and columns of the images, over the same field of 2 µm.

    Returns:
        `topography` (m), `amplitude` (pm), `phase` (deg), each (y, x), with the noise
        of the recording; `loops` (pm), (y, x, bias), without noise; and maps of what
        makes them, named as the fields of `LoopParameters` and `Contact`. All float32.

    >>> [(a.name, a.units, a.data.shape) for a in make_pfm_loops(shape=(3, 4))][3]
    ('loops', 'pm', (3, 4, 64))
    """
    rng = fields.generator(seed)
    film = make_film(rng)
    x, y = _grid(image_shape)
    spatial = [
        Axis(name, "m", values, "Length", "spatial")
        for name, values in (("y", y), ("x", x))
    ]
    about = {"sample": "pfm_loops", "technique": "PFM", "seed": seed, "synthetic": True}

    def stored(
        name: str, quantity: str, units: str, data: NDArray[np.float64], *axes: Axis
    ) -> StoredArray:
        return StoredArray(
            name=name,
            quantity=quantity,
            units=units,
            data=data.astype(np.float32),
            axes=axes,
            metadata=about,
            data_type="IMAGE" if len(axes) == 2 else "SPECTRAL_IMAGE",
            modality="PFM",
            source="aemtwin synthetic",
        )

    images = _overview(rng, film, x, y)
    parameters = _parameters(film, shape)
    loops = loop_shape(bias_axis(), parameters)
    columns, rows = _grid(shape)
    coarse = [
        Axis(name, "m", values, "Length", "spatial")
        for name, values in (("y", rows), ("x", columns))
    ]
    maps = [
        (name, units, values)
        for (name, values), units in zip(
            parameters._asdict().items(),
            ("V", "V", "pm", "pm", "V", "pm/V"),
            strict=True,
        )
    ]
    touching = _contact(film, shape)
    maps += [("resonance", "Hz", touching.resonance_hz)]
    maps += [("quality", "", touching.quality)]
    return [
        stored("topography", "Height", "m", images[0], *spatial),
        stored("amplitude", "PFM amplitude", "pm", images[1], *spatial),
        stored("phase", "PFM phase", "deg", images[2], *spatial),
        stored(
            "loops",
            "Piezoresponse",
            "pm",
            loops,
            *coarse,
            Axis("bias", "V", bias_axis(), "Bias", "spectral"),
        ),
        *[
            stored(name, "Map", units, _packed(data), *coarse)
            for name, units, data in maps
        ],
    ]


def _packed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to 12 bits, 1/4096 of each at most, so that a file packs small."""
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(mantissa * 4096) / 4096, exponent))


def _overview(
    rng: np.random.Generator,
    film: Film,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Image the film: height (m), amplitude (pm) and phase (deg), with their noise."""
    shape = len(y), len(x)
    height = 1.8e-9 * fields.read_at(
        fields.blur(film.height, PIXEL_M, TIP_M / 3), PIXEL_M, x, y
    )
    height += 0.12e-9 * rng.standard_normal((shape[0], 1))  # each line has its offset
    height += 0.08e-9 * rng.standard_normal(shape)
    piezo = 20.0 * fields.blur(film.polarity * film.response, PIXEL_M, TIP_M)
    signal = 1j * fields.read_at(piezo, PIXEL_M, x, y)  # domains at +90 and -90 deg
    signal += 1.2 * np.exp(0.4j)  # the electrostatic force, everywhere the same
    noise = rng.standard_normal((2, *shape))
    signal = signal + 0.7 * (noise[0] + 1j * noise[1])
    return height, np.abs(signal), np.degrees(np.angle(signal))
