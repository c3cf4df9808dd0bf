"""What is said over one connection of a server: a greeting, then calls and answers.

Frames are Pyro4's, and so are the serializers; what may come in is up to
`aemtwin.remote.guard`, and how many come in at all to `aemtwin.remote.door`.
"""

from __future__ import annotations

import itertools
import logging
import socket
import ssl
import time
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
RUDE_S = 0.01  # that nonsense waits for its answer: there may be a flood of it
AT_ONCE = 2**14  # bytes that the system takes without waiting for who reads them
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
    seq: int | None = None  # the number that it gave that call
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


class Speaker:
    """Speaks with who comes in: hears greetings and calls, and answers them.

    Args:
        target: The name of the one object that there is.
        methods: What it answers.
        answer: Called with session, method and arguments; gives builtins or raises.
        answered: Called with the method when what `answer` gave is on its way: when it
            was handed to the system, or before that if it is so large that somebody
            slow could make it wait.
        context: Of TLS, which everybody must then speak.
        met: Called with the certificate of who came in by it, and his name.
        serpent: Whether plain clients, which speak it, are served.
    """

    def __init__(
        self,
        target: str,
        methods: Sequence[str],
        answer: Answer,
        answered: Callable[[str], None] = lambda method: None,
        *,
        context: ssl.SSLContext | None = None,
        met: Callable[[Any, str], None] | None = None,
        serpent: bool = True,
    ) -> None:
        self._target, self._methods = target, list(methods)
        self._answer, self._answered = answer, answered
        self._context, self._met, self._serpent = context, met, serpent
        self._numbers = itertools.count(1)

    def deny(self, connection: Connection, why: str) -> None:
        """Tell somebody that there is no room, without reading a byte of his."""
        if self._context is None:
            with suppress(OSError):
                frame = _frame(MSGPACK, 0, f"denied: {why}", message.MSG_CONNECTFAIL)
                connection.send(frame, piece_s=0.1)

    def greet(self, connection: Connection, peer: str) -> tuple[Session, int]:
        """Hear the greeting; return who came, and the number of that frame.

        Raises:
            BadRequest: If it is none, after the other side was told so.
            OSError: If it did not come in time, or TLS failed.
        """
        until = time.monotonic() + GREETING_S
        caller, certificate = LOCAL, dict[str, Any]()
        if self._context is not None:
            connection.sock = secured = self._context.wrap_socket(
                connection.sock, server_side=True, do_handshake_on_connect=False
            )
            if connection.ended:  # it had just given way, with the socket from before
                raise Closed("It gave way to another.")
            secured.settimeout(GREETING_S)
            try:
                secured.do_handshake()
                certificate = secured.getpeercert() or {}
                caller = caller_of(certificate)
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
        if self._met is not None:
            self._met(certificate, caller.name)
        mine = said.get("handshake")
        mine = mine if isinstance(mine, dict) else {}
        client = str(mine.get("client", ""))[:64]
        connection.sealed = mine.get("sums") is True and serializer == MSGPACK
        if connection.sealed and not connection.intact:
            raise guard.BadFrame("A greeting was damaged on its way.")
        return Session(next(self._numbers), peer, caller, client, serializer), seq

    def welcome(self, connection: Connection, session: Session, seq: int) -> None:
        """Answer a greeting with what there is to call."""
        meta = {"methods": self._methods, "oneway": [], "attrs": []}
        hello = {"handshake": "hello", "meta": meta}
        kind, flags = message.MSG_CONNECTOK, message.FLAGS_META_ON_CONNECT
        serializer = session.serializer
        data, _ = get_serializer_by_id(serializer).serializeData(hello)
        connection.send(connection.head(kind, serializer, flags, seq, data), data)

    def converse(self, connection: Connection, session: Session) -> None:
        """Hear one call, and answer it.

        Raises:
            BadFrame: If it is none that may come in, after the other side was told so.
            OSError: If the connection ended.
        """

        def check(data: bytes) -> guard.Header:
            head = guard.header(data)
            try:
                return guard.request(head, serpent=self._serpent)
            except guard.BadFrame as error:
                self._raise(connection, session, head, error)
                raise

        head, payload = connection.receive(check, frame_s=FRAME_S)
        if head.type == message.MSG_PING:
            pong = guard.head(message.MSG_PING, 4, head.serializer, 0, head.seq)
            connection.send(pong + b"pong")
            return
        if session.client and head.seq == session.seq:  # ours counts its calls
            raise guard.BadFrame(f"Call {head.seq} came twice: it is done once.")
        session.serializer, session.seq = head.serializer, head.seq
        try:
            target, method, args, kwargs = guard.call(head.serializer, payload)
        except (BadRequest, WrongType) as error:
            time.sleep(RUDE_S)
            self._raise(connection, session, head, error)
            return
        try:
            self._reply(connection, session, head, (target, method, args, kwargs))
        finally:
            self._answered(method)

    def _reply(
        self,
        connection: Connection,
        session: Session,
        head: guard.Header,
        call: tuple[str, str, list[Any], dict[str, Any]],
    ) -> None:
        target, method, args, kwargs = call
        try:
            if target != self._target or method not in self._methods:
                raise AttributeError(
                    f"{self._target} has no call {method[:60]!r}; there are: "
                    f"{', '.join(self._methods)}."
                )
            answer = self._answer(session, method, args, kwargs)
            parts = _packed(connection, session, head, answer)
        except (AemtwinError, TypeError, AttributeError) as error:
            self._raise(connection, session, head, error)
        except Exception as error:
            log.exception("%s failed", method)
            said = f"the server failed ({type(error).__name__}: {error}); see its log"
            self._raise(connection, session, head, RuntimeError(said))
        else:
            if len(parts[-1]) > AT_ONCE:
                self._answered(method)
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
        data, _ = get_serializer_by_id(serializer).serializeData(told)
        kind, flags = message.MSG_RESULT, message.FLAGS_EXCEPTION
        begin = connection.head(kind, serializer, flags, head.seq, data)
        connection.send(begin, data)


def _packer() -> msgpack.Packer:
    return msgpack.Packer(use_bin_type=True, autoreset=False, buf_size=2**14)


def _packed(
    connection: Connection, session: Session, head: guard.Header, answer: Any
) -> tuple[bytes | memoryview, ...]:
    """Return the frame of an answer, in parts; the last until the next is packed."""
    if head.serializer != MSGPACK:
        return (_frame(head.serializer, head.seq, answer),)
    session.packer.reset()
    session.packer.pack(answer)
    data = session.packer.getbuffer()
    return connection.head(message.MSG_RESULT, MSGPACK, 0, head.seq, data), data


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
    frame: bytes = guard.head(kind, len(data), serializer, flags, seq) + data
    return frame
