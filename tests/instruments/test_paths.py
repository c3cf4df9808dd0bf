"""Every reading has its place and its time, and the times add up."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.instruments import paths, planning
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.stem import STEM
from aemtwin.sample import Grid
from tests.instruments.effects.making import made, ramps

SETTINGS = {p.name: p.default for p in AFM.settings}
REGION = [[1e-7, 3e-7], [2e-7, 3e-7]]


def scan(**given):
    arguments = {
        "region": REGION,
        "shape": [4, 6],
        "dwell_s": 2e-3,
        "rotation": 0.0,
        "native": False,
        **given,
    }
    at = np.array([5e-7, 5e-7])
    duration = planning.duration_s(AFM, SETTINGS, at, "scan", arguments)
    window = (10.0, 10.0 + duration)
    raster = Grid(*planning.frame_axes(arguments))
    return paths.frame(AFM, arguments, raster, window), window, at


@pytest.mark.parametrize("backward", [False, True])
def test_the_times_of_a_frame_add_up_to_its_duration(backward):
    path, window, at = scan(backward=backward)
    first = np.array([REGION[0][1 if backward else 0], REGION[1][0]])
    travel = np.linalg.norm(first - at) / 2e-6 + 0.02
    readings, turning = 24 * 2e-3, 4 * AFM.line_overhead_s
    assert window[1] - window[0] == pytest.approx(travel + readings + turning)
    in_time = path.in_time(path.times_s)
    assert in_time[0, 0] == pytest.approx(window[0] + travel + 1e-3)
    assert np.diff(in_time, axis=1) == pytest.approx(2e-3)
    line_s = 6 * 2e-3 + AFM.line_overhead_s
    assert np.diff(in_time[:, 0]) == pytest.approx(line_s)
    left = window[1] - in_time[-1, -1]
    assert left == pytest.approx(1e-3 + AFM.line_overhead_s)


def test_backward_turns_round_the_time_of_every_line_and_no_row():
    (there, window, _), (back, late, _) = scan(), scan(backward=True)
    np.testing.assert_array_equal(there.points, back.points)
    forward = there.times_s.reshape(4, 6) - window[1]
    backward = back.times_s.reshape(4, 6) - late[1]
    assert backward == pytest.approx(forward[:, ::-1], abs=1e-12)
    assert there.last.tolist() == [3e-7, 3e-7]
    assert back.last.tolist() == [1e-7, 3e-7]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("tail", [(), (2,)])
def test_what_was_put_in_the_order_of_time_goes_back_where_it_was(backward, tail):
    path, _, _ = scan(backward=backward)
    values = np.random.default_rng(0).normal(size=(24, *tail))
    lines = path.in_time(values)
    assert lines.shape == (4, 6, *tail)
    assert np.all(np.diff(path.in_time(path.times_s).ravel()) > 0)
    np.testing.assert_array_equal(path.as_data(lines), values)


def test_a_turned_frame_has_the_same_times_and_says_so():
    straight, window, _ = scan()
    turned, late, _ = scan(rotation=0.3)
    assert turned.turned
    assert not straight.turned
    assert turned.times_s - late[1] == pytest.approx(straight.times_s - window[1])
    assert turned.pixel_m == straight.pixel_m == pytest.approx((4e-8, 1e-7 / 3))
    assert turned.area_m2(1.0) == pytest.approx(4e-8 * 1e-7 / 3)
    want = planning.turned(straight.last[None, :], REGION, 0.3)[0]
    assert turned.last == pytest.approx(want)


def test_the_times_of_a_trace_have_its_way_between_them():
    points = np.array([[0.0, 0.0], [1e-6, 0.0], [1e-6, 2e-6], [1e-6, 2e-6]])
    given = {"points": points.tolist(), "dwell_s": 0.25}
    at = np.array([0.0, 4e-6])
    duration = planning.duration_s(AFM, SETTINGS, at, "trace", given)
    path = paths.trace(AFM, SETTINGS, given, (5.0, 5.0 + duration))
    there = 5.0 + 4e-6 / 2e-6 + 0.02
    steps = np.array([0.0, 0.5, 1.0, 0.0])  # seconds at 2 um/s
    want = there + np.cumsum(steps) + 0.25 * (np.arange(4) + 0.5)
    assert path.times_s == pytest.approx(want)
    assert path.times_s[-1] + 0.125 == pytest.approx(5.0 + duration)
    assert path.lines == (1, 4)
    assert path.area_m2(7.0) == 7.0


def test_a_spot_is_read_in_the_middle_of_its_time():
    path = paths.spot(AFM, np.array([1e-6, 2e-6]), (3.0, 5.0))
    assert (len(path), path.shape, path.lines) == (1, (), (1, 1))
    assert path.times_s.tolist() == [4.0]
    assert path.points.tolist() == [[1e-6, 2e-6]]


@pytest.mark.parametrize("backward", [False, True])
def test_a_twin_takes_the_time_that_it_foretold(backward):
    twin = made(ramps())
    for call, given in (
        ("scan", {"shape": (3, 5), "backward": backward}),
        ("trace", {"points": [(0.0, 0.0), (5e-7, 5e-7)]}),
        ("measure", {}),
        ("move_to", {"position": (1e-7, 1e-7)}),
        ("scan", {"shape": (3, 5), "backward": backward}),
    ):
        want = twin.duration({"call": call, "arguments": given})
        begin = twin.state().time_s
        getattr(twin, call)(**given)
        assert twin.state().time_s - begin == pytest.approx(want, rel=1e-12)


def test_the_beam_of_a_stem_flies_back_in_its_own_time():
    given = {
        "region": REGION,
        "shape": [2, 3],
        "dwell_s": 1e-5,
        "rotation": 0.0,
        "native": False,
    }
    path = paths.frame(STEM, given, Grid(*planning.frame_axes(given)), (0.0, 1.0))
    times = path.times_s.reshape(2, 3)
    assert times[1, 0] - times[0, 0] == pytest.approx(3e-5 + STEM.line_overhead_s)
