"""Windows of images around candidates: what a surrogate sees of the structure there.

NumPy alone, and no instrument: images on one raster in, rows of standardised pixels
out. `aemtwin.inputs` takes the images from the first frame of a run and puts these
columns behind the position; `aemtwin.surrogates.dkl` learns from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType

FAR = 10.0  # quartile distances from the median at which a pixel is held
ROUNDING = 1e-6  # of a pixel, which a position may be off without meaning it

Floats = NDArray[np.float64]


def cut(
    images: Sequence[ArrayLike],
    x: ArrayLike,
    y: ArrayLike,
    positions: ArrayLike,
    *,
    size: int = 8,
    scales: Sequence[int] = (1,),
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the pixels of square windows centred at positions, standardised.

    A window has size × size pixels, scale image pixels apart. Each is the mean over
    scale × scale image pixels, a box centred there, read bilinearly between pixels.
    Beyond the border an image goes on mirrored at the centres of its outermost pixels
    (`np.pad` calls it "reflect"), as often as a window needs.

    Every image is standardised first, by the mean and the standard deviation of its
    finite pixels. Pixels farther than `FAR` quartile distances from the median are held
    there before, so that one spike does not make the rest look flat (not where half of
    the image is one value); pixels that are not finite count as the mean. A constant
    image gives zeros.

    Args:
        images: c images, (rows, columns) each, real, any unit.
        x: Centres of the columns, (columns,), metres, ascending.
        y: Centres of the rows, (rows,), metres, ascending.
        positions: (x, y) of m candidates, (m, 2), metres; at most one width or height
            of the image outside it.
        size: Pixels of a window along each side.
        scales: Image pixels that one pixel of the window averages, one or more.

    Returns:
        Pixels (m, c · s · size · size) for s scales, in order of image, scale, row and
        column; and which candidates have the windows of every scale inside the image,
        (m,): nothing mirrored was read for them.

    Raises:
        ShapeMismatch: If images, axes or positions do not fit together.
        OutOfRange: If an axis does not ascend, a position is not finite or too far
            outside, or size or a scale is less than 1.
        WrongType: If an image is not of real numbers.

    >>> ramp, axis = np.tile(np.arange(5.0), (5, 1)), np.arange(5.0)
    >>> pixels, whole = cut([ramp], axis, axis, [[2.0, 2.0], [0.0, 2.0]], size=3)
    >>> (pixels * np.std(ramp) + 2.0).round(9).reshape(2, 3, 3)[:, 0].tolist()
    [[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]]
    >>> whole.tolist()
    [True, False]
    """
    centres = _axis("x", x), _axis("y", y)
    shape = centres[1].size, centres[0].size
    channels = [_image(k, image, shape) for k, image in enumerate(images)]
    _require_window(size, scales)
    at = _pixels(positions, centres)  # (m, 2)
    m, reach = len(at), (size * np.array(scales, int) - 1) / 2  # (s,) image pixels
    last = np.array(shape[::-1]) - 1
    inside = (at >= reach.max() - ROUNDING) & (at <= last - reach.max() + ROUNDING)
    out = np.empty((m, len(channels), len(scales), size, size))
    for k, scale in enumerate(scales):
        steps = scale * (np.arange(size) - (size - 1) / 2)
        # of the first pixel in each box; (m, size) along x and along y
        columns, rows = (
            (at[:, axis, None] + steps) - (scale - 1) / 2 for axis in (0, 1)
        )
        for c, image in enumerate(channels):
            out[:, c, k] = _read(image, rows, columns, scale)
    return out.reshape(m, -1), inside.all(axis=1)


def _read(image: Floats, rows: Floats, columns: Floats, scale: int) -> Floats:
    """Return box means whose first pixels are at (rows, columns), (m, size, size)."""
    boxes, corner = image, []
    for axis, at in enumerate((rows, columns)):
        low = int(np.floor(at.min(initial=0.0)))
        high = int(np.floor(at.max(initial=0.0))) + 1  # and one to interpolate with
        index = _mirrored(np.arange(low, high + scale), image.shape[axis])
        pixels, count = np.take(boxes, index, axis), high - low + 1
        shifts = [np.take(pixels, np.arange(k, k + count), axis) for k in range(scale)]
        boxes = np.sum(shifts, axis=0) / scale
        corner.append(at - low)
    i, j = (at.astype(np.intp) for at in corner)
    a = (corner[0] - i)[:, :, None]  # (m, size, 1), share of the next row
    b = (corner[1] - j)[:, None, :]
    flat, width = boxes.ravel(), boxes.shape[1]
    first = i[:, :, None] * width + j[:, None, :]  # (m, size, size)
    above = (1 - b) * flat[first] + b * flat[first + 1]
    first += width
    below = (1 - b) * flat[first] + b * flat[first + 1]
    read: Floats = (1 - a) * above + a * below
    return read


