"""Where the probe truly is on the specimen, against where it was sent.

Pure functions: each gives a displacement in metres, true minus commanded, for every
reading at its own time, so that a slow scan is bent. Times are seconds on the clock of
the instrument since it was opened. `aemtwin.instruments.effects.motion` adds them up;
`noise.generator` beside this module gives the chance by its address.

What cannot be used raises `OutOfRange`, `ShapeMismatch` or `WrongType`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects import electronics
from aemtwin.instruments.effects.noise import generator

Array = NDArray[np.float64]

LONGEST_S = 1e9  # 30 years: how long a walk is known
SPAN_S = 1024  # seconds of a walk that are made in one go
GROUP_S = 32  # seconds of which the fine steps are made in one go
FINE = 64  # steps a second; between them a walk is straight
REAL = (int, float, np.integer, np.floating)


def linear_drift(times_s: ArrayLike, velocity_m_s: ArrayLike) -> Array:
    """Return even drift: velocity times time.

    Args:
        times_s: Of each reading, (k,), seconds.
        velocity_m_s: Of the probe over the specimen along x and y, (2,), m/s.

    Returns:
        (k, 2), metres.

    >>> linear_drift([0.0, 8.0], [2e-11, 0.0]).tolist()
    [[0.0, 0.0], [1.6e-10, 0.0]]
    """
    times = _array("linear_drift", "times_s", times_s, "(k,)")
    velocity = _array("linear_drift", "velocity_m_s", velocity_m_s, "(2,)")
    return np.multiply.outer(times, velocity)


def creep(
    times_s: ArrayLike,
    step_times_s: ArrayLike,
    steps_m: ArrayLike,
    share: float,
    onset_s: float,
) -> Array:
    """Return how far a piezo crept on after the steps that it was told to make.

    share * step * ln(1 + (t - t_step) / onset) from t_step on, nothing before, summed
    over the steps: they superpose. Long after its onset each decade of time adds
    share * ln 10 of a step.

    Args:
        times_s: Of each reading, (k,), seconds.
        step_times_s: When each step was done, (j,), seconds, in any order.
        steps_m: The steps along x and y, (j, 2), metres.
        share: Of a step, for each factor of e in time, from 0. A piezo that creeps by
            1 to 2 % a decade has 0.0043 to 0.0087.
        onset_s: When creep begins to be logarithmic, seconds, above 0.

    Returns:
        (k, 2), metres.

    Source:
        Physik Instrumente, Piezo Tutorial, "Creep (Drift)": L(t) = L(0.1 s)
        [1 + g lg(t / 0.1 s)], g from 0.01 to 0.02; measured by Vieira (1986), IBM J.
        Res. Dev. 30, 553, and Jung and Gweon (2000), Rev. Sci. Instrum. 71, 1896. With
        1 + t / onset it is the same for late times and begins at 0, which is a choice.

    >>> creep([0.0, 9.0], [0.0], [[1e-6, 0.0]], 0.005, 1.0)[1, 0].round(12)
    np.float64(1.1513e-08)
    """
    times = _array("creep", "times_s", times_s, "(k,)")
    begins = _array("creep", "step_times_s", step_times_s, "(k,)")
    steps = _array("creep", "steps_m", steps_m, "(k, 2)")
    if len(begins) != len(steps):
        raise ShapeMismatch(
            f"creep got {len(begins)} step_times_s and {len(steps)} steps_m; each step "
            "has one time."
        )
    share = _number("creep", "share", share, 0.0)
    onset = _above("creep", "onset_s", onset_s)
    off = np.zeros((2, len(times)))
    grown, part = np.empty((2, len(times)))
    for begin, (x, y) in zip(begins.tolist(), (share * steps).tolist(), strict=True):
        np.subtract(times, begin, out=grown)
        np.maximum(grown, 0.0, out=grown)
        grown /= onset
        np.log1p(grown, out=grown)
        off[0] += np.multiply(grown, x, out=part)
        off[1] += np.multiply(grown, y, out=part)
    return off.T.copy()


def random_walk(times_s: ArrayLike, seed: int, sd_m: float) -> Array:
    """Return a walk without a direction: Brownian, from (0, 0) at time 0.

    Along x and y, independently, it is Gaussian with standard deviation sd sqrt(t). It
    is a function of seed and time alone: any times in any order give the same values to
    the bit. It is exact on a grid of 1/64 s and straight between, so over shorter times
    it is smoother than Brownian. Steps of 1024 s are drawn first, then seconds between
    them, then 64ths of those seconds that are asked for, each as a bridge between ends
    already drawn, so late times are as cheap as early ones.

    Args:
        times_s: Of each reading, (k,), seconds, from 0 to 1e9, in any order.
        seed: Of the instrument; another one is another walk.
        sd_m: Standard deviation along each axis after one second, metres, from 0.

    Returns:
        (k, 2), metres.

    Source:
        Karatzas and Shreve (1991), "Brownian Motion and Stochastic Calculus": between
        known ends the path is a (1 - t/T) + b t/T + [W(t) - t/T W(T)].

    >>> walk = random_walk([0.0, 3.0, 1e6], 1, 1e-11)
    >>> bool(np.all(walk[1:] == random_walk([3.0, 1e6], 1, 1e-11)))
    True
    """
    times = _array("random_walk", "times_s", times_s, "(k,)")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise WrongType(f"random_walk got seed = {seed!r}; it is a whole number.")
    sd = _number("random_walk", "sd_m", sd_m, 0.0)
    for time in (times.min(initial=0.0), times.max(initial=0.0)):
        _number("random_walk", "a time", time, 0.0, LONGEST_S)
    off = np.zeros((len(times), 2))
    if sd == 0 or not len(times):
        return off
    for group, here in _groups((times / GROUP_S).astype(np.intp)):
        path = _group(int(seed), group)
        late = (times[here] - group * GROUP_S) * FINE  # exact, in fine steps
        step = late.astype(np.intp)
        begin = path[step]
        off[here] = sd * (begin + (path[step + 1] - begin) * (late - step)[:, None])
    return off


def line_hysteresis(along_m: ArrayLike, length_m: float, share: float) -> Array:
    """Return how far a scanner without a sensor is off along a line, metres.

    A line begins and ends where the scanner turns, and its length is calibrated.
    Between, the scanner lags: at u from where it turned it is behind by 4 share u
    (length - u) / length. In the middle, forward and backward traces disagree by
    2 share length.

    Rayleigh's law: on a branch that begins where the field turned, a ceramic moves by
    d E + (alpha/2) E². Less the straight line between its ends, that is the parabola
    above, with share = alpha length / 8 where d + alpha length / 2 = 1; d from 0 allows
    a share up to 1/4. A Prandtl-Ishlinskii sum of plays gives the same if all widths
    weigh the same.

    Args:
        along_m: Where the probe was sent along the line, (..., n), metres from 0 to
            `length_m`, each line in the order of time: rising on the way forward,
            falling on the way back.
        length_m: From turn to turn, metres, above 0.
        share: Of the length, by which the middle is off, 0 to 0.25.

    Returns:
        (..., n), metres: below 0 on the way forward, above 0 on the way back, and 0 of
        a line that stands still.

    Source:
        Rayleigh's law of the loop: IEC 60050, 221-03-32. That it holds for domain walls
        in piezoelectric ceramics: Damjanovic and Demartin (1996), J. Phys. D: Appl.
        Phys. 29, 2057. The equality with plays is derived here.

    >>> line_hysteresis([0.0, 5e-7, 1e-6], 1e-6, 0.03).tolist()
    [0.0, -3e-08, 0.0]
    """
    along = _array("line_hysteresis", "along_m", along_m, "(..., n)")
    length = _above("line_hysteresis", "length_m", length_m)
    share = _number("line_hysteresis", "share", share, 0.0, 0.25)
    if not along.size:
        return np.zeros(along.shape)
    slack = 1e-9 * length  # of rounding
    if along.min() < -slack or along.max() > length + slack:
        raise OutOfRange(
            f"line_hysteresis got along_m from {along.min():g} to {along.max():g} m; "
            f"allowed is 0 to {length:g} m. Measure it from where the line begins."
        )
    way = np.sign(along[..., -1:] - along[..., :1])
    if along.shape[-1] > 1 and (np.diff(along, axis=-1) * way < -slack).any():
        raise OutOfRange(
            "line_hysteresis got a line that goes to and fro; allowed is one sweep. "
            "Give forward and backward lines apart."
        )
    u = np.clip(along, 0.0, length)
    return np.asarray(way * (4.0 * share / length) * u * (u - length) + 0.0)


def flyback_lag(times_in_line_s: ArrayLike, step_m: ArrayLike, tau_s: float) -> Array:
    """Return how far a first-order scanner is still behind after a step.

    -step exp(-t / tau): what is left of tau dx/dt = target - x when the target made a
    step at t = 0.

    Args:
        times_in_line_s: Since the step, (k,), seconds, from 0.
        step_m: Along x and y, (2,) of all readings or (k, 2) of each, metres.
        tau_s: Time constant of the scanner, seconds, above 0.

    Returns:
        (k, 2), metres.

    >>> flyback_lag([0.0], [-1e-6, 1e-8], 3e-4).tolist()
    [[1e-06, -1e-08]]
    """
    times = _array("flyback_lag", "times_in_line_s", times_in_line_s, "(k,)")
    one = np.ndim(step_m) == 1
    step = _array("flyback_lag", "step_m", step_m, "(2,)" if one else "(k, 2)")
    if not one and len(step) != len(times):
        raise ShapeMismatch(
            f"flyback_lag got {len(times)} times and {len(step)} steps; give as many "
            "steps, or one for all."
        )
    tau = _above("flyback_lag", "tau_s", tau_s)
    _number("flyback_lag", "a time", times.min(initial=0.0), 0.0)
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(-step * np.exp(-times / tau)[:, None])


def hum(
    times_s: ArrayLike,
    amplitude_m: ArrayLike,
    frequency_hz: float,
    phase_rad: float = 0.0,
) -> Array:
    """Return how far the mains shake the beam or the tip.

    amplitude sin(2π frequency t + phase), along both axes in phase: a vibration along
    one line.

    Args:
        times_s: Of each reading, (k,), seconds.
        amplitude_m: Along x and y, (2,), metres.
        frequency_hz, phase_rad: Of the mains, above 0; its phase at time 0.

    Returns:
        (k, 2), metres.

    >>> hum([0.0, 0.005], [5e-11, 0.0], 50.0).round(15).tolist()
    [[0.0, 0.0], [5e-11, 0.0]]
    """
    times = _array("hum", "times_s", times_s, "(k,)")
    amplitude = _array("hum", "amplitude_m", amplitude_m, "(2,)")
    wave = electronics.hum(times, 1.0, frequency_hz, phase_rad)
    return np.multiply.outer(wave, amplitude)


def _groups(labels: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each label with where it is."""
    order = np.argsort(labels, kind="stable")
    for here in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        yield int(labels[here[0]]), here


