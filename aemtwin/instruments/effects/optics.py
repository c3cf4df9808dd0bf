"""The probe of a STEM: from aberrations and source size to where the electrons land.

Pure functions. Aberrations are metres in the notation of Krivanek: C10 is defocus,
C12a and C12b twofold astigmatism, C30 the spherical aberration. Angles are rad and
small: wavelength times spatial frequency. `aemtwin.instruments.synthetic.diffraction`
has what comes of it behind a specimen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, unknown

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
Named = Mapping[str, float]  # metres by the name of the aberration
Shape = int | tuple[int, int]  # (rows, columns), or both
Pixel = float | tuple[float, float]  # (dx, dy) in metres, or both
Raster = tuple[int, int, float, float]  # rows, columns, dx, dy

HC_EV_M = 6.62607015e-34 * 299_792_458.0 / 1.602176634e-19  # exact in the SI of 2019
REST_EV = 510_998.95069  # of the electron, CODATA 2022
ABERRATIONS = (
    *("C10", "C12a", "C12b"),
    *("C21a", "C21b", "C23a", "C23b"),
    *("C30", "C32a", "C32b", "C34a", "C34b"),
    *("C41a", "C41b", "C43a", "C43b", "C45a", "C45b"),
    *("C50", "C52a", "C52b", "C54a", "C54b", "C56a", "C56b"),
)
FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))  # of a Gaussian of standard deviation 1
LARGEST = 1024  # pixels of a raster on which a probe is computed


class ProbeSize(NamedTuple):
    """How wide a probe is."""

    rms_m: float  # root mean square distance from its middle; grows with the raster
    fwhm_m: float  # diameter of a disc as large as where it is above half its maximum
    d50_m: float  # diameter of the circle about its middle with half the electrons


def wavelength_m(energy_ev: float) -> float:
    """Return the wavelength of electrons, metres.

    h c / √(E (E + 2 m c²)), relativistic.

    >>> round(wavelength_m(200e3) * 1e12, 4)
    2.5079
    """
    energy = _positive("wavelength_m", "energy_ev", energy_ev, "eV")
    return HC_EV_M / math.sqrt(energy * (energy + 2.0 * REST_EV))


def interaction(energy_ev: float) -> float:
    """Return the phase that a projected potential gives, sigma, rad/(V m).

    (2 π / λ E) (m c² + E) / (2 m c² + E), per volt of the accelerating potential.

    Source:
        Kirkland (2010), "Advanced Computing in Electron Microscopy", 2nd ed.,
        equation 5.6.

    >>> round(interaction(200e3) / 1e7, 4)
    0.7288
    """
    ratio = (REST_EV + energy_ev) / (2.0 * REST_EV + energy_ev)
    return 2.0 * math.pi * ratio / (wavelength_m(energy_ev) * energy_ev)


def aberration_function(
    theta_x: ArrayLike, theta_y: ArrayLike, aberrations: Named, wavelength_m: float
) -> Array:
    """Return the phase that aberrations give a partial wave, chi, rad.

    chi = (2 π / λ) Σ θ^(n+1) / (n+1) (C_nm,a cos m φ + C_nm,b sin m φ), with φ from
    the x axis to the y axis; a wave is multiplied with exp(-i chi).

    Args:
        theta_x: Angles, rad, any shape.
        theta_y: Same shape.
        aberrations: Metres by name; those left out are 0.
        wavelength_m: Of the electrons.

    Source:
        Krivanek, Dellby and Lupini (1999), Ultramicroscopy 78, 1: the notation.
    """
    w = np.asarray(theta_x) + 1j * np.asarray(theta_y)
    square, total = w.real**2 + w.imag**2, np.zeros(w.shape)
    for (n, m), c in _terms(aberrations).items():  # θ^m cos m φ is the real part of w^m
        total = total + (c * w**m).real * square ** ((n + 1 - m) // 2) / (n + 1)
    return np.asarray(2.0 * math.pi / wavelength_m * total)


def angles(shape: Shape, pixel_m: Pixel, wavelength_m: float) -> tuple[Array, Array]:
    """Return theta_x and theta_y, (rows, columns), rad, of a raster's fft2, 0 first."""
    rows, columns, dx, dy = _raster("angles", shape, pixel_m)
    x, y = np.fft.fftfreq(columns, dx), np.fft.fftfreq(rows, dy)
    theta_y, theta_x = np.meshgrid(y * wavelength_m, x * wavelength_m, indexing="ij")
    return theta_x, theta_y


