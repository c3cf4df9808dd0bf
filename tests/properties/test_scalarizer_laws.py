"""Laws that hold for every loop and every spectrum."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aemtwin.scalarizers import (
    band_intensity,
    band_ratio,
    coercive_bias,
    component_score,
    imprint,
    loop_area,
    peak_position,
    peak_width,
    principal_component,
    switching,
)

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
    for function in (coercive_bias, imprint, switching):
        assert close(function(*turned), function(bias, response))


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
def test_k_equal_cycles_give_k_areas_and_one_of_all_else(bias, response, cycles):
    many = np.tile(bias, cycles), np.tile(response, cycles)
    assert close(loop_area(*many), cycles * loop_area(bias, response), 100)
    assert close(switching(*many), switching(bias, response))


@st.composite
def loops(draw):
    """A clean loop, its bias, and the numbers that it was made with."""
    coercive, middle = draw(st.floats(0.5, 3.5)), draw(st.floats(-1, 1))
    offset, height = draw(st.floats(-100, 100)), draw(st.floats(0.1, 10))
    cycles = draw(st.integers(1, 3))
    phase = np.arange(256 * cycles) / 256
    bias = 6 * 2 / np.pi * np.arcsin(np.sin(2 * np.pi * phase))
    rising = np.roll(bias, -1) > bias
    switch = middle + np.where(rising, coercive, -coercive)
    response = offset + height * np.tanh((bias - switch) / 0.4)
    return bias, response, coercive, middle, height


@given(loop=loops())
def test_a_clean_loop_has_the_coercive_bias_and_imprint_it_was_made_with(loop):
    bias, response, coercive, middle, _ = loop
    again = np.tile(bias, 2), np.tile(response, 2)
    assert close(coercive_bias(*again), coercive_bias(bias, response), 100)
    for sign in (1, -1):  # one step of the bias is 0.094 V
        assert abs(coercive_bias(bias, sign * response) - coercive) < 0.05
        assert abs(imprint(bias, sign * response) - middle) < 0.05


@given(loop=loops())
def test_a_clean_loop_is_as_open_at_zero_bias_as_its_branches_are_apart(loop):
    bias, response, coercive, middle, height = loop
    branches = np.tanh((-middle + coercive * np.array([1, -1])) / 0.4)
    expected = height * (branches[0] - branches[1])
    assert abs(switching(bias, response) - expected) < 0.01 * height
    assert close(switching(bias, -response), -switching(bias, response), 100)


@given(loop=loops(), shift=st.floats(-50, 50))
def test_a_shift_of_the_bias_is_imprint_and_nothing_else(loop, shift):
    bias, response, *_ = loop
    moved = imprint(bias + shift, response)
    assert close(moved, imprint(bias, response) + shift, 100)
    assert close(
        coercive_bias(bias + shift, response), coercive_bias(bias, response), 100
    )


@given(loop=loops(), offset=st.integers(-64, 64), exponent=st.integers(-8, 8))
def test_offset_and_scale_of_the_response_move_no_bias_and_scale_the_opening(
    loop, offset, exponent
):
    bias, response, *_ = loop
    changed = 2.0**exponent * (response + offset)
    for function in (coercive_bias, imprint):
        assert close(function(bias, changed), function(bias, response), 100)
    opening = 2.0**exponent * switching(bias, response)
    assert close(switching(bias, changed), opening, 1e5)


@given(bias=samples, response=samples, factor=factors)
def test_every_bias_scales_with_the_bias(bias, response, factor):
    for function in (coercive_bias, imprint):
        scaled = function(factor * bias, response)
        assert close(scaled, factor * function(bias, response), 1e3)
    assert close(switching(factor * bias, response), switching(bias, response))


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


@given(spectrum=spectra(), exponent=st.integers(-8, 8), offset=st.integers(-9, 9))
def test_neither_height_nor_offset_nor_place_changes_a_width(
    spectrum, exponent, offset
):
    axis, values = spectrum
    values = np.round(values * 2**10) / 2**10  # sums with an offset are exact
    width = peak_width(axis, values)
    assert close(peak_width(axis, 2.0**exponent * (values + offset)), width)
    assert close(peak_width(axis + offset, values), width, 10)
    assert close(peak_width(2.0**exponent * axis, values), 2.0**exponent * width, 1e3)
    assert np.isnan(width) or 0 < width <= np.ptp(axis)


@given(spectrum=spectra())
def test_the_direction_of_the_axis_changes_no_width(spectrum):
    axis, values = spectrum
    assume(np.sum(values == values.max()) == 1)
    there, back = peak_width(axis, values), peak_width(axis[::-1], values[::-1])
    assert np.array_equal(there, back, equal_nan=True)


@given(spectrum=spectra(), factor=factors)
def test_a_ratio_is_free_of_scale_and_its_inverse_swaps_the_bands(spectrum, factor):
    axis, values = spectrum
    values = np.abs(values) + 0.1
    a, b, c, d = axis[0] + np.ptp(axis) * np.array([0.1, 0.3, 0.5, 0.9])
    ratio = band_ratio(axis, values, a, b, c, d)
    assert close(band_ratio(axis, factor * values, a, b, c, d), ratio)
    assert close(
        band_ratio(factor * axis, values, *(factor * x for x in (a, b, c, d))), ratio
    )
    assert close(band_ratio(axis, values, c, d, a, b), 1 / ratio)


@given(
    spectrum=spectra(), at=st.integers(0, 11), spike=st.sampled_from([np.nan, np.inf])
)
def test_one_sample_that_is_not_finite_makes_nan_of_every_number(spectrum, at, spike):
    axis, values = spectrum
    broken = values.copy()
    broken[at] = spike
    for function in (band_intensity, band_ratio, peak_position, peak_width):
        assert np.isnan(function(axis, broken))
    for function in (loop_area, coercive_bias, imprint, switching):
        assert np.isnan(function(values, broken))
    whole = np.stack([values, -values, broken])
    learned = principal_component(axis, whole)
    assert learned is None or np.isnan(component_score(broken, learned))


wild = st.floats(allow_nan=True, allow_infinity=True)
huge = st.floats(allow_nan=False, allow_infinity=False)


@given(
    values=hnp.arrays(np.float64, (3, 12), elements=wild),
    spectrum=spectra(),
)
def test_no_spectrum_whatever_raises_or_warns_or_is_infinite(values, spectrum):
    axis, other = spectrum
    for function in (band_intensity, band_ratio, peak_position, peak_width):
        assert not np.isinf(function(axis, values)).any()
    for function in (loop_area, coercive_bias, imprint, switching):
        assert not np.isinf(function(other, values)).any()
    learned = principal_component(axis, values)
    assert learned is None or not np.isinf(component_score(values, learned)).any()


@given(values=hnp.arrays(np.float64, (9, 4), elements=huge))
def test_no_family_whatever_raises_or_warns_or_has_an_infinite_score(values):
    learned = principal_component(np.arange(4.0), values)
    assert learned is None or not np.isinf(component_score(values, learned)).any()


@st.composite
def families(draw):
    """Spectra (9, 12) of two components far apart in size, on a rising axis."""
    axis, shape = draw(spectra())
    assume(np.ptp(shape) > 0.5)
    size = (
        10 + np.arange(9) + draw(hnp.arrays(np.float64, 9, elements=st.floats(0, 0.5)))
    )
    random = np.random.default_rng(draw(st.integers(0, 99)))
    return axis, size[:, None] * shape + 0.01 * random.normal(size=(9, 12))


def first_scores(axis, family, *, of=None):
    learned = principal_component(axis, family)
    return component_score(family if of is None else of, learned)


@given(family=families(), exponent=st.integers(-8, 8))
def test_scores_scale_with_the_spectra_and_not_with_the_axis(family, exponent):
    axis, values = family
    factor = 2.0**exponent
    scores = first_scores(axis, values)
    assert close(first_scores(axis, factor * values), factor * scores, 1e5)
    assert close(first_scores(factor * axis, values), scores)


@given(family=families(), order=st.permutations(range(9)))
def test_the_order_of_the_spectra_changes_no_score(family, order):
    axis, values = family
    mixed = first_scores(axis, values[order])
    assert close(mixed, first_scores(axis, values)[order], 100)


@given(family=families(), times=st.integers(2, 4))
def test_a_family_measured_k_times_teaches_what_it_does_once(family, times):
    axis, values = family
    often = first_scores(axis, np.tile(values, (times, 1)), of=values)
    assert close(often, first_scores(axis, values), 100)


@given(
    family=families(),
    row=st.integers(0, 9),
    at=st.integers(0, 11),
    spike=st.sampled_from([1e6, -1e6, 1e12]),
    exponent=st.integers(-8, 8),
)
def test_a_spike_changes_no_score_of_the_others(family, row, at, spike, exponent):
    axis, values = family
    spoilt = values[4].copy()
    spoilt[at] = spike
    together = 2.0**exponent * np.insert(values, row, spoilt, axis=0)
    scores = first_scores(axis, together)
    assert np.isfinite(scores[row])
    expected = 2.0**exponent * first_scores(axis, values)
    assert close(np.delete(scores, row), expected, 1e5)


@given(family=families())
def test_scores_add_up_to_nothing_and_hold_the_greatest_variance(family):
    axis, values = family
    scores = first_scores(axis, values)
    assert close(scores.mean(), 0, 100)
    assert np.var(scores) >= values.var(axis=0).max() * (1 - 1e-9)
    second = principal_component(axis, values, 2)
    assert np.var(component_score(values, second)) <= np.var(scores)


@given(family=families())
def test_the_direction_of_the_axis_changes_no_score(family):
    axis, values = family
    there = first_scores(axis, values)
    assert close(first_scores(axis[::-1], values[:, ::-1]), there, 100)
