"""What electronics does to a stream of readings: flicker, mains hum, rails and steps.

Pure functions beside `aemtwin.instruments.effects.noise`, whose `generator` gives the
chance by its address and whose `readout` gives the white part of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, WrongType

Array = NDArray[np.float64]

PADDING = 4  # how many times as long as asked the noise is made
MOST = 10_000_000  # readings in one call: about 1 GB while they are made
REAL = (int, float, np.integer, np.floating)


def pink(
    random: np.random.Generator,
    n: int,
    dt_s: float,
    sd: float,
    knee_hz: float,
    exponent: float = 1.0,
) -> Array:
    """Return flicker noise, as strong as the white noise of a channel at its knee.

    White noise of standard deviation `sd`, sampled every `dt_s`, has the one-sided
    power spectral density 2 sd² dt from 0 to 1/(2 dt). The noise here is Gaussian and
    has

        S(f) = 2 sd² dt (knee/f)^exponent

    and no white part: add `noise.readout` of the same `sd` for the whole of it. It is
    cut from a periodic record of 4 to 6 times its length, so its end is not bound to
    its start and its mean is not zero; nothing is slower than that longer record.

    Args:
        random: The source of chance, from `noise.generator`.
        n: Number of readings, 1 to 10 million; another n gives other noise.
        dt_s: Time from one to the next, seconds, above 0.
        sd: Of the white noise that it equals at the knee, unit of the channel, from 0.
        knee_hz: Where flicker and white noise are equal, Hz, from 0 (no flicker); it
            may lie beyond the band.
        exponent: 1 for flicker, 0 for white, 2 for a random walk; 0 to 3.

    Returns:
        (n,), unit of the channel.

    Raises:
        OutOfRange: If a number is not finite or lies outside what is said above.
        WrongType: If it is no number, or `n` is not whole.

    Source:
        Timmer and König (1995), Astron. Astrophys. 300, 707: independent Gaussian
        Fourier coefficients of variance S. The normalisation is derived here.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise WrongType(f"pink got n = {n!r}; it is a whole number of readings.")
    _number("pink", "n", n, 1, MOST)
    _number("pink", "dt_s", dt_s, 0.0)
    _number("pink", "sd", sd, 0.0)
    _number("pink", "knee_hz", knee_hz, 0.0)
    _number("pink", "exponent", exponent, 0.0, 3.0)
    if dt_s == 0:
        raise OutOfRange("pink got dt_s = 0 s; allowed is above 0.")
    if knee_hz == 0:
        return np.zeros(int(n))
    length = _smooth(PADDING * int(n))
    waves = length // 2  # their frequencies are k / (length dt), k = 1, ..., waves
    parts = np.zeros((waves + 1, 2))  # cosine and sine; no wave 0
    random.standard_normal(out=parts[1:])
    parts[1:-1] *= math.sqrt(0.5)
    parts[-1, 1] = 0.0  # the fastest is sampled twice a period and has no sine
    knee = knee_hz * length * dt_s  # in waves
    shape = (knee / np.arange(1, waves + 1)) ** (0.5 * exponent)
    parts[1:] *= (sd * math.sqrt(length) * shape)[:, None]
    spectrum = parts.view(np.complex128)[:, 0]
    return np.fft.irfft(spectrum, length)[: int(n)].copy()


def hum(
    times_s: NDArray[np.float64],
    amplitude: float,
    frequency_hz: float,
    phase_rad: float,
    harmonics: Sequence[float] = (),
) -> Array:
    """Return what a channel picks up from the mains.

    amplitude [sin θ + h₂ sin 2θ + h₃ sin 3θ + ...] with θ = 2π frequency t + phase: a
    wave of one shape, which another phase moves in time.

    Args:
        times_s: When each reading was taken, (k,) or any shape, seconds.
        amplitude: Of the fundamental, unit of the channel.
        frequency_hz: Of the mains, 50 or 60 Hz, above 0.
        phase_rad: Of the fundamental at time 0, radians.
        harmonics: h₂, h₃, ..., as fractions of the fundamental.

    Returns:
        Same shape as the times, unit of the channel.

    Raises:
        OutOfRange: If a number is not finite, or the frequency not above 0.
        WrongType: If it is no number.

    Source:
        A Fourier series.

    >>> hum(np.array([0.0, 0.005, 0.010]), 2.0, 50.0, 0.0).round(9).tolist()
    [0.0, 2.0, 0.0]
    """
    _number("hum", "amplitude", amplitude)
    _number("hum", "phase_rad", phase_rad)
    if _number("hum", "frequency_hz", frequency_hz, 0.0) == 0:
        raise OutOfRange("hum got frequency_hz = 0 Hz; allowed is above 0.")
    times = np.asarray(times_s, np.float64)
    if not np.isfinite(times).all():
        raise OutOfRange("hum got a time that is not finite; allowed are seconds.")
    turns = frequency_hz * times
    angle = 2.0 * math.pi * (turns - np.floor(turns)) + phase_rad
    wave = np.sin(angle)
    for order, part in enumerate(harmonics, start=2):
        wave += _number("hum", "a harmonic", part) * np.sin(order * angle)
    return np.asarray(amplitude * wave, np.float64)


