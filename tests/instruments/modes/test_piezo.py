"""Switching loops by band excitation and at one frequency, against the played ones."""

from __future__ import annotations

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import OutOfRange
from aemtwin.instruments.synthetic import resonance
from aemtwin.scalarizers.hysteresis import loop_area


@pytest.fixture(scope="module")
def ideal():
    return aemtwin.open_twin("pfm_loops", ideal=True)


@pytest.fixture(scope="module")
def spots(ideal):
    return ideal.truth("loops").actual[:: 2500 // 40]


def test_a_loop_far_below_resonance_is_the_played_one(ideal, spots):
    played = ideal.truth("loops", spots).values
    computed = ideal.truth("loop", spots).values
    apart = np.abs(computed - played).max() / np.abs(played).max()
    assert apart < 0.005  # the gain of the resonance, (20 / 335)²


def test_band_excitation_gives_the_loop_back_through_a_fit(ideal, spots):
    """SHO recovered by an independent linear fit, at every step that responds."""
    beps = ideal.truth("beps", spots)
    band = beps.axes[2].values
    amplitude, f0, quality, phase = resonance.fit_response(band, beps.values)
    loops = amplitude * np.cos(phase)
    played = ideal.truth("loops", spots).values
    np.testing.assert_allclose(loops, played, atol=2e-3 * np.abs(played).max())
    strong = amplitude > 5.0
    spread = [np.ptp(row[on]) for row, on in zip(f0, strong, strict=True)]
    assert max(spread) < 20.0  # Hz: the contact does not change in a sweep
    assert 90 < np.median(quality[strong]) < 160


def test_the_error_of_the_fit_falls_with_the_dose(ideal):
    twin = aemtwin.open_twin("pfm_loops", seed=4)
    spot = ideal.truth("loops").actual[1234]
    want = ideal.truth("loops", [spot]).values[0]
    twin.move_to(spot)

    def rms(dwell_s: float) -> float:
        off = []
        for i in range(6):
            found = twin.measure("beps", dwell_s, rid=f"r/{i}/m{dwell_s}")
            fitted = resonance.fit_response(found.axes[1].values, found.values)
            loop = fitted[0] * np.cos(fitted[3])
            off.append(np.mean((loop - want)[np.abs(want) > 10.0] ** 2))
        return float(np.sqrt(np.mean(off)))

    assert 0.7 < np.log2(rms(0.2) / rms(3.2)) / 2 < 1.3  # sixteen times: a quarter


def test_a_sweep_that_does_not_reach_coercion_opens_no_loop(ideal, spots):
    small = ideal.truth("loop", spots[:5], None, {"amplitude_v": 0.5}).values
    bias = ideal.truth("loop", spots[:5], None, {"amplitude_v": 0.5}).axes[1].values
    wide = ideal.truth("loop", spots[:5]).values
    full = ideal.truth("loop", spots[:5]).axes[1].values
    assert (loop_area(bias, small) < 0.01 * loop_area(full, wide)).all()


def test_parameters_make_the_axis(ideal):
    ideal.move_to(np.mean(ideal.describe().bounds, axis=1))
    found = ideal.measure("loop", steps=16, cycles=3, amplitude_v=6.0, offset_v=1.0)
    assert len(found.axes[0]) == 48
    assert found.axes[0].values.max() == 7.0
    assert found.axes[0].values.min() == -5.0
    with pytest.raises(OutOfRange):
        ideal.measure("loop", steps=4)


def test_near_resonance_the_loop_is_larger_and_turned(ideal, spots):
    far = ideal.truth("loop", spots[:8]).values
    near = ideal.truth("loop", spots[:8], None, {"drive_hz": 332e3}).values
    assert np.abs(near).max() > 10 * np.abs(far).max()
