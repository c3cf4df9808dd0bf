"""What the way in which XLA fuses costs: compiling, and a step, of three learners.

    python -m benchmarks.xla_fusion --core 1

Each case is a process of its own on one core, without a compilation cache: N points,
then steps that follow each other; XLA's own choice, and what
`aemtwin.surrogates.programs` has for the programs that fit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from aemtwin.environment import before_jax
from aemtwin.surrogates import programs

LEARNERS = {"gp": False, "dkl x 8": True, "bayes_gp": False}  # does it see images?
N, STEPS = (50, 200), 6  # the first step compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="run every process on this core alone")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.core is not None:
        os.sched_setaffinity(0, {said.core})  # and every process begun from here
    if said.one:
        learner, n, way = said.one
        print(json.dumps(steps(learner, int(n), quick=way == "quick")))
        return
    print("| learner | n | compiling and first step | a later step, median |")
    for learner in LEARNERS:
        for n in N:
            own, ours = (case(learner, n, way) for way in ("own", "quick"))
            print(
                f"| `{learner}` | {n} | {own[0]:.1f} s / {ours[0]:.1f} s "
                f"| {1e3 * median(own[1:]):.3g} ms / {1e3 * median(ours[1:]):.3g} ms |",
                flush=True,
            )


def case(learner: str, n: int, way: str) -> list[float]:
    """Return the CPU seconds of each step, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.xla_fusion"]
    command += ["--one", learner, str(n), way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


def steps(learner: str, n: int, *, quick: bool) -> list[float]:
    """Return the CPU seconds of steps that follow each other."""
    before_jax()  # and no compilation cache
    if not quick:
        programs.MEASURED = "none"  # before a surrogate is imported
    from benchmarks.learning import problem
    from benchmarks.peers.ours import begin

    at = problem(images=LEARNERS[learner], inner=LEARNERS[learner])
    decide: Any = begin(learner, at._asdict(), None)
    spent, measured = [], [int(k) for k in at.order[:n]]
    for _ in range(STEPS):
        begun = time.process_time()
        best, *_ = decide(measured, 0)
        spent.append(time.process_time() - begun)
        measured.append(best)
    return spent


if __name__ == "__main__":
    main()
