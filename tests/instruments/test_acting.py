"""Acting: once for each request, by whoever holds the lease, with nobody waiting."""

from __future__ import annotations

import sqlite3
import threading
import time

import numpy as np
import pytest

from aemtwin.codec import to_wire
from aemtwin.errors import (
    BadRequest,
    Indeterminate,
    LeaseRefused,
    NotReady,
    OperationStopped,
    OutOfRange,
    UnknownName,
)
from aemtwin.instruments.acting import Acting
from aemtwin.instruments.jobs import MOST
from aemtwin.instruments.lease import Desk
from tests.remote.bench import Bench, Hardware, value_of
from tests.small import small_twin

MEASURE = {"call": "measure", "rid": "r/1/measure", "arguments": {}}
LONG = {"call": "measure", "rid": "r/2/measure", "arguments": {"dwell_s": 30.0}}


@pytest.fixture
def slow():
    """A twin that takes its time."""
    twin = small_twin(real_time=True)
    yield twin
    twin.stop()
    twin.close()


@pytest.fixture
def hardware():
    made = Hardware()
    yield made
    made.close()


def until(what, patience_s=10.0):
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.002)


# Submitted operations


def test_what_is_submitted_is_what_is_measured(twin):
    told = twin.submit(MEASURE, wait_s=5.0)
    assert (told["status"], told["n"]) == ("done", 1)
    near = small_twin().measure(rid="r/1/measure")
    assert to_wire(told["answer"]) == to_wire(near)
    assert to_wire(twin.fetch("r/1/measure")) == to_wire(near)
    assert twin.measure(rid="r/1/measure") is told["answer"]
    assert twin.state().operations == 1


def test_a_long_operation_is_asked_for_while_it_is_under_way(slow):
    assert slow.submit(LONG)["status"] in ("queued", "running")
    until(lambda: slow.status("r/2/measure")["status"] == "running")
    with pytest.raises(NotReady, match="not over yet"):
        slow.fetch("r/2/measure", wait_s=0.01)
    again = slow.submit(LONG, wait_s=0.01)
    assert (again["status"], again["n"]) == ("running", 1)
    slow.submit(MEASURE)
    assert slow.status("r/1/measure") == {"rid": "r/1/measure", "status": "queued"}
    slow.stop()
    until(lambda: slow.status("r/2/measure")["status"] == "stopped")
    with pytest.raises(OperationStopped, match="Stopped after"):
        slow.fetch("r/2/measure")


def test_stop_ends_what_is_under_way_and_what_waits_for_its_turn(slow):
    slow.submit(LONG)
    until(lambda: slow.status("r/2/measure")["status"] == "running")
    slow.submit(MEASURE)
    failed = []

    def waiting():
        try:
            slow.measure(rid="r/3/measure")
        except OperationStopped as error:
            failed.append(str(error))

    thread = threading.Thread(target=waiting)
    thread.start()
    time.sleep(0.05)
    slow.stop()
    thread.join(timeout=10)
    assert "was not begun" in failed[0]
    with pytest.raises(OperationStopped, match="was not begun"):
        slow.fetch("r/1/measure", wait_s=5.0)
    assert slow.status("r/1/measure")["status"] == "refused"
    assert slow.state().operations == 1
    told = slow.submit({**MEASURE, "arguments": {"dwell_s": 0.01}}, wait_s=10.0)
    assert told["status"] == "done"  # what was not begun may be asked for again


def test_looking_never_waits_while_something_is_under_way(slow):
    slow.submit(LONG)
    until(lambda: slow.state().busy == "r/2/measure")
    for look in (
        slow.state,
        slow.events,
        slow.describe,
        lambda: slow.status("r/2/measure"),
    ):
        begin = time.perf_counter()
        look()
        assert time.perf_counter() - begin < 0.05


def test_who_may_not_act_is_told_at_once_while_something_is_under_way(slow):
    lease = slow.lease(10.0, "me")
    slow.submit(LONG, token=lease.token)
    until(lambda: slow.state().busy == "r/2/measure")
    with pytest.raises(LeaseRefused, match="until its operation is over"):
        slow.move_to((1e-7, 1e-7))
    with pytest.raises(LeaseRefused, match="until its operation is over"):
        slow.submit(MEASURE)
    with pytest.raises(LeaseRefused, match="'me' holds the instrument"):
        slow.submit(MEASURE, token="1-of-another")
    assert slow.state().busy == "r/2/measure"  # all of that took no time
    assert slow.status(MEASURE["rid"])["status"] == "unknown"


