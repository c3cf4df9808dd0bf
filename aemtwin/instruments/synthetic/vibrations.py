"""Vibrations seen by light: micro-Raman spectra and AFM-IR, in counts and metres.

Pure functions beside `xrays` and `coreloss`, for any number of points. Wave numbers are
1/m: 520.7 1/cm is 52070 1/m. `effects.counts` draws about what `raman` expects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch
from aemtwin.instruments.synthetic import xrays
from aemtwin.instruments.synthetic.xrays import channel_step, require_at_least

Array = NDArray[np.float64]

SECOND_RADIATION = 0.014387768775  # h c / k_B, m K: exact in the SI of 2019
SILICON_PER_M = 52070.0
POTENTIALS = -1.43, -1.89  # p and q of silicon, over its frequency squared: chosen
COMPLIANCES = 7.68e-12, -2.14e-12  # S11 and S12 of silicon, 1/Pa
HEATING_PER_K = -5.4e-5  # relative shift of silicon's line
EXPANSION = 4e-11  # m^3/J of a polymer, expansivity over heat capacity: chosen


class Bands(NamedTuple):
    """The bands of a material: positions from the sources, the rest chosen."""

    positions_per_m: list[float]
    widths_per_m: list[float]  # full widths at half maximum
    areas: list[float]  # over that of the strongest


_RAMAN = """
silicon: 520.7 3.5 1
graphite: 1350 40 0.1; 1580 16 1; 2700 55 0.9
MoS2: 383 3.5 0.7; 408 4 1
anatase: 144 10 1; 197 11 0.04; 399 22 0.15; 516 23 0.15; 639 25 0.2
"""
_INFRARED = """
ester: 1455 30 0.2; 1735 22 1; 2922 40 0.2
protein: 1455 30 0.2; 1540 40 0.6; 1650 45 1
PET: 1017 15 0.2; 1240 30 1; 1712 22 0.9; 2919 30 0.1
"""  # 1/cm, 1/cm and over the strongest


def _read(table: str) -> dict[str, Bands]:
    read = {}
    for name, text in (row.split(": ") for row in table.strip().splitlines()):
        rows = np.array([[float(v) for v in b.split()] for b in text.split(";")])
        read[name] = Bands(*np.round(rows * (100.0, 100.0, 1.0), 6).T.tolist())
    return read


RAMAN: dict[str, Bands] = _read(_RAMAN)
"""Raman bands.

Source: silicon within 520.2 ± 0.5 1/cm, Parker, Feldman and Ashkin (1967), Phys. Rev.
155, 712; graphite's D in green light, G and 2D, Ferrari (2007), Solid State Commun.
143, 47; bulk MoS2's E2g and A1g, Lee et al. (2010), ACS Nano 4, 2695; anatase, Ohsaka
et al. (1978), J. Raman Spectrosc. 7, 321; Ohsaka (1980), J. Phys. Soc. Jpn. 48, 1661.
"""

INFRARED: dict[str, Bands] = _read(_INFRARED)
"""Infrared bands of polymers: CH2 bending and stretching, C=O, amide II and amide I.

