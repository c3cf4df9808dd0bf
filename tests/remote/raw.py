"""Frames of Pyro4 by hand, good and bad, and sockets to send them with."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import Any

from Pyro4 import message
from Pyro4.util import get_serializer_by_id

from aemtwin.remote.guard import MSGPACK, SERPENT
from aemtwin.remote.server import OBJECT_ID

__all__ = ["MSGPACK", "SERPENT"]
HEADER = message.Message.header_size


def frame(
    kind: int,
    payload: bytes,
    serializer: int = MSGPACK,
    flags: int = 0,
    seq: int = 7,
    annotations: dict[str, bytes] | None = None,
    claim: int | None = None,
) -> bytes:
    """A frame; `claim` is the size that its head tells instead of the true one."""
    made = message.Message(kind, payload, serializer, flags, seq, annotations)
    if claim is not None:
        made.data_size = claim
    return made.to_bytes()


def hello(target: str = OBJECT_ID, serializer: int = MSGPACK, **more: Any) -> bytes:
    said = {"handshake": "hello", "object": target}
    payload, _ = get_serializer_by_id(serializer).serializeData(said)
    flags = more.pop("flags", message.FLAGS_META_ON_CONNECT)
    return frame(message.MSG_CONNECT, payload, serializer, flags, **more)


def ask(
    call: str,
    *args: Any,
    target: str = OBJECT_ID,
    serializer: int = MSGPACK,
    named: dict[str, Any] | None = None,
    **more: Any,
) -> bytes:
    payload, _ = get_serializer_by_id(serializer).serializeCall(
        target, call, list(args), named or {}
    )
    return frame(message.MSG_INVOKE, payload, serializer, **more)


def address(uri: str) -> tuple[str, int]:
    host, _, port = uri.partition("@")[2].rpartition(":")
    return host, int(port)


@contextmanager
def connected(uri: str, *, greeted: bool = True, timeout_s: float = 10.0):
    with socket.create_connection(address(uri), timeout_s) as sock:
        if greeted:
            sock.sendall(hello())
            kind, *_ = answer(sock)
            assert kind == message.MSG_CONNECTOK
        yield sock


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


def answer(sock: socket.socket) -> tuple[int, int, Any]:
    """Type, flags and content of the next frame; ConnectionError if there is none."""
    head = message.Message.from_header(exactly(sock, HEADER))
    exactly(sock, head.annotations_size)
    payload = exactly(sock, head.data_size)
    if head.type == message.MSG_PING:
        return head.type, head.flags, payload
    serializer = get_serializer_by_id(head.serializer_id)
    return head.type, head.flags, serializer.deserializeData(payload)


def is_closed(sock: socket.socket, within_s: float = 5.0) -> bool:
    """Whether the other side ends the connection, whatever it says before."""
    sock.settimeout(within_s)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def header(**changed: int) -> bytes:
    """A head with a right checksum, whatever it claims."""
    fields = {
        "version": 48,
        "type": message.MSG_INVOKE,
        "flags": 0,
        "seq": 1,
        "size": 0,
        "serializer": MSGPACK,
        "annotations": 0,
        **changed,
    }
    checksum = (sum(fields.values()) + message.Message.checksum_magic) & 0xFFFF
    return struct.pack(
        message.Message.header_format,
        b"PYRO",
        fields["version"],
        fields["type"],
        fields["flags"],
        fields["seq"],
        fields["size"],
        fields["serializer"],
        fields["annotations"],
        0,
        checksum,
    )
