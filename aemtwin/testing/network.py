"""A bad network between a client and a server: faults by a plan, at whole frames.

A `Network` listens on a loopback address and hands on what comes, frame by frame, both
ways; it knows the frames of Pyro4, of TLS and of ZeroMQ by their first byte. A `Fault`
says what happens to which of them (`aemtwin.testing.faults`). Besides, a network can be
far away: a delay, a rate, a share of frames that are lost and sent again, as TCP does.

>>> import aemtwin
>>> from aemtwin.testing.faults import Fault
>>> from aemtwin.testing.network import Network
>>> with aemtwin.serve(aemtwin.open_twin("pfm_loops")) as server:
...     with Network(server.uri, [Fault("client", 2, "cut")]) as network:
...         scope = aemtwin.connect(network.uri)
...         at = scope.move_to((1e-7, 1e-7), rid="r/1/move")  # asked twice, done once
...         scope.state().operations, network.struck
(1, [Fault(toward='client', frame=2, kind='cut', size=0.5)])
"""

from __future__ import annotations

import queue
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from aemtwin.errors import OutOfRange
from aemtwin.testing.faults import KINDS, LATE_S, RATE_BYTES_S, WAYS, Fault
from aemtwin.testing.frames import Frames

AGAIN_S = 0.2  # after which TCP sends again what was lost, beyond the round trip
WAITING = 256  # frames on their way; then the sender waits
_URI = re.compile(r"(?P<before>.*@|.*//)?(?P<host>\[.*\]|[^:\[\]]+):(?P<port>\d+)")


class Network:
    """Stands between clients and a server, in threads of this process.

    Args:
        uri: Of the server: "PYRO:name@host:port", or "tcp://host:port", "host:port".
        faults: What happens to which frame; one that never comes is left alone.
        delay_s: How long a frame takes, each way.
        rate_bytes_s: What each connection carries, each way; None: all.
        loss: The share of frames, 0 to 1, that are lost once and sent again, as TCP
            does it: what follows waits for them.
        seed: Which of them.
        late_s: What the times of faults are shares of; default: `LATE_S`.

    Attributes:
        uri: Of this end of the network: for clients.
        struck: The faults that happened so far, in their order.
        frames: How many came so far, by where they go.
    """

    def __init__(
        self,
        uri: str,
        faults: Iterable[Fault] = (),
        *,
        delay_s: float = 0.0,
        rate_bytes_s: float | None = None,
        loss: float = 0.0,
        seed: int = 0,
        late_s: float | None = None,
    ) -> None:
        found = _URI.search(uri)
        if found is None:
            raise OutOfRange(
                f"A network got {uri!r}, which tells no host and port. Give the URI "
                "that the server prints."
            )
        self._server = found["host"].strip("[]"), int(found["port"])
        self._due: dict[tuple[str, int], list[Fault]] = {}
        for fault in faults:
            self._due.setdefault((fault.toward, fault.frame), []).append(fault)
        self.delay_s, self.rate_bytes_s, self.loss = delay_s, rate_bytes_s, loss
        self.struck: list[Fault] = []
        self.frames = dict.fromkeys(WAYS, 0)
        self.late_s = LATE_S if late_s is None else late_s
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = self._listener.getsockname()[1]
        self.uri = uri.replace(found[0], f"{found['before'] or ''}127.0.0.1:{port}")
        self._thread = threading.Thread(
            target=self._accept, name="aemtwin network", daemon=True
        )
        self._thread.start()

    def cut(self) -> None:
        """End all connections that there are; new ones are let through."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.end()

    def close(self) -> None:
        """End all connections, and let nobody in. Safe to call twice."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5.0)
        self.cut()

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(self._server, timeout=5.0)
            except OSError:  # nobody there: the client sees it as it would without us
                near.close()
                continue
            far.settimeout(None)
            link = _Link(self, near, far)
            with self._lock:
                self._links.add(link)
            link.start()

    # What a link asks

    def strike(self, toward: str) -> tuple[list[Fault], float]:
        """Count a frame; return what happens to it, and how much later it comes."""
        with self._lock:
            faults = self._due.pop((toward, self.frames[toward]), [])
            self.frames[toward] += 1
            self.struck += faults
            late_s = self.delay_s
            if self.loss and self._dice.random() < self.loss:
                late_s += AGAIN_S + 2 * self.delay_s
        return faults, late_s

    def forget(self, link: _Link) -> None:
        """Note that a link ended."""
        with self._lock:
            self._links.discard(link)