def test_one_id_is_one_request_also_while_it_waits(slow):
    slow.submit(LONG)
    with pytest.raises(BadRequest, match="one id stands for one request"):
        slow.submit({**LONG, "arguments": {"dwell_s": 2.0}})
    with pytest.raises(BadRequest, match="needs an id"):
        slow.submit({"call": "measure", "arguments": {}})
    with pytest.raises(OutOfRange):
        slow.submit({**MEASURE, "arguments": {"dwell_s": -1.0}})
    with pytest.raises(UnknownName, match="There is no request"):
        slow.fetch("r/9/measure")
    assert slow.status("r/9/measure") == {"rid": "r/9/measure", "status": "unknown"}


def test_a_refusal_at_its_turn_is_told_to_who_asks(slow):
    slow.submit(LONG)
    slow.submit(MEASURE)
    lease = slow.lease(5.0)  # taken while that waits for its turn
    slow._clock.stop()
    with pytest.raises(LeaseRefused):
        slow.fetch("r/1/measure", wait_s=5.0)
    told = slow.status("r/1/measure")
    assert (told["status"], told["error"][0]) == ("refused", "LeaseRefused")
    slow.release(lease.token)
    told = slow.submit({**MEASURE, "arguments": {"dwell_s": 0.01}}, wait_s=5.0)
    assert told["status"] == "done"


def test_there_is_an_end_to_what_may_wait(slow):
    slow.submit(LONG)
    for step in range(MOST - 1):
        slow.submit({**MEASURE, "rid": f"w/{step}/measure"})
    with pytest.raises(BadRequest, match="wait for their turn already"):
        slow.submit({**MEASURE, "rid": "w/999/measure"})


def test_fifty_at_once_with_one_id_are_one_exposure(hardware):
    bench = Bench(hardware.port)
    found = []

    def ask(k):
        if k % 2:
            found.append(bench.measure(rid="r/1/measure"))
        else:
            found.append(bench.submit(MEASURE, wait_s=10.0)["answer"])

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert hardware.exposures == {"r/1/measure": 1}
    assert len(found) == 50
    for one in found:
        np.testing.assert_array_equal(one.values, value_of("r/1/measure"))
    bench.close()


# What a real instrument does not know


def test_what_a_real_instrument_begun_and_did_not_end_is_never_repeated(
    tmp_path, hardware
):
    path = tmp_path / "ledger.sqlite"
    bench = Bench(hardware.port, path)
    bench.measure(rid="r/1/measure", dwell_s=2.0)
    bench.measure(rid="r/2/measure", dwell_s=3.0)
    bench.measure()
    bench.close()
    with sqlite3.connect(path) as db:
        unended = "UPDATE operation SET end_s = NULL, told = '{}', answer = NULL"
        db.execute(f"{unended} WHERE n = 2")
    db.close()
    again = Bench(hardware.port, path)
    again.close()
    again = Bench(hardware.port, path)  # what it said of it is remembered
    assert again.state().dose == 6.0  # counted, since it may have been given
    assert again.status("r/2/measure")["status"] == "indeterminate"
    for ask in (
        lambda: again.measure(rid="r/2/measure", dwell_s=3.0),
        lambda: again.fetch("r/2/measure"),
        lambda: again.submit(
            {"call": "measure", "rid": "r/2/measure", "arguments": {"dwell_s": 3.0}},
            wait_s=1.0,
        ),
    ):
        with pytest.raises(Indeterminate, match="nobody knows whether it was done"):
            ask()
    one = again.measure(rid="r/1/measure", dwell_s=2.0)
    np.testing.assert_array_equal(one.values, value_of("r/1/measure"))
    assert again.measure().rid == "server/1/plain-measure"
    assert max(hardware.exposures.values()) == 1
    again.close()


# Leases


class Ticks:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def ticks():
    return Ticks()