Source: esters and proteins, table 1 of PubMed Central article 92164; CH2 at 2922 1/cm,
table 1 of 10.1038/s41598-024-56491-7; PET, Polym. Degrad. Stab. (2013) 98, 1225.
"""


def raman(
    wavenumber_per_m: ArrayLike,
    positions_per_m: ArrayLike,
    widths_per_m: ArrayLike,
    areas: ArrayLike,
    *,
    resolution_per_m: float = 0.0,
    luminescence: ArrayLike = 0.0,
) -> Array:
    """Return expected counts of a Raman spectrum: bands on luminescence.

    Args:
        wavenumber_per_m: Middles of even channels, narrower than half a band, (s,).
        positions_per_m: Of the bands, (..., b), as are the two that follow.
        widths_per_m: Full widths of the bands at half maximum, above 0.
        areas: Counts in each band.
        resolution_per_m: The spectrometer's, a Gaussian's FWHM.
        luminescence: Counts a channel, (..., s), as what is returned.

    Raises:
        ShapeMismatch: If the axis is not even or the bands' shapes do not fit.
        OutOfRange: For a width of 0 or less, or negative counts.

    >>> axis = np.arange(50e3, 54e3, 20.0)
    >>> seen = raman(axis, [52070.0], [350.0], [[1000.0], [2000.0]])
    >>> seen.shape, axis[seen[0].argmax()].item()
    ((2, 200), 52060.0)
    """
    axis = np.asarray(wavenumber_per_m, np.float64)
    step = channel_step("raman", "wavenumber_per_m", axis)
    blur = float(require_at_least("raman", "resolution_per_m", resolution_per_m, 0.0))
    total = _bands("raman", axis, positions_per_m, widths_per_m, areas, blur)
    return np.asarray(step * total + np.asarray(luminescence, np.float64))


def _bands(
    call: str,
    axis: Array,
    at: ArrayLike,
    width: ArrayLike,
    area: ArrayLike,
    blur: float,
) -> Array:
    """Return the sum of areas times lines, (..., s); the same lines once."""
    centres = np.asarray(at, np.float64)
    widths = require_at_least(call, "widths_per_m", width, 1e-9)
    areas = require_at_least(call, "areas", area, 0.0)
    bands = {v.shape[-1] if v.ndim else 0 for v in (centres, widths, areas)}
    if len(bands) > 1 or 0 in bands:
        raise ShapeMismatch(
            f"{call} got positions, widths and areas of shapes {centres.shape}, "
            f"{widths.shape} and {areas.shape}; each ends in the same number of bands."
        )

    def line(x0: Array, w: Array) -> Array:
        return xrays.voigt(axis, x0, blur, w) if blur else xrays.lorentzian(axis, x0, w)

    if centres.ndim == 1 and widths.ndim == 1:
        return np.asarray(areas @ line(centres[:, None], widths[:, None]))
    shape = np.broadcast_shapes(centres.shape, widths.shape, areas.shape)
    total = np.zeros((*shape[:-1], len(axis)))
    for band in range(bands.pop()):
        place = (..., slice(band, band + 1))
        total += areas[place] * line(centres[place], widths[place])
    return total


def luminescence(
    wavenumber_per_m: ArrayLike,
    polynomial: ArrayLike,
    *,
    amplitude: ArrayLike = 0.0,
    decay_per_m: float = 1e5,
) -> Array:
    """Return the luminescence under a spectrum, counts a channel: smooth, above 0.

    Args:
        wavenumber_per_m: Middles of the channels, (s,); (..., s) is returned.
        polynomial: Coefficients of u^0, u^1, ..., (..., k); u goes from 0 to 1.
        amplitude: Of an exponential at the beginning of the axis, (...,).
        decay_per_m: Over which it falls to 1/e.

    >>> luminescence(np.array([0.0, 1e5, 2e5]), [10.0, 4.0]).tolist()
    [10.0, 12.0, 14.0]
    """
    axis = np.asarray(wavenumber_per_m, np.float64)
    away = channel_step("luminescence", "wavenumber_per_m", axis) * np.arange(len(axis))
    terms = np.asarray(polynomial, np.float64)
    smooth = terms @ (away / away[-1]) ** np.arange(terms.shape[-1])[:, None]
    fall = np.asarray(amplitude, np.float64)[..., None] * np.exp(-away / decay_per_m)
    return np.asarray(np.maximum(smooth + fall, 0.0))


def stress_shift(
    xx_pa: ArrayLike,
    yy_pa: ArrayLike = 0.0,
    zz_pa: ArrayLike = 0.0,
    *,
    potentials: tuple[float, float] = POTENTIALS,
    compliances: tuple[float, float] = COMPLIANCES,
) -> Array:
    """Return how far stress along the cube's axes moves silicon's line, 1/m.

    Backscattering from a (001) face shows the phonon along z, which moves by half its
    wave number times p e_zz + q (e_xx + e_yy). Tension, above 0, lowers it.

    Args:
        xx_pa: Stress along x, (...,), in the face as y; all three broadcast.
        yy_pa: Along y.
        zz_pa: Along z, out of the face.
        potentials: p and q over the square of the phonon's frequency.
        compliances: S11 and S12, 1/Pa.

    Source:
        Yu and Cardona, "Fundamentals of Semiconductors", problems 6.23 and 7.12; with
        numbers near de Wolf (1996), Semicond. Sci. Technol. 11, 139: -2 1/cm a GPa.

    >>> round(float(stress_shift(1e9)))
    -193
    """
    (p, q), (s11, s12) = potentials, compliances
    xx, yy, zz = (np.asarray(v, np.float64) for v in (xx_pa, yy_pa, zz_pa))
    plane = (s11 + s12) * (xx + yy) + 2.0 * s12 * zz  # e_xx + e_yy
    out = s12 * (xx + yy) + s11 * zz
    return np.asarray(0.5 * SILICON_PER_M * (p * out + q * plane))


def heating_shift(power_w: ArrayLike, kelvin_per_w: float) -> Array:
    """Return how far the laser's heat moves silicon's line, 1/m, linear in its power.

    `kelvin_per_w` is the thermal resistance of the spot; powers have any shape, W.

    Source:
        Tsu and Hernandez (1982), Appl. Phys. Lett. 41, 1016: silicon, 20 to 900 °C.

    >>> round(float(heating_shift(1e-3, 1e5)))
    -281
    """
    warm = kelvin_per_w * np.asarray(power_w, np.float64)
    return np.asarray(SILICON_PER_M * HEATING_PER_K * warm)


def anti_stokes_ratio(
    shift_per_m: ArrayLike, temperature_k: ArrayLike, laser_per_m: float | None = None
) -> Array:
    """Return anti-Stokes over Stokes counts of a band: a thermometer.

    The occupation gives exp(-h c shift / k T); the light ((laser + shift) / (laser -
    shift))^3, one less than the 4 of scattered power, as photons are counted.

    Args:
        shift_per_m: Of the band; it broadcasts with the temperature.
        temperature_k: Of the specimen; both above 0, or OutOfRange is raised.
        laser_per_m: 1 / wavelength of the laser; None for the occupation alone.

    Source:
        Tuschel (2019), Spectroscopy 34 (12), 8, equation 1; the 3 as said.

    >>> round(float(anti_stokes_ratio(52070.0, 300.0)), 3)
    0.082
    """
    call = "anti_stokes_ratio"
    shift = require_at_least(call, "shift_per_m", shift_per_m, 1e-9)
    warm = require_at_least(call, "temperature_k", temperature_k, 1e-9)
    ratio = np.exp(-SECOND_RADIATION * shift / warm)
    if laser_per_m is None:
        return np.asarray(ratio)
    laser = require_at_least(call, "laser_per_m", laser_per_m, shift.max() + 1.0)
    return np.asarray(ratio * ((laser + shift) / (laser - shift)) ** 3)


def cosmic_rays(
    random: np.random.Generator,
    spectra: ArrayLike,
    rate_per_channel_s: float,
    dwell_s: float,
    *,
    height: float = 2000.0,
) -> tuple[Array, NDArray[np.bool_]]:
    """Put the spikes of cosmic rays on spectra: rare, one channel wide, never negative.

    Args:
        random: The source of chance, from `noise.generator`.
        spectra: Counts, any shape.
        rate_per_channel_s: Hits of one channel a second, independent of each other.
        dwell_s: Of one spectrum.
        height: Mean counts of a spike; they are spread exponentially, as chosen here.

    Returns:
        A new array of counts, and where it was hit, as `spectra`.

    >>> seen, hit = cosmic_rays(np.random.default_rng(0), np.zeros(1000), 1e-3, 5.0)
    >>> bool((seen[~hit] == 0).all() and (seen[hit] >= 1).all() and hit.any())
    True
    """
    call = "cosmic_rays"
    rate = require_at_least(call, "rate_per_channel_s", rate_per_channel_s, 0.0)
    dwell = require_at_least(call, "dwell_s", dwell_s, 0.0)
    mean = float(require_at_least(call, "height", height, 0.0))
    values = np.array(spectra, np.float64)
    hits = random.poisson(float(rate * dwell) * values.size)
    place = random.integers(0, max(values.size, 1), hits)
    tall = np.ceil(random.exponential(mean, hits))
    spikes = np.bincount(place, tall, values.size).reshape(values.shape)
    return values + spikes, spikes > 0


def absorption(
    wavenumber_per_m: ArrayLike,
    positions_per_m: ArrayLike,
    widths_per_m: ArrayLike,
    areas_per_m2: ArrayLike,
) -> Array:
    """Return the absorption coefficient a of exp(-a d), (..., s), 1/m, from bands.

    Args:
        wavenumber_per_m: Of the light, (s,).
        positions_per_m: Of the bands, (..., b), as are the two that follow.
        widths_per_m: Full widths of the Lorentzians at half maximum.
        areas_per_m2: Over wave number: pi / 2 times width times height.

    >>> absorption([173.5e3], [173.5e3], [2e3], [np.pi * 1e8]).round(3).tolist()
    [100000.0]
    """
    axis = np.asarray(wavenumber_per_m, np.float64)
    return _bands("absorption", axis, positions_per_m, widths_per_m, areas_per_m2, 0.0)


def photothermal(
    absorption_per_m: ArrayLike,
    thickness_m: ArrayLike,
    fluence_j_m2: ArrayLike,
    *,
    expansion: float = EXPANSION,
) -> Array:
    """Return by how much a film swells under one laser pulse, metres: AFM-IR's signal.

    The film keeps the heat, its pulse is short, and swells across: expansion · fluence
    · (1 - exp(-a d)), linear in a and d where thin. Derived here; no cantilever.

    Args:
        absorption_per_m: Coefficient a, (..., s), as what is returned.
        thickness_m: Of the film d, (...,).
        fluence_j_m2: Energy of a pulse on its area, (s,) or one number.
        expansion: Linear expansivity over heat capacity of a volume, m^3/J.

    Source:
        Dazzi, Glotin and Carminati (2010), J. Appl. Phys. 107, 124519.

    >>> photothermal([1e5], 1e-7, 10.0).round(15).tolist()
    [3.98e-12]
    """
    a = require_at_least("photothermal", "absorption_per_m", absorption_per_m, 0.0)
    d = require_at_least("photothermal", "thickness_m", thickness_m, 0.0)
    energy = require_at_least("photothermal", "fluence_j_m2", fluence_j_m2, 0.0)
    return np.asarray(-expansion * energy * np.expm1(-a * d[..., None]))


def laser_power(
    wavenumber_per_m: ArrayLike, bands: Bands, *, least: float = 0.0
) -> Array:
    """Return the power of a tunable laser over its highest: chips of Gaussian gain.

    Args:
        wavenumber_per_m: Where, (s,), as what is returned, without unit.
        bands: Middle, full width and height (`areas`) of each chip; the best one runs.
        least: What is left between chips.

    >>> chips = Bands([1e5, 2e5], [4e4, 4e4], [1.0, 0.5])
    >>> laser_power([1e5, 1.2e5, 2e5], chips).round(6).tolist()
    [1.0, 0.5, 0.5]
    """
    axis = np.asarray(wavenumber_per_m, np.float64)[:, None]
    centres, widths, heights = (np.array(v) for v in bands)
    gain = heights * 2.0 ** -((2.0 * (axis - centres) / widths) ** 2)
    return np.asarray(np.maximum(gain.max(axis=-1) / heights.max(), least))
