"""Bands and peaks of spectra that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.scalarizers import band_intensity, peak_position

ENERGY = np.linspace(0.5, 4.0, 71)  # eV


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
    for function in (band_intensity, peak_position):
        there = function(ENERGY, spectrum, 1.51, 3.33)
        assert function(ENERGY[::-1], spectrum[::-1], 1.51, 3.33) == there


def test_a_gaussian_on_a_wavelength_scale_keeps_its_area():
    energy = 1239.84 / np.linspace(300, 2400, 4000)  # eV: falling and not uniform
    spectrum = np.exp(-0.5 * ((energy - 2) / 0.1) ** 2)
    expected = 0.1 * np.sqrt(2 * np.pi)
    assert band_intensity(energy, spectrum, 1, 3) == pytest.approx(expected, rel=1e-5)


def test_many_spectra_are_taken_at_once_as_one_by_one():
    spectra = np.random.default_rng(0).normal(size=(3, 2, ENERGY.size))
    for function in (band_intensity, peak_position):
        together = function(ENERGY, spectra, 1.01, 3.0)
        assert together.shape == (3, 2)
        assert together[2, 1] == pytest.approx(
            function(ENERGY, spectra[2, 1], 1.01, 3.0)
        )


def test_only_missing_samples_in_the_band_make_it_nan():
    spectrum = np.where(ENERGY > 3.5, np.nan, 1.0)
    assert band_intensity(ENERGY, spectrum, 1, 2) == pytest.approx(1)
    assert np.isnan(band_intensity(ENERGY, spectrum))
    assert peak_position(ENERGY, spectrum - ENERGY, 1, 2) == 1.0
    assert np.isnan(peak_position(ENERGY, spectrum))


@pytest.mark.parametrize("function", [band_intensity, peak_position])
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


def test_a_band_without_a_sample_has_no_peak():
    with pytest.raises(OutOfRange, match="no sample"):
        peak_position(ENERGY, ENERGY, 1.01, 1.02)


@pytest.mark.parametrize("function", [band_intensity, peak_position])
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
