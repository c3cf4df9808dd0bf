"""A server in a process of its own, what it takes up, and crowds in front of it.

The server ends with the process that began it, and so does a crowd. Resident memory,
threads and descriptors are read from /proc, from outside; frames to throw at the server
are made in `tests.remote.fuzz`. With `keys`, everything is under mutual TLS.
"""

from __future__ import annotations

import os
import random
import selectors
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aemtwin
from tests.remote import raw

ROOT = Path(__file__).parents[2]
HERE = Path("/proc/self/status").exists()  # whether memory can be read from outside
BYTE_S = 0.5  # from one byte of a slow connection to its next

SERVER = """
import sys
import aemtwin
from aemtwin.commands import SWITCH_S
sys.setswitchinterval(SWITCH_S)  # as `aemtwin serve` does
keys = sys.argv[1] or None
twin = aemtwin.open_twin("pfm_loops", seed=0)
with aemtwin.serve(twin, keys=keys) as server:
    print(server.uri, flush=True)
    sys.stdin.read()
"""
CROWD = """
import sys
from tests.remote import crowd
crowd.gather(*sys.argv[1:])
"""


class Vitals(NamedTuple):
    """What a process takes up."""

    rss_mib: float  # resident memory, now
    peak_mib: float  # and the most of it so far
    threads: int
    files: int  # open descriptors


class Served:
    """A running server, seen from outside."""

    def __init__(self, child: subprocess.Popen, uri: str, noted: Path) -> None:
        self.pid, self.uri = child.pid, uri
        self._child, self._noted = child, noted

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def noted(self) -> str:
        """What it wrote to its log, warnings and worse."""
        return self._noted.read_text(errors="replace")

    def vitals(self) -> Vitals:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        rss, peak = (int(told[k].split()[0]) / 1024 for k in ("VmRSS", "VmHWM"))
        return Vitals(rss, peak, int(told["Threads"]), self._files())

    def _files(self) -> int:
        """Open descriptors, but for SQLite's own, which a long ledger needs."""
        count = 0
        for path in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                count += "etilqs" not in os.readlink(path)
        return count

    def settled(self, wanted: Vitals, within_s: float = 20.0) -> Vitals:
        """Return what it takes up once no more threads and files than wanted are."""
        until = time.monotonic() + within_s
        while True:
            now = self.vitals()
            few = now.threads <= wanted.threads and now.files <= wanted.files
            if few or time.monotonic() > until:
                return now
            time.sleep(0.05)

    def client(self, keys: Path | None = None):
        return aemtwin.connect(self.uri, keys=keys, timeout_s=10.0)

    def asked_plainly(self, context: ssl.SSLContext | None = None) -> None:
        """Have it answer one plain client: it has a parser for those from then on."""
        with socket.create_connection(raw.address(self.uri), 10.0) as sock:
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
            with sock:
                for data in (raw.hello(), raw.ask("state", serializer=raw.SERPENT)):
                    sock.sendall(data)
                    raw.answer(sock)


@contextmanager
def serving(keys: Path | None = None) -> Iterator[Served]:
    """Serve a twin in a process of its own; `keys` is the server's folder."""
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder) / "log"
        with noted.open("wb") as log:
            child = _python(SERVER, str(keys or ""), stderr=log)
        with _ended(child):
            uri = child.stdout.readline().strip()
            assert uri, noted.read_text()
            yield Served(child, uri, noted)


class Watch:
    """The growth of a server's resident memory, sampled while the block runs."""

    def __init__(self, served: Served, each_s: float = 0.02) -> None:
        self._served, self._each_s = served, each_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        with suppress(OSError):  # the kernel's own high-water mark begins anew
            Path(f"/proc/{self._served.pid}/clear_refs").write_text("5")
        self.begin = self._served.vitals()
        self._most = self.begin.rss_mib
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()
        end = self._served.vitals()
        self._most = max(self._most, end.rss_mib)
        if self.begin.peak_mib < self.begin.rss_mib + 1:  # that mark is of this block
            self._most = max(self._most, end.peak_mib)

    def _look(self) -> None:
        while not self._over.wait(self._each_s):
            self._most = max(self._most, self._served.vitals().rss_mib)

    @property
    def growth_mib(self) -> float:
        return self._most - self.begin.rss_mib