def test_one_holds_the_lease_until_its_time_is_over(ticks):
    desk = Desk(clock=ticks)
    one = desk.take(10.0, "one")
    assert (desk.holder, one.fence) == ("one", 1)
    with pytest.raises(LeaseRefused, match="'one' holds the instrument, for 10"):
        desk.take(10.0, "two")
    ticks.now = 9.0
    desk.renew(one.token)
    ticks.now = 18.9
    with pytest.raises(LeaseRefused, match="holds the instrument"):
        desk.begin("scan", None)
    ticks.now = 19.0
    assert desk.holder == ""
    with pytest.raises(LeaseRefused, match=r"ran out 0\.0 s ago, after 10 s"):
        desk.renew(one.token)
    with pytest.raises(LeaseRefused, match="ran out"):
        desk.begin("scan", one.token)
    two = desk.take(10.0, "two")
    assert two.fence == 2
    with pytest.raises(LeaseRefused, match="'two' holds"):
        desk.begin("scan", one.token)
    desk.release(one.token)  # it counts no more
    assert desk.holder == "two"
    desk.release(two.token)
    assert desk.begin("scan", None) is None
    with pytest.raises(LeaseRefused, match="not that of the lease that counts"):
        desk.begin("scan", two.token)


def test_acting_is_a_sign_of_life_and_a_lease_does_not_end_meanwhile(ticks):
    desk = Desk(clock=ticks)
    one = desk.take(1.0)
    desk.begin("scan", one.token)
    ticks.now = 100.0
    with pytest.raises(LeaseRefused, match="until its operation is over"):
        desk.take(1.0)
    desk.end(one)
    ticks.now = 100.9
    desk.renew(one.token)
    assert desk.evict() == one.holder
    with pytest.raises(LeaseRefused):
        desk.renew(one.token)


@pytest.mark.parametrize("ttl_s", [0.0, 0.05, 3601.0, float("nan"), True, "10"])
def test_a_lease_has_a_time(twin, ttl_s):
    with pytest.raises((ValueError, TypeError), match="ttl_s"):
        twin.lease(ttl_s)


def test_who_has_no_token_does_not_act_while_a_lease_is_held(twin):
    lease = twin.lease(30.0, "me")
    assert twin.state().lease == "me"
    calls = [lambda **by: twin.move_to((0.0, 0.0), **by), twin.measure, twin.scan]
    for call in calls:
        with pytest.raises(LeaseRefused, match="'me' holds"):
            call()
        with pytest.raises(LeaseRefused):
            call(token="1-guessed")
    assert twin.state().operations == 0
    for call in calls:
        call(token=lease.token)
    before = twin.measure(rid="r/1/measure", token=lease.token)
    assert twin.measure(rid="r/1/measure") is before  # it was done: that does not act
    assert {event["holder"] for event in twin.events()} == {"me"}
    twin.release(lease.token)
    twin.measure()
    assert "holder" not in twin.events()[-1]


def test_numbers_of_leases_go_on_after_a_restart(tmp_path):
    path = tmp_path / "ledger.sqlite"
    for fence in (1, 2, 3):
        twin = small_twin(ledger=path)
        lease = twin.lease(30.0)
        assert lease.fence == fence
        twin.close()
        twin = small_twin(ledger=path)
        with pytest.raises(LeaseRefused, match="before a restart"):
            twin.measure(token=lease.token)
        twin.close()


def test_the_wall_clock_has_no_say(monkeypatch, slow):
    lease = slow.lease(0.3)
    usual = time.time
    for shift in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: usual() + shift)
        assert slow.renew(lease.token).fence == lease.fence
        slow.measure(dwell_s=0.01, token=lease.token)
    time.sleep(0.35)
    with pytest.raises(LeaseRefused, match="ran out"):
        slow.measure(dwell_s=0.01, token=lease.token)
    ends = [event["end_s"] for event in slow.events()]
    assert ends == sorted(ends)


def test_what_an_instrument_must_say_of_itself():
    bare = Acting.__new__(Acting)
    for call in (
        lambda: bare.complete("measure", {}),
        lambda: bare.perform(None, 0.0),
        lambda: bare.left(None, 0.0, None),
        bare.now_s,
    ):
        with pytest.raises(NotImplementedError):
            call()
