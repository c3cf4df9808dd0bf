"""Programs compiled in a campaign from 20 to 500 points, by name and by capacity.

    python -m benchmarks.compilations [--learners gp dkl bayes_gp] [--last 500]

A campaign is fit, posterior over the pool, log EI and the next point, as in
`test_learner_steps.py`. In each capacity the first `--steps` steps are made one after
the other and the rest of its points are measured at once, since what is compiled hangs
on the capacity alone; so a campaign of 480 steps is seen in a few minutes. Programs of
aemtwin's surrogates and acquisitions are told apart from JAX's own small operations.
One JSON line a learner: programs of each capacity, how many of them after its first
step (must be none), and how much memory a step leaves
behind, in the later half of them.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

from aemtwin import surrogates
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import bucket
from benchmarks.learning import acquisition_of, peak_mb, problem, spent, step

LEARNERS = {  # name -> surrogate, settings
    "gp": ("gp", {}),
    "gp, refit_every 5": ("gp", {"refit_every": 5}),
    "dkl": ("dkl", {}),
    "bayes_gp": ("bayes_gp", {}),
}
FIRST, LAST = 20, 500
EVENT = "/jax/core/compile/backend_compile_duration"
NAME = re.compile(r"^jit[_(]|\)$")  # what JAX puts around a name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=[*LEARNERS])
    parser.add_argument("--last", type=int, default=LAST)
    parser.add_argument("--steps", type=int, default=12, help="in each capacity")
    parser.add_argument("--result", type=Path, help="a JSON file; merged by learner")
    said = parser.parse_args()
    if len(said.learners) > 1:  # each in a process of its own, that shares no program
        for learner in said.learners:
            rest = [a for a in sys.argv[1:] if a not in (*LEARNERS, "--learners")]
            command = [sys.executable, "-m", "benchmarks.compilations", *rest]
            subprocess.run([*command, "--learners", learner], check=True)
        return
    prepare_jax()
    from jax import monitoring

    seen: list[str] = []

    def listen(event, duration, **told):
        if event == EVENT:
            seen.append(NAME.sub("", str(told.get("fun_name", "?"))))

    monitoring.register_event_duration_secs_listener(listen)
    ours = programs_of_aemtwin()
    line = campaign(said.learners[0], said.last, said.steps, seen, ours)
    print(json.dumps(line), flush=True)
    if said.result:
        merge(said.result, line)


def programs_of_aemtwin():
    """Return the names of all functions of the learning half that are compiled."""
    names = set()
    for package in ("aemtwin.surrogates", "aemtwin.acquisition"):
        home = import_module(package)
        for found in pkgutil.iter_modules(home.__path__, f"{package}."):
            for value in vars(import_module(found.name)).values():
                if hasattr(value, "lower") and hasattr(value, "trace"):
                    names.add(getattr(value, "__name__", "?"))
    return names


def points(last, steps):
    """Return the numbers of points at which a step is made, by capacity."""
    each = {}
    for n in range(FIRST, last + 1):
        each.setdefault(bucket(n), []).append(n)
    return {capacity: ns[:steps] for capacity, ns in each.items()}


def campaign(learner, last, steps, seen, ours):
    """Run one campaign; return what was compiled when, and how memory grew."""
    name, params = LEARNERS[learner]
    at = problem(images=name == "dkl", inner=name == "dkl")
    surrogate, acquire = surrogates.get(name, **params), acquisition_of("log_ei")
    state, measured = surrogate.init(at.X.shape[1]), []
    capacities, looked = [], None
    follows = params.get("refit_every", 1) > 1
    with spent() as cost:
        for capacity, each in points(last, steps).items():
            compiled, memory, busy = [], [], []
            for n in each:
                fresh = [i for i in at.order if i not in set(measured)]
                measured = [*measured, *fresh[: n - len(measured)]]
                before = len(seen)
                with spent() as one:
                    best, _, state, info = step(surrogate, acquire, state, at, measured)
                    if follows and not info["searched"]:  # as a campaign does
                        looked, _ = surrogate.look(state, looked, at.X)
                measured.append(best)
                compiled.append(seen[before:])
                memory.append(resident_mb())
                busy.append(one.cpu_s)
            mine = [Counter(p for p in some if p in ours) for some in compiled]
            other = [sum(p not in ours for p in some) for some in compiled]
            half = memory[len(memory) // 2 :]  # by then the heap has settled
            capacities.append(
                {
                    "capacity": capacity,
                    "points": [each[0], each[-1]],
                    "named_in_the_first_step": dict(mine[0]),
                    "named_later": {
                        str(n): dict(some)
                        for n, some in zip(each[1:], mine[1:], strict=True)
                        if some
                    },
                    "small_operations": [other[0], sum(other[1:])],
                    "growth_mb_per_step": (half[-1] - half[0]) / max(1, len(half) - 1),
                    "median_step_cpu_s": sorted(busy)[len(busy) // 2],
                }
            )
    return {
        "learner": learner,
        "from": FIRST,
        "to": last,
        "cut_short": last < LAST,
        "pool": len(at.f),
        "capacities": capacities,
        "named": sum(
            sum(c["named_in_the_first_step"].values())
            + sum(sum(some.values()) for some in c["named_later"].values())
            for c in capacities
        ),
        "small_operations": sum(sum(c["small_operations"]) for c in capacities),
        "cpu_s": cost.cpu_s,
        "peak_mb": peak_mb(),
    }


def resident_mb():
    """Return the memory that this process holds now, MB; the peak where unknown."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_mb()
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def merge(path, line):
    old = json.loads(path.read_text()) if path.exists() else []
    kept = [one for one in old if one["learner"] != line["learner"]]
    path.write_text(json.dumps([*kept, line], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
