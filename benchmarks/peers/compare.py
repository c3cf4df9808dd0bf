"""Steps and campaigns side by side with gpax, BoTorch and gpCAM: one run, one core.

    python -m benchmarks.peers.compare --core 1 --machine "in words"
    python -m benchmarks.peers.compare --core 1 --machine "in words" \
        --what campaigns --peers gpax --only viGP

Same points, same pool, ours and the peers' in turn (`plan`), each cell a process on one
core with one thread for linear algebra. CPU seconds of the process are compared, since
a machine may be shared. Peers are in environments of their own (`environments`); one
that is absent is skipped with the reason. What is measured is merged, cell by cell,
into the result, so that long cells can be run one by one. `benchmarks/README.md` says
what differs in work done.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import problem
from benchmarks.peers import plan
from benchmarks.peers.environments import MODULES, ROOT, Absent, python_of
from benchmarks.peers.plan import OURS, Cell
from benchmarks.peers.tables import Line, key, merged, ratios, summed_up

RESULT = ROOT / "benchmarks" / "results" / "peers.json"
N = (50, 100, 200)


class Run:
    """One run of the comparison: who takes part, and what it measured so far."""

    def __init__(self, folder: Path, peers: list[str], result: Path) -> None:
        self.folder, self.result = folder, result
        self.at = datetime.datetime.now().isoformat(timespec="seconds")
        self.found = list[Line]()
        self.packages: dict[str, Any] = {}
        self.failed = list[Line]()
        self.skipped = list[Line]()
        self.pythons = {OURS: sys.executable}
        for peer in peers:
            try:
                self.pythons[peer] = str(python_of(peer))
            except Absent as why:
                self.skip(peer, str(why))
        self.data = {task: str(folder / f"{task}.npz") for task in plan.TASKS}
        for task, path in self.data.items():
            images = task == "patches"
            np.savez(path, **problem(images=images, inner=images)._asdict())

    def old(self) -> dict[str, Any]:
        """Return what the result has, perhaps from another run at the same time."""
        if not self.result.exists():
            return {}
        told: dict[str, Any] = json.loads(self.result.read_text(encoding="utf-8"))
        return told

    def cells(self) -> list[Line]:
        return merged(self.old().get("cells", []), self.found)

    def skip(self, peer: str, reason: str) -> None:
        print(f"skipped {peer}: {reason}", file=sys.stderr, flush=True)
        self.skipped.append({"peer": peer, "reason": reason})

    def measure(self, cell: Cell) -> None:
        """Run one cell, unless its peer is not here."""
        if cell.who not in self.pythons:
            return
        asked = self.budget(cell) if cell.against else None
        if cell.against and asked is None:
            why = f"no steps of it at n = {cell.n[0]}, whose evaluations ours spends"
            self.skip(cell.against, why)
            return
        told: Line = {"what": cell.what, "who": cell.who, "run": self.at}
        told |= {"against": cell.against, "asked": asked} if cell.against else {}
        told |= {"cache": cell.cache} if cell.cache else {}
        lines = self.lines(cell, command(cell, self.pythons, self.data, asked))
        for line in lines:
            if "packages" in line:
                self.packages[cell.who] = line["packages"]
        lines = [told | line for line in lines if "packages" not in line]
        self.failed += [line for line in lines if "failed" in line]
        whole = [line for line in lines if "campaign" in line]
        self.found = merged(self.found, [*summed_up(lines), *whole])

    def budget(self, cell: Cell) -> int | None:
        """Return the evaluations that the peer's step takes, in the median."""
        peer, _, model = cell.against.partition("/")
        wanted = {"what": "steps", "who": peer, "model": model, "n": cell.n[0]}
        for one in self.cells():
            if key(one) == key(wanted):
                return round(one["evaluations"])
        return None

    def lines(self, cell: Cell, command: list[str]) -> list[Line]:
        """Run a process that prints JSON lines; a failure is a line too."""
        variables = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        variables |= {"MKL_NUM_THREADS": "1"}
        if cell.cache:
            variables["AEMTWIN_CACHE"] = str(self.folder / f"cache {cell.model}")
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        lines = [json.loads(one) for one in done.stdout.splitlines() if one[:1] == "{"]
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing"]
            lines.append({"model": cell.model, "failed": said[-1]})
        for line in lines:
            told = {"what": cell.what, "who": cell.who, **line}
            print(json.dumps(told), file=sys.stderr, flush=True)
        return lines


def command(
    cell: Cell, pythons: dict[str, str], data: dict[str, str], asked: int | None
) -> list[str]:
    """Return the command of one cell."""
    module = "ours" if cell.who == OURS else f"{cell.who}.steps"
    out = [pythons[cell.who], "-m", f"benchmarks.peers.{module}"]
    out += [data[cell.task], cell.model]
    if cell.what == "campaigns":
        return [*out, "--campaign", str(plan.FIRST), str(plan.LAST)]
    out += ["--n", *map(str, cell.n), "--repeat", str(cell.repeat)]
    return out if asked is None else [*out, "--evaluations", str(asked)]


def write(run: Run, machine: str) -> None:
    """Merge what this run has into the result."""
    old, cells = run.old(), run.cells()
    here = {cell["who"] for cell in run.found} | {one["peer"] for one in run.skipped}
    before = [one for one in old.get("skipped", []) if one["peer"] not in here]
    text = {
        "date": run.at[:10],
        "machine": machine,
        "python": platform.python_version(),
        "packages": old.get("packages", {}) | run.packages,
        "ratios": ratios(cells, plan.RATIOS),
        "cells": cells,
        "skipped": before + run.skipped,
        "failed": run.failed,
    }
    run.result.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="the machine, in words")
    parser.add_argument("--what", nargs="*", choices=plan.KINDS, default=plan.KINDS)
    peers = list(MODULES)
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers)
    every = list(plan.MODELS)
    parser.add_argument("--only", nargs="*", choices=every, default=every)
    parser.add_argument("--n", nargs="*", type=int, default=N)
    parser.add_argument("--core", type=int, help="run every process on this core alone")
    parser.add_argument("--result", type=Path, default=RESULT)
    said = parser.parse_args()
    if said.core is not None:
        os.sched_setaffinity(0, {said.core})  # and every process begun from here
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), said.peers, said.result)
        for what in said.what:
            for cell in plan.cells(what, said.peers, said.only, list(said.n)):
                run.measure(cell)
                write(run, said.machine)
    for one in ratios(run.found, plan.RATIOS):
        at = f"n = {one['n']}" if "n" in one else f"{one['cache']} cache"
        print(f"{one['what']}, {at}: {one['ours']}, {one['peer']}: {one['cpu']:.3g}x")


if __name__ == "__main__":
    main()
