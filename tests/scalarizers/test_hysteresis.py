"""Loops whose area, switching biases and opening are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import ShapeMismatch, WrongType
from aemtwin.scalarizers import coercive_bias, imprint, loop_area, switching

FUNCTIONS = loop_area, coercive_bias, imprint, switching


def triangle(amplitude: float, steps: int, cycles: int = 1) -> np.ndarray:
    """0, up, down and back, (4 * steps * cycles,) V."""
    phase = np.arange(4 * steps * cycles) / (4 * steps)
    return amplitude * 2 / np.pi * np.arcsin(np.sin(2 * np.pi * phase))


def switching_loop(
    bias: np.ndarray, coercive: float, offset: float = 0.0, width: float = 0.3
) -> np.ndarray:
    """A loop of two tanh branches, which switch at +coercive and -coercive."""
    rising = np.roll(bias, -1) > bias
    return offset + np.tanh((bias - np.where(rising, coercive, -coercive)) / width)


def test_a_rectangular_loop_encloses_its_width_times_its_height():
    bias = np.array([-3.0, 3, 3, -3])
    assert loop_area(bias, [-2.0, -2, 2, 2]) == pytest.approx(24.0)


def test_an_ellipse_of_many_steps_encloses_pi_a_b():
    phase = np.linspace(0, 2 * np.pi, 4096, endpoint=False)
    area = loop_area(3 * np.cos(phase), 0.5 * np.sin(phase))
    assert area == pytest.approx(np.pi * 3 * 0.5, rel=1e-5)


def test_a_line_swept_forth_and_back_encloses_nothing():
    bias = triangle(5, 16)
    assert loop_area(bias, 2 * bias + 1) == pytest.approx(0, abs=1e-12)


def test_equal_cycles_add_their_areas():
    one, three = triangle(5, 16), triangle(5, 16, cycles=3)
    single = loop_area(one, switching_loop(one, 2))
    assert loop_area(three, switching_loop(three, 2)) == pytest.approx(3 * single)


def test_many_loops_are_taken_at_once_as_one_by_one():
    bias = triangle(5, 16)
    loops = np.stack([switching_loop(bias, c) for c in (1.0, 2.0, 3.0)])[:, None]
    for function in FUNCTIONS:
        together = function(bias, loops)
        assert together.shape == (3, 1)
        assert together.ravel().tolist() == [
            float(function(bias, loop)) for loop in loops[:, 0]
        ]


@pytest.mark.parametrize("cycles", [1, 2, 3])
@pytest.mark.parametrize("offset", [0.0, 40.0])
def test_the_coercive_bias_is_found_whatever_offset_and_number_of_cycles(
    cycles, offset
):
    bias = triangle(5, 64, cycles)
    found = coercive_bias(bias, switching_loop(bias, 1.7, offset))
    assert found == pytest.approx(1.7, abs=0.02)


def test_imprint_moves_both_crossings_and_leaves_their_distance():
    bias = triangle(8, 128)
    assert coercive_bias(bias + 1, switching_loop(bias, 2)) == pytest.approx(
        2, abs=0.02
    )


@pytest.mark.parametrize("cycles", [1, 2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_imprint_is_found_whatever_offset_sign_and_number_of_cycles(cycles, sign):
    bias = triangle(5, 64, cycles)
    loop = 40 + sign * switching_loop(bias - 0.7, 1.7)
    assert imprint(bias, loop) == pytest.approx(0.7, abs=0.02)
    assert imprint(bias, switching_loop(bias, 1.7)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_the_opening_of_a_loop_at_zero_bias_is_that_of_its_branches(cycles):
    bias = triangle(5, 64, cycles) + 0.013  # zero lies between two samples
    loop = 40 + 3 * switching_loop(bias, 1.7) + 0.2 * bias
    assert switching(bias, loop) == pytest.approx(6 * np.tanh(1.7 / 0.3), rel=1e-4)
    assert switching(bias, -loop) == pytest.approx(-switching(bias, loop))


def test_zero_bias_is_interpolated_between_the_samples_around_it():
    bias, response = [-2.0, 1, 2, -1], [0.0, 3, 7, 4]
    # rising: 2/3 of the way from 0 to 3; falling: 2/3 of the way from 7 to 4
    assert switching(bias, response) == pytest.approx(5 - 2)
    assert switching([-1.0, 0, 1, 0], [0.0, 2, 9, 5]) == 5 - 2  # zero is a sample


def test_of_several_cycles_the_median_opening_counts():
    bias, one = np.array([-1.0, 1, 1, -1]), np.array([0.0, 0, 1, 1])
    loops = np.concatenate([2 * one, 3 * one, 50 * one])
    assert switching(np.tile(bias, 3), loops) == pytest.approx(3)


@pytest.mark.parametrize(
    "bias", [[0.0, 1, 2, 1], [0.0, -1, -2, -1], [1.0] * 4, [0.0] * 4, [1.0, 2, 3, 2]]
)
def test_a_bias_that_does_not_pass_zero_both_ways_opens_no_loop(bias):
    assert np.isnan(switching(bias, [0.0, 1, 2, 3]))


def test_a_constant_response_is_a_loop_that_is_closed_and_never_switches():
    bias = triangle(5, 16)
    assert loop_area(bias, np.full(64, 7.0)) == switching(bias, np.full(64, 7.0)) == 0
    for function in (coercive_bias, imprint):
        assert np.isnan(function(bias, np.full(64, 7.0)))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("spike", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_not_finite_costs_one_loop_and_no_warning(function, spike):
    bias = triangle(5, 16)
    loops = np.stack([switching_loop(bias, 2)] * 2)
    loops[0, 5] = spike
    assert np.isnan(function(bias, loops)).tolist() == [True, False]
    assert np.isnan(function(bias, np.full(64, spike)))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("size", [1.7e308, -1.7e308, 5e-324])
def test_the_largest_and_the_smallest_numbers_give_no_warning(function, size):
    bias = triangle(5, 16)
    loop = switching_loop(bias, 2)
    for outliers in (1, 20):
        loop[:outliers] = size
        assert not np.isinf(function(bias, loop))
        assert not np.isinf(function(bias, size * np.sign(loop)))


def test_noise_moves_imprint_and_opening_little():
    bias = triangle(5, 64, cycles=2)
    noise = 0.15 * np.random.default_rng(4).normal(size=bias.size)
    loop = switching_loop(bias - 0.5, 2, width=0.5) + noise
    assert imprint(bias, loop) == pytest.approx(0.5, abs=0.15)
    assert switching(bias, loop) == pytest.approx(2, abs=0.4)


def test_noise_that_crosses_zero_again_moves_the_coercive_bias_little():
    bias = triangle(5, 64, cycles=2)
    noise = 0.15 * np.random.default_rng(4).normal(size=bias.size)
    found = coercive_bias(bias, switching_loop(bias, 2, width=0.5) + noise)
    assert found == pytest.approx(2, abs=0.15)


def test_a_response_that_switches_while_the_bias_stands_still_is_counted():
    assert coercive_bias([-2.0, 2, 2, -2], [-1.0, -1, 1, 1]) == 2.0


@pytest.mark.parametrize(
    "response", [np.zeros(8), np.r_[np.nan, np.arange(7.0)], np.r_[np.inf, np.zeros(7)]]
)
def test_a_response_that_does_not_switch_or_is_not_finite_has_no_coercive_bias(
    response,
):
    assert np.isnan(coercive_bias(triangle(1, 2), response))


def test_a_bias_that_stands_still_gives_no_coercive_bias():
    assert np.isnan(coercive_bias(np.ones(4), [0.0, 1, 0, 1]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_loops_are_refused_in_a_sentence(function):
    bias = triangle(1, 2)
    with pytest.raises(WrongType, match="real part"):
        function(bias, bias + 1j)
    with pytest.raises(WrongType, match="type bool"):
        function(bias, bias > 0)
    with pytest.raises(ShapeMismatch, match=r"shape \(9,\).*as long as the bias, 8"):
        function(bias, np.zeros(9))
    with pytest.raises(ShapeMismatch, match="bias of shape"):
        function(np.zeros((2, 4)), bias)


def test_integer_samples_do_not_overflow():
    bias = np.array([-120, 120, 120, -120], np.int8)
    assert loop_area(bias, bias[[0, 0, 1, 1]]) == pytest.approx(240 * 240)
