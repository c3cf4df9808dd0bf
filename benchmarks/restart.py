"""A run that was cut off and goes on in a new process: how long to its first decision.

    python -m benchmarks.restart [--learners gp dkl bayes_gp] [--rounds 3]

A run on the shipped twin `pfm_loops` is cut off after 40 measurements. New processes
resume copies of it, with a compilation cache that the first of them filled, and end at
their first measurement. The clock is CPU seconds of the process, and begins once all
modules are imported that the first of them had in the end: what is left is the twin,
the journal, the programs from the cache, a fit, the posterior over the pool and the
choice. One JSON line a learner: each round, and the median.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

LEARNERS = ("gp", "dkl", "bayes_gp")
FIRST, CUT, STEPS = 10, 40, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", nargs="*", choices=LEARNERS, default=LEARNERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--result", type=Path, help="a JSON file; merged by learner")
    parser.add_argument("--core", type=int, help="run every process on this core alone")
    parser.add_argument("--begin", help="in a process of its own: begin a run")
    parser.add_argument("--resume", type=Path, help="in one of its own: resume it")
    parser.add_argument("--modules", type=Path)
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    if said.core is not None:
        os.sched_setaffinity(0, {said.core})  # and every process begun from here
    if said.begin:
        begin(said.begin, said.out)
    elif said.resume:
        resume(said.resume, said.modules)
    else:
        for learner in said.learners:
            line = measured(learner, said.rounds)
            print(json.dumps(line), flush=True)
            if said.result:
                merge(said.result, line)


def measured(learner, rounds):
    """Begin a run, cut it off, and resume copies of it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        variables = {"AEMTWIN_CACHE": str(folder / "cache")}
        variables |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

        def process(*arguments):
            return subprocess.run(
                [sys.executable, "-m", "benchmarks.restart", *map(str, arguments)],
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                check=True,
            ).stdout

        process("--begin", learner, "--out", folder / "runs")
        (run,) = (folder / "runs").iterdir()
        told = []
        for k in range(-1, rounds):  # the first fills the cache
            copy = folder / f"{k}" / run.name
            shutil.copytree(run, copy)
            modules = folder / "modules.json"
            said = process("--resume", copy, "--modules", modules)
            if k >= 0:
                told.append(json.loads(said.splitlines()[-1]))
        middle = {
            name: statistics.median(one[name] for one in told)
            for name in ("cpu_s_beyond_imports", "cpu_s_imports", "wall_s")
        }
        return {"learner": learner, "points": CUT, **middle, "rounds": told}


def begin(learner, out):
    """Run a campaign, and cut it off."""
    import aemtwin

    def cut(campaign, state, decision):
        del campaign, decision
        if len(state.indices) == CUT:
            raise KeyboardInterrupt

    twin = aemtwin.open_twin("pfm_loops", seed=0)
    also = {"first": FIRST, "steps": STEPS, "seed": 0, "baseline": False}
    try:
        aemtwin.run(twin, surrogate=learner, out=str(out), on_step=cut, **also)
    except KeyboardInterrupt:
        return


def resume(run, modules):
    """Import what a resumed run needs, then go on with it until it has measured."""
    import aemtwin
    from aemtwin.environment import before_jax, prepare_jax

    begun = time.perf_counter()
    if modules.exists():
        before_jax()
        for name in json.loads(modules.read_text()):
            try:
                import_module(name)
            except ImportError:
                continue  # one that can be imported as a part of another alone
    imports = time.process_time()
    prepare_jax()
    twin = aemtwin.open_twin("pfm_loops", seed=0)

    def first(campaign, state, decision):
        del campaign
        line = {
            "cpu_s_beyond_imports": time.process_time() - imports,
            "cpu_s_imports": imports,
            "wall_s": time.perf_counter() - begun,
            "fit_s": 0.0 if decision.belief is None else decision.belief.fit_s,
            "points": len(state.indices),
        }
        print(json.dumps(line), flush=True)
        if not modules.exists():
            names = [n for n in sys.modules if n != "__main__"]
            modules.write_text(json.dumps(names))
        raise KeyboardInterrupt

    try:
        aemtwin.resume(run, twin, on_step=first)
    except KeyboardInterrupt:
        return


def merge(path, line):
    old = json.loads(path.read_text()) if path.exists() else []
    kept = [one for one in old if one["learner"] != line["learner"]]
    path.write_text(json.dumps([*kept, line], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
