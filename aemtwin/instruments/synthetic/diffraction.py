"""Patterns behind a thin specimen: a convergent beam, a phase object, a camera.

Pure functions of the modes of a STEM that record a pattern at every spot. The specimen
is a map of projected potential; the wave of the probe and its aberrations are those of
`aemtwin.instruments.effects.optics`. Angles are rad, positions (x, y) metres.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects import optics

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

SMALLEST, LARGEST = 32, 256  # pixels along each side of a window of the map
BLOCK = 2**20  # points of all windows that are transformed at a time
SQUARE = 1e-3  # how much the sides of a pixel of the map may differ


def camera_axes(pixels: int, half_angle_rad: float) -> Array:
    """Return the angles at the middles of a camera's pixels along one side, rad.

    >>> (1e3 * camera_axes(4, 2e-3)).tolist()
    [-1.5, -0.5, 0.5, 1.5]
    """
    step = 2.0 * half_angle_rad / pixels
    return np.asarray((np.arange(pixels) - (pixels - 1) / 2.0) * step)


def transmission(
    potential_v_m: ArrayLike, energy_ev: float, absorption: ArrayLike = 0.0
) -> Complex:
    """Return what a thin specimen makes of a wave, exp(i sigma V - absorption / 2).

    Args:
        potential_v_m: Projected potential, V m, any shape.
        energy_ev: Of the electrons.
        absorption: Thickness over the mean free path of what leaves the camera's view
            (to larger angles, or with a loss); broadcasts.

    Source:
        Kirkland (2020), "Advanced Computing in Electron Microscopy", 3rd ed., section
        5.1, the weak and strong phase object.

    >>> np.abs(transmission(1e-7, 200e3, math.log(4.0))).round(12).item()
    0.5
    """
    phase = optics.interaction(energy_ev) * np.asarray(potential_v_m, np.float64)
    return np.asarray(np.exp(1j * phase - 0.5 * np.asarray(absorption, np.float64)))


def window(
    pixel_m: float,
    energy_ev: float,
    convergence_rad: float,
    aberrations: Mapping[str, float],
    camera_rad: float,
) -> int:
    """Return how many pixels of a map hold the probe and resolve the camera.

    Args:
        pixel_m: Of the map.
        energy_ev: Of the electrons.
        convergence_rad: Half angle of the aperture.
        aberrations: Metres by name.
        camera_rad: Pixel of the camera.

    Raises:
        OutOfRange: If the map is too coarse for the aperture, or `LARGEST` pixels do
            not suffice: the probe is too wide for this map.

    >>> window(1e-9, 200e3, 5e-4, {}, 6.25e-5)
    80
    """
    wave = optics.wavelength_m(energy_ev)
    most = wave / (2.0 * pixel_m)
    if convergence_rad > most:
        raise OutOfRange(
            f"The aperture of {convergence_rad:.3g} rad needs a map finer than its "
            f"pixels of {pixel_m:.3g} m; they hold up to {most:.3g} rad. Lower the "
            "convergence."
        )
    reach = 2.0 * wave / convergence_rad
    for name, value in aberrations.items():
        reach += abs(value) * convergence_rad ** int(name[1])
    once = wave / camera_rad / pixel_m  # an angle for each pixel of the camera
    times = max(2, math.ceil(max(2.0 * reach / pixel_m, SMALLEST) / once))
    n = 2 * round(times * once / 2.0)  # a whole number of angles, or there is a moiré
    if n > LARGEST:
        raise OutOfRange(
            f"The probe or the camera needs {n} pixels of the map of "
            f"{pixel_m:.3g} m; {LARGEST} are allowed. Lower the defocus, the other "
            "aberrations or the convergence, or take fewer pixels or a wider camera."
        )
    return n


def binned(n: int, step_rad: float, angles: ArrayLike) -> Array:
    """Return how the camera's pixels share what arrives at each angle, (p, n).

    Between the middles of two pixels both share by distance, so that the camera keeps
    the centre of mass, as a camera with a point spread of a pixel does.

    Args:
        n: Angles of a discrete Fourier transform, in its order.
        step_rad: Between them.
        angles: Middles of the pixels, evenly spaced, (p,).

    >>> binned(4, 1.0, np.array([-0.5, 0.5]))[:, 0].tolist()
    [0.5, 0.5]
    """
    middles = np.asarray(angles, np.float64)
    pitch = float(middles[1] - middles[0])
    along = np.fft.fftfreq(n, 1.0 / (n * step_rad))
    away = np.abs(along[None, :] - middles[:, None]) / pitch
    return np.asarray(np.maximum(1.0 - away, 0.0))


def patterns(
    potential_v_m: ArrayLike,
    pixel_m: tuple[float, float],
    points: ArrayLike,
    angles: ArrayLike,
    *,
    energy_ev: float,
    convergence_rad: float,
    aberrations: Mapping[str, float] | None = None,
    absorption: ArrayLike | None = None,
) -> Array:
    """Return the pattern that a camera sees with the probe at each point.

    |F{psi(r - r0) exp(i sigma V - absorption / 2)}|² on the camera, as shares of the
    electrons. The probe stands between pixels of the map exactly where it should, by a
    ramp in its aperture. Beyond the map, the value at its edge holds.

    Args:
        potential_v_m: Projected potential, (rows, columns), V m.
        pixel_m: Of the map, (dx, dy), equal to a thousandth.
        points: (x, y), (k, 2), metres from the middle of the map's first pixel.
        angles: Middles of the camera's pixels along each side, (p,), rad.
        energy_ev: Of the electrons.
        convergence_rad: Half angle of the aperture.
        aberrations: Metres by name, as `optics.ABERRATIONS` has them.
        absorption: As `transmission` takes it, the shape of the map; None for none.

    Returns:
        (k, p, p), theta_y before theta_x; what a pattern lacks to 1 passed beside the
        camera or was absorbed.

    Raises:
        ShapeMismatch: If maps and points do not have these shapes.
        OutOfRange: As `window`.

    Source:
        The phase object as in `transmission`; Rodenburg, McCallum and Nellist (1993),
        Ultramicroscopy 48, 304, a pattern at every place of the probe.
    """
    volts, at = np.asarray(potential_v_m, np.float64), np.asarray(points, np.float64)
    middles, known = np.asarray(angles, np.float64), dict(aberrations or {})
    _require(volts, absorption, pixel_m, at, middles)
    pixel = 0.5 * (pixel_m[0] + pixel_m[1])
    pitch = float(middles[1] - middles[0])
    n = window(pixel, energy_ev, convergence_rad, known, pitch)
    behind = transmission(volts, energy_ev, 0.0 if absorption is None else absorption)
    psi = optics.probe(n, pixel, energy_ev, convergence_rad, known)
    pupil = np.fft.fft2(np.fft.ifftshift(psi))
    share = binned(n, optics.wavelength_m(energy_ev) / (n * pixel), middles)
    share = share / n  # of the power of a transform
    nearest = np.rint(at[:, ::-1] / pixel).astype(np.int64)  # (row, column)
    rest = at[:, ::-1] / pixel - nearest
    turns = -2j * math.pi * np.fft.fftfreq(n)
    around = np.fft.ifftshift(np.arange(n) - n // 2)
    out = np.empty((len(at), len(middles), len(middles)))
    size = max(BLOCK // n**2, 1)
    for low in range(0, len(at), size):
        part = slice(low, low + size)
        row = np.clip(nearest[part, 0, None] + around, 0, volts.shape[0] - 1)
        column = np.clip(nearest[part, 1, None] + around, 0, volts.shape[1] - 1)
        wave = behind[row[:, :, None], column[:, None, :]]
        down, right = (np.exp(turns * rest[part, i, None]) for i in (0, 1))
        wave *= np.fft.ifft2(pupil * down[:, :, None] * right[:, None, :])
        power = np.abs(np.fft.fft2(wave)) ** 2
        out[part] = share @ power @ share.T
    return out


def _require(
    volts: Array,
    absorption: ArrayLike | None,
    pixel_m: tuple[float, float],
    at: Array,
    middles: Array,
) -> None:
    shapes = [np.shape(absorption)] if absorption is not None else []
    if volts.ndim != 2 or any(shape != volts.shape for shape in shapes):
        raise ShapeMismatch(
            f"patterns got maps of shapes {[volts.shape, *shapes]}; they are "
            "(rows, columns), all alike."
        )
    if at.ndim != 2 or at.shape[1] != 2 or middles.ndim != 1 or len(middles) < 2:
        raise ShapeMismatch(
            f"patterns got points of shape {at.shape} and angles of shape "
            f"{middles.shape}; they are (k, 2) and (p,), p at least 2."
        )
    dx, dy = pixel_m
    if not (dx > 0 and dy > 0 and abs(dx - dy) <= SQUARE * max(dx, dy)):
        raise OutOfRange(
            f"patterns got pixels of {dx:g} m by {dy:g} m; a map of potential has "
            "square pixels. Give it on another grid."
        )


def centre_of_mass(patterns: ArrayLike, angles: ArrayLike) -> Array:
    """Return the centres of mass of patterns as (theta_x, theta_y), (..., 2), rad.

    Of a phase object it is (lambda sigma / 2 pi) times the gradient of the potential,
    averaged over the probe: electrons turn to where the potential is higher.

    Args:
        patterns: Counts or shares, (..., p, p), theta_y before theta_x.
        angles: Of the camera's pixels along each side, (p,), rad.

    Returns:
        Not a number where nothing was counted.

    Source:
        Lazić, Bosch and Lazar (2016), Ultramicroscopy 160, 265.

    >>> centre_of_mass(np.array([[0.0, 0.0], [0.0, 3.0]]), np.array([-1.0, 1.0]))
    array([1., 1.])
    """
    seen, middles = np.asarray(patterns, np.float64), np.asarray(angles, np.float64)
    if seen.ndim < 2 or seen.shape[-2:] != (len(middles), len(middles)):
        raise ShapeMismatch(
            f"centre_of_mass got patterns of shape {seen.shape} on {len(middles)} "
            "angles; they end in two axes as long as the angles."
        )
    whole = seen.sum(axis=(-2, -1))
    safe = np.where(whole > 0, whole, np.nan)
    across = (seen.sum(axis=-2) @ middles) / safe
    up = (seen.sum(axis=-1) @ middles) / safe
    return np.stack([across, up], axis=-1)


def annular(
    patterns: ArrayLike, angles: ArrayLike, inner_rad: float, outer_rad: float
) -> Array:
    """Return what a ring of the camera counts, (...,): a virtual detector.

    Args:
        patterns: (..., p, p).
        angles: Of the camera's pixels along each side, (p,), rad.
        inner_rad: Where the ring begins; 0 for a disk (bright field).
        outer_rad: Where it ends, not included.

    >>> annular(np.ones((2, 2)), np.array([-1.0, 1.0]), 0.0, 2.0).item()
    4.0
    """
    middles = np.asarray(angles, np.float64)
    away = np.hypot(middles[:, None], middles[None, :])
    ring = (away >= inner_rad) & (away < outer_rad)
    return np.asarray(np.where(ring, patterns, 0.0).sum(axis=(-2, -1)))
