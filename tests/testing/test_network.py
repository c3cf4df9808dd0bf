"""A bad network: it does what its plan says, to whole frames, and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import find, settings

import aemtwin
from aemtwin.errors import OutOfRange, UnknownName
from aemtwin.remote import guard
from aemtwin.testing import network
from aemtwin.testing.faults import KINDS, Fault, plans, seeded
from aemtwin.testing.frames import Frames
from aemtwin.testing.network import Network
from tests.remote.bench import Bench, Hardware, value_of
from tests.small import small_twin

WORDS = [b"first", b"second", b"third"]


def pyro(payload: bytes) -> bytes:
    return guard.head(4, len(payload), guard.MSGPACK, 0, 1) + payload


def tls(payload: bytes) -> bytes:
    return b"\x17\x03\x03" + len(payload).to_bytes(2) + payload


class Echo:
    """Sends back what it gets; over one connection after the other."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with sock:
            try:
                while data := sock.recv(65536):
                    sock.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo():
    one = Echo()
    yield one
    one.close()


def through(uri: str, *frames: bytes, within_s: float = 5.0) -> bytes:
    """What comes back of frames: all of it, or what there is when the connection ends.

    A frame of its own says that there is nothing more to come.
    """
    host, port = uri.split(":")
    end, got = pyro(b"the end"), b""
    with socket.create_connection((host, int(port)), within_s) as sock:
        with suppress(ConnectionError):
            for frame in (*frames, end):
                sock.sendall(frame)
                time.sleep(0.01)  # each is a frame of its own on the way back, too
        with suppress(ConnectionError):
            while end not in got and (piece := sock.recv(65536)):
                got += piece
    return got.removesuffix(end)


def test_without_a_plan_everything_passes(echo):
    with Network(echo.uri) as net:
        sent = [*map(pyro, WORDS), pyro(bytes(300_000)), tls(b"record"), b"hello\n"]
        assert through(net.uri, *sent) == b"".join(sent)
        assert net.frames == {"server": 7, "client": 7}
        assert net.struck == []


