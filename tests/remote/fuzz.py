"""Frames that should not come in, made from a seed, and a sender that throws them.

Every frame is either one that no server may act on, by the way it was made, or a whole
and valid call that acts once. `Frames` says which; the sender counts them. So what a
server did can be compared with what it was asked to do.
"""

from __future__ import annotations

import itertools
import random
import selectors
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from Pyro4 import message

from tests.remote import raw
from tests.remote.raw import MSGPACK, SERPENT

WRONG = "1-not-the-token-of-any-lease"
PATIENCE_S = 30.0  # for an answer, or for the end of a connection
HELD = 0.02  # of frames that are cut: nothing follows, and nothing is closed
FLAGS = (message.FLAGS_COMPRESSED, message.FLAGS_ONEWAY, message.FLAGS_BATCH)


class Thrown(NamedTuple):
    """What is sent at once."""

    data: bytes
    acts: int = 0  # how often it is to act
    whole: bool = False  # one frame, to the last byte, with one answer to come
    held: bool = False  # a part of one, and then nothing


class Frames:
    """Frames from a seed.

    Args:
        seed: Of all of them.
        token: Of the lease under which valid calls act.
    """

    def __init__(self, seed: int, token: str) -> None:
        self._random, self._token = random.Random(seed), token
        self._numbers = itertools.count()
        self._seed = seed

    def before(self) -> Thrown:
        """Return what a connection begins with, in place of a greeting."""
        hello = raw.hello(serializer=self._random.choice((MSGPACK, SERPENT)))
        kinds = {
            self._noise: 2,
            self._head: 3,
            lambda: self._bent(hello, 0): 2,
            lambda: self._bent(hello, raw.HEADER): 2,
            lambda: hello + self._bent(hello, 0): 1,
            lambda: self._misheaded(message.MSG_CONNECT, hello): 2,
            self._acting: 1,  # valid, but nobody greeted
            lambda: None: 1,
        }
        made = self._one_of(kinds)()
        return self._cut(hello) if made is None else Thrown(made)

    def after(self) -> Thrown:
        """Return what comes after a good greeting."""
        made: Any = self._one_of(
            {
                lambda: Thrown(self._noise()): 2,
                lambda: Thrown(self._head()): 2,
                lambda: Thrown(self._bent(self._harmless(), 0)): 2,
                lambda: Thrown(self._misheaded(message.MSG_INVOKE, self._acting())): 2,
                lambda: self._cut(self._acting()): 1,
                lambda: Thrown(self._harmless() + self._noise()): 1,
                lambda: Thrown(self._acting() * 2, 1): 1,
                lambda: Thrown(self._acting(), 1, True): 1,
                lambda: Thrown(self._bent(self._harmless(), raw.HEADER), 0, True): 20,
                lambda: Thrown(self._harmless(), 0, True): 4,
            }
        )
        return made()

    # Whole calls

    def _acting(self) -> bytes:
        """A valid call that acts, under an id of its own."""
        named = {
            "rid": f"fuzz{self._seed}/{next(self._numbers)}/move",
            "token": self._token,
        }
        serializer = self._random.choice((MSGPACK, SERPENT))
        at = [self._random.uniform(0, 2e-6), self._random.uniform(0, 2e-6)]
        return raw.ask("move_to", at, serializer=serializer, named=named)

    def _harmless(self) -> bytes:
        """A call that does not act, or would if its token were not wrong."""
        rid = f"fuzz{self._seed}/0/none"
        said = {"rid": rid, "token": WRONG}
        operation = {"call": "measure", "rid": rid, "arguments": {}}
        call, args, named = self._random.choice(
            [
                ("state", [], {}),
                ("status", [rid], {}),
                ("fetch", [rid], {}),
                ("events", [0, 3], {}),
                ("duration", [operation], {}),
                ("renew", [WRONG], {}),
                ("submit", [operation], {"token": WRONG}),
                ("move_to", [[1e-7, self._odd()]], said),
                ("measure", ["loops", self._odd()], said),
                ("scan", [], {**said, "shape": [4, self._odd()]}),
                ("configure", [], {**said, "setpoint_n": self._odd()}),
                ("pulse", [self._odd()], said),
            ]
        )
        serializer = self._random.choice((MSGPACK, MSGPACK, SERPENT))
        notes = {"NOTE": bytes(9)} if self._random.random() < 0.2 else None
        return raw.ask(
            call, *args, serializer=serializer, named=named, annotations=notes
        )

    def _odd(self) -> Any:
        odd: list[Any] = [0, -1, 2**63, 1e308, float("nan"), float("inf"), None, True]
        return self._random.choice([*odd, "", "x" * 300, [[]], {"a": {}}, 1e-7])

    # What is wrong with a frame

    def _noise(self) -> bytes:
        size = self._random.choice((1, 5, 23, 24, 25, 60, 400, 9000))
        begin = self._random.choice((b"", b"", b"PYRO", b"PYRO\0\x30", b"\x16\x03\x01"))
        return begin + self._random.randbytes(size)

    def _head(self) -> bytes:
        """Any fields under a right checksum, and some payload."""
        any16 = self._random.randrange(2**16)
        kinds = {
            "type": self._random.choice((1, 4, 6, 6, any16)),
            "flags": self._random.choice((0, 0, *FLAGS, any16)),
            "seq": any16,
            "serializer": self._random.choice((1, 2, 3, 4, 5, 6, any16)),
            "annotations": self._random.choice((0, 0, 22, 65, any16)),
            "version": self._random.choice((48, 48, 48, 47, any16)),
            "size": self._random.choice(
                (0, 9, 300, 65537, 2**31 - 1, -1, self._random.randrange(2**31))
            ),
        }
        return raw.header(**kinds) + self._random.randbytes(self._random.randrange(400))

    def _misheaded(self, kind: int, good: bytes) -> bytes:
        """A good payload under a head that is right but for one of its fields."""
        payload = good[raw.HEADER :]
        own = struct.unpack(message.Message.header_format, good[: raw.HEADER])[6]
        right = {"type": kind, "size": len(payload), "serializer": own}
        others = [n for n in range(8) if n not in (MSGPACK, SERPENT)]
        wrong = self._random.choice(
            [
                {"flags": self._random.choice(FLAGS)},
                {"flags": 1 << self._random.randrange(5, 16)},
                {"serializer": self._random.choice(others)},
                {"serializer": MSGPACK + SERPENT - own},
                {"type": self._random.choice((2, 3, 5, 7, 99))},
                {"size": len(payload) + self._random.choice((1, 9, 2**30))},
                {"size": self._random.randrange(len(payload))},
                {"annotations": self._random.choice((1, 22, 64, 65, 65535))},
                {"version": self._random.choice((0, 47, 49))},
            ]
        )
        return raw.header(**{**right, **wrong}) + payload

    def _bent(self, good: bytes, begin: int) -> bytes:
        bent = bytearray(good)
        for _ in range(self._random.randint(1, 4)):
            bent[self._random.randrange(begin, len(bent))] = self._random.randrange(256)
        return bytes(bent)

    def _cut(self, good: bytes) -> Thrown:
        part = good[: self._random.randrange(1, len(good))]
        return Thrown(part, held=self._random.random() < HELD)

    def _one_of(self, kinds: dict[Any, int]) -> Any:
        return self._random.choices(list(kinds), list(kinds.values()))[0]