class Crowd:
    """Connections that say nothing or little, held by a process of its own.

    Args:
        uri: Where they go.
        silent: How many say nothing at all.
        slow: How many say a byte of a good greeting now and then.
        keys: A client's folder: then it is a byte of its TLS handshake.
    """

    def __init__(
        self, uri: str, silent: int, slow: int, keys: Path | None = None
    ) -> None:
        said = (uri, str(silent), str(slow), str(keys or ""))
        self._child = _python(CROWD, *said)
        self.renewed = 0  # connections, so far

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *raised: object) -> None:
        with _ended(self._child):
            pass

    @contextmanager
    def there(self) -> Iterator[None]:
        """Let them come, and go at the end of the block."""
        self._say("come")
        try:
            yield
        finally:
            self.renewed += int(self._say("go"))

    def _say(self, word: str) -> str:
        self._child.stdin.write(word + "\n")
        self._child.stdin.flush()
        return self._child.stdout.readline()


def gather(uri: str, silent: str, slow: str, keys: str) -> None:
    """Be a crowd, as standard input says: come, go."""
    said = opening(Path(keys)) if keys else raw.hello()
    for word in sys.stdin:
        if word.strip() == "come":
            left = threading.Event()
            held = Held(raw.address(uri), int(silent), int(slow), said)
            thread = threading.Thread(target=held.stay, args=(left,))
            thread.start()
            time.sleep(0.5)  # they are all there
            _reply("there")
        else:
            left.set()
            thread.join()
            _reply(str(held.renewed))


def _reply(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


class Held:
    """The connections of a crowd, renewed as the server closes them."""

    def __init__(self, address: Any, silent: int, slow: int, said: bytes) -> None:
        self._address, self._said = address, said
        self._count, self._slow = silent + slow, slow
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}  # bytes, of the slow ones
        self._random = random.Random(silent)
        self.renewed = 0

    def stay(self, left: threading.Event) -> None:
        for k in range(self._count):
            self._come(slow=k < self._slow)
        ticks = time.monotonic()
        while not left.is_set():
            for key, _ in self._selector.select(0.02):
                self._renew(key.fileobj)
            if time.monotonic() > ticks:
                ticks += BYTE_S / 10
                for sock in self._random.sample(
                    list(self._sent), len(self._sent) // 10
                ):
                    self._drip(sock)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def _come(self, slow: bool) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._address)
        self._selector.register(sock, selectors.EVENT_READ)
        if slow:
            self._sent[sock] = 0

    def _renew(self, sock: socket.socket) -> None:
        with suppress(BlockingIOError):
            try:
                if sock.recv(4096):
                    return
            except BlockingIOError:
                raise
            except OSError:
                pass
            self._selector.unregister(sock)
            sock.close()
            self.renewed += 1
            self._come(slow=self._sent.pop(sock, None) is not None)

    def _drip(self, sock: socket.socket) -> None:
        k = self._sent[sock]
        with suppress(OSError):  # not there yet, or gone: the selector tells
            if k < len(self._said) - 1:
                self._sent[sock] += sock.send(self._said[k : k + 1])


def opening(keys: Path) -> bytes:
    """Return the first bytes that a client with these keys says under TLS."""
    from aemtwin.remote.keys import client_context

    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = client_context(keys).wrap_bio(arriving, leaving, server_hostname="127.0.0.1")
    with suppress(ssl.SSLWantReadError):
        half.do_handshake()
    return leaving.read()


def latencies(
    calls: dict[str, Callable[[], object]],
    conditions: dict[str, Callable[[], Any]],
    count: int,
    rounds: int,
) -> dict[str, dict[str, list[float]]]:
    """Time calls under conditions that take turns.

    Args:
        calls: What to time, by name.
        conditions: Makers of context managers, by name.
        count: Of each call under each condition, in all.
        rounds: How often every condition has its turn.

    Returns seconds of each call, by condition and name.
    """
    found = {where: {name: [] for name in calls} for where in conditions}
    for _ in range(rounds):
        for where, condition in conditions.items():
            with condition():
                for _ in range(count // rounds):
                    for name, call in calls.items():
                        begin = time.perf_counter()
                        call()
                        found[where][name].append(time.perf_counter() - begin)
    return found


def told(seconds: list[float]) -> dict[str, float]:
    """Return percentiles of times, milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "p50_ms": round(1e3 * statistics.median(seconds), 3),
        "p99_ms": round(1e3 * cuts[98], 3),
        "calls": len(seconds),
    }


def _python(code: str, *said: str, **more: Any) -> subprocess.Popen:
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *said],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **threads},
        **more,
    )


@contextmanager
def _ended(child: subprocess.Popen) -> Iterator[None]:
    try:
        yield
    finally:
        child.stdin.close()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
