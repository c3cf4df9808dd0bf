"""Piezoresponse against bias: the staircase that is applied, and what switches.

Pure functions beside `pfm_loops`, whose loop shape they generalise to any staircase:
`switch` carries the polarization from step to step, `loop9` is the shape that loops are
fitted with, `kai_switched` and `merz_time` say how fast switching is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.checks import whole
from aemtwin.instruments.synthetic.junctions import axis, reals

Array = NDArray[np.float64]

SHARPNESS = 1000.0  # per volt, how fast `loop9` changes from one width to the other
FAR = 6.0  # from there on erf is 1 to the last place
BLOCK = 1 << 15  # numbers that `erf` works on at a time: they stay in cache
NODE = 1.0 / 32.0  # between the values of erf that `erf` starts from
NODES = np.array([math.erf(NODE * i) for i in range(int(FAR / NODE) + 1)])


def staircase(
    amplitude_v: float,
    offset_v: float,
    steps_per_cycle: int,
    cycles: int = 1,
    *,
    fraction: float = 1.0,
    phase: float = 0.0,
) -> Array:
    """Return the bias at every step of band-excitation polarization spectroscopy, (v,).

    A triangle sampled in steps: from the offset up, down and back, cycle after cycle.
    The last step of a whole cycle lies one step before its first, so that the next
    cycle goes on where it ended. Of a cycle that is not whole, the first part is done
    and done again.

    Args:
        amplitude_v: Of the triangle; negative goes down first.
        offset_v: Its middle.
        steps_per_cycle: Of a whole cycle; a multiple of 4, so that both extremes are
            steps.
        cycles: 1 or more.
        fraction: Of each cycle that is done, above 0 to 1, a whole number of steps: 1/2
            has only the positive half.
        phase: Where in the cycle it starts, in cycles: 1/4 starts at the top.

    Raises:
        OutOfRange: If a number is not as above.

    Source:
        The arguments are those of AEcroscopy's BEPS (`amplitude_V`, `offset_V`,
        `step_per_cycle`, `num_cycles`, `cycle_fraction`, `cycle_phase_shift`); it knows
        quarters alone.

    >>> staircase(8.0, 0.0, 8).tolist()
    [0.0, 4.0, 8.0, 4.0, 0.0, -4.0, -8.0, -4.0]
    >>> staircase(8.0, 1.0, 8, 2, fraction=0.5).tolist()
    [1.0, 5.0, 9.0, 5.0, 1.0, 5.0, 9.0, 5.0]
    """
    call = "staircase"
    steps = whole(call, "steps_per_cycle", steps_per_cycle, 4, 1 << 24)
    times = whole(call, "cycles", cycles, 1, 1 << 24)
    numbers = (amplitude_v, offset_v, fraction, phase)
    if steps % 4 or not all(map(math.isfinite, numbers)) or not 0 < fraction <= 1:
        raise OutOfRange(
            f"staircase got {steps} steps a cycle, amplitude_v = {amplitude_v!r}, "
            f"offset_v = {offset_v!r}, fraction = {fraction!r} and phase = {phase!r}; "
            "steps are a multiple of 4, so that both extremes are reached, the "
            "fraction is above 0 to 1, and all are finite."
        )
    done = round(steps * fraction)
    if done == 0 or abs(done - steps * fraction) > 1e-9 * steps:
        raise OutOfRange(
            f"staircase got fraction = {fraction!r} of {steps} steps; it is a whole "
            "number of steps. Take more steps, or another fraction."
        )
    at = np.tile(np.arange(done), times) / steps + phase
    return np.asarray(offset_v + amplitude_v * (np.abs((4 * at + 3) % 4 - 2) - 1))


def switch(
    bias_v: ArrayLike,
    state: ArrayLike,
    positive_v: ArrayLike,
    negative_v: ArrayLike,
    width_v: ArrayLike,
) -> tuple[Array, Array]:
    """Carry the polarization from step to step: the states at each step, and the last.

    It is kept between two branches, erf((V - V+) / w) from below and erf((V - V-) / w)
    from above. So a rising bias pushes it up along the first, a falling one down along
    the second, and in between it stays: what was before the sweep matters, minor loops
    close, and a larger swing wipes out the memory of a smaller one. Nothing depends on
    how long a step takes.

    Args:
        bias_v: In order, (v,).
        state: Before the first step, (...), -1 to 1. What the first bias does not allow
            is moved to the nearest branch.
        positive_v: Coercive bias of the rising branch, V+, (...).
        negative_v: Of the falling branch, V-, (...), at most V+.
        width_v: w, over which a branch switches, (...), above 0.

    Returns:
        (..., v) and (...): the second is what the next sweep starts from.

    Raises:
        OutOfRange: If a number is not as above.
        ShapeMismatch: If `bias_v` has not one axis or no step.

    Source:
        The branches: two error functions, after Jesse, Lee and Kalinin (2006), Rev.
        Sci. Instrum. 77, 073702. A state kept between two rising curves is the
        generalized play of Visintin (1994), "Differential Models of Hysteresis",
        Springer; that polarization is one is chosen here.

    >>> half, rest = switch([0.0, 1.0, 0.0], -1.0, 1.0, -1.0, 0.1)
    >>> half.round(6).tolist(), float(rest)
    ([-1.0, 0.0, 0.0], 0.0)
    """
    call = "switch"
    bias = axis(call, "bias_v", bias_v, "V")
    if bias.size == 0:
        raise ShapeMismatch("switch got no bias; it takes one step or more.")
    now = reals(call, "state", state, "no unit", low=-1, high=1)
    up_at = reals(call, "positive_v", positive_v, "V")
    down_at = reals(call, "negative_v", negative_v, "V")
    width = reals(call, "width_v", width_v, "V", above=0)
    if (up_at < down_at).any():
        raise OutOfRange(
            "switch got a positive_v below its negative_v; the rising branch switches "
            "at the higher bias. Exchange them."
        )
    shape = np.broadcast_shapes(now.shape, up_at.shape, down_at.shape, width.shape)
    out = np.empty((bias.size, *shape))
    for i, volts in enumerate(bias):
        now = np.maximum(now, erf((volts - up_at) / width))
        now = np.minimum(now, erf((volts - down_at) / width), out=out[i, ...])
    return np.moveaxis(out, 0, -1), now.copy()


def switched(
    bias_v: ArrayLike,
    positive_v: ArrayLike,
    negative_v: ArrayLike,
    width_v: ArrayLike,
    start: ArrayLike = -1.0,
) -> Array:
    """Return the states of `switch` alone, (..., v), from `start` on."""
    return switch(bias_v, start, positive_v, negative_v, width_v)[0]


def piezo_loop(
    bias_v: ArrayLike,
    polarization: ArrayLike,
    half_opening: ArrayLike,
    offset: ArrayLike = 0.0,
    slope: ArrayLike = 0.0,
) -> Array:
    """Return the response at every step: offset + half opening · P + slope · V.

    Args:
        bias_v: (v,).
        polarization: (..., v), from `switch`.
        half_opening: Saturated response about its middle, (...).
        offset: Middle of the loop, (...), same unit.
        slope: Electrostatic part, (...), per volt.

    >>> piezo_loop([1.0], [[0.5]], [10.0], [1.0], [2.0]).tolist()
    [[8.0]]
    """

    def at(value: ArrayLike) -> Array:
        return np.asarray(value, np.float64)[..., None]

    bias = np.asarray(bias_v, np.float64)
    return np.asarray(
        at(offset) + at(half_opening) * np.asarray(polarization) + at(slope) * bias
    )


def loop9(bias_v: ArrayLike, coefficients: ArrayLike) -> Array:
    """Return the loop of nine parameters that loops are fitted with.

    On each branch R = a0 + a1 y + a4 V, where y = (g erf((V - c) / g) + b) / (b + b')
    goes from 0 to 1 about c, over a width g that changes there from b to b': a2, b0 and
    b1 are c, b and b' of the first branch, a3, b2 and b3 of the second. With four equal
    widths w it is `pfm_loops.loop_shape` with a1 = 2 half openings and a0 = offset -
    half opening.

    Args:
        bias_v: One cycle from one extreme to the other and back, (v,): the first half
            of the samples is the first branch. Then a2 is the coercive bias of the
            falling branch where the cycle starts at the top: `staircase` with a phase
            of 1/4; a cycle that starts elsewhere is turned with `np.roll` first.
        coefficients: a0 to a4, then b0 to b3, (..., 9), the b above 0.

    Returns:
        (..., v), in the unit of a0 and a1.

    Raises:
        OutOfRange: If a b is not above 0.
        ShapeMismatch: If `coefficients` does not end in 9.

    Source:
        Jesse, Lee and Kalinin (2006), Rev. Sci. Instrum. 77, 073702, in the form of
        `loop_fit_function` of BGlib, whose order of coefficients and whose sharpness of
        the change of width, 1000 per volt, these are.

    >>> loop9([9.0, -9.0], [1.0, 4.0, -2.0, 2.0, 0.0, 1.0, 1.0, 1.0, 1.0]).tolist()
    [5.0, 1.0]
    """
    bias = axis("loop9", "bias_v", bias_v, "V")
    all_nine = reals("loop9", "coefficients", coefficients, "V and the response's unit")
    if all_nine.ndim == 0 or all_nine.shape[-1] != 9:
        raise ShapeMismatch(
            f"loop9 got coefficients of shape {all_nine.shape}; they are (..., 9): a0 "
            "to a4, then b0 to b3."
        )
    a0, a1, a2, a3, a4, *b = (all_nine[..., i, None] for i in range(9))
    if not all((width > 0).all() for width in b):
        raise OutOfRange("loop9 got a width b0 to b3 that is not above 0.")
    half = bias.size // 2
    out = np.empty((*all_nine.shape[:-1], bias.size))
    for part, at, low, high in (
        (slice(half), a2, b[0], b[1]),
        (slice(half, None), a3, b[2], b[3]),
    ):
        from_middle = bias[part] - at
        width = low + (high - low) / 2 * (erf(from_middle * SHARPNESS) + 1)
        share = (width * erf(from_middle / width) + low) / (low + high)
        out[..., part] = a0 + a1 * share + a4 * bias[part]
    return out


def kai_switched(time_s: ArrayLike, tau_s: ArrayLike, order: ArrayLike) -> Array:
    """Return the share of a film that has switched: 1 - exp(-(t / tau)^n).

    Nuclei far apart grow until they meet. Polarization goes from -1 to 2 share - 1.

    Args:
        time_s: Since the field was switched on, 0 or more, (...).
        tau_s: Above 0, (...); infinite switches nothing.
        order: n, above 0, (...): up to the dimension of growth where all nuclei are
            there from the start, one more where they come at an even rate.

    Returns:
        (...), 0 to 1.

    Source:
        Ishibashi and Takagi (1971), J. Phys. Soc. Jpn. 31, 506, after Kolmogorov and
        Avrami.

    >>> float(kai_switched(0.0, 1.0, 2.0)), round(float(kai_switched(3.0, 3.0, 2.0)), 6)
    (0.0, 0.632121)
    """
    call = "kai_switched"
    time = reals(call, "time_s", time_s, "s", low=0)
    tau = reals(call, "tau_s", tau_s, "s", above=0, finite=False)
    n = reals(call, "order", order, "no unit", above=0)
    with np.errstate(over="ignore"):
        return np.asarray(-np.expm1(-((time / tau) ** n)))


def merz_time(field: ArrayLike, tau0_s: ArrayLike, activation: ArrayLike) -> Array:
    """Return how long switching takes in a field: tau0 · exp(activation / |field|).

    Merz's law of weak fields. In strong ones he found a time that falls as a power of
    the field.

    Args:
        field: V/m, or the bias in volts, of either sign, (...).
        tau0_s: In an infinite field, above 0, (...).
        activation: In the unit of `field`, 0 or more, (...).

    Returns:
        (...), seconds; infinite without field.

    Source:
        Merz (1954), Phys. Rev. 95, 690, on barium titanate.

    >>> round(float(merz_time(-5.0, 1e-6, 10.0)) * 1e6, 6) == round(math.exp(2.0), 6)
    True
    """
    strength = np.abs(reals("merz_time", "field", field, "V/m or V"))
    tau0 = reals("merz_time", "tau0_s", tau0_s, "s", above=0)
    barrier = reals("merz_time", "activation", activation, "V/m or V", low=0)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        exponent = np.where(strength > 0, barrier / strength, np.inf)
        return np.asarray(tau0 * np.exp(exponent))


def erf(values: ArrayLike) -> Array:
    """Return the error function of an array, to 4e-16, as `math.erf` of each number.

    Its Taylor series about the nearest multiple of 1/32: the derivatives of erf are
    Hermite polynomials times a Gaussian, each from the two before it.

    >>> float(erf(0.0)), float(erf(-np.inf)), round(float(erf(0.5)), 9)
    (0.0, -1.0, 0.520499878)
    """
    x = np.asarray(values, np.float64)
    if x.size <= BLOCK:
        return _erf(x)
    flat = x.ravel()
    parts = [_erf(flat[i : i + BLOCK]) for i in range(0, flat.size, BLOCK)]
    return np.concatenate(parts).reshape(x.shape)


def _erf(x: Array) -> Array:
    size = np.minimum(np.abs(x), FAR)
    nearest = np.rint(np.nan_to_num(size) / NODE).astype(np.intp)
    a = NODE * nearest
    h = size - a
    before, term = np.zeros_like(a), h * np.exp(-a * a) * (2.0 / math.sqrt(math.pi))
    total = NODES[nearest]
    for n in range(1, 7):  # h^(n+1) erf^(n+1)(a) / (n+1)! from the two before it
        total = total + term
        after = -2.0 * h / (n + 1) * (a * term + (n - 1) / n * h * before)
        before, term = term, after
    return np.asarray(np.copysign(total + term, x))
