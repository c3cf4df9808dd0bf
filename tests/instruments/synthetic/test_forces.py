"""Force curves against closed forms, potentials and a slower search for the balance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.synthetic.forces import (
    CONTACT_M,
    curve,
    dmt_force,
    drive,
    fit_hertz,
    jumps,
    kelvin,
)

RADIUS, SPRING = 10e-9, 2.0
MODULI = np.array([0.3e9, 1e9, 5e9])
ADHESIONS = np.array([0.02, 0.05, 0.1])
PULL = 2 * math.pi * RADIUS * ADHESIONS


def energy(d, modulus, adhesion):
    """The potential of the DMT force, integrated by hand; 0 far away."""
    pull = 2 * math.pi * RADIUS * adhesion
    if d < 0:
        return -pull * CONTACT_M**2 / (CONTACT_M - d)
    inside = 8 / 15 * modulus * math.sqrt(RADIUS) * d**2.5
    return inside - pull * d - pull * CONTACT_M


def test_in_contact_the_force_is_hertz_less_the_pull_off():
    d = np.linspace(0, 5e-9, 11)
    area = RADIUS * d  # Hertz: a^2 = R d and F = 4 E* a^3 / 3 R
    want = 4 * 1e9 * area**1.5 / (3 * RADIUS) - 2 * math.pi * RADIUS * 0.05
    np.testing.assert_allclose(dmt_force(d, 1e9, RADIUS, 0.05), want, rtol=1e-12)


def test_the_force_is_continuous_at_first_contact_and_is_van_der_waals_beyond():
    near = dmt_force([-1e-20, 0.0, 1e-20], 1e9, RADIUS, 0.05)
    np.testing.assert_allclose(near, -2 * math.pi * RADIUS * 0.05, rtol=1e-9)
    gap = np.array([0.1e-9, 1e-9, 10e-9])
    hamaker = 12 * math.pi * 0.05 * CONTACT_M**2
    want = -hamaker * RADIUS / 6 / (CONTACT_M + gap) ** 2
    np.testing.assert_allclose(dmt_force(-gap, 1e9, RADIUS, 0.05), want, rtol=1e-12)
    assert 4e-20 < hamaker < 6e-20  # J, of usual solids


def test_the_force_is_the_slope_of_its_potential():
    d = np.array([-3e-9, -0.2e-9, 0.3e-9, 4e-9])
    step = 1e-14
    slope = [
        (energy(x + step, 1e9, 0.05) - energy(x - step, 1e9, 0.05)) / (2 * step)
        for x in d
    ]
    np.testing.assert_allclose(dmt_force(d, 1e9, RADIUS, 0.05), slope, rtol=1e-5)


@pytest.mark.parametrize("points", [7, 8, 201])
def test_the_drive_goes_down_and_back_over_the_same_points(points):
    z = drive(4e-9, 2e-9, points)
    assert z.shape == (points,)
    assert z[0] == -4e-9
    assert z.max() == 2e-9
    np.testing.assert_array_equal(z, z[::-1])


def test_every_point_of_a_curve_is_a_balance_of_spring_and_surface():
    z = drive(8e-9, 4e-9, 401)
    force = curve(z, MODULI, ADHESIONS, RADIUS, SPRING)
    d = z - force / SPRING
    want = dmt_force(d, MODULI[:, None], RADIUS, ADHESIONS[:, None])
    np.testing.assert_allclose(force, want, rtol=1e-9, atol=1e-18)


def test_a_curve_is_that_of_a_cantilever_that_creeps_downhill():
    """A slower and plainer version: each step ends in the nearest rest downhill."""
    z = drive(3e-9, 1e-9, 61)
    modulus, adhesion, spring = 1e9, 0.05, 1.0
    fine = np.linspace(-4e-9, 3e-9, 200_001)
    force = dmt_force(fine, modulus, RADIUS, adhesion)
    here, want = fine[0], []
    for position in z:
        push = spring * (position - fine) - force  # positive drives the tip down
        k = int(np.searchsorted(fine, here))
        step = 1 if push[k] > 0 else -1
        while 0 < k < len(fine) - 1 and push[k] * step > 0:
            k += step
        low, high = sorted((fine[k - step], fine[k]))
        here = brentq(
            lambda d, position=position: (
                spring * (position - d) - float(dmt_force(d, modulus, RADIUS, adhesion))
            ),
            low,
            high,
            xtol=1e-22,
        )
        want.append(spring * (position - here))
    got = curve(z, modulus, adhesion, RADIUS, spring)[0]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-16)


@pytest.mark.parametrize("points", [201, 2001, 20001])
def test_the_pull_off_is_two_pi_r_w_within_a_step_of_the_spring(points):
    z = drive(60e-9, 5e-9, points)
    force = curve(z, MODULI, ADHESIONS, RADIUS, 0.5)
    step = z[1] - z[0]
    assert np.all(force.min(axis=1) >= -PULL)
    assert np.all(force.min(axis=1) <= -PULL + 0.5 * step)


def test_the_tip_jumps_where_the_slope_of_the_force_is_that_of_the_spring():
    found = jumps(ADHESIONS, RADIUS, SPRING)
    z = drive(8e-9, 4e-9, 200_001)
    force = curve(z, MODULI, ADHESIONS, RADIUS, SPRING)
    turn = len(z) // 2
    step = z[1] - z[0]
    for row, w, snap, off in zip(force, ADHESIONS, *found, strict=True):
        down, up = np.diff(row[: turn + 1]), np.diff(row[turn:])
        assert z[down.argmin() + 1] == pytest.approx(snap, abs=1.01 * step)
        assert z[turn + up.argmax()] == pytest.approx(off, abs=1.01 * step)
        before = snap - row[down.argmin()] / SPRING  # where the tip hung
        near = dmt_force([before - 1e-14, before + 1e-14], 1e9, RADIUS, w)
        assert -np.diff(near)[0] / 2e-14 == pytest.approx(SPRING, rel=0.05)


def test_the_loop_between_the_branches_is_the_energy_lost_in_both_jumps():
    z = drive(30e-9, 4e-9, 400_001)
    modulus, adhesion = 1e9, 0.05
    force = curve(z, modulus, adhesion, RADIUS, SPRING)[0]
    lost = np.trapezoid(force, z)
    snap, off = (float(one[()]) for one in jumps(adhesion, RADIUS, SPRING))

    def total(d, position):
        return energy(d, modulus, adhesion) + SPRING / 2 * (position - d) ** 2

    def rest(position, low, high):
        def push(d):
            return SPRING * (position - d) - float(
                dmt_force(d, modulus, RADIUS, adhesion)
            )

        return brentq(push, low, high, xtol=1e-20)

    pull = 2 * math.pi * RADIUS * adhesion
    fold = CONTACT_M - (2 * pull * CONTACT_M**2 / SPRING) ** (1 / 3)
    want = total(fold, snap) - total(rest(snap, 0.0, 5e-9), snap)
    want += total(0.0, off) - total(rest(off, -20e-9, fold), off)
    assert lost > 0
    assert lost == pytest.approx(want, rel=1e-3)


def test_a_stiff_spring_neither_jumps_nor_loses_energy():
    stiff = 2 * PULL[1] / CONTACT_M
    for spring, loses in ((1.01 * stiff, False), (0.5 * stiff, True)):
        snap, off = jumps(0.05, RADIUS, spring)
        assert (snap > off) == loses
        force = curve(drive(8e-9, 4e-9, 4001), 1e9, 0.05, RADIUS, spring)[0]
        assert (np.abs(force - force[::-1]).max() > 1e-10) == loses


def test_without_adhesion_there_is_hertz_alone_and_no_jump():
    z = drive(5e-9, 5e-9, 101)
    force = curve(z, 1e9, 0.0, RADIUS, SPRING)[0]
    assert np.all(force[z <= 0] == 0)
    deep = z > 0
    d = z[deep] - force[deep] / SPRING
    want = 4 / 3 * 1e9 * math.sqrt(RADIUS) * d**1.5
    np.testing.assert_allclose(force[deep], want, rtol=1e-9)


def test_a_drive_in_several_strokes_remembers_the_branch():
    snap, off = (float(one) for one in jumps(0.05, RADIUS, SPRING))
    between = (snap + off) / 2
    z = np.array([off - 1e-9, between, snap + 1e-9, between, off - 1e-9, between])
    force = curve(z, 1e9, 0.05, RADIUS, SPRING)[0]
    assert force[1] == force[5]  # both came from above
    assert force[3] < force[1]  # came from the surface: adheres


def test_the_fit_recovers_modulus_adhesion_and_surface_of_clean_curves():
    z = drive(30e-9, 5e-9, 4001)
    force = curve(z, MODULI, ADHESIONS, RADIUS, SPRING)
    found = fit_hertz(z + 3e-9, force + 1e-9, RADIUS, SPRING)  # both zeros unknown
    np.testing.assert_allclose(found.modulus_pa, MODULI, rtol=0.01)
    np.testing.assert_allclose(found.adhesion_j_m2, ADHESIONS, rtol=0.02)
    np.testing.assert_allclose(found.surface_m, 3e-9, atol=2e-11)


def test_the_fit_improves_with_the_curves_that_are_averaged():
    rng = np.random.default_rng(3)
    z = drive(30e-9, 5e-9, 8001)
    clean = curve(z, np.full(60, 1e9), 0.05, RADIUS, SPRING)
    errors = []
    for averaged in (1, 16, 256):
        noisy = clean + rng.normal(0, 1e-10 / math.sqrt(averaged), clean.shape)
        found = fit_hertz(z, noisy, RADIUS, SPRING)
        errors.append(
            (
                math.sqrt(np.mean((found.modulus_pa / 1e9 - 1) ** 2)),
                math.sqrt(np.mean((found.adhesion_j_m2 / 0.05 - 1) ** 2)),
            )
        )
    modulus, adhesion = zip(*errors, strict=True)
    assert modulus[0] < 0.15
    assert modulus[1] < modulus[0] / 2
    assert modulus[2] < modulus[1] / 2
    assert adhesion[0] > adhesion[1] > adhesion[2]
    assert adhesion[2] < 0.02


def test_the_fit_says_so_where_there_is_no_contact():
    z = drive(30e-9, -20e-9, 101)
    found = fit_hertz(z, np.zeros((2, 101)), RADIUS, SPRING)
    assert np.all(np.isnan(found.modulus_pa))


def test_the_vertex_of_the_kelvin_parabola_is_the_potential():
    bias = np.linspace(-2, 2, 21)
    potential = np.random.default_rng(1).uniform(-1, 1, (4, 5))
    force = kelvin(bias, potential, 3e-10, -1e-9)
    assert force.shape == (4, 5, 21)
    a, b, c = np.polynomial.polynomial.polyfit(bias, force.reshape(20, 21).T, 2)[::-1]
    np.testing.assert_allclose(-b / (2 * a), potential.ravel(), atol=1e-12)
    np.testing.assert_allclose(c - b**2 / (4 * a), -1e-9, rtol=1e-9)


def test_the_kelvin_curvatures_are_those_of_a_capacitor_of_a_sphere():
    """C = 4 pi eps0 R (1 + ln(1 + R/z) / 2 ...): any C(z); here its derivatives."""

    def capacity(z):
        return 1e-18 * math.log(1 + 1e-8 / z)

    z, step, bias = 5e-9, 1e-12, 1.3
    energies = [capacity(z + k * step) * bias**2 / 2 for k in (-1, 0, 1)]
    force = (energies[2] - energies[0]) / (2 * step)  # at constant voltage, +dU/dz
    gradient = (energies[2] - 2 * energies[1] + energies[0]) / step**2
    first = -1e-18 * 1e-8 / (z * (z + 1e-8))
    second = 1e-18 * (1 / z**2 - 1 / (z + 1e-8) ** 2)
    assert kelvin([bias], 0.0, -first / 2)[0] == pytest.approx(force, rel=1e-5)
    f0, stiffness = 3e5, 40.0
    shift = f0 * (math.sqrt((stiffness - gradient) / stiffness) - 1)
    got = kelvin([bias], 0.0, f0 / (4 * stiffness) * second)[0]
    assert got == pytest.approx(shift, rel=1e-3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: dmt_force(0.0, -1e9, RADIUS, 0.05), OutOfRange),
        (lambda: dmt_force(math.nan, 1e9, RADIUS, 0.05), OutOfRange),
        (lambda: dmt_force("deep", 1e9, RADIUS, 0.05), WrongType),
        (lambda: drive(1e-9, 1e-9, 2), OutOfRange),
        (lambda: drive(1e-9, 1e-9, 9.5), WrongType),
        (lambda: drive(1e-9, -2e-9, 9), OutOfRange),
        (lambda: curve([[0.0]], 1e9, 0.05, RADIUS, 1.0), ShapeMismatch),
        (lambda: curve([0.0], [[1e9]], 0.05, RADIUS, 1.0), ShapeMismatch),
        (lambda: curve([0.0], 1e9, 0.05, RADIUS, 0.0), OutOfRange),
        (lambda: curve([0.0], 1e9, -0.05, RADIUS, 1.0), OutOfRange),
        (lambda: fit_hertz(np.arange(9), np.ones(9), RADIUS, 1.0), OutOfRange),
        (lambda: fit_hertz(np.arange(9), np.ones(8), RADIUS, 1.0), ShapeMismatch),
        (lambda: kelvin(0.0, 0.0, 1.0), ShapeMismatch),
        (lambda: kelvin([0.0], 0.0, -1.0), OutOfRange),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error):
        call()
