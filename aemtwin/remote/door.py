"""The door of a server: who may come in, how many at a time, and what they may ask.

A thread for each connection, and one that accepts them and does nothing else, so that
nobody who is silent or slow is in anybody's way. A connection has a few seconds to
greet, TLS included; of those that have not yet, the oldest gives way to the newest, of
the address that has most of them. One comes in at a time then, and not before those
that gave way have gone, so that a crowd takes up neither threads nor the processor. One
that greeted is not cut, however long it waits. Frames are Pyro4's, and so are the
serializers; Pyro4's own daemon is not used, because it builds classes from what comes
in, lists its objects to anybody, and reads from those whom it denies.
"""

from __future__ import annotations

import itertools
import logging
import math
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgpack
from Pyro4 import message
from Pyro4.util import get_serializer_by_id

from aemtwin.errors import AemtwinError, BadRequest, WrongType
from aemtwin.remote import guard
from aemtwin.remote.connection import FRAME_S, KEPT, Closed, Connection
from aemtwin.remote.guard import MSGPACK
from aemtwin.remote.keys import Caller, caller_of
from aemtwin.remote.wire import error_for_plain, error_to_wire

log = logging.getLogger(__name__)

GREETING_S = 3.0  # from being accepted to having greeted
GREETING_MOST = 32  # that have not greeted yet
LEAVING_MOST = 16  # that gave way, and whose threads have not ended yet
PACE_S = 1e-3  # from one of a crowd to the next, on the average
MOST, MOST_A_PEER = 256, 64  # connections in all, and of one address
NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
LOCAL = Caller("local", "admin")  # whoever reaches a loopback address without TLS


@dataclass(eq=False)
class Session:
    """One connection that greeted, as what it calls sees it."""

    number: int
    peer: str  # its address
    caller: Caller
    client: str = ""  # what its other connections say as well; "" of a plain client
    serializer: int = MSGPACK  # of the call that is being answered
    packer: msgpack.Packer = field(  # its memory is used again
        default_factory=lambda: _packer()
    )

    @property
    def plain(self) -> bool:
        """Whether it gets builtins alone."""
        return bool(self.serializer == guard.SERPENT)

    @property
    def who(self) -> str:
        """What others are told of it."""
        return f"{self.caller.name} at {self.peer}"


Answer = Callable[[Session, str, list[Any], dict[str, Any]], Any]


