"""The door: nobody who is silent, slow or wrong is in anybody's way."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator

import numpy as np
import Pyro4
import pytest
from Pyro4 import message

import aemtwin
from aemtwin import errors
from aemtwin.instruments.ledger import Ledger
from aemtwin.remote import door as doors
from aemtwin.remote import guard, speaking
from aemtwin.remote.answering import NEEDS
from aemtwin.remote.connection import Closed, Connection
from aemtwin.remote.server import Server
from tests.remote import raw
from tests.small import small_twin


@pytest.fixture
def twin():
    return small_twin(ideal=True)


@pytest.fixture
def server(twin) -> Iterator[Server]:
    with aemtwin.serve(twin, truth=True) as served:
        yield served


def alive(server) -> bool:
    """Whether a newcomer is served as if nothing were."""
    client = aemtwin.connect(server.uri, timeout_s=3.0)
    try:
        return client.state().operations >= 0
    finally:
        client.close()


# What an answer waits for


def test_a_small_answer_is_sent_before_its_end_is_written_a_large_one_after(
    tmp_path, monkeypatch
):
    order = []

    class Watched(Connection):
        def send(self, *parts, **how):
            order.append("sent")
            super().send(*parts, **how)

    def settled(self):
        order.append("written" if self._late else "")
        settle(self)

    settle = Ledger.settle
    monkeypatch.setattr(Ledger, "settle", settled)
    monkeypatch.setattr(doors, "Connection", Watched)
    monkeypatch.setattr(speaking, "AT_ONCE", 4000)
    twin = small_twin(ideal=True, ledger=tmp_path / "ledger.sqlite")
    with aemtwin.serve(twin) as server:
        scope = aemtwin.connect(server.uri)
        scope.configure(rid="r/0/configure")  # its connection has greeted
        found = {}
        for name, call in {"small": scope.measure, "large": scope.scan}.items():
            while twin._ledger._late:  # of the call before
                time.sleep(0.001)
            order.clear()
            more = {"shape": (40, 40)} if name == "large" else {}
            call(rid=f"r/1/{name}", **more)
            until = time.monotonic() + 5.0
            while "written" not in order and time.monotonic() < until:
                time.sleep(0.001)
            found[name] = [each for each in order if each][:2]
        scope.close()
    twin.close()
    assert found == {"small": ["sent", "written"], "large": ["written", "sent"]}


# Only the allow-list answers


def test_a_greeting_tells_what_there_is_to_call(server):
    with raw.connected(server.uri, greeted=False) as sock:
        sock.sendall(raw.hello())
        kind, _, said = raw.answer(sock)
    assert kind == message.MSG_CONNECTOK
    assert said["meta"]["methods"] == sorted(NEEDS)
    assert said["meta"]["attrs"] == said["meta"]["oneway"] == []


@pytest.mark.parametrize("target", ["Pyro.Daemon", "", "Instrument", "__init__"])
def test_no_other_object_greets(server, target):
    with raw.connected(server.uri, greeted=False) as sock:
        sock.sendall(raw.hello(target))
        kind, _, said = raw.answer(sock)
        assert (kind, "unknown object" in said) == (message.MSG_CONNECTFAIL, True)
        assert raw.is_closed(sock)


@pytest.mark.parametrize(
    ("target", "call"),
    [
        ("Pyro.Daemon", "registered"),
        ("Pyro.Daemon", "get_metadata"),
        ("Pyro.Daemon", "info"),
        ("Instrument_Server", "__class__"),
        ("Instrument_Server", "__getattr__"),
        ("Instrument_Server", "__setattr__"),
        ("Instrument_Server", "__init__"),
        ("Instrument_Server", "_instrument"),
        ("Instrument_Server", "answer"),
        ("Instrument_Server", "left"),
        ("Instrument_Server", "reset"),
        ("Instrument_Server", "close"),
        ("Instrument_Server", "ledger"),
        ("Instrument_Server", ""),
    ],
)
def test_nothing_else_answers(server, twin, target, call):
    with raw.connected(server.uri) as sock:
        sock.sendall(raw.ask(call, "_instrument", target=target))
        _, flags, said = raw.answer(sock)
        assert flags & message.FLAGS_EXCEPTION
        assert isinstance(said, AttributeError)
        assert "has no call" in str(said)
        sock.sendall(raw.ask("state"))
        assert raw.answer(sock)[2]["operations"] == 0


# Nothing but numbers, texts, bytes and containers is built


class Trap:
    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


@pytest.mark.parametrize("serializer", [2, 3, 4, 5, 0, 7, 99])
def test_other_serializers_are_refused_before_they_are_read(server, serializer):
    for make in (raw.hello, lambda: raw.ask("state")):
        greeted = make is not raw.hello
        data = bytearray(make())
        kind = message.Message.from_header(bytes(data[: raw.HEADER])).type
        bomb = raw.frame(kind, pickle.dumps(Trap()), serializer)
        with raw.connected(server.uri, greeted=greeted) as sock:
            sock.sendall(bomb)
            _, _, said = raw.answer(sock)
            assert f"serializer of number {serializer} is not accepted" in str(said)
            assert raw.is_closed(sock)
    assert not Trap.sprung


@pytest.mark.parametrize("serializer", [raw.MSGPACK, raw.SERPENT])
def test_no_class_is_built_from_what_comes_in(server, serializer):
    named = {
        "mode": {"__class__": "Pyro4.core.Proxy", "state": ["PYRO:a@127.0.0.1:1"]},
    }
    with raw.connected(server.uri) as sock:
        sock.sendall(raw.ask("measure", serializer=serializer, named=named))
        _, flags, said = raw.answer(sock)
        assert flags & message.FLAGS_EXCEPTION
        assert "There is no mode {" in str(said) or "holds a 'Pyro4" in str(said)


def test_a_ping_is_answered(server):
    with raw.connected(server.uri) as sock:
        sock.sendall(raw.frame(message.MSG_PING, b"ping", 42))
        assert raw.answer(sock) == (message.MSG_PING, 0, b"pong")


@pytest.mark.parametrize(
    "wrong",
    [
        raw.ask("state", flags=message.FLAGS_ONEWAY),
        raw.ask("state", flags=message.FLAGS_BATCH),
        raw.ask("state", flags=message.FLAGS_COMPRESSED),
        raw.ask("state", annotations={"BLBI": b"x" * 70}),
        raw.ask("state", claim=2**31 - 1),
        raw.ask("state", "x" * 70_000),
        raw.ask("state", "x" * 5_000, serializer=raw.SERPENT),
    ],
)
def test_a_frame_that_is_refused_is_told_why_and_ends_the_connection(server, wrong):
    with raw.connected(server.uri) as sock:
        sock.sendall(wrong[: raw.HEADER])  # its head is enough
        _, flags, said = raw.answer(sock)
        assert flags & message.FLAGS_EXCEPTION
        assert isinstance(said, ValueError)
        assert str(said).startswith("BadFrame: ")
        assert raw.is_closed(sock)
    assert alive(server)


GARBAGE = [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"PYRO", b"\xff" * 5000]


@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_ends_its_own_connection_alone(server, data, greeted):
    with raw.connected(server.uri, greeted=greeted) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert raw.is_closed(sock)
    assert alive(server)


def test_bytes_of_another_session_do_nothing_twice(server, twin):
    """Without an id or with one, recorded bytes expose nothing a second time."""
    said = [
        raw.ask("move_to", [1e-7, 2e-7], named={"rid": "r/1/move"}),
        raw.ask("measure", named={"rid": "r/1/measure"}),
    ]
    for _ in range(5):
        with raw.connected(server.uri) as sock:
            for data in said:
                sock.sendall(data)
                assert not raw.answer(sock)[1] & message.FLAGS_EXCEPTION
    assert twin.state().operations == 2
    assert twin.state().dose == 1.0


def test_recorded_bytes_of_a_lease_that_is_over_do_nothing(server, twin):
    lease = twin.lease(5.0)
    said = raw.ask("measure", named={"token": lease.token})
    with raw.connected(server.uri) as sock:
        sock.sendall(said)
        assert not raw.answer(sock)[1] & message.FLAGS_EXCEPTION
    twin.release(lease.token)
    for _ in range(5):
        with raw.connected(server.uri) as sock:
            sock.sendall(said)
            assert isinstance(raw.answer(sock)[2], PermissionError)
    assert twin.state().operations == 1


# Silent and slow ones


def test_who_is_silent_or_slow_is_in_nobodys_way(server, monkeypatch):
    """Two hundred connections that say nothing, or a byte now and then."""
    client = aemtwin.connect(server.uri)
    silent = []
    try:
        for k in range(200):
            sock = socket.create_connection(raw.address(server.uri), 5.0)
            if k % 2:
                sock.sendall(raw.hello()[: k % 30])
            silent.append(sock)
            if k % 20 == 0:
                assert alive(server)
        begin = time.perf_counter()
        assert client.state().operations == 0
        assert alive(server)
        assert time.perf_counter() - begin < 1.0
        assert len(server._door._greeting) <= doors.GREETING_MOST
    finally:
        for sock in silent:
            sock.close()
        client.close()


def test_a_crowd_does_not_drive_out_who_comes_from_elsewhere(monkeypatch):
    monkeypatch.setattr(doors, "GREETING_MOST", 4)
    with aemtwin.serve(small_twin()) as server:
        there = raw.address(server.uri)
        try:
            other = socket.create_connection(there, 5.0, ("127.0.0.2", 0))
        except OSError:
            pytest.skip("127.0.0.2 is not an address of this machine")
        with other:
            silent = [socket.create_connection(there, 5.0) for _ in range(20)]
            try:
                assert all(raw.is_closed(sock, 2.0) for sock in silent[:-4])
                other.sendall(raw.hello())
                assert raw.answer(other)[0] == message.MSG_CONNECTOK
            finally:
                for sock in silent:
                    sock.close()


def test_a_connection_that_is_cut_keeps_its_number_until_its_own_thread_ends_it():
    """Or the next one would have that number, and TLS would read what is said there."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours)
        number = ours.fileno()
        connection.cut()
        assert theirs.recv(1) == b""
        with pytest.raises(Closed):
            connection.receive(guard.header, wait_s=1.0)
        assert ours.fileno() == number
        connection.close()
        assert ours.fileno() == -1


