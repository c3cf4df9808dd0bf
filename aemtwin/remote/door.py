"""The door of a server: how many may come in at a time, and who gives way.

A thread for each connection, and one that accepts them and does nothing else, so that
nobody who is silent or slow is in anybody's way. A connection has a few seconds to
greet, TLS included; of those that have not yet, the oldest gives way to the newest, of
the address that has most of them. One comes in at a time then, and not before those
that gave way have gone, so that a crowd takes up neither threads nor the processor. One
that greeted is not cut, however long it waits. Pyro4's own daemon is not used, because
it builds classes from what comes in, lists its objects to anybody, and reads from those
whom it denies. What is said inside is `aemtwin.remote.speaking`.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from aemtwin.errors import AemtwinError
from aemtwin.remote.connection import Connection
from aemtwin.remote.speaking import Session, Speaker

log = logging.getLogger(__name__)

GREETING_MOST = 32  # that have not greeted yet
LEAVING_MOST = 16  # that gave way, and whose threads have not ended yet
PACE_S = 1e-3  # from one of a crowd to the next, on the average
MOST, MOST_A_PEER = 256, 64  # connections in all, and of one address


class Door:
    """Accepts connections and has their calls answered.

    Args:
        listener: Bound and listening.
        speaker: Hears and answers what is said over one.
        came: Called with each session that greeted.
        left: Called with each of them that ended.
    """

    def __init__(
        self,
        listener: socket.socket,
        speaker: Speaker,
        *,
        came: Callable[[Session], None],
        left: Callable[[Session], None],
    ) -> None:
        self._listener, self._speaker = listener, speaker
        self._came, self._left = came, left
        self._lock = threading.Lock()
        self._greeting: dict[Connection, str] = {}  # oldest first
        self._leaving: set[Connection] = set()  # gave way
        self._inside: dict[Connection, str] = {}
        self._closed = False
        self._rude = False  # somebody was sent away since the last one came in
        self._warned = self._due = -math.inf
        self._thread = threading.Thread(
            target=self._accept, name="aemtwin door", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Accept nobody any more, and end all connections. Safe to call twice."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)
        with self._lock:
            there = [*self._greeting, *self._inside]
        for connection in there:
            connection.cut()

    @property
    def open(self) -> bool:
        """Whether it still accepts connections."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """Wait until it is closed, or for so long."""
        self._thread.join(timeout=timeout_s)

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if self._closed:
                    return
                log.warning("a connection could not be accepted: %s", error)
                time.sleep(0.05)  # out of descriptors, as a rule
                continue
            try:
                crowded = self._admit(sock, str(address[0]), address[1])
                if crowded or self._rude:  # who says nothing wrong comes in at once
                    self._rude = False
                    self._pause()
            except (OSError, RuntimeError) as error:  # it is gone, or no more threads
                log.warning("a connection could not be served: %s", error)
                sock.close()

    def _pause(self) -> None:
        """Let a crowd wait in the system for a moment, and those who leave go."""
        begin = time.monotonic()
        self._due = max(self._due, begin - 20 * PACE_S) + PACE_S  # sleeps are inexact
        while not self._closed:
            left = self._due - time.monotonic()
            if left <= 0 and len(self._leaving) <= LEAVING_MOST:
                return
            time.sleep(max(left, PACE_S / 10))

    def _admit(self, sock: socket.socket, host: str, port: int) -> bool:
        """Let one come in; return whether somebody had to stay out for that."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Connection(sock)
        with self._lock:
            mine = sum(where == host for where in self._inside.values())
            full = mine >= MOST_A_PEER or len(self._inside) >= MOST
            oldest = None
            if not full:
                if len(self._greeting) >= GREETING_MOST:
                    oldest = self._give_way()
                self._greeting[connection] = host
        if full:  # told without reading a byte of what it says
            self._deny(connection, f"there are {mine} connections from {host} already")
            return True
        if oldest is not None:
            oldest.cut()
        peer = f"{host}:{port}"
        try:
            threading.Thread(
                target=self._serve, args=(connection, host, peer), daemon=True
            ).start()
        except RuntimeError:
            with self._lock:
                self._greeting.pop(connection, None)
            raise
        return oldest is not None

    def _give_way(self) -> Connection:
        """Choose who has to: one crowd shall not drive out who comes from elsewhere."""
        most, _ = Counter(self._greeting.values()).most_common(1)[0]
        oldest = next(c for c, host in self._greeting.items() if host == most)
        del self._greeting[oldest]
        self._leaving.add(oldest)
        return oldest

    def _deny(self, connection: Connection, why: str) -> None:
        now = time.monotonic()
        if now - self._warned > 1.0:  # a flood shall not fill the log
            self._warned = now
            log.warning("a connection is denied: %s", why)
        self._speaker.deny(connection, why)
        connection.close()

    def _serve(self, connection: Connection, host: str, peer: str) -> None:
        session = None
        try:
            session, seq = self._speaker.greet(connection, peer)
            self._came(session)
            with self._lock:
                if self._greeting.pop(connection, None) is None:
                    return  # it had just given way to another
                self._inside[connection] = host
            self._speaker.welcome(connection, session, seq)
            while not self._closed:
                self._speaker.converse(connection, session)
        except (AemtwinError, OSError, ValueError) as error:
            self._rude |= session is None or isinstance(error, AemtwinError)
            log.debug("%s: %s", peer, error)
        except Exception:
            log.exception("the connection of %s ends by an error of the server", peer)
        finally:
            with self._lock:
                self._greeting.pop(connection, None)
                self._leaving.discard(connection)
                self._inside.pop(connection, None)
            connection.close()
            if session is not None:
                self._left(session)
