"""Instrument, learner and watcher as three processes, with a long way between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aemtwin.documents import steady
from aemtwin.record import read_run
from aemtwin.testing.network import Network
from tests.small import ROOT

AEMTWIN = [sys.executable, "-m", "aemtwin"]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "NPROC": "1"}
TWIN = "pfm_loops"
ROUND_TRIP_S = 0.05
LOSS = 0.01
SEED = "3"
PATIENCE_S = 240.0


@contextmanager
def instrument() -> Iterator[str]:
    """Serve a twin in a process of its own; give its URI."""
    # a run that serves its own twin gives it its seed
    command = [*AEMTWIN, "serve", TWIN, "--truth", "--seed", SEED]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def watcher(uri: str, path: Path) -> Iterator[None]:
    """Watch an instrument from another process, into a file."""
    with path.open("w") as file:
        process = subprocess.Popen(
            [*AEMTWIN, "watch", uri], stdout=file, stderr=subprocess.STDOUT, env=ENV
        )
        try:
            yield
        finally:
            process.terminate()
            process.communicate()


def learner(folder: Path, *where: str, steps: int) -> tuple[list[Any], float]:
    """Run a campaign in a process of its own; return its events and its time, s."""
    options = ["--surrogate", "gp", "--steps", str(steps), "--first", "4"]
    begin = time.monotonic()
    subprocess.run(
        [*AEMTWIN, "run", *where, *options, "--seed", SEED, "--out", str(folder)],
        env=ENV,
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    took_s = time.monotonic() - begin
    (run,) = (path.parent for path in folder.glob("*/journal.jsonl"))
    return [steady(event) for event in read_run(run).events], took_s


def compared(folder: Path, far: str, steps: int) -> dict[str, Any]:
    """Run a campaign near and far, with somebody who watches from far away."""
    near, near_s = learner(folder / "near", "--twin", TWIN, steps=steps)
    seen = folder / "watched.txt"
    with watcher(far, seen):
        events, far_s = learner(folder / "far", "--uri", far, steps=steps)
        until = time.monotonic() + 20.0
        last = events[-1]["data"].get("rid", f"/{len(events)}/measure")
        while last not in seen.read_text() and time.monotonic() < until:
            time.sleep(0.1)
    return {
        "events": len(events),
        "same": json.dumps(events, default=str) == json.dumps(near, default=str),
        "watched": last in seen.read_text(),
        "near_s": round(near_s, 2),
        "far_s": round(far_s, 2),
    }


def through_a_proxy(folder: Path, steps: int) -> dict[str, Any]:
    """50 ms round trip and 1 % loss by a `Network`."""
    with instrument() as uri:
        with Network(uri, delay_s=ROUND_TRIP_S / 2, loss=LOSS, seed=1) as network:
            found = compared(folder, network.uri, steps)
            return {**found, "frames": dict(network.frames)}


if __name__ == "__main__":  # FOLDER STEPS: over whatever the system has for a network
    with instrument() as served:
        told = compared(Path(sys.argv[1]), served, int(sys.argv[2]))
    sys.stdout.write(json.dumps(told) + "\n")
