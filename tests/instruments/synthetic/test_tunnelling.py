"""Tunnelling against quadrature, differences, closed forms and a sampled lock-in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import constants
from scipy.integrate import quad
from scipy.special import expit, spence

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.synthetic import tunnelling
from aemtwin.instruments.synthetic.tunnelling import (
    Gap,
    barrier_decay,
    current,
    didv,
    local_density,
    setpoint,
)

ENERGY = np.linspace(-1.6, 1.6, 641)
BIAS = np.linspace(-1.2, 1.2, 49)
METAL = np.ones(len(ENERGY))
SEMI = {"gap_ev": 0.8, "centre_ev": 0.1, "edge_ev": 0.04, "floor": 0.02}
KT = constants.k / constants.e


def defect(energy):
    return local_density(energy, **SEMI, peak=0.5, peak_ev=0.2, peak_fwhm_ev=0.15)


def transmission(energy, bias, gap):
    root = math.sqrt(
        2 * constants.m_e * constants.e * (gap.work_function_ev + bias / 2 - energy)
    )
    return math.exp(-2 * gap.width_m * root / constants.hbar)


def test_the_current_falls_by_a_decade_per_angstrom():
    """Binnig and Rohrer's rule; kappa is 1.025 per angstrom at 4 eV."""
    assert float(barrier_decay(4.0)) == pytest.approx(
        math.sqrt(2 * constants.m_e * 4 * constants.e) / constants.hbar, rel=1e-8
    )
    gap = Gap(work_function_ev=5.0)
    near, far = (
        current([0.1], ENERGY, METAL, gap, height_m=h)[0] for h in (0.0, 1e-10)
    )
    assert near / far == pytest.approx(10.0, rel=0.02)
    wider = Gap(7e-10, 5.0)
    assert current([0.01], ENERGY, METAL, wider)[0] == pytest.approx(
        current([0.01], ENERGY, METAL, gap, height_m=1e-10)[0], rel=1e-3
    )


@pytest.mark.parametrize("kelvin", [0.0, 4.2, 295.0])
def test_the_current_is_the_integral_over_the_window(kelvin):
    """Plain quadrature of rho(E) T(E, V) [f(E - eV) - f(E)]."""
    gap = Gap(5e-10, 4.2, kelvin)
    got = current(BIAS, ENERGY, defect(ENERGY), gap)
    for bias, value in zip(BIAS[::6], got[::6], strict=True):

        def summand(energy, bias=bias):
            rho = float(defect([energy])[0]) * transmission(energy, bias, gap)
            if kelvin == 0:
                return rho * np.sign(bias)
            warm = KT * kelvin
            return rho * (expit((bias - energy) / warm) - expit(-energy / warm))

        low, high = sorted((0.0, bias))
        edge = 40 * KT * kelvin
        marks = sorted({low, high, 0.2})
        want = quad(
            summand,
            max(low - edge, -1.6),
            min(high + edge, 1.6),
            points=marks,
            limit=400,
            epsabs=0,
            epsrel=1e-8,
        )[0]
        quantum = 2 * constants.e**2 / constants.h
        assert value == pytest.approx(quantum * want, rel=2e-3, abs=1e-18)


def test_the_conductance_of_a_metal_is_ohmic_at_small_bias():
    small = np.linspace(-0.02, 0.02, 9)
    got = current(small, ENERGY, METAL)
    quantum = 2 * constants.e**2 / constants.h
    want = quantum * transmission(0.0, 0.0, Gap()) * small
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-20)
    np.testing.assert_allclose(didv([0.0], ENERGY, METAL), want[-1] / 0.02, rtol=1e-3)


def test_a_metal_tunnels_alike_in_both_directions():
    got = current(BIAS, ENERGY, METAL)
    np.testing.assert_allclose(got, -got[::-1], rtol=1e-4, atol=1e-20)
    assert np.all(np.diff(got) > 0)


