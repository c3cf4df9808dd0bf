"""Low-loss physics against closed forms: Drude, sphere modes, Poisson's plurality."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import kv, lpmv

from aemtwin.instruments.synthetic import lowloss
from aemtwin.instruments.synthetic.lowloss import (
    Beam,
    drude_loss,
    mode_energy,
    plural_scattering,
    shell_permittivity,
    sphere_lengths,
)

BEAM = Beam(60e3, 0.015)
STEP, LONG = 0.5, 1024
ENERGY = STEP * np.arange(LONG)


def zero_loss(fwhm=0.8):
    around = np.where(ENERGY > ENERGY[-1] / 2, ENERGY - LONG * STEP, ENERGY)
    peak = np.exp(-4 * math.log(2) * (around / fwhm) ** 2)
    return peak / peak.sum()


def single_of(mean, plasmon=15.0, damping=1.5):
    loss = drude_loss(ENERGY, plasmon, damping)
    return mean * loss / loss.sum()


def test_the_beam_is_that_of_the_textbook():
    """Egerton (2011), appendix of electron data: v/c is 0.548 at 100 keV."""
    assert Beam(100e3, 0.01).speed == pytest.approx(0.5482, abs=1e-4)
    assert BEAM.speed == pytest.approx(0.4462, abs=1e-4)


def test_the_mean_free_path_of_a_plasmon_is_that_of_the_closed_form():
    """1/lambda = Ep ln(1 + (beta/theta_E)^2) / (2 a0 m0 v^2), a sharp plasmon."""
    energy = np.arange(1, 40_000) * 0.005
    loss = lowloss.bulk_loss(BEAM, energy, drude_loss(energy, 15.0, 0.1))
    per_metre = 0.005 * loss.sum()
    want = 15.0 * float(BEAM.logarithm(np.array(15.0))) * BEAM.per_metre * math.pi / 2
    assert per_metre == pytest.approx(want, rel=0.01)
    assert 1e9 / per_metre == pytest.approx(75.8, abs=1.0)  # nm


@pytest.mark.parametrize("damping", [0.5, 1.5, 4.0])
def test_drude_peaks_at_the_plasmon_within_the_shift_of_damping(damping):
    energy = np.linspace(5, 25, 200_001)
    peak = energy[drude_loss(energy, 15.0, damping).argmax()]
    # d/dE = 0 of the formula: 6 E^2 = 2 Ep^2 - G^2 + sqrt(16 Ep^4 - 4 Ep^2 G^2 + G^4)
    p, g = 15.0**2, damping**2
    want = math.sqrt((2 * p - g + math.sqrt(16 * p**2 - 4 * p * g + g**2)) / 6)
    assert peak == pytest.approx(want, abs=2e-4)
    assert abs(peak - 15.0) < damping**2 / 15.0 / 4


@pytest.mark.parametrize("damping", [0.5, 2.0])
def test_drude_is_the_loss_function_and_obeys_the_sum_rule(damping):
    energy = np.arange(1, 400_000) * 0.01
    loss = drude_loss(energy, 15.0, damping)
    eps = 1 - 15.0**2 / (energy**2 + 1j * energy * damping)
    np.testing.assert_allclose(loss, np.imag(-1 / eps), rtol=1e-9)
    total = 0.01 * (energy * loss).sum()  # Egerton (2011), section 4.2
    assert total == pytest.approx(math.pi / 2 * 15.0**2, rel=0.01)


def test_the_modes_of_a_sphere_lie_between_the_dipole_and_the_plane():
    modes = [mode_energy(15.0, order, 1.0) for order in (1, 2, 3, 10_000)]
    assert modes[0] == pytest.approx(15.0 / math.sqrt(3))
    assert modes[1] == pytest.approx(15.0 * math.sqrt(2 / 5))
    assert modes[-1] == pytest.approx(15.0 / math.sqrt(2), rel=1e-4)
    assert modes == sorted(modes)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_shell_lowers_its_modes_from_vacuum_to_the_oxide(order):
    around = [shell_permittivity(order, 8e-9, t, 3.0) for t in (0, 1e-9, 3e-9, 1e-3)]
    assert around[0] == pytest.approx(1.0)
    assert around[-1] == pytest.approx(3.0, rel=1e-9)
    assert around == sorted(around)


def test_a_coated_dipole_is_that_of_the_closed_form():
    """The polarizability of a coated sphere diverges there (Bohren and Huffman, 5.36).

    (e2 - 1)(e1 + 2 e2) + f (e1 - e2)(1 + 2 e2) over (e2 + 2)(e1 + 2 e2) + f (2 e2 - 2)
    (e1 - e2), with f the share of the core's volume.
    """
    core, shell, e2 = 8e-9, 2e-9, 3.0
    f = (core / (core + shell)) ** 3
    e1 = -2 * shell_permittivity(1, core, shell, e2)
    below = (e2 + 2) * (e1 + 2 * e2) + f * (2 * e2 - 2) * (e1 - e2)
    assert below == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("away", [8.05e-9, 10e-9, 16e-9])
def test_outside_a_sphere_the_modes_couple_as_ferrell_and_echenique(away):
    """Phys. Rev. Lett. 55, 1526 (1985): 4 a Σ (2-δ) (qa)^2l K_m²(qb) / (l+m)!(l-m)!"""
    radius = 8e-9
    energy = np.array([mode_energy(15.0, n, 1.0) for n in range(1, 9)])
    found = sphere_lengths(BEAM, radius, np.array([away]), energy)[:, 0]
    f = math.factorial
    for order, (got, q) in enumerate(
        zip(found, BEAM.wave_number(energy), strict=True), start=1
    ):
        want = sum(
            (1 if m == 0 else 2)
            * ((q * radius) ** order * kv(m, q * away)) ** 2
            / (f(order + m) * f(order - m))
            for m in range(order + 1)
        )
        assert got == pytest.approx(4 * radius * want, rel=2e-3)


def test_through_a_sphere_the_modes_couple_as_their_integral():
    """A plainer sum over a fine straight path, with another library's functions."""
    radius, away, energy = 8e-9, 5e-9, np.array([8.66, 9.5, 9.8])
    found = sphere_lengths(BEAM, radius, np.array([away]), energy)[:, 0]
    z = np.linspace(-800e-9, 800e-9, 400_001)
    r = np.hypot(away, z)
    f = math.factorial
    for order, (got, q) in enumerate(
        zip(found, BEAM.wave_number(energy), strict=True), start=1
    ):
        radial = np.where(
            r < radius, (r / radius) ** order, (radius / r) ** (order + 1)
        )
        want = 0.0
        for m in range(order + 1):
            path = radial * lpmv(m, order, z / r) * np.exp(1j * q * z)
            weight = (1 if m == 0 else 2) * f(order - m) / f(order + m)
            want += weight * abs(np.trapezoid(path, z)) ** 2
        assert got == pytest.approx(want / radius, rel=3e-3)


