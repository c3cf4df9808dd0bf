"""The control channel beside a bare Pyro4 server, call by call, in one run.

    python -m benchmarks.control_channel [--calls 2000] [--out results/...json]

Servers run in processes of their own, on the loopback interface; blocks of calls to
each follow one another in turn, so that whatever else the machine does falls on all
alike, and a durable write of one does not delay that of another. What is told is the
median of each and its ratio to what it is held to:

* `state`, which does not act, to a bare Pyro4 method that returns the same by msgpack;
* `move_to`, which acts, to that plus one durable write to the same disk;
* both over mutual TLS to the same without it;
* an image of 512 x 512 uint16 by our client to the same as nested lists by serpent: the
  answer to a request that was just done, which is the channel alone; to one of long
  before, which the ledger reads from its file; and a scan of it, which the ledger also
  hashes and writes there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import Pyro4

import aemtwin
from aemtwin.codec import to_wire
from aemtwin.formats.specimens import make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

BARE = """
import sys
import numpy as np
import Pyro4

Pyro4.config.SERIALIZERS_ACCEPTED = {"msgpack", "serpent"}
STATE = %r


@Pyro4.expose
class Bare:
    def state(self):
        return STATE

    def image(self):
        random = np.random.default_rng(0)
        return random.integers(0, 2**16, (512, 512), dtype=np.uint16).tolist()


with Pyro4.Daemon() as daemon:
    print(daemon.register(Bare(), "Bare"), flush=True)
    daemon.requestLoop()
"""
OURS = """
import sys
from pathlib import Path
import aemtwin
from benchmarks.control_channel import image_twin

ledger, keys = (Path(a) if a else None for a in sys.argv[1:])
with aemtwin.serve(image_twin(ledger), keys=keys) as server:
    print(server.uri, flush=True)
    server.wait()
"""


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**16, (512, 512), dtype=np.uint16)


def image_twin(ledger: Path | None = None) -> Twin:
    """An ideal twin of one image of 512 x 512 uint16."""
    axes = tuple(
        Axis(name, "m", np.linspace(0, 1e-6, 512), "Length", "spatial") for name in "yx"
    )
    stored = StoredArray("counts", "Intensity", "counts", image(), axes)
    return Twin(make_sample([stored]), AFM, name="image", ideal=True, ledger=ledger)


@contextmanager
def process(code: str, *arguments: str):
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_turn(
    calls: dict[str, Callable[[], object]], count: int, block: int = 25
) -> dict[str, dict[str, float]]:
    """Return percentiles, microseconds, of blocks of calls that take turns."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for k in range(-(-count // block) + 1):
        for name, call in calls.items():
            call()  # the first of a block finds the caches of another
            times = [timed(call) * 1e6 for _ in range(min(block, count))]
            found[name] += times if k else []  # after the warm-up
    return {
        name: {
            "p50_us": round(statistics.median(times), 1),
            "p99_us": round(float(np.percentile(times, 99)), 1),
            "calls": len(times),
        }
        for name, times in found.items()
    }


class Line:
    """Appends a line of 200 bytes durably, as a ledger must at least."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self) -> None:
        os.write(self._file, b"x" * 199 + b"\n")
        getattr(os, "fdatasync", os.fsync)(self._file)


def measure(calls: int, folder: Path, keys: Path | None) -> dict:
    state = to_wire(image_twin().state())
    with ExitStack() as stack:

        def start(code: str, *arguments: str) -> str:
            return stack.enter_context(process(code, *arguments))

        bare = Pyro4.Proxy(start(BARE % state))
        bare._pyroSerializer = "msgpack"
        lists = Pyro4.Proxy(bare._pyroUri)
        ours = aemtwin.connect(start(OURS, str(folder / "plain.sqlite"), ""))
        stack.callback(ours.close)
        line = Line(folder / "line")
        steps = iter(range(10**9))

        def act(scope):
            step = next(steps)
            at = (step % 7 * 1e-7, step % 5 * 1e-7)
            return scope.move_to(at, rid=f"b/{step}/move")

        def settle(scope):
            return scope.configure(rid=f"b/{next(steps)}/configure", settle_s=0.02)

        def bare_and_write():
            bare.state()
            line.write()

        pairs: dict[str, Callable[[], object]] = {
            "bare Pyro4, msgpack": bare.state,
            "state": ours.state,
            "one durable write": line.write,
            "bare Pyro4 and one durable write": bare_and_write,
            "move_to, durably begun": lambda: act(ours),
            "configure, durably begun": lambda: settle(ours),
        }
        if keys is not None:
            served = start(OURS, str(folder / "tls.sqlite"), str(keys / "server"))
            secure = aemtwin.connect(served, keys=keys / "clients" / "bench")
            stack.callback(secure.close)
            pairs["state, mutual TLS"] = secure.state
            pairs["move_to, mutual TLS"] = lambda: act(secure)
        small = in_turn(pairs, calls)

        want = image()
        fresh = ours.scan(rid="image/1/scan")
        kept = ours.scan(rid="image/1/scan")
        exact = all(np.array_equal(one.values, want) for one in (fresh, kept))
        last = ["image/1/scan"]

        def scanned():
            last[0] = f"image/{next(steps)}/scan"
            return ours.scan(rid=last[0])

        images = in_turn(
            {
                "image, scanned": scanned,
                "image, asked for again": lambda: ours.scan(rid=last[0]),
                "image, asked for later, from disk": lambda: ours.scan(
                    rid="image/1/scan"
                ),
            },
            200,
        )
        images |= in_turn({"image, lists by serpent": lists.image}, 5, 5)
        exact = exact and np.array_equal(np.array(lists.image(), np.uint16), want)
    p50 = {name: cell["p50_us"] for name, cell in {**small, **images}.items()}
    acting = "bare Pyro4 and one durable write"
    configure = p50["configure, durably begun"]
    ratios = {
        "configure to bare and a write": configure / p50[acting],
        "state to bare": p50["state"] / p50["bare Pyro4, msgpack"],
        "move_to to bare and a write": p50["move_to, durably begun"] / p50[acting],
        "image: lists by serpent to asked for again": p50["image, lists by serpent"]
        / p50["image, asked for again"],
        "image: lists by serpent to scanned": p50["image, lists by serpent"]
        / p50["image, scanned"],
    }
    if keys is not None:
        ratios["state, TLS to bare"] = (
            p50["state, mutual TLS"] / p50["bare Pyro4, msgpack"]
        )
        ratios["state, TLS to without"] = p50["state, mutual TLS"] / p50["state"]
        ratios["move_to, TLS to without"] = (
            p50["move_to, mutual TLS"] / p50["move_to, durably begun"]
        )
    return {
        "cells": {**small, **images},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "image is bit-exact": bool(exact),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = None
        try:
            from aemtwin.remote.authority import make_keys

            make_keys(Path(folder) / "keys", clients={"bench": "operate"})
            keys = Path(folder) / "keys"
        except ImportError:
            print("without cryptography there are no keys: TLS is left out")
        found = measure(given.calls, Path(folder), keys)
    print(json.dumps(found, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