def probe(
    shape: Shape,
    pixel_m: Pixel,
    energy_ev: float,
    convergence_rad: float,
    aberrations: Named,
) -> Complex:
    """Return the wave of the probe, (rows, columns), with |psi|² of sum 1.

    Its middle is at [rows // 2, columns // 2]; the amplitude falls evenly from 1 to 0
    across the one pixel of angle about the aperture's edge. A raster narrower than the
    probe folds it: `raster` gives one that holds it.

    Args:
        shape: Pixels, (rows, columns), or one number for both.
        pixel_m: Of the raster, (dx, dy), or one number for both.
        energy_ev: Of the electrons.
        convergence_rad: Half angle of the aperture.
        aberrations: Metres by name.

    Raises:
        OutOfRange: If the pixel is too coarse for the aperture.
    """
    rows, columns, dx, dy = _raster("probe", shape, pixel_m)
    wave, finest = _waves("probe", energy_ev, convergence_rad)
    if max(dx, dy) > finest:
        raise OutOfRange(
            f"probe got pixels of {dx:.3g} and {dy:.3g} m; an aperture of "
            f"{convergence_rad:.3g} rad needs {finest:.3g} m or less. Take finer ones."
        )
    return _psi((rows, columns, dx, dy), wave, convergence_rad, aberrations)


def raster(
    energy_ev: float,
    convergence_rad: float,
    aberrations: Named,
    source_fwhm_m: float = 0.0,
) -> tuple[int, float]:
    """Return pixels and pixel (metres) of a square raster that holds the probe.

    The pixel is half of the coarsest that holds the aperture; or coarser, where the
    probe is so wide that it would not fit in `LARGEST` pixels.
    """
    _, finest = _waves("raster", energy_ev, convergence_rad)
    reach = 8.0 * finest + 3.0 * source_fwhm_m
    for (n, _), c in _terms(aberrations).items():
        reach += 1.3 * abs(c) * convergence_rad**n
    n = 2 ** math.ceil(math.log2(max(4.0 * reach / finest, 64.0)))
    if n > LARGEST:
        return LARGEST, 2.0 * reach / LARGEST
    return n, 0.5 * finest


def point_spread(
    shape: Shape,
    pixel_m: Pixel,
    energy_ev: float,
    convergence_rad: float,
    aberrations: Named,
    source_fwhm_m: float,
) -> Array:
    """Return where the electrons land, (rows, columns), not negative, of sum 1.

    |`probe`|², blurred with the source's Gaussian image of this full width at half
    maximum. A pixel too coarse for the aperture is no error here: then the wavelength
    is lengthened until it fits, which moves no ray and blurs by less than a pixel or,
    about a wide probe, by its fringes. The other arguments are those of `probe`.
    """
    rows, columns, dx, dy = _raster("point_spread", shape, pixel_m)
    wave, finest = _waves("point_spread", energy_ev, convergence_rad)
    if not 0 <= source_fwhm_m < math.inf:
        raise OutOfRange(f"point_spread got {source_fwhm_m!r} m of source; 0 or more.")
    coarse, fold = max(dx, dy) / finest, 1
    if coarse > 1:
        wave *= 2.0 * coarse
    elif coarse > 0.5 and source_fwhm_m > 0:
        fold = 2  # the intensity has twice the frequencies of the wave
    size, pixel = (fold * rows, fold * columns), (dx / fold, dy / fold)
    psi = _psi((*size, *pixel), wave, convergence_rad, aberrations)
    landed = psi.real**2 + psi.imag**2
    if source_fwhm_m > 0:
        scale = 2.0 * math.pi * source_fwhm_m / FWHM
        in_x = np.exp(-0.5 * (scale * np.fft.rfftfreq(size[1], pixel[0])) ** 2)
        in_y = np.exp(-0.5 * (scale * np.fft.fftfreq(size[0], pixel[1])) ** 2)
        spectrum = np.fft.rfft2(landed) * in_y[:, None] * in_x
        landed = np.maximum(np.fft.irfft2(spectrum, s=size), 0.0)
    landed = landed[(rows % 2) * (fold - 1) :: fold, (columns % 2) * (fold - 1) :: fold]
    return np.asarray(landed / landed.sum())