def saturate(
    values: NDArray[Any], low: float, high: float
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Cut readings at the rails of an amplifier, and say which were beyond them.

    A reading on a rail is not flagged: it may be true. NaN stays and is not flagged. Of
    complex readings each part has the rails, and one beyond flags the reading.

    Args:
        values: Integers, floats or complex numbers, any shape.
        low: Lower rail, unit of `values`; -inf for none.
        high: Upper rail, above `low`; inf for none.

    Returns:
        A new array, same shape and dtype, and flags, same shape. Integers keep to the
        whole numbers between the rails; floats to the nearest that their type has.

    Raises:
        OutOfRange: If `low` is not below `high`, or no whole number lies between them.
        WrongType: If `values` is no array of numbers.

    >>> cut, flags = saturate(np.array([-3, 0, 7], "i2"), -1.5, 5.0)
    >>> cut.tolist(), flags.tolist()
    ([-1, 0, 5], [True, False, True])
    """
    dtype = _numbers("saturate", values, "iufc")
    _rails("saturate", low, high, math.inf)
    if dtype.kind == "c":
        real, left = saturate(values.real, low, high)
        imaginary, right = saturate(values.imag, low, high)
        cut = np.empty_like(values)
        cut.real, cut.imag = real, imaginary
        return cut, left | right
    bottom: Any = low
    top: Any = high
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        bottom = info.min if low <= info.min else math.ceil(min(low, info.max + 1))
        top = info.max if high >= info.max else math.floor(max(high, info.min - 1))
        if bottom > top:
            raise OutOfRange(
                f"saturate got low = {low:g} and high = {high:g}; no {dtype} lies "
                "between them. Move the rails, or convert the readings."
            )
    with np.errstate(over="ignore"):  # a rail beyond a small float is none
        least, most = dtype.type(bottom), dtype.type(top)
    flags = (values < least) | (values > most)
    return np.asarray(np.clip(values, least, most)), np.asarray(flags)


def quantise(values: NDArray[Any], low: float, high: float, bits: int) -> NDArray[Any]:
    """Round readings to the levels of an analogue-to-digital converter.

    The step is (high - low) / 2^bits and the levels are low, low + step, ..., high -
    step, as those of a converter with a two's complement code: the middle of the range
    is a level (mid-tread). From low - step/2 to high - step/2 the error is at most half
    a step, and for a busy signal uniform, of variance step²/12; beyond, the last level
    is given. NaN stays; complex numbers are taken part by part.

    Args:
        values: Floats or complex numbers, any shape.
        low: Lowest level, unit of `values`.
        high: One step above the highest level, above `low`.
        bits: 1 to 32.

    Returns:
        A new array, same shape and dtype.

    Raises:
        OutOfRange: If `low` is not below `high`, or there are too many or no bits.
        WrongType: If `values` is no array of floats, or `bits` is not whole.

    Source:
        Bennett (1948), Bell Syst. Tech. J. 27, 446, for the error of a busy signal.

    >>> quantise(np.array([-1.0, -0.2, 0.1, 0.3, 5.0]), -1.0, 1.0, 2).tolist()
    [-1.0, 0.0, 0.0, 0.5, 0.5]
    """
    dtype = _numbers("quantise", values, "fc")
    _rails("quantise", low, high, 1e300)
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
        raise WrongType(f"quantise got bits = {bits!r}; it is a whole number.")
    _number("quantise", "bits", bits, 1, 32)
    if dtype.kind == "c":
        both = np.empty_like(values)
        both.real = quantise(values.real, low, high, bits)
        both.imag = quantise(values.imag, low, high, bits)
        return both
    step = (high - low) / 2 ** int(bits)
    code = np.rint((np.clip(values.astype(np.float64), low, high) - low) / step)
    return np.asarray(low + step * np.clip(code, 0, 2 ** int(bits) - 1)).astype(dtype)


def _smooth(least: int) -> int:
    """Return an even length not below `least` that is fast to transform."""
    power = 1 << max(4, (least - 1).bit_length())
    return min(x for x in (power // 8 * 5, power // 4 * 3, power) if x >= least)


def _number(
    call: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> float:
    if isinstance(value, bool) or not isinstance(value, REAL):
        raise WrongType(f"{call} got {name} = {value!r}; it is a real number.")
    if not (math.isfinite(value) and low <= value <= high):
        raise OutOfRange(
            f"{call} got {name} = {value:g}; allowed is a finite number from {low:g} "
            f"to {high:g}."
        )
    return float(value)


def _numbers(call: str, values: object, kinds: str) -> np.dtype[Any]:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in kinds:
        got = getattr(values, "dtype", type(values).__name__)
        names = {"i": "integers", "f": "floats", "c": "complex numbers"}
        listed = ", ".join(name for kind, name in names.items() if kind in kinds)
        raise WrongType(f"{call} got {got}; it takes an array of {listed}.")
    dtype: np.dtype[Any] = values.dtype
    return dtype


def _rails(call: str, low: float, high: float, most: float) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, REAL):
            raise WrongType(f"{call} got {name} = {value!r}; it is a real number.")
    if not -most <= low < high <= most:  # also catches NaN
        raise OutOfRange(
            f"{call} got low = {low:g} and high = {high:g}; low is below high, "
            f"and both are within {most:g} of 0. Exchange or move them."
        )