def test_a_greeting_has_its_time(server, monkeypatch):
    monkeypatch.setattr(speaking, "GREETING_S", 0.3)
    with raw.connected(server.uri, greeted=False) as silent:
        assert raw.is_closed(silent, within_s=2.0)
    with raw.connected(server.uri, greeted=False) as slow:
        begin = time.monotonic()
        try:
            for byte in raw.hello():  # it would take seconds
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - begin < 2.0


def test_a_frame_has_its_time_and_between_them_there_is_any(server, monkeypatch):
    monkeypatch.setattr(speaking, "FRAME_S", 0.3)
    monkeypatch.setattr("aemtwin.remote.connection.FRAME_S", 0.3)
    with raw.connected(server.uri) as idle, raw.connected(server.uri) as slow:
        slow.sendall(raw.ask("state")[:10])
        assert raw.is_closed(slow, within_s=2.0)
        idle.sendall(raw.ask("state"))
        assert raw.answer(idle)[2]["operations"] == 0


def test_an_idle_plain_client_is_not_cut(server, monkeypatch):
    monkeypatch.setattr(speaking, "GREETING_S", 0.2)
    monkeypatch.setattr(speaking, "FRAME_S", 0.2)
    with Pyro4.Proxy(server.uri) as plain:
        assert plain.state()["operations"] == 0
        time.sleep(0.6)
        assert plain.state()["operations"] == 0


