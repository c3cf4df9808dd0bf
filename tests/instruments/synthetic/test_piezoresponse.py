"""Switching against closed forms, plainer versions and a simulated film."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from scipy.integrate import quad
from scipy.optimize import curve_fit
from scipy.spatial import cKDTree

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.synthetic.pfm_loops import (
    LoopParameters,
    bias_axis,
    loop_shape,
)
from aemtwin.instruments.synthetic.piezoresponse import (
    erf,
    kai_switched,
    loop9,
    merz_time,
    piezo_loop,
    staircase,
    switch,
    switched,
)
from aemtwin.scalarizers.hysteresis import coercive_bias, imprint, loop_area

FILM = (2.3, -1.9, 0.8)  # positive, negative, width
VOLTS = st.floats(-6.0, 6.0)


def plainly(bias, state, positive, negative, width):
    """One point, by the rule as it is told: rising pushes up, falling pushes down."""
    states, before = [], bias[0]
    for volts in bias:
        if volts > before:
            state = max(state, math.erf((volts - positive) / width))
        elif volts < before:
            state = min(state, math.erf((volts - negative) / width))
        states.append(state)
        before = volts
    return states


def test_one_cycle_of_the_staircase_is_the_sweep_of_the_loops():
    np.testing.assert_allclose(staircase(10.0, 0.0, 64), bias_axis(), atol=1e-14)


@given(
    st.floats(-10, 10),
    st.floats(-5, 5),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_a_staircase_reaches_both_ends_in_equal_steps_and_closes(a, b, n, cycles, turn):
    steps = 4 * n
    v = staircase(a, b, steps, cycles, phase=turn / 4)
    assert v.shape == (steps * cycles,)
    assert v.max() == pytest.approx(b + abs(a))
    assert v.min() == pytest.approx(b - abs(a))
    assert v.mean() == pytest.approx(b, abs=1e-12)
    rounded = np.diff(np.append(v, v[0]))  # also from the end to the start
    np.testing.assert_allclose(np.abs(rounded), abs(a) / n, atol=1e-12)
    whole_cycle = staircase(a, b, steps)
    np.testing.assert_allclose(v[:steps], np.roll(whole_cycle, -turn * n), atol=1e-12)


def test_a_part_of_a_cycle_is_done_again_and_again():
    whole_cycle = staircase(8.0, 0.5, 32)
    part = staircase(8.0, 0.5, 32, 3, fraction=0.75)
    np.testing.assert_allclose(part, np.tile(whole_cycle[:24], 3))
    assert (staircase(8.0, 0.0, 32, 2, fraction=0.5) >= 0).all()


def test_a_saturating_cycle_is_the_loop_once_the_first_branch_is_past():
    bias = staircase(10.0, 0.0, 64, 2)
    p = LoopParameters(*(np.array(v) for v in (*FILM[:2], 7.0, 1.5, FILM[2], 0.3)))
    state = switched(bias, *FILM, start=0.4)
    loop = piezo_loop(bias, state, 7.0, 1.5, 0.3)
    want = np.tile(loop_shape(bias_axis(), p), 2)
    np.testing.assert_allclose(loop[16:], want[16:], atol=1e-12)
    assert abs(loop[0] - want[0]) > 1  # the first branch starts from what was there


def test_the_area_of_a_saturating_loop_is_that_of_the_closed_form():
    """The integral of erf((V - V-)/w) - erf((V - V+)/w) over V is 2 (V+ - V-)."""
    bias = staircase(12.0, 0.0, 4096)
    state, last = switch(bias, -1.0, *FILM)
    response = 5.0 * state
    want = 5.0 * 2 * (FILM[0] - FILM[1])
    assert float(loop_area(bias, response)) == pytest.approx(want, rel=1e-4)
    assert float(coercive_bias(bias, response)) == pytest.approx(2.1, abs=1e-3)
    assert float(imprint(bias, response)) == pytest.approx(0.2, abs=1e-3)
    assert float(last) == pytest.approx(math.erf((bias[-1] - FILM[0]) / FILM[2]))


def test_a_sweep_below_both_coercive_biases_switches_nothing():
    bias = staircase(0.5, 0.0, 64)
    for start in (-0.9, 0.0, 0.9):
        states = switched(bias, 3.0, -3.0, 0.4, start)
        np.testing.assert_allclose(states, start, atol=1e-12)


@given(
    st.lists(VOLTS, min_size=1, max_size=25),
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.floats(0, 4),
    st.floats(0.1, 3),
)
def test_the_states_are_those_of_the_plain_rule_point_by_point(
    bias, start, middle, gap, width
):
    about = (middle + gap / 2, middle - gap / 2, width)
    low = math.erf((bias[0] - about[0]) / width)
    high = math.erf((bias[0] - about[1]) / width)
    start = min(max(start, low), high)  # as the first bias allows
    states, last = switch(bias, start, *about)
    np.testing.assert_allclose(states, plainly(bias, start, *about), atol=1e-14)
    assert last == states[-1]


@given(
    VOLTS,
    VOLTS,
    st.lists(st.floats(0, 1), max_size=12),
    st.floats(-1, 1),
    st.booleans(),
)
def test_a_film_comes_back_to_the_point_from_which_an_excursion_left(
    one, other, shares, start, falling
):
    """Return-point memory: what is within the last swing leaves no trace."""
    first, turn = (max(one, other), min(one, other))[:: 1 if falling else -1]
    inside = [turn + (first - turn) * s for s in shares]
    states = switched([first, turn, *inside, turn], *FILM, start)
    assert states[-1] == pytest.approx(states[1], abs=1e-12)


@given(st.lists(VOLTS, min_size=1, max_size=12), st.floats(-1, 1), st.floats(-1, 1))
def test_saturation_wipes_out_all_memory(history, start, other):
    end = [10.0, *history]
    after = switched([*history, *end], *FILM, start)[len(history) :]
    np.testing.assert_allclose(after, switched(end, *FILM, other), atol=1e-12)


@given(st.lists(VOLTS, min_size=2, max_size=20), st.floats(-1, 1), st.floats(-1, 1))
def test_sweeps_go_on_where_the_last_one_ended_and_never_cross(bias, one, other):
    cut = len(bias) // 2
    whole_sweep, last = switch(bias, [one, other], *FILM)
    first, kept = switch(bias[:cut], [one, other], *FILM)
    second, end = switch(bias[cut:], kept, *FILM)
    np.testing.assert_array_equal(np.concatenate([first, second], -1), whole_sweep)
    np.testing.assert_array_equal(end, last)
    high, low = (0, 1) if one >= other else (1, 0)
    assert (whole_sweep[high] >= whole_sweep[low]).all()
    assert (np.abs(whole_sweep) <= 1).all()


def test_many_points_are_switched_as_each_alone():
    random = np.random.default_rng(0)
    shape = (3, 4)
    about = random.uniform(1, 3, shape), random.uniform(-3, -1, shape), 0.5
    bias = staircase(4.0, 0.2, 32)
    states, last = switch(bias, random.uniform(-1, 1, shape), *about)
    assert states.shape == (3, 4, 32)
    assert last.shape == shape
    random = np.random.default_rng(0)
    positive, negative = random.uniform(1, 3, shape), random.uniform(-3, -1, shape)
    start = random.uniform(-1, 1, shape)
    alone = switch(bias, start[2, 1], positive[2, 1], negative[2, 1], 0.5)[0]
    np.testing.assert_allclose(states[2, 1], alone, atol=1e-15)


def by_halves(v, a0, a1, a2, a3, a4, b0, b1, b2, b3):
    """The nine parameters, one sample at a time."""
    out = []
    for i, volts in enumerate(v):
        at, low, high = (a2, b0, b1) if i < len(v) // 2 else (a3, b2, b3)
        width = (high - low) / 2 * (special.erf((volts - at) * 1000) + 1) + low
        share = (width * special.erf((volts - at) / width) + low) / (low + high)
        out.append(a0 + a1 * share + a4 * volts)
    return out


def test_nine_parameters_give_the_loop_of_a_plain_sum_for_every_point():
    random = np.random.default_rng(1)
    c = np.concatenate(
        [random.uniform(-3, 3, (6, 5)), random.uniform(0.3, 3, (6, 4))], 1
    )
    v = staircase(9.0, 0.0, 48, phase=0.25)
    loops = loop9(v, c.reshape(2, 3, 9)).reshape(6, 48)
    np.testing.assert_allclose(loops, [by_halves(v, *row) for row in c], atol=1e-13)


def test_with_equal_widths_nine_parameters_are_the_loop_of_six():
    p = LoopParameters(*(np.array(v) for v in (*FILM[:2], 7.0, 1.5, FILM[2], 0.3)))
    c = [1.5 - 7.0, 14.0, FILM[1], FILM[0], 0.3, *[FILM[2]] * 4]
    turned = np.roll(bias_axis(), -17)  # from below the top: falls, then rises to it
    want = np.roll(loop_shape(bias_axis(), p), -17)
    np.testing.assert_allclose(loop9(turned, c), want, atol=1e-12)


def test_a_fit_to_a_noisy_loop_finds_the_nine_parameters():
    v = staircase(10.0, 0.0, 256, phase=0.25)
    true = np.array([-5.0, 11.0, -2.0, 2.5, 0.2, 0.6, 1.4, 1.2, 0.7])
    random = np.random.default_rng(2)
    noisy = loop9(v, true) + 0.01 * random.standard_normal(v.size)
    got, covariance = curve_fit(
        lambda v, *c: loop9(v, c),
        v,
        noisy,
        true * 1.1,
        bounds=([-np.inf] * 5 + [0.05] * 4, np.inf),
        x_scale=np.abs(true),
    )
    assert (np.abs(got - true) < 5 * np.sqrt(np.diag(covariance)) + 1e-3).all()
    np.testing.assert_allclose(got, true, rtol=0.05)


@pytest.mark.parametrize("n", [1.0, 2.0, 3.5])
def test_the_switched_share_is_straight_on_avramis_axes_and_has_its_mean_time(n):
    t = np.geomspace(1e-2, 1, 30)
    share = kai_switched(t, 0.7, n)
    slope, _ = np.polyfit(np.log(t), np.log(-np.log1p(-share)), 1)
    assert slope == pytest.approx(n, rel=1e-6)
    mean = quad(lambda s: 1 - float(kai_switched(s, 0.7, n)), 0, 20, points=[0.7, 3])[0]
    assert mean == pytest.approx(0.7 * math.gamma(1 + 1 / n), rel=1e-6)


def test_a_film_of_growing_discs_switches_as_kolmogorov_avrami_and_ishibashi_say():
    """Seeds at random on a torus, all from the start, walls of one speed: n = 2."""
    random = np.random.default_rng(3)
    nearest = []
    for _ in range(20):
        seeds = cKDTree(random.uniform(0, 1, (400, 2)), boxsize=1.0)
        nearest.append(seeds.query(random.uniform(0, 1, (2000, 2)))[0])
    reached = np.concatenate(nearest)  # by a wall of speed 1, at this time
    tau = 1 / math.sqrt(math.pi * 400)
    for t in np.array([0.3, 0.6, 1.0, 1.5]) * tau:
        assert (reached < t).mean() == pytest.approx(
            kai_switched(t, tau, 2.0), abs=0.01
        )


def test_switching_begins_at_nothing_and_ends_at_all():
    assert float(kai_switched(0.0, np.inf, 1.0)) == 0.0
    assert float(kai_switched(1e300, 1e-300, 3.0)) == 1.0
    assert float(kai_switched(1.0, merz_time(0.0, 1e-9, 5.0), 2.0)) == 0.0
    small = float(kai_switched(1e-10, 1.0, 2.0))
    assert small == pytest.approx(1e-20, rel=1e-9)


def test_the_time_of_merz_is_straight_over_the_inverse_field():
    field = np.array([1.0, 2.0, 4.0, 8.0]) * 1e6
    time = merz_time(field, 2e-9, 3e7)
    slope, start = np.polyfit(1 / field, np.log(time), 1)
    assert slope == pytest.approx(3e7)
    assert math.exp(start) == pytest.approx(2e-9)
    np.testing.assert_array_equal(time, merz_time(-field, 2e-9, 3e7))
    assert float(merz_time(0.0, 1.0, 0.0)) == np.inf
    assert float(merz_time(1e-300, 1.0, 1e300)) == np.inf


def test_the_error_function_is_that_of_scipy_to_the_last_places():
    x = np.concatenate([np.linspace(-7, 7, 200_001), [0.0, np.inf, -np.inf, 1e-300]])
    np.testing.assert_allclose(erf(x), special.erf(x), rtol=2e-15, atol=5e-16)
    assert np.isnan(erf(np.nan))
    assert erf(x.reshape(5, -1)).shape == (5, 40_001)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(OutOfRange, match="multiple of 4"):
        staircase(1.0, 0.0, 10)
    with pytest.raises(OutOfRange, match="whole number"):
        staircase(1.0, 0.0, 8, fraction=0.3)
    with pytest.raises(OutOfRange, match="fraction"):
        staircase(1.0, 0.0, 8, fraction=1.5)
    with pytest.raises(OutOfRange, match="Exchange"):
        switch([1.0], 0.0, -1.0, 1.0, 0.5)
    with pytest.raises(OutOfRange, match="state"):
        switch([1.0], 2.0, 1.0, -1.0, 0.5)
    with pytest.raises(ShapeMismatch, match="no bias"):
        switch([], 0.0, 1.0, -1.0, 0.5)
    with pytest.raises(ShapeMismatch, match="9"):
        loop9([1.0], np.ones(8))
    with pytest.raises(OutOfRange, match="width"):
        loop9([1.0, 2.0], np.zeros(9))
    with pytest.raises(OutOfRange, match="time_s"):
        kai_switched(-1.0, 1.0, 1.0)
    with pytest.raises(OutOfRange, match="activation"):
        merz_time(1.0, 1.0, -1.0)
