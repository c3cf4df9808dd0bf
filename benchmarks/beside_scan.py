"""What never waits for an operation, asked while scans are under way.

    python -m benchmarks.beside_scan [--seconds 60] [--out results/...json]

A twin with all effects is served by `aemtwin serve`, in a process of its own, and scans
1024 x 1024 pixels, one frame after the other; `state`, `events`, `status` and `fetch`
are asked meanwhile, and now and then `stop` is called. In one part the twin computes as
fast as it can, which is the worst that a server does to whoever asks: one interpreter
does both. In the other it takes the time of an instrument, and waits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import aemtwin
from aemtwin.errors import NotReady, OperationStopped, UnknownName

SERVE = [sys.executable, "-m", "aemtwin", "serve", "pfm_loops", "--effects", "all"]
PAUSE_S = 0.005  # between two questions
STOP_EVERY_S = 2.0
LIMIT_MS = 50.0


@contextmanager
def served(*more: str) -> Iterator[str]:
    child = subprocess.Popen(
        [*SERVE, "--until-stdin-closes", *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.stdin.close()
        child.wait(timeout=30)
        child.stdout.close()


class Beside:
    """Asks whoever scans at a URI, and keeps how long each answer took."""

    def __init__(self, uri: str) -> None:
        self._scope = aemtwin.connect(uri)
        self._took: dict[str, list[float]] = {}  # milliseconds, by call
        self._begun, self._rid = 0, ""

    def ask(self, seconds: float) -> dict[str, Any]:
        """Ask for so many seconds; return percentiles of each call."""
        until = time.monotonic() + seconds
        stopped = time.monotonic()
        while time.monotonic() < until:
            self._keep_scanning()
            if self._timed("state", self._scope.state).busy == self._rid:
                self._timed("events", self._scope.events, max(self._begun - 10, 0))
                self._timed("status", self._scope.status, self._rid)
                self._fetch()
                if time.monotonic() - stopped > STOP_EVERY_S:
                    self._timed("stop", self._scope.stop)
                    stopped = time.monotonic()
            time.sleep(PAUSE_S)
        self._scope.stop()
        self._scope.close()
        told = {name: self._told(times) for name, times in self._took.items()}
        return {"scans": self._begun, **told}

    def _keep_scanning(self) -> None:
        if self._rid:
            told = self._scope.status(self._rid)["status"]
            if told in ("queued", "running"):
                return
        self._begun += 1
        self._rid = f"beside/{self._begun}/scan"
        scan = {"call": "scan", "rid": self._rid, "arguments": {"shape": [1024, 1024]}}
        self._scope.submit(scan)

    def _fetch(self) -> None:
        """Ask for the scan; what it takes to carry one that has just ended is apart."""
        begin, name = time.perf_counter(), "fetch, and there it is"
        try:
            self._scope.fetch(self._rid)
        except (NotReady, UnknownName, OperationStopped):
            name = "fetch"
        self._keep(name, begin)

    def _timed(self, name: str, ask: Callable[..., Any], *given: Any) -> Any:
        begin = time.perf_counter()
        answer = ask(*given)
        self._keep(name, begin)
        return answer

    def _keep(self, name: str, begin: float) -> None:
        took = (time.perf_counter() - begin) * 1e3
        self._took.setdefault(name, []).append(took)

    @staticmethod
    def _told(times: list[float]) -> dict[str, float]:
        return {
            "calls": len(times),
            "p50_ms": round(float(np.median(times)), 2),
            "p99_ms": round(float(np.percentile(times, 99)), 2),
            "max_ms": round(max(times), 2),
            "over 50 ms": sum(t > LIMIT_MS for t in times),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--machine", default="not told")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": given.machine}
    for name, more in {"computing": (), "in real time": ("--real-time",)}.items():
        with served(*more) as uri:
            found[name] = Beside(uri).ask(given.seconds)
    print(json.dumps(found, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
