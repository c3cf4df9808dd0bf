"""What may come in: which frames, how large, of what, and how deep.

Frames are Pyro4's. Nothing of a frame is read
before its header was looked at, and nothing is built from one but numbers, texts, bytes
and containers of them: no class, no compressed data. Of annotations one is known, the
checksum of a frame, which our own client and server give each of theirs (`sealed`): one
that was damaged on its way ends the connection before it is parsed. Parsing multiplies
(a byte of msgpack may become 73 of memory, one of serpent 490), so the sizes are small,
one frame is parsed at a time, and what holds too many values is refused.
`aemtwin.remote.door` asks here before it does anything.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import msgpack
import serpent
from Pyro4 import constants, message
from Pyro4.util import MsgpackSerializer, SerpentSerializer

from aemtwin.errors import BadRequest, WrongType

MSGPACK, SERPENT = MsgpackSerializer.serializer_id, SerpentSerializer.serializer_id
NAMES = {MSGPACK: "msgpack", SERPENT: "serpent"}
REQUEST_BYTES = {MSGPACK: 64 * 1024, SERPENT: 4 * 1024}
GREETING_BYTES = 4 * 1024
IGNORED_BYTES = 64  # of annotations: Pyro4's own correlation id is one of 22
VALUES = 12_000  # in one request: 64 KiB hold 7281 floats
DEPTH = 12  # of lists in lists
HEADER = message.Message.header_size
_HEAD = struct.Struct(message.Message.header_format)
# and an annotation: its name, the bytes of its value, the payload's again, a checksum
_SEALED = struct.Struct(f"{message.Message.header_format}4sHiI")
SUM = b"CRC3"
BEGIN = _SEALED.size  # bytes of a frame of ours before its payload
_SIZE, _AGAIN = slice(12, 16), slice(HEADER + 6, HEADER + 10)  # where the size stands
CALLING = (message.MSG_INVOKE, message.MSG_PING)


class BadFrame(BadRequest):
    """What came is no frame that this server takes; the connection ends."""


class Header(NamedTuple):
    """The head of a frame, checked."""

    type: int
    flags: int
    seq: int
    serializer: int
    ignored: int  # bytes of annotations before the payload
    size: int  # bytes of the payload


Check = Callable[[bytes], Header]


def header(data: bytes) -> Header:
    """Return the head of a frame.

    Args:
        data: Its first `HEADER` bytes.

    Raises:
        BadFrame: If that is not the head of one.
    """
    if len(data) != HEADER:
        raise BadFrame(f"The head of a frame has {HEADER} bytes, not {len(data)}.")
    tag, version, kind, flags, seq, size, serializer, ignored, _, checksum = (
        _HEAD.unpack(data)
    )
    if tag != b"PYRO" or version != constants.PROTOCOL_VERSION:
        raise BadFrame("That is no frame of Pyro4, or of another version of it.")
    if checksum != _checksum(kind, flags, seq, size, serializer, ignored):
        raise BadFrame("The head of a frame is damaged: its checksum is wrong.")
    if size < 0:
        raise BadFrame(f"A frame cannot have {size} bytes.")
    return Header(kind, flags, seq, serializer, ignored, size)


def head(kind: int, size: int, serializer: int, flags: int, seq: int) -> bytes:
    """Return the head of a frame of ours, without annotations.

    >>> header(head(message.MSG_RESULT, 9, MSGPACK, 0, 1)).size
    9
    """
    checksum = _checksum(kind, flags, seq, size, serializer, 0)
    version = constants.PROTOCOL_VERSION
    return _HEAD.pack(
        b"PYRO", version, kind, flags, seq, size, serializer, 0, 0, checksum
    )


def sealed(
    kind: int,
    serializer: int,
    flags: int,
    seq: int,
    payload: bytes | memoryview,
) -> bytes:
    """Return the head of a frame of ours, with a checksum of all of it.

    >>> begin = sealed(message.MSG_RESULT, MSGPACK, 0, 1, b"payload")
    >>> head, said = header(begin[:HEADER]), seal(begin)
    >>> require_seal(head, said, memoryview(b"payload"))
    >>> require_seal(head, said, memoryview(b"pay1oad"))
    Traceback (most recent call last):
    aemtwin.remote.guard.BadFrame: A frame was damaged on its way.
    """
    size, version, ignored = len(payload), constants.PROTOCOL_VERSION, BEGIN - HEADER
    checksum = _checksum(kind, flags, seq, size, serializer, ignored)
    fields = kind, flags, seq, size, serializer, ignored, 0, checksum
    crc = zlib.crc32(payload, _mixed(kind, flags, seq, serializer))
    return _SEALED.pack(b"PYRO", version, *fields, SUM, 8, size, crc)


def seal(begin: bytes) -> int | None:
    """Return the checksum that a frame must have; None if it tells none.

    Args:
        begin: Its first `BEGIN` bytes, or more.

    Raises:
        BadFrame: If its size was damaged: Pyro4's own checksum of the head is a sum of
            16 bits, which knows nothing of the upper half of it.
    """
    if begin[HEADER : HEADER + 4] != SUM:
        return None
    if begin[_SIZE] != begin[_AGAIN]:
        raise BadFrame("A frame was damaged on its way.")
    return int.from_bytes(begin[BEGIN - 4 : BEGIN])


def require_seal(head: Header, said: int, payload: memoryview) -> None:
    """Refuse a frame that was damaged on its way.

    Args:
        head: Of it.
        said: The checksum that it must have.
        payload: Of it.

    Raises:
        BadFrame: If it was.
    """
    mixed = _mixed(head.type, head.flags, head.seq, head.serializer)
    if zlib.crc32(payload, mixed) != said:
        raise BadFrame("A frame was damaged on its way.")


def _mixed(kind: int, flags: int, seq: int, serializer: int) -> int:
    """Return what a checksum begins with, another where one of these is another."""
    return (kind << 16 ^ flags ^ seq << 8 ^ serializer << 24) & 0xFFFFFFFF


def _checksum(*fields: int) -> int:
    magic = message.Message.checksum_magic
    return int((sum(fields) + constants.PROTOCOL_VERSION + magic) & 0xFFFF)


def greeting(head: Header, *, serpent: bool = True) -> Header:
    """Return the head of the first frame of a connection, if it may come in.

    Args:
        head: As `header` gives it.
        serpent: Whether plain clients, which speak it, are served.

    Raises:
        BadFrame: If it may not.
    """
    if head.type != message.MSG_CONNECT:
        raise BadFrame(f"A connection begins with a greeting, not type {head.type}.")
    _require(head, serpent, GREETING_BYTES, message.FLAGS_META_ON_CONNECT)
    return head


def request(head: Header, *, serpent: bool = True) -> Header:
    """Return the head of a later frame, if it may come in; else as `greeting`."""
    if head.type not in CALLING:
        raise BadFrame(f"After the greeting come calls, not type {head.type}.")
    if head.type == message.MSG_PING:  # its payload is not looked at
        _require(head._replace(serializer=MSGPACK), serpent, IGNORED_BYTES, 0)
    else:
        _require(head, serpent, REQUEST_BYTES.get(head.serializer, 0), 0)
    return head


def _require(head: Header, serpent: bool, most: int, flags: int) -> None:
    if head.serializer not in NAMES or (head.serializer == SERPENT and not serpent):
        how = "msgpack and serpent are"
        if not serpent:
            how = "msgpack alone is: proxy._pyroSerializer = 'msgpack'"
        raise BadFrame(
            f"The serializer of number {head.serializer} is not accepted here; {how}."
        )
    if head.flags & ~flags:
        raise BadFrame(
            f"A frame with the flags {head.flags:#x} is not accepted: compressed, "
            "oneway, batched and streamed calls are not served. Call one by one."
        )
    if head.size > most:
        raise BadFrame(
            f"A request of {head.size} bytes is too large; {most} are allowed as "
            f"{NAMES[head.serializer]}. Ask for less at a time."
        )
    if head.ignored > IGNORED_BYTES:
        raise BadFrame(
            f"{head.ignored} bytes of annotations are too many: they are not used here."
        )


_PARSING = threading.Lock()
# Python's own parser, which serpent uses, goes deep: into one stack, not into that of
# every connection.
_DEEP = ThreadPoolExecutor(1, "aemtwin serpent")


def decoded(serializer: int, payload: bytes | memoryview) -> Any:
    """Return what a payload says: numbers, texts, bytes, None, lists and dictionaries.

    Args:
        serializer: Pyro4's number of it.
        payload: The bytes, at most as many as were allowed.

    Raises:
        BadRequest: If it cannot be read, or is too much of something.
        WrongType: If it holds something else.
    """
    if serializer == MSGPACK:
        value, refusal = _read(serializer, payload)
    else:
        value, refusal = _DEEP.submit(_read, serializer, payload).result()
    if refusal is not None:
        raise refusal
    return value


def _read(
    serializer: int, payload: bytes | memoryview
) -> tuple[Any, BadRequest | WrongType | None]:
    """Return what a payload says, or why it is refused.

    That error is a new one: the traceback of the first would keep what was read, for
    as long as it takes until the other side has been told.
    """
    with _PARSING:  # what one frame may become, not all of them together
        try:
            if serializer == MSGPACK:
                value = msgpack.unpackb(payload, raw=False, ext_hook=_extension)
            else:
                value = _of_serpent(serpent.loads(bytes(payload)), DEPTH)
            _count(value, VALUES, DEPTH)
            return value, None
        except (BadRequest, WrongType) as error:
            value = None
            return None, type(error)(str(error))
        except Exception as error:  # of the parsers: whatever they find
            said = str(error).splitlines()[0][:100] if str(error) else ""
            return None, BadRequest(
                f"The request cannot be read as {NAMES[serializer]} "
                f"({type(error).__name__}: {said}). Send it anew."
            )


def call(
    serializer: int, payload: bytes | memoryview
) -> tuple[str, str, list[Any], dict[str, Any]]:
    """Return object, method, arguments and named arguments of a request.

    Raises:
        BadRequest: If it is not one.
        WrongType: If it holds something that is not taken.
    """
    found = decoded(serializer, payload)
    if isinstance(found, list | tuple) and len(found) == 4:
        target, method, args, kwargs = found
        texts = isinstance(target, str) and isinstance(method, str)
        named = {} if kwargs is None else kwargs
        if texts and isinstance(args, list | tuple) and isinstance(named, dict):
            if all(isinstance(key, str) for key in named):
                return target, method, list(args), named
    raise BadRequest(
        "A call is (object, method, [arguments], {name: argument}); this is not one."
    )


def _extension(code: int, data: bytes) -> Any:
    if code == 0x30:  # Pyro4's complex: somebody meant it, and shall be told so
        return complex(*struct.unpack("dd", data))
    raise WrongType(
        f"The request holds a value of the extension type {code:#x}. Send numbers, "
        "texts, bytes, lists and dictionaries."
    )


def _of_serpent(value: Any, depth: int) -> Any:
    """Return the value with serpent's NaN as one, and no other class."""
    if isinstance(value, dict):
        if value.get("__class__") == "float":
            return float(str(value.get("value")))
        if "__class__" in value:
            raise WrongType(
                f"The request holds a {str(value['__class__'])[:60]!r}. Send numbers, "
                "texts, bytes, lists and dictionaries."
            )
    if isinstance(value, dict | list | tuple | set) and depth == 0:
        raise _too_deep()
    if isinstance(value, dict):
        return {key: _of_serpent(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_of_serpent(item, depth - 1) for item in value]
    return value


def _count(value: Any, left: int, depth: int) -> int:
    """Return how many more values there may be after this one."""
    if left <= 0:
        raise BadRequest(
            f"The request holds more than {VALUES} values. Ask for less at a time."
        )
    if not isinstance(value, dict | list | tuple):
        return left - 1
    if depth == 0:
        raise _too_deep()
    for item in value.values() if isinstance(value, dict) else value:
        left = _count(item, left, depth - 1)
    return left - 1 - (len(value) if isinstance(value, dict) else 0)


def _too_deep() -> BadRequest:
    return BadRequest(f"The request is nested deeper than {DEPTH}. Send flat lists.")
