"""Laws that hold for every loop and every spectrum."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.scalarizers import band_intensity, coercive_bias, loop_area, peak_position

numbers = st.floats(-5, 5).map(lambda x: round(x, 6))
samples = hnp.arrays(np.float64, 12, elements=numbers)
factors = st.floats(0.01, 100)
TOLERANCE = 1e-6


def close(a: object, b: object, scale: float = 1.0) -> bool:
    return np.allclose(a, b, rtol=1e-9, atol=1e-9 * max(scale, 1.0), equal_nan=True)


@given(bias=samples, response=samples, by=st.integers(0, 11))
def test_where_in_the_cycle_a_sweep_begins_changes_nothing(bias, response, by):
    turned = np.roll(bias, by), np.roll(response, by)
    assert close(loop_area(*turned), loop_area(bias, response))
    assert close(coercive_bias(*turned), coercive_bias(bias, response))


@given(bias=samples, response=samples, offset=st.floats(-1e3, 1e3), shift=numbers)
def test_offsets_of_response_and_bias_leave_the_area(bias, response, offset, shift):
    area = loop_area(bias + shift, response + offset)
    assert close(area, loop_area(bias, response), scale=1e3)


@given(bias=samples, response=samples, factor=factors)
def test_the_area_scales_with_the_response_and_with_the_bias(bias, response, factor):
    area = loop_area(bias, response)
    assert close(loop_area(bias, factor * response), factor * area, 100)
    assert close(loop_area(factor * bias, -response), factor * area, 100)


@given(bias=samples, response=samples)
def test_a_sweep_in_reverse_encloses_the_same_area(bias, response):
    assert close(loop_area(bias[::-1], response[::-1]), loop_area(bias, response))


@given(bias=samples, response=samples, cycles=st.integers(1, 4))
def test_k_equal_cycles_give_k_areas_and_one_coercive_bias(bias, response, cycles):
    many = np.tile(bias, cycles), np.tile(response, cycles)
    assert close(loop_area(*many), cycles * loop_area(bias, response), 100)


@given(
    coercive=st.floats(0.5, 3.5),
    offset=st.floats(-100, 100),
    imprint=st.floats(-1, 1),
    height=st.floats(0.1, 10),
    cycles=st.integers(1, 3),
)
def test_the_coercive_bias_of_a_clean_loop_is_the_one_it_was_made_with(
    coercive, offset, imprint, height, cycles
):
    phase = np.arange(256 * cycles) / 256
    bias = 6 * 2 / np.pi * np.arcsin(np.sin(2 * np.pi * phase))
    rising = np.roll(bias, -1) > bias
    switch = imprint + np.where(rising, coercive, -coercive)
    response = offset + height * np.tanh((bias - switch) / 0.4)
    # one step of the bias is 0.094 V
    assert abs(coercive_bias(bias, response) - coercive) < 0.05
    assert abs(coercive_bias(bias, -response) - coercive) < 0.05


@st.composite
def spectra(draw):
    steps = draw(hnp.arrays(np.float64, 12, elements=st.floats(0.01, 3)))
    axis = np.cumsum(steps) + draw(numbers)
    return axis, draw(samples)


@given(spectrum=spectra(), edges=st.tuples(*[st.floats(0, 1)] * 3))
def test_neighbouring_bands_add_up(spectrum, edges):
    axis, values = spectrum
    a, b, c = sorted(axis[0] + (axis[-1] - axis[0]) * np.array(edges))
    assume(a < b < c)
    parts = band_intensity(axis, values, a, b) + band_intensity(axis, values, b, c)
    assert close(parts, band_intensity(axis, values, a, c), 100)


@given(spectrum=spectra(), other=samples, factor=numbers)
def test_band_intensity_is_linear_in_the_spectrum(spectrum, other, factor):
    axis, values = spectrum
    low, high = axis[0] + 0.2 * np.ptp(axis), axis[0] + 0.7 * np.ptp(axis)
    together = band_intensity(axis, values + factor * other, low, high)
    apart = [band_intensity(axis, y, low, high) for y in (values, other)]
    assert close(together, apart[0] + factor * apart[1], 1e3)


@given(spectrum=spectra())
def test_the_direction_of_the_axis_changes_no_integral(spectrum):
    axis, values = spectrum
    low, high = axis[0] + 0.2 * np.ptp(axis), axis[0] + 0.7 * np.ptp(axis)
    there = band_intensity(axis, values, low, high)
    assert band_intensity(axis[::-1], values[::-1], low, high) == there


@given(spectrum=spectra(), scale=factors, offset=numbers)
def test_a_peak_lies_within_half_a_step_of_the_highest_sample(spectrum, scale, offset):
    axis, values = spectrum
    at, top = float(peak_position(axis, values)), int(np.argmax(values))
    left, right = axis[max(top - 1, 0)], axis[min(top + 1, axis.size - 1)]
    slack = TOLERANCE * np.ptp(axis)
    assert (left + axis[top]) / 2 - slack <= at <= (axis[top] + right) / 2 + slack


@given(spectrum=spectra(), exponent=st.integers(-8, 8))
def test_the_height_of_a_spectrum_does_not_move_its_peak(spectrum, exponent):
    axis, values = spectrum
    assert close(
        peak_position(axis, values * 2.0**exponent), peak_position(axis, values)
    )
