"""Lines of a frame from an instrument elsewhere: as they come, for any number."""

from __future__ import annotations

import threading
import time

import msgpack
import numpy as np
import pytest
import zmq

import aemtwin
from aemtwin.errors import OperationStopped, UnknownName
from aemtwin.instruments.store import INLINE
from tests.small import small_twin

FRAME = {"shape": (12, 8), "dwell_s": 2e-3}
WIDE = {"shape": (6, 5000), "dwell_s": 1e-5, "channels": ["height"]}
RID = "r/1/scan"


@pytest.fixture
def twin():
    one = small_twin(real_time=True)
    one.configure(settle_s=0.0, speed_m_s=1.0)
    yield one
    one.close()


@pytest.fixture
def served(twin):
    with aemtwin.serve(twin) as server:
        yield server


def frame_of(lines):
    names = lines[0].arrays
    return {name: np.stack([line.arrays[name] for line in lines]) for name in names}


def test_lines_come_over_the_wire_while_the_frame_is_taken(served, twin):
    scope, statuses, lines = aemtwin.connect(served.uri), [], []
    for line in scope.stream(**FRAME, rid=RID):
        statuses.append(twin.status(RID)["status"])
        lines.append(line)
    assert statuses[0] == "running"
    assert [line.seq for line in lines] == list(range(12))
    frame = scope.fetch(RID)
    for name, values in frame_of(lines).items():
        assert np.array_equal(values, frame.arrays[name])
        assert values.dtype == frame.arrays[name].dtype
    scope.close()


@pytest.mark.parametrize("data", [True, False, "by the network"])
def test_lines_that_are_large_are_had_by_range(served, twin, data):
    if data == "by the network":
        data = served._offered._endpoints["data"].replace("*", "127.0.0.1")
    scope = aemtwin.connect(served.uri, data=data)
    twin.submit({"call": "scan", "rid": RID, "arguments": WIDE}, wait_s=10.0)
    told = twin.lines(RID)
    assert told["arrays"]["height"].nbytes > INLINE
    lines = list(scope.follow(RID))
    assert [line.seq for line in lines] == list(range(6))
    assert np.array_equal(frame_of(lines)["height"], twin.fetch(RID).values)
    scope.close()


def test_many_watch_from_where_they_like_and_all_see_the_same(served):
    scope = aemtwin.connect(served.uri)
    next(scope.stream(shape=(40, 8), dwell_s=1e-3, rid=RID))
    seen = {}

    def watch(after):
        mine = aemtwin.connect(served.uri)
        seen[after] = list(mine.follow(RID, after))
        mine.close()

    watchers = [threading.Thread(target=watch, args=(k,)) for k in range(0, 20, 2)]
    for one in watchers:
        one.start()
    for one in watchers:
        one.join(30)
    frame = scope.fetch(RID)
    for after, lines in seen.items():
        assert [line.seq for line in lines] == list(range(after, 40))
        values = frame_of(lines)["height"]
        assert np.array_equal(values, frame.arrays["height"][after:])
    scope.close()


def test_who_stops_to_look_holds_up_nobody(served, twin):
    lazy, keen = aemtwin.connect(served.uri), aemtwin.connect(served.uri)
    slow = lazy.stream(**FRAME, rid=RID)
    next(slow)  # and no more for a while
    begin = time.monotonic()
    assert len(list(keen.follow(RID))) == 12
    assert time.monotonic() - begin < 10.0
    assert twin.status(RID)["status"] == "done"
    assert [line.seq for line in slow] == list(range(1, 12))
    lazy.close()
    keen.close()


def test_stop_and_state_pass_while_somebody_waits_for_a_line(served, twin):
    scope, came = aemtwin.connect(served.uri), []

    def watch():
        try:
            for line in scope.stream(shape=(50, 8), dwell_s=0.05, rid=RID):
                came.append(line.seq)
        except OperationStopped as error:
            came.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    until = time.monotonic() + 20
    while not came and time.monotonic() < until:
        time.sleep(0.01)
    assert scope.state().busy == RID
    scope.stop()
    watcher.join(20)
    assert isinstance(came[-1], OperationStopped)
    assert came[:1] == [0]
    scope.close()


def test_an_older_server_gives_its_lines_with_the_answer(served, twin):
    scope = aemtwin.connect(served.uri)
    scope._has_lines = False
    lines = list(scope.stream(**FRAME, rid=RID))
    frame = twin.fetch(RID)
    assert np.array_equal(frame_of(lines)["height"], frame.arrays["height"])
    scope.close()


def test_lines_of_what_never_was_are_an_error_at_once(served):
    scope = aemtwin.connect(served.uri)
    with pytest.raises(UnknownName):
        list(scope.follow("r/9/scan"))
    scope.close()


def test_a_plain_client_gets_lines_too_the_first_of_many(served, twin):
    import Pyro4
    import serpent

    twin.submit({"call": "scan", "rid": RID, "arguments": WIDE}, wait_s=10.0)
    with Pyro4.Proxy(served.uri) as scope:
        told = scope.lines(RID)
        packed = told["arrays"]["height"]
        data = serpent.tobytes(packed["data"])
        assert 0 < told["lines"] < 6
        assert len(data) <= INLINE
        found = np.frombuffer(data, packed["dtype"]).reshape(packed["shape"])
        assert np.array_equal(found, twin.fetch(RID).values[: told["lines"]])
        assert scope.lines(RID, 5)["lines"] == 6
        piece = serpent.tobytes(scope.piece(RID, 0, 0, 40))
        assert piece == twin.fetch(RID).values.tobytes()[:40]


def test_twenty_who_watch_and_one_who_stalls_do_not_slow_the_instrument(served, twin):
    """Row D2; `benchmarks/bulk.py --watchers` has the ratio of rates."""
    frame = {"shape": (15, 100), "dwell_s": 2e-4, "channels": ["height"]}
    begin = time.monotonic()
    twin.scan(**frame, rid="r/0/scan")
    alone_s = time.monotonic() - begin
    context = zmq.Context()
    greedy = context.socket(zmq.DEALER)
    greedy.setsockopt(zmq.LINGER, 0)
    greedy.setsockopt(zmq.RCVHWM, 1)
    greedy.connect(served._offered._endpoints["data"].replace("*", "127.0.0.1"))
    twin.submit({"call": "scan", "rid": RID, "arguments": frame})
    for n in range(2000):  # and reads nothing of it
        said = {"n": n, "rid": RID, "seq": 0, "offset": 0, "size": 800}
        greedy.send(msgpack.packb(said))
    seen = []

    def watch():
        scope = aemtwin.connect(served.uri)
        seen.append([line.seq for line in scope.follow(RID)])
        scope.close()

    watchers = [threading.Thread(target=watch) for _ in range(20)]
    begin = time.monotonic()
    for one in watchers:
        one.start()
    twin.fetch(RID, 60.0)
    watched_s = time.monotonic() - begin
    for one in watchers:
        one.join(60)
    assert seen == [list(range(15))] * 20
    bulk = served._offered._bulk
    away = [size for tracker, _, size in bulk._away if not tracker.done]
    assert sum(away) <= 2**26
    assert watched_s < 5 * alone_s + 5.0  # of threads that share one core
    context.destroy(0)
