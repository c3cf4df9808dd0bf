"""Who may act over the wire: by a lease that is held, or by a connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

import Pyro4
import pytest

import aemtwin
from aemtwin import errors
from aemtwin.instruments import lease as leases
from aemtwin.remote import answering as servers
from aemtwin.remote.server import Server
from tests.small import small_twin

AT = (1e-7, 2e-7)


@pytest.fixture
def twin():
    return small_twin(ideal=True)


@pytest.fixture
def server(twin, monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(servers, "LEAVING_S", 0.1)
    with aemtwin.serve(twin) as served:
        yield served


@pytest.fixture
def two(server):
    clients = [aemtwin.connect(server.uri, timeout_s=5.0) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


def until(what, patience_s=5.0):
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_connection_that_acts_holds_the_instrument_until_it_is_closed(two, twin):
    first, second = two
    first.move_to(AT)
    assert twin.state().lease.startswith("local at 127.0.0.1:")
    for call in (lambda: second.move_to(AT), lambda: second.measure(rid="r/1/m")):
        with pytest.raises(errors.LeaseRefused, match="holds the instrument"):
            call()
    assert second.state().operations == 1  # looking is free
    second.stop()
    first.close()
    second.move_to(AT)


def test_what_was_done_is_told_to_everybody(two):
    first, second = two
    done = first.measure(rid="r/1/measure")
    assert second.measure(rid="r/1/measure").values.tolist() == done.values.tolist()
    with pytest.raises(errors.BadRequest, match="one id stands for one request"):
        second.measure(rid="r/1/measure", dwell_s=2.0)
    with pytest.raises(errors.LeaseRefused, match=r"measure is refused: 'local at"):
        second.measure(rid="r/2/measure")


def test_bad_input_takes_no_lease(two, twin):
    first, second = two
    for bad in (
        lambda: first.move_to((9.0, 9.0)),
        lambda: first.measure(rid="r/1/measure", dwell_s=-1.0),
    ):
        with pytest.raises(errors.OutOfRange):
            bad()
        assert twin.state().lease == ""
    second.move_to(AT)
    with pytest.raises(errors.LeaseRefused):
        first.move_to(AT)


def test_two_plain_clients_take_turns(server):
    with Pyro4.Proxy(server.uri) as first, Pyro4.Proxy(server.uri) as second:
        first.move_to(AT)
        with pytest.raises(PermissionError, match="LeaseRefused: move_to is refused"):
            second.move_to(AT)
        first._pyroRelease()
        second.move_to(AT)


def test_a_connection_that_does_not_act_for_long_lets_go(two, monkeypatch):
    monkeypatch.setattr(servers, "BOUND_S", 0.3)
    first, second = two
    first.move_to(AT)
    time.sleep(0.35)
    second.move_to(AT)
    with pytest.raises(errors.LeaseRefused):
        first.move_to(AT)
    time.sleep(0.35)
    first.move_to(AT)


def test_a_client_that_reconnects_goes_on_with_what_it_had(two, server):
    first, second = two
    first.move_to(AT)
    for channel in (first._line._acting, first._line._asking):
        channel.close()  # as when the line breaks
        first.state()
        first.move_to(AT, rid=f"r/{id(channel)}/move")
    with pytest.raises(errors.LeaseRefused):
        second.move_to(AT)


def test_a_lease_is_kept_in_the_background_and_shown_to_others(two, twin):
    first, second = two
    lease = first.lease(0.3, "the loop")
    assert (lease.fence, first.holds) == (1, True)
    time.sleep(0.8)
    assert twin.state().lease.startswith("the loop (local at 127.0.0.1:")
    first.move_to(AT)
    first.measure(rid="r/1/measure")
    with pytest.raises(errors.LeaseRefused, match="the loop"):
        second.lease(1.0)
    first.release()
    assert not first.holds
    assert second.lease(1.0).fence == 2
    second.release()
    second.release("1-of-nobody")


def test_a_lease_may_be_waited_for(two):
    first, second = two
    first.lease(10.0)
    began = time.monotonic()
    with pytest.raises(errors.LeaseRefused):
        second.lease(1.0, wait_s=0.3)
    assert time.monotonic() - began >= 0.3
    first._holding.end()  # as if its process were gone
    first._line.quickly("renew", "x")
    twin_lease = first._holding.lease
    first.release(twin_lease.token)
    second.lease(1.0, wait_s=5.0)


def test_a_lease_that_ran_out_is_taken_again_only_if_nobody_had_it(two, twin):
    first, second = two
    lease = first.lease(10.0)
    twin._desk._held.until = 0.0  # as when the server was paused for longer
    first.move_to(AT)
    assert first._holding.lease.fence == lease.fence + 1
    twin._desk._held.until = 0.0
    second.move_to(AT)  # somebody acts in between
    second.close()
    until(lambda: not twin.state().lease)
    with pytest.raises(errors.LeaseRefused):
        first.measure(rid="r/1/measure")
    assert twin.state().operations == 2


def test_who_was_evicted_does_not_take_the_lease_again(two, twin):
    first, second = two
    first.lease(10.0)
    assert second.evict()
    assert second.evict() == ""  # there is nobody to evict
    with pytest.raises(errors.LeaseRefused):
        first.move_to(AT)
    assert twin.state().operations == 0
    first.lease(10.0)  # unless somebody asks for it
    first.move_to(AT)
    assert twin.state().operations == 1


def test_the_answer_to_lease_may_be_lost(two):
    first, second = two
    lost = first._line.ask("lease", [10.0, "me"])
    again = first.lease(10.0, "me")
    assert again.fence == lost["fence"] + 1
    with pytest.raises(errors.LeaseRefused):
        second.move_to(AT)


def test_a_token_of_ones_own_is_used_as_it_is(two, twin):
    first, _ = two
    lease = twin.lease(5.0, "somebody")
    with pytest.raises(errors.LeaseRefused):
        first.move_to(AT)
    first.move_to(AT, token=lease.token)
    assert first.submit(
        {"call": "measure", "rid": "r/1/measure", "arguments": {}},
        token=lease.token,
        wait_s=5.0,
    )["answer"].values.shape == (12,)
    assert first.renew(lease.token).fence == lease.fence
    assert first.evict() == "somebody"


def test_a_run_holds_the_instrument_while_it_lasts(server, twin, tmp_path):
    seen = []

    def look(*_):
        seen.append(twin.state().lease)

    scope = aemtwin.connect(server.uri)
    run = aemtwin.run(
        scope,
        acquisition="random",
        steps=3,
        first=2,
        out=str(tmp_path),
        on_step=look,
    )
    assert all(f"run {run.path.name} (local at" in one for one in seen)
    assert not scope.holds
    assert twin.state().lease == ""
    scope.close()


def test_a_run_waits_for_who_holds_the_instrument_and_then_says_who(
    server, twin, tmp_path, monkeypatch
):
    monkeypatch.setattr("aemtwin.devices.LEASE_S", 0.1)
    lease = twin.lease(60.0, "another run")
    scope = aemtwin.connect(server.uri)
    with pytest.raises(errors.LeaseRefused, match="'another run' holds"):
        aemtwin.run(scope, acquisition="random", out=str(tmp_path))
    twin.release(lease.token)
    scope.close()


def test_a_rate_is_waited_for(twin):
    from aemtwin.instruments.allowed import Allowed

    with aemtwin.serve(twin, limits=Allowed(rate_hz=20.0, burst=1)) as server:
        scope = aemtwin.connect(server.uri)
        assert scope.describe().limits.allowed == {"rate_hz": 20.0, "burst": 1}
        begin = time.monotonic()
        for step in range(6):
            scope.move_to(AT, rid=f"r/{step}/move")
        assert time.monotonic() - begin > 5 * 0.045
        scope.close()
    slow = Allowed(rate_hz=0.05, burst=1)
    with aemtwin.serve(small_twin(ideal=True), limits=slow) as server:
        with Pyro4.Proxy(server.uri) as plain:
            plain.move_to(AT)
            with pytest.raises(BlockingIOError, match="TooFast: move_to comes too"):
                plain.move_to(AT)


def test_limits_are_of_what_keeps_a_ledger(tmp_path):
    class Bare:
        def describe(self):
            return small_twin().describe()

    path = tmp_path / "limits.toml"
    path.write_text("[allowed]\ndose = 2.5\ncurrent_A = 1e-9\n")
    with pytest.raises(errors.NotSupported, match="cannot be limited"):
        aemtwin.serve(Bare(), limits=path)
    ledger = tmp_path / "ledger.sqlite"
    for rids in (["r/1/m", "r/2/m"], ["r/1/m"]):
        twin = small_twin(ledger=ledger)
        with aemtwin.serve(twin, limits=path) as server:
            scope = aemtwin.connect(server.uri)
            for rid in rids:
                scope.measure(rid=rid)
            with pytest.raises(errors.DoseRefused, match="restarts included"):
                scope.measure(rid="r/3/m")
            assert twin.state().dose == 2.0
            scope.close()
        twin.close()


def test_a_campaign_stays_where_the_server_allows_it_to_be(twin, tmp_path):
    from aemtwin.instruments.allowed import Allowed

    box = ((0.0, 2.5e-7), (3e-7, 1.1e-6))
    with aemtwin.serve(twin, limits=Allowed(position=box)) as server:
        scope = aemtwin.connect(server.uri)
        options = {"acquisition": "random", "out": str(tmp_path), "first": 2}
        run = aemtwin.run(scope, steps=500, **options)
        at = [(event["actual"], event["call"]) for event in twin.events()]
        assert {call for _, call in at} == {"move_to", "measure"}
        assert len(run.table()) == 3 * 4  # all candidates in the box, and no more
        for (x, y), _ in at:
            assert box[0][0] <= x <= box[0][1]
            assert box[1][0] <= y <= box[1][1]
        scope.close()
    nowhere = Allowed(position=((1e-9, 2e-9), (0.0, 1e-6)))
    with aemtwin.serve(small_twin(ideal=True), limits=nowhere) as server:
        scope = aemtwin.connect(server.uri)
        with pytest.raises(errors.OutOfRange, match="None of 30 candidates"):
            aemtwin.run(scope, **options)
        scope.close()


def test_the_usual_time_is_said_in_one_place():
    assert leases.USUAL_S == 10.0
