"""What every program of a comparison does alike: steps, campaigns, JSON lines.

`ours.py` and `NAME/steps.py` give it their models; each of these runs in an environment
of its own, so this needs nothing but NumPy. A model is begun with the problem, a `dict`
of the arrays of `benchmarks.learning.Problem`, and with the evaluations that it shall
spend (None: its own budget). It returns a function that decides once:

    decide(measured, seed) -> candidate (), mean (m,), what it tells (a dict)

That function is timed as a whole, with all that it compiles.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from importlib import metadata

import numpy as np

KAPPA = 2.0
LAST = 6  # steps of a campaign whose growth of memory is told


def upper(mean, variance, measured):
    """Return the candidate with the highest upper bound among those not measured."""
    scores = np.array(mean, np.float64) + KAPPA * np.sqrt(np.maximum(variance, 0.0))
    scores[measured] = -np.inf
    return int(np.nanargmax(scores))


def rmse(at, mean):
    return float(np.sqrt(np.mean((np.asarray(mean) - at["f"]) ** 2)))


def peak_mb():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)


def timed(decide, at, measured, seed):
    """Return the candidate chosen, and what that cost."""
    wall, cpu, peak = time.perf_counter(), time.process_time(), peak_mb()
    best, mean, told = decide(measured, seed)
    cost = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_mb(),
        "peak_growth_mb": peak_mb() - peak,
    }
    return best, {**cost, "rmse": rmse(at, mean), **told}


def steps(begin, at, n, repeat, warm_up):
    """Decide with n - warm_up points first, then with n, n + 1, ...: a line each."""
    decide = begin(at)
    for k in range(-warm_up, repeat):
        _, told = timed(decide, at, at["order"][: n + k], n + k)
        yield {"n": n, "points": n + k, "warm_up": k < 0, **told}


def campaign(begin, at, first, last):
    """Measure what is decided on, from `first` points to `last`: one line."""
    wall, cpu = time.perf_counter(), time.process_time()
    decide, measured, each = begin(at), list(at["order"][:first]), []
    while len(measured) < last:
        best, told = timed(decide, at, np.array(measured), len(measured))
        measured.append(best)
        each.append(told)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    whole = time.process_time()  # with the imports
    _, told = timed(decide, at, np.array(measured), last)  # the map at the end
    top = np.argsort(at["f"])[-max(1, len(at["f"]) // 100) :]
    taken = sorted(one["cpu_s"] for one in each)
    return {
        "campaign": [first, last],
        "wall_s": wall,
        "cpu_s": cpu,
        "process_cpu_s": whole,
        "median_step_cpu_s": taken[len(taken) // 2],
        "compilations": sum(one.get("compilations", 0) for one in each),
        "evaluations": sum(one.get("evaluations", 0) for one in each),
        "rmse": told["rmse"],
        "top_1_percent_found": float(np.isin(top, measured).mean()),
        "peak_mb": each[-1]["peak_mb"],
        "peak_growth_mb": sum(e["peak_growth_mb"] for e in each[-LAST:]) / LAST,
    }


def main(models, packages, *, warm_up=(1, 0), doc=""):
    """Read what is wanted from the command line, and print a JSON line for each.

    Args:
        models: Name -> begin(at, evaluations).
        packages: Whose versions are told first.
        warm_up: Steps before those that are timed, of the first n and of the others.
        doc: What the program is, for its help.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("data", help="the problem, an .npz file")
    parser.add_argument("model", choices=models)
    parser.add_argument("--n", type=int, nargs="*", default=[])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--campaign", type=int, nargs=2)
    parser.add_argument("--evaluations", type=int, help="spend as many on each fit")
    said = parser.parse_args()
    at = dict(np.load(said.data))
    tell({"packages": {name: metadata.version(name) for name in packages}})

    def begin(at):
        return models[said.model](at, said.evaluations)

    if said.campaign:
        tell({"model": said.model, **campaign(begin, at, *said.campaign)})
    for n in said.n:
        before = warm_up[n != said.n[0]]
        for line in steps(begin, at, n, said.repeat, before):
            tell({"model": said.model, **line})


def tell(line):
    print(json.dumps(line), flush=True)
