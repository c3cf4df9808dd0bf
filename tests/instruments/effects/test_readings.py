"""Feedback and electronics, as a twin shows them."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.errors import BadFile, UnknownName
from aemtwin.instruments.effects.readings import (
    Converter,
    Feedback,
    Flicker,
    Pickup,
)
from aemtwin.instruments.opening import open_twin
from tests.instruments.effects.making import MIDDLE, N, image, made, spectra
from tests.small import bias_axis

STEP_M = 20e-9


def plateau():
    """A plateau in the middle third of every line, and its mirror image is itself."""
    height = np.zeros((N, N))
    height[:, 22:43] = STEP_M
    current = np.ones((N, N))
    return [image("height", "Height", "m", height), image("current", "I", "A", current)]


def flat(n=9):
    zero = np.zeros((9, 9, 64))
    return [
        image("height", "Height", "m", np.zeros((n, n))),
        image("other", "Current", "A", np.zeros((n, n))),
        spectra("loops", zero, bias_axis(64)),
    ]


def test_the_gains_of_the_feedback_are_settings_only_where_there_is_one():
    twin = made(plateau(), Feedback(proportional=0.2, integral_hz=500.0))
    known = {p.name: p.default for p in twin.describe().settings}
    assert (known["proportional"], known["integral_hz"]) == (0.2, 500.0)
    twin.configure(integral_hz=50.0)
    assert twin.state().settings["integral_hz"] == 50.0
    for without in (made(plateau()), made(plateau(), Feedback(), ideal=True)):
        before = without.state_hash()
        with pytest.raises(UnknownName, match="integral_hz"):
            without.configure(integral_hz=50.0)
        assert without.state_hash() == before


def test_too_low_a_gain_smears_edges_to_where_the_scan_goes():
    twin = made(plateau(), Feedback(proportional=0.0))
    true = plateau()[0].data
    errors = []
    for integral in (100.0, 300.0, 1500.0):
        twin.configure(integral_hz=integral)
        row = twin.scan(dwell_s=1e-3).arrays["height"][30]
        errors.append(np.abs(row - true[30]).mean())
        assert row[:22] == pytest.approx(0.0, abs=1e-12)  # before the edge: nothing
        assert row[22] < 0.8 * STEP_M  # late on the way up
        assert row[43] > 0.2 * STEP_M  # and on the way down
    assert errors[0] > errors[1] > errors[2]


def test_what_a_frame_smears_forward_it_smears_backward_in_the_mirror():
    twin = made(plateau(), Feedback(proportional=0.0, integral_hz=200.0))
    forward = twin.scan().arrays["height"]
    backward = twin.scan(backward=True).arrays["height"]
    np.testing.assert_array_equal(backward, forward[:, ::-1])
    assert np.abs(forward - backward).max() > 0.5 * STEP_M


def test_a_settled_loop_lags_an_integral_behind_a_slope():
    slope = np.tile(np.linspace(0.0, 64e-9, N), (N, 1))  # 1 nm a pixel
    arrays = [image("height", "Height", "m", slope)]
    twin = made(arrays, Feedback(proportional=0.0, integral_hz=400.0, oversample=8))
    row = twin.scan(dwell_s=2e-3).values[10]
    speed = 1e-9 / 2e-3
    assert (slope[10] - row)[40:] == pytest.approx(speed / 400.0, rel=0.02)


def test_the_feedback_touches_heights_alone():
    frame = made(plateau(), Feedback(integral_hz=10.0)).scan()
    np.testing.assert_array_equal(frame.arrays["current"], plateau()[1].data)


def test_a_trace_is_late_too_and_a_single_point_is_not():
    twin = made(plateau(), Feedback(proportional=0.0, integral_hz=200.0))
    line = [(x, MIDDLE[1]) for x in np.linspace(0.0, 640e-9, N)]
    np.testing.assert_array_equal(
        twin.trace(line).arrays["height"], twin.scan().arrays["height"][32]
    )
    assert twin.trace([MIDDLE]).arrays["height"].tolist() == [STEP_M]


def test_flicker_falls_as_one_over_the_frequency_along_the_lines():
    density, dwell = 3e-12, 1e-3
    twin = made(flat(), Flicker({"height": density}), overhead_s=0.0)
    power = 0.0
    for _ in range(30):
        frame = twin.scan(shape=(16, 256), dwell_s=dwell).arrays["height"]
        series = frame.ravel() - frame.mean()
        power = power + np.abs(np.fft.rfft(series * np.hanning(series.size))) ** 2
    f = np.fft.rfftfreq(series.size, dwell)
    psd = 2 * dwell * power / 30 / np.sum(np.hanning(series.size) ** 2)
    band = (f > 2.0) & (f < 100.0)
    slope, level = np.polyfit(np.log(f[band]), np.log(psd[band]), 1)
    assert slope == pytest.approx(-1.0, abs=0.05)
    assert np.exp(level) == pytest.approx(density**2, rel=0.15)  # at 1 Hz


def test_flicker_is_in_the_named_arrays_alone_and_new_each_time():
    twin = made(flat(), Flicker({"other": 1e-12, "loops": 0.1}))
    first, second = twin.scan(), twin.scan()
    assert not first.arrays["height"].any()
    assert np.ptp(first.arrays["other"]) > 0
    assert (first.arrays["other"] != second.arrays["other"]).mean() > 0.9
    loop, again = twin.measure().values, twin.measure().values
    assert np.std(loop) > 0
    assert (loop != again).mean() > 0.9


def test_flicker_in_a_spectrum_is_slow():
    twin = made(flat(), Flicker({"loops": 0.1}))
    loops = np.array([twin.measure().values for _ in range(200)])
    steps, spread = np.diff(loops, axis=1), loops - loops.mean(axis=1, keepdims=True)
    assert np.mean(steps**2) < 1.0 * np.mean(spread**2)  # white noise has 2
    power = np.mean(np.abs(np.fft.rfft(spread * np.hanning(64), axis=1)) ** 2, axis=0)
    k = np.arange(2, 25)
    assert np.polyfit(np.log(k), np.log(power[k]), 1)[0] == pytest.approx(-1, abs=0.15)


def test_pickup_is_a_line_at_the_mains_in_the_order_of_time():
    twin = made(flat(), Pickup({"height": 2e-12}, frequency_hz=50.0))
    series = twin.trace(np.tile(MIDDLE, (1000, 1)), dwell_s=1e-3).arrays["height"]
    lines = 2 * np.abs(np.fft.rfft(series)) / 1000
    assert lines[50] == pytest.approx(2e-12, rel=1e-6)
    assert np.delete(lines, 50).max() < 1e-18
    backward = twin.scan(shape=(3, 100), dwell_s=1e-3, backward=True)
    late = backward.arrays["height"][:, ::-1]  # in the order of time
    begin = backward.time_s[1] - 3 * 0.2
    times = begin + np.arange(3)[:, None] * 0.2 + (np.arange(100) + 0.5) * 1e-3
    assert late == pytest.approx(2e-12 * np.sin(2 * np.pi * 50 * times), abs=1e-17)


def test_pickup_runs_through_a_spectrum_from_end_to_end():
    twin = made(flat(), Pickup({"loops": 3.0}, frequency_hz=50.0))
    found = twin.measure(dwell_s=0.64)
    times = found.time_s[0] + (np.arange(64) + 0.5) * 0.01
    want = 3.0 * np.sin(2 * np.pi * 50 * times)
    assert found.values == pytest.approx(want, abs=1e-9)


def test_a_converter_gives_steps_and_says_what_it_cut():
    rising = np.tile(np.linspace(-2.0, 2.0, N), (N, 1))
    arrays = [image("signal", "V", "V", rising)]
    twin = made(arrays, Converter({"signal": 1.0}, {"signal": 1.0}, bits=6))
    frame = twin.scan()
    step = 2.0 / 64
    assert frame.values / step == pytest.approx(np.rint(frame.values / step), abs=1e-9)
    assert frame.values.min() == -1.0
    assert frame.values.max() == 1.0 - step
    within = np.abs(rising) <= 1.0 - step
    assert np.abs(frame.values - rising)[within].max() <= step / 2 + 1e-12
    beyond = int((np.abs(rising) > 1.0).sum())
    (notice,) = frame.info["notices"]
    assert notice.startswith(f"saturated: {beyond} readings of 'signal'")
    inside = twin.scan(region=((200e-9, 300e-9), (0.0, 1e-7)), shape=(4, 4))
    assert inside.info["notices"] == []


def test_a_converter_reads_what_flicker_and_mains_have_made():
    twin = made(
        flat(),
        Flicker({"other": 1e-2}),
        Pickup({"other": 0.5}),
        Converter({"other": 0.4}, {"other": 0.4}, bits=3),
    )
    frame = twin.scan(shape=(8, 64))
    levels = set(np.unique(frame.arrays["other"]).round(9))
    assert levels <= set((0.1 * np.arange(-4, 4)).round(9))
    assert len(levels) > 4
    assert "saturated" in frame.info["notices"][0]


@pytest.mark.parametrize(
    "effect", [Flicker({"no": 1.0}), Pickup({"no": 1.0}), Converter({"no": 1.0})]
)
def test_an_array_that_is_not_there_is_refused(effect):
    with pytest.raises(UnknownName, match="no"):
        made(flat(), effect)


@pytest.mark.parametrize(
    "effect", [Converter({}, {"other": 1.0}), Converter({"other": 0.0})]
)
def test_a_converter_without_a_range_is_refused(effect):
    with pytest.raises(BadFile, match="'other' needs an upper rail"):
        made(flat(), effect)


@pytest.mark.parametrize(
    ("effects", "told"),
    [
        (
            {"converter": {"bits": 12.5}},
            "converter.bits got 12.5; it is a whole number",
        ),
        ({"feedback": {"oversample": 1.5}}, "oversample got 1.5; it is a whole number"),
    ],
)
def test_an_effect_is_told_what_is_wrong(effects, told):
    with pytest.raises(BadFile, match=told):
        open_twin("afm_topography", effects=effects)
