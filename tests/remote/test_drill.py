"""Whatever is killed or paused, each request is done once, or it is said not."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import statistics
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import aemtwin
from aemtwin import errors
from tests.remote import raw
from tests.remote.bench import Hardware, value_of
from tests.remote.drill import ENV, PATIENCE_S, Process, Served, drill, slope_of
from tests.small import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="it kills by signals"),
]
AT = (1e-7, 2e-7)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["instrument", "twin"])
def test_fifty_kills_of_server_client_and_both(kind, tmp_path):
    found = drill(kind, 50, seed=2026, folder=tmp_path)
    assert found.twice == found.wrong == []
    assert found.asked > 500
    assert sum(found.kills.values()) == 50
    assert len(found.kills) == 3
    assert statistics.median(found.service_s) < 2.0  # each of them: benchmarks/drill.py
    assert (
        found.indeterminate <= 50 if kind == "instrument" else not found.indeterminate
    )


@pytest.mark.timeout(300)
def test_a_budget_is_not_exceeded_over_kills(tmp_path):
    found = drill("instrument", 10, seed=7, folder=tmp_path, dose=60.0, pause_s=0.0)
    assert found.twice == found.wrong == []
    assert found.refused > 0


@pytest.fixture
def hardware():
    made = Hardware(exposure_s=0.001)
    yield made
    made.close()


@pytest.fixture
def served(tmp_path, hardware):
    server = Served("instrument", tmp_path / "ledger.sqlite", hardware.port)
    server.start()
    server.answers()
    yield server
    server.signal(signal.SIGCONT)
    server.kill()


def test_a_paused_server_is_an_error_in_time_and_then_one_answer(served, hardware):
    scope = aemtwin.connect(served.uri, timeout_s=2.0)
    scope.measure(rid="r/0/measure")
    served.signal(signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(errors.Unreachable, match="No instrument answers measure"):
        scope.measure(rid="r/1/measure")
    assert time.monotonic() - begin < 2.2
    begin = time.monotonic()
    with pytest.raises(errors.Unreachable):
        scope.state()
    assert time.monotonic() - begin < 2.2
    served.signal(signal.SIGCONT)
    found = scope.measure(rid="r/1/measure")
    np.testing.assert_array_equal(found.values, value_of("r/1/measure"))
    scope.measure(rid="r/1/measure")
    assert hardware.exposures == {"r/0/measure": 1, "r/1/measure": 1}
    scope.close()


def test_a_call_without_an_id_does_not_wait_for_a_dead_server_for_ever(served):
    scope = aemtwin.connect(served.uri, timeout_s=1.0)
    served.signal(signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(errors.Unreachable):
        scope.measure()
    assert time.monotonic() - begin < 4.0
    served.signal(signal.SIGCONT)
    scope.close()


HOLDER = """
import sys, time
import aemtwin
from aemtwin import errors

scope = aemtwin.connect(sys.argv[1], timeout_s=10.0)
lease = scope.lease(0.5, "the holder")
print("holds", lease.fence, flush=True)
step = 0
while True:
    sys.stdin.readline()
    step += 1
    try:
        scope.measure(rid=f"holder/{step}/measure")
        print("done", scope._holding.lease.fence, flush=True)
    except errors.LeaseRefused as error:
        print("refused", str(error)[:60], flush=True)
