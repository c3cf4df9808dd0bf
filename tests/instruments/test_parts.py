"""Parts of what is large, and lines of what is not over: right, bounded, for all."""

from __future__ import annotations

import threading
import time

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aemtwin.errors import OperationStopped, OutOfRange, UnknownName, WrongType
from aemtwin.instruments.parts import RECORDING, read_range
from aemtwin.instruments.streams import Streams
from tests.small import small_arrays, small_twin


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """One array as it may lie in a file."""
    stack = np.arange(5 * 7 * 3 * 4, dtype="<u2").reshape(5, 7, 3, 4)
    with h5py.File(tmp_path_factory.mktemp("h5") / "stack.h5", "w") as file:
        kinds = {
            "in memory": stack,
            "turned": np.moveaxis(np.moveaxis(stack, 0, -1).copy(), -1, 0),
            "contiguous": file.create_dataset("a", data=stack),
            "chunked": file.create_dataset("b", data=stack, chunks=(2, 3, 3, 2)),
            "packed": file.create_dataset("c", data=stack, compression="gzip"),
        }
        yield stack.tobytes(), kinds


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_range_of_a_dataset_is_its_bytes_however_it_lies(datasets, data):
    whole, kinds = datasets
    kind = data.draw(st.sampled_from(sorted(kinds)))
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    assert read_range(kinds[kind], begin, end - begin) == whole[begin:end]


def test_of_a_large_array_no_more_is_read_than_was_asked_for():
    class Counting:
        shape, ndim, dtype = (64, 64, 256, 256), 4, np.dtype("<u1")
        read = 0

        def __getitem__(self, cut):
            shape = np.empty(self.shape, "V0")[cut].shape
            self.read += int(np.prod(shape))
            return np.zeros(shape, "<u1")

    stack = Counting()
    assert len(read_range(stack, 3 * 256 * 256 - 10, 2**19)) == 2**19
    assert stack.read <= 2**19 + 3 * 256 * 256


def test_the_recording_of_a_twin_is_had_in_parts():
    twin = small_twin()
    stored = small_arrays()
    told = twin.parts.recordings()
    assert [one.name for one in told] == [one.name for one in stored]
    for one, array in zip(told, stored, strict=True):
        data = twin.parts.piece(RECORDING, one.seq, 0, one.nbytes)
        found = np.frombuffer(data, one.dtype).reshape(one.shape)
        assert np.array_equal(found, array.data)
        assert one.rid == RECORDING
    with pytest.raises(OutOfRange):
        twin.parts.piece(RECORDING, 0, 1, told[0].nbytes)
    with pytest.raises(UnknownName):
        twin.parts.piece(RECORDING, 99, 0, 1)
    twin.close()


# Lines


def slow_twin(**options):
    """A twin that takes its time for a frame, and none to get there."""
    twin = small_twin(real_time=True, **options)
    twin.configure(settle_s=0.0, speed_m_s=1.0)
    return twin


FRAME = {"shape": (12, 8), "dwell_s": 2e-3}


def test_lines_come_while_the_frame_is_taken_and_are_those_of_the_frame():
    twin, came = slow_twin(), []
    for line in twin.stream(**FRAME, rid="r/1/scan"):
        came.append((line, twin.status("r/1/scan")["status"]))
    frame = twin.fetch("r/1/scan")
    assert [line.seq for line, _ in came] == list(range(12))
    assert {line.lines for line, _ in came} == {12}
    assert came[0][1] == "running"  # it was not over when the first one came
    for name, values in frame.arrays.items():
        assert np.array_equal([line.arrays[name] for line, _ in came], values)
    assert dict(came[0][0].units) == dict(frame.units)
    twin.close()


def test_a_frame_is_the_same_whether_somebody_watches_or_not():
    frames = []
    for make in (small_twin, slow_twin):
        twin = make(seed=5)
        twin.configure(settle_s=0.0, speed_m_s=1.0, rid="r/0/set")
        frames.append(twin.scan(**FRAME, rid="r/1/scan"))
        twin.close()
    one, other = frames
    assert one.time_s == other.time_s
    for name in one.arrays:
        assert np.array_equal(one.arrays[name], other.arrays[name])


@pytest.mark.parametrize("after", [0, 5, 12])
def test_who_comes_late_gets_what_he_missed_and_the_rest(after):
    twin = slow_twin()
    first = twin.stream(**FRAME, rid="r/1/scan")
    next(first)
    time.sleep(0.05)
    late = list(twin.follow("r/1/scan", after))
    assert [line.seq for line in late] == list(range(after, 12))
    assert [line.seq for line in twin.follow("r/1/scan", after)] == [
        line.seq for line in late
    ]  # it is over by now
    frame = twin.fetch("r/1/scan")
    for line in late:
        assert np.array_equal(line.arrays["height"], frame.arrays["height"][line.seq])
    twin.close()