@pytest.mark.parametrize("kelvin", [0.0, 4.2, 77.0, 295.0])
def test_didv_is_the_derivative_of_the_current(kelvin):
    gap = Gap(6e-10, 4.5, kelvin)
    rho = defect(ENERGY)
    step = 1e-6
    ends = [current(BIAS + d, ENERGY, rho, gap) for d in (-step, step)]
    want = (ends[1] - ends[0]) / (2 * step)
    got = didv(BIAS, ENERGY, rho, gap)
    off_node = np.abs(BIAS / 0.005 - np.rint(BIAS / 0.005)) > 1e-3
    chosen = off_node | (kelvin > 0)
    np.testing.assert_allclose(got[chosen], want[chosen], rtol=1e-5, atol=1e-15)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-14)


@pytest.mark.parametrize("swing", [0.005, 0.03, 0.1])
def test_didv_is_what_a_lock_in_finds_in_the_modulated_current(swing):
    """The first harmonic of I(V + A sin wt) over A, sampled in time."""
    gap = Gap(temperature_k=4.2)
    turn = 2 * np.pi * (np.arange(96) + 0.5) / 96
    rho = defect(ENERGY)
    every = (BIAS[:, None] + swing * np.sin(turn)).ravel()
    signal = current(every, ENERGY, rho, gap).reshape(len(BIAS), -1)
    want = 2 * (signal * np.sin(turn)).mean(axis=1) / swing
    got = didv(BIAS, ENERGY, rho, gap, modulation_v=swing)
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=1e-3 * want.max())


def width(bias, signal):
    above = bias[signal > signal.max() / 2]
    return above[-1] - above[0]


def sharp(energy):
    """A level far narrower than what broadens it."""
    return local_density(
        energy, gap_ev=6.0, edge_ev=1e-3, peak=1.0, peak_ev=0.1, peak_fwhm_ev=4e-4
    )


def test_heat_broadens_a_level_by_three_and_a_half_kt():
    fine = np.linspace(-0.4, 0.4, 4001)
    bias = np.linspace(0.05, 0.15, 401)
    got = didv(bias, fine, sharp(fine), Gap(1e-11, 40.0, 100.0))
    want = 4 * math.acosh(math.sqrt(2)) * KT * 100
    assert want == pytest.approx(3.525 * KT * 100, rel=1e-3)
    assert width(bias, got) == pytest.approx(want, rel=0.02)
    assert bias[got.argmax()] == pytest.approx(0.1, abs=1e-3)


def test_the_lock_in_broadens_a_level_by_root_three_of_its_amplitude(monkeypatch):
    monkeypatch.setattr(tunnelling, "TURNS", 200)  # a level finer than its points
    fine = np.linspace(-0.3, 0.3, 601)
    bias = np.linspace(0.04, 0.16, 121)
    level = local_density(
        fine, gap_ev=6.0, edge_ev=1e-3, peak=1.0, peak_ev=0.1, peak_fwhm_ev=2e-3
    )
    got = didv(bias, fine, level, Gap(1e-11, 40.0, 1.0), modulation_v=0.05)
    assert width(bias, got) == pytest.approx(math.sqrt(3) * 0.05, rel=0.05)


def test_the_modulation_keeps_the_area_of_a_peak():
    bias = np.linspace(-1.2, 1.2, 481)
    gap = Gap(1e-11, 40.0)
    areas = [
        np.trapezoid(didv(bias, ENERGY, defect(ENERGY), gap, modulation_v=a), bias)
        for a in (0.0, 0.05)
    ]
    assert areas[0] == pytest.approx(areas[1], rel=2e-3)


def test_the_integrals_of_fermis_function_are_those_of_the_dilogarithm():
    x = np.linspace(-60, 5, 3001)
    occupied, first, second = tunnelling._fermi(0.01 * x, 0.01)
    np.testing.assert_allclose(occupied, expit(-x), rtol=1e-13)
    np.testing.assert_allclose(first, -0.01 * np.logaddexp(0, -x), rtol=1e-12)
    want = -1e-4 * spence(1 + np.exp(-x))
    np.testing.assert_allclose(second, want, rtol=1e-12)
    cold = tunnelling._fermi(0.01 * x, 0.0)
    warm = tunnelling._fermi(0.01 * x, 1e-9)
    for one, other in zip(cold, warm, strict=True):
        np.testing.assert_allclose(one[x != 0], other[x != 0], atol=1e-8)


