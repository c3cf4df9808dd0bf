"""The data channel of a server: bytes of large arrays by range, over ZeroMQ.

Whoever wants an array asks for its ranges, a few at a time, and asks again for what did
not come: nothing is pushed, so nothing piles up. One ROUTER socket answers all of them;
what is on its way to one is bounded, and to all of them together. Who is one too many,
or reads nothing of what he asked for, waits himself. `aemtwin.remote.pull` is the other
side, `aemtwin.remote.curve` says who is let in.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgpack
import zmq

from aemtwin.errors import AemtwinError, BadRequest, OutOfRange
from aemtwin.remote.curve import Admitted

log = logging.getLogger(__name__)

PIECE = 2**19  # bytes that are asked for at once, as a rule
MOST = 2**20  # and at most
CREDIT = 16  # pieces on their way to one who asks, as a rule
MOST_OF_ONE = 32  # and at most
MOST_OF_ALL = 2**26  # bytes on their way to all of them
REQUEST = 2048  # bytes of a request, at most
HEARD_MS = 100  # between two looks whether it is to end
GREETING_MS = 3000
ALIVE_MS, GONE_MS = 2000, 8000  # asked whether it is there; then its connection ends

Read = Callable[[str, int, int, int], bytes]


class Bulk:
    """Answers who asks for bytes, in a thread of this process.

    Args:
        read: Gives bytes by (rid, seq, offset, size); raises an `AemtwinError`.
        host: Where to listen.
        port: 0 for a free one.
        admitted: Whose keys are let in, by CURVE; None: everybody, without encryption.

    Attributes:
        endpoint: Where it is to be had, as clients of the same server are told.

    Raises:
        OutOfRange: If the port cannot be had.
    """

    def __init__(
        self, read: Read, host: str, port: int = 0, admitted: Admitted | None = None
    ) -> None:
        self._read, self._admitted = read, admitted
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._set_up(self._socket)
        if admitted is not None:
            admitted.guard(self._context, self._socket)
        shown = f"[{host}]" if ":" in host else host
        try:
            self._socket.bind(f"tcp://{shown}:{port or '*'}")
        except zmq.ZMQError as error:
            self._end()
            raise OutOfRange(
                f"serve cannot listen for data on {host}:{port} ({error}). Choose "
                "another --data-port, or 0 for a free one."
            ) from None
        told = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.endpoint = f"tcp://*:{told.rpartition(':')[2]}"
        self._away: list[tuple[zmq.MessageTracker, bytes, int]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name="aemtwin data", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more. Safe to call twice."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join(timeout=10)

    def _end(self) -> None:
        self._socket.close(0)
        if self._admitted is not None:
            self._admitted.close()
        self._context.destroy(0)

    @staticmethod
    def _set_up(socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, MOST_OF_ONE)
        socket.setsockopt(zmq.RCVHWM, MOST_OF_ONE)
        socket.setsockopt(zmq.MAXMSGSIZE, REQUEST)
        socket.setsockopt(zmq.HANDSHAKE_IVL, GREETING_MS)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ALIVE_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, GONE_MS)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # who is gone is told, not skipped
        socket.setsockopt(zmq.IPV6, 1)

    def _work(self) -> None:
        try:
            while not self._closed.is_set():
                try:
                    if self._socket.poll(HEARD_MS):
                        self._answer(self._socket.recv_multipart())
                except zmq.ZMQError as error:  # who asked is gone, or does not read
                    log.debug("data: %s", error)
                except Exception:
                    log.exception("a request for data failed")
        finally:
            self._end()

    def _answer(self, frames: list[bytes]) -> None:
        """Answer one request, or say why not; nonsense gets no answer."""
        if len(frames) != 2:
            return
        who, asked = frames
        try:
            said = msgpack.unpackb(asked, raw=False, max_map_len=16, max_array_len=0)
            n = said["n"]
            if type(n) is not int:
                return
        except (ValueError, KeyError, TypeError, msgpack.UnpackException):
            return
        try:
            head, data = self._found(who, said)
        except AemtwinError as error:
            head, data = {"error": [error.code, str(error)]}, b""
        # of what was heard, so that nobody takes it for what he asked if it is not
        packed = msgpack.packb({"n": n, "of": zlib.crc32(asked), **head})
        if not data:
            self._socket.send_multipart([who, packed, b""], zmq.NOBLOCK)
            return
        tracker = self._socket.send_multipart(
            [who, packed, data], zmq.NOBLOCK, copy=False, track=True
        )
        if tracker is not None:
            self._away.append((tracker, who, len(data)))

    def _found(self, who: bytes, said: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        rid, seq, size = said.get("rid"), said.get("seq"), said.get("size")
        if type(rid) is not str or type(seq) is not int or type(size) is not int:
            raise BadRequest("data is asked for by rid, seq, offset and size.")
        if not 0 <= size <= MOST:
            raise OutOfRange(
                f"{size} bytes of data were asked for at once; at most {MOST} are "
                "allowed. Ask for ranges of them."
            )
        if self._crowded(who, size):
            return {"busy": True}, b""
        data = self._read(rid, seq, said.get("offset", -1), size)
        head: dict[str, Any] = {}
        if said.get("check"):
            head["sha256"] = hashlib.sha256(data).digest()
            if head["sha256"] == said.get("have"):
                return {"same": True}, b""
        return head, data

    def _crowded(self, who: bytes, size: int) -> bool:
        """Say whether too much is on its way already, to this one or to all."""
        self._away = [one for one in self._away if not one[0].done]
        pieces = Counter(peer for _, peer, _ in self._away)
        there = sum(nbytes for _, _, nbytes in self._away)
        return pieces[who] >= MOST_OF_ONE or there + size > MOST_OF_ALL
