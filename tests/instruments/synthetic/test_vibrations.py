"""Raman and AFM-IR against published shifts, constants, fits and proportions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects.counts import counted
from aemtwin.instruments.effects.noise import generator
from aemtwin.instruments.synthetic import vibrations
from aemtwin.instruments.synthetic.vibrations import (
    INFRARED,
    RAMAN,
    absorption,
    anti_stokes_ratio,
    cosmic_rays,
    heating_shift,
    laser_power,
    luminescence,
    photothermal,
    raman,
    stress_shift,
)
from aemtwin.instruments.synthetic.xrays import lorentzian

AXIS = np.arange(50e3, 54.2e3, 25.0)


def random(part):
    return generator(7, 0, part, "vibrations")


def test_a_spectrum_counts_the_areas_of_its_bands():
    axis = np.arange(0.0, 4e5, 50.0)
    bands = RAMAN["graphite"]
    seen = raman(axis, *bands[:2], 1e4 * np.array(bands.areas), resolution_per_m=500.0)
    assert seen.sum() == pytest.approx(1e4 * sum(bands.areas), rel=0.02)  # wings beyond


def test_points_with_their_own_bands_are_each_as_if_alone():
    rng = random("own")
    positions = 52e3 + 100 * rng.standard_normal((3, 4, 2))
    widths = rng.uniform(300, 500, (3, 4, 2))
    areas = rng.uniform(1, 2, (3, 4, 2))
    for blur in (0.0, 250.0):
        whole = raman(AXIS, positions, widths, areas, resolution_per_m=blur)
        one = raman(
            AXIS, positions[2, 1], widths[2, 1], areas[2, 1], resolution_per_m=blur
        )
        np.testing.assert_allclose(whole[2, 1], one, rtol=1e-12)


def test_the_silicon_line_moves_as_published_under_stress():
    """De Wolf (1996): -2 1/cm a GPa along one axis; both axes of the face, twice."""
    one = float(stress_shift(1e9)) / 100
    assert one == pytest.approx(-2.0, rel=0.05)
    assert float(stress_shift(1e9, 1e9)) / 100 == pytest.approx(2 * one)
    assert float(stress_shift(-1e9)) > 0  # compression hardens


def test_the_silicon_line_moves_as_published_under_pressure():
    """Weinstein and Piermarini (1975), Phys. Rev. B 12, 1172: 5.2 1/cm a GPa."""
    found = float(stress_shift(-1e9, -1e9, -1e9)) / 100
    assert found == pytest.approx(5.2, rel=0.15)


def test_the_shift_is_half_the_eigenvalue_of_the_secular_matrix():
    """Yu and Cardona's matrix of strain, solved without the small-shift step."""
    (p, q), (s11, s12) = vibrations.POTENTIALS, vibrations.COMPLIANCES
    stress = np.array([3e8, -1e8, 2e8])
    strain = s12 * stress.sum() + (s11 - s12) * stress
    squares = p * strain + q * (strain.sum() - strain)  # over the frequency squared
    exact = vibrations.SILICON_PER_M * (math.sqrt(1 + squares[2]) - 1)
    assert float(stress_shift(*stress)) == pytest.approx(exact, rel=2e-3)


def test_stress_is_recovered_from_a_fit_and_better_with_more_counts():
    stress = np.linspace(-8e8, 8e8, 12)
    centre = 52070.0 + stress_shift(stress)[:, None]
    sd = []
    for counts in (300.0, 30_000.0):
        mean = raman(AXIS, centre, np.full_like(centre, 350.0), counts + 0 * centre)
        seen = counted(mean + 0.5, 1.0, random("stress"))

        def model(x, where, area):
            return 25.0 * area * lorentzian(x, where, 350.0) + 0.5

        fits = [
            curve_fit(model, AXIS, y, (52070.0, counts), np.sqrt(y + 1))[0][0]
            for y in seen
        ]
        per_pa = float(stress_shift(1.0))
        sd.append(np.std((np.array(fits) - 52070.0) / per_pa - stress))
    assert sd[1] < 2e7
    assert sd[1] < 0.3 * sd[0]


def test_heat_softens_silicon_as_published():
    """Tsu and Hernandez (1982): 521 1/cm at 20 °C, 493 at 900 °C."""
    shift = float(heating_shift(1e-3, 880e3))
    assert 521 + shift / 100 == pytest.approx(493, abs=4)
    once, twice = heating_shift([1e-3, 2e-3], 1e5)
    assert once < 0
    assert twice == pytest.approx(2 * once)


def test_anti_stokes_counts_follow_the_occupation():
    """n / (n + 1) of Bose and Einstein, from constants of their own."""
    h, c, k = 6.62607015e-34, 299792458.0, 1.380649e-23
    t = np.array([100.0, 300.0, 900.0])
    n = 1 / np.expm1(h * c * 52070.0 / (k * t))
    np.testing.assert_allclose(anti_stokes_ratio(52070.0, t), n / (n + 1), rtol=1e-9)
    lit = anti_stokes_ratio(52070.0, t, 1 / 532e-9)
    up, down = 1 / 532e-9 + 52070.0, 1 / 532e-9 - 52070.0
    np.testing.assert_allclose(lit, n / (n + 1) * up**3 / down**3, rtol=1e-9)


