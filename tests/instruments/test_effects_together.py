"""All effects on one twin: they compose, they are remembered, they can be had again."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import aemtwin
from aemtwin.errors import (
    InstrumentFault,
    OperationStopped,
)
from aemtwin.formats.nsid import write_nsid
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.effects import noise, tip
from aemtwin.instruments.effects.motion import Creep, Drift, Hysteresis, Walk
from aemtwin.instruments.effects.probing import Tip
from aemtwin.instruments.effects.readings import Pickup
from aemtwin.instruments.effects.seeing import Writing
from tests.instruments.effects.making import (
    FIELD_M,
    N,
    catalogued,
    counts,
    image,
    made,
    ramps,
    rough,
)

# What peers got wrong


def test_effects_combine_and_not_the_first_alone():
    velocity, sd = (3e-10, -2e-10), 2e-10
    on = {"tip": Tip(radius_m=6e-8), "drift": Drift(velocity)}
    hum = Pickup({"height": 1e-9})
    whole = made(rough(), on["drift"], on["tip"], hum, noise={"height": sd}, seed=4)
    frame = whole.scan(channels=["height"], dwell_s=2e-3, rid="a/7/frame")
    # by hand: dilated, read where the probe was, noise of this request, hum
    surface = rough()[0]
    dilated = tip.dilate(surface.data, 6e-8, (1e-8, 1e-8))
    field = make_sample([image("height", "Height", "m", dilated)]).field("height")
    line_s = N * 2e-3 + 0.1
    row, column = (index.ravel() for index in np.mgrid[0:N, 0:N])
    times = frame.time_s[1] - N * line_s + row * line_s + (column + 0.5) * 2e-3
    points = field.grid.points() + np.outer(times, velocity)
    random = noise.generator(4, 7, "frame", "height")
    want = field.at(points) + random.normal(0.0, sd * np.sqrt(1e-3 / 2e-3), N * N)
    want = want + 1e-9 * np.sin(2 * np.pi * 50 * times)
    assert frame.values.ravel() == pytest.approx(want, abs=1e-15)
    for alone in ([on["tip"]], [on["drift"]], [hum], []):
        one = made(rough(), *alone, noise={"height": sd}, seed=4)
        other = one.scan(channels=["height"], dwell_s=2e-3, rid="a/7/frame").values
        assert np.abs(other - frame.values).mean() > 2e-10


def test_a_backward_frame_reverses_time_and_not_rows():
    twin = made(rough(), Tip(radius_m=6e-8))
    forward, backward = twin.scan(), twin.scan(backward=True)
    for name, values in forward.arrays.items():
        np.testing.assert_array_equal(backward.arrays[name], values)
    bent = made(ramps(), Hysteresis(0.05))
    x = bent.scan(channels=["x"]).values
    off, true = x - ramps()[0].data, ramps()[0].data
    again = bent.scan(channels=["x"], backward=True).values - true
    assert again == pytest.approx(-off, abs=1e-18)  # mirrored, in the same pixels
    assert np.abs(off).max() > 3e-8


def test_a_scan_hands_out_a_copy_of_the_sample():
    arrays = rough()
    twin, kept = made(arrays, Drift((1e-10, 0.0))), arrays[0].data.copy()
    for make in (twin, made(arrays, ideal=True)):
        frame = make.scan()
        with pytest.raises(ValueError, match="read-only"):
            frame.values[0, 0] = 1.0
        below = frame.values if frame.values.base is None else frame.values.base
        below.setflags(write=True)
        below[...] = 7.0  # somebody who insists
        np.testing.assert_array_equal(arrays[0].data, kept)
        later = make.scan().arrays["height"]
        assert np.abs(later).max() < 1e-6
        if make is not twin:
            np.testing.assert_array_equal(later, kept)


def test_a_clients_copy_is_not_changed_by_later_scans():
    twin = made(rough(), Drift((1e-10, 0.0)), Tip(radius_m=6e-8))
    frame = twin.scan()
    kept = frame.values.copy()
    twin.measure(dwell_s=600.0)
    later = twin.scan()
    np.testing.assert_array_equal(frame.values, kept)
    assert (later.values != kept).any()


def test_a_second_client_sees_the_same_microscope():
    with aemtwin.serve(made(rough(), Writing(metres_per_volt=3e-9))) as server:
        first = aemtwin.connect(server.uri)
        before = first.scan(channels=["phase"]).values
        first.move_to((200e-9, 300e-9))
        for bias in (10.0, -10.0):
            first.pulse("bias", bias_v=bias)
        seen = first.scan(channels=["phase"]).values
        first.move_to((100e-9, 50e-9))
        second, state = aemtwin.connect(server.uri), first.state()
        assert second.state().position.tolist() == [100e-9, 50e-9]
        assert second.state().dose == state.dose > 0
        assert second.state().time_s == state.time_s
        first.close()  # and lets go of the instrument
        np.testing.assert_array_equal(second.scan(channels=["phase"]).values, seen)
        second.close()
    assert (seen != before).any()


def test_repeats_of_a_measurement_differ_by_fresh_noise():
    twin = made(rough(), Drift((0.0, 0.0)), noise={"loops": 1.0, "height": 1e-9})
    loops = np.array([twin.measure().values for _ in range(300)])
    assert loops.std() == pytest.approx(1.0, rel=0.05)
    assert np.abs(np.corrcoef(loops[:100])[~np.eye(100, dtype=bool)]).max() < 0.95
    assert abs(np.mean(loops[::2] * loops[1::2])) < 0.1
    frames = [twin.scan(channels=["height"]).values for _ in range(2)]
    assert np.std(frames[0] - frames[1]) == pytest.approx(np.sqrt(2) * 1e-9, rel=0.05)


# What is remembered

AFM_EFFECTS = {
    "drift": {},
    "walk": {"sd_m": 1e-10},
    "creep": {},
    "tip": {"radius_m": 2e-8, "change": 0.5, "crash": 0.15, "wear_m2": 1e-20},
    "writing": {"metres_per_volt": 3e-9},
    "flicker": {"density": {"height": 1e-11}},
    "faults": {"stuck": 0.3, "dropped": 0.5, "blanked": 0.2, "saturated": 0.2},
}
STEM_EFFECTS = {
    "drift": {"velocity_m_s": (1e-10, 0.0)},
    "damage": {"critical": {"haadf": 1e24}},
    "faults": {"stuck": 0.3, "dropped": 0.3},
}


def work(twin, steps):
    """Do a bit of everything, and return the names of what went wrong."""
    failed = []
    pulses = [p.name for p in twin.describe().pulses]
    for step in steps:
        x = FIELD_M * ((0.37 * step) % 1.0)
        for call, given in (
            ("move_to", {"position": (x, FIELD_M - x)}),
            ("scan", {"shape": (9, 9), "backward": bool(step % 2)}),
            ("trace", {"points": [(x, 0.0), (0.0, x)]}),
            ("measure", {"dwell_s": 0.02}),
            ("pulse", {"name": pulses[0]}),
        ):
            try:
                getattr(twin, call)(**given, rid=f"a/{step}/{call}")
            except InstrumentFault as error:
                failed.append(error.code)
    return failed


@pytest.mark.parametrize("which", ["afm", "stem"])
def test_a_ledger_file_brings_everything_back_and_reset_takes_it_away(tmp_path, which):
    arrays = rough() if which == "afm" else counts()
    write_nsid(tmp_path / "made.nsid.h5", arrays)
    about = {
        "kind": which,
        "effects": AFM_EFFECTS if which == "afm" else STEM_EFFECTS,
        "counts": {} if which == "afm" else {"eds": "recorded"},
        "ledger": tmp_path / "ledger.sqlite",
        "seed": 3,
    }
    twin = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about)
    start = twin.state_hash()
    failed = work(twin, range(6))
    want = {"StageStuck", "FrameDropped"}
    assert set(failed) == (want | {"TipCrashed"} if which == "afm" else want)
    end, state = twin.state_hash(), twin.state()
    assert end != start
    twin.close()
    again = aemtwin.open_twin(tmp_path / "made.nsid.h5", **about)
    assert again.state_hash() == end
    assert again.state().dose == state.dose
    assert again.state().position.tolist() == state.position.tolist()
    unbroken = aemtwin.open_twin(tmp_path / "made.nsid.h5", **{**about, "ledger": None})
    work(unbroken, range(9))
    work(again, range(6, 9))
    assert again.state_hash() == unbroken.state_hash()
    assert again.events() == unbroken.events()
    again.reset()
    assert again.state_hash() == start
    again.close()


def test_a_stopped_scan_is_remembered_with_all_that_moves(tmp_path):
    path = tmp_path / "ledger.sqlite"
    effects = (Drift(), Walk(1e-10), Creep(), Tip(change=1.0))
    twin = made(rough(), *effects, real_time=True, ledger=path)

    def scan():
        with pytest.raises(OperationStopped):
            twin.scan(dwell_s=1.0)

    thread = threading.Thread(target=scan)
    thread.start()
    while not twin.state().busy:
        time.sleep(0.001)
    twin.stop()
    thread.join(timeout=10)
    end = twin.state_hash()
    twin.close()
    again = made(rough(), *effects, ledger=path)
    assert again.state_hash() == end
    again.close()


# Time


def day(twin):
    """Eight hours: a hundred spots in a seeded order, and a frame now and then."""
    random, found = np.random.default_rng(0), []
    for i in range(100):
        twin.move_to(random.uniform(0.0, FIELD_M, 2), rid=f"a/{i}/move")
        found.append(twin.measure(dwell_s=288.0, rid=f"a/{i}/measure").values)
        if i % 25 == 0:
            found.append(twin.scan(shape=(9, 9), rid=f"a/{i}/frame").values)
    return np.concatenate([values.ravel() for values in found])


def test_eight_hours_pass_at_once_and_decide_what_real_time_decides(monkeypatch):
    slept = []

    def wait(duration_s):
        slept.append(duration_s)
        return False

    arrays = ramps()
    effects = Drift((3e-12, -2e-12)), Walk(1e-11), Creep()
    virtual = made(arrays, *effects, noise={"loops": 1e-10}, seed=1)
    told = day(virtual)
    assert virtual.state().time_s >= 8 * 3600
    real_time = made(arrays, *effects, noise={"loops": 1e-10}, seed=1, real_time=True)
    monkeypatch.setattr(real_time._clock._stop, "wait", wait)
    np.testing.assert_array_equal(day(real_time), told)
    assert real_time.state_hash() == virtual.state_hash()
    assert real_time.events() == virtual.events()
    assert sum(slept) == pytest.approx(virtual.state().time_s)
    still = day(made(arrays, noise={"loops": 1e-10}, seed=1))
    assert np.abs(told - still).max() > 5e-8  # it has drifted


@pytest.mark.parametrize(("name", "on"), [("pfm_loops", "afm"), ("stem_eels", "stem")])
def test_ideal_switches_everything_off_whatever_the_twin_says(tmp_path, name, on):
    there = catalogued(tmp_path, "dose = 1e30", name)
    text = (there / "twin.toml").read_text("utf-8")
    wild = AFM_EFFECTS if on == "afm" else {"drift": {"velocity_m_s": [1e-9, 0.0]}}
    head = text.partition("[effects")[0]
    (there / "twin.toml").write_text(f"{head}\n[effects]\non = {list(wild)!r}\n")
    twin = aemtwin.open_twin(there, ideal=True)
    assert aemtwin.open_twin(there).describe().identity["effects"].keys() == wild.keys()
    spec = twin.describe()
    assert spec.identity["effects"] == {}
    twin.measure(dwell_s=10.0)
    frame = twin.scan()
    for channel in spec.channels:
        stored = twin._probe._sample.field(channel.name)
        assert frame.arrays[channel.name].tobytes() == stored.image.tobytes()
    again = aemtwin.open_twin(there, ideal=True, effects="none").scan()
    np.testing.assert_array_equal(again.values, frame.values)
    assert "integral_hz" not in {p.name for p in spec.settings}
