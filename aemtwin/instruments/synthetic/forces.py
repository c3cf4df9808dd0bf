"""Force against distance, as an AFM records it: contact, adhesion, jumps, potential.

Pure functions for specimens of force spectroscopy and Kelvin probe microscopy, many
points at once. The contact is that of Derjaguin, Muller and Toporov (DMT) for a stiff
sphere on a flat; `drive` and `curve` make what is recorded, `fit_hertz` reads modulus
and adhesion back. Currents of the same tip are in `junctions` and `tunnelling`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.checks import whole
from aemtwin.instruments.synthetic.junctions import axis, reals

Array = NDArray[np.float64]

CONTACT_M = 0.165e-9  # between surfaces in contact: Israelachvili (2011), chapter 13
LEAST = 0.1  # of the load that a curve reaches: below, `fit_hertz` does not look


class Jumps(NamedTuple):
    """Where a cantilever loses its balance, as positions of `drive`."""

    snap_in_m: Array  # (k,), on approach the tip falls onto the surface
    pull_off_m: Array  # (k,), on retract it leaves it; the same where nothing jumps


class Contact(NamedTuple):
    """What `fit_hertz` reads from force curves, not a number where there is none."""

    modulus_pa: Array  # (k,), reduced modulus E*
    adhesion_j_m2: Array  # (k,), work of adhesion w
    surface_m: Array  # (k,), position of `drive` at which the surface lies


def dmt_force(
    indentation_m: ArrayLike,
    modulus_pa: ArrayLike,
    radius_m: float,
    adhesion_j_m2: ArrayLike,
    *,
    contact_m: float = CONTACT_M,
) -> Array:
    """Return the force on a sphere over a flat surface, repulsion positive.

    In contact, 4/3 E* sqrt(R) d^(3/2) - 2 pi R w. Above the surface by a gap g, the
    van der Waals force -H R / 6 (a0 + g)^2, whose Hamaker constant H = 12 pi w a0^2
    makes it meet the force at first contact.

    Args:
        indentation_m: d, any shape; negative is a gap above the surface.
        modulus_pa: Reduced modulus E*, 1/E* = (1 - v^2)/E + the same of the tip.
        radius_m: Of the tip, R, above 0.
        adhesion_j_m2: Work of adhesion w, J/m^2, 0 or more.
        contact_m: Distance a0 of two surfaces in contact, above 0.

    Returns:
        Newtons, of the shape that the arguments broadcast to.

    Source:
        Derjaguin, Muller and Toporov (1975), J. Colloid Interface Sci. 53, 314; joined
        to the van der Waals force as in Garcia and Perez (2002), Surf. Sci. Rep. 47,
        197. w = H / 12 pi a0^2: Israelachvili, "Intermolecular and Surface Forces",
        surface and adhesion energies.

    >>> force = dmt_force([0.0, 1e-9], 1e9, 9e-9, 0.05)
    >>> [f"{f:.4g}" for f in force]  # -2 pi R w, then 4 nN more
    ['-2.827e-09', '1.173e-09']
    """
    call = "dmt_force"
    d = reals(call, "indentation_m", indentation_m, "m")
    stiff, pull, a0 = _contact(call, modulus_pa, radius_m, adhesion_j_m2, contact_m)
    into = np.maximum(d, 0.0)
    away = a0 / (a0 + np.maximum(-d, 0.0))
    return np.asarray(stiff * into * np.sqrt(into) - pull * away**2)


def drive(start_m: float, depth_m: float, points: int) -> Array:
    """Return the ramp of a force curve: approach, then retract over the same points.

    Args:
        start_m: Height above the surface at which it starts and ends, above 0.
        depth_m: How far the piezo goes on after an unbent cantilever would touch.
        points: In all, 3 or more; an even number gives the deepest point twice.

    Returns:
        (points,), metres towards the specimen; 0 is at the surface.

    >>> [round(1e9 * float(z), 9) for z in drive(4e-9, 2e-9, 5)]
    [-4.0, -1.0, 2.0, -1.0, -4.0]
    """
    start = float(reals("drive", "start_m", start_m, "m", above=0))
    depth = float(reals("drive", "depth_m", depth_m, "m", above=-start))
    count = whole("drive", "points", points, 3, 2**24)
    down = np.linspace(-start, depth, (count + 1) // 2)
    return np.concatenate([down, down[::-1][count % 2 :]])


def jumps(
    adhesion_j_m2: ArrayLike,
    radius_m: float,
    stiffness_n_m: float,
    *,
    contact_m: float = CONTACT_M,
) -> Jumps:
    """Return where the cantilever jumps: where the force's slope exceeds its own.

    Over the surface that slope is 2 F a0^2 / (a0 + g)^3 with F = 2 pi R w. A cantilever
    at least as stiff as 2 F / a0 jumps nowhere, and its two positions are one.

    Args:
        adhesion_j_m2: Work of adhesion, (k,), J/m^2, 0 or more.
        radius_m: Of the tip, above 0.
        stiffness_n_m: Spring constant of the cantilever, above 0.
        contact_m: As of `dmt_force`.

    Source:
        The condition: Cappella and Dietler (1999), Surf. Sci. Rep. 34, 1. Solved here:
        with u = a0 + g and B = F a0^2 / k the drive is a0 - u - B / u^2, highest at
        u = (2 B)^(1/3).

    >>> [float(position) for position in jumps(0.0, 1e-8, 1.0)]
    [0.0, 0.0]
    """
    _, pull, a0 = _contact("jumps", 1.0, radius_m, adhesion_j_m2, contact_m)
    k = reals("jumps", "stiffness_n_m", stiffness_n_m, "N/m", above=0)
    fold = np.cbrt(2.0 * pull * a0**2 / k)
    off = 0.0 - pull / k
    return Jumps(np.where(fold > a0, a0 - 1.5 * fold, off), off)


def curve(
    drive_m: ArrayLike,
    modulus_pa: ArrayLike,
    adhesion_j_m2: ArrayLike,
    radius_m: float,
    stiffness_n_m: float,
    *,
    contact_m: float = CONTACT_M,
) -> Array:
    """Return force curves: what the cantilever's deflection reads, in newtons.

    The tip rests where spring and surface balance, k (z - d) = F(d). Of two such rests
    it keeps to the one that it came by, from above at first. The drive is slow: there
    is no inertia and no drag.

    Args:
        drive_m: Positions of the piezo in the order it was driven, (z,), as of `drive`.
        modulus_pa: Reduced modulus of each point, (k,) or a number, above 0.
        adhesion_j_m2: Work of adhesion of each point, (k,) or a number, 0 or more.
        radius_m: Of the tip.
        stiffness_n_m: Spring constant of the cantilever.
        contact_m: As of `dmt_force`.

    Returns:
        (k, z), newtons, repulsion positive; deflection times spring constant. The last
        point before pull-off lies above -2 pi R w by less than the spring constant
        times a step of the drive.

    Raises:
        OutOfRange: If a number lies outside what is said above.
        ShapeMismatch: If an argument has more axes than said above.

    Source:
        Quasi-static balance as in Cappella and Dietler (1999), Surf. Sci. Rep. 34, 1;
        both rests solved here: over the surface the cubic u^3 - (a0 - z) u^2 + B = 0
        (see `jumps`) by its cosine, in contact the cubic in sqrt(d) by Newton's method.

    >>> z = drive(5e-9, 2e-9, 201)
    >>> force = curve(z, [1e9, 2e9], 0.05, 1e-8, 1.0)
    >>> force.shape, bool(force.min() > -2 * math.pi * 1e-8 * 0.05)
    ((2, 201), True)
    """
    call = "curve"
    z = axis(call, "drive_m", drive_m, "m")
    stiff, pull, a0 = _contact(call, modulus_pa, radius_m, adhesion_j_m2, contact_m)
    k = float(reals(call, "stiffness_n_m", stiffness_n_m, "N/m", above=0))
    stiff, pull = np.broadcast_arrays(np.atleast_1d(stiff), np.atleast_1d(pull))
    if stiff.ndim != 1:
        raise ShapeMismatch(
            f"{call} got points of shape {stiff.shape}; they are (k,): flatten a frame "
            "and reshape what comes back."
        )
    both = jumps(adhesion_j_m2, radius_m, k, contact_m=contact_m)
    snap, off = (np.broadcast_to(one, stiff.shape)[:, None] for one in both)
    force = np.empty((len(stiff), len(z)))
    rows = max(1, 2**15 // max(1, len(z)))  # a block that the cache holds
    for low in range(0, len(stiff), rows):
        part = slice(low, low + rows)
        touches = _latched(z >= snap[part], z < off[part])
        row, column = np.nonzero(touches)
        row += low
        force[part][touches] = _pressed(z[column], stiff[row], pull[row], k)
        row, column = np.nonzero(~touches)
        force[part][~touches] = _hanging(z[column], pull[row + low], k, a0)
    return force


def _contact(
    call: str,
    modulus_pa: ArrayLike,
    radius_m: float,
    adhesion_j_m2: ArrayLike,
    contact_m: float,
) -> tuple[Array, Array, float]:
    """Return 4/3 E* sqrt(R), 2 pi R w and a0."""
    radius = reals(call, "radius_m", radius_m, "m", above=0)
    modulus = reals(call, "modulus_pa", modulus_pa, "Pa", above=0)
    adhesion = reals(call, "adhesion_j_m2", adhesion_j_m2, "J/m^2", low=0)
    a0 = float(reals(call, "contact_m", contact_m, "m", above=0))
    stiff = np.asarray(4.0 / 3.0 * modulus * np.sqrt(radius))
    return stiff, np.asarray(2.0 * math.pi * radius * adhesion), a0


def _latched(on: NDArray[np.bool_], off: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a switch along the last axis: off at first, then as last switched."""
    here = np.arange(1, on.shape[-1] + 1)
    last_on = np.maximum.accumulate(np.where(on, here, 0), axis=-1)
    return np.asarray(last_on > np.maximum.accumulate(np.where(off, here, 0), axis=-1))


