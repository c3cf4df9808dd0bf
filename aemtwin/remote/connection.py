"""A socket that carries frames: patient between them, not within one.

Both sides use it. What is counted is the time since a frame began, and from one piece
of it to the next: who waits for an answer, or has nothing to ask, is not cut.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import time
from contextlib import suppress

from aemtwin.remote import guard

FRAME_S = 10.0  # for a frame, once it has begun
PIECE = 1 << 20  # bytes that are sent at a time
KEPT = 1 << 22  # room that is kept for the next frame
FIRST = 8192  # bytes that are asked for at once: a whole request, as a rule


class Closed(ConnectionError):
    """The other side has closed the connection, or it broke."""


class Silent(TimeoutError):
    """The other side said nothing in the time that it had."""


class Connection:
    """One connection; one thread at a time reads from it, one writes.

    Args:
        sock: Connected; with TLS or without.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._held = b""  # came with the last frame, and belongs to the next
        self.begun = False  # a frame is being received
        self._room = bytearray()  # that frames are received into, one after the other
        self._limit_s = math.nan  # that the socket has
        self.ended = False  # by us
        self.sealed = False  # whether every frame has a checksum
        self.intact = False  # whether the last that came had one

    def receive(
        self,
        check: guard.Check,
        *,
        wait_s: float | None = None,
        frame_s: float = math.inf,
    ) -> tuple[guard.Header, memoryview]:
        """Return the next frame, its payload unread if its head is refused.

        The payload is there until the next call: take what is needed out of it.

        Args:
            check: Looks at the head; raises where no more of it shall be read.
            wait_s: How long it may be until it begins; None: for ever.
            frame_s: How long it may take from there; whatever that is, none of its
                pieces may take longer than `FRAME_S`.

        Raises:
            Closed: If the connection ended.
            Silent: If the time is over.
            BadFrame: If it was damaged on its way, or has no checksum and should.
        """
        self.begun = bool(self._held)
        patience = math.inf if wait_s is None else time.monotonic() + wait_s
        data = self._held or self._some(patience)
        self.begun = True
        until = time.monotonic() + frame_s
        # before anything is made of a head: its size may be wrong
        least = guard.BEGIN if self.sealed else guard.HEADER
        while len(data) < least:
            data += self._some(min(until, time.monotonic() + FRAME_S))
        said = guard.seal(data) if self.sealed else None
        if self.sealed and said is None:
            raise guard.BadFrame("A frame has no checksum, or was damaged in it.")
        head = check(data[: guard.HEADER])
        begin = guard.HEADER + head.ignored
        size = begin + head.size
        if len(data) < size:
            whole = self._rest(data, size, until)
            self._held = b""
        else:
            whole, self._held = memoryview(data)[:size], data[size:]
        payload = whole[begin:]
        if said is None and begin == guard.BEGIN:  # a greeting may have one
            said = guard.seal(bytes(whole[:begin]))
        if said is not None:
            guard.require_seal(head, said, payload)
        self.intact = said is not None
        return head, payload

    def send(self, *parts: bytes | memoryview, piece_s: float = FRAME_S) -> None:
        """Send all of them, each piece in `piece_s` at most.

        Raises:
            Closed: If the connection ended.
            Silent: If the other side does not read.
        """
        if sum(map(len, parts)) <= FIRST:
            parts = (b"".join(parts),)
        try:
            self._limit(piece_s)
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[self.sock.send(view[:PIECE]) :]
        except TimeoutError:
            raise Silent(f"Nothing could be sent for {piece_s:g} s.") from None
        except OSError as error:
            raise Closed(str(error)) from error

    def head(
        self, kind: int, serializer: int, flags: int, seq: int, data: bytes | memoryview
    ) -> bytes:
        """Return the head of a frame that is to be sent; see `guard.sealed`."""
        if self.sealed:
            return guard.sealed(kind, serializer, flags, seq, data)
        return guard.head(kind, len(data), serializer, flags, seq)

    def _some(self, until: float) -> bytes:
        """Return what comes next, before a time on the monotonic clock."""
        while True:
            left = until - time.monotonic()
            try:
                self._limit(left)
                data = self.sock.recv(FIRST)
                break
            except TimeoutError:
                if time.monotonic() >= until:
                    raise Silent("Nothing came in time.") from None
            except OSError as error:
                raise Closed(str(error)) from error
        if not data:
            raise Closed("The other side closed the connection.")
        return data

    def _limit(self, seconds: float) -> None:
        """Let the socket wait about so long; asking the system for it is not free."""
        seconds = min(max(seconds, 1e-3), FRAME_S)
        if not 0.99 * seconds <= self._limit_s <= 1.01 * seconds:  # also at first
            self.sock.settimeout(seconds)
            self._limit_s = seconds

    def _rest(self, data: bytes, size: int, until: float) -> memoryview:
        """Receive the rest of a frame."""
        if size > KEPT:  # room is made as it comes, not as somebody says it will
            self._room = bytearray(data)
        elif size > len(self._room):
            self._room = bytearray(size)
        have = len(data)
        self._room[:have] = data
        while have < size:
            if have == len(self._room):
                self._room.extend(bytes(min(size - have, have)))
            try:
                self._limit(until - time.monotonic())
                with memoryview(self._room) as room:
                    count = self.sock.recv_into(room[have:size])
            except TimeoutError:
                raise Silent(f"A frame ended after {have} of {size} bytes.") from None
            except OSError as error:
                raise Closed(str(error)) from error
            if not count:
                raise Closed(f"A frame ended after {have} of {size} bytes.")
            have += count
        frame = memoryview(self._room)[:size]
        if len(self._room) > KEPT:
            self._room = bytearray()
        return frame

    def cut(self) -> None:
        """End it from another thread: the one that waits in `receive` gets `Closed`.

        That one closes the socket too. Until then its number is not given to another
        connection, of which TLS would read on.
        """
        self.ended = True
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # and TLS left alone

    def close(self) -> None:
        """End it and give the socket back."""
        self.cut()
        with suppress(OSError):
            self.sock.close()


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
