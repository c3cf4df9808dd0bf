"""Currents through a conducting tip in contact: ohmic paths and Schottky diodes.

Pure functions for specimens of conductive AFM. The neighbours `tunnelling` and `forces`
have the current across a gap and the force of the same tip; both take the constants and
the check of numbers from here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType

Array = NDArray[np.float64]

CHARGE_C = 1.602176634e-19  # exact since 2019, as are the next two
BOLTZMANN_J_K = 1.380649e-23
PLANCK_J_S = 6.62607015e-34
ELECTRON_KG = 9.1093837015e-31  # CODATA 2018
VOLTS_PER_KELVIN = BOLTZMANN_J_K / CHARGE_C  # also eV per kelvin
RICHARDSON = (  # 4 pi m e k^2 / h^3, 1.2017e6 A/(m^2 K^2)
    4 * math.pi * ELECTRON_KG * CHARGE_C * BOLTZMANN_J_K**2 / PLANCK_J_S**3
)
MOST = 700.0  # exp of more is near the end of float64
LEAST = -600.0  # below it exp(x) is omega(x) to the last place


def contact_iv(
    bias_v: ArrayLike,
    conductance_s: ArrayLike,
    barrier_ev: ArrayLike = math.inf,
    *,
    area_m2: float = 1e-16,
    ideality: ArrayLike = 1.0,
    series_ohm: ArrayLike = 0.0,
    temperature_k: float = 295.0,
    mass: float = 1.0,
    limit_a: float = math.inf,
) -> Array:
    """Return the current of a tip in contact: ohmic path beside diode, then resistance.

    The junction carries G Vj + Is (exp(q Vj / n k T) - 1), the resistance in series the
    rest of the bias, V = Vj + I Rs, and the amplifier what it can. A diode that
    conducts at negative bias is this one with both signs turned.

    Args:
        bias_v: Bias at each step, (v,), volts; positive is the diode's forward.
        conductance_s: Of the ohmic path, G, (...), siemens, 0 or more.
        barrier_ev: Schottky barrier, (...), eV; infinite means no diode.
        area_m2: Of the contact.
        ideality: n, (...), 1 or more.
        series_ohm: Rs of spreading, tip and protection, (...), ohms, 0 or more.
        temperature_k: Above 0.
        mass: Effective mass over that of the free electron, in Richardson's constant.
        limit_a: What the amplifier can measure at most, amperes.

    Returns:
        (..., v), amperes; with Rs = 0 never more than exp(700) times Is.

    Raises:
        OutOfRange: If a number lies outside what is said above.
        ShapeMismatch: If `bias_v` has not one axis, or the others do not broadcast.

    Source:
        Banwell and Jayakumar (2000), Electron. Lett. 36, 291, the diode with series
        resistance by Lambert's W; with G beside the diode derived here, in the same
        way: y + ln y = (V + Rs Is) / (s a) + ln(Rs Is / (s a)), where s = 1 + Rs G,
        a = n k T / q, and s a y / Rs is the current Is exp(Vj / a).

    >>> [float(i) for i in contact_iv([-0.5, 1.0], 1e-9)]
    [-5e-10, 1e-09]
    """
    call = "contact_iv"
    bias = axis(call, "bias_v", bias_v, "V")
    limit = float(reals(call, "limit_a", limit_a, "A", above=0, finite=False))
    parts = (
        reals(call, "conductance_s", conductance_s, "S", low=0),
        saturation_current(
            barrier_ev, area_m2=area_m2, temperature_k=temperature_k, mass=mass
        ),
        thermal_volts(temperature_k) * reals(call, "ideality", ideality, "", low=1),
        reals(call, "series_ohm", series_ohm, "ohm", low=0),
    )
    try:
        ohmic, start, slope, series = np.broadcast_arrays(*parts)
    except ValueError as error:
        raise ShapeMismatch(
            f"{call} got conductances, barriers, idealities and resistances of shapes "
            f"{[part.shape for part in parts]}; give shapes that broadcast to one."
        ) from error
    columns = [part.reshape(-1, 1) for part in (ohmic, start, slope, series)]
    current = np.empty((ohmic.size, len(bias)))
    rows = max(1, 2**14 // max(1, len(bias)))  # a block that the cache holds
    for low in range(0, len(current), rows):
        block = slice(low, low + rows)
        current[block] = _through(bias, *(column[block] for column in columns))
    return compliance(current.reshape(*ohmic.shape, len(bias)), limit)


def _through(
    bias: Array, ohmic: Array, start: Array, slope: Array, series: Array
) -> Array:
    share = 1.0 + series * ohmic
    drop = series * start
    with np.errstate(divide="ignore"):  # ln 0 = -inf: no diode, or nothing before it
        first = np.log(drop / (share * slope))
    y = omega((bias + drop) / (share * slope) + first)
    junction = (bias + drop) / share - slope * y
    if (series > 0).all():
        return np.asarray(ohmic * junction + (share * slope / series) * y - start)
    bare = start * np.expm1(np.minimum(junction / slope, MOST))
    safe = np.where(series > 0, series, 1.0)
    limited = share * slope / safe * y - start
    return np.asarray(ohmic * junction + np.where(series > 0, limited, bare))


def compliance(current_a: ArrayLike, limit_a: float) -> Array:
    """Return what the amplifier gives: currents beyond `limit_a` read as the limit.

    >>> compliance([-3e-9, 1e-9], 2e-9).tolist()
    [-2e-09, 1e-09]
    """
    return np.asarray(np.clip(current_a, -limit_a, limit_a), np.float64)


def zero_bias_conductance(
    conductance_s: ArrayLike,
    barrier_ev: ArrayLike = math.inf,
    *,
    area_m2: float = 1e-16,
    ideality: ArrayLike = 1.0,
    series_ohm: ArrayLike = 0.0,
    temperature_k: float = 295.0,
    mass: float = 1.0,
) -> Array:
    """Return dI/dV of `contact_iv` at no bias, (...), siemens: g / (1 + g Rs).

    Here g = G + q Is / (n k T). Arguments are those of `contact_iv`.

    Source:
        The derivative of `contact_iv` at V = 0; derived here.

    >>> float(zero_bias_conductance(1e-6, series_ohm=1e6))
    5e-07
    """
    call = "zero_bias_conductance"
    start = saturation_current(
        barrier_ev, area_m2=area_m2, temperature_k=temperature_k, mass=mass
    )
    n = reals(call, "ideality", ideality, "", low=1)
    ohmic = reals(call, "conductance_s", conductance_s, "S", low=0)
    here = ohmic + start / (n * thermal_volts(temperature_k))
    return np.asarray(
        here / (1 + here * reals(call, "series_ohm", series_ohm, "ohm", low=0))
    )


def saturation_current(
    barrier_ev: ArrayLike, *, area_m2: float, temperature_k: float, mass: float = 1.0
) -> Array:
    """Return the current of electrons that cross a Schottky barrier by their heat.

    Args:
        barrier_ev: Height of the barrier, (...), eV, 0 or more; infinite lets none by.
        area_m2: Of the contact.
        temperature_k: Above 0.
        mass: Effective mass over that of the free electron.

    Returns:
        Is = S A* T^2 exp(-phi / k T), (...), amperes.

    Raises:
        OutOfRange: If a number lies outside what is said above.

    Source:
        Sze and Ng (2007), "Physics of Semiconductor Devices", 3rd ed., chapter 3,
        thermionic emission; A* = 4 pi q m k^2 / h^3 is Richardson's constant.

    >>> round(float(saturation_current(0.0, area_m2=1.0, temperature_k=1.0)))
    1201732
    """
    call = "saturation_current"
    barrier = reals(call, "barrier_ev", barrier_ev, "eV", low=0, finite=False)
    area = reals(call, "area_m2", area_m2, "m^2", above=0)
    heavy = reals(call, "mass", mass, "", above=0)
    thermal = thermal_volts(temperature_k)
    front = area * RICHARDSON * heavy * float(temperature_k) ** 2
    return np.asarray(front * np.exp(-barrier / thermal))


def thermal_volts(temperature_k: float) -> float:
    """Return k T / q, volts.

    >>> round(thermal_volts(300.0), 6)
    0.025852
    """
    kelvin = reals("thermal_volts", "temperature_k", temperature_k, "K", above=0)
    return VOLTS_PER_KELVIN * float(kelvin)


def omega(x: ArrayLike) -> Array:
    """Return the y that solves y + ln y = x: Lambert's W of exp(x), without overflow.

    Args:
        x: Any real number, minus infinity too, any shape.

    Returns:
        Same shape, positive, within a few units of the last place times max(1, |x|).

    Source:
        Lawrence, Corless and Jeffrey (2012), ACM Trans. Math. Softw. 38, 20, "Algorithm
        917": the function of Wright; the step of fourth order is that of Fritsch,
        Shafer and Crowley (1973), Commun. ACM 16, 123.

    >>> float(omega(1.0))
    1.0
    """
    x = np.asarray(x, np.float64)
    kept = np.maximum(x, LEAST)
    t = np.exp(np.minimum(kept, 1.5))
    small = t * (1.0 + 4.0 / 3.0 * t) / (1.0 + t * (7.0 / 3.0 + 5.0 / 6.0 * t))
    far = np.maximum(kept, 1.5)
    log = np.log(far)
    y = np.where(kept < 1.5, small, far - log + log / far)
    for _ in range(2):
        rest = kept - y - np.log(y)
        more = 1.0 + y
        twice = 2.0 * more * (more + 2.0 / 3.0 * rest)
        y = y * (1.0 + rest / more * (twice - rest) / (twice - 2.0 * rest))
    return np.asarray(np.where(x < LEAST, np.exp(np.minimum(x, LEAST)), y))


def reals(
    call: str,
    name: str,
    value: ArrayLike,
    units: str,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
    finite: bool = True,
) -> Array:
    """Return `value` as a float64 array whose every number is allowed.

    Args:
        call: The function that asks, for the message.
        name: Of its argument.
        value: Real numbers of any shape.
        units: Of the number, for the message.
        low: The least that is allowed.
        above: What every number exceeds.
        high: The most that is allowed.
        finite: Refuse infinity.

    Raises:
        OutOfRange: If a number is not allowed, or not a number.
        WrongType: If it is not real numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unequal length
        array = np.asarray(None)
    if array.dtype.kind not in "fiu":
        raise WrongType(
            f"{call} got {name} = {value!r}; it is real numbers in {units}."
        )
    array = array.astype(np.float64, copy=False)
    if array.size:
        ends = np.array([array.min(), array.max()])  # of a NaN both are NaN
        good = (ends >= low) & (ends <= high) & ((ends > above) | (above == -math.inf))
        if finite:
            good &= np.isfinite(ends)
        if not good.all():
            allowed = [
                *([f"above {above:g}"] if above > -math.inf else []),
                *([f"at least {low:g}"] if low > -math.inf else []),
                *([f"at most {high:g}"] if high < math.inf else []),
                *(["finite"] if finite else ["a number"]),
            ]
            raise OutOfRange(
                f"{call} got {name} = {ends[~good][0]:g} {units}; it is "
                f"{' and '.join(allowed)}. Correct {name}."
            )
    return array


def axis(call: str, name: str, value: ArrayLike, units: str) -> Array:
    """Return `value` as `reals` does, if it has one axis.

    Raises:
        ShapeMismatch: If it has none or several.
    """
    array = reals(call, name, value, units)
    if array.ndim != 1:
        raise ShapeMismatch(
            f"{call} got {name} of shape {array.shape}; it has one axis: pass "
            f"one number in {units} for each step."
        )
    return array