def _mirrored(index: NDArray[np.int_], n: int) -> NDArray[np.int_]:
    """Return indices into n pixels, mirrored at the outermost ones."""
    if n == 1:
        return np.zeros_like(index)
    return np.abs((index + n - 1) % (2 * n - 2) - (n - 1))


def _image(number: int, image: ArrayLike, shape: tuple[int, int]) -> Floats:
    """Return an image with mean 0 and sd 1, 0 where it is not finite."""
    raw = np.asarray(image)
    if raw.dtype.kind not in "buif":
        raise WrongType(
            f"cut got image {number} of type {raw.dtype}; it takes real numbers. "
            "Give the modulus of a complex image, np.abs(image)."
        )
    if raw.shape != shape:
        raise ShapeMismatch(
            f"cut got image {number} of shape {raw.shape} for {shape[0]} centres along "
            f"y and {shape[1]} along x; an image is (rows, columns), y first. Give all "
            "images on one raster."
        )
    v = raw.astype(np.float64)
    known = np.isfinite(v)
    if not known.any():
        return np.zeros(shape)
    low, middle, high = np.quantile(v[known], (0.25, 0.5, 0.75))
    span = FAR * (high - low)
    if span > 0:
        v = np.clip(v, middle - span, middle + span)
    v = np.where(known, v - middle, 0.0)  # a far origin would cost digits
    top = np.max(np.abs(v))
    if top == 0:
        return v
    v = v / top  # no square under- or overflows
    mean = np.mean(v[known])
    sd = np.sqrt(np.mean((v[known] - mean) ** 2))
    return np.where(known, (v - mean) / sd, 0.0)


def _axis(name: str, centres: ArrayLike) -> Floats:
    at = np.asarray(centres, np.float64)
    if at.ndim != 1 or at.size == 0:
        raise ShapeMismatch(
            f"cut got {name} of shape {at.shape}; it takes the centres of the pixels "
            f"along {name}, one or more. Give frame.axis({name!r}).values."
        )
    if not (np.isfinite(at).all() and (np.diff(at) > 0).all()):
        raise OutOfRange(
            f"cut got {name} that does not ascend from {at[0]:g} to {at[-1]:g} m; "
            "centres are finite and ascend. Turn the image over with its axis."
        )
    return at


def _pixels(positions: ArrayLike, centres: tuple[Floats, Floats]) -> Floats:
    """Return positions in pixels from the first centre, (m, 2); columns, then rows."""
    points = np.asarray(positions, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeMismatch(
            f"cut got positions of shape {points.shape}; it takes (m, 2), metres. "
            "Give one (x, y) a row."
        )
    out = np.zeros_like(points)
    for k, (name, axis) in enumerate(zip("xy", centres, strict=True)):
        at, width = points[:, k], axis[-1] - axis[0]
        far = ~np.isfinite(at)
        if axis.size > 1:  # one pixel has no width: all is mirrored into it
            far |= np.abs(at - 0.5 * (axis[0] + axis[-1])) > 1.5 * width
        if far.any():
            row = int(np.argmax(far))
            raise OutOfRange(
                f"cut got position {row} with {name} = {at[row]:g} m; the image "
                f"reaches from {axis[0]:g} to {axis[-1]:g} m, and its mirror images "
                "once as far. Keep candidates inside, or scan a larger image."
            )
        if axis.size > 1:
            inner = np.interp(at, axis, np.arange(axis.size))
            before = (at - axis[0]) / (axis[1] - axis[0])
            after = axis.size - 1 + (at - axis[-1]) / (axis[-1] - axis[-2])
            out[:, k] = np.where(at < axis[0], before, inner)
            out[:, k] = np.where(at > axis[-1], after, out[:, k])
    return out


def _require_window(size: int, scales: Sequence[int]) -> None:
    for name, given in (("size", [size]), ("scales", list(scales))):
        whole = all(isinstance(s, (int, np.integer)) for s in given)
        if not given or not whole or min(given) < 1:
            raise OutOfRange(
                f"cut got {name} = {size if name == 'size' else scales!r}; it takes "
                "whole pixels, 1 or more, and one scale or more. Leave it out for "
                "windows of 8 × 8 image pixels."
            )
