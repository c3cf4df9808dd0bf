"""X-ray spectra of an energy-dispersive detector: lines, their width, the continuum.

Pure functions beside `coreloss`, the same elements by electron energy loss. Energies
are eV; `spectrum` gives what is expected to be counted, for any number of points at
once, and `aemtwin.instruments.effects.counts` draws the counts about it. The shapes of
lines are here for `coreloss` and `vibrations` too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, unknown

Array = NDArray[np.float64]

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian, over its sd: 2.355
FANO, PAIR_EV = 0.115, 3.8  # of silicon: variance over Poisson's, eV a pair
REACH = 7.0  # sd: what is farther from a line is below 1e-11 of it


class Line(NamedTuple):
    """One characteristic line of a shell."""

    name: str  # Siegbahn's
    energy_ev: float
    weight: float  # intensity, 100 for the strongest of the shell


_TABLE = """
C K: Ka 277.0 100
N K: Ka 392.4 100
O K: Ka 524.9 100
Al K: Ka1 1486.7 100; Ka2 1486.3 50; Kb1 1557.4 1
Si K: Ka1 1740.0 100; Ka2 1739.4 50; Kb1 1835.9 2
Ti K: Ka1 4510.8 100; Ka2 4504.9 50; Kb1,3 4931.8 15
Ti L: La1,2 452.2 111; Lb1 458.4 79; Ll 395.3 46
Mn K: Ka1 5898.8 100; Ka2 5887.6 50; Kb1,3 6490.4 17
Fe K: Ka1 6403.8 100; Ka2 6390.8 50; Kb1,3 7058.0 17
Fe L: La1,2 705.0 111; Lb1 718.5 66; Ll 615.2 10
Ni K: Ka1 7478.2 100; Ka2 7460.9 51; Kb1,3 8264.7 17
Ni L: La1,2 851.5 111; Lb1 868.8 68; Ll 742.7 9
Cu K: Ka1 8047.8 100; Ka2 8027.8 51; Kb1,3 8905.3 17
Cu L: La1,2 929.7 111; Lb1 949.8 65; Ll 811.1 8
Sr K: Ka1 14165.0 100; Ka2 14097.9 52; Kb1 15835.7 14; Kb3 15824.9 7; Kb2 16084.6 3
Sr L: La1 1806.6 100; La2 1804.7 11; Lb1 1871.7 58; Ll 1582.2 5
Au M: Ma1 2122.9 100
Au L: La1 9713.3 100; La2 9628.0 11; Lb1 11442.3 67; Lb2 11584.7 23; Lg1 13381.7 13
"""


def _lines(text: str) -> tuple[Line, ...]:
    parts = (part.split() for part in text.split(";"))
    return tuple(Line(name, float(ev), float(weight)) for name, ev, weight in parts)


LINES: dict[str, tuple[Line, ...]] = {
    family: _lines(text)
    for family, text in (row.split(": ") for row in _TABLE.strip().splitlines())
}
"""Lines by element and shell, energies to 0.1 eV.

