"""What the way in which XLA fuses costs: compiling, and a step, of three learners.

    python -m benchmarks.xla_fusion --core 1

Each case is a process of its own on one core, without a compilation cache: ten points
fewer than N, then steps that follow each other. XLA's own choice is `XLA_FLAGS` set to
nothing; `aemtwin.environment.before_jax` sets what is compared with it.
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

from aemtwin.environment import XLA_FLAGS, before_jax
from benchmarks.peers.ours import begin

LEARNERS = {"gp": False, "dkl x 8": True, "bayes_gp": False}  # does it see images?
N, STEPS = (50, 200), 6  # the first step compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="run every process on this core alone")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.core is not None:
        os.sched_setaffinity(0, {said.core})  # and every process begun from here
    if said.one:
        print(json.dumps(steps(said.one[0], int(said.one[1]))))
        return
    print("| learner | n | compiling and first step | a later step, median |")
    for learner in LEARNERS:
        for n in N:
            own, ours = (case(learner, n, flags) for flags in ("", XLA_FLAGS))
            print(
                f"| `{learner}` | {n} | {own[0]:.1f} s / {ours[0]:.1f} s "
                f"| {1e3 * median(own[1:]):.3g} ms / {1e3 * median(ours[1:]):.3g} ms |",
                flush=True,
            )


def case(learner: str, n: int, flags: str) -> list[float]:
    """Return the CPU seconds of each step, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.xla_fusion", "--one", learner, str(n)]
    done = subprocess.run(
        command,
        env={**os.environ, "XLA_FLAGS": flags},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: list[float] = json.loads(done.stdout)
    return found


def steps(learner: str, n: int) -> list[float]:
    """Return the CPU seconds of steps that follow each other."""
    before_jax()  # and no compilation cache
    from benchmarks.learning import problem

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