def test_what_the_surface_takes_up_inside_the_bulk_gives():
    radius = 12e-9
    away = np.linspace(0, radius, 50)[:-1]
    chord = 2 * np.sqrt(radius**2 - away**2)
    given = sphere_lengths(BEAM, radius, away, np.full(8, 15.0), inside=True).sum(
        axis=0
    )
    share = given / (chord * float(BEAM.logarithm(np.array(15.0))))
    assert ((share > 0) & (share < 0.4)).all()
    assert (np.diff(share[:-5]) > 0).all()  # most of it near the edge


def test_the_area_of_the_zero_loss_is_that_of_the_unscattered():
    """Egerton (2011), section 5.1: I0 / It = exp(-t/lambda)."""
    for mean in (0.1, 0.7, 2.5):
        single = single_of(mean)
        near = np.zeros(LONG)
        near[ENERGY > 5] = single[ENERGY > 5]  # nothing under the peak
        out = plural_scattering(zero_loss(), near)
        peak = (ENERGY < 2.5) | (ENERGY > ENERGY[-1] - 3)
        assert out[peak].sum() == pytest.approx(math.exp(-near.sum()), rel=1e-4)
        assert out.sum() == pytest.approx(1.0, rel=1e-12)
        assert math.log(out.sum() / out[peak].sum()) == pytest.approx(
            near.sum(), rel=1e-5
        )


@given(st.floats(0.01, 3.0))
def test_the_orders_of_scattering_are_those_of_poisson(mean):
    """One sharp loss: n of them at n times its energy, with mean^n e^-mean / n!."""
    single = np.zeros(LONG)
    single[30] = mean
    out = plural_scattering(np.eye(LONG)[0], single)
    for n in range(6):
        want = math.exp(-mean) * mean**n / math.factorial(n)
        assert out[30 * n] == pytest.approx(want, rel=1e-9, abs=1e-15)


def test_plural_plasmons_peak_at_multiples():
    out = plural_scattering(zero_loss(), single_of(1.2))
    for n in (1, 2, 3):
        near = np.abs(ENERGY - 15.0 * n) < 5
        peak = ENERGY[near][out[near].argmax()]
        assert peak == pytest.approx(15.0 * n, abs=STEP)


def test_plural_scattering_is_the_sum_of_convolutions():
    single, zero = single_of(0.9, 10.0, 3.0), zero_loss()
    want, term = zero.copy(), zero.copy()
    for n in range(1, 30):
        term = np.fft.irfft(np.fft.rfft(term) * np.fft.rfft(single), n=LONG) / n
        want = want + term
    found = plural_scattering(zero, single)
    np.testing.assert_allclose(found, want * math.exp(-0.9), atol=1e-14)