def test_cosmic_rays_are_as_many_and_as_high_as_asked():
    flat = np.full((200, 300, 10), 5.0)
    seen, where = cosmic_rays(random("rays"), flat, 1e-3, 4.0, height=500.0)
    hits = 0.004 * flat.size
    assert where.sum() == pytest.approx(hits, abs=5 * math.sqrt(hits))
    np.testing.assert_array_equal(seen[~where], 5.0)
    extra = seen[where] - 5.0
    assert extra.mean() == pytest.approx(500.5, abs=5 * 500 / math.sqrt(hits))
    assert (extra >= 1).all()
    np.testing.assert_array_equal(flat, 5.0)  # a new array
    clean, none = cosmic_rays(random("rays"), flat, 0.0, 4.0)
    assert not none.any()
    np.testing.assert_array_equal(clean, flat)


def test_drawn_spectra_have_a_fano_factor_of_one():
    mean = raman(AXIS, [52070.0], [350.0], [4000.0], luminescence=20.0)
    draws = counted(np.tile(mean, (2000, 1)), 1.0, random("fano"))
    fano = draws.var(axis=0, ddof=1) / draws.mean(axis=0)
    # the sample's variance has a relative sd of sqrt(2 / draws), averaged over s
    assert fano.mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 2000 / len(AXIS)))


def test_luminescence_adds_a_fall_to_a_polynomial_and_is_never_negative():
    axis = np.linspace(0.0, 3e5, 7)
    found = luminescence(axis, [[10.0, -30.0]], amplitude=[40.0], decay_per_m=1e5)
    want = 10 - 30 * axis / 3e5 + 40 * np.exp(-axis / 1e5)
    np.testing.assert_allclose(found, [np.maximum(want, 0)])
    assert found[0, -1] == 0.0


def test_a_thin_film_swells_in_proportion_to_absorbance_thickness_and_power():
    axis = np.arange(1e5, 2e5, 200.0)
    bands = INFRARED["ester"]
    areas = 3e8 * np.array(bands.areas)
    a = absorption(axis, *bands[:2], areas)
    thin, twice = photothermal(a[None], np.array([5e-9, 10e-9]), 10.0)
    np.testing.assert_allclose(thin, vibrations.EXPANSION * 10.0 * a * 5e-9, rtol=2e-3)
    np.testing.assert_allclose(twice, 2 * thin, rtol=2e-3)
    np.testing.assert_allclose(photothermal(a, 5e-9, 20.0), 2 * thin)
    assert axis[thin.argmax()] == pytest.approx(173.5e3, abs=200)


def test_a_thick_film_takes_all_of_the_light_and_no_more():
    thick = photothermal([1e5, 1e6], 1.0, 10.0)
    np.testing.assert_allclose(thick, vibrations.EXPANSION * 10.0)


def test_dividing_by_the_lasers_power_gives_the_absorption_back():
    axis = np.arange(1e5, 2e5, 500.0)
    a = absorption(axis, *INFRARED["protein"][:2], [1e8, 2e8, 3e8])
    chips = vibrations.Bands([1.2e5, 1.7e5], [5e4, 4e4], [0.6, 1.0])
    power = laser_power(axis, chips, least=0.01)
    assert power.max() <= 1.0
    assert power.min() >= 0.01
    signal = photothermal(a, 1e-8, 10.0 * power)
    flat = signal / power
    np.testing.assert_allclose(flat / flat.max(), a / a.max(), rtol=5e-3)


def test_band_tables_hold_published_positions():
    assert RAMAN["silicon"].positions_per_m == [52070.0]
    assert RAMAN["anatase"].positions_per_m[0] == 14400.0
    for table in (RAMAN, INFRARED):
        for bands in table.values():
            assert len({len(column) for column in bands}) == 1
            assert bands.positions_per_m == sorted(bands.positions_per_m)
            assert max(bands.areas) == 1.0


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ShapeMismatch, match="same number of bands"):
        raman(AXIS, [52070.0], [350.0, 350.0], [1.0])
    with pytest.raises(ShapeMismatch, match="rising evenly"):
        raman(AXIS[::-1], [52070.0], [350.0], [1.0])
    with pytest.raises(OutOfRange, match="widths_per_m"):
        raman(AXIS, [52070.0], [0.0], [1.0])
    with pytest.raises(OutOfRange, match="areas"):
        raman(AXIS, [52070.0], [350.0], [np.nan])
    with pytest.raises(OutOfRange, match="temperature_k"):
        anti_stokes_ratio(52070.0, 0.0)
    with pytest.raises(OutOfRange, match="got laser_per_m = 5"):
        anti_stokes_ratio(52070.0, 300.0, 532e-9)
    with pytest.raises(OutOfRange, match="dwell_s"):
        cosmic_rays(random("bad"), [1.0], 1.0, -1.0)
    with pytest.raises(OutOfRange, match="thickness_m"):
        photothermal([1.0], -1e-9, 1.0)