def _pressed(z: Array, stiff: Array, pull: Array, k: float) -> Array:
    """Return the force in contact: the root x = sqrt(d) of s x^3 + k x^2 = k z + F."""
    load = np.maximum(k * z + pull, 0.0)
    x = np.minimum(np.sqrt(load / k), np.cbrt(load / stiff))
    for _ in range(5):  # convex and from above: each step comes closer
        slope = x * (3.0 * stiff * x + 2.0 * k)
        over = x * x * (stiff * x + k) - load
        x = x - np.divide(over, slope, out=np.zeros_like(x), where=slope > 0)
    return np.asarray(stiff * x**3 - pull)


def _hanging(z: Array, pull: Array, k: float, a0: float) -> Array:
    """Return the force over the surface: of the rest that is further away."""
    reach = a0 - z
    share = 13.5 * pull * a0**2 / (k * reach**3)
    u = reach / 3 * (1.0 + 2.0 * np.cos(np.arccos(np.maximum(1.0 - share, -1.0)) / 3))
    return np.asarray(-pull * (a0 / u) ** 2)


def fit_hertz(
    drive_m: ArrayLike,
    force_n: ArrayLike,
    radius_m: float,
    stiffness_n_m: float,
) -> Contact:
    """Read modulus and adhesion from force curves: a line through F^(2/3) in contact.

    This is `dmt_force` made linear. The pull-off is the deepest point after the turn,
    below the mean of the last tenth of the retract. Up to it, (F + Fpull)^(2/3) over
    the indentation z - F/k is a line of slope (4/3 E* sqrt R)^(2/3), fitted by least
    squares: where the surface lies need not be known. Noise deepens the deepest point
    by two or three standard deviations; a coarse drive raises it by up to a step times
    the spring constant.

    Args:
        drive_m: As of `curve`, (z,); from far to deep and back.
        force_n: As of `curve`, (k, z) or (z,), newtons.
        radius_m: Of the tip.
        stiffness_n_m: Spring constant of the cantilever.

    Raises:
        OutOfRange: If a number is out of range, or the drive has no retract.
        ShapeMismatch: If the last axis of `force_n` is not that of `drive_m`.
    """
    call = "fit_hertz"
    z = axis(call, "drive_m", drive_m, "m")
    force = np.atleast_2d(reals(call, "force_n", force_n, "N"))
    radius = float(reals(call, "radius_m", radius_m, "m", above=0))
    k = float(reals(call, "stiffness_n_m", stiffness_n_m, "N/m", above=0))
    if force.ndim != 2 or force.shape[-1] != len(z):
        raise ShapeMismatch(
            f"{call} got a drive of shape {z.shape} and forces of {force.shape}; they "
            "are (z,) and (k, z)."
        )
    turn = int(z.argmax()) if len(z) else 0
    if len(z) - turn < 10:
        raise OutOfRange(
            f"{call} got {len(z) - turn} points from the deepest on; it reads the "
            "retract, of 10 points or more. Drive back as far as the start."
        )
    z, force = z[turn:], force[:, turn:]
    force = force - force[:, -max(1, len(z) // 10) :].mean(axis=1, keepdims=True)
    left = force.argmin(axis=1)
    pull = -np.take_along_axis(force, left[:, None], axis=1)
    load = np.maximum(force + pull, 0.0)
    used = np.arange(len(z)) <= left[:, None]
    used &= load > LEAST * np.max(load, axis=1, keepdims=True, where=used, initial=0.0)
    count = used.sum(axis=1)
    good = count >= 3
    some = np.maximum(count, 1)
    y = np.cbrt(load) ** 2 * used
    x = (z - force / k) * used
    x_mean, y_mean = x.sum(axis=1) / some, y.sum(axis=1) / some
    from_x = (x - x_mean[:, None]) * used
    spread = np.where(good, (from_x * from_x).sum(axis=1), 1.0)
    slope = (from_x * y).sum(axis=1) / spread
    good &= slope > 0
    slope = np.where(good, slope, np.nan)
    return Contact(
        0.75 * slope**1.5 / math.sqrt(radius),
        np.where(good, np.maximum(pull[:, 0], 0.0) / (2 * math.pi * radius), np.nan),
        x_mean - y_mean / slope,
    )


def kelvin(
    bias_v: ArrayLike,
    potential_v: ArrayLike,
    curvature: ArrayLike,
    offset: ArrayLike = 0.0,
) -> Array:
    """Return the parabola of Kelvin probe spectroscopy, highest at the potential.

    The force is offset - c (V - Vcpd)^2 with c = -(1/2) dC/dz, in N/V^2. So is the
    shift of the frequency f0 of a cantilever of stiffness k, with c = (f0 / 4k) C'', in
    Hz/V^2, for small amplitudes.

    Args:
        bias_v: Bias, (v,), volts.
        potential_v: Contact potential difference, (...), volts.
        curvature: c, (...) or a number, in the unit of the result per V^2, 0 or more.
        offset: Of all other forces, (...) or a number, in the unit of the result.

    Returns:
        (..., v), in the unit of `offset`.

    Source:
        Nonnenmacher, O'Boyle and Wickramasinghe (1991), Appl. Phys. Lett. 58, 2921, the
        force of a capacitor at constant voltage; the factors derived here, from the
        energy C V^2 / 2 and from df / f0 = -F' / 2k.

    >>> kelvin([0.0, 0.5, 1.0], 0.5, 4.0).tolist()
    [-1.0, 0.0, -1.0]
    """
    call = "kelvin"
    bias = axis(call, "bias_v", bias_v, "V")
    potential = reals(call, "potential_v", potential_v, "V")[..., None]
    bend = reals(call, "curvature", curvature, "per V^2", low=0)[..., None]
    level = reals(call, "offset", offset, "")[..., None]
    return np.asarray(0.0 + level - bend * (bias - potential) ** 2)
