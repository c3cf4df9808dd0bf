"""Patterns behind a phase object against Ehrenfest's law, ramps and counting."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects import optics
from aemtwin.instruments.synthetic import diffraction

E0, ALPHA = 200e3, 5e-4
PIXEL = 1e-9
ANGLES = diffraction.camera_axes(32, 1e-3)
PER_VOLT = optics.wavelength_m(E0) * optics.interaction(E0) / (2 * math.pi)


def taken(volts, points, **more):
    settings = {"energy_ev": E0, "convergence_rad": ALPHA, **more}
    return diffraction.patterns(volts, (PIXEL, PIXEL), points, ANGLES, **settings)


def grid(n=96):
    y, x = np.meshgrid(np.arange(n) * PIXEL, np.arange(n) * PIXEL, indexing="ij")
    return x, y


@pytest.mark.parametrize("slope", [(20.0, 0.0), (0.0, -35.0), (12.5, 61.0)])
def test_the_centre_of_mass_behind_a_ramp_is_its_slope(slope):
    x, y = grid()
    ramp = slope[0] * x + slope[1] * y
    points = np.array([[48e-9, 48e-9], [47.3e-9, 49.21e-9]])
    found = diffraction.centre_of_mass(taken(ramp, points), ANGLES)
    # what diffracts past the camera's edge takes its moment with it: below 1 percent
    assert found == pytest.approx(PER_VOLT * np.tile(slope, (2, 1)), abs=1.5e-7)


def test_the_centre_of_mass_follows_the_gradient_averaged_over_the_probe():
    x, y = grid(128)
    well = 2.4e-7 * np.exp(-((x - 64e-9) ** 2 + (y - 60e-9) ** 2) / (2 * (14e-9) ** 2))
    points = np.array([[50e-9, 61e-9], [64e-9, 75e-9], [71.4e-9, 55.7e-9]])
    found = diffraction.centre_of_mass(taken(well, points), ANGLES)
    n = 64
    spread = np.abs(optics.probe(n, PIXEL, E0, ALPHA, {})) ** 2
    down, right = np.gradient(well, PIXEL)
    for at, seen in zip(points, found, strict=True):
        # the plain sum of the gradient over where the electrons land, by interpolation
        along = (np.arange(n) - n // 2) * PIXEL
        mean = []
        for slope in (right, down):
            rows = [np.interp(at[0] + along, x[0], row) for row in slope]
            both = np.array(
                [np.interp(at[1] + along, y[:, 0], c) for c in np.transpose(rows)]
            ).T
            mean.append((both * spread).sum())
        assert seen == pytest.approx(PER_VOLT * np.array(mean), rel=0.02, abs=2e-7)


def test_an_electron_turns_as_a_charge_does_that_is_slow_to_turn():
    volts_per_metre, thickness = 5e7, 2e-7
    gamma = 1 + E0 / optics.REST_EV
    momentum_c = math.sqrt(E0 * (E0 + 2 * optics.REST_EV))  # eV
    speed = momentum_c / (gamma * optics.REST_EV)  # over light
    # Newton: p_perp = e E t / v, over p
    newton = volts_per_metre * thickness / speed / momentum_c
    assert PER_VOLT * volts_per_metre * thickness == pytest.approx(newton, rel=1e-6)


def test_without_a_specimen_the_pattern_is_the_aperture():
    (seen,) = taken(np.zeros((96, 96)), [[48e-9, 48e-9]])
    away = np.hypot(ANGLES[:, None], ANGLES[None, :])
    assert seen.sum() == pytest.approx(1.0, abs=1e-9)
    inside = seen[away < 0.8 * ALPHA]
    step = ANGLES[1] - ANGLES[0]
    assert inside.mean() == pytest.approx(step**2 / (math.pi * ALPHA**2), rel=0.04)
    assert inside.std() < 0.005 * inside.mean()  # even: no moiré of the camera
    assert seen[away > 1.3 * ALPHA].max() < 1e-9


def test_a_pattern_agrees_with_the_plain_far_field_of_the_whole_map():
    n = diffraction.window(PIXEL, E0, ALPHA, {}, ANGLES[1] - ANGLES[0])
    rng = np.random.default_rng(5)
    volts = 3e-8 * rng.standard_normal((n, n))
    for _ in range(3):
        volts = (volts + np.roll(volts, 1, 0) + np.roll(volts, 1, 1)) / 2
    plain = optics.ronchigram(volts, PIXEL, E0, ALPHA, {"C10": 4e-6})
    share = diffraction.binned(n, optics.wavelength_m(E0) / (n * PIXEL), ANGLES)
    wanted = share @ np.fft.ifftshift(plain) @ share.T
    middle = [[n // 2 * PIXEL, n // 2 * PIXEL]]
    (seen,) = taken(volts, middle, aberrations={"C10": 4e-6})
    assert seen == pytest.approx(wanted, abs=1e-12)


def test_the_probe_between_two_pixels_sees_the_map_moved_by_as_much():
    x, y = grid(128)

    def bump(dx, dy):
        r2 = (x - 60e-9 - dx) ** 2 + (y - 66e-9 - dy) ** 2
        return 3e-7 * np.exp(-r2 / (2 * (6e-9) ** 2))

    moved = taken(bump(0.0, 0.0), [[62.3e-9, 61.6e-9]])
    still = taken(bump(-0.3e-9, 0.4e-9), [[62e-9, 62e-9]])
    assert moved == pytest.approx(still, abs=1e-8)


def test_defocus_makes_a_shadow_of_what_the_beam_passes():
    x, _ = grid(256)
    dark = 3.0 * (x > 133e-9)  # opaque beyond 5 nm right of the probe
    wide = diffraction.camera_axes(32, 2e-3)
    for sign in (1.0, -1.0):
        (seen,) = diffraction.patterns(
            np.zeros_like(x),
            (PIXEL, PIXEL),
            [[128e-9, 128e-9]],
            wide,
            energy_ev=E0,
            convergence_rad=1.2e-3,
            aberrations={"C10": sign * 2e-5},
            absorption=dark,
        )
        left = seen[:, :16].sum()
        right = seen[:, 16:].sum()
        # rays cross the specimen at defocus times angle: one side is in the shadow
        assert (left > right) == (sign > 0)
        assert max(left, right) > 1.4 * min(left, right)


def test_absorption_takes_its_share_of_every_pattern():
    volts = np.zeros((96, 96))
    thin = np.full((96, 96), 0.7)
    (seen,) = taken(volts, [[48e-9, 48e-9]], absorption=thin)
    assert seen.sum() == pytest.approx(math.exp(-0.7), rel=1e-9)


def test_rings_add_up_to_the_whole_pattern():
    x, y = grid()
    volts = 4e-7 * np.exp(-((x - 48e-9) ** 2 + (y - 44e-9) ** 2) / (2 * (4e-9) ** 2))
    seen = taken(volts, [[48e-9, 48e-9], [40e-9, 40e-9]])
    parts = [
        diffraction.annular(seen, ANGLES, low, high)
        for low, high in ((0.0, ALPHA), (ALPHA, 8e-4), (8e-4, 1.0))
    ]
    assert sum(parts) == pytest.approx(seen.sum(axis=(1, 2)), rel=1e-12)
    empty = taken(np.zeros_like(x), [[48e-9, 48e-9]])
    dark = diffraction.annular(empty, ANGLES, 6e-4, 1.0)
    assert parts[1][0] + parts[2][0] > 5 * dark[0]


def test_many_points_at_once_are_each_point_alone():
    rng = np.random.default_rng(1)
    volts = 1e-8 * rng.standard_normal((80, 70)).cumsum(0).cumsum(1) / 10
    points = rng.uniform(0, 70e-9, (300, 2))  # more than a block, some at the edge
    together = taken(volts, points)
    for i in (0, 255, 256, 299):
        assert taken(volts, points[i : i + 1])[0] == pytest.approx(
            together[i], abs=1e-15
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"convergence_rad": 0.01}, OutOfRange),  # finer than the map
        ({"aberrations": {"C10": 1e-3}}, OutOfRange),  # wider than any window
        ({"absorption": np.zeros((3, 3))}, ShapeMismatch),
    ],
)
def test_what_the_map_cannot_hold_is_refused(change, error):
    with pytest.raises(error):
        taken(np.zeros((64, 64)), [[32e-9, 32e-9]], **change)


def test_a_map_of_oblong_pixels_and_patterns_of_another_camera_are_refused():
    with pytest.raises(OutOfRange, match="square"):
        diffraction.patterns(
            np.zeros((64, 64)),
            (1e-9, 2e-9),
            [[0.0, 0.0]],
            ANGLES,
            energy_ev=E0,
            convergence_rad=ALPHA,
        )
    with pytest.raises(ShapeMismatch, match="two axes"):
        diffraction.centre_of_mass(np.ones((16, 16)), ANGLES)
    with pytest.raises(ShapeMismatch, match=r"\(k, 2\)"):
        taken(np.zeros((64, 64)), [0.0, 0.0])
