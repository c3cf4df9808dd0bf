"""X-ray spectra against resolution as published, quadrature, SciPy and recovery."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import voigt_profile
from scipy.stats import norm

from aemtwin.errors import OutOfRange, ShapeMismatch, UnknownName
from aemtwin.instruments.effects.counts import counted
from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic.xrays import (
    FWHM,
    LINES,
    bremsstrahlung,
    cliff_lorimer,
    gaussian,
    line_shapes,
    line_width_ev,
    lorentzian,
    spectrum,
    voigt,
)

ENERGY = np.arange(5.0, 20_000.0, 10.0)


def random(part):
    return generator(3, 0, part, "xrays")


def test_the_resolution_at_manganese_is_that_of_silicon_detectors():
    """119 eV without noise, as makers give it; 130 eV with 50 eV of noise."""
    assert float(line_width_ev(5895.0, 0.0)) == pytest.approx(119, abs=1)
    assert float(line_width_ev(5895.0, 50.0)) == pytest.approx(130, abs=1)


def test_widths_scale_from_manganese_as_fiori_and_newbury_say():
    """FWHM^2 = 2.5 (E - E_Mn) + FWHM_Mn^2: Goldstein et al. (2003), p. 315."""
    energy = np.array([525.0, 1740.0, 6404.0, 9713.0])
    found = line_width_ev(energy, 50.0)
    want = np.sqrt(2.5 * (energy - 5895.0) + float(line_width_ev(5895.0, 50.0)) ** 2)
    np.testing.assert_allclose(found[1:], want[1:], rtol=0.03)
    assert found[0] == pytest.approx(want[0], rel=0.06)


def test_the_spread_of_a_line_is_that_of_fano_counting_pairs():
    """Pairs with a variance of F times their mean, and the electronics' noise."""
    rng = random("pairs")
    mean = 5895.0 / 3.8
    pairs = mean + math.sqrt(0.115 * mean) * rng.standard_normal(200_000)
    seen = 3.8 * pairs + 50.0 / FWHM * rng.standard_normal(200_000)
    found = FWHM * seen.std()
    assert found == pytest.approx(float(line_width_ev(5895.0, 50.0)), rel=0.01)


@pytest.mark.parametrize("step", [10.0, 80.0, 400.0])
def test_lines_are_integrated_over_channels_of_any_width(step):
    energy = np.arange(step / 2, 20_000.0, step)
    found = line_shapes(energy, ["Fe K"])[0]
    want, whole = np.zeros_like(found), sum(w for _, _, w in LINES["Fe K"])
    for _, place, weight in LINES["Fe K"]:
        law = norm(place, float(line_width_ev(place, 50.0)) / FWHM)
        want += (
            weight / whole * (law.cdf(energy + step / 2) - law.cdf(energy - step / 2))
        )
    np.testing.assert_allclose(found, want, atol=1e-11)
    assert found.sum() == pytest.approx(1.0, abs=1e-9)


def test_every_family_keeps_its_counts_and_peaks_at_its_strongest_line():
    shapes = line_shapes(np.arange(-500.0, 20_000.0, 5.0), list(LINES))
    np.testing.assert_allclose(shapes.sum(axis=1), 1.0, atol=1e-9)
    peaks = -500.0 + 5.0 * shapes.argmax(axis=1)
    for family, peak in zip(LINES, peaks, strict=True):
        strongest = max(LINES[family], key=lambda line: line.weight)
        assert peak == pytest.approx(strongest.energy_ev, abs=25)


def test_lines_lie_where_moseley_puts_them():
    """K alpha: 10.2 eV (Z - 1)^2 to a few percent. Moseley (1913)."""
    for element, z in (("Al", 13), ("Ti", 22), ("Mn", 25), ("Fe", 26), ("Cu", 29)):
        place = LINES[f"{element} K"][0].energy_ev
        assert place == pytest.approx(10.2 * (z - 1) ** 2, rel=0.02)


def test_the_continuum_is_kramers_and_the_window_takes_the_soft_end():
    bare = bremsstrahlung(ENERGY, 15e3, [2.0, 4.0])
    inside = ENERGY < 15e3
    np.testing.assert_allclose(
        bare[0, inside], 2.0 * (15e3 - ENERGY[inside]) / ENERGY[inside]
    )
    np.testing.assert_allclose(bare[1], 2 * bare[0])
    assert not bare[:, ~inside].any()
    seen = bremsstrahlung(ENERGY, 15e3, 2.0, window_ev=800.0)
    at = np.searchsorted(ENERGY, 800.0)
    assert seen[at] / bare[0, at] == pytest.approx(math.exp(-1), rel=0.03)
    assert ENERGY[seen.argmax()] > 800  # a hump, as every EDS spectrum shows
    assert seen[-800] == pytest.approx(bare[0, -800], rel=1e-3)


def test_photons_carry_a_linear_spectrum_of_energy():
    """Kramers: counts times energy fall on a straight line to the end of the beam."""
    carried = ENERGY * bremsstrahlung(ENERGY, 15e3, 1.0)
    line = np.polyfit(ENERGY[ENERGY < 15e3], carried[ENERGY < 15e3], 1)
    np.testing.assert_allclose(line, [-1.0, 15e3], rtol=1e-9)