def test_a_reader_that_does_not_read_holds_itself_alone(server, twin):
    with raw.connected(server.uri) as deaf:
        for _ in range(2000):
            try:
                deaf.settimeout(0.2)
                deaf.sendall(raw.ask("describe"))
            except OSError:
                break
        assert alive(server)


# How many


def test_connections_of_one_address_have_an_end(server, monkeypatch, caplog):
    monkeypatch.setattr(doors, "MOST_A_PEER", 3)
    client = aemtwin.connect(server.uri)  # one connection so far
    with raw.connected(server.uri), raw.connected(server.uri):
        with raw.connected(server.uri, greeted=False) as fourth:
            kind, _, said = raw.answer(fourth)  # before a byte of it was read
            assert kind == message.MSG_CONNECTFAIL
            assert "denied: there are 3 connections" in said
        with pytest.raises(Pyro4.errors.CommunicationError):
            Pyro4.Proxy(server.uri).state()
        assert client.state().operations == 0
    assert "a connection is denied" in caplog.text
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            assert alive(server)
            break
        except errors.Unreachable:
            time.sleep(0.05)
    client.close()


# What goes wrong inside


def test_an_error_that_nobody_foresaw_is_one_sentence_without_a_traceback(
    server, twin, monkeypatch, caplog
):
    def broken():
        raise KeyError("secret/path")

    monkeypatch.setattr(twin, "state", broken)
    with Pyro4.Proxy(server.uri) as plain:
        with pytest.raises(RuntimeError, match=r"the server failed.*KeyError"):
            plain.state()
    client = aemtwin.connect(server.uri)
    with pytest.raises(RuntimeError, match="the server failed"):
        client.state()
    assert "Traceback" in caplog.text
    client.close()


def test_a_plain_client_of_msgpack_gets_builtins_too(server):
    with Pyro4.Proxy(server.uri) as plain:
        plain._pyroSerializer = "msgpack"
        packed = plain.scan()["arrays"]["height"]
        assert np.frombuffer(packed["data"], packed["dtype"]).shape == (30,)
        with pytest.raises(ValueError, match=r"OutOfRange: move_to got"):
            plain.move_to([9.0, 9.0])


def test_a_call_that_is_too_large_is_not_sent(server):
    client = aemtwin.connect(server.uri)
    with pytest.raises(errors.OutOfRange, match="Ask in parts"):
        client.trace(np.zeros((5000, 2)))
    assert client.trace(np.full((3000, 2), 1e-7)).values.shape == (3000,)
    client.close()


def test_a_server_that_was_closed_is_closed_to_all(twin):
    server = aemtwin.serve(twin)
    with raw.connected(server.uri) as sock:
        server.close()
        assert raw.is_closed(sock)
    server.close()
    with pytest.raises(OSError):
        socket.create_connection(raw.address(server.uri), 1.0)
