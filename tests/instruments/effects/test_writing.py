"""Written domains against their area, complex numbers and plainer versions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects.writing import (
    domain_radius,
    piezo_image,
    stamped,
    written,
)

X = np.linspace(0.0, 2e-6, 128)
Y = np.linspace(0.0, 1e-6, 96)
UP = np.ones((96, 128))
WALL = 1e-8
SIGNS = st.sampled_from([-1.0, 1.0])
GROWTH = {"metres_per_volt": 8e-9, "onset_s": 0.01}
MAPS = hnp.arrays(np.float64, (96, 128), elements=st.floats(-1, 1), fill=st.just(0.3))
MIDDLES = st.tuples(st.floats(0, 2e-6), st.floats(0, 1e-6))


def radius_of(bias, dwell):
    return domain_radius(bias, dwell, 3.0, **GROWTH)


def test_radius_is_straight_in_bias_above_the_threshold_and_of_either_sign():
    bias = np.linspace(4, 20, 9)
    slope, start = np.polyfit(bias, [radius_of(v, 1.0) for v in bias], 1)
    assert slope == pytest.approx(8e-9 * math.log(101))
    assert -start / slope == pytest.approx(3.0)
    assert radius_of(-7.0, 1.0) == radius_of(7.0, 1.0)


def test_radius_is_straight_in_the_logarithm_of_long_times():
    times = np.geomspace(1.0, 1e4, 9)
    slope, _ = np.polyfit(np.log(times), [radius_of(10.0, t) for t in times], 1)
    assert slope == pytest.approx(8e-9 * 7.0, rel=2e-3)


@given(st.floats(-3, 3), st.floats(0, 1e6))
def test_nothing_is_written_up_to_the_threshold_or_in_no_time(bias, dwell):
    assert radius_of(bias, dwell) == 0.0
    assert radius_of(10.0, 0.0) == 0.0


@pytest.mark.parametrize("radius", [6e-8, 1.5e-7, 3.1e-7])
def test_the_area_of_a_written_domain_is_that_of_its_disc(radius):
    now = written(UP, X, Y, (1.0e-6, 0.5e-6), radius, -1.0, WALL)
    pixel = (X[1] - X[0]) * (Y[1] - Y[0])
    area = (now < 0).sum() * pixel
    rim = 2 * math.pi * radius * math.sqrt(pixel)  # the pixels that the edge crosses
    assert area == pytest.approx(math.pi * radius**2, abs=0.15 * rim)
    # without the edge of pixels: of a tanh wall, pi r^2 plus pi^3 wall^2 / 12
    soft = ((1 - now) / 2).sum() * pixel
    want = math.pi * radius**2 + math.pi**3 * WALL**2 / 12
    assert soft == pytest.approx(want, rel=2e-3)


@given(MAPS, MIDDLES, st.floats(0, 5e-7), SIGNS, st.floats(1e-9, 5e-8))
def test_writing_twice_is_writing_once_and_stays_a_polarity(
    before, centre, radius, sign, wall
):
    once = written(before, X, Y, centre, radius, sign, wall)
    twice = written(once, X, Y, centre, radius, sign, wall)
    np.testing.assert_array_equal(twice, once)
    assert (np.abs(once) <= 1).all()
    assert (sign * (once - before) >= 0).all()


@given(MAPS, MIDDLES, st.floats(1e-8, 5e-7), SIGNS)
def test_inside_is_the_sign_and_outside_is_as_it_was(before, centre, radius, sign):
    now = written(before, X, Y, centre, radius, sign, WALL / 10)
    away = np.hypot(X - centre[0], Y[:, None] - centre[1])
    np.testing.assert_allclose(now[away < radius - 2 * WALL], sign, atol=1e-12)
    outside = away > radius + 2 * WALL
    np.testing.assert_allclose(now[outside], before[outside], atol=1e-12)


def test_a_smaller_domain_written_back_leaves_a_ring():
    centre = (1e-6, 0.5e-6)
    ring = written(UP, X, Y, centre, 3e-7, -1.0, WALL)
    ring = written(ring, X, Y, centre, 1.5e-7, 1.0, WALL)
    away = np.hypot(X - centre[0], Y[:, None] - centre[1])
    assert (ring[away < 1.2e-7] > 0.99).all()
    assert (ring[(away > 1.8e-7) & (away < 2.7e-7)] < -0.99).all()
    assert (ring[away > 3.3e-7] > 0.99).all()


def test_any_grid_is_written_pixel_by_pixel():
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 1e-6, 7), random.uniform(0, 1e-6, 5)
    before = random.uniform(-1, 1, (5, 7))
    now = written(before, x, y, (4e-7, 6e-7), 3e-7, 1.0, 5e-8)
    for row in range(5):
        for column in range(7):
            away = math.dist((x[column], y[row]), (4e-7, 6e-7))
            want = max(before[row, column], math.tanh((3e-7 - away) / 5e-8))
            assert now[row, column] == pytest.approx(want, abs=1e-14)


@given(
    hnp.arrays(np.float64, 20, elements=st.floats(0, 50)),
    hnp.arrays(np.float64, 20, elements=st.floats(-180, 180)),
    hnp.arrays(np.float64, 20, elements=st.floats(-1, 1)),
)
def test_amplitude_and_phase_turn_as_the_complex_signal(amplitude, phase, flip):
    new_amplitude, new_phase = piezo_image(amplitude, phase, flip)
    want = amplitude * np.exp(1j * np.radians(phase)) * flip
    got = new_amplitude * np.exp(1j * np.radians(new_phase))
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert (new_amplitude >= 0).all()
    assert ((new_phase >= -180) & (new_phase <= 180)).all()
    np.testing.assert_array_equal(new_phase[flip >= 0], phase[flip >= 0])
    again = piezo_image(*piezo_image(amplitude, phase, np.sign(flip)), np.sign(flip))
    turned = np.exp(1j * np.radians(again[1]))
    np.testing.assert_allclose(turned, np.exp(1j * np.radians(phase)), atol=1e-12)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(OutOfRange, match="onset_s"):
        domain_radius(10.0, 1.0, 3.0, metres_per_volt=1e-9, onset_s=0.0)
    with pytest.raises(OutOfRange, match="finite"):
        radius_of(math.nan, 1.0)
    with pytest.raises(OutOfRange, match="wall"):
        stamped(UP, UP, 1.0, 1.0, 0.0)
    with pytest.raises(OutOfRange, match="sign"):
        stamped(UP, UP, 1.0, 0.0, 1.0)
    with pytest.raises(ShapeMismatch, match="rows"):
        written(UP, Y, X, (0.0, 0.0), 1e-7, 1.0, WALL)
    with pytest.raises(ShapeMismatch, match="centre"):
        written(UP, X, Y, (0.0, 0.0, 0.0), 1e-7, 1.0, WALL)
