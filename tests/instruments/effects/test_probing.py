"""The tip, as a twin shows it: blunt, double, worn, changed, crashed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aemtwin.errors import TipCrashed
from aemtwin.instruments.effects import tip
from aemtwin.instruments.effects.faults import Faults
from aemtwin.instruments.effects.probing import Tip
from tests.instruments.effects.making import (
    ALONG_M,
    N,
    image,
    made,
    ramps,
    rough,
)

R_M = 60e-9


def surface():
    return rough()[0].data


def test_a_scan_shows_the_surface_as_the_tip_dilates_it():
    frame = made(rough(), Tip(radius_m=R_M)).scan()
    want = tip.dilate_with(surface(), _parabola(R_M))
    assert frame.arrays["height"] == pytest.approx(want, abs=1e-16)
    assert np.mean(frame.arrays["height"] - surface()) > 1e-9


def _parabola(radius):
    """The tip as a kernel on the pixels, wider than it can touch."""
    i, j = np.mgrid[-20:21, -20:21] * 1e-8
    return -(i**2 + j**2) / (2 * radius)


def test_heights_in_nanometres_are_dilated_as_much_as_those_in_metres():
    arrays = rough()
    nano = image("height", "Height", "nm", surface() * 1e9)
    twins = [made([one, *arrays[1:]], Tip(radius_m=R_M)) for one in (arrays[0], nano)]
    metres, nanometres = (twin.scan().arrays["height"] for twin in twins)
    assert nanometres * 1e-9 == pytest.approx(metres, abs=1e-18)


def test_a_file_whose_y_descends_is_dilated_the_right_way_round():
    spike = np.zeros((N, N))
    spike[10, 40] = spike[12, 20] = 20e-9
    one = image("height", "Height", "m", spike)
    y, x = one.axes
    down = replace(
        one, data=spike[::-1], axes=(replace(y, values=y.values[::-1].copy()), x)
    )
    about = Tip(radius_m=R_M, second_m=(30e-9, 40e-9))
    frames = [made([each], about).scan() for each in (one, down)]
    np.testing.assert_array_equal(frames[0].values, frames[1].values)
    assert frames[0].axis("y") == frames[1].axis("y")
    assert frames[0].values[6, 37] == pytest.approx(20e-9)  # the ghost


def test_a_tip_works_in_metres_on_a_scan_and_on_a_trace():
    twin = made(rough(), Tip(radius_m=R_M))
    frame = twin.scan()
    for name in ("height", "phase", "amplitude"):
        row = [(x, ALONG_M[30]) for x in ALONG_M]
        np.testing.assert_array_equal(
            twin.trace(row).arrays[name], frame.arrays[name][30]
        )
        column = [(ALONG_M[12], y) for y in ALONG_M]
        np.testing.assert_array_equal(
            twin.trace(column).arrays[name], frame.arrays[name][:, 12]
        )


def test_phase_is_not_eroded_like_height_it_is_read_at_the_point_of_contact():
    frame = made(rough(), Tip(radius_m=R_M)).scan()
    phase = rough()[1].data
    rows, columns = _contacts()
    np.testing.assert_array_equal(frame.arrays["phase"], phase[rows, columns])
    assert set(np.unique(frame.arrays["phase"])) == {-90.0, 90.0}  # nothing between
    assert (frame.arrays["phase"] != phase).any()
    np.testing.assert_array_equal(
        frame.arrays["amplitude"], rough()[2].data[rows, columns]
    )


def _contacts():
    """Find by trying every pixel which one the tip touches at each place."""
    y, x = np.mgrid[0:N, 0:N] * 1e-8
    heights = surface()
    found = np.empty((2, N, N), int)
    for r, c in np.ndindex(N, N):
        away = (x - x[r, c]) ** 2 + (y - y[r, c]) ** 2
        best = np.argmax(heights - away / (2 * R_M))
        found[:, r, c] = divmod(int(best), N)
    return found


def test_a_double_tip_shows_every_summit_twice():
    spike = np.zeros((N, N))
    spike[30, 40] = 20e-9
    arrays = [image("height", "Height", "m", spike)]
    single = made(arrays, Tip(radius_m=2e-9)).scan().values
    double = made(arrays, Tip(radius_m=2e-9, second_m=(50e-9, 0.0), lower_m=5e-9))
    frame = double.scan().values
    assert frame[30, 40] == pytest.approx(20e-9)
    assert frame[30, 35] == pytest.approx(15e-9)  # the ghost, 50 nm before
    assert single[30, 35] == 0.0


def test_a_tip_that_changes_in_mid_scan_splits_the_frame_and_stays_so():
    twin = made(rough(), Tip(radius_m=R_M, change=1.0), seed=2)
    steady = made(rough(), Tip(radius_m=R_M)).scan().arrays["height"].ravel()
    frame = twin.scan().arrays["height"].ravel()  # in the order of time
    same = frame == steady
    first = int(np.argmin(same))  # where it changed
    assert 0 < first < frame.size - N
    assert same[:first].all()
    assert same[first:].mean() < 0.5
    after = twin._probe._stage.effects[0]
    after.change = 0.0  # it stays as it is now
    whole = twin.scan().arrays["height"].ravel()
    np.testing.assert_array_equal(whole[first:], frame[first:])
    assert (whole[:first] != frame[:first]).mean() > 0.5


def test_a_change_splits_all_channels_at_the_same_time_and_backward_lines_too():
    twin = made(rough(), Tip(radius_m=R_M, change=1.0), seed=2)
    frame = twin.scan(backward=True)
    steady = made(rough(), Tip(radius_m=R_M)).scan(backward=True)
    for name in ("height", "phase", "amplitude"):
        differs = frame.arrays[name] != steady.arrays[name]
        rows = np.flatnonzero(differs.any(axis=1))
        first = rows[0]
        columns = np.flatnonzero(differs[first])
        assert not differs[:first].any()
        if name == "height":
            split = first, columns[-1]  # what is left of it comes later
            assert not differs[first, columns[-1] + 1 :].any()
        assert (first, -columns[-1]) >= (split[0], -split[1])


def test_a_crash_is_an_error_in_the_ledger_and_blunts_the_tip():
    twin = made(rough(), Tip(radius_m=20e-9, crash=1.0), seed=1)
    before, state = twin.state_hash(), twin.state()
    with pytest.raises(TipCrashed, match="blunter"):
        twin.scan(rid="a/1/frame")
    with pytest.raises(TipCrashed):
        twin.scan(rid="a/1/frame")  # the same request: told again, not done again
    (event,) = twin.events()
    assert event["error"][0] == "TipCrashed"
    assert event["dose"] > 0
    assert twin.state_hash() != before
    ends = [high for _, high in twin.describe().bounds]  # where the frame ended
    assert twin.state().position.tolist() == ends != state.position.tolist()
    effect = twin._probe._stage.effects[0]
    effect.crash = 0.0
    frame = twin.scan().arrays["height"]
    sharp = made(rough(), Tip(radius_m=20e-9)).scan().arrays["height"]
    twice = made(rough(), Tip(radius_m=40e-9)).scan().arrays["height"]
    assert np.mean(frame) > np.mean(twice) > np.mean(sharp)  # 2 to 5 times as blunt


def test_a_tip_wears_with_the_distance_that_it_slid():
    rate = 1e-18
    twin = made(rough(), Tip(radius_m=5e-9, wear_m2=rate))
    effect = twin._probe._stage.effects[0]
    slid = 0.0
    for shape in ((5, 65), (9, 33)):
        twin.scan(shape=shape)
        slid += shape[0] * 640e-9
        want = tip.worn(5e-9, slid, rate)
        assert effect._shape[0] == pytest.approx(want, rel=1e-9)
    twin.trace([(0.0, 0.0), (300e-9, 400e-9)])
    want = tip.worn(5e-9, slid + 500e-9, rate)
    assert effect._shape[0] == pytest.approx(want, rel=1e-9)
    assert want > 6e-9
    still = effect._shape
    twin.measure()
    twin.move_to((0.0, 0.0))
    assert effect._shape == still


def test_a_frame_whose_data_was_lost_has_changed_the_tip_all_the_same():
    lost = made(rough(), Tip(radius_m=R_M, change=1.0), Faults(dropped=1.0), seed=2)
    kept = made(rough(), Tip(radius_m=R_M, change=1.0), seed=2)
    with pytest.raises(RuntimeError, match="lost"):
        lost.scan(rid="a/1/frame")
    kept.scan(rid="a/1/frame")
    shapes = [twin._probe._stage.effects[0]._shape for twin in (lost, kept)]
    assert shapes[0] == shapes[1]
    assert shapes[0][0] != R_M


def test_without_a_height_nobody_knows_where_the_tip_touches():
    frame = made(ramps(), Tip(radius_m=R_M)).scan(shape=(5, 5))
    want = made(ramps()).scan(shape=(5, 5))
    np.testing.assert_array_equal(frame.arrays["x"], want.arrays["x"])