class _Link:
    """One connection, both ways."""

    def __init__(
        self, network: Network, near: socket.socket, far: socket.socket
    ) -> None:
        self._network, self._near, self._far = network, near, far
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for toward, here, there in (
            ("server", self._near, self._far),
            ("client", self._far, self._near),
        ):
            line = _Line(self._network, toward, here, there, self.end)
            line.start()

    def end(self) -> None:
        for sock in (self._near, self._far):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self._network.forget(self)


class _Ends(Exception):
    """A fault ends the connection, after the bytes that it lets through."""


class _Line:
    """One way of one connection: one thread reads frames, one sends them when due."""

    def __init__(
        self,
        network: Network,
        toward: str,
        here: socket.socket,
        there: socket.socket,
        end: Callable[[], None],
    ) -> None:
        self._network, self._toward = network, toward
        self._here, self._there, self._end = here, there, end
        self._rate = network.rate_bytes_s
        self._over = False
        self._on_its_way: queue.Queue[tuple[float, bytes, list[Fault]] | None]
        self._on_its_way = queue.Queue(WAITING)

    def start(self) -> None:
        for work in (self._read, self._write):
            threading.Thread(target=work, name="aemtwin network", daemon=True).start()

    def _read(self) -> None:
        due, frames = 0.0, Frames(self._here)
        with suppress(OSError):
            while not self._over and (frame := frames.next()):
                faults, late_s = self._network.strike(self._toward)
                due = max(due, time.monotonic() + late_s)  # in order
                self._put((due, frame, faults))
        self._put(None)

    def _put(self, item: tuple[float, bytes, list[Fault]] | None) -> None:
        while not self._over:
            with suppress(queue.Full):
                self._on_its_way.put(item, timeout=0.1)
                return

    def _write(self) -> None:
        with suppress(OSError, _Ends):
            while (item := self._on_its_way.get()) is not None:
                self._carry(*item)
        self._over = True
        self._end()

    def _carry(self, due: float, frame: bytes, faults: list[Fault]) -> None:
        time.sleep(max(due - time.monotonic(), 0.0))
        for fault in sorted(faults, key=lambda f: list(KINDS).index(f.kind)):
            frame = self._faulty(frame, fault)
        self._send(frame)

    def _faulty(self, frame: bytes, fault: Fault) -> bytes:
        at = min(int(fault.size * len(frame)), len(frame) - 1)
        if fault.kind == "cut":
            raise _Ends
        if fault.kind == "tear":
            self._send(frame[:at])
            raise _Ends
        if fault.kind == "delay":
            time.sleep(fault.size * self._network.late_s)
        elif fault.kind == "drip":
            for k in range(len(frame) - 1):
                self._send(frame[k : k + 1])
                time.sleep(fault.size * self._network.late_s / len(frame))
            return frame[-1:]
        elif fault.kind == "duplicate":
            self._send(frame)
        elif fault.kind == "reorder":
            with suppress(queue.Empty):
                following = self._on_its_way.get(timeout=self._network.late_s)
                if following is None:
                    raise _Ends
                self._carry(*following)
        elif fault.kind == "corrupt":
            return frame[:at] + bytes([frame[at] ^ 1 << at % 8]) + frame[at + 1 :]
        elif fault.kind == "slow":
            self._rate = min(self._rate or RATE_BYTES_S, RATE_BYTES_S)
        return frame

    def _send(self, data: bytes) -> None:
        if self._rate is None:
            self._there.sendall(data)
            return
        step = max(int(self._rate / 100), 1)
        for begin in range(0, len(data), step):
            piece = data[begin : begin + step]
            self._there.sendall(piece)
            time.sleep(len(piece) / self._rate)
