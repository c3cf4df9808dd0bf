"""The contact resonance against closed forms, other fits and a simulation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.optimize import brentq, least_squares
from scipy.signal import freqs

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.synthetic.resonance import (
    band,
    contact_frequency,
    fit_response,
    response,
    thermal_noise,
    thermal_noise_psd,
)

BAND = band(335e3, 60e3, 64)
KT = 1.380649e-23 * 295.0


def drawn(n, seed=0):
    """Parameters of n oscillators in the band, as `response` takes them."""
    random = np.random.default_rng(seed)
    return (
        random.uniform(0.5, 2.0, n),
        random.uniform(325e3, 345e3, n),
        random.uniform(30, 300, n),
        random.uniform(-3.1, 3.1, n),
    )


def test_the_response_is_that_of_the_analogue_filter_of_scipy():
    w0, q = 2 * math.pi * 335e3, 120.0
    _, want = freqs([w0**2], [1.0, w0 / q, w0**2], worN=2 * math.pi * BAND)
    np.testing.assert_allclose(response(BAND, 1.0, 335e3, q), want, rtol=1e-9)


def test_the_response_is_that_of_the_usual_fit_function_half_a_turn_on():
    """BGlib: A e^{i phi} w0^2 / (w^2 - i w w0 / Q - w0^2)."""
    a, f0, q, phase = (v[:, None] for v in drawn(5))
    theirs = a * np.exp(1j * (phase + math.pi)) * f0**2
    theirs = theirs / (BAND**2 - 1j * BAND * f0 / q - f0**2)
    np.testing.assert_allclose(response(BAND, *drawn(5)), theirs, rtol=1e-11)


@given(st.floats(1.0, 1000.0), st.floats(-3.0, 3.0))
def test_phase_falls_by_half_a_turn_and_the_peak_is_amplitude_times_quality(q, phase):
    f = np.array([1e-6, 0.5, 0.9, 1.0, 1.1, 2.0, 1e6]) * 100e3
    h = response(f, 3.0, 100e3, q, phase)
    turned = np.unwrap(np.angle(h)) - phase
    turned -= 2 * math.pi * np.round(turned[0] / (2 * math.pi))
    assert (np.diff(turned) < 0).all()
    assert turned[0] == pytest.approx(0, abs=1e-5)
    assert turned[3] == pytest.approx(-math.pi / 2)
    assert turned[-1] == pytest.approx(-math.pi, abs=1e-5)
    assert abs(h[3]) == pytest.approx(3.0 * q)
    assert abs(h[0]) == pytest.approx(3.0)


@pytest.mark.parametrize("q", [20.0, 150.0, 1000.0])
def test_the_power_is_half_at_two_frequencies_that_lie_f0_over_q_apart(q):
    def above_half(f):
        return float(np.abs(response([f], 1.0, 335e3, q)[0]) ** 2 - q**2 / 2)

    low, high = brentq(above_half, 300e3, 335e3), brentq(above_half, 335e3, 370e3)
    assert high - low == pytest.approx(335e3 / q, rel=1 / q**2)


def test_a_band_is_centred_and_even():
    assert BAND.mean() == pytest.approx(335e3)
    np.testing.assert_allclose(np.diff(BAND), 60e3 / 63)


def test_a_fit_without_noise_returns_the_parameters():
    want = drawn(2000)
    for rounds in (0, 4):
        got = fit_response(BAND, response(BAND, *want), rounds=rounds)
        for have, true in zip(got, want, strict=True):
            np.testing.assert_allclose(have, true, rtol=1e-8)


@given(
    st.floats(1e-15, 1e6),
    st.floats(0.7, 1.3),
    st.floats(0.6, 1e4),
    st.floats(-3.1, 3.1),
    st.floats(1.0, 1e7),
)
def test_a_fit_is_exact_at_any_scale_and_beside_the_band(a, where, q, phase, centre):
    f = band(centre, 0.2 * centre, 24)
    got = fit_response(f, response(f, a, where * centre, q, phase))
    np.testing.assert_allclose(got[:3], (a, where * centre, q), rtol=1e-5)
    assert got.phase_rad == pytest.approx(phase, abs=1e-5)


def test_a_fit_to_noise_is_the_nonlinear_least_squares_fit():
    random = np.random.default_rng(3)
    want = drawn(6)
    clean = response(BAND, *want)
    noisy = clean + 3.0 * (
        random.standard_normal(clean.shape) + 1j * random.standard_normal(clean.shape)
    )
    got = fit_response(BAND, noisy, rounds=30)
    for i in range(6):

        def misfit(p, i=i):
            rest = response(BAND, p[0], p[1] * 1e5, p[2] * 100, p[3]) - noisy[i]
            return np.concatenate([rest.real, rest.imag])

        true = [v[i] for v in want]
        start = [true[0], true[1] / 1e5, true[2] / 100, true[3]]
        tight = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}
        best = least_squares(misfit, start, **tight).x * [1, 1e5, 100, 1]
        np.testing.assert_allclose([v[i] for v in got], best, rtol=2e-5)


def test_the_error_of_a_fit_is_the_least_that_is_possible_and_falls_with_averages():
    """Thermal noise about one bin; the bound of Cramer and Rao by differences."""
    random = np.random.default_rng(4)
    true = np.array([1e-12, 335e3, 120.0, 0.3])
    clean = response(BAND, *true)
    step = true * 1e-5
    slope = np.array(
        [
            (response(BAND, *(true + d)) - response(BAND, *(true - d))) / (2 * d[i])
            for i, d in enumerate(np.diag(step))
        ]
    )
    sd = 1e-11
    bound = np.linalg.inv((slope @ slope.conj().T).real / sd**2)
    found = {}
    for averages in (1, 16):
        noise = random.standard_normal((1500, averages, 64, 2)).mean(axis=1) * sd
        fit = fit_response(BAND, clean + noise[..., 0] + 1j * noise[..., 1])
        off = np.array(fit) - true[:, None]
        found[averages] = off.std(axis=1)
        least = np.sqrt(np.diag(bound) / averages)
        np.testing.assert_allclose(found[averages], least, rtol=0.08)
        assert (np.abs(off.mean(axis=1)) < 0.15 * least).all()
    np.testing.assert_allclose(found[1] / found[16], 4.0, rtol=0.1)


def test_a_warm_oscillator_is_fitted_better_the_longer_it_is_averaged():
    random = np.random.default_rng(5)
    about = (335e3, 120.0)
    clean = response(BAND, 1e-11, *about)
    errors = []
    for averages in (1, 4, 16):
        warm = [
            thermal_noise(random, BAND, np.full(800, about[0]), about[1], 3.0, 500.0)
            for _ in range(averages)
        ]
        got = fit_response(BAND, clean + np.mean(warm, axis=0))
        errors.append(np.std(got.frequency0_hz))
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0, rtol=0.12)


def test_where_nothing_resonates_no_number_comes_out():
    h = np.stack([np.zeros(64), np.full(64, np.nan), BAND / 1e5]).astype(complex)
    for values in fit_response(BAND, h):
        assert np.isnan(values).all()
    mixed = np.concatenate([h, response(BAND, *drawn(1))])
    got = fit_response(BAND, mixed.reshape(2, 2, 64))
    assert got.quality.shape == (2, 2)
    assert got.quality[1, 1] == pytest.approx(drawn(1)[2][0])


@pytest.mark.parametrize("q", [0.4, 2.0, 50.0, 300.0])
def test_the_thermal_noise_has_the_mean_square_of_equipartition(q):
    f0, k = 75e3, 2.8

    def density(f):
        return float(thermal_noise_psd([f], f0, q, k)[0]) * k / KT

    peak = np.maximum(1 + np.array([-20, -3, 0, 3, 20]) / q / 21, 0.0)
    edges = f0 * np.sort([0.0, *peak, 8.0, 1e3])
    parts = [quad(density, a, b, limit=200)[0] for a, b in pairwise(edges)]
    assert sum(parts) == pytest.approx(1.0, rel=1e-4)


def test_the_thermal_noise_of_a_simulated_oscillator_is_that_of_the_formula():
    """A mass in a heat bath, stepped exactly; its Fourier transform bin by bin."""
    random = np.random.default_rng(6)
    f0, q, k, step, length, runs = 1.0, 5.0, 2.0, 0.05, 4096, 150
    w0 = 2 * math.pi * f0
    forward = expm(step * np.array([[0.0, 1.0], [-(w0**2), -w0 / q]]))
    warm = np.diag([KT / k, KT / k * w0**2])
    kick = np.linalg.cholesky(warm - forward @ warm @ forward.T)
    state = np.sqrt(warm) @ random.standard_normal((2, runs))
    path = np.empty((length, runs))
    for i in range(length):
        path[i] = state[0]
        state = forward @ state + kick @ random.standard_normal((2, runs))
    amplitude = np.fft.rfft(path, axis=0) * 2 / length
    f = np.fft.rfftfreq(length, step)
    want = 2 * thermal_noise_psd(f, f0, q, k) / (length * step)
    power = (np.abs(amplitude) ** 2).mean(axis=1)
    for low in (0.2, 0.6, 0.8, 0.9, 1.0, 1.2, 1.6):
        inside = (f > low) & (f < low + 0.1)
        assert power[inside].mean() == pytest.approx(want[inside].mean(), rel=0.07)
    drawn_here = thermal_noise(
        random, f[1:400], np.full(runs, f0), q, k, 1 / (length * step)
    )
    ours = (np.abs(drawn_here) ** 2).mean(axis=0)
    np.testing.assert_allclose(np.mean(ours / want[1:400]), 1.0, rtol=0.02)


def test_both_parts_of_the_thermal_noise_are_normal_and_independent():
    random = np.random.default_rng(7)
    x = thermal_noise(random, [335e3], np.full(40_000, 335e3), 100.0, 3.0, 500.0)[:, 0]
    sd = math.sqrt(float(thermal_noise_psd([335e3], 335e3, 100.0, 3.0)[0]) * 500.0)
    assert x.real.std() == pytest.approx(sd, rel=0.02)
    assert x.imag.std() == pytest.approx(sd, rel=0.02)
    assert abs(np.mean(x * x)) < 0.03 * sd**2
    assert np.mean(x.real**4) / sd**4 == pytest.approx(3.0, rel=0.05)


def on_a_beam(ratio):
    """First resonance of a clamped beam with a spring at its end, over the free one.

    w'''' = x^4 w, clamped at 0; at the end w'' = 0 and w''' = 3 ratio w.
    """

    def ends(x):
        c, s, ch, sh = math.cos(x), math.sin(x), math.cosh(x), math.sinh(x)
        return x**3 * (1 + c * ch) + 3 * ratio * (s * ch - c * sh)

    free = brentq(lambda x: 1 + math.cos(x) * math.cosh(x), 1.8, 1.95)
    return (brentq(ends, 1.8, 3.95) / free) ** 2


@pytest.mark.parametrize(
    ("ratio", "above"), [(0.0, 0.0), (1.0, 0.015), (3.0, 0.046), (10.0, 0.162)]
)
def test_a_mass_on_two_springs_is_too_stiff_against_a_beam_by_what_is_said(
    ratio, above
):
    over = float(contact_frequency(1.0, ratio)) / on_a_beam(ratio) - 1
    assert over == pytest.approx(above, abs=1e-3)


def test_a_beam_cannot_rise_above_its_pinned_end_and_two_springs_can():
    assert on_a_beam(1e9) == pytest.approx(4.385, abs=1e-3)
    assert float(contact_frequency(1.0, 100.0)) / on_a_beam(100.0) > 2.4


def test_what_cannot_be_used_is_refused():
    with pytest.raises(OutOfRange, match="quality"):
        response(BAND, 1.0, 335e3, 0.0)
    with pytest.raises(OutOfRange, match="frequency0_hz"):
        response(BAND, 1.0, np.nan, 10.0)
    with pytest.raises(OutOfRange, match="Narrow"):
        band(100.0, 300.0, 5)
    with pytest.raises(OutOfRange, match="bins"):
        band(100.0, 30.0, 1)
    with pytest.raises(OutOfRange, match="stiffness_ratio"):
        contact_frequency(1.0, -1.0)
    with pytest.raises(WrongType, match="complex"):
        fit_response(BAND, np.ones(64))
    with pytest.raises(ShapeMismatch, match="last axis"):
        fit_response(BAND, np.ones(63, complex))
    with pytest.raises(ShapeMismatch, match="different"):
        fit_response([1.0, 1.0, 2.0], np.ones(3, complex))
