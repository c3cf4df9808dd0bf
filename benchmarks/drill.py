"""Kills by the thousand, and a million measurements: by hand, seeded.

    python -m benchmarks.drill --kills 1000 --out benchmarks/results/drill.json
    python -m benchmarks.drill --measurements 1000000 --out .../memory.json

`tests/remote/drill.py` is the machinery, and says what counts; the slow tests do 50
kills of each kind and 2*10^4 measurements. A round is 50 kills on one ledger.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from tests.remote.bench import Hardware
from tests.remote.drill import Served, drill, slope_of

ROUND = 50


def kill(kind: str, kills: int, seed: int) -> dict[str, object]:
    begin, rounds = time.monotonic(), []
    for k in range(-(-kills // ROUND)):
        with tempfile.TemporaryDirectory() as folder:
            found = drill(kind, min(ROUND, kills - k * ROUND), seed + k, Path(folder))
        rounds.append(found)
        print(kind, k, found.kills, found.asked, found.wrong, found.twice, flush=True)
    service = sorted(s for found in rounds for s in found.service_s)
    whom = {w: sum(f.kills.get(w, 0) for f in rounds) for w in rounds[0].kills}
    return {
        "kind": kind,
        "seed": seed,
        "kills": whom,
        "requests answered": sum(found.asked for found in rounds),
        "indeterminate": sum(found.indeterminate for found in rounds),
        "exposed twice": sum(len(found.twice) for found in rounds),
        "wrong": [text for found in rounds for text in found.wrong],
        "service after restart, s": {
            "p50": round(statistics.median(service), 3),
            "max": round(service[-1], 3),
            "starts": len(service),
        },
        "took_s": round(time.monotonic() - begin, 1),
    }


def soak(kind: str, count: int) -> dict[str, object]:
    hardware = Hardware()
    with tempfile.TemporaryDirectory() as folder:
        server = Served(kind, Path(folder) / "ledger.sqlite", hardware.port)
        server.start()
        begin = time.monotonic()
        try:
            server.answers()
            slope, descriptors, mine = slope_of(server, count, warm=count // 10)
            seconds = time.monotonic() - begin
            size = (Path(folder) / "ledger.sqlite").stat().st_size
        finally:
            server.kill()
            hardware.close()
    return {
        "kind": kind,
        "measurements": count,
        "server, MiB per 10^5": round(slope, 3),
        "client, MiB per 10^5": round(mine, 3) if kind == "twin" else None,
        "descriptors more": descriptors,
        "ledger, bytes a measurement": round(size / count),
        "took_s": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--measurements", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machine", default="not told")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cells = []
    for kind in ("instrument", "twin"):
        if given.kills:
            cells.append(kill(kind, given.kills, given.seed))
        if given.measurements:
            cells.append(soak(kind, given.measurements))
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": given.machine,
        "cells": cells,
    }
    print(json.dumps(found, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