def binned(spread: ArrayLike, fine_m: float, pixel_m: tuple[float, float]) -> Array:
    """Return a spread on other pixels (dx, dy), (odd, odd), of sum 1.

    Its middle was at [rows // 2, columns // 2], its pixel `fine_m`. What lands between
    two pixels is shared by its distance from them, so that a spread far smaller than a
    pixel becomes a single one. Borders below 1e-9 of the maximum are cut off.
    """
    out = np.asarray(spread, np.float64)
    for axis, pixel in ((0, pixel_m[1]), (1, pixel_m[0])):
        n = out.shape[axis]
        place = (np.arange(n) - n // 2) * fine_m / pixel
        width = max(1.0, fine_m / pixel)  # finer pixels: no gaps between the coarse
        half = math.ceil(np.abs(place).max() + width)
        away = np.abs(np.arange(-half, half + 1)[:, None] - place)
        weights = np.maximum(1.0 - away / width, 0.0)
        weights /= weights.sum(axis=0)
        out = weights @ out if axis == 0 else out @ weights.T
    for axis in (0, 1):
        middle, most = out.shape[axis] // 2, out.max(axis=1 - axis)
        half = int(np.abs(np.flatnonzero(most > 1e-9 * most.max()) - middle).max())
        out = out.take(range(middle - half, middle + half + 1), axis)
    return np.asarray(out / out.sum())


def blur(image: ArrayLike, spread: ArrayLike) -> Array:
    """Return an image convolved with a kernel, same shape; the borders are mirrored.

    Args:
        image: (rows, columns). What is not a number is left out where it has less than
            a thousandth of the kernel's weight, and makes the rest not a number.
        spread: (r, c), of sum 1, its middle at [r // 2, c // 2]; of any size.

    >>> blur(np.ones((3, 4)), np.full((3, 3), 1 / 9)).round(12).tolist()[0]
    [1.0, 1.0, 1.0, 1.0]
    """
    values, kernel = np.array(image, np.float64), np.asarray(spread, np.float64)
    for got in (values.shape, kernel.shape):
        if len(got) != 2 or 0 in got:
            raise ShapeMismatch(f"blur got shape {got}; it takes two axes, not empty.")
    missing = np.isnan(values)
    if missing.any():
        known = blur(~missing, kernel)
        seen = blur(np.where(missing, 0.0, values), kernel)
        inside = known > 1.0 - 1e-3
        return np.divide(seen, known, out=np.full_like(seen, np.nan), where=inside)
    around = [(k - 1 - k // 2, k // 2) for k in kernel.shape]  # the cyclic part is cut
    wide = np.pad(values, around, mode="symmetric")
    size = 16 * -(-wide.shape[0] // 16), 16 * -(-wide.shape[1] // 16)  # fast ones
    full = np.fft.irfft2(np.fft.rfft2(wide, size) * np.fft.rfft2(kernel, size), size)
    (r, c), (rows, columns) = np.subtract(kernel.shape, 1), values.shape
    out = full[r : r + rows, c : c + columns]
    positive = values.min() >= 0 and kernel.min() >= 0  # rounding leaves -1e-17
    return np.maximum(out, 0.0) if positive else np.array(out)


def ronchigram(
    potential_v_m: ArrayLike,
    pixel_m: Pixel,
    energy_ev: float,
    convergence_rad: float,
    aberrations: Named,
) -> Array:
    """Return the far-field intensity of a probe behind a thin specimen.

    |F{psi exp(i sigma V)}|², of sum 1, angle 0 at [rows // 2, columns // 2].

    Args:
        potential_v_m: Projected, (rows, columns), V m, the probe at its middle.
        pixel_m: Of it, (dx, dy) or one number; the rest as for `probe`.
    """
    potential = np.asarray(potential_v_m, np.float64)
    psi = probe(potential.shape, pixel_m, energy_ev, convergence_rad, aberrations)
    behind = psi * np.exp(1j * interaction(energy_ev) * potential)
    return np.fft.fftshift(np.abs(np.fft.fft2(behind, norm="ortho")) ** 2)


def probe_size(spread: ArrayLike, pixel_m: Pixel) -> ProbeSize:
    """Return how wide a spread (rows, columns) is, to about a tenth of a pixel."""
    weight = np.array(spread, np.float64)
    rows, columns, dx, dy = _raster("probe_size", weight.shape, pixel_m)
    weight /= weight.sum()
    x, y = dx * np.arange(float(columns)), dy * np.arange(float(rows))[:, None]
    away = np.hypot(x - (x * weight).sum(), y - (y * weight).sum())
    rms = math.sqrt(float((away**2 * weight).sum()))
    slope = np.hypot(*np.gradient(weight))
    above = weight - 0.5 * weight.max()
    part = np.divide(above, slope, out=np.sign(above), where=slope > 0) + 0.5
    area = float(np.clip(part, 0.0, 1.0).sum()) * dx * dy  # where it is above half
    step = 0.25 * min(dx, dy)
    rings = np.bincount((away / step).astype(int).ravel(), weight.ravel())
    rings = np.convolve(rings, np.full(5, 0.2))  # pixels are not points
    half = np.interp(0.5, rings.cumsum() - 0.5 * rings, np.arange(rings.size) - 1.5)
    d50 = 2.0 * step * max(float(half), 0.0)
    return ProbeSize(rms, 2.0 * math.sqrt(area / math.pi), d50)


def rms_radius(spread: ArrayLike, pixel_m: Pixel) -> float:
    """Return the root mean square distance of a spread from its middle, metres."""
    return probe_size(spread, pixel_m).rms_m


def _terms(aberrations: Named) -> dict[tuple[int, int], complex]:
    """Return C_a - i C_b of each order and symmetry (n, m), where it is not 0."""
    found: dict[tuple[int, int], complex] = {}
    for name, value in aberrations.items():
        if name not in ABERRATIONS:
            raise unknown("aberration", name, ABERRATIONS, "Krivanek's notation.")
        if not math.isfinite(value):
            raise OutOfRange(f"Aberration {name} got {value!r} m; it is finite.")
        key = int(name[1]), int(name[2])
        part = -1j * value if name.endswith("b") else value
        found[key] = found.get(key, 0.0) + part
    return {key: c for key, c in found.items() if c}


def _psi(raster: Raster, wave: float, angle: float, aberrations: Named) -> Complex:
    rows, columns, dx, dy = raster
    theta_x, theta_y = angles((rows, columns), (dx, dy), wave)
    theta = np.hypot(theta_x, theta_y)
    step_y, step_x = wave / (rows * dy), wave / (columns * dx)
    across = np.hypot(theta_x * step_x, theta_y * step_y)  # a pixel, outwards, times θ
    step = np.divide(across, theta, out=np.full_like(theta, step_x), where=theta > 0)
    amplitude = np.clip((angle - theta) / step + 0.5, 0.0, 1.0)
    inside = amplitude > 0
    phase = aberration_function(theta_x[inside], theta_y[inside], aberrations, wave)
    pupil = np.zeros(theta.shape, np.complex128)
    pupil[inside] = amplitude[inside] * np.exp(-1j * phase)
    psi = np.fft.fftshift(np.fft.ifft2(pupil))
    return np.asarray(psi / np.linalg.norm(psi))


def _waves(call: str, energy_ev: float, angle: float) -> tuple[float, float]:
    """Return the wavelength and the coarsest pixel that holds an aperture."""
    wave = wavelength_m(energy_ev)
    return wave, wave / (2.0 * _positive(call, "convergence_rad", angle, "rad"))


def _raster(call: str, shape: int | tuple[int, ...], pixel_m: Pixel) -> Raster:
    """Return rows, columns, dx and dy; two pixels each are the fewest."""
    sides = shape if isinstance(shape, tuple) else (shape, shape)
    if len(sides) != 2 or min(sides) < 2:
        raise ShapeMismatch(f"{call} got {shape} pixels; it takes (rows, columns).")
    both = pixel_m if isinstance(pixel_m, tuple) else (pixel_m, pixel_m)
    dx, dy = (_positive(call, "pixel_m", side, "m") for side in both)
    return *sides, dx, dy


def _positive(call: str, name: str, value: float, units: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise OutOfRange(f"{call} got {name} = {value!r} {units}; it is above 0.")
    return value