@lru_cache(maxsize=64)
def _group(seed: int, group: int) -> Array:
    """Return a walk of sd 1 in a group of seconds, ends included, (steps + 1, 2)."""
    span, first = divmod(group * GROUP_S, SPAN_S)
    ends = _span(seed, span)[first : first + GROUP_S + 1]
    random = generator(seed, group, "walk", "64ths")
    steps = random.standard_normal((GROUP_S, FINE, 2)) / math.sqrt(FINE)
    path = _bridges(ends, steps)
    path = np.vstack([path[:, :-1].reshape(-1, 2), ends[-1:]])
    path.flags.writeable = False
    return path


@lru_cache(maxsize=64)
def _span(seed: int, span: int) -> Array:
    """Return a walk of sd 1 at the seconds of a span, ends included, (1025, 2)."""
    random = generator(seed, 0, "walk", "spans")  # more of them begin with the same
    totals = random.standard_normal((span + 1, 2)) * math.sqrt(SPAN_S)
    ends = np.vstack([np.zeros((1, 2)), np.cumsum(totals, axis=0)])[-2:]
    random = generator(seed, span, "walk", "seconds")
    path: Array = _bridges(ends, random.standard_normal((1, SPAN_S, 2)))[0]
    path.flags.writeable = False
    return path