def test_a_frame_that_comes_at_once_comes_in_lines_all_the_same():
    twin = small_twin()
    lines = list(twin.stream(**FRAME, rid="r/1/scan"))
    assert [line.seq for line in lines] == list(range(12))
    assert [line.seq for line in twin.follow("r/1/scan", 10)] == [10, 11]
    twin.close()


def test_lines_that_came_before_a_stop_are_there_and_then_it_is_told():
    twin, came = slow_twin(), []

    def watch():
        for line in twin.stream(shape=(12, 8), dwell_s=0.02, rid="r/1/scan"):
            came.append(line.seq)
            if len(came) == 3:
                twin.stop()

    with pytest.raises(OperationStopped):
        watch()
    assert came[:3] == [0, 1, 2]
    assert len(came) < 12
    dose = twin.state().dose
    again = list(twin.stream(**FRAME, rid="r/2/scan"))
    assert len(again) == 12
    assert twin.state().dose > dose > 0
    twin.close()


def test_recorded_counts_are_given_out_once_though_lines_told_them_before():
    counted = {"dealt": ["counts"], "real_time": True}
    twin = small_twin(**counted)
    usual = 1e-3  # the kind's own dwell of a pixel
    lines = list(twin.stream(channels=["counts"], dwell_s=usual, rid="r/1/scan"))
    seen = np.stack([line.arrays["counts"] for line in lines])
    frame = twin.fetch("r/1/scan")
    assert np.array_equal(seen, frame.arrays["counts"])
    plain = small_twin(dealt=["counts"])
    assert np.array_equal(
        plain.scan(channels=["counts"], dwell_s=usual, rid="r/1/scan").values, seen
    )
    assert plain.state_hash() == twin.state_hash()
    plain.close()
    twin.close()


def test_lines_of_nothing_and_nonsense_are_refused():
    twin = small_twin()
    with pytest.raises(UnknownName, match="no request"):
        list(twin.follow("r/9/scan"))
    with pytest.raises(OutOfRange):
        twin.lines("r/9/scan", -1)
    with pytest.raises(WrongType):
        twin.lines("r/9/scan", 0, "soon")
    twin.measure(rid="r/1/measure")
    assert list(twin.follow("r/1/measure")) == []  # it has no lines
    twin.close()


def test_of_a_frame_on_its_way_the_lines_that_are_there_are_had_by_range():
    streams = Streams()
    values = np.arange(40.0).reshape(4, 10)
    stream = streams.open("r/1/scan", {"a": values}, {"a": "V"})
    with pytest.raises(OutOfRange, match="there are 0"):
        streams.read("r/1/scan", 0, 0, 80)
    stream.advance(2)
    assert streams.read("r/1/scan", 0, 80, 80) == values[1].tobytes()
    with pytest.raises(OutOfRange, match="there are 160"):
        streams.read("r/1/scan", 0, 100, 80)
    with pytest.raises(UnknownName):
        streams.read("r/1/scan", 1, 0, 1)


def test_streams_that_are_over_are_forgotten_and_those_under_way_are_not():
    streams = Streams()
    for k in range(20):
        stream = streams.open(f"r/{k}/scan", {"a": np.zeros((2, 2))}, {})
        if k:
            stream.close()
    assert streams.find("r/0/scan") is not None
    assert streams.find("r/1/scan") is None
    assert streams.find("r/19/scan") is not None


def test_who_waits_is_woken_by_a_line_and_by_the_end_of_the_operation():
    streams, woken, going_on = Streams(), [], [True]
    stream = streams.open("r/1/scan", {"a": np.zeros((3, 2))}, {})

    def wait(after):
        found = streams.wait("r/1/scan", after, 30.0, lambda: going_on[0])
        woken.append((after, found.done, found.over))

    waiting = [threading.Thread(target=wait, args=(after,)) for after in (0, 1, 2)]
    for thread in waiting:
        thread.start()
    stream.advance(1)
    waiting[0].join(10)
    stream.close()
    going_on[0] = False
    for thread in waiting:
        thread.join(10)
    assert sorted(woken) == [(0, 1, False), (1, 1, True), (2, 1, True)]


def test_between_the_last_line_and_the_answer_nobody_asks_in_a_circle():
    streams = Streams()
    streams.open("r/1/scan", {"a": np.zeros((3, 2))}, {}).close()
    looks = []

    def going_on():
        looks.append(True)
        return len(looks) < 4

    assert streams.wait("r/1/scan", 3, 30.0, going_on).over
    assert len(looks) == 4  # and not at once, because the frame has no more lines
