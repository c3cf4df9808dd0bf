"""Bands and peaks of spectra that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.scalarizers import (
    band_intensity,
    band_ratio,
    peak_position,
    peak_width,
)

ENERGY = np.linspace(0.5, 4.0, 71)  # eV
FUNCTIONS = band_intensity, band_ratio, peak_position, peak_width


def test_a_band_of_a_straight_line_is_its_exact_integral_at_any_edges():
    found = band_intensity(ENERGY, 2 * ENERGY + 1, 1.2345, 3.1)
    assert found == pytest.approx((3.1**2 + 3.1) - (1.2345**2 + 1.2345))


def test_a_band_between_two_samples_is_read_from_the_line_between_them():
    assert band_intensity([0.0, 1.0], [0.0, 4.0], 0.25, 0.75) == pytest.approx(1.0)


def test_without_edges_the_whole_axis_is_integrated():
    spectrum = np.exp(-((ENERGY - 2) ** 2))
    assert band_intensity(ENERGY, spectrum) == np.trapezoid(spectrum, ENERGY)


def test_a_falling_axis_gives_the_same_numbers():
    spectrum = np.exp(-((ENERGY - 2.013) ** 2) / 0.1)
    for function in FUNCTIONS:
        there = function(ENERGY, spectrum, 1.51, 3.33)
        assert function(ENERGY[::-1], spectrum[::-1], 1.51, 3.33) == there


def test_a_gaussian_on_a_wavelength_scale_keeps_its_area():
    energy = 1239.84 / np.linspace(300, 2400, 4000)  # eV: falling and not uniform
    spectrum = np.exp(-0.5 * ((energy - 2) / 0.1) ** 2)
    expected = 0.1 * np.sqrt(2 * np.pi)
    assert band_intensity(energy, spectrum, 1, 3) == pytest.approx(expected, rel=1e-5)


def test_many_spectra_are_taken_at_once_as_one_by_one():
    spectra = np.random.default_rng(0).normal(size=(3, 2, ENERGY.size))
    for function in FUNCTIONS:
        together = function(ENERGY, spectra, 1.01, 3.0)
        assert together.shape == (3, 2)
        alone = [function(ENERGY, one, 1.01, 3.0) for one in spectra.reshape(6, -1)]
        assert together.ravel() == pytest.approx(np.array(alone), nan_ok=True)


def test_only_missing_samples_in_the_band_make_it_nan():
    spectrum = np.where(ENERGY > 3.5, np.nan, 1.0)
    assert band_intensity(ENERGY, spectrum, 1, 2) == pytest.approx(1)
    assert np.isnan(band_intensity(ENERGY, spectrum))
    assert peak_position(ENERGY, spectrum - ENERGY, 1, 2) == 1.0
    assert np.isnan(peak_position(ENERGY, spectrum))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("low", "high"), [(0.4, 1), (1, 4.1), (2, 1), (1, 1), (np.nan, 2), (1, np.inf)]
)
def test_a_band_that_is_empty_or_off_the_axis_is_refused(function, low, high):
    with pytest.raises(OutOfRange, match=r"low < high, both on the axis.*0.5 to 4"):
        function(ENERGY, ENERGY, low, high)


def test_an_edge_that_misses_the_axis_by_rounding_is_taken_as_its_end():
    whole = band_intensity(ENERGY, ENERGY)
    assert band_intensity(ENERGY, ENERGY, 0.5 - 1e-15, 4 + 1e-12) == whole


@pytest.mark.parametrize("centre", [1.0, 1.013, 1.49, 3.7])
def test_the_vertex_of_a_parabola_is_found_exactly_on_any_axis(centre):
    for axis in (ENERGY, np.geomspace(0.5, 4, 60)):
        found = peak_position(axis, -((axis - centre) ** 2))
        assert found == pytest.approx(centre, abs=1e-9)


def test_a_gaussian_peak_is_found_finer_than_its_samples():
    spectrum = np.exp(-0.5 * ((ENERGY - 2.0123) / 0.2) ** 2)
    assert peak_position(ENERGY, spectrum) == pytest.approx(2.0123, abs=5e-4)


def test_a_peak_at_the_edge_of_the_band_is_not_interpolated():
    assert peak_position(ENERGY, ENERGY) == 4.0
    assert peak_position(ENERGY, -ENERGY) == 0.5
    assert peak_position(ENERGY, ENERGY, 1.0, 2.02) == pytest.approx(2.0)


def test_a_flat_spectrum_and_a_band_of_one_sample_have_a_peak_on_a_sample():
    assert peak_position(ENERGY, np.ones(71)) == 0.5
    assert peak_position(ENERGY, ENERGY, 0.99, 1.01) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [peak_position, peak_width])
def test_a_band_without_a_sample_has_no_peak(function):
    with pytest.raises(OutOfRange, match="no sample"):
        function(ENERGY, ENERGY, 1.01, 1.02)


def gaussian(axis: np.ndarray, centre: float, sd: float) -> np.ndarray:
    return np.exp(-0.5 * ((axis - centre) / sd) ** 2)


def test_the_width_of_a_triangle_is_half_its_foot_on_any_axis():
    for axis in (ENERGY, np.r_[0.5, 1.0, 1.1, 2.0, 2.6, 3.0, 3.1, 4.0]):
        peak = 5 + np.maximum(0, 1 - np.abs(axis - 2) / 1)
        assert peak_width(axis, peak) == pytest.approx(1.0)


def test_the_width_of_a_gaussian_is_2_3548_standard_deviations():
    peak = gaussian(ENERGY, 2.012, 0.2)
    assert peak_width(ENERGY, peak) == pytest.approx(0.2 * 2.3548, rel=0.01)


def test_the_width_is_that_of_the_highest_peak_in_the_band():
    two = gaussian(ENERGY, 1.5, 0.1) + 2 * gaussian(ENERGY, 3, 0.2)
    narrow, wide = 0.1 * 2.3548, 0.2 * 2.3548
    assert peak_width(ENERGY, two) == pytest.approx(wide, rel=0.02)
    assert peak_width(ENERGY, two, 0.8, 2.2) == pytest.approx(narrow, rel=0.02)


def test_a_baseline_that_is_given_counts_instead_of_the_lowest_sample():
    peak = 4 + 2 * gaussian(ENERGY, 2, 0.2)
    peak[3] = 1.0  # a dead pixel
    assert peak_width(ENERGY, peak, baseline=4) == pytest.approx(0.471, rel=0.02)
    assert np.isnan(peak_width(ENERGY, peak, baseline=0))  # all above half
    assert np.isnan(peak_width(ENERGY, peak, baseline=7))  # nothing above it


@pytest.mark.parametrize("spectrum", [np.ones(71), ENERGY, -ENERGY])
def test_a_peak_that_does_not_fall_on_both_sides_has_no_width(spectrum):
    assert np.isnan(peak_width(ENERGY, spectrum))


def test_a_peak_cut_by_the_band_has_no_width():
    peak = gaussian(ENERGY, 2, 0.2)
    assert np.isnan(peak_width(ENERGY, peak, 1.9, 3, baseline=0))
    assert np.isnan(peak_width(ENERGY, peak, 1, 2.1, baseline=0))


def test_noise_beyond_the_first_crossing_leaves_the_width():
    random = np.random.default_rng(1)
    peaks = gaussian(ENERGY, 2, 0.3) + 0.03 * random.normal(size=(200, 71))
    widths = peak_width(ENERGY, peaks, baseline=0)
    assert np.median(widths) == pytest.approx(0.3 * 2.3548, rel=0.05)


def test_a_ratio_of_two_bands_is_that_of_their_integrals():
    spectrum = np.where(ENERGY < 2, 3.0, 1.0)
    assert band_ratio(ENERGY, spectrum, 0.6, 1.1, 2.5, 3.5) == pytest.approx(1.5)
    whole = band_intensity(ENERGY, spectrum)
    part = band_intensity(ENERGY, spectrum, 1, 3)
    assert band_ratio(ENERGY, spectrum, 1, 3) == part / whole


@pytest.mark.parametrize("under", [0.0, -1.0, np.nan, np.inf])
def test_a_ratio_over_nothing_is_none(under):
    spectrum = np.where(ENERGY < 2.2, 3.0, under)
    assert np.isnan(band_ratio(ENERGY, spectrum, 1, 2, 2.5, 3.5))
    wider = np.stack([spectrum, np.ones(71)])
    assert np.isnan(band_ratio(ENERGY, wider, 1, 2, 2.5, 3.5)).tolist() == [True, False]


def test_the_second_band_must_be_on_the_axis_too():
    with pytest.raises(OutOfRange, match="both on the axis"):
        band_ratio(ENERGY, ENERGY, 1, 2, 3, 5)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("spike", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_counts_in_the_band_alone(function, spike):
    spectra = np.stack([gaussian(ENERGY, 2, 0.2)] * 3)
    spectra[1, 66] = spike  # 3.8 eV
    spectra[2, 25] = spike  # 1.75 eV
    under = (1.5, 3.5) if function is band_ratio else ()
    found = function(ENERGY, spectra, 1, 3, *under)
    assert np.isfinite(found).tolist() == [True, True, False]
    assert found[0] == found[1]
    assert np.isnan(function(ENERGY, np.full(71, spike), 1, 3))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("size", [1.7e308, -1.7e308, 5e-324])
def test_the_largest_and_the_smallest_numbers_give_no_warning(function, size):
    spectra = np.stack([gaussian(ENERGY, 2, 0.2)] * 2)
    spectra[0, 10:40:3] = size
    spectra[1, ::3] = size
    assert not np.isinf(function(ENERGY, spectra)).any()
    assert not np.isinf(function(ENERGY, -spectra, 1, 3)).any()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_spectra_are_refused_in_a_sentence(function):
    with pytest.raises(WrongType, match="modulus"):
        function(ENERGY, ENERGY + 1j)
    with pytest.raises(ShapeMismatch, match=r"shape \(3,\).*71"):
        function(ENERGY, np.ones(3))
    with pytest.raises(ShapeMismatch, match="e > 1"):
        function([1.0], [1.0])
    with pytest.raises(OutOfRange, match="turns"):
        function([0.0, 1, 0], np.ones(3))
    with pytest.raises(OutOfRange, match="turns"):
        function([0.0, np.nan, 2], np.ones(3))
