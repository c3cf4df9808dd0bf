"""Drift, creep and the scanner, as a twin shows them."""

from __future__ import annotations

import numpy as np
import pytest

from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.effects.motion import (
    STEPS,
    Creep,
    Drift,
    Flyback,
    Hysteresis,
    Jitter,
    Walk,
)
from tests.instruments.effects.making import (
    MIDDLE,
    frame_off_m,
    image,
    made,
    off_m,
    ramps,
    smooth,
)

INNER = ((200e-9, 400e-9), (200e-9, 400e-9))
ALL = (Drift(), Walk(), Creep(), Hysteresis(), Flyback(), Jitter())
OVERHEAD_S = 0.1  # of an AFM's line


def test_a_slow_scan_is_bent_by_as_much_as_the_specimen_went_meanwhile():
    velocity, dwell, n = 6e-9, 2e-3, 41
    arrays = [image("height", "Height", "m", smooth(3))]
    field = make_sample(arrays).field("height")
    frame = made(arrays, Drift((velocity, 0.0))).scan(INNER, (n, n), dwell_s=dwell)
    pixel = 200e-9 / (n - 1)
    begin = frame.time_s[1] - n * (n * dwell + OVERHEAD_S)
    shifts = np.arange(-10.0, 20.0, 0.1)  # pixels
    x = frame.axis("x").values
    for row, y in enumerate(frame.axis("y").values):
        apart = [  # the distance of the row from the surface, moved
            np.sum((frame.values[row] - _along(field, x + s * pixel, y)) ** 2)
            for s in shifts
        ]
        middle_s = begin + row * (n * dwell + OVERHEAD_S) + n * dwell / 2
        want = velocity * middle_s / pixel
        assert shifts[np.argmin(apart)] == pytest.approx(want, abs=0.15)
    assert want > 8  # pixels: the last line is far off


def _along(field, x, y):
    return field.at(np.column_stack([x, np.full(len(x), y)]))


def test_an_hour_on_the_virtual_clock_is_an_hour_of_drift():
    twin = made(ramps(), Drift((2e-11, -1e-11)))
    twin.measure(dwell_s=3600.0)
    off = off_m(twin, [MIDDLE], dwell_s=1.0)
    at = twin.state().time_s - 0.5
    assert off[0] == pytest.approx([2e-11 * at, -1e-11 * at], rel=1e-9)
    assert off[0, 0] == pytest.approx(72e-9, rel=1e-3)
    there = twin.measure()  # spectra are read there too, and nobody is told
    assert there.values[0] - MIDDLE[0] == pytest.approx(72e-9, rel=1e-3)
    assert tuple(there.actual) == MIDDLE


def test_all_that_moves_the_probe_adds_up():
    given = {"region": INNER, "shape": (5, 21), "dwell_s": 1e-3, "rid": "a/1/frame"}
    whole = frame_off_m(made(ramps(), *ALL, seed=2), **given)
    parts = [frame_off_m(made(ramps(), one, seed=2), **given) for one in ALL]
    assert whole == pytest.approx(np.sum(parts, axis=0), abs=1e-17)
    sizes = [float(np.abs(part).max()) for part in parts]
    assert sum(size > 1e-12 for size in sizes) == 5  # an AFM has no flyback


def test_an_ideal_twin_has_none_of_it():
    twin = made(ramps(), *ALL, ideal=True)
    twin.move_to((600e-9, 600e-9))
    twin.measure(dwell_s=3600.0)
    assert np.abs(off_m(twin, [MIDDLE])).max() < 1e-18
    assert np.abs(frame_off_m(twin, shape=(9, 9))).max() < 1e-18


def test_after_a_move_the_piezo_creeps_on_in_its_direction():
    share, onset = 0.01, 0.1
    twin = made(ramps(), Creep(share, onset))
    goal = (500e-9, 260e-9)
    twin.move_to(goal)
    there = twin.state().time_s
    twin.measure(dwell_s=100.0)
    off = off_m(twin, [goal], dwell_s=2.0)[0]
    for_s = twin.state().time_s - 1.0 - there
    want = share * (np.array(goal) - MIDDLE) * np.log1p(for_s / onset)
    assert off == pytest.approx(want, rel=1e-9)


def test_creep_begins_when_the_probe_is_there_and_not_when_it_sets_out():
    twin = made(ramps(), Creep(0.01, 0.1))
    twin.configure(speed_m_s=1e-9)  # 180 s on the way
    twin.move_to((500e-9, MIDDLE[1]))
    off = off_m(twin, [(500e-9, MIDDLE[1])], dwell_s=1e-3)[0, 0]
    settled = twin.state().settings["settle_s"] + 0.5e-3
    assert off == pytest.approx(0.01 * 180e-9 * np.log1p(settled / 0.1), rel=1e-6)


def test_what_creep_no_longer_follows_stays_where_it_came():
    twin = made(ramps(), Creep(0.02, 0.1))
    goal = np.array([500e-9, MIDDLE[1]])
    twin.move_to(goal)
    twin.measure(dwell_s=3600.0)
    before = off_m(twin, [goal])[0, 0]
    for i in range(STEPS + 40):
        twin.move_to(goal - [0.0, 1e-12 * (1 + i % 2)])
    after = off_m(twin, [goal])[0, 0]
    assert before > 30e-9
    assert after == pytest.approx(before, rel=2e-3)
    assert after > before


