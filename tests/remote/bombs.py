"""Small requests that want to become large, thrown by many connections at once.

Where a bomb can be made of any size, it is as large as a frame may be.
"""

from __future__ import annotations

import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgpack
from Pyro4 import message

from aemtwin.remote import guard
from aemtwin.remote.guard import MSGPACK, SERPENT
from tests.remote import raw

KEYS = {f"{k:x}": 0 for k in range(100_000)}
COMPRESSED = message.FLAGS_COMPRESSED


class Bomb(NamedTuple):
    """What to send as a greeting, or as a call after a good one."""

    payload: Callable[[int], bytes]  # of at most so many bytes, if it is to fit
    serializer: int = MSGPACK
    flags: int = 0
    claim: int | None = None  # bytes that the head tells instead

    def frame(self, greeted: bool) -> bytes:
        kind = message.MSG_INVOKE if greeted else message.MSG_CONNECT
        most = guard.REQUEST_BYTES[self.serializer]
        payload = self.payload(most if greeted else min(most, guard.GREETING_BYTES))
        return raw.frame(kind, payload, self.serializer, self.flags, claim=self.claim)


def zeros(size: int) -> bytes:
    """Zeros that were compressed to so many bytes, by about 1000."""
    return zlib.compress(bytes(size * 1000), 9)[:size]


def keys(size: int) -> bytes:
    """A map of different keys, of so many bytes."""
    return msgpack.packb({f"{k:x}": 0 for k in range((size - 5) // 6)})


def plain_keys(size: int) -> bytes:
    return ("{" + ",".join(f"{k}:0" for k in range(size // 7)) + "}").encode()


BOMBS = {
    "zlib, as much as fits": Bomb(zeros, flags=COMPRESSED),
    "zlib, 256 MiB in 255 kB": Bomb(lambda _: zeros(255_000), flags=COMPRESSED),
    "zlib, serpent": Bomb(zeros, SERPENT, COMPRESSED),
    "2 GiB claimed": Bomb(lambda _: bytes(2**20), claim=2**31 - 1),
    "2 GiB claimed, serpent": Bomb(lambda _: bytes(2**20), SERPENT, claim=2**31 - 1),
    "a list that claims 2**32": Bomb(lambda n: b"\xdd" + b"\xff" * (n - 1)),
    "a map that claims 2**32": Bomb(lambda n: b"\xdf" + b"\xff" * (n - 1)),
    "nested lists": Bomb(lambda n: b"\x91" * (n - 1) + b"\xc0"),
    "nested maps": Bomb(lambda n: b"\x81\xa1a" * (n // 3 - 1) + b"\xc0"),
    "lists of 15 claimed, nested": Bomb(lambda n: b"\x9f" * n),
    "nested lists, serpent": Bomb(lambda n: b"[" * (n // 2) + b"]" * (n // 2), SERPENT),
    "nested tuples, serpent": Bomb(lambda n: b"(" * n, SERPENT),
    "nested maps, serpent": Bomb(lambda n: b"{1:" * (n // 4) + b"1", SERPENT),
    "signs, serpent": Bomb(lambda n: b"-" * (n - 1) + b"1", SERPENT),
    "a power, serpent": Bomb(lambda _: b"9**9**9**9", SERPENT),
    "sums, serpent": Bomb(lambda n: b"1+" * (n // 2 - 1) + b"1", SERPENT),
    "10^5 keys": Bomb(lambda _: msgpack.packb(KEYS)),
    "10^5 keys, serpent": Bomb(lambda _: repr(KEYS).encode(), SERPENT),
    "keys, as many as fit": Bomb(keys),
    "keys, as many as fit, serpent": Bomb(plain_keys, SERPENT),
    "nothings": Bomb(lambda n: msgpack.packb([None] * (n - 5))),
    "empty maps": Bomb(lambda n: msgpack.packb([{}] * (n - 5))),
    "short texts": Bomb(lambda n: msgpack.packb(["\xe9\u20ac"] * (n // 6 - 5))),
    "small lists": Bomb(lambda n: msgpack.packb([[0.5]] * (n // 10 - 5))),
    "zeros, serpent": Bomb(lambda n: b"[" + b"0," * (n // 2 - 1) + b"]", SERPENT),
    "empty texts, serpent": Bomb(
        lambda n: b"[" + b"''," * (n // 3 - 1) + b"]", SERPENT
    ),
    "a long number, serpent": Bomb(lambda n: b"9" * n, SERPENT),
    "a long text": Bomb(lambda n: msgpack.packb("x" * (n - 5))),
    "extensions": Bomb(lambda n: b"\xdc\x50\x00" + b"\xd4\x31\x00" * (n // 3 - 1)),
}


def throw(
    uri: str,
    data: bytes,
    greeted: bool,
    *,
    peers: int = 40,
    times: int = 3,
    context: ssl.SSLContext | None = None,
) -> list[bytes]:
    """Send the same from so many connections at once, `times` after one another.

    Returns:
        The beginning of what each connection was told.
    """
    together = threading.Barrier(peers)
    said: list[bytes] = []

    def one() -> None:
        for _ in range(times):
            answer = b""
            with socket.create_connection(raw.address(uri), 30.0) as sock:
                with suppress(OSError):  # it gave way to another
                    if context is not None:
                        sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
                    if greeted:
                        sock.sendall(raw.hello())
                        raw.answer(sock)
                together.wait(30.0)
                try:
                    sock.sendall(data)
                    answer = sock.recv(200)
                except TimeoutError:
                    answer = b"silence"
                except OSError:
                    answer = b"closed"
                finally:
                    sock.close()
            said.append(answer)

    threads = [threading.Thread(target=one) for _ in range(peers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said
