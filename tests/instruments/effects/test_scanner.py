"""Where the probe is: drift, creep, walks by address, and what a scanner does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects import scanner
from aemtwin.instruments.effects.scanner import (
    creep,
    flyback_lag,
    hum,
    line_hysteresis,
    linear_drift,
    random_walk,
)

LENGTH = 2e-6
RECORDED = [
    [-1.5546266692738742, -0.48095265620764516],
    [5.148330123864367, 5.202435879972581],
    [-23.52277508779328, 43.59044462823131],
]


def test_a_drifting_probe_goes_as_far_as_its_velocity_says():
    times = np.array([0.0, 1.5, 3600.0])
    off = linear_drift(times, [2e-11, -1e-11])
    assert off.shape == (3, 2)
    assert off[:, 0] == pytest.approx([0.0, 3e-11, 7.2e-8])
    assert off[:, 1] == pytest.approx([0.0, -1.5e-11, -3.6e-8])


def test_creep_is_the_sum_of_the_logarithms_of_all_steps():
    random = np.random.default_rng(1)
    times = random.uniform(0.0, 500.0, 40)
    begins = random.uniform(0.0, 500.0, 7)  # in no order, some after the readings
    steps = random.normal(0.0, 1e-6, (7, 2))
    plain = [
        [
            math.fsum(
                0.004 * step[axis] * math.log(1 + (t - begin) / 0.3)
                for begin, step in zip(begins, steps, strict=True)
                if t >= begin
            )
            for axis in (0, 1)
        ]
        for t in times
    ]
    off = creep(times, begins, steps, 0.004, 0.3)
    np.testing.assert_allclose(off, plain, rtol=1e-12, atol=1e-22)


def test_a_piezo_that_creeps_one_per_cent_a_decade_follows_the_published_law():
    # Physik Instrumente: L(t) = L(0.1 s) [1 + 0.01 lg(t / 0.1 s)], here from 0.1 s on.
    share = 0.01 / math.log(10)
    times = np.array([10.0, 100.0, 1000.0, 10000.0])
    off = creep(times, [0.0], [[1e-6, 0.0]], share, 0.1)[:, 0]
    published = 1e-6 * 0.01 * np.log10(times / 0.1)
    np.testing.assert_allclose(off, published, atol=1e-6 * share * 0.1 / 10.0)
    assert np.diff(off) == pytest.approx(1e-8, rel=0.005)


def test_nothing_creeps_before_a_step_or_without_one():
    assert not creep([0.0, 4.9, 5.0], [5.0], [[1e-6, 1e-6]], 0.01, 0.1).any()
    assert creep([0.0, 1.0], [], [], 0.01, 0.1).tolist() == [[0.0, 0.0], [0.0, 0.0]]


grid = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=12)


@given(times=grid, seed=st.integers(0, 3), order=st.randoms())
def test_a_walk_is_the_same_to_the_bit_in_any_order_and_in_any_part(times, seed, order):
    whole = random_walk(times, seed, 1e-11)
    assert np.isfinite(whole).all()
    some = order.sample(range(len(times)), order.randint(1, len(times)))
    scanner._group.cache_clear()
    scanner._span.cache_clear()
    assert np.array_equal(random_walk(np.array(times)[some], seed, 1e-11), whole[some])


def test_a_walk_is_these_numbers_on_every_machine():
    # Recorded once: a change here changes where every stored run was measured.
    off = random_walk([0.5, 33.0, 5000.25], 7, 1.0)
    assert off == pytest.approx(np.array(RECORDED), abs=1e-9)


def test_a_walk_begins_at_zero_and_scales_with_its_deviation():
    times = np.linspace(0.0, 3000.0, 50)
    off = random_walk(times, 3, 2e-11)
    assert off[0].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(off, 2e-11 * random_walk(times, 3, 1.0), rtol=1e-14)
    assert not random_walk(times, 3, 0.0).any()
    assert random_walk([], 3, 1.0).shape == (0, 2)


def test_walks_of_many_seeds_have_the_covariance_of_brownian_motion():
    # cov(W(s), W(t)) = min(s, t): growth, independent steps and the ends of all
    # bridges (32 s, 1024 s) at once.
    times = np.array([1 / 64, 0.5, 1.0, 20.5, 32.0, 33.0, 700.0, 1024.0, 1030.0])
    many = np.stack([random_walk(times, seed, 1.0) for seed in range(700)])
    draws = many.transpose(0, 2, 1).reshape(-1, len(times))  # both axes
    truth = np.minimum.outer(times, times)
    found = draws.T @ draws / len(draws)
    scale = np.outer(np.diag(truth), np.diag(truth))
    error = np.sqrt((scale + truth**2) / len(draws))
    assert np.abs((found - truth) / error).max() < 4.5
    across = np.mean(many[:, :, 0] * many[:, :, 1], axis=0)  # x and y
    assert np.abs(across / np.diag(truth)).max() < 4.5 / math.sqrt(len(many))


def test_the_steps_of_one_walk_are_white_and_normal():
    dt = 1 / 64
    path = random_walk(np.arange(3 * 1024 * 64) * dt, 11, 1.0)  # three spans
    steps = np.diff(path, axis=0) / math.sqrt(dt)
    error = 1 / math.sqrt(len(steps))
    for x in steps.T:
        assert stats.kstest(x, "norm").pvalue > 1e-4
        for lag in (1, 2, 63, 64, 65, 2048):
            assert abs(np.mean(x[lag:] * x[:-lag])) < 4.5 * error
    assert abs(np.mean(steps[:, 0] * steps[:, 1])) < 4.5 * error


def test_the_variance_of_a_walk_grows_linearly():
    times = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    far = np.stack([random_walk(times, seed, 1.0) for seed in range(400)])
    variance = np.mean(far**2, axis=(0, 2))
    slope, line = np.polyfit(np.log10(times), np.log10(variance), 1)
    # A variance of 800 draws has an error of 5 %; those of the four decades differ.
    error = math.sqrt(2 / 800) / math.log(10) / math.sqrt(10)
    assert slope == pytest.approx(1.0, abs=4 * error)
    assert line == pytest.approx(0.0, abs=8 * error)


def test_a_walk_late_in_a_long_run_is_continuous_and_of_the_right_size():
    times = 1e6 + np.arange(0.0, 100.0, 1 / 64)
    late = random_walk(times, 5, 1.0)
    assert np.abs(np.diff(late, axis=0)).max() < 6 / 8  # 6 sigma of 1/64 s
    assert 0.01 < np.abs(late[0]).max() / 1e3 < 4.5
    scanner._group.cache_clear()
    random_walk(np.arange(0.0, 1e4, 16.0), 5, 1.0)
    assert scanner._group.cache_info().currsize <= 64  # it forgets


def test_a_walk_is_straight_between_its_64ths_of_a_second():
    ends = random_walk(np.array([0.0, 1.0, 31 * 64, 32 * 64 - 1, 32 * 64]) / 64, 2, 1.0)
    for i, begin in ((0, 0.0), (3, 32.0 - 1 / 64)):
        within = random_walk(begin + np.array([0.25, 0.9]) / 64, 2, 1.0)
        truth = ends[i] + np.outer([0.25, 0.9], ends[i + 1] - ends[i])
        np.testing.assert_allclose(within, truth, rtol=1e-9)


def plays(path, width):
    """Return a Prandtl-Ishlinskii sum of plays of equal weight, step by step."""
    widths = (np.arange(400) + 0.5) / 400 * width
    state = np.zeros(400)
    out = []
    for value in path:
        state = np.maximum(value - widths, np.minimum(value + widths, state))
        out.append(state.mean())
    return np.array(out)


def test_hysteresis_is_that_of_many_plays_between_two_turning_points():
    share = 0.05
    there = np.linspace(0.0, 1.0, 201)
    path = np.concatenate([there, there[::-1], there, there[::-1]])
    # In units of the length a branch of the sum is u²/4 (for widths up to 1).
    moved = (1.0 - 4.0 * share) * path + 16.0 * share * plays(path, 1.0)
    rising, falling = moved[402:603], moved[603:]
    scale = rising[-1] - rising[0]
    assert scale == pytest.approx(1.0, abs=1e-3)  # d + alpha length / 2 = 1
    forward = line_hysteresis(there * LENGTH, LENGTH, share) / LENGTH
    backward = line_hysteresis(there[::-1] * LENGTH, LENGTH, share) / LENGTH
    np.testing.assert_allclose(rising - rising[0], there + forward, atol=1e-3 * share)
    np.testing.assert_allclose(
        falling - rising[0], there[::-1] + backward, atol=1e-3 * share
    )


def test_the_loop_is_closed_odd_and_as_wide_as_stated():
    there = np.linspace(0.0, LENGTH, 4001)
    forward = line_hysteresis(there, LENGTH, 0.03)
    backward = line_hysteresis(there[::-1], LENGTH, 0.03)[::-1]
    assert forward[[0, -1]].tolist() == [0.0, 0.0]
    assert np.array_equal(forward, -backward)
    np.testing.assert_allclose(forward, forward[::-1], atol=1e-22)  # even about it
    assert forward.min() == forward[2000] == pytest.approx(-0.03 * LENGTH)
    area = integrate.simpson(backward - forward, x=there)
    # Rayleigh: the loss of a cycle is (4/3) alpha E0³; alpha = 8 share/L, E0 = L/2.
    assert area == pytest.approx(4 / 3 * (8 * 0.03 / LENGTH) * (LENGTH / 2) ** 3)


def test_a_scanner_never_goes_back_on_its_way_forward():
    there = np.linspace(0.0, LENGTH, 300)
    true = there + line_hysteresis(there, LENGTH, 0.25)
    assert np.diff(true).min() > 0


def test_each_line_has_its_own_way_and_a_line_at_rest_has_none():
    there = np.linspace(0.0, LENGTH, 5)
    lines = np.stack([there, there[::-1], np.full(5, LENGTH / 2)])
    off = line_hysteresis(lines, LENGTH, 0.1)
    assert np.array_equal(off[0], line_hysteresis(there, LENGTH, 0.1))
    assert np.array_equal(off[1], -off[0][::-1])
    assert not off[2].any()
    assert line_hysteresis(np.zeros((3, 0)), LENGTH, 0.1).shape == (3, 0)


def test_the_lag_after_the_flyback_is_that_of_the_differential_equation():
    tau, step = 3e-4, np.array([-1e-6, 4e-9])
    times = np.linspace(0.0, 2e-3, 30)
    target = np.array([0.2e-6, 1e-9])
    solved = integrate.solve_ivp(
        lambda t, x: (target - x) / tau,
        (0.0, 2e-3),
        target - step,
        t_eval=times,
        rtol=1e-10,
        atol=1e-18,
    )
    off = flyback_lag(times, step, tau)
    np.testing.assert_allclose(off, solved.y.T - target, rtol=1e-6, atol=1e-15)
    each = flyback_lag(times, np.tile(step, (30, 1)), tau)
    assert np.array_equal(off, each)
    assert not flyback_lag([1e6], step, 1e-9).any()


def test_hum_shakes_along_one_line_at_its_frequency():
    times = np.arange(1000) * 1e-3
    off = hum(times, [3e-11, -1e-11], 50.0, 0.4)
    spectrum = np.fft.rfft(off, axis=0) / 500
    assert np.argmax(np.abs(spectrum), axis=0).tolist() == [50, 50]
    np.testing.assert_allclose(np.abs(spectrum[50]), [3e-11, 1e-11], rtol=1e-9)
    # a sine of phase p has -i exp(i p) there
    assert np.angle(1j * spectrum[50, 0]) == pytest.approx(0.4)
    np.testing.assert_allclose(off[:, 1], off[:, 0] / -3, atol=1e-24)


BAD = [
    (OutOfRange, lambda: linear_drift([math.nan], [0.0, 0.0])),
    (ShapeMismatch, lambda: linear_drift([[0.0]], [0.0, 0.0])),
    (ShapeMismatch, lambda: linear_drift([0.0], [0.0, 0.0, 0.0])),
    (WrongType, lambda: linear_drift(["0"], [0.0, 0.0])),
    (ShapeMismatch, lambda: creep([0.0], [0.0, 1.0], [[0.0, 0.0]], 0.1, 0.1)),
    (ShapeMismatch, lambda: creep([0.0], [0.0], [[0.0]], 0.1, 0.1)),
    (OutOfRange, lambda: creep([0.0], [0.0], [[0.0, 0.0]], -0.1, 0.1)),
    (OutOfRange, lambda: creep([0.0], [0.0], [[0.0, 0.0]], 0.1, 0.0)),
    (WrongType, lambda: creep([0.0], [0.0], [[0.0, 0.0]], True, 0.1)),
    (OutOfRange, lambda: random_walk([-1.0], 0, 1.0)),
    (OutOfRange, lambda: random_walk([2e9], 0, 1.0)),
    (OutOfRange, lambda: random_walk([0.0], 0, -1.0)),
    (WrongType, lambda: random_walk([0.0], 0.5, 1.0)),
    (WrongType, lambda: random_walk([0.0], True, 1.0)),
    (OutOfRange, lambda: line_hysteresis([0.0, 2.0], 1.0, 0.1)),
    (OutOfRange, lambda: line_hysteresis([0.0, 1.0, 0.5], 1.0, 0.1)),
    (OutOfRange, lambda: line_hysteresis([0.0, 1.0], 1.0, 0.3)),
    (OutOfRange, lambda: line_hysteresis([0.0, 0.0], 0.0, 0.1)),
    (ShapeMismatch, lambda: line_hysteresis(0.5, 1.0, 0.1)),
    (OutOfRange, lambda: flyback_lag([-1e-9], [0.0, 0.0], 1.0)),
    (OutOfRange, lambda: flyback_lag([0.0], [0.0, 0.0], 0.0)),
    (ShapeMismatch, lambda: flyback_lag([0.0], [[0.0, 0.0]] * 2, 1.0)),
    (OutOfRange, lambda: hum([0.0], [0.0, 0.0], 0.0)),
    (ShapeMismatch, lambda: hum([0.0], 1e-11, 50.0)),
]


@pytest.mark.parametrize(("error", "call"), BAD)
def test_what_cannot_be_used_is_refused_with_a_sentence(error, call):
    with pytest.raises(error, match=r"got .*; .*\."):
        call()