def _bridges(ends: Array, steps: Array) -> Array:
    """Return walks of the steps (c, m, 2), bent to the ends (c + 1, 2): (c, m + 1, 2).

    What is left of a walk once the straight line to its end is taken off does not
    depend on that end, so any other may be put there.
    """
    begin, end = ends[:-1, None], ends[1:, None]
    walk = np.cumsum(steps, axis=1)
    share = (np.arange(1, steps.shape[1] + 1) / steps.shape[1])[:, None]
    path = begin + (walk + share * (end - begin - walk[:, -1:]))
    path[:, -1:] = end  # to the bit
    return np.concatenate([begin, path], axis=1)


def _array(call: str, name: str, values: ArrayLike, shape: str) -> Array:
    array = np.asarray(values)
    if shape == "(k, 2)" and array.shape == (0,):
        array = array.reshape(0, 2)
    if array.dtype.kind not in "iuf":
        raise WrongType(
            f"{call} got {name} of dtype {array.dtype}; it is made of real numbers."
        )
    fits = {
        "(k,)": array.ndim == 1,
        "(2,)": array.shape == (2,),
        "(k, 2)": array.ndim == 2 and array.shape[1:] == (2,),
        "(..., n)": array.ndim >= 1,
    }
    if not fits[shape]:
        raise ShapeMismatch(f"{call} got {name} of shape {array.shape}; it is {shape}.")
    if not np.isfinite(array).all():
        raise OutOfRange(
            f"{call} got {name} with a number that is not finite; allowed are finite "
            "numbers in SI units."
        )
    return array.astype(np.float64)


def _number(
    call: str, name: str, value: object, low: float, high: float = math.inf
) -> float:
    if isinstance(value, bool) or not isinstance(value, REAL):
        raise WrongType(f"{call} got {name} = {value!r}; it is a real number.")
    if not (math.isfinite(value) and low <= value <= high):
        raise OutOfRange(
            f"{call} got {name} = {value:g}; allowed is a finite number from {low:g} "
            f"to {high:g}. Give it in SI units."
        )
    return float(value)


def _above(call: str, name: str, value: object) -> float:
    if not (number := _number(call, name, value, 0.0)):
        raise OutOfRange(f"{call} got {name} = 0; allowed is above 0.")
    return number
