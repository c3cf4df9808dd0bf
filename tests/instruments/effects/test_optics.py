"""The probe against pyTEMlib's numbers, Airy, Hankel integrals, SciPy and rays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants, ndimage
from scipy.integrate import quad
from scipy.special import j0, j1

from aemtwin.errors import OutOfRange, ShapeMismatch, UnknownName
from aemtwin.instruments.effects import optics
from aemtwin.instruments.effects.optics import (
    ABERRATIONS,
    FWHM,
    aberration_function,
    blur,
    point_spread,
    probe,
    probe_size,
    ronchigram,
    wavelength_m,
)

ENERGY, ANGLE = 200e3, 0.025
WAVE = wavelength_m(ENERGY)

# pyTEMlib 0.2026.6.0 (SciPy 1.17.1), its numbers alone. `image_tools.get_wavelength`:
PEER_WAVES_NM = {
    60e3: 0.004866060499839593,
    100e3: 0.0037014366114870843,
    200e3: 0.0025079340436272276,
    300e3: 0.001968748899648993,
}
# `probe_tools.make_chi` at theta 0.03, phi 0.7, wavelength 0.0025 nm, for each
# aberration alone, in nm: 10, 100, 1e3, 1e4, 1e6 for the orders 1 to 5.
PEER_SIZES_NM = {1: 10.0, 2: 100.0, 3: 1e3, 4: 1e4, 5: 1e6}
PEER_ALONE = {
    "C10": 11.309733552923253,
    "C12a": 1.9222830989533577,
    "C12b": 11.145173875969649,
    "C21a": 1.7300322696445178,
    "C21b": 1.4571860785477464,
    "C23a": -1.1419349856511212,
    "C23b": 1.95253358743728,
    "C30": 0.5089380098815464,
    "C32a": 0.08650273945290109,
    "C32b": 0.5015328244186341,
    "C34a": -0.4795327629258392,
    "C34b": 0.17048820247424698,
    "C41a": 0.09342174256080397,
    "C41b": 0.07868804824157831,
    "C43a": -0.06166448922516055,
    "C43b": 0.10543681372161312,
    "C45a": -0.11438361666481045,
    "C45b": -0.042846460272043314,
    "C50": 0.3053628059289278,
    "C52a": 0.051901643671740647,
    "C52b": 0.30091969465118046,
    "C54a": -0.2877196577555035,
    "C54b": 0.10229292148454817,
    "C56a": -0.14970742004161697,
    "C56b": -0.26614682344388574,
}
# `make_chi` of `mixed` below: theta, phi, chi.
PEER_MIXED = [
    (0.0, 0.3, 0.0),
    (0.004, -2.9, -0.05845147927437511),
    (0.011, -1.2, 0.9181057735380168),
    (0.02, 0.1, -3.7001457503152135),
    (0.028, 1.9, 7.218499535266702),
    (0.035, 3.1, -5.992586815499689),
]
# `get_chi(ab, 64, 64)` of `mixed`, FOV 8 nm, 200 kV: row, column, chi. Its angles are
# arctan(k lambda), and its phi is counted from its rows to its columns.
PEER_RASTER = [
    (32, 32, 0.0),
    (33, 40, 0.11308954465510421),
    (20, 32, -0.11606349718064815),
    (10, 45, -0.4502138034923484),
    (51, 50, 0.7474897180208971),
    (40, 17, 0.11735080672190165),
]
# `get_probe(ab, 256, 256)` over its sum: C10 -8, C12a 3, C21b 150 nm, 25 mrad, 200 kV,
# FOV 6 nm: row, column, share of the electrons. Its aperture has no soft edge.
PEER_PROBE = [
    (128, 128, 0.00680136509842713),
    (128, 131, 0.004145841165978043),
    (131, 128, 0.006244106895851825),
    (126, 133, 0.004751759241602478),
    (120, 128, 0.0004028447398840644),
    (128, 120, 0.002780539407938414),
]


def mixed():
    """Aberrations of which none is 0 and no two are alike, metres."""
    return {
        name: (0.3 + 0.1 * (7 * i % 11))
        * (-1) ** i
        * PEER_SIZES_NM[int(name[1])]
        * 1e-9
        for i, name in enumerate(ABERRATIONS)
    }


def moments(spread, pixel):
    """The mean (x, y) and the covariance of a spread, plainly."""
    rows, columns = spread.shape
    y, x = np.mgrid[:rows, :columns].astype(float)
    x, y = (x - columns // 2) * pixel, (y - rows // 2) * pixel
    w = spread / spread.sum()
    mean = np.array([(w * x).sum(), (w * y).sum()])
    x, y = x - mean[0], y - mean[1]
    cross = (w * x * y).sum()
    return mean, np.array([[(w * x * x).sum(), cross], [cross, (w * y * y).sum()]])


@pytest.mark.parametrize(("energy", "nm"), PEER_WAVES_NM.items())
def test_the_wavelength_is_that_of_pytemlib(energy, nm):
    assert wavelength_m(energy) == pytest.approx(nm * 1e-9, rel=1e-9)


def test_the_interaction_is_the_relativistic_mass_times_the_wavelength():
    """Sigma = 2 pi gamma m e lambda / h^2: the other way in which it is written."""
    for energy in (30e3, 100e3, 300e3):
        rest = constants.m_e * constants.c**2 / constants.e
        mass = constants.m_e * (1 + energy / rest)
        want = 2 * math.pi * mass * constants.e * wavelength_m(energy) / constants.h**2
        assert optics.interaction(energy) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("name", ABERRATIONS)
def test_each_aberration_alone_is_that_of_pytemlib(name):
    size = PEER_SIZES_NM[int(name[1])] * 1e-9
    x, y = 0.03 * math.cos(0.7), 0.03 * math.sin(0.7)
    chi = aberration_function(x, y, {name: size}, 0.0025e-9)
    assert float(chi) == pytest.approx(PEER_ALONE[name], rel=1e-10)


def test_all_aberrations_together_are_those_of_pytemlib():
    theta, phi, want = np.array(PEER_MIXED).T
    x, y = theta * np.cos(phi), theta * np.sin(phi)
    chi = aberration_function(x, y, mixed(), 0.0025e-9)
    np.testing.assert_allclose(chi, want, rtol=1e-10, atol=1e-12)


def test_the_units_and_axes_are_those_of_pytemlib_with_rows_and_columns_swapped():
    row, column, want = np.array(PEER_RASTER).T
    k_row, k_column = (row - 32) / 8e-9, (column - 32) / 8e-9
    k = np.hypot(k_row, k_column)
    scale = np.where(k > 0, np.arctan(k * WAVE) / np.where(k > 0, k, 1.0), 0.0)
    chi = aberration_function(k_row * scale, k_column * scale, mixed(), WAVE)
    np.testing.assert_allclose(chi, want, rtol=2e-9, atol=1e-12)


def test_the_probe_is_that_of_pytemlib_but_for_the_edge_of_the_aperture():
    about = {"C10": -8e-9, "C12a": 3e-9, "C21b": 150e-9}
    psi = probe(256, 6e-9 / 256, ENERGY, ANGLE, about)
    landed = (np.abs(psi) ** 2).T  # its phi goes from rows to columns
    for row, column, want in PEER_PROBE:
        assert landed[row, column] == pytest.approx(want, abs=0.01 * landed.max())


def test_the_probe_without_aberrations_is_airys_disc():
    n, pixel = 512, WAVE / ANGLE / 16
    psi = probe(n, pixel, ENERGY, ANGLE, {})
    landed = np.abs(psi) ** 2
    assert landed.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.unravel_index(landed.argmax(), landed.shape) == (n // 2, n // 2)
    v = 2 * math.pi * ANGLE / WAVE * np.arange(1, 60) * pixel
    profile = landed[n // 2, n // 2 + 1 : n // 2 + 60] / landed.max()
    np.testing.assert_allclose(profile, (2 * j1(v) / v) ** 2, atol=3e-4)
    # first zero 0.6098 lambda / alpha, FWHM 0.5145 lambda / alpha
    at = np.arange(1, 60)[v < 5][profile[v < 5].argmin()] * pixel
    assert at == pytest.approx(0.6098 * WAVE / ANGLE, abs=0.5 * pixel)
    size = probe_size(landed, pixel)
    assert size.fwhm_m == pytest.approx(0.5145 * WAVE / ANGLE, rel=0.005)


def test_a_round_probe_is_the_hankel_integral_of_its_aperture():
    defocus, spherical = -30e-9, 40e-6
    about = {"C10": defocus, "C30": spherical}
    n, pixel = 512, 2e-11
    psi = probe(n, pixel, ENERGY, ANGLE, about)

    def chi(t):
        return 2 * math.pi / WAVE * (defocus * t**2 / 2 + spherical * t**4 / 4)

    def wave(r):
        def part(t, turn):
            return turn(-chi(t)) * j0(2 * math.pi * t * r / WAVE) * t

        both = [
            quad(part, 0, ANGLE, args=(turn,), epsabs=0, epsrel=1e-8, limit=200)[0]
            for turn in (math.cos, math.sin)
        ]
        return complex(*both)

    pixels = np.arange(0, 40, 3)
    want = np.array([wave(p * pixel) for p in pixels])
    # the energy in the aperture: the integral of |psi|^2 is lambda^2 that of the angles
    scale = math.sqrt(math.pi * ANGLE**2) * WAVE / (2 * math.pi * pixel)
    got = psi[n // 2, n // 2 + pixels] * scale
    turn = np.vdot(got, want) / abs(np.vdot(got, want))
    np.testing.assert_allclose(got * turn, want, atol=2e-3 * abs(want).max())
    assert abs(turn - 1) < 1e-3  # the phase too, not the modulus alone


def test_the_aperture_has_its_area_on_square_and_other_rasters():
    for shape, pixel in ((128, 4e-11), ((96, 160), (4e-11, 3e-11))):
        pupil = np.abs(np.fft.fft2(probe(shape, pixel, ENERGY, ANGLE, {})))
        rows, columns = pupil.shape
        dx, dy = pixel if isinstance(pixel, tuple) else (pixel, pixel)
        area = pupil.sum() / pupil.max() * WAVE**2 / (rows * dy * columns * dx)
        assert area == pytest.approx(math.pi * ANGLE**2, rel=3e-3)


def test_the_edge_of_the_aperture_is_one_pixel_wide_along_each_axis():
    shape, (dx, dy) = (60, 200), (3e-11, 4e-11)
    pupil = np.abs(np.fft.fft2(probe(shape, (dx, dy), ENERGY, ANGLE, {})))
    pupil /= pupil.max()
    for line, step in (
        (pupil[0, :100], WAVE / (200 * dx)),
        (pupil[:30, 0], WAVE / (60 * dy)),
    ):
        want = np.clip(ANGLE / step - np.arange(len(line)) + 0.5, 0.0, 1.0)
        np.testing.assert_allclose(line, want, atol=1e-12)


def test_a_raster_with_other_pixels_along_y_holds_the_same_probe():
    about = {"C10": 20e-9, "C12b": 5e-9, "C21a": 200e-9}
    square = probe(256, 3e-11, ENERGY, ANGLE, about)
    tall = probe((512, 256), (3e-11, 1.5e-11), ENERGY, ANGLE, about)
    got = tall[::2] * math.sqrt(2)
    np.testing.assert_allclose(got, square, atol=1e-12)


def test_a_pixel_too_coarse_for_the_aperture_is_refused_with_one_that_is_not():
    finest = WAVE / (2 * ANGLE)
    assert probe(64, 0.999 * finest, ENERGY, ANGLE, {}).shape == (64, 64)
    with pytest.raises(OutOfRange, match=f"needs {finest:.3g} m or less"):
        probe(64, (0.5 * finest, 1.01 * finest), ENERGY, ANGLE, {})


def test_coma_moves_the_middle_of_the_probe_as_its_rays_do():
    """The mean of x over the rays of C21a is C21a alpha^2 / 3, derived here."""
    coma = 1.2e-6
    for name, axis in (("C21a", 0), ("C21b", 1)):
        spread = point_spread(512, 2e-11, ENERGY, ANGLE, {name: coma}, 0.0)
        mean, _ = moments(spread, 2e-11)
        assert mean[axis] == pytest.approx(coma * ANGLE**2 / 3, rel=0.01)
        assert abs(mean[1 - axis]) < 1e-13


@pytest.mark.parametrize(
    ("name", "axis"), [("C12a", (1, 0)), ("C12b", (math.sqrt(0.5), math.sqrt(0.5)))]
)
def test_astigmatism_beside_defocus_stretches_the_probe_along_its_axis(name, axis):
    """Rays reach (C10 + C12) alpha along the axis and (C10 - C12) alpha across it."""
    defocus, stigma = 200e-9, 80e-9
    about = {"C10": defocus, name: stigma}
    spread = point_spread(512, 4e-11, ENERGY, ANGLE, about, 0.0)
    _, covariance = moments(spread, 4e-11)
    widths, axes = np.linalg.eigh(covariance)
    assert abs(axes[:, 1] @ axis) == pytest.approx(1.0, abs=1e-6)
    want = (defocus + stigma) / (defocus - stigma)
    assert math.sqrt(widths[1] / widths[0]) == pytest.approx(want, rel=0.02)


def test_a_defocused_probe_is_the_disc_of_its_rays_fine_and_coarse():
    """Half of an even disc is within 1 / sqrt(2) of its radius C10 alpha."""
    for defocus in (200e-9, 2e-6, 5e-6):
        about = ENERGY, ANGLE, {"C10": defocus}
        n, pixel = optics.raster(*about, 8e-11)
        spread = point_spread(n, pixel, *about, 8e-11)
        size = probe_size(spread, pixel)
        assert size.d50_m == pytest.approx(math.sqrt(2) * defocus * ANGLE, rel=0.01)
        assert size.rms_m == pytest.approx(defocus * ANGLE / math.sqrt(2), rel=0.02)


def test_sources_add_in_quadrature():
    about = 192, 2.5e-11, ENERGY, ANGLE, {"C10": 10e-9}
    one, other = 8e-11, 1.5e-10
    both = point_spread(*about, math.hypot(one, other))
    first = point_spread(*about, one)
    sd = other / FWHM / 2.5e-11
    want = ndimage.gaussian_filter(first, sd, mode="wrap", truncate=9.0)
    np.testing.assert_allclose(both, want, atol=2e-6 * want.max())
    assert both.min() >= 0
    assert both.sum() == pytest.approx(1.0, abs=1e-12)
    _, sharp = moments(point_spread(*about, 0.0), 2.5e-11)
    _, blurred = moments(first, 2.5e-11)
    assert blurred[0, 0] - sharp[0, 0] == pytest.approx((one / FWHM) ** 2, rel=0.03)


@pytest.mark.parametrize("n", [64, 65])
def test_a_blurred_probe_does_not_depend_on_the_pixel(n):
    about = ENERGY, ANGLE, {"C10": 3e-9}
    pixel = 0.99 * WAVE / (2 * ANGLE)
    coarse = point_spread(n, pixel, *about, 8e-11)
    fine = point_spread(3 * n, pixel / 3, *about, 8e-11)
    fine = fine[(3 * n) // 2 % 3 :: 3, (3 * n) // 2 % 3 :: 3]
    np.testing.assert_allclose(coarse, fine / fine.sum(), atol=1e-9)


def test_a_gaussian_has_the_widths_of_the_closed_form():
    sd = np.array([4.0, 6.5])
    y, x = np.mgrid[-40:41, -40:41]
    for s in sd:
        size = probe_size(np.exp(-0.5 * (x**2 + y**2) / s**2), 2e-11)
        assert size.rms_m == pytest.approx(math.sqrt(2) * s * 2e-11, rel=1e-4)
        assert size.fwhm_m == pytest.approx(FWHM * s * 2e-11, rel=0.005)
        assert size.d50_m == pytest.approx(FWHM * s * 2e-11, rel=0.01)
    narrow = np.exp(-0.5 * ((x * 2) ** 2 + y**2) / 16)  # pixels twice as wide as high
    size = probe_size(narrow, (4e-11, 2e-11))
    assert size.fwhm_m == pytest.approx(FWHM * 4 * 2e-11, rel=0.01)


def test_larger_pixels_keep_the_sum_and_the_middle_of_a_spread():
    n, pixel = 128, 2.5e-11
    spread = point_spread(n, pixel, ENERGY, ANGLE, {"C21a": 3e-7, "C10": 5e-9}, 8e-11)
    mean, before = moments(spread, pixel)
    for coarse in (1.3e-11, 4e-11, 1.5e-10):  # finer and coarser ones
        out = optics.binned(spread, pixel, (coarse, coarse))
        assert out.sum() == pytest.approx(1.0, abs=1e-12)
        after, wide = moments(out, coarse)
        np.testing.assert_allclose(after, mean, atol=1e-13)
        assert before[0, 0] < wide[0, 0] < before[0, 0] + max(coarse, pixel) ** 2 / 3
    assert optics.binned(spread, pixel, (1e-6, 1e-6)).max() > 0.999


def test_finer_pixels_leave_no_gaps_in_a_spread():
    y, x = np.mgrid[-10:11, -10:11]
    out = optics.binned(np.exp(-(x**2 + y**2) / 20), 1e-10, (3e-11, 3e-11))
    middle = out[len(out) // 2]
    steps = np.diff(middle[middle > 0.05 * middle.max()])
    assert (np.sign(steps[: len(steps) // 2]) >= 0).all()


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 1), (9, 15), (31, 31)])
@pytest.mark.parametrize("shape", [(20, 33), (31, 16)])
def test_blur_is_the_mirrored_convolution_of_scipy(shape, kernel):
    random = np.random.default_rng(0)
    image, spread = random.normal(size=shape), random.random(kernel)
    want = ndimage.convolve(image, spread, mode="reflect")
    np.testing.assert_allclose(blur(image, spread), want, atol=1e-10)


@pytest.mark.parametrize("kernel", [(4, 6), (50, 3), (45, 60)])
def test_blur_with_an_even_or_huge_kernel_is_the_plain_sum(kernel):
    random = np.random.default_rng(1)
    image, spread = random.random((11, 17)), random.random(kernel)
    wide = np.pad(image, 64, mode="symmetric")
    want = np.zeros_like(image)
    for r in range(kernel[0]):
        for c in range(kernel[1]):
            top, left = 64 - (r - kernel[0] // 2), 64 - (c - kernel[1] // 2)
            want += spread[r, c] * wide[top : top + 11, left : left + 17]
    np.testing.assert_allclose(blur(image, spread), want, rtol=1e-10)


def test_a_constant_image_stays_as_it_is_and_none_turns_negative():
    spread = point_spread(65, 3e-11, ENERGY, ANGLE, {"C10": 20e-9}, 8e-11)
    np.testing.assert_allclose(blur(np.full((40, 50), 7.0), spread), 7.0, rtol=1e-12)
    spots = np.zeros((40, 50), np.uint16)
    spots[3, 4], spots[30, 49] = 1000, 2000
    seen = blur(spots, spread)
    assert seen.dtype == np.float64
    assert seen.min() >= 0
    assert seen.sum() == pytest.approx(3000.0, rel=1e-9)  # mirrored, none is lost


def test_what_is_missing_spreads_no_further_than_the_kernel_reaches():
    image = np.full((20, 20), 3.0)
    image[5, 6] = np.nan
    seen = blur(image, np.full((3, 3), 1 / 9))
    assert np.isnan(seen[4:7, 5:8]).all()
    assert np.isnan(seen).sum() == 9
    np.testing.assert_allclose(seen[~np.isnan(seen)], 3.0)


def test_without_a_specimen_the_ronchigram_is_the_aperture():
    n, pixel = 128, 4e-11
    about = {"C10": 30e-9, "C30": 1e-5}
    seen = ronchigram(np.zeros((n, n)), pixel, ENERGY, ANGLE, about)
    assert seen.sum() == pytest.approx(1.0, abs=1e-12)
    theta_x, theta_y = optics.angles(n, pixel, WAVE)
    theta = np.fft.fftshift(np.hypot(theta_x, theta_y))
    step = WAVE / (n * pixel)
    assert seen[theta > ANGLE + step].max() < 1e-25
    inside = seen[theta < ANGLE - step]
    np.testing.assert_allclose(inside, inside.mean(), rtol=1e-9)


@pytest.mark.parametrize("defocus", [400e-9, -300e-9])
def test_the_defocus_can_be_read_from_the_shadows_in_the_ronchigram(defocus):
    """A ray at x crosses at the angle x / C10: the shadow of what is there."""
    n, pixel = 512, 5e-11
    y, x = (np.mgrid[:n, :n] - n // 2) * pixel
    about = pixel, ENERGY, 0.02, {"C10": defocus}
    empty = ronchigram(np.zeros((n, n)), *about)
    axis = np.fft.fftshift(np.fft.fftfreq(n, pixel)) * WAVE
    places, shadows = [], []
    for place in ((1.5e-9, 0.0), (-1e-9, 2e-9), (0.5e-9, -1.5e-9), (-2e-9, -1e-9)):
        bump = np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2) / 2e-10**2)
        seen = ronchigram(0.2 / optics.interaction(ENERGY) * bump, *about)
        change = (seen - empty) ** 2
        places.extend(place)
        shadows.extend(
            [
                change.sum(axis=0) @ axis / change.sum(),
                change.sum(axis=1) @ axis / change.sum(),
            ]
        )
    fitted = 1.0 / np.polyfit(places, shadows, 1)[0]
    assert fitted == pytest.approx(defocus, rel=0.03)


def test_electrons_turn_to_where_the_potential_is_higher():
    """A ramp of phase with whole turns over the raster moves the pattern by as many."""
    n, pixel = 128, 3e-11
    about = pixel, ENERGY, 0.015, {"C10": 8e-9}
    row, column = np.mgrid[:n, :n]
    phase = 2 * math.pi * (5 * column - 3 * row) / n
    seen = ronchigram(phase / optics.interaction(ENERGY), *about)
    still = ronchigram(np.zeros((n, n)), *about)
    np.testing.assert_allclose(seen, np.roll(still, (-3, 5), (0, 1)), atol=1e-15)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(UnknownName, match="no aberration 'C12A'"):
        aberration_function(0.0, 0.0, {"C12A": 1e-9}, WAVE)
    with pytest.raises(OutOfRange, match="C10 got nan"):
        probe(64, 3e-11, ENERGY, ANGLE, {"C10": math.nan})
    for energy in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(OutOfRange, match="energy_ev"):
            wavelength_m(energy)
    with pytest.raises(OutOfRange, match="convergence_rad"):
        optics.raster(ENERGY, 0.0, {})
    with pytest.raises(OutOfRange, match="pixel_m"):
        point_spread(64, (3e-11, -1.0), ENERGY, ANGLE, {}, 0.0)
    with pytest.raises(OutOfRange, match="source"):
        point_spread(64, 3e-11, ENERGY, ANGLE, {}, -1e-11)
    with pytest.raises(ShapeMismatch, match="rows, columns"):
        ronchigram(np.zeros(8), 3e-11, ENERGY, ANGLE, {})
    with pytest.raises(ShapeMismatch, match="two axes"):
        blur(np.zeros(8), np.ones((3, 3)))
