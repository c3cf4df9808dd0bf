"""Contact currents against closed forms, SciPy's functions and a plain root search."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants
from scipy.optimize import brentq
from scipy.special import lambertw, wrightomega

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.synthetic import junctions
from aemtwin.instruments.synthetic.junctions import (
    compliance,
    contact_iv,
    omega,
    saturation_current,
    thermal_volts,
    zero_bias_conductance,
)

BIAS = np.linspace(-1, 1, 41)


def test_the_constants_are_those_of_codata():
    assert junctions.CHARGE_C == constants.e
    assert junctions.BOLTZMANN_J_K == constants.k
    assert junctions.PLANCK_J_S == constants.h
    assert junctions.ELECTRON_KG == pytest.approx(constants.m_e, rel=1e-8)


def test_the_richardson_constant_is_the_published_one():
    """Hawkes and Kasper, "Principles of Electron Optics": 120.2 A / (cm^2 K^2)."""
    assert junctions.RICHARDSON * 1e-4 == pytest.approx(120.17, abs=0.01)


def test_omega_is_the_function_of_wright():
    x = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-6, 6, 20_001)])
    np.testing.assert_allclose(omega(x), wrightomega(x), rtol=2e-13, atol=1e-300)
    assert omega(-np.inf) == 0.0


def test_omega_solves_its_equation():
    x = np.linspace(-50, 500, 1001)
    y = omega(x)
    np.testing.assert_allclose(y + np.log(y), x, rtol=1e-14, atol=1e-14)


def test_a_diode_with_resistance_is_lamberts_w():
    start = float(saturation_current(0.6, area_m2=1e-16, temperature_k=300))
    a, series = 1.3 * thermal_volts(300), 1e7
    x = start * series / a * np.exp((BIAS + start * series) / a)
    want = a / series * lambertw(x).real - start
    got = contact_iv(BIAS, 0.0, 0.6, ideality=1.3, series_ohm=series, temperature_k=300)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12 * start)


@pytest.mark.parametrize("series", [1e3, 1e7, 1e10])
@pytest.mark.parametrize("ohmic", [0.0, 1e-11, 1e-7])
@pytest.mark.parametrize("kelvin", [77.0, 300.0])
def test_the_current_obeys_kirchhoffs_laws(series, ohmic, kelvin):
    """A plain search for the voltage of the junction, one bias at a time."""
    start = float(saturation_current(0.35, area_m2=1e-15, temperature_k=kelvin))
    a = 1.2 * thermal_volts(kelvin)

    def through(v):
        return ohmic * v + start * math.expm1(min(v / a, 700.0))

    got = contact_iv(
        BIAS,
        ohmic,
        0.35,
        area_m2=1e-15,
        ideality=1.2,
        series_ohm=series,
        temperature_k=kelvin,
    )
    for bias, current in zip(BIAS, got, strict=True):
        v = brentq(lambda v, b=bias: v + series * through(v) - b, -1, 1, xtol=1e-16)
        assert current == pytest.approx(
            through(v), rel=1e-8, abs=1e-13 * start + 1e-15 * ohmic
        )


def test_at_high_bias_the_resistance_in_series_is_what_limits():
    slope = np.diff(contact_iv([4.9, 5.0], 0.0, 0.3, series_ohm=1e8))[0] / 0.1
    assert slope == pytest.approx(1e-8, rel=0.01)


def test_at_reverse_bias_a_diode_gives_its_saturation_current():
    start = float(saturation_current(0.5, area_m2=1e-16, temperature_k=295.0))
    got = contact_iv([-2.0, -1.0], 0.0, 0.5, series_ohm=1e6)
    np.testing.assert_allclose(got, -start, rtol=1e-9)


def test_without_a_diode_or_resistance_it_is_ohms_law():
    np.testing.assert_allclose(contact_iv(BIAS, 2e-9), 2e-9 * BIAS, rtol=1e-12)
    np.testing.assert_allclose(
        contact_iv(BIAS, 1e-6, series_ohm=1e6), 5e-7 * BIAS, rtol=1e-12
    )


def test_a_small_resistance_comes_to_none_at_all():
    bare = contact_iv(BIAS[:25], 1e-12, 0.7)
    almost = contact_iv(BIAS[:25], 1e-12, 0.7, series_ohm=1e-3)
    np.testing.assert_allclose(almost, bare, rtol=1e-6, atol=1e-24)
    both = contact_iv(BIAS[:25], 1e-12, 0.7, series_ohm=[0.0, 1e-3])
    np.testing.assert_allclose(both, [bare, almost], rtol=1e-12, atol=1e-24)


@pytest.mark.parametrize("series", [0.0, 1e5, 1e10])
def test_the_slope_at_no_bias_is_the_closed_form(series):
    given = {"ideality": 1.5, "series_ohm": series, "area_m2": 1e-14}
    small = 1e-6
    slope = np.diff(contact_iv([-small, small], 1e-10, 0.4, **given))[0] / (2 * small)
    want = zero_bias_conductance(1e-10, 0.4, **given)
    assert slope == pytest.approx(float(want), rel=1e-6)


def test_the_barrier_is_the_slope_of_an_arrhenius_plot():
    warm = np.array([280.0, 320.0])
    start = [
        float(saturation_current(0.55, area_m2=1e-15, temperature_k=t)) for t in warm
    ]
    slope = np.diff(np.log(np.array(start) / warm**2)) / np.diff(1 / warm)
    assert -slope[0] * constants.k / constants.e == pytest.approx(0.55, rel=1e-9)


def test_the_ideality_is_the_slope_of_the_logarithm():
    forward = contact_iv([0.3, 0.4], 0.0, 0.9, ideality=1.7)
    n = 0.1 / np.diff(np.log(forward))[0] / thermal_volts(295.0)
    assert n == pytest.approx(1.7, rel=1e-3)


def test_the_amplifier_gives_no_more_than_its_limit():
    free = contact_iv(BIAS, 1e-8)
    held = contact_iv(BIAS, 1e-8, limit_a=2e-9)
    np.testing.assert_array_equal(held, compliance(free, 2e-9))
    assert np.abs(held).max() == 2e-9
    assert np.all(np.isfinite(contact_iv([50.0], 0.0, 0.2, limit_a=1e-9)))


def test_a_frame_is_its_points_one_by_one():
    rng = np.random.default_rng(2)
    ohmic, barrier = rng.uniform(0, 1e-9, (3, 1)), rng.uniform(0.3, 0.6, (3, 40))
    frame = contact_iv(BIAS, ohmic, barrier, series_ohm=1e7)
    assert frame.shape == (3, 40, 41)
    one = contact_iv(BIAS, ohmic[2, 0], barrier[2, 7], series_ohm=1e7)
    np.testing.assert_array_equal(frame[2, 7], one)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: contact_iv(0.0, 1e-9), ShapeMismatch),
        (lambda: contact_iv([0.0], -1e-9), OutOfRange),
        (lambda: contact_iv([math.nan], 1e-9), OutOfRange),
        (lambda: contact_iv([0.0], [1, 2], [0.1, 0.2, 0.3]), ShapeMismatch),
        (lambda: contact_iv([0.0], 1e-9, -0.1), OutOfRange),
        (lambda: contact_iv([0.0], 1e-9, ideality=0.5), OutOfRange),
        (lambda: contact_iv([0.0], 1e-9, series_ohm=math.inf), OutOfRange),
        (lambda: contact_iv([0.0], 1e-9, temperature_k=0.0), OutOfRange),
        (lambda: contact_iv([0.0], [True]), WrongType),
        (lambda: contact_iv([0.0], [[1.0], [1.0, 2.0]]), WrongType),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error, match=r" got \w+"):
        call()