class Door:
    """Accepts connections and has their calls answered.

    Args:
        listener: Bound and listening.
        target: The name of the one object that there is.
        methods: What it answers.
        answer: Called with session, method and arguments; gives builtins or raises.
        came: Called with each session that greeted.
        left: Called with each of them that ended.
        context: Of TLS, which everybody must then speak.
        serpent: Whether plain clients, which speak it, are served.
    """

    def __init__(
        self,
        listener: socket.socket,
        target: str,
        methods: Sequence[str],
        answer: Answer,
        *,
        came: Callable[[Session], None],
        left: Callable[[Session], None],
        context: ssl.SSLContext | None = None,
        serpent: bool = True,
    ) -> None:
        self._listener, self._target, self._methods = listener, target, list(methods)
        self._answer, self._came, self._left = answer, came, left
        self._context, self._serpent = context, serpent
        self._lock = threading.Lock()
        self._greeting: dict[Connection, str] = {}  # oldest first
        self._leaving: set[Connection] = set()  # gave way
        self._inside: dict[Connection, str] = {}
        self._numbers = itertools.count(1)
        self._closed = False
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
                if self._admit(sock, str(address[0]), address[1]):
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
        if self._context is None:
            with suppress(OSError):
                frame = _frame(MSGPACK, 0, f"denied: {why}", message.MSG_CONNECTFAIL)
                connection.send(frame, piece_s=0.1)
        connection.close()

    def _serve(self, connection: Connection, host: str, peer: str) -> None:
        session = None
        try:
            session, seq = self._greet(connection, peer)
            self._came(session)
            with self._lock:
                if self._greeting.pop(connection, None) is None:
                    return  # it had just given way to another
                self._inside[connection] = host
            self._welcome(connection, session, seq)
            while not self._closed:
                self._converse(connection, session)
        except (AemtwinError, OSError, ValueError) as error:
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

    def _greet(self, connection: Connection, peer: str) -> tuple[Session, int]:
        """Hear the greeting; return who came, and the number of that frame."""
        until = time.monotonic() + GREETING_S
        caller = LOCAL
        if self._context is not None:
            connection.sock = secured = self._context.wrap_socket(
                connection.sock, server_side=True, do_handshake_on_connect=False
            )
            if connection.ended:  # it had just given way, with the socket from before
                raise Closed("It gave way to another.")
            secured.settimeout(GREETING_S)
            try:
                secured.do_handshake()
                caller = caller_of(secured.getpeercert() or {})
            except ssl.SSLError as error:
                sock = socket.socket(fileno=secured.detach())
                _tell_why(sock, plain=error.reason in NOT_TLS)
                connection.sock = sock
                raise
        left = until - time.monotonic()
        serializer, seq = MSGPACK, 0
        try:
            head, payload = connection.receive(
                lambda data: guard.greeting(guard.header(data), serpent=self._serpent),
                wait_s=left,
                frame_s=left,
            )
            serializer, seq = head.serializer, head.seq
            said = guard.decoded(serializer, payload)
            if not isinstance(said, dict) or said.get("object") != self._target:
                raise guard.BadFrame(f"unknown object; there is {self._target}")
        except (BadRequest, WrongType) as error:
            said = f"{error.code}: {error}"
            connection.send(_frame(serializer, seq, said, message.MSG_CONNECTFAIL))
            raise
        client = said.get("handshake")
        client = str(client.get("client", ""))[:64] if isinstance(client, dict) else ""
        return Session(next(self._numbers), peer, caller, client, serializer), seq

    def _welcome(self, connection: Connection, session: Session, seq: int) -> None:
        """Answer a greeting with what there is to call."""
        meta = {"methods": self._methods, "oneway": [], "attrs": []}
        hello = {"handshake": "hello", "meta": meta}
        kind, flags = message.MSG_CONNECTOK, message.FLAGS_META_ON_CONNECT
        connection.send(_frame(session.serializer, seq, hello, kind, flags))

    def _converse(self, connection: Connection, session: Session) -> None:
        """Hear one call, and answer it."""

        def check(data: bytes) -> guard.Header:
            head = guard.header(data)
            try:
                return guard.request(head, serpent=self._serpent)
            except guard.BadFrame as error:
                self._raise(connection, session, head, error)
                raise

        head, payload = connection.receive(check, frame_s=FRAME_S)
        if head.type == message.MSG_PING:
            pong = message.Message(
                message.MSG_PING, b"pong", head.serializer, 0, head.seq
            )
            connection.send(pong.to_bytes())
            return
        session.serializer = head.serializer
        method = ""
        try:
            target, method, args, kwargs = guard.call(head.serializer, payload)
            if target != self._target or method not in self._methods:
                raise AttributeError(
                    f"{self._target} has no call {method[:60]!r}; there are: "
                    f"{', '.join(self._methods)}."
                )
            answer = self._answer(session, method, args, kwargs)
            parts = _packed(session, head, answer)
        except (AemtwinError, TypeError, AttributeError) as error:
            self._raise(connection, session, head, error)
        except Exception as error:
            log.exception("%s failed", method)
            said = f"the server failed ({type(error).__name__}: {error}); see its log"
            self._raise(connection, session, head, RuntimeError(said))
        else:
            connection.send(*parts)
            if len(parts[-1]) > KEPT:
                session.packer = _packer()

    def _raise(
        self,
        connection: Connection,
        session: Session,
        head: guard.Header,
        error: Exception,
    ) -> None:
        serializer = head.serializer if head.serializer in guard.NAMES else MSGPACK
        ours = session.client and serializer == MSGPACK
        told = error_to_wire(error) if ours else error_for_plain(error)
        frame = _frame(serializer, head.seq, told, flags=message.FLAGS_EXCEPTION)
        connection.send(frame)


def _packer() -> msgpack.Packer:
    return msgpack.Packer(use_bin_type=True, autoreset=False, buf_size=2**14)


def _packed(
    session: Session, head: guard.Header, answer: Any
) -> tuple[bytes | memoryview, ...]:
    """Return the frame of an answer, in parts; the last until the next is packed."""
    if head.serializer != MSGPACK:
        return (_frame(head.serializer, head.seq, answer),)
    session.packer.reset()
    session.packer.pack(answer)
    data = session.packer.getbuffer()
    frame = message.Message(message.MSG_RESULT, b"", MSGPACK, 0, head.seq)
    frame.data_size = len(data)
    return frame.to_bytes(), data


def _tell_why(sock: socket.socket, *, plain: bool) -> None:
    """Let the other side hear why it is not let in.

    What it says meanwhile is thrown away: to close upon it would reset the connection,
    and take away what we, or TLS for us, said last.
    """
    with suppress(OSError):
        sock.settimeout(0.2)
        if plain:
            said = (
                "this server speaks TLS and lets in nobody without a certificate. Name "
                "the folder of yours (keys=, --keys, AEMTWIN_KEYS), or with plain "
                "Pyro4 set Pyro4.config.SSL and its three files"
            )
            sock.sendall(_frame(MSGPACK, 0, said, message.MSG_CONNECTFAIL))
        sock.shutdown(socket.SHUT_WR)
        for _ in range(4):
            if not sock.recv(guard.GREETING_BYTES):
                break


def _frame(
    serializer: int,
    seq: int,
    answer: Any,
    kind: int = message.MSG_RESULT,
    flags: int = 0,
) -> bytes:
    data, _ = get_serializer_by_id(serializer).serializeData(answer)
    frame: bytes = message.Message(kind, data, serializer, flags, seq).to_bytes()
    return frame