def test_a_walk_is_the_same_whatever_was_done_meanwhile():
    busy, idle = (made(ramps(), Walk(1e-9), seed=4) for _ in range(2))
    for _ in range(10):
        busy.measure(dwell_s=6.0)
    idle.measure(dwell_s=60.0)
    np.testing.assert_array_equal(off_m(busy, [MIDDLE]), off_m(idle, [MIDDLE]))
    other = made(ramps(), Walk(1e-9), seed=5)
    other.measure(dwell_s=60.0)
    assert abs(off_m(other, [MIDDLE]) - off_m(idle, [MIDDLE])).max() > 1e-10


def test_a_walk_goes_as_far_as_the_root_of_the_time():
    found = []
    for seed in range(60):
        twin = made(ramps(), Walk(1e-9), seed=seed)
        twin.measure(dwell_s=400.0)
        found.append(off_m(twin, [MIDDLE])[0])
    assert np.std(found) == pytest.approx(1e-9 * np.sqrt(400), rel=0.2)


def test_hysteresis_bends_forward_and_backward_lines_to_either_side():
    share, length = 0.04, 200e-9
    twin = made(ramps(), Hysteresis(share))
    forward = frame_off_m(twin, region=INNER, shape=(5, 21))
    backward = frame_off_m(twin, region=INNER, shape=(5, 21), backward=True)
    u = np.linspace(0.0, length, 21)
    want = 4 * share * u * (u - length) / length  # behind, on the way to the right
    assert forward[..., 0] == pytest.approx(np.tile(want, (5, 1)), abs=1e-18)
    assert backward[..., 0] == pytest.approx(-forward[..., 0], abs=1e-18)
    assert np.abs(forward[..., 1]).max() < 1e-18
    assert np.abs(off_m(twin, [(i * 1e-9, 0.0) for i in range(9)])).max() < 1e-18


def test_hysteresis_is_along_the_lines_of_a_turned_frame():
    twin = made(ramps(), Hysteresis(0.04))
    frame = twin.scan(INNER, (3, 21), rotation=np.pi / 2)
    x, y = np.meshgrid(frame.axis("x").values, frame.axis("y").values)
    # counterclockwise about (300, 300) nm: (x, y) -> (300 - (y - 300), x)
    assert frame.arrays["x"] == pytest.approx(600e-9 - y, abs=1e-17)
    off = frame.arrays["y"] - x
    assert off[:, 10] == pytest.approx(-0.04 * 200e-9, rel=1e-9)


def test_flyback_is_seen_where_lines_follow_each_other_and_nowhere_else():
    tau, dwell, overhead = 3e-3, 1e-3, 2e-3
    twin = made(ramps(), Flyback(tau), overhead_s=overhead)
    off = frame_off_m(twin, region=INNER, shape=(4, 21), dwell_s=dwell)
    assert np.abs(off[0]).max() < 1e-18  # nothing before the first line
    since = overhead + (np.arange(21) + 0.5) * dwell
    back = np.array([-200e-9, 200e-9 / 3])  # from a line's last to the next's first
    want = -back * np.exp(-since / tau)[:, None]
    for row in (1, 2, 3):
        assert off[row] == pytest.approx(want, abs=1e-16)
    backward = frame_off_m(
        twin, region=INNER, shape=(4, 21), dwell_s=dwell, backward=True
    )
    assert backward[1:, ::-1, 0] == pytest.approx(-off[1:, :, 0], abs=1e-16)
    assert np.abs(off_m(twin, [(0.0, 0.0), (600e-9, 0.0)])).max() < 1e-18
    slow = made(ramps(), Flyback(3e-4))  # an AFM turns for a tenth of a second
    assert np.abs(frame_off_m(slow, shape=(4, 21))).max() < 1e-18


def test_jitter_swings_with_the_mains_in_every_kind_of_operation():
    twin = made(ramps(), Jitter((4e-9, 2e-9), 50.0, 0.3))
    off = off_m(twin, np.tile(MIDDLE, (200, 1)), dwell_s=1e-3)
    times = twin.state().time_s - 0.2 + (np.arange(200) + 0.5) * 1e-3
    wave = np.sin(2 * np.pi * 50 * times + 0.3)
    assert off == pytest.approx(np.outer(wave, [4e-9, 2e-9]), abs=1e-14)
    frame = frame_off_m(twin, region=INNER, shape=(4, 50), dwell_s=1e-3)
    begin = twin.state().time_s - 4 * 0.15
    times = begin + np.arange(4)[:, None] * 0.15 + (np.arange(50) + 0.5) * 1e-3
    wave = np.sin(2 * np.pi * 50 * times + 0.3)
    assert frame[..., 0] == pytest.approx(4e-9 * wave, abs=1e-14)
    twin.measure(dwell_s=0.013)
    assert np.abs(off_m(made(ramps(), Drift((0.0, 0.0))), [MIDDLE])).max() < 1e-18