@pytest.mark.parametrize(
    ("kind", "comes"),
    [
        ("cut", [0]),
        ("tear", [0, "half of 1"]),
        ("delay", [0, 1, 2]),
        ("drip", [0, 1, 2]),
        ("duplicate", [0, 1, 1, 2]),
        ("reorder", [0, 2, 1]),
        ("slow", [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("toward", ["server", "client"])
def test_each_fault_does_to_its_frame_what_it_says(echo, kind, comes, toward):
    frames = [*map(pyro, WORDS)]
    halved = frames[1][: len(frames[1]) // 2]
    want = b"".join(halved if i == "half of 1" else frames[i] for i in comes)
    fault = Fault(toward, 1, kind)
    with Network(echo.uri, [fault]) as net:
        got = through(net.uri, *frames)
        if (kind, toward) == ("tear", "server"):  # half a frame has no answer
            got += want[len(got) :] if len(got) >= len(frames[0]) else b"?"
        assert got == want
        assert net.struck == [fault]


def test_a_corrupt_frame_has_one_bit_wrong(echo):
    sent = pyro(b"payload")
    with Network(echo.uri, [Fault("server", 0, "corrupt", 0.9)]) as net:
        got = through(net.uri, sent)
    wrong = [(a ^ b).bit_count() for a, b in zip(sent, got, strict=True)]
    assert (sum(wrong), wrong.index(1)) == (1, int(0.9 * len(sent)))


def test_a_network_far_away_delays_and_carries_so_much(echo):
    with Network(echo.uri, delay_s=0.05) as net:
        begin = time.monotonic()
        through(net.uri, pyro(b"x"))
        assert time.monotonic() - begin >= 0.1  # there and back
    with Network(echo.uri, rate_bytes_s=1_000_000) as net:
        begin = time.monotonic()
        through(net.uri, pyro(bytes(200_000)))
        assert time.monotonic() - begin >= 0.2
    with Network(echo.uri, loss=1.0) as net:
        begin = time.monotonic()
        assert through(net.uri, pyro(b"x")) == pyro(b"x")  # it is sent again
        assert time.monotonic() - begin >= 2 * network.AGAIN_S


def test_a_server_that_is_gone_is_nobody(echo):
    echo.close()
    with Network(echo.uri) as net:
        assert through(net.uri, pyro(b"x")) == b""


@pytest.mark.parametrize(
    "sizes", [[5], [300], [0, 1, 255], [256, 70_000, 3]], ids=lambda sizes: str(sizes)
)
def test_frames_of_zeromq_are_known_by_its_greeting(sizes):
    greeting = b"\xff" + bytes(8) + b"\x7f\x03" + bytes(53)
    frames = [greeting]
    for size in sizes:
        long = size > 255
        head = bytes([2]) + size.to_bytes(8) if long else bytes([0, size])
        frames.append(head + bytes([1]) * size)
    assert cut_up(b"".join(frames)) == frames


@pytest.mark.parametrize("make", [pyro, tls])
def test_frames_are_whole_however_they_come(make):
    frames = [make(word) for word in WORDS]
    assert cut_up(b"".join(frames)) == frames
    assert cut_up(b"".join(frames), piece=1) == frames
    assert cut_up(b"".join(frames)[:-1]) == [*frames[:-1], frames[-1][:-1]]


def cut_up(data: bytes, piece: int = 65536) -> list[bytes]:
    here, there = socket.socketpair()

    def send() -> None:
        with there:
            for begin in range(0, len(data), piece):
                there.sendall(data[begin : begin + piece])

    threading.Thread(target=send).start()
    found, frames = [], Frames(here)
    with here:
        while frame := frames.next():
            found.append(frame)
    return found


def test_a_plan_of_a_seed_is_the_same_again_and_of_another_is_not():
    assert seeded(1, 50, frames=100) == seeded(1, 50, frames=100)
    assert seeded(1, 50, frames=100) != seeded(2, 50, frames=100)
    assert {fault.kind for fault in seeded(1, 200, frames=100)} == set(KINDS)


def test_a_plan_that_does_harm_shrinks_to_the_fault_that_matters():
    def harm(plan):
        return any(f.kind == "duplicate" and f.toward == "client" for f in plan)

    found = find(plans(50), harm, settings=settings(database=None, derandomize=True))
    assert [(f.kind, f.toward, f.frame) for f in found] == [("duplicate", "client", 0)]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (("both", 0, "cut"), UnknownName, "no way 'both'"),
        (("client", 0, "loose"), UnknownName, "no fault 'loose'"),
        (("client", -1, "cut"), OutOfRange, "counted from 0"),
        (("client", 0, "cut", 1.5), OutOfRange, "from 0 to 1"),
        (("client", 0, "cut", float("nan")), OutOfRange, "from 0 to 1"),
    ],
)
def test_a_fault_that_cannot_be_is_said(given, error, says):
    with pytest.raises(error, match=says):
        Fault(*given)


@pytest.mark.parametrize("uri", ["PYRO:a@{}", "tcp://{}", "{}"])
def test_its_address_is_written_as_that_of_the_server(echo, uri):
    with Network(uri.format(echo.uri)) as net:
        host, port = net.uri.rsplit(":", 1)
        assert host + ":" == uri.format("127.0.0.1:")
        assert port != echo.uri.rsplit(":", 1)[1]


def test_a_network_to_nowhere_is_said():
    with pytest.raises(OutOfRange, match="tells no host and port"):
        Network("PYRO:Instrument_Server")


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_measurement_is_made_once_whatever_the_network_does(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setattr(network, "LATE_S", 0.05)
    hardware = Hardware()
    bench = Bench(hardware.port, tmp_path / "ledger.sqlite")
    plan = seeded(3, 20, frames=100, kinds=[kind])
    with aemtwin.serve(bench) as server, Network(server.uri, plan) as net:
        scope = aemtwin.connect(net.uri, timeout_s=20.0)
        scope.lease(10.0, "drill")
        for k in range(40):
            found = scope.measure(rid=f"r/{k}/measure")
            assert np.array_equal(found.values, value_of(f"r/{k}/measure"))
        scope.close()
        assert len(net.struck) >= 5
    assert set(hardware.exposures.values()) == {1}
    assert len(hardware.exposures) == 40
    hardware.close()


@pytest.mark.parametrize("kind", ["cut", "tear", "corrupt"])
@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("toward", ["server", "client"])
def test_a_network_that_breaks_at_the_first_word_is_tried_again(kind, frame, toward):
    twin = small_twin()
    with aemtwin.serve(twin) as server:
        with Network(server.uri, [Fault(toward, frame, kind, 0.7)]) as net:
            scope = aemtwin.connect(net.uri, timeout_s=10.0)
            assert scope.describe() == twin.describe()
            assert len(net.struck) == 1
            scope.close()
    twin.close()


@pytest.mark.parametrize("toward", ["server", "client"])
@pytest.mark.parametrize("bit", range(0, 100, 3))
def test_a_frame_with_one_wrong_bit_is_never_taken_for_another(bit, toward):
    twin = small_twin(ideal=True)
    with aemtwin.serve(twin) as server:
        plan = [Fault(toward, k, "corrupt", bit / 100) for k in (2, 4, 7)]
        with Network(server.uri, plan) as net:
            scope = aemtwin.connect(net.uri, timeout_s=10.0)
            for k in range(4):
                at = twin.describe().bounds[0][1] * k / 4, 0.0
                assert scope.move_to(at, rid=f"r/{k}/move").tolist() == list(at)
            assert [e["rid"] for e in scope.events()] == [
                f"r/{k}/move" for k in range(4)
            ]
            scope.close()
    twin.close()


def test_a_lease_whose_answer_was_lost_is_not_in_the_way_of_its_holder():
    twin = small_twin()
    plan = [Fault("client", 2, "cut")]  # after a greeting and a description
    with aemtwin.serve(twin) as server, Network(server.uri, plan) as net:
        scope = aemtwin.connect(net.uri, timeout_s=10.0)
        assert scope.lease(60.0, "me").fence == 2
        assert net.struck == plan
        scope.move_to((0.0, 0.0), rid="r/1/move")
        scope.close()
    twin.close()