Source: Thompson et al. (2009), "X-ray Data Booklet", Lawrence Berkeley National
Laboratory, tables 1-2 and 1-3 (energies after Bearden 1967, Rev. Mod. Phys. 39, 78).
Intensities compare lines of one shell, roughly for L and M.
"""


def line_width_ev(
    energy_ev: ArrayLike,
    noise_ev: float,
    fano: float = FANO,
    pair_ev: float = PAIR_EV,
) -> Array:
    """Return the full width at half maximum of a line in a semiconductor detector.

    The electronics' noise and the spread in the number of pairs add as squares:
    FWHM^2 = noise^2 + 8 ln 2 · fano · pair · E. The lines' own widths, some eV, are
    left out.

    Args:
        energy_ev: Of the X-rays, any shape, as is what is returned, eV.
        noise_ev: The electronics' share, FWHM; OutOfRange if negative, as energies.
        fano: Variance of the number of pairs over that of Poisson's law.
        pair_ev: Energy spent for one electron-hole pair.

    Source:
        Fano (1947), Phys. Rev. 72, 26. The factor 8 ln 2 · fano · pair is 2.42 eV
        here, where Fiori and Newbury (1978), SEM/1978/I, 401, have 2.5.

    >>> round(float(line_width_ev(5895.0, 50.0)))  # Mn Ka; 130 eV is usual
    130
    """
    energy = require_at_least("line_width_ev", "energy_ev", energy_ev, 0.0)
    noise = require_at_least("line_width_ev", "noise_ev", noise_ev, 0.0)
    return np.asarray(np.sqrt(noise**2 + FWHM**2 * fano * pair_ev * energy))


def bremsstrahlung(
    energy_ev: ArrayLike, beam_ev: float, scale: ArrayLike, *, window_ev: float = 0.0
) -> Array:
    """Return the continuum, counts a channel: Kramers' law behind a thin window.

    scale · (E0 - E) / E · exp(-(window / E)^3), nothing above E0.

    Args:
        energy_ev: Middles of the channels, (e,).
        beam_ev: Energy of the electrons, E0.
        scale: Counts a channel at E0 / 2 without a window, (...,).
        window_ev: Where window and contact pass 1/e; 0 for none. That they absorb as
            E^-3, without edges, is a simplification.

    Returns:
        (..., e). A beam below 1 eV, or anything negative, raises OutOfRange.

    Source:
        Kramers (1923), Phil. Mag. 46, 836: photons of a thick target.

    >>> bremsstrahlung(np.array([5e3, 1e4, 2e4, 3e4]), 2e4, 7.0).tolist()
    [21.0, 7.0, 0.0, 0.0]
    """
    call = "bremsstrahlung"
    energy = np.asarray(energy_ev, np.float64)
    require_at_least(call, "beam_ev", beam_ev, 1.0)
    height = require_at_least(call, "scale", scale, 0.0)
    window = float(require_at_least(call, "window_ev", window_ev, 0.0))
    safe = np.where(energy > 0, energy, 1.0)
    passed = np.exp(-np.minimum((window / safe) ** 3, 700.0))
    law = np.where(energy > 0, np.maximum(beam_ev - energy, 0.0) / safe * passed, 0.0)
    return np.asarray(height[..., None] * law)


def line_shapes(
    energy_ev: ArrayLike,
    families: Sequence[str],
    *,
    noise_ev: float = 50.0,
    fano: float = FANO,
    pair_ev: float = PAIR_EV,
) -> Array:
    """Return which share of the counts of a shell falls into each channel.

    Each line is a Gaussian, integrated over the channels with the error function, so
    that sums are right however wide a channel is.

    Args:
        energy_ev: Middles of the channels, evenly spaced, (e,).
        families: Keys of `LINES`, (n,).
        noise_ev, fano, pair_ev: As `line_width_ev` takes them.

    Returns:
        (n, e); a row's sum is 1 where all lines lie inside the axis.

    Raises:
        UnknownName: For a family that `LINES` does not have.
        ShapeMismatch: If `energy_ev` is not one even axis.

    >>> line_shapes(np.arange(0.0, 2e4, 10.0), ["Fe K"]).sum().round(9).item()
    1.0
    """
    energy = np.asarray(energy_ev, np.float64)
    step = channel_step("line_shapes", "energy_ev", energy)
    edges = np.append(energy - step / 2, energy[-1] + step / 2)
    shapes = np.zeros((len(families), len(energy)))
    for shape, family in zip(shapes, families, strict=True):
        if family not in LINES:
            raise unknown("family of lines", family, LINES, "See xrays.LINES.")
        whole = sum(line.weight for line in LINES[family])
        for line in LINES[family]:
            width = line_width_ev(line.energy_ev, noise_ev, fano, pair_ev) / FWHM
            z = (edges - line.energy_ev) / (float(width) * math.sqrt(2.0))
            low, high = np.searchsorted(z, (-REACH, REACH))
            below = np.where(z > 0, 1.0, -1.0)
            below[low:high] = [math.erf(v) for v in z[low:high]]
            shape += line.weight / whole * np.diff(below) / 2
    return shapes


def spectrum(
    energy_ev: ArrayLike,
    counts: ArrayLike,
    families: Sequence[str],
    background: ArrayLike = 0.0,
    *,
    noise_ev: float = 50.0,
    fano: float = FANO,
    pair_ev: float = PAIR_EV,
) -> Array:
    """Return expected counts: the lines of each family on a background.

    Args:
        energy_ev: Middles of the channels, evenly spaced, (e,).
        counts: In all lines of each family, (..., n).
        families: Keys of `LINES`, (n,), such as "Fe K".
        background: Counts a channel, (..., e) or what broadcasts to it, such as from
            `bremsstrahlung`.
        noise_ev, fano, pair_ev: As `line_width_ev` takes them.

    Returns:
        (..., e).

    Raises:
        ShapeMismatch: If `counts` does not end in an axis as long as `families`.
        OutOfRange: For negative counts.
        UnknownName: For a family that `LINES` does not have.

    >>> energy = np.arange(5.0, 2e4, 10.0)
    >>> seen = spectrum(energy, [[900.0, 100.0]], ["Fe K", "Ni K"])
    >>> seen.shape, seen.sum().round(6).item()
    ((1, 2000), 1000.0)
    """
    amount = require_at_least("spectrum", "counts", counts, 0.0)
    if amount.ndim == 0 or amount.shape[-1] != len(families):
        raise ShapeMismatch(
            f"spectrum got counts of shape {amount.shape}; the last axis is as long as "
            f"families, {len(families)}. Give one number of counts for each."
        )
    shapes = line_shapes(
        energy_ev, families, noise_ev=noise_ev, fano=fano, pair_ev=pair_ev
    )
    return np.asarray(amount @ shapes + np.asarray(background, np.float64))


def cliff_lorimer(intensities: ArrayLike, k: ArrayLike) -> Array:
    """Return mass fractions of a thin specimen from the intensities of its lines.

    C_A / C_B = (k_A / k_B) · I_A / I_B, and the fractions add to 1.

    Args:
        intensities: Counts above the background, (..., n).
        k: Factors against one common element, (n,), above 0.

    Returns:
        Fractions, (..., n); not a number where nothing was counted.

    Raises:
        ShapeMismatch: If `intensities` does not end in an axis as long as `k`.
        OutOfRange: If a factor is not above 0.

    Source:
        Cliff and Lorimer (1975), J. Microsc. 103, 203; no absorption, no fluorescence.

    >>> cliff_lorimer([100.0, 50.0], [1.0, 2.0]).tolist()
    [0.5, 0.5]
    """
    counts, factors = np.asarray(intensities, np.float64), np.asarray(k, np.float64)
    if factors.ndim != 1 or counts.ndim == 0 or counts.shape[-1] != len(factors):
        raise ShapeMismatch(
            f"cliff_lorimer got intensities of shape {counts.shape} and k of shape "
            f"{factors.shape}; they are (..., n) and (n,). Give one factor an element."
        )
    if not (factors > 0).all():
        raise OutOfRange(
            f"cliff_lorimer got k = {factors.tolist()}; each factor is above 0."
        )
    mass = counts * factors
    whole = mass.sum(axis=-1, keepdims=True)
    return np.asarray(
        np.divide(mass, whole, out=np.full_like(mass, np.nan), where=whole > 0)
    )


def lorentzian(x: ArrayLike, centre: ArrayLike, fwhm: ArrayLike) -> Array:
    """Return a Lorentzian of area 1, per unit of `x`; all arguments broadcast.

    >>> float(lorentzian(0.0, 0.0, 2.0) * math.pi)
    1.0
    """
    half = 0.5 * np.asarray(fwhm, np.float64)
    away = np.asarray(x, np.float64) - np.asarray(centre, np.float64)
    return np.asarray(half / math.pi / (away**2 + half**2))


def gaussian(x: ArrayLike, centre: ArrayLike, fwhm: ArrayLike) -> Array:
    """Return a Gaussian of area 1, per unit of `x`; all arguments broadcast.

    >>> ends = gaussian([-1.0, 0.0, 1.0], 0.0, 2.0)
    >>> (ends / ends.max()).round(12).tolist()
    [0.5, 1.0, 0.5]
    """
    width = np.asarray(fwhm, np.float64)
    away = (np.asarray(x, np.float64) - np.asarray(centre, np.float64)) / width
    height = 2.0 * math.sqrt(math.log(2.0) / math.pi) / width
    return np.asarray(height * np.exp(-4.0 * math.log(2.0) * away**2))


def voigt(
    x: ArrayLike,
    centre: ArrayLike,
    gaussian_fwhm: ArrayLike,
    lorentzian_fwhm: ArrayLike,
) -> Array:
    """Return a pseudo-Voigt line of area 1: a Lorentzian that a Gaussian has blurred.

    Within 1.3 percent of the height of the true convolution, at any ratio of widths.
    All arguments broadcast; either full width may be 0, such as the spectrometer's
    Gaussian or the band's own Lorentzian, not both.

    Source:
        Thompson, Cox and Hastings (1987), J. Appl. Cryst. 20, 79.

    >>> bool(np.isclose(voigt(1.0, 0.0, 0.0, 2.0), lorentzian(1.0, 0.0, 2.0)))
    True
    """
    g, k = (np.asarray(v, np.float64) for v in (gaussian_fwhm, lorentzian_fwhm))
    fifth = g**5 + 2.69269 * g**4 * k + 2.42843 * g**3 * k**2
    fifth = fifth + 4.47163 * g**2 * k**3 + 0.07842 * g * k**4 + k**5
    width = fifth**0.2
    part = k / width
    mixing = 1.36603 * part - 0.47719 * part**2 + 0.11116 * part**3
    wings = mixing * lorentzian(x, centre, width)
    return np.asarray(wings + (1.0 - mixing) * gaussian(x, centre, width))


def channel_step(call: str, name: str, values: NDArray[Any]) -> float:
    """Return the width of the channels of an axis; ShapeMismatch if it is not even.

    >>> channel_step("f", "energy_ev", np.array([1.0, 1.5, 2.0]))
    0.5
    """
    if values.ndim == 1 and len(values) > 1 and np.isfinite(values).all():
        step = float(values[-1] - values[0]) / (len(values) - 1)
        if step > 0 and np.abs(np.diff(values) - step).max() < 1e-3 * step:
            return step
    raise ShapeMismatch(
        f"{call} got {name} of shape {values.shape} that is not one axis of at least 2 "
        "channels, rising evenly. Make it with np.arange or np.linspace."
    )


def require_at_least(call: str, name: str, values: ArrayLike, low: float) -> Array:
    """Return numbers as float64, refusing any below `low` or not finite.

    >>> require_at_least("f", "counts", [1, 2], 0.0).tolist()
    [1.0, 2.0]
    """
    array = np.asarray(values, np.float64)
    wrong = ~((array >= low) & np.isfinite(array))
    if wrong.any():
        raise OutOfRange(
            f"{call} got {name} = {float(array[wrong][0]):g}; it is a finite number of "
            f"at least {low:g}. Correct {name} and call again."
        )
    return array
