"""The twin: exact where ideal, noisy as stated, on its clock, within its limits."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from aemtwin.errors import BadRequest, OperationStopped, UnknownName
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from tests.small import small_arrays, small_twin, spatial


def test_an_ideal_twin_gives_the_stored_values_bit_for_bit(ideal):
    height, counts, loops, lockin = small_arrays()
    frame = ideal.scan()
    np.testing.assert_array_equal(frame.values, height.data[::-1])  # y descends
    np.testing.assert_array_equal(frame.arrays["counts"], counts.data[::-1])
    assert frame.arrays["counts"].dtype == np.uint16
    ideal.move_to((300e-9, 800e-9))  # x[3], y[1] of the descending axis
    measured = ideal.measure()
    assert measured.values.tobytes() == loops.data[3, 1].tobytes()
    assert measured.arrays["lockin"].tobytes() == lockin.data[3, 1].tobytes()


def test_nan_in_the_file_stays_where_it_is():
    axes = spatial("y", "nm", [0, 1]), spatial("x", "nm", [0, 1])
    values = np.array([[np.nan, 1.0], [2.0, 3.0]])
    sample = make_sample([StoredArray("a", "", "", values, axes)])
    twin = Twin(sample, AFM, name="nan", ideal=True)
    points = [(0, 0), (1e-9, 0), (1e-9, 0.5e-9), (0.5e-9, 0.5e-9)]
    found = twin.trace(points).values
    np.testing.assert_array_equal(np.isnan(found), [True, False, False, True])


def test_noise_has_the_standard_deviation_that_was_stated():
    twin = small_twin(seed=1)
    truth = twin.truth(points=[twin.state().position]).arrays["lockin"][0]
    for dwell, sd in ((1.0, 0.02), (4.0, 0.01), (0.25, 0.04)):
        values = [twin.measure("lockin", dwell).values - truth for _ in range(300)]
        assert np.std(values) == pytest.approx(sd, rel=0.05)
        assert np.mean(values) == pytest.approx(0, abs=5 * sd / np.sqrt(3600))


def test_noisy_counts_stay_counts(twin):
    frame = twin.scan(dwell_s=1e-6).arrays["counts"]
    assert frame.dtype == np.uint16
    assert (frame == 0).any()  # clipped, not wrapped round


def test_channels_have_noise_of_their_own(twin):
    measured, truth = twin.measure(), twin.truth(points=[twin.state().position])
    one = (measured.arrays["loops"] - truth.arrays["loops"][0]) / 0.05
    two = (measured.arrays["lockin"] - truth.arrays["lockin"][0]) / 0.02
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.9
    assert not np.allclose(one, two, atol=0.1)


def test_a_frame_turned_by_half_is_the_frame_backwards(ideal):
    straight = ideal.scan(shape=(6, 5))
    turned = ideal.scan(shape=(6, 5), rotation=np.pi)
    np.testing.assert_allclose(turned.values, straight.values[::-1, ::-1], rtol=1e-5)


def test_a_quarter_turn_is_counterclockwise(ideal):
    region = ((100e-9, 300e-9), (400e-9, 600e-9))
    straight = ideal.scan(region, (3, 3), ["height"]).values
    turned = ideal.scan(region, (3, 3), ["height"], rotation=np.pi / 2).values
    # The pixel at the low left now lies at the low right.
    assert turned[0, 0] == pytest.approx(straight[0, 2], rel=1e-9)
    np.testing.assert_allclose(turned, np.rot90(straight), rtol=1e-9)


def test_a_region_is_read_between_its_edges(ideal):
    region = ((100e-9, 300e-9), (200e-9, 600e-9))
    frame = ideal.scan(region, (3, 3), ["height"])
    whole = ideal.scan(channels=["height"])
    np.testing.assert_array_equal(frame.values, whole.values[1:4, 1:4])
    assert frame.axis("y").values == pytest.approx([200e-9, 400e-9, 600e-9])


def test_a_virtual_day_passes_at_once(twin):
    begin = time.monotonic()
    for _ in range(24):
        twin.measure(dwell_s=3600)
    assert twin.state().time_s == 24 * 3600
    assert time.monotonic() - begin < 60


def test_in_real_time_an_operation_takes_its_time_and_gives_the_same():
    real, virtual = small_twin(real_time=True), small_twin()
    begin = time.monotonic()
    measured = real.measure(dwell_s=0.1)
    assert time.monotonic() - begin >= 0.1
    np.testing.assert_array_equal(measured.values, virtual.measure(dwell_s=0.1).values)
    assert real.state().time_s == virtual.state().time_s == 0.1


def test_stop_ends_what_is_under_way_and_state_does_not_wait():
    twin = small_twin(real_time=True)
    failures = []

    def measure() -> None:
        try:
            twin.measure(dwell_s=0.5, rid="r/1/measure")
        except OperationStopped as error:
            failures.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    while twin.state().busy != "r/1/measure":
        time.sleep(0.001)
    assert twin.describe().name == "small"
    twin.stop()
    thread.join(timeout=10)
    assert len(failures) == 1
    stopped = twin.state()
    assert 0 <= stopped.time_s < 0.5
    assert stopped.dose == pytest.approx(stopped.time_s)  # it was there so long
    assert twin.events()[0]["error"][0] == "OperationStopped"
    # It was not done, so the same request does it: a stopped run can be resumed.
    again = twin.measure(dwell_s=0.5, rid="r/1/measure")
    np.testing.assert_array_equal(
        again.values, small_twin().measure(dwell_s=0.5, rid="r/1/measure").values
    )
    assert [e["n"] for e in twin.events()] == [1, 2]


def test_a_stopped_operation_is_in_the_ledger_that_is_opened_again(tmp_path):
    path = tmp_path / "ledger.sqlite"
    twin = small_twin(real_time=True, ledger=path)
    thread = threading.Thread(target=_until_stopped, args=(twin,))
    thread.start()
    while not twin.state().busy:
        time.sleep(0.001)
    twin.stop()
    thread.join(timeout=10)
    twin.measure(dwell_s=0.01, rid="r/2/measure")
    twin.close()
    again = small_twin(ledger=path)
    assert again.state().dose == pytest.approx(twin.state().dose)
    assert again.state().time_s == twin.state().time_s
    assert again.events() == twin.events()
    again.close()


def _until_stopped(twin: Twin) -> None:
    with pytest.raises(OperationStopped):
        twin.measure(dwell_s=5.0, rid="r/1/measure")


def test_a_request_that_an_unforeseen_error_interrupted_is_done_again(monkeypatch):
    twin = small_twin()
    perform = twin._probe.perform

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(twin._probe, "perform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        twin.measure(rid="r/1/measure")
    monkeypatch.setattr(twin._probe, "perform", perform)
    assert twin.measure(rid="r/1/measure").values.shape == (12,)


def test_ids_that_the_instrument_gives_are_its_own(twin):
    with pytest.raises(BadRequest, match="Begin yours"):
        twin.measure(rid="server/1/plain-measure")


def test_a_full_frame_turned_round_leaves_the_probe_inside(ideal):
    for angle in (np.pi, -np.pi, 2 * np.pi):
        ideal.scan(shape=(5, 5), rotation=angle)
        here = ideal.state().position
        np.testing.assert_array_equal(ideal.move_to(here), here)


def test_beyond_the_edge_is_told():
    coarse, fine = small_arrays()[2], small_arrays()[0]
    wider = spatial("x", "nm", np.linspace(0, 480, 9))
    image = np.zeros((6, 9))
    fine = StoredArray("fine", "", "m", image, (fine.axes[0], wider))
    twin = Twin(make_sample([coarse, fine]), AFM, name="wide", ideal=True)
    twin.move_to((450e-9, 400e-9))
    first = twin.measure()
    assert first.info["notices"] == [
        "beyond the outermost pixel: the value at the edge is given"
    ]
    twin.move_to((470e-9, 400e-9))
    assert "before" not in "".join(twin.measure().info["notices"])


def test_reset_is_time_zero(twin):
    before = twin.scan(rid="r/0/scan").values
    twin.measure()
    twin.configure(settle_s=3)
    twin.reset()
    assert twin.ledger() == []
    assert twin.state().time_s == twin.state().dose == 0
    assert twin.state().settings["settle_s"] != 3
    np.testing.assert_array_equal(twin.scan(rid="r/0/scan").values, before)


def test_off_the_grid_is_told(twin):
    twin.move_to((150e-9, 400e-9))
    assert "between grid points" in twin.measure().info["notices"][0]
    twin.move_to((200e-9, 400e-9 * (1 + 1e-12)))
    assert twin.measure().info["notices"] == []


def test_noise_for_a_channel_that_is_not_there_is_an_error(tmp_path):
    import aemtwin

    with pytest.raises(UnknownName, match="array"):
        aemtwin.open_twin("pfm_loops", noise={"lops": 1.0})
