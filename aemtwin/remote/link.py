"""One connection to a data channel: asks for ranges until all of them are there.

So many pieces are on their way at once as there is credit for; each that comes makes
room for the next. Where nothing comes for a while, or the server is another by now, the
connection is made anew, and what did not come is asked for again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import zmq

from aemtwin.errors import AemtwinError, Unreachable, by_code
from aemtwin.remote import curve
from aemtwin.remote.bulk import ALIVE_MS, CREDIT, GONE_MS, MOST

log = logging.getLogger(__name__)

SILENT_S = 2.0  # without a piece: then what did not come is asked for again
BUSY_S = 0.05  # before asking again a server that has too much on its way
GREETING_S = 1.0  # to be let in
PAUSES_S = (0.02, 0.05, 0.1, 0.2)  # after connections that ended before that


@dataclass
class Ranges:
    """What is asked for."""

    missing: dict[int, int]  # offset -> bytes; what came is taken out
    check: bool = False  # whether each piece comes with its hash
    have: Callable[[int, int], Any] | None = None  # what we have: sent only if not so


class Link:
    """A connection, made when it is needed; for one thread at a time.

    Args:
        where: Says where the data channel is, and its key ("" without encryption);
            called with True where it may have moved.
        folder: Of our keys, if any.
        timeout_s: How long nothing may come in all.
    """

    def __init__(
        self,
        where: Callable[[bool], tuple[str, str]],
        *,
        folder: Path | None,
        timeout_s: float,
    ) -> None:
        self._where, self._folder, self._timeout_s = where, folder, timeout_s
        # one for all: the end of one of its own would wait for sockets that are lost
        self._context: zmq.Context[Any] = zmq.Context.instance()
        self._socket: zmq.Socket[bytes] | None = None
        self._numbers = itertools.count(1)
        self._silent_s, self._gap_s = SILENT_S, 0.0
        self.asked = 0  # pieces, so far

    def pull(
        self, rid: str, seq: int, ranges: Ranges, put: Callable[[int, Any], None]
    ) -> None:
        """Have ranges of an array.

        Raises:
            AccessRefused: If we are not let in.
            Unreachable: If nothing came for `timeout_s`, or nobody was there at first.
            AemtwinError: What the server says.
        """
        until, first = time.monotonic() + self._timeout_s, self._socket is None
        again = False
        while ranges.missing:
            before = len(ranges.missing)
            try:
                if self._socket is None:
                    self._connect(again=again)
                first = False
                self._round(rid, seq, ranges, put)
            except Unreachable:
                self._drop()
                came = len(ranges.missing) < before
                if first:
                    raise  # never there: somebody else has to carry it
                # one piece may take that long where the way is narrow
                self._silent_s = min(2 * self._silent_s, self._timeout_s)
                if came:
                    until = time.monotonic() + self._timeout_s
                elif time.monotonic() >= until:
                    raise
                else:
                    time.sleep(BUSY_S)
                again = True

    def close(self) -> None:
        """Close it; it is not used again."""
        self._drop()

    def _connect(self, *, again: bool) -> None:
        where, key = self._where(again)
        for pause_s in PAUSES_S:
            socket = self._context.socket(zmq.DEALER)
            try:
                self._set_up(socket)
                if key:
                    curve.secure(socket, key, self._folder)
                if curve.let_in(socket, where, GREETING_S):
                    self._socket = socket
                    return
                socket.close(0)
            except zmq.ZMQError as error:
                socket.close(0)
                raise Unreachable(
                    f"The data channel at {where!r} cannot be reached ({error})."
                ) from None
            except AemtwinError:
                socket.close(0)
                raise
            time.sleep(pause_s)
        if key:  # who has another key than we believe ends the connection each time
            raise curve.refused(where)
        raise Unreachable(f"The data channel at {where!r} ends each connection.")

    @staticmethod
    def _set_up(socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 2 * CREDIT)
        socket.setsockopt(zmq.MAXMSGSIZE, 2 * MOST)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ALIVE_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, GONE_MS)
        socket.setsockopt(zmq.IPV6, 1)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    def _round(
        self, rid: str, seq: int, ranges: Ranges, put: Callable[[int, Any], None]
    ) -> None:
        """Ask for all that is missing; end when it came, or nothing comes any more."""
        assert self._socket is not None
        # number of a question -> offset, checksum of what was asked
        under_way: dict[int, tuple[int, int]] = {}
        waiting = list(reversed(ranges.missing))
        while waiting or under_way:
            while waiting and len(under_way) < CREDIT:
                offset = waiting.pop()
                n = next(self._numbers)
                under_way[n] = offset, self._ask(n, rid, seq, offset, ranges)
            begin = time.monotonic()
            if not self._socket.poll(int(self._silent_s * 1000)):
                raise Unreachable(
                    f"The data channel said nothing for {self._silent_s:g} s."
                )
            # as patient as this way has needed of late
            self._gap_s = max(0.9 * self._gap_s, time.monotonic() - begin)
            self._silent_s = max(SILENT_S, min(4 * self._gap_s, self._timeout_s))
            frames = self._socket.recv_multipart(copy=False)
            head = _head(frames)
            if head is None or head.get("n") not in under_way:
                continue  # damaged on its way: it is missed after a while
            offset, asked = under_way.pop(head["n"])
            if head.get("of") != asked:  # the question was damaged on its way
                waiting.append(offset)
            elif "error" in head:
                raise _error(head["error"])
            elif head.get("busy"):
                time.sleep(BUSY_S)
                waiting.append(offset)
            elif head.get("same"):
                ranges.missing.pop(offset)
            elif _whole(head, frames[1].buffer, ranges, offset):
                put(offset, frames[1].buffer)
                ranges.missing.pop(offset)
            else:
                waiting.append(offset)

    def _ask(self, n: int, rid: str, seq: int, offset: int, ranges: Ranges) -> int:
        """Ask for a piece; return the checksum of the question."""
        assert self._socket is not None
        size = ranges.missing[offset]
        said = {"n": n, "rid": rid, "seq": seq, "offset": offset, "size": size}
        if ranges.check:
            said["check"] = True
        if ranges.have is not None:
            said["have"] = hashlib.sha256(ranges.have(offset, size)).digest()
        asked: bytes = msgpack.packb(said)
        try:
            self._socket.send(asked, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise Unreachable(
                f"The data channel takes no more questions ({error})."
            ) from None
        self.asked += 1
        return zlib.crc32(asked)


def _head(frames: list[zmq.Frame]) -> dict[str, Any] | None:
    if len(frames) != 2:
        return None
    try:
        head = msgpack.unpackb(frames[0].buffer, raw=False, max_map_len=16)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return head if isinstance(head, dict) else None


def _whole(head: dict[str, Any], data: Any, ranges: Ranges, offset: int) -> bool:
    """Say whether a piece is what was asked for, as far as it tells."""
    if len(data) != ranges.missing[offset]:
        return False
    return not ranges.check or hashlib.sha256(data).digest() == head.get("sha256")


def _error(said: Any) -> AemtwinError:
    code, message = str(said[0]), str(said[1])
    return by_code().get(code, Unreachable)(message)
