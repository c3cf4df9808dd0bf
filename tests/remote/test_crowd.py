"""Before authentication: whatever comes, and however many, the others do not notice.

The slow tests read from outside what a server in a process of its own takes up. The
others hold the door of a server in this process to the same.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from Pyro4 import message

import aemtwin
from aemtwin.remote import door as doors
from aemtwin.remote import speaking
from tests.remote import bombs, crowd, fuzz, raw
from tests.small import small_twin

GROWTH_MIB = 64.0  # at most, of resident memory at its peak
from_outside = pytest.mark.skipif(
    not crowd.HERE, reason="what a process takes up is read from /proc"
)


class Keys(NamedTuple):
    server: Path | None = None
    client: Path | None = None

    @property
    def context(self):
        if self.client is None:
            return None
        from aemtwin.remote.keys import client_context

        return client_context(self.client)


@pytest.fixture(params=["plain", "TLS"])
def keys(request, tmp_path):
    if request.param == "plain":
        return Keys()
    pytest.importorskip("cryptography")
    authority = pytest.importorskip("aemtwin.remote.authority")
    authority.make_keys(tmp_path, clients={"bench": "operate"})
    return Keys(tmp_path / "server", tmp_path / "clients" / "bench")


def prepared(served, keys):
    """A good client that holds the instrument, and what the server then takes up.

    It has acted twice, so that every thread and connection is there that it needs.
    """
    served.asked_plainly(keys.context)
    client = served.client(keys.client)
    lease = client.lease(3600.0, "the good one")
    arguments = {"position": [0.0, 0.0]}
    client.submit({"call": "move_to", "rid": "good/0/move", "arguments": arguments})
    client.fetch("good/0/move", 5.0)
    client.move_to((0.0, 0.0), rid="good/1/move")
    assert client.state().operations == 2
    return client, lease, served.vitals()


def left_nothing(served, before) -> bool:
    after = served.settled(before)
    few = after.threads <= before.threads and after.files <= before.files
    return few and after.rss_mib - before.rss_mib <= GROWTH_MIB


# Frames


@pytest.mark.slow
@pytest.mark.timeout(400)
@from_outside
def test_fuzzed_frames_change_nothing_and_leave_nothing(keys):
    count = 100_000 if keys.client is None else 5_000
    with crowd.serving(keys.server) as served:
        client, lease, before = prepared(served, keys)
        frames = fuzz.Frames(1, lease.token)
        sender = fuzz.Sender(served.uri, frames, count, context=keys.context)
        with crowd.Watch(served) as watch:
            told = sender.throw()
        assert told["before the greeting"] + told["after the greeting"] >= count
        assert served.alive
        assert client.state().operations == 2 + told["acting"]
        newcomer = served.client(keys.client)
        assert newcomer.state().operations == 2 + told["acting"]
        newcomer.close()
        assert watch.growth_mib <= GROWTH_MIB
        assert left_nothing(served, before)
        client.close()
        assert "Traceback" not in served.noted  # nothing that nobody foresaw


@pytest.mark.slow
@pytest.mark.timeout(200)
@from_outside
def test_bombs_of_40_connections_at_once_stay_small(keys):
    with crowd.serving(keys.server) as served:
        client, _, before = prepared(served, keys)
        growth = {}
        for name, bomb in bombs.BOMBS.items():
            for greeted in (False, True):
                data = bomb.frame(greeted)
                with crowd.Watch(served) as watch:
                    said = bombs.throw(served.uri, data, greeted, context=keys.context)
                growth[name, greeted] = watch.growth_mib
                assert b"silence" not in said
        assert max(growth.values()) <= GROWTH_MIB, growth
        assert client.state().operations == 2
        assert left_nothing(served, before)
        client.close()
        assert "Traceback" not in served.noted


# Crowds


@pytest.mark.slow
@pytest.mark.timeout(200)
@from_outside
def test_crowds_of_silent_and_slow_ones_delay_nobody(keys):
    """Medians of calls that take turns: alone, under 400 connections, alone, ..."""
    with (
        crowd.serving(keys.server) as served,
        crowd.Crowd(served.uri, 200, 200, keys.client) as outside,
    ):
        client, _, before = prepared(served, keys)
        steps = iter(range(10**9))

        def move():
            step = next(steps)
            return client.move_to((step % 9 * 1e-7, 1e-7), rid=f"good/{step}/step")

        calls = {"state": client.state, "move_to": move}
        for call in calls.values():
            for _ in range(50):
                call()
        turns = {"alone": nullcontext, "crowd": outside.there}
        times = crowd.latencies(calls, turns, count=3000, rounds=5)
        for name in calls:
            # The quietest of five rounds. Who waits for a crowd waits for seconds; 2
            # is the goal, which benchmarks/crowd.py measures on two cores alone.
            assert least_ratio(times["crowd"][name], times["alone"][name]) <= 6
        with outside.there():
            most = 0
            entered = []
            for _ in range(15):
                begin = time.perf_counter()
                newcomer = served.client(keys.client)
                newcomer.state()
                entered.append(time.perf_counter() - begin)
                newcomer.close()
                most = max(most, served.vitals().threads)
        assert statistics.median(entered) <= 1.0, entered
        assert outside.renewed > 400  # they came again
        assert most - before.threads <= doors.GREETING_MOST + doors.LEAVING_MOST + 6
        assert left_nothing(served, before)
        client.close()


def least_ratio(crowded: list[float], alone: list[float], rounds: int = 5) -> float:
    """Return the least ratio of medians, round by round."""
    pairs = [
        [statistics.median(times[k * len(times) // rounds :][: len(times) // rounds])]
        for times in (crowded, alone)
        for k in range(rounds)
    ]
    return min(a[0] / b[0] for a, b in zip(pairs[:rounds], pairs[rounds:], strict=True))


# Any order of anything


class Visitors(RuleBasedStateMachine):
    """Connections that do anything; what acts is counted here, not asked for."""

    sockets = Bundle("sockets")

    @initialize()
    def serve(self):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(speaking, "GREETING_S", 60.0)
        self.server = aemtwin.serve(small_twin(ideal=True))
        self.good = aemtwin.connect(self.server.uri, timeout_s=5.0)
        self.token = self.good.lease(600.0, "the good one").token
        self.acted = 0
        self.where: dict[socket.socket, str] = {}  # outside, inside, gone
        self.owed: dict[socket.socket, bytes] = {}  # the rest of an acting call
        self.said = b""  # the last call that acted

    def teardown(self):
        if hasattr(self, "server"):
            for sock in self.where:
                sock.close()
            self.good.close()
            self.server.close()
            self.patch.undo()

    def acting(self, serializer=raw.MSGPACK) -> bytes:
        self.count = getattr(self, "count", 0) + 1
        named = {"rid": f"visit/{self.count}/move", "token": self.token}
        at = [1e-7 * (self.count % 4), 2e-7]
        return raw.ask("move_to", at, serializer=serializer, named=named)

    def answered(self, sock) -> bool:
        """Whether the answer that is due is a good one."""
        return not raw.answer(sock)[1] & message.FLAGS_EXCEPTION

    def over(self, sock):
        assert raw.is_closed(sock)
        sock.close()
        self.where[sock] = "gone"
        self.owed.pop(sock, None)

    def free(self, sock, where) -> bool:
        return self.where[sock] == where and sock not in self.owed

    @rule(target=sockets, greets=st.booleans())
    def come(self, greets):
        sock = socket.create_connection(raw.address(self.server.uri), 5.0)
        self.where[sock] = "outside"
        if greets:
            self.greet(sock)
        return sock

    @rule(sock=sockets)
    def greet(self, sock):
        if self.free(sock, "outside"):
            sock.sendall(raw.hello())
            assert raw.answer(sock)[0] == message.MSG_CONNECTOK
            self.where[sock] = "inside"
        elif self.free(sock, "inside"):
            sock.sendall(raw.hello())
            assert not self.answered(sock)
            self.over(sock)

    @rule(sock=sockets, serializer=st.sampled_from([raw.MSGPACK, raw.SERPENT]))
    def act(self, sock, serializer):
        data = self.acting(serializer)
        if self.free(sock, "inside"):
            sock.sendall(data)
            assert self.answered(sock)
            self.acted, self.said = self.acted + 1, data
        elif self.free(sock, "outside"):
            sock.sendall(data)
            self.over(sock)

    @rule(sock=sockets)
    def say_again(self, sock):
        if self.said and self.free(sock, "inside"):
            sock.sendall(self.said * 2)
            assert self.answered(sock)
            assert self.answered(sock)

    @rule(sock=sockets, wrong=st.sampled_from(["state", "move_to", "measure", "x"]))
    def ask_wrongly(self, sock, wrong):
        if self.free(sock, "inside"):
            sock.sendall(raw.ask(wrong, [1e-7, 1e-7], named={"token": fuzz.WRONG}))
            assert not self.answered(sock)

    @rule(sock=sockets, part=st.floats(0.01, 0.99))
    def begin_to_act(self, sock, part):
        if self.free(sock, "inside") or self.free(sock, "outside"):
            data = self.acting()
            cut = max(int(part * len(data)), 1)
            sock.sendall(data[:cut])
            self.owed[sock] = data[cut:]

    @rule(sock=sockets)
    def go_on(self, sock):
        if sock in self.owed and self.where[sock] == "inside":
            sock.sendall(self.owed.pop(sock))
            assert self.answered(sock)
            self.acted += 1

    @rule(
        sock=sockets,
        data=st.binary(min_size=1, max_size=80),
        honest=st.booleans(),
    )
    def babble(self, sock, data, honest):
        """Bytes, or a good head and then bytes; and no more."""
        if self.where[sock] == "gone":
            return
        head = raw.header(size=len(data)) if honest else b""
        if rest := self.owed.get(sock):
            head = bytes([rest[0] ^ 1])  # not what was to follow
        try:
            sock.sendall(head + data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused for the part before
        self.over(sock)

    @rule(sock=sockets)
    def leave(self, sock):
        sock.close()
        self.where[sock] = "gone"
        self.owed.pop(sock, None)

    @invariant()
    def the_good_one_is_answered_and_nothing_else_acted(self):
        if hasattr(self, "good"):
            assert self.good.state().operations == self.acted


Visitors.TestCase.settings = settings(max_examples=25, stateful_step_count=20)
test_any_order_of_greetings_calls_and_garbage_acts_as_often_as_was_asked = (
    Visitors.TestCase
)


def test_frames_of_a_seed_are_the_same_and_of_every_kind():
    one, other = (fuzz.Frames(5, "token") for _ in range(2))
    same = [(one.before(), one.after()) for _ in range(300)]
    assert same == [(other.before(), other.after()) for _ in range(300)]
    kinds = Counter((t.acts, t.whole) for _, t in same)
    assert set(kinds) == {(0, False), (0, True), (1, False), (1, True)}