def test_composition_is_recovered_and_better_with_more_counts():
    families, k = ["Al K", "Ti K", "Ni K"], np.array([1.1, 1.0, 1.4])
    mass = np.array([0.15, 0.35, 0.50])
    share = mass / k / (mass / k).sum()
    rows = [*line_shapes(ENERGY, families), bremsstrahlung(ENERGY, 2e4, 1e-3)]
    errors = []
    for counts in (1e3, 1e5):
        ground = bremsstrahlung(ENERGY, 2e4, 1e-4 * counts, window_ev=0.0)
        mean = spectrum(ENERGY, counts * share, families, ground)
        seen = counted(np.tile(mean, (200, 1)), 1.0, random("mass"))
        fit = np.linalg.lstsq(
            np.transpose(rows) / np.sqrt(mean)[:, None], (seen / np.sqrt(mean)).T
        )[0]
        found = cliff_lorimer(fit[:3].T, k)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        sem = found.std(axis=0) / math.sqrt(200)
        np.testing.assert_array_less(np.abs(found.mean(axis=0) - mass), 5 * sem + 1e-4)
        errors.append(found.std(axis=0))
    np.testing.assert_allclose(errors[0] / errors[1], 10.0, rtol=0.25)


def test_ratios_are_cliffs_and_lorimers_and_nothing_counted_has_no_composition():
    found = cliff_lorimer([[30.0, 10.0], [0.0, 0.0]], [2.0, 5.0])
    assert found[0, 0] / found[0, 1] == pytest.approx(2.0 / 5.0 * 30.0 / 10.0)
    assert np.isnan(found[1]).all()


def test_drawn_spectra_have_a_fano_factor_of_one():
    ground = bremsstrahlung(ENERGY, 15e3, 5.0, window_ev=500.0)
    mean = spectrum(ENERGY, [3e4, 1e4], ["Fe K", "O K"], ground)
    mean = mean[mean > 2]
    draws = counted(np.tile(mean, (300, 1)), 1.0, random("fano"))
    fano = draws.var(axis=0, ddof=1) / draws.mean(axis=0)
    assert fano.mean() == pytest.approx(1.0, abs=6 * math.sqrt(2 / 300 / len(mean)))


@pytest.mark.parametrize("shape", [lorentzian, gaussian])
def test_lines_have_area_one_and_the_width_that_was_asked_for(shape):
    # x = tan(u) brings a Lorentzian's far wings into the quadrature
    u = np.linspace(-np.pi / 2, np.pi / 2, 200_001)[1:-1]
    x = 3.0 + 0.7 * np.tan(u)
    area = np.trapezoid(shape(x, 3.0, 1.4) * 0.7 / np.cos(u) ** 2, u)
    assert area == pytest.approx(1.0, abs=1e-4)
    peak = shape(3.0, 3.0, 1.4)
    assert shape([2.3, 3.7], 3.0, 1.4) == pytest.approx([peak / 2, peak / 2])


def test_the_pseudo_voigt_is_within_its_stated_accuracy_of_the_convolution():
    x = np.linspace(-30, 30, 6001)
    worst = 0.0
    for g in np.linspace(0.05, 0.95, 19):
        k = 1.0 - g
        true = voigt_profile(x, g / math.sqrt(8 * math.log(2)), k / 2)
        worst = max(worst, np.abs(voigt(x, 0.0, g, k) - true).max() / true.max())
    assert 0.005 < worst < 0.013


def test_the_pseudo_voigt_has_the_full_width_of_the_convolution():
    for g, k in ((1.0, 0.2), (1.0, 1.0), (0.3, 1.0)):
        x = np.linspace(0, 3, 30_001)
        true = voigt_profile(x, g / math.sqrt(8 * math.log(2)), k / 2)
        found = voigt(x, 0.0, g, k)
        widths = [x[(y < y[0] / 2).argmax()] for y in (true, found)]
        assert widths[1] == pytest.approx(widths[0], rel=4e-3)


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(UnknownName, match="Did you mean 'Fe K'"):
        line_shapes(ENERGY, ["Fe-K"])
    with pytest.raises(ShapeMismatch, match="as long as families"):
        spectrum(ENERGY, [1.0, 2.0], ["Fe K"])
    with pytest.raises(ShapeMismatch, match="rising evenly"):
        line_shapes(np.array([1.0, 2.0, 4.0]), ["Fe K"])
    with pytest.raises(OutOfRange, match="counts = -1"):
        spectrum(ENERGY, [-1.0], ["Fe K"])
    with pytest.raises(OutOfRange, match="beam_ev"):
        bremsstrahlung(ENERGY, 0.0, 1.0)
    with pytest.raises(OutOfRange, match="each factor is above 0"):
        cliff_lorimer([1.0, 2.0], [1.0, 0.0])
    with pytest.raises(ShapeMismatch, match="one factor an element"):
        cliff_lorimer([1.0, 2.0, 3.0], [1.0, 1.0])
