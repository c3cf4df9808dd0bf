"""Electronics: flicker of a stated spectrum, hum, rails that are flagged, and steps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, signal

from aemtwin.errors import OutOfRange, WrongType
from aemtwin.instruments.effects.electronics import hum, pink, quantise, saturate
from aemtwin.instruments.effects.noise import generator


def chance(step=0):
    return generator(0, step, "measure", "electronics")


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 1.5])
def test_the_spectrum_of_pink_noise_is_what_is_stated(exponent):
    n, dt, sd, knee = 2**18, 1e-4, 0.3, 120.0
    noise = pink(chance(), n, dt, sd, knee, exponent)
    length = 2**12
    f, power = signal.welch(noise, 1 / dt, nperseg=length, detrend="linear")
    band = (f > 20 / (length * dt)) & (f < 0.4 / dt)
    f, power = f[band], power[band]
    ratio = power / (2 * sd**2 * dt * (knee / f) ** exponent)
    # Of about n / length segments that half overlap, and neighbours of which share.
    error = math.sqrt(1.1 * length / n)  # of one frequency
    assert ratio.mean() == pytest.approx(1.0, abs=5 * error / math.sqrt(len(f) / 2))
    slope, error_2 = np.polyfit(np.log(f), np.log(power), 1, cov=True)
    spread = math.sqrt(2 * error_2[0, 0])  # neighbours are correlated
    assert slope[0] == pytest.approx(-exponent, abs=5 * spread)
    assert spread < 0.01


def test_pink_and_white_noise_are_equal_at_the_knee():
    n, dt, sd, knee = 2**18, 1e-3, 2.0, 30.0
    white = chance(1).normal(0.0, sd, n)
    spectra = [
        signal.welch(x, 1 / dt, nperseg=2**12)
        for x in (white, pink(chance(), n, dt, sd, knee))
    ]
    near = np.abs(spectra[0][0] / knee - 1) < 0.2
    level = [power[near].mean() for _, power in spectra]
    assert level[1] / level[0] == pytest.approx(1.0, abs=0.1)
    assert level[0] == pytest.approx(2 * sd**2 * dt, rel=0.1)


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_pink_noise_wanders_as_its_spectrum_says_and_does_not_come_back(exponent):
    n, dt, sd, knee = 64, 0.01, 1.5, 8.0
    random = chance()
    draws = np.stack([pink(random, n, dt, sd, knee, exponent) for _ in range(4000)])
    for lag in (1, 7, 31, 63):
        steps = draws[:, lag] - draws[:, 0]

        def part(f, lag=lag):
            power = 2 * sd**2 * dt * (knee / f) ** exponent
            return power * 2 * (1 - math.cos(2 * math.pi * f * lag * dt))

        edges = np.linspace(0.5 / (4 * n * dt), (0.5 + 1 / (8 * n)) / dt, 40)
        pieces = itertools.pairwise(edges)
        want = sum(integrate.quad(part, a, b)[0] for a, b in pieces)
        # 4000 squares: 2.2 % each; the lowest wave is a sum and not an integral.
        assert np.mean(steps**2) == pytest.approx(want, rel=0.12)
        assert steps.mean() == pytest.approx(0.0, abs=5 * math.sqrt(want / 4000))


def test_the_mean_of_pink_noise_is_free():
    random = chance()
    means = [pink(random, 100, 1.0, 1.0, 0.5).mean() for _ in range(400)]
    # S integrated from 1/(4n) to 1/(2n), about, is what averaging over n leaves.
    assert np.std(means) > 0.5
    assert abs(np.mean(means)) < 5 * np.std(means) / 20


def test_pink_noise_is_gaussian_and_repeats_by_address():
    noise = pink(chance(), 2**16, 1.0, 2.0, 0.3, 0.0)  # white: independent
    assert noise.std() == pytest.approx(2.0, rel=0.02)
    assert np.mean((noise / noise.std()) ** 4) == pytest.approx(3.0, abs=0.1)
    again = pink(chance(), 2**16, 1.0, 2.0, 0.3, 0.0)
    assert noise.tobytes() == again.tobytes()
    assert not np.array_equal(noise, pink(chance(2), 2**16, 1.0, 2.0, 0.3, 0.0))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 100, 1025])
def test_any_number_of_readings_can_be_had(n):
    noise = pink(chance(), n, 0.1, 1.0, 1.0)
    assert noise.shape == (n,)
    assert np.isfinite(noise).all()
    assert np.array_equal(pink(chance(), n, 0.1, 0.0, 1.0), np.zeros(n))
    assert np.array_equal(pink(chance(), n, 0.1, 1.0, 0.0), np.zeros(n))


def test_hum_has_its_lines_and_nothing_else():
    times = np.arange(1000) * 1e-3
    wave = hum(times, 0.8, 50.0, 0.4, (0.0, 0.25))
    lines = np.fft.rfft(wave) / 500
    want = np.zeros(501, complex)
    want[50] = 0.8 * np.exp(1j * (0.4 - math.pi / 2))  # sine: cosine a quarter later
    want[150] = 0.2 * np.exp(1j * (1.2 - math.pi / 2))
    np.testing.assert_allclose(lines, want, atol=1e-12)


def test_another_phase_is_the_same_wave_at_another_time():
    times = np.linspace(0, 0.1, 77).reshape(7, 11)
    late = hum(times + 0.003, 1.0, 60.0, 0.2, (0.3, -0.1))
    shifted = hum(times, 1.0, 60.0, 0.2 + 2 * math.pi * 60 * 0.003, (0.3, -0.1))
    np.testing.assert_allclose(late, shifted, atol=1e-12)
    day = hum(times + 86400.0, 1.0, 60.0, 0.2, (0.3, -0.1))  # whole periods later
    np.testing.assert_allclose(day, hum(times, 1.0, 60.0, 0.2, (0.3, -0.1)), atol=1e-8)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8", "u8", "f2", "f4", "f8"])
def test_readings_beyond_a_rail_are_cut_and_flagged(dtype):
    values = np.array([[0, 3, 4], [5, 90, 100]], dtype)
    cut, flags = saturate(values, 3, 90)
    assert (cut.dtype, cut.shape) == (values.dtype, values.shape)
    assert cut.tolist() == [[3, 3, 4], [5, 90, 90]]
    assert flags.tolist() == [[True, False, False], [False, False, True]]
    assert values.tolist() == [[0, 3, 4], [5, 90, 100]]


def test_a_flag_says_that_the_reading_was_changed():
    values = chance().normal(0.0, 2.0, 1000)
    cut, flags = saturate(values, -1.5, 2.5)
    assert np.array_equal(flags, cut != values)
    assert (cut.min(), cut.max()) == (-1.5, 2.5)
    assert 0 < flags.sum() < 1000


def test_missing_readings_stay_so_and_infinite_ones_are_cut():
    cut, flags = saturate(np.array([np.nan, np.inf, -np.inf], "f4"), -1.0, np.inf)
    np.testing.assert_array_equal(cut, np.array([np.nan, np.inf, -1.0], "f4"))
    assert flags.tolist() == [False, False, True]
    assert saturate(np.array([-5.0], "f4"), -1e300, 1.0)[0].tolist() == [-5.0]


def test_integers_keep_to_whole_numbers_between_the_rails():
    cut, flags = saturate(np.array([-128, 0, 127], "i1"), -9.5, 1e9)
    assert (cut.tolist(), flags.tolist()) == ([-9, 0, 127], [True, False, False])
    top = np.array([2**64 - 1], "u8")
    assert saturate(top, -np.inf, np.inf)[0].tolist() == top.tolist()
    with pytest.raises(OutOfRange, match="no uint8 lies"):
        saturate(np.zeros(2, "u1"), 0.2, 0.8)
    with pytest.raises(OutOfRange, match="no uint8 lies"):
        saturate(np.zeros(2, "u1"), 300, 400)


def test_complex_readings_have_rails_in_each_part():
    values = np.array([1 + 1j, 5 - 1j, 1 - 9j, complex(np.nan, 7)], "c8")
    cut, flags = saturate(values, -2.0, 2.0)
    np.testing.assert_array_equal(cut.real, [1, 2, 1, np.nan])
    np.testing.assert_array_equal(cut.imag, [1, -1, -2, 2])
    assert cut.dtype == values.dtype
    assert flags.tolist() == [False, True, True, True]


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_a_converter_has_its_levels_and_zero_is_one(bits):
    ramp = np.linspace(-3.0, 3.0, 50_001)
    levels = np.unique(quantise(ramp, -2.0, 2.0, bits))
    want = [-2.0 + 4.0 * k / 2**bits for k in range(2**bits)]
    assert levels.tolist() == want
    assert 0.0 in levels
    nearest = np.abs(ramp[::50, None] - levels).min(axis=1)
    got = np.abs(ramp[::50] - quantise(ramp[::50], -2.0, 2.0, bits))
    np.testing.assert_allclose(got, nearest, atol=1e-12)


def test_the_error_of_a_converter_is_uniform_over_a_step():
    values = chance().normal(0.0, 0.5, 200_000)
    step = 20.0 / 2**10
    error = (quantise(values, -10.0, 10.0, 10) - values) / step
    assert np.abs(error).max() <= 0.5 + 1e-9
    # The variance of u² over (-1/2, 1/2) is 1/180.
    spread = math.sqrt(1 / 180 / 200_000)
    assert error.var() == pytest.approx(1 / 12, abs=5 * spread)
    filled = np.histogram(error, bins=10, range=(-0.5, 0.5))[0] / 200_000
    np.testing.assert_allclose(filled, 0.1, atol=5 * math.sqrt(0.09 / 200_000))


def test_a_converter_keeps_dtype_and_what_is_missing():
    values = np.array([0.26, np.nan, np.inf, -np.inf, 1e308])
    got = quantise(values, -1.0, 1.0, 3)
    np.testing.assert_array_equal(got, [0.25, np.nan, 0.75, -1.0, 0.75])
    assert quantise(values[:1].astype("f4"), -1.0, 1.0, 3).dtype == np.float32
    both = quantise(np.array([0.3 - 0.9j], "c8"), -1.0, 1.0, 2)
    assert (both.dtype, both.tolist()) == (np.complex64, [0.5 - 1j])


def test_a_converter_gives_again_what_it_gave():
    values = chance().uniform(-3, 3, (8, 8))
    once = quantise(values, -2.0, 1.3, 14)
    assert np.array_equal(quantise(once, -2.0, 1.3, 14), once)
    assert saturate(once, -2.0, 1.3)[1].sum() == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: pink(chance(), 0, 1.0, 1.0, 1.0), OutOfRange),
        (lambda: pink(chance(), 2.5, 1.0, 1.0, 1.0), WrongType),
        (lambda: pink(chance(), True, 1.0, 1.0, 1.0), WrongType),
        (lambda: pink(chance(), 9, 0.0, 1.0, 1.0), OutOfRange),
        (lambda: pink(chance(), 9, 1.0, -1.0, 1.0), OutOfRange),
        (lambda: pink(chance(), 9, 1.0, 1.0, math.nan), OutOfRange),
        (lambda: pink(chance(), 9, 1.0, 1.0, 1.0, 4.0), OutOfRange),
        (lambda: hum(np.zeros(2), 1.0, 0.0, 0.0), OutOfRange),
        (lambda: hum(np.array([np.nan]), 1.0, 50.0, 0.0), OutOfRange),
        (lambda: hum(np.zeros(2), "loud", 50.0, 0.0), WrongType),
        (lambda: hum(np.zeros(2), 1.0, 50.0, 0.0, (math.inf,)), OutOfRange),
        (lambda: saturate(np.zeros(2), 1.0, 1.0), OutOfRange),
        (lambda: saturate(np.zeros(2), math.nan, 1.0), OutOfRange),
        (lambda: saturate(np.zeros(2, bool), 0.0, 1.0), WrongType),
        (lambda: saturate([1.0], 0.0, 1.0), WrongType),
        (lambda: quantise(np.zeros(2, int), 0.0, 1.0, 8), WrongType),
        (lambda: quantise(np.zeros(2), 0.0, math.inf, 8), OutOfRange),
        (lambda: quantise(np.zeros(2), 0.0, 1.0, 0), OutOfRange),
        (lambda: quantise(np.zeros(2), 0.0, 1.0, 33), OutOfRange),
        (lambda: quantise(np.zeros(2), 0.0, 1.0, 8.0), WrongType),
    ],
)
def test_what_cannot_be_used_is_refused(call, error):
    with pytest.raises(error, match="got"):
        call()