def test_every_spectrum_passes_through_the_set_point():
    rng = np.random.default_rng(4)
    rho = local_density(
        ENERGY,
        gap_ev=rng.uniform(0, 0.9, (5, 6)),
        edge_ev=0.03,
        floor=0.01,
        peak=rng.uniform(0, 1, (5, 6)),
        peak_ev=-0.1,
    )
    gap = Gap(temperature_k=4.2)
    for bias, wanted in ((1.0, 2e-10), (-0.7, -1e-10)):
        height = setpoint(bias, wanted, ENERGY, rho, gap)
        assert height.shape == (5, 6)
        got = current([bias], ENERGY, rho, gap, height_m=height)
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_a_tenth_of_the_set_current_holds_the_tip_an_angstrom_higher():
    gap = Gap(work_function_ev=5.0)
    low, high = (float(setpoint(0.5, i, ENERGY, METAL, gap)) for i in (1e-9, 1e-10))
    assert high - low == pytest.approx(math.log(10) / (2 * barrier_decay(5.0)))
    assert high - low == pytest.approx(1.0e-10, rel=0.02)


def test_at_the_set_point_twice_the_density_gives_the_same_spectrum():
    rho = np.stack([defect(ENERGY), 2 * defect(ENERGY)])
    height = setpoint(1.0, 1e-10, ENERGY, rho)
    got = didv(BIAS, ENERGY, rho, height_m=height)
    np.testing.assert_allclose(got[0], got[1], rtol=1e-12)
    assert height[1] > height[0]


def test_the_energy_dependence_of_the_nominal_gap_serves_an_angstrom_around_it():
    """Against the full barrier at the true width; the set point taken out."""
    rho, away = defect(ENERGY), BIAS != 0
    kept = current(BIAS, ENERGY, rho, Gap(6e-10))[away]
    full = current(BIAS, ENERGY, rho, Gap(7e-10))[away]
    shape = (full / full[-1]) / (kept / kept[-1])
    assert 0.01 < np.abs(shape - 1).max() < 0.1


def test_a_density_without_gap_and_peak_is_flat():
    np.testing.assert_array_equal(local_density(ENERGY, edge_ev=0.3), METAL)


def test_the_edges_of_the_gap_lie_at_half_height_and_its_floor_is_reached():
    rho = local_density([-0.3, 0.1, 0.5], **SEMI)
    np.testing.assert_allclose(rho, [0.51, 0.02, 0.51], atol=2e-4)


def test_the_peak_has_its_height_and_width():
    rho = defect(ENERGY) - local_density(ENERGY, **SEMI)
    np.testing.assert_allclose(
        np.interp([0.125, 0.2, 0.275], ENERGY, rho), [0.25, 0.5, 0.25], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: barrier_decay(0.0), OutOfRange),
        (lambda: local_density(0.0), ShapeMismatch),
        (lambda: local_density([0.0], gap_ev=-1.0), OutOfRange),
        (lambda: local_density([0.0], floor=2.0), OutOfRange),
        (lambda: current([2.0], ENERGY, METAL), OutOfRange),
        (lambda: current([0.1], [0.05, 0.2], [1.0, 1.0]), OutOfRange),
        (lambda: current([0.1], ENERGY[::-1], METAL), OutOfRange),
        (lambda: current([0.1], ENERGY, METAL[1:]), ShapeMismatch),
        (lambda: current([0.1], ENERGY, -METAL), OutOfRange),
        (lambda: current([1.5], ENERGY, METAL, Gap(5e-10, 0.7)), OutOfRange),
        (lambda: current([0.1], ENERGY, METAL, Gap(0.0)), OutOfRange),
        (lambda: current([0.1], ENERGY, METAL, Gap(temperature_k=-1)), OutOfRange),
        (lambda: didv([1.55], ENERGY, METAL, modulation_v=0.1), OutOfRange),
        (lambda: didv([0.1], ENERGY, METAL, modulation_v=-0.1), OutOfRange),
        (lambda: setpoint(0.5, -1e-10, ENERGY, METAL), OutOfRange),
        (lambda: setpoint(0.5, 1e-10, ENERGY, 0 * METAL), OutOfRange),
        (lambda: setpoint(0.0, 0.0, ENERGY, METAL), OutOfRange),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error):
        call()
