"""Random fields that samples are made of: rough surfaces, domains, read anywhere.

A field is periodic on a square raster and has zero mean and unit variance; a specimen
is a window of it. All are pure functions of a `numpy.random.Generator`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]


def generator(seed: int) -> np.random.Generator:
    """Return the counter-based generator that all synthetic samples use."""
    return np.random.Generator(np.random.Philox(seed))


def random_field(
    rng: np.random.Generator, size: int, spectrum: NDArray[np.float64]
) -> Field:
    """Return a Gaussian random field of a given power spectrum.

    Args:
        rng: The generator; `size**2` normal numbers are drawn.
        size: Pixels along each side.
        spectrum: Power at the wave numbers of `wave_numbers`, any unit.

    Returns:
        (size, size), zero mean, unit variance, periodic.
    """
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    field = np.fft.irfft2(white * np.sqrt(spectrum), s=(size, size))
    field = field - field.mean()
    return np.asarray(field / field.std(), np.float64)


def wave_numbers(size: int, pixel: float) -> NDArray[np.float64]:
    """Return |k| at every coefficient of `rfft2`, rad/m, (size, size // 2 + 1)."""
    ky = 2 * np.pi * np.fft.fftfreq(size, pixel)[:, None]
    kx = 2 * np.pi * np.fft.rfftfreq(size, pixel)[None, :]
    return np.asarray(np.hypot(kx, ky), np.float64)


def rough_spectrum(
    k: NDArray[np.float64], length: float, hurst: float
) -> NDArray[np.float64]:
    """Return the power spectrum of a self-affine surface.

    Args:
        k: Wave numbers, rad/m.
        length: Lateral correlation length, metres: the size of a grain.
        hurst: Roughness exponent, 0 (jagged) to 1 (smooth).

    Source:
        Palasantzas (1993), Phys. Rev. B 48, 14472, "Roughness spectrum and surface
        width of self-affine fractal surfaces via the K-correlation model".

    >>> float(rough_spectrum(np.array([0.0]), 1e-7, 0.8)[0])
    1.0
    """
    return np.asarray((1.0 + (k * length) ** 2) ** -(1.0 + hurst))


def smooth_spectrum(k: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Return the spectrum of white noise smoothed by a Gaussian of that sd, metres."""
    return np.asarray(np.exp(-((k * length) ** 2)))


def blur(field: Field, pixel: float, sd: float) -> Field:
    """Smooth a periodic field with a Gaussian of standard deviation `sd`, metres.

    >>> bool(np.allclose(blur(np.ones((4, 4)), 1.0, 2.0), 1.0))
    True
    """
    k = wave_numbers(field.shape[0], pixel)
    kernel = np.exp(-0.5 * (k * sd) ** 2)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(field) * kernel, s=field.shape))


def wall_distance(field: Field, pixel: float, cap: float) -> Field:
    """Return about how far the nearest zero of a smooth field is, with its sign.

    To first order this is the field over its slope, which is right near the zeros,
    where it matters; far from them it is held at `cap`.

    Args:
        field: (size, size), periodic, smooth on the scale of a pixel.
        pixel: Metres.
        cap: The largest distance told, metres.
    """
    down = (np.roll(field, -1, 0) - np.roll(field, 1, 0)) / (2 * pixel)
    right = (np.roll(field, -1, 1) - np.roll(field, 1, 1)) / (2 * pixel)
    slope = np.maximum(np.hypot(down, right), 1e-12)
    return np.asarray(np.clip(field / slope, -cap, cap))


def read_at(
    field: Field, pixel: float, x: NDArray[np.float64], y: NDArray[np.float64]
) -> Field:
    """Read a periodic field bilinearly on a raster.

    Args:
        field: (size, size), its first pixel at (0, 0).
        pixel: Metres.
        x: Columns wanted, (columns,), metres.
        y: Rows wanted, (rows,), metres.

    Returns:
        (rows, columns).

    >>> read_at(np.array([[0.0, 1.0], [2.0, 3.0]]), 1.0, np.array([0.5]), np.zeros(1))
    array([[0.5]])
    """
    size = field.shape[0]
    i, down = np.divmod(y / pixel, 1.0)
    j, right = np.divmod(x / pixel, 1.0)
    row, column = i.astype(np.int64) % size, j.astype(np.int64) % size
    lower, right_of = (row + 1) % size, (column + 1) % size
    top = field[row][:, column] * (1 - right) + field[row][:, right_of] * right
    low = field[lower][:, column] * (1 - right) + field[lower][:, right_of] * right
    return np.asarray(top * (1 - down[:, None]) + low * down[:, None])