class Sender:
    """Throws frames over connections that are renewed as they end, one thread in all.

    Args:
        uri: Of the server.
        frames: What to throw.
        count: How many.
        peers: How many connections at once.
        context: Of TLS: those that greet speak it, the others do not.
    """

    def __init__(
        self,
        uri: str,
        frames: Frames,
        count: int,
        *,
        peers: int = 40,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._address, self._frames, self._context = raw.address(uri), frames, context
        self._left, self._peers = count, peers
        self._random = random.Random(count)
        self.told: Counter[str] = Counter()

    def throw(self) -> Counter[str]:
        """Send them all, and return how many of what there were.

        Raises:
            TimeoutError: If the server owes something to a connection for long.
        """
        with selectors.DefaultSelector() as selector:
            for _ in range(self._peers):
                self._next(selector, self._talk())
            while selector.get_map():
                ready = selector.select(1.0)
                for key, _ in ready:
                    selector.unregister(key.fileobj)
                    self._next(selector, key.data[0])
                if not ready:
                    late = time.monotonic() - PATIENCE_S
                    for key in selector.get_map().values():
                        if key.data[1] < late:
                            raise TimeoutError("the server answers no more")
        return self.told

    def _next(self, selector: Any, talk: Iterator[socket.socket]) -> None:
        """Go on with a connection until it waits, or with its successor."""
        while True:
            sock = next(talk, None)
            if sock is not None:
                selector.register(sock, selectors.EVENT_READ, (talk, time.monotonic()))
                return
            if self._left <= 0:
                return
            talk = self._talk()

    def _talk(self) -> Iterator[socket.socket]:
        """One connection; yields its socket where it waits for the other side."""
        with socket.create_connection(self._address, PATIENCE_S) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.told["connections"] += 1
            try:
                if self._random.random() < 0.5:
                    yield from self._throw_last(sock, self._frames.before(), "before")
                else:
                    yield from self._greeted(self._secured(sock))
            except OSError:
                self.told["cut by the server"] += 1

    def _secured(self, sock: socket.socket) -> socket.socket:
        if self._context is None:
            return sock
        return self._context.wrap_socket(sock, server_hostname=self._address[0])

    def _greeted(self, sock: socket.socket) -> Iterator[socket.socket]:
        with sock:
            sock.sendall(raw.hello())
            yield from self._answer(sock)
            while self._left > 0:
                thrown = self._frames.after()
                if not thrown.whole:
                    yield from self._throw_last(sock, thrown, "after")
                    return
                self._count(thrown, "after")
                sock.sendall(thrown.data)
                said = yield from self._answer(sock)
                if b"BadFrame" in said:  # it ends the connection
                    return

    def _throw_last(
        self, sock: socket.socket, thrown: Thrown, when: str
    ) -> Iterator[socket.socket]:
        """Send what may be no whole frame, and see the connection end."""
        self._count(thrown, when)
        sock.sendall(thrown.data)
        if isinstance(sock, ssl.SSLSocket):
            if thrown.acts:
                yield from self._answer(sock)
            return
        if thrown.held:
            self.told["held"] += 1
        else:
            sock.shutdown(socket.SHUT_WR)
        while True:
            yield sock
            if not sock.recv(65536):
                return

    def _count(self, thrown: Thrown, when: str) -> None:
        self._left -= 1
        self.told[f"{when} the greeting"] += 1
        self.told["acting"] += thrown.acts

    def _answer(self, sock: socket.socket) -> Iterator[socket.socket]:
        """Return the payload of the next frame that comes."""
        data = b""
        size = raw.HEADER
        while len(data) < size:
            if not getattr(sock, "pending", lambda: 0)():
                yield sock
            if not (piece := sock.recv(65536)):
                raise ConnectionError("closed")
            data += piece
            if len(data) >= raw.HEADER:
                head = message.Message.from_header(data[: raw.HEADER])
                size = raw.HEADER + head.annotations_size + head.data_size
        self.told["answered"] += 1
        return data[raw.HEADER :]