"""


class Holder(Process):
    """A client that holds a lease and acts when it is told to."""

    def start(self) -> None:
        self.child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENV,
            cwd=ROOT,
        )
        assert self.line().startswith("holds 1")

    def line(self) -> str:
        return self.child.stdout.readline().strip()

    def act(self) -> None:
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def kill(self) -> None:
        if self.child is not None:
            self.child.stdin.close()
        super().kill()


@pytest.fixture
def holder(served):
    child = Holder(HOLDER, served.uri)
    child.start()
    yield child
    child.signal(signal.SIGCONT)
    child.kill()


def test_a_holder_that_was_paused_too_long_is_refused_if_another_acted(served, holder):
    holder.act()
    assert holder.line() == "done 1"
    holder.signal(signal.SIGSTOP)
    time.sleep(0.8)
    other = aemtwin.connect(served.uri)
    other.lease(30.0, "another")
    other.move_to(AT)
    holder.act()
    holder.signal(signal.SIGCONT)
    assert holder.line().startswith("refused")
    assert other.state().operations == 2
    other.close()


def test_a_holder_that_was_paused_goes_on_if_nobody_acted(served, holder):
    holder.signal(signal.SIGSTOP)
    time.sleep(0.8)
    holder.act()
    holder.signal(signal.SIGCONT)
    assert holder.line() == "done 2"


def test_the_lease_of_a_dead_holder_is_free_in_time(served, holder):
    other = aemtwin.connect(served.uri)
    with pytest.raises(errors.LeaseRefused):
        other.lease(1.0)
    holder.kill()
    begin = time.monotonic()
    other.lease(1.0, wait_s=10.0)
    assert time.monotonic() - begin < 0.5 + 1.0
    other.close()


FIGHTER = """
import sys
import aemtwin
from aemtwin import errors

uri, name, rounds, each = sys.argv[1:]
scope = aemtwin.connect(uri, timeout_s=20.0)
for round_ in range(int(rounds)):
    scope.lease(5.0, name, wait_s=60.0)
    for step in range(int(each)):
        scope.move_to((1e-7, 2e-7), rid=f"{name}-{round_}/{step}/move")
    scope.release()
scope.close()
"""


@pytest.mark.timeout(300)
def test_two_clients_that_want_one_lease_never_mix(served):
    rounds, each = 15, 100
    fighters = [
        Process(FIGHTER, served.uri, name, rounds, each) for name in ("one", "two")
    ]
    for fighter in fighters:
        fighter.start()
    for fighter in fighters:
        fighter.end()
    scope = aemtwin.connect(served.uri)
    events = scope.events()
    scope.close()
    assert len(events) == 2 * rounds * each
    runs = [event["rid"].split("/")[0] for event in events]
    changes = sum(a != b for a, b in itertools.pairwise(runs))
    assert changes == 2 * rounds - 1  # each turn is whole
    for event in events:
        assert event["rid"].split("-")[0] in event["holder"]


def ask_once(uri: str, queue: multiprocessing.Queue) -> None:
    scope = aemtwin.connect(uri)
    threads = []

    def ask():
        mine = aemtwin.connect(uri)
        found = None
        while found is None:
            try:
                found = mine.measure(rid="storm/1/measure").values.tolist()
            except errors.LeaseRefused:
                time.sleep(0.01)
        mine.close()
        queue.put(found)

    for _ in range(10):
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    scope.close()


@pytest.mark.timeout(180)
def test_a_storm_of_one_id_over_fifty_connections_is_one_exposure(served, hardware):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    asking = [
        context.Process(target=ask_once, args=(served.uri, queue)) for _ in range(5)
    ]
    for one in asking:
        one.start()
    found = [queue.get(timeout=PATIENCE_S) for _ in range(50)]
    for one in asking:
        one.join(timeout=PATIENCE_S)
    assert hardware.exposures == {"storm/1/measure": 1}
    assert all(one == value_of("storm/1/measure").tolist() for one in found)


def test_recorded_bytes_do_nothing_after_a_restart(served, hardware):
    said = [raw.ask("measure", named={"rid": f"r/{k}/measure"}) for k in range(5)]
    for _ in range(2):
        for _ in range(3):
            with raw.connected(served.uri) as sock:
                for data in said:
                    sock.sendall(data)
                    raw.answer(sock)
        served.kill()
        served.start()
        served.answers()
    assert set(hardware.exposures.values()) == {1}
    assert len(hardware.exposures) == 5


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads /proc")
@pytest.mark.parametrize("kind", ["instrument", "twin"])
def test_memory_is_flat_over_twenty_thousand_measurements(kind, tmp_path, hardware):
    server = Served(kind, tmp_path / "ledger.sqlite", hardware.port)
    server.start()
    try:
        server.answers()
        slope, descriptors, mine = slope_of(server, 20_000, warm=6_000)
    finally:
        server.kill()
    assert slope < 1.0
    assert descriptors == 0
    if kind == "twin":  # of the instrument, this process holds the hardware too
        assert mine < 1.0
