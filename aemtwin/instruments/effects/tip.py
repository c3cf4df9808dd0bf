"""What a blunt tip makes of a surface: greyscale morphology in metres.

The image I of a surface S is its dilation by the tip reflected through its apex, P: I =
S ⊕ P. Eroding the image by P gives back as much of the surface as the tip could touch.
Tips here are parabolas, z = r²/2R, unless a kernel is given. A surface is a set of
points at the centres of its pixels; beyond its edges there is none, and where it is NaN
there is none either, so that an edge or a hole never raises its neighbours.

Pure functions; heights, radii and pixels are metres. Channels that are no heights are
not dilated: they are read where the tip touches, `contact`. What cannot be used raises
`OutOfRange` (a length not above 0, an infinite height, a kernel with NaN, +inf or no
tip), `ShapeMismatch` or `WrongType`. Where no source is named, it is derived here.

Source:
    Villarrubia (1997), J. Res. Natl. Inst. Stand. Technol. 102, 425: images as
    dilations by the reflected tip, surfaces from them by erosion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Pair = Sequence[float] | NDArray[np.float64]

FRAME = "(rows, columns)"
REAL = (int, float, np.integer, np.floating)


def dilate(surface_m: ArrayLike, radius_m: float, pixel_m: Pair) -> Array:
    """Return the image that a parabolic tip makes of a surface.

    I(x) = max over y of S(y) - |x - y|²/2R, exactly, over the pixels of the surface.

    Args:
        surface_m: Heights, (rows, columns), metres; NaN where unknown.
        radius_m: Of curvature of the tip at its apex, R, metres, above 0.
        pixel_m: (dx, dy), from column to column and from row to row, metres.

    Returns:
        (rows, columns), metres, nowhere below the surface; NaN stays NaN.

    Raises:
        OutOfRange, ShapeMismatch, WrongType: As the module says.

    Source:
        Villarrubia (1997), as above. Parabolas separate into rows and columns: van den
        Boomgaard et al. (1996), "Quadratic structuring functions in mathematical
        morphology", ISMM '96.

    >>> spike = np.array([[0.0, 0.0, 6e-9, 0.0, 0.0]])
    >>> np.round(dilate(spike, 2e-9, (2e-9, 2e-9)) * 1e9, 9).tolist()
    [[2.0, 5.0, 6.0, 5.0, 2.0]]
    """
    return _image("dilate", surface_m, radius_m, pixel_m)[0]


def erode(image_m: ArrayLike, radius_m: float, pixel_m: Pair) -> Array:
    """Return the highest surface of which a parabolic tip makes at most this image.

    S(y) = min over x of I(x) + |x - y|²/2R. Of an image that the same tip made it is
    the reconstructed surface: the true one wherever the tip touched, above it
    elsewhere. Nowhere above the image; arguments and errors are those of `dilate`.

    Source:
        Villarrubia (1997), as above: reconstruction by erosion.
    """
    image = _array("erode", "heights", image_m, FRAME)
    return -_image("erode", -image, radius_m, pixel_m)[0]


def closing(surface_m: ArrayLike, radius_m: float, pixel_m: Pair) -> Array:
    """Return what a parabolic tip can reach of a surface: dilated, then eroded.

    The best reconstruction from an image: nowhere below the surface, and equal to it
    where the tip touches. Idempotent. Arguments and errors are those of `dilate`.
    """
    return erode(dilate(surface_m, radius_m, pixel_m), radius_m, pixel_m)


def opening(image_m: ArrayLike, radius_m: float, pixel_m: Pair) -> Array:
    """Return the part of an image that a parabolic tip can have made: eroded, dilated.

    Nowhere above the image, and equal to it if this tip made it, so what lies above is
    noise or a sharper tip. Opening twice is opening once. Arguments and errors are
    those of `dilate`.
    """
    return dilate(erode(image_m, radius_m, pixel_m), radius_m, pixel_m)


def dilate_with(surface_m: ArrayLike, kernel_m: ArrayLike) -> Array:
    """Return the image that a tip of any shape makes of a surface.

    I(r, c) = max over (i, j) of S(r - i, c - j) + P(i, j), with i and j from the middle
    of the kernel. P is the tip reflected through its apex, P(i, j) = -T(-i, -j), where
    T is the tip's height above its apex: its apex is highest.

    Args:
        surface_m: Heights, (rows, columns), metres; NaN where unknown.
        kernel_m: P on the pixels of the surface, (odd, odd), metres; -inf where there
            is no tip.

    Returns:
        (rows, columns), metres; NaN stays NaN, and is also where nothing touches.

    Source:
        Villarrubia (1997), as above.

    >>> dilate_with([[0.0, 3.0, 0.0]], [[-np.inf, 0.0, -1.0]]).tolist()
    [[0.0, 3.0, 2.0]]
    """
    surface = _array("dilate_with", "heights", surface_m, FRAME)
    kernel = _array("dilate_with", "kernel_m", kernel_m, "(odd, odd)")
    if np.isnan(kernel).any() or not math.isfinite(kernel.max()):
        raise OutOfRange(
            "dilate_with got a kernel with NaN, with +inf or without any tip; allowed "
            "are finite heights, and -inf where there is no tip."
        )
    points = np.where(np.isnan(surface), -np.inf, surface)
    image, scratch = np.full(points.shape, -np.inf), np.empty(points.shape)
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    least = kernel[up, left] - _depth(points)  # what lies lower never touches first
    for i, j in np.argwhere((kernel >= least) & (kernel > -np.inf)).tolist():
        rows = _overlap(points.shape[0], up - i)
        columns = _overlap(points.shape[1], left - j)
        here, there = (rows[0], columns[0]), (rows[1], columns[1])
        np.add(points[there], kernel[i, j], out=scratch[here])
        np.maximum(image[here], scratch[here], out=image[here])
    image[np.isneginf(image) | np.isnan(surface)] = np.nan
    return image


def double(
    surface_m: ArrayLike, radius_m: float, pixel_m: Pair, offset_m: Pair, lower_m: float
) -> Array:
    """Return the image that a tip with two apices makes: every summit has a ghost.

    Both are parabolas of the same radius. The second stands at `offset_m` from the
    first, which is what positions refer to, and ends by `lower_m` above it, so ghosts
    appear at -offset from what casts them and by that much lower. Offsets within a
    pixel are exact: the parabola is moved, and nothing is interpolated. A dilation by
    the higher of two kernels is the higher of two dilations.

    Args:
        surface_m, radius_m, pixel_m: As for `dilate`.
        offset_m: (x, y) of the second apex from the first, metres; x along columns.
        lower_m: By how much the second apex falls short of the first, metres, from 0.

    Returns:
        (rows, columns), metres, nowhere below `dilate`; NaN stays NaN.
    """
    return _image("double", surface_m, radius_m, pixel_m, offset_m, lower_m)[0]


def contact(
    surface_m: ArrayLike,
    radius_m: float,
    pixel_m: Pair,
    *,
    offset_m: Pair | None = None,
    lower_m: float = 0.0,
) -> tuple[Indices, Indices]:
    """Return where the tip touches: for each pixel of the image, one of the surface.

    It is the argument of the maximum in `dilate`, or `double`. A channel that is no
    height (phase, amplitude, current) shows what is there: `phase[contact(surface,
    radius, pixel)]`. Of pixels that touch at once, one of the nearest column counts,
    and of these the nearest. Where the surface is NaN, the pixel itself is given.

    Args:
        surface_m, radius_m, pixel_m: As for `dilate`.
        offset_m, lower_m: Of a second apex, as for `double`; None for a single tip.

    Returns:
        Rows and columns of the surface, each (rows, columns), int.

    >>> contact([[0.0, 0.0, 6e-9, 0.0]], 2e-9, (2e-9, 2e-9))[1].tolist()
    [[2, 2, 2, 2]]
    """
    image, rows, columns = _image(
        "contact", surface_m, radius_m, pixel_m, offset_m, lower_m, track=True
    )
    missing = np.nonzero(np.isnan(image))
    rows[missing], columns[missing] = missing
    return rows, columns


def worn(
    radius_m: float, distance_m: float, rate_m2: float, *, half_angle_rad: float = 0.35
) -> float:
    """Return the radius of a tip, metres, after it slid a distance under a load.

    The tip is a cone that ends in a ball which touches it. A ball of radius R leaves
    V(R) = (π/3) R³ (1 - s)²/s of the cone's volume empty, s the sine of its half angle.
    What is worn away adds to that, and the end stays a ball:

        R³ = R0³ + 3 s rate distance / (π (1 - s)²)

    Args:
        radius_m: Before, R0, metres, 0 or more.
        distance_m: Slid, metres, 0 or more.
        rate_m2: Volume worn per distance, m³/m, 0 or more: Archard's K F / H, with the
            load F, the hardness H of the tip, and K from 1e-3 to 1e-1 for silicon,
            1e-5 to 1e-4 for silicon nitride (Chung and Kim, below).
        half_angle_rad: Of the cone, above 0 and below 1.5; 0.35 (20°) is a choice.

    Source:
        Archard (1953), J. Appl. Phys. 24, 981, for the volume; the geometry is derived
        here. Chung and Kim (2003), Tribol. Lett. 15, 135, measured K. It is a first
        guess: Gotsmann and Lantz (2008), Phys. Rev. Lett. 101, 125501, found that
        silicon on a polymer did not follow macroscopic laws.

    >>> round(worn(10e-9, 1.0, 1e-24) * 1e9, 1)
    12.1
    """
    radius = _number("worn", "radius_m", radius_m)
    volume = _number("worn", "rate_m2", rate_m2)
    volume *= _number("worn", "distance_m", distance_m)
    angle = _number("worn", "half_angle_rad", half_angle_rad, above=True, top=1.5)
    sine = math.sin(angle)
    grown = 3.0 * sine * volume / (math.pi * (1.0 - sine) ** 2)
    return float(np.cbrt(radius**3 + grown))


def _image(
    call: str,
    surface_m: ArrayLike,
    radius_m: float,
    pixel_m: Pair,
    offset_m: Pair | None = None,
    lower_m: float = 0.0,
    *,
    track: bool = False,
) -> tuple[Array, Indices, Indices]:
    """Check, dilate by one apex or two, and say from where if that is asked."""
    surface = _array(call, "heights", surface_m, FRAME)
    radius = _number(call, "radius_m", radius_m, above=True)
    pixel = _array(call, "pixel_m", pixel_m, "(2,)")
    for length in pixel:
        _number(call, "pixel_m", length, above=True)
    points = np.where(np.isnan(surface), -np.inf, surface)
    depth = _depth(points)
    image, rows, columns = _touch(points, radius, pixel, depth, np.zeros(2), track)
    if offset_m is not None:
        offset = _array(call, "offset_m", offset_m, "(2,)")
        for length in np.abs(offset):
            _number(call, "offset_m", length)
        lower = _number(call, "lower_m", lower_m)
        if lower <= depth:  # else it never touches first
            ghost, *where = _touch(points, radius, pixel, depth - lower, offset, track)
            second = ghost - lower > image
            image[second] = ghost[second] - lower
            if track:
                rows[second], columns[second] = where[0][second], where[1][second]
    image[np.isnan(surface)] = np.nan
    return image, rows, columns


def _touch(
    points: Array, radius: float, pixel: Array, depth: float, offset: Array, track: bool
) -> tuple[Array, Indices, Indices]:
    """Dilate along rows, then columns, by the parabola at `offset`.

    No pixel from which the tip stands off by more than `depth` need be tried: even the
    highest point there would touch below the lowest one under the apex.
    """
    reach = math.sqrt(2.0 * radius * depth) * (1.0 + 1e-9)
    steps = []  # distances from the apex, and the pixels that far, nearest first
    axes = zip(points.shape[::-1], pixel.tolist(), offset.tolist(), strict=True)
    for length, p, o in axes:
        first = math.ceil(min(max((o - reach) / p, 1 - length), length))
        last = math.floor(max(min((o + reach) / p, length - 1), -length))
        steps.append(sorted((abs(k * p - o), k) for k in range(first, last + 1)))
    half, rows = _slide(points, steps[1], radius, track)
    full, columns = _slide(half.T, steps[0], radius, track)
    image, columns = np.ascontiguousarray(full.T), np.ascontiguousarray(columns.T)
    return image, np.take_along_axis(rows, columns, axis=1) if track else rows, columns


def _slide(
    points: Array, steps: list[tuple[float, int]], radius: float, track: bool
) -> tuple[Array, Indices]:
    """Return the highest of points minus parabola along rows, and which row it is."""
    points = np.ascontiguousarray(points)
    image, scratch = np.full(points.shape, -np.inf), np.empty(points.shape)
    found = np.zeros(points.shape if track else (0, 0), np.intp)
    index = np.arange(points.shape[0])[:, None]
    for distance, k in steps:
        here, there = _overlap(points.shape[0], k)
        np.subtract(points[there], distance**2 / (2.0 * radius), out=scratch[here])
        if track:
            better = scratch[here] > image[here]
            np.copyto(found[here], index[there], where=better)
        np.maximum(image[here], scratch[here], out=image[here])
    return image, found


def _overlap(length: int, step: int) -> tuple[slice, slice]:
    """Return the pixels that have a neighbour at `step`, and those neighbours."""
    start, stop = max(0, -step), max(0, length - max(0, step))
    return slice(start, stop), slice(start + step, max(start, stop) + step)


def _depth(points: Array) -> float:
    """Return how far the highest point lies above the lowest; 0 where there is none."""
    known = points[np.isfinite(points)]
    return float(known.max() - known.min()) if known.size else 0.0


def _array(call: str, name: str, values: ArrayLike, shape: str) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise WrongType(
            f"{call} got {name} of dtype {array.dtype}; it is made of real numbers. "
            "Read channels that are no heights with `contact`."
        )
    fits = array.shape == (2,) if shape == "(2,)" else array.ndim == 2 and array.size
    if shape == "(odd, odd)":
        fits = fits and all(length % 2 for length in array.shape)
    if not fits:
        raise ShapeMismatch(
            f"{call} got {name} of shape {array.shape}; it is {shape}, not empty."
        )
    if shape == FRAME and np.isinf(array).any():
        raise OutOfRange(
            f"{call} got an infinite height; allowed are finite metres, and NaN where "
            "the height is unknown. Replace it by NaN."
        )
    return array.astype(np.float64)


def _number(
    call: str, name: str, value: object, *, above: bool = False, top: float = math.inf
) -> float:
    if isinstance(value, bool) or not isinstance(value, REAL):
        raise WrongType(f"{call} got {name} = {value!r}; it is a real number.")
    if not 0 <= value < top or (above and value == 0):
        raise OutOfRange(
            f"{call} got {name} = {value:g}; allowed is {'above' if above else 'from'} "
            f"0 to below {top:g}. Give it in SI units."
        )
    return float(value)
