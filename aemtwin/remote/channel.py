"""A connection to a server, from the side of who calls.

It greets, sends a call and waits for its answer, in Pyro4's frames by msgpack. What is
asked again after a connection broke is up to `aemtwin.remote.client`.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
import Pyro4
import Pyro4.errors
from Pyro4 import message

from aemtwin.errors import (
    AccessRefused,
    AemtwinError,
    OutOfRange,
    Unreachable,
    WrongType,
)
from aemtwin.remote import guard
from aemtwin.remote.connection import Closed, Connection, Silent, is_loopback
from aemtwin.remote.wire import error_from_wire

SAID = (ssl.SSLError, ConnectionError)  # by who does not let us in, over TLS
ROOM_BYTES = 2**20  # for what comes; farther away the system fits it to the way


class Nobody(Closed):
    """Nobody listens there."""


class Address:
    """Where an object is: "PYRO:Instrument_Server@host:port".

    Raises:
        Unreachable: If the text is no such address.
    """

    def __init__(self, uri: str) -> None:
        try:
            found = Pyro4.URI(uri)
            if found.protocol != "PYRO" or found.host is None:
                raise Pyro4.errors.PyroError("no name server is asked, no socket file")
        except (Pyro4.errors.PyroError, TypeError, AttributeError) as error:
            raise Unreachable(
                f"{uri!r} is not the address of an instrument ({error}). It looks like "
                "PYRO:Instrument_Server@127.0.0.1:9090; `aemtwin serve` prints it."
            ) from None
        self.target, self.host, self.port = found.object, found.host, found.port


class Channel:
    """Calls to one object, one after the other; opened when it is needed.

    Args:
        address: Where the object is.
        client: What the connections of one client have in common: a secret.
        context: Of TLS; None without.
        explain: Makes the error of a handshake that was refused.
    """

    def __init__(
        self,
        address: Address,
        client: str,
        context: ssl.SSLContext | None = None,
        explain: Callable[[OSError], Exception] | None = None,
    ) -> None:
        self._address, self._client = address, client
        self._context, self._explain = context, explain
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._seq = 0

    def call(
        self,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> Any:
        """Return what the object answers, or raise what it raised.

        Args:
            method: The name of the call.
            args: Builtins.
            kwargs: Builtins by name.
            timeout_s: How long it may say nothing; None: for ever.
            meanwhile: Called when it has said nothing for so long, instead of giving
                up; to give up, raise.

        Raises:
            Closed: If nobody is there, or the connection broke.
            Silent: If nothing is said for so long.
            AccessRefused: If we are not let in.
            OutOfRange: If the call is too large to be sent.
        """
        asked = (self._address.target, method, args, kwargs or {})
        try:
            data = msgpack.packb(asked, default=_complex)
        except (OverflowError, TypeError, ValueError) as error:
            raise WrongType(
                f"{method} got something that cannot be sent ({error}). Give numbers, "
                "strings, lists and arrays of numbers."
            ) from None
        most = guard.REQUEST_BYTES[guard.MSGPACK]
        if len(data) > most:
            raise OutOfRange(
                f"{method} takes {len(data)} bytes to be asked for, and the control "
                f"channel carries {most}. Ask in parts: of a trace about 3400 points "
                "at a time."
            )
        with self._lock:
            return self._asked(data, timeout_s, meanwhile)

    def close(self) -> None:
        """End the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter ends, and half of it is gone
            return

    def _asked(
        self,
        data: bytes,
        timeout_s: float | None,
        meanwhile: Callable[[], object] | None,
    ) -> Any:
        until = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            if self._connection is None:
                self._connection = self._open(timeout_s)
            self._seq = (self._seq + 1) & 0xFFFF
            head = self._connection.head(
                message.MSG_INVOKE, guard.MSGPACK, 0, self._seq, data
            )
            self._connection.send(head, data)
            left = None if until is None else max(until - time.monotonic(), 1e-3)
            while True:
                try:
                    got, payload = self._connection.receive(guard.header, wait_s=left)
                    break
                except Silent:
                    if meanwhile is None or self._connection.begun:
                        raise
                    meanwhile()
                    left = timeout_s
            if got.type != message.MSG_RESULT or got.seq != self._seq:
                raise Closed(f"answer {got.seq} came to question {self._seq}")
        except BaseException as error:
            # a late answer must not be taken for that of the next call
            self.close()
            if isinstance(error, guard.BadFrame):
                raise Closed(f"what came is no answer ({error})") from None
            if isinstance(error, Closed) and self._explain and error.__cause__:
                cause = error.__cause__
                if isinstance(cause, ssl.SSLError):  # our certificate was refused
                    raise self._explain(cause) from None
            raise
        answer = _read(payload)
        if got.flags & message.FLAGS_EXCEPTION:
            raise error_from_wire(answer)
        return answer

    def _open(self, timeout_s: float | None) -> Connection:
        where = self._address
        try:
            sock = socket.create_connection((where.host, where.port), timeout_s)
        except TimeoutError:
            raise Silent(f"no connection in {timeout_s:g} s") from None
        except OSError as error:
            raise Nobody(str(error)) from None
        if sock.getsockname() == sock.getpeername():  # while a server here is gone
            sock.close()
            raise Nobody("nobody listens there: it was connected to itself")
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if is_loopback(where.host):  # half a megabyte in half the time
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM_BYTES)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_hostname=where.host)
            connection = Connection(sock)
            self._greet(connection, timeout_s)
            return connection
        except BaseException as error:
            sock.close()
            if isinstance(error, AemtwinError):
                raise
            cause = error.__cause__ if isinstance(error, Closed) else error
            said = (ssl.SSLError,) if self._context is None else SAID
            if isinstance(cause, said) and self._explain:
                raise self._explain(cause) from None
            if isinstance(error, TimeoutError):
                raise Silent(f"no greeting in {timeout_s:g} s") from None
            if isinstance(error, OSError):
                raise Closed(str(error)) from None
            raise

    def _greet(self, connection: Connection, timeout_s: float | None) -> None:
        # TLS has its own, and a server of an older version gives none
        sums = self._context is None
        mine = {"client": self._client, "sums": sums}
        data = msgpack.packb({"handshake": mine, "object": self._address.target})
        flags, connection.sealed = message.FLAGS_META_ON_CONNECT, sums
        begin = connection.head(message.MSG_CONNECT, guard.MSGPACK, flags, 0, data)
        connection.send(begin, data)
        connection.sealed = False
        head, payload = connection.receive(_small, wait_s=timeout_s)
        connection.sealed = connection.intact
        answer = _read(payload)
        if head.type == message.MSG_CONNECTOK:
            return
        if "certificate" in str(answer):
            raise AccessRefused(f"The server does not let us in: {answer}.")
        raise Closed(str(answer))


def _complex(value: Any) -> msgpack.ExtType:
    """Return a complex number as Pyro4 writes one; nothing else is sent."""
    if isinstance(value, complex):
        return msgpack.ExtType(0x30, struct.pack("dd", value.real, value.imag))
    raise TypeError(f"{type(value).__name__} is no builtin")


def _read(payload: memoryview) -> Any:
    """Return what an answer says; nothing is built from it but builtins."""
    return msgpack.unpackb(payload, raw=False)


def _small(data: bytes) -> guard.Header:
    head = guard.header(data)
    if head.size > guard.REQUEST_BYTES[guard.MSGPACK]:
        raise guard.BadFrame(f"a greeting of {head.size} bytes")
    return head
