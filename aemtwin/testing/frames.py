"""Where frames begin and end, in what comes over a connection."""

from __future__ import annotations

import socket
import struct

PYRO = struct.Struct("!4s8xi2xH4x")  # tag, length of the data, of annotations
ZEROMQ, GREETING = 0xFF, 64  # what its greeting begins with, and its bytes
TLS = frozenset((0x14, 0x15, 0x16, 0x17))  # kinds of records


class Frames:
    """What comes over a connection, frame by frame.

    What is none of Pyro4, TLS or ZeroMQ comes in the pieces in which it is read.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._held = sock, b""
        self._greeting = GREETING  # bytes that there are to come of ZeroMQ's

    def next(self) -> bytes:
        """Return the next frame, or what there is of it; b"" when all is over.

        Raises:
            OSError: If the connection breaks.
        """
        if not self._some(1):
            return b""
        size = self._size()
        self._some(size)
        frame, self._held = self._held[:size], self._held[size:]
        if frame[0] == ZEROMQ or self._greeting < GREETING:
            self._greeting -= min(len(frame), self._greeting)
        return frame

    def _some(self, size: int) -> bool:
        """Read until so many bytes are there; return whether they are."""
        while len(self._held) < size:
            piece = self._sock.recv(max(size - len(self._held), 2**16))
            if not piece:
                return False
            self._held += piece
        return True

    def _size(self) -> int:
        """Return the size of the frame that begins."""
        first = self._held[0]
        if not self._greeting and self._some(9 if first & 2 else 2):
            long = int.from_bytes(self._held[1:9]) + 9
            return long if first & 2 else self._held[1] + 2
        if first == ZEROMQ or 0 < self._greeting < GREETING:
            return min(len(self._held), self._greeting)  # both wait within theirs
        if first in TLS and self._some(5):
            return int.from_bytes(self._held[3:5]) + 5
        if first == ord("P") and self._some(PYRO.size) and self._held[:4] == b"PYRO":
            _, size, ignored = PYRO.unpack_from(self._held)
            return int(PYRO.size + max(size, 0) + ignored)
        return len(self._held)
