"""Tunnelling currents and spectra of an STM, from the density of states at a point.

Pure functions: `local_density` makes a density, `current` and `didv` what a tip over it
records, `setpoint` where the feedback holds the tip. Both records are linear in the
density, one matrix for all points of a frame. Energies are eV from the specimen's Fermi
energy; a positive bias reaches its empty states. The same tip in contact: `junctions`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.synthetic.junctions import (
    CHARGE_C,
    ELECTRON_KG,
    PLANCK_J_S,
    VOLTS_PER_KELVIN,
    axis,
    reals,
)

Array = NDArray[np.float64]

QUANTUM_S = 2 * CHARGE_C**2 / PLANCK_J_S  # conductance of one open channel, 77.5 uS
DECAY = (  # sqrt(2 m e) / hbar, 5.123e9 per metre and root of an eV
    2 * math.pi * math.sqrt(2 * ELECTRON_KG * CHARGE_C) / PLANCK_J_S
)
TURNS = 32  # points of the modulation at which a spectrum is taken
SERIES = (  # Bernoulli numbers B_2k / (2k + 1)!
    *(1 / 36, -1 / 3600, 1 / 211680, -1 / 10886400, 5 / 2634508800),
    *(-691 / 16999766784000, 1 / 1120863744000, -3617 / 181400588328960000),
)


class Gap(NamedTuple):
    """The vacuum between tip and specimen; the current is that of `current`."""

    width_m: float = 6e-10  # from where one channel would be open, above 0
    work_function_ev: float = 4.5  # mean of tip and specimen, above 0
    temperature_k: float = 0.0  # of both, 0 or more


def barrier_decay(work_function_ev: ArrayLike) -> Array:
    """Return the decay of the wave function in vacuum, kappa, per metre.

    Args:
        work_function_ev: Height of the barrier, any shape, above 0.

    Returns:
        sqrt(2 m phi) / hbar, of which the current has twice.

    Raises:
        OutOfRange: If a barrier is not above 0.

    Source:
        Tersoff and Hamann (1985), Phys. Rev. B 31, 805, the inverse decay length.

    >>> round(float(barrier_decay(4.0)) * 1e-10, 4)  # per angstrom
    1.0246
    """
    call = "barrier_decay"
    height = reals(call, "work_function_ev", work_function_ev, "eV", above=0)
    return np.asarray(DECAY * np.sqrt(height))


def local_density(
    energy_ev: ArrayLike,
    *,
    gap_ev: ArrayLike = 0.0,
    centre_ev: ArrayLike = 0.0,
    edge_ev: ArrayLike = 0.02,
    floor: ArrayLike = 0.0,
    peak: ArrayLike = 0.0,
    peak_ev: ArrayLike = 0.0,
    peak_fwhm_ev: ArrayLike = 0.1,
) -> Array:
    """Return a density of states: a soft gap in a flat band, and a resonance.

    Args:
        energy_ev: From the Fermi energy, (e,), eV.
        gap_ev: Width of the gap between half heights, (...), 0 for a metal.
        centre_ev: Middle of the gap, (...), which doping moves.
        edge_ev: Width of the logistic function at both edges, (...), above 0.
        floor: Density deep in the gap, (...), 0 to 1.
        peak: Height of a Lorentzian resonance, (...), of a defect or an adsorbate.
        peak_ev: Its energy, (...).
        peak_fwhm_ev: Its full width at half maximum, (...), above 0.

    Returns:
        (..., e), 1 in the band; in units of open channels of `current`.

    Raises:
        OutOfRange: If a number lies outside what is said above.
        ShapeMismatch: If `energy_ev` has not one axis.

    Source:
        A form chosen for twins, no theory of a material; without a gap exactly flat.

    >>> local_density([-1.0, 0.0, 1.0]).tolist()
    [1.0, 1.0, 1.0]
    """
    call = "local_density"
    energy = axis(call, "energy_ev", energy_ev, "eV")
    half = reals(call, "gap_ev", gap_ev, "eV", low=0)[..., None] / 2
    away = energy - reals(call, "centre_ev", centre_ev, "eV")[..., None]
    twice = 2 * reals(call, "edge_ev", edge_ev, "eV", above=0)[..., None]
    low = reals(call, "floor", floor, "", low=0, high=1)[..., None]
    inside = np.tanh((away + half) / twice) - np.tanh((away - half) / twice)
    height = reals(call, "peak", peak, "", low=0)[..., None]
    width = reals(call, "peak_fwhm_ev", peak_fwhm_ev, "eV", above=0)[..., None] / 2
    off = (energy - reals(call, "peak_ev", peak_ev, "eV")[..., None]) / width
    return np.asarray(1.0 - (1.0 - low) * inside / 2 + height / (1.0 + off * off))


def current(
    bias_v: ArrayLike,
    energy_ev: ArrayLike,
    density: ArrayLike,
    gap: Gap = Gap(),  # noqa: B008 - a tuple, and immutable
    *,
    height_m: ArrayLike = 0.0,
) -> Array:
    """Return the tunnelling current at each bias, from a tip whose density is flat.

    I = 2e/h ∫ rho(E) T(E, V) [f(E - eV) - f(E)] dE, at 0 K from 0 to eV, with T =
    exp(-2 s sqrt(2m (phi + eV/2 - E)) / hbar) over the gap s. A tip that is higher by
    h divides it by exp(2 kappa h), kappa of `barrier_decay`: how T depends on energy is
    kept from the gap s, which at 1.2 V bends a spectrum by a tenth per angstrom of h.

    Args:
        bias_v: Of the specimen, (v,), volts, below twice the work function.
        energy_ev: Grid of energies, (e,), rising, that spans 0 and every bias.
        density: In open channels, (..., e); times T a straight line between energies.
        gap: Its width s, work function phi and temperature.
        height_m: Of the tip over the gap, (...) or a number, metres.

    Returns:
        (..., v), amperes.

    Raises:
        OutOfRange: If a number lies outside what is said above.
        ShapeMismatch: If `density` does not end in an axis as long as `energy_ev`.

    Source:
        Tersoff and Hamann (1985), Phys. Rev. B 31, 805: the current follows the
        specimen's density under the tip; over a range of energies with the WKB barrier,
        Hamers (1989), Annu. Rev. Phys. Chem. 40, 531. The factor 2e/h is Landauer's,
        for a density in channels.

    >>> metal = current([-0.1, 0.1], np.linspace(-0.2, 0.2, 41), np.ones(41))
    >>> [f"{1e12 * i:.1f}" for i in metal]  # pA
    ['-16.8', '16.8']
    """
    call = "current"
    bias, energy, rho = _inputs(call, bias_v, energy_ev, density, gap)
    matrix = _kernel(bias, energy, gap, 0)
    return _heightened(call, rho @ matrix.T, height_m, gap)


def didv(
    bias_v: ArrayLike,
    energy_ev: ArrayLike,
    density: ArrayLike,
    gap: Gap = Gap(),  # noqa: B008
    *,
    modulation_v: float = 0.0,
    height_m: ArrayLike = 0.0,
) -> Array:
    """Return the differential conductance, as a lock-in amplifier measures it.

    The derivative of `current`, averaged over the bias with the weight of a half
    ellipse, 2 sqrt(1 - (v/A)^2) / (pi A): what the first harmonic of a modulation
    A sin(wt) gives. Its width at half height is sqrt(3) A, that of heat 3.525 kT/e.

    Args:
        bias_v: As of `current`, as are all but the next.
        energy_ev: (e,), that spans the modulation too.
        density: (..., e).
        gap: The vacuum.
        modulation_v: Amplitude A, volts, half of peak to peak; 0 gives the derivative.
        height_m: (...) or a number.

    Returns:
        (..., v), siemens.

    Raises:
        OutOfRange: If a number lies outside what is said above.
        ShapeMismatch: If `density` does not end in an axis as long as `energy_ev`.

    Source:
        Derived here: the first harmonic integrated by parts; 4 arcosh(sqrt 2) kT is the
        width of the slope of Fermi's function.

    >>> energy = np.linspace(-0.2, 0.2, 41)
    >>> flat = didv([0.0], energy, np.ones(41), modulation_v=0.01)
    >>> f"{float(flat[0]):.2e}"
    '1.68e-10'
    """
    call = "didv"
    swing = float(reals(call, "modulation_v", modulation_v, "V", low=0))
    turns = TURNS if swing else 1
    turn = np.pi * np.arange(1, turns + 1) / (turns + 1)
    parts = np.sin(turn) ** 2  # Gauss's rule of the second kind
    centre = axis(call, "bias_v", bias_v, "V")
    ends = np.concatenate([centre - swing, centre, centre + swing])
    _, energy, rho = _inputs(call, ends, energy_ev, density, gap)
    matrix = np.zeros((len(centre), len(energy)))
    for part, off in zip(parts / parts.sum(), swing * np.cos(turn), strict=True):
        matrix += part * _kernel(centre + off, energy, gap, 1)
    return _heightened(call, rho @ matrix.T, height_m, gap)


def setpoint(
    bias_v: float,
    current_a: float,
    energy_ev: ArrayLike,
    density: ArrayLike,
    gap: Gap = Gap(),  # noqa: B008
) -> Array:
    """Return where the feedback holds the tip: the height of the set current.

    Given to `current` or `didv` as `height_m`, every spectrum passes through the set
    point: what is measured is the density over its own integral up to the set bias.

    Args:
        bias_v: Set bias, volts, not 0.
        current_a: Set current, amperes, of the sign of the bias.
        energy_ev: As of `current`, as are the others.
        density: (..., e).
        gap: The vacuum.

    Returns:
        Height over the gap, (...), metres: `current` solved, ln(I / I_set) / 2 kappa.

    Raises:
        OutOfRange: If a number is out of range, or a point carries no current at all.
    """
    call = "setpoint"
    wanted = float(reals(call, "current_a", current_a, "A"))
    bias = float(reals(call, "bias_v", bias_v, "V"))
    here = current([bias], energy_ev, density, gap)[..., 0]
    if wanted == 0 or not (here / wanted > 0).all():
        raise OutOfRange(
            f"setpoint got {current_a:g} A at {bias_v:g} V, which no height gives at "
            "some point: give a current of the sign of the bias, and a bias beyond the "
            "gap, or a density with a floor."
        )
    return np.asarray(np.log(here / wanted) / (2 * barrier_decay(gap.work_function_ev)))


def _inputs(
    call: str, bias_v: ArrayLike, energy_ev: ArrayLike, density: ArrayLike, gap: Gap
) -> tuple[Array, Array, Array]:
    bias = axis(call, "bias_v", bias_v, "V")
    energy = axis(call, "energy_ev", energy_ev, "eV")
    rho = reals(call, "density", density, "channels", low=0)
    reals(call, "gap.width_m", gap.width_m, "m", above=0)
    reals(call, "gap.temperature_k", gap.temperature_k, "K", low=0)
    phi = float(
        reals(call, "gap.work_function_ev", gap.work_function_ev, "eV", above=0)
    )
    if len(energy) < 2 or not (np.diff(energy) > 0).all():
        raise OutOfRange(f"{call} got energies that do not rise; sort energy_ev.")
    if rho.ndim == 0 or rho.shape[-1] != len(energy):
        raise ShapeMismatch(
            f"{call} got a density of shape {rho.shape} over {len(energy)} energies; "
            "its last axis is theirs."
        )
    low, high = min(0.0, bias.min(initial=0)), max(0.0, bias.max(initial=0))
    if low < energy[0] or high > energy[-1]:
        raise OutOfRange(
            f"{call} got biases from {low:g} to {high:g} V, modulation included, but "
            f"energies from {energy[0]:g} to {energy[-1]:g} eV; widen energy_ev."
        )
    if max(-low, high) >= 2 * phi:
        raise OutOfRange(
            f"{call} got a bias of {max(-low, high):g} V; below {2 * phi:g} V, twice "
            "the work function, electrons tunnel through the whole gap. Lower it."
        )
    return bias, energy, rho


def _kernel(bias: Array, energy: Array, gap: Gap, order: int) -> Array:
    """Return what each node of the density adds to I (order 0) or dI/dV, (v, e)."""
    thermal = VOLTS_PER_KELVIN * gap.temperature_k
    barrier = np.maximum(
        gap.work_function_ev + bias[:, None] / 2 - energy, 1e-3
    )  # far tails only
    through = QUANTUM_S * np.exp(-2 * gap.width_m * DECAY * np.sqrt(barrier))
    tip, own = _fermi(energy - bias[:, None], thermal), _fermi(energy, thermal)
    window = _weights(energy, tip[1] - own[1], tip[2] - own[2])
    if order == 0:
        return np.asarray(window * through)
    steeper = -gap.width_m * DECAY / (2 * np.sqrt(barrier))  # d ln T / dV
    moved = _weights(energy, -tip[0], -tip[1])
    return np.asarray((moved + window * steeper) * through)


def _weights(energy: Array, first: Array, second: Array) -> Array:
    """Return the integrals of a function times the hat of each node, from its own.

    Exact for a density that is a straight line between nodes, however narrow the
    function: `first` and `second` are its integrals and theirs, at the nodes, (v, e).
    """
    slope = np.diff(second, axis=-1) / np.diff(energy)
    weights = np.zeros_like(first)
    weights[:, :-1] += slope
    weights[:, 1:] -= slope
    weights[:, 0] -= first[:, 0]
    weights[:, -1] += first[:, -1]
    return weights


def _fermi(energy: Array, thermal: float) -> tuple[Array, Array, Array]:
    """Return Fermi's function and its first two integrals, 0 at high energy.

    They are 1/(1 + e^x), -kT ln(1 + e^-x) and -(kT)^2 Li2(-e^-x), x = E/kT; the
    dilogarithm by its series in ln(1 + e^-|x|) with Bernoulli's numbers (Lewin (1981),
    "Polylogarithms and Associated Functions", chapter 1), inverted for x < 0.
    """
    below = np.maximum(-energy, 0.0)
    if thermal == 0:
        return np.heaviside(-energy, 0.5), -below, below**2 / 2
    x = np.abs(energy) / thermal
    small = np.exp(-x)
    log = np.log1p(small)
    power = np.zeros_like(log)
    for factor in reversed(SERIES):
        power = (power + factor) * log**2
    dilog = log * (1 + log / 4 + power)  # -Li2(-e^-|x|)
    negative = energy < 0
    inverted = math.pi**2 / 6 + x**2 / 2 - dilog
    occupied = np.where(negative, 1.0, small) / (1 + small)
    second = thermal**2 * np.where(negative, inverted, dilog)
    return occupied, -below - thermal * log, second


def _heightened(call: str, value: Array, height_m: ArrayLike, gap: Gap) -> Array:
    height = reals(call, "height_m", height_m, "m")[..., None]
    return np.asarray(value * np.exp(-2 * barrier_decay(gap.work_function_ev) * height))
