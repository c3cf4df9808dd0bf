"""Steps and whole campaigns of aemtwin, as `gpax/steps.py` does them.

    python -m benchmarks.peers.ours DATA.npz MODEL --n 50 100 --repeat 3
    python -m benchmarks.peers.ours DATA.npz MODEL --campaign 20 40

Models are those of the campaigns with their defaults. One JSON line a step, with the
programs compiled in it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from aemtwin import surrogates
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import count_compilations
from benchmarks.learning import (
    Problem,
    acquisition_of,
    peak_mb,
    rmse,
    spent,
    step,
    top_found,
)

MODELS = {
    "gp": ("gp", {}),
    "bayes_gp": ("bayes_gp", {}),
    "dkl x 1": ("dkl", {"members": 1}),
    "dkl x 8": ("dkl", {"members": 8}),
}
LAST = 6  # steps of a campaign whose growth of memory is told
SAID = ("r_hat", "ess", "rounds", "evaluations", "restarts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--n", type=int, nargs="*", default=[])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--campaign", type=int, nargs=2)
    said = parser.parse_args()
    prepare_jax()
    at = Problem(**np.load(said.data))
    name, params = MODELS[said.model]
    surrogate, ucb = surrogates.get(name, **params), acquisition_of("ucb")
    if said.campaign:
        first, last = said.campaign
        state, measured = surrogate.init(at.X.shape[1]), list(at.order[:first])
        peaks = list[float]()
        with spent() as cost, count_compilations() as seen:
            while len(measured) < last:
                best, _, state, _ = step(surrogate, ucb, state, at, measured)
                measured.append(best)
                peaks.append(peak_mb())
        _, posterior, _, _ = step(surrogate, ucb, state, at, measured)
        line = {
            "model": said.model,
            "campaign": [first, last],
            "wall_s": cost.wall_s,
            "cpu_s": cost.cpu_s,
            "compilations": seen.count,
            "compiling_s": seen.seconds,
            "rmse": rmse(at, posterior),
            "top_1_percent_found": top_found(at, measured),
            "peak_mb": peak_mb(),
            "peak_growth_mb_per_step": (peaks[-1] - peaks[-1 - LAST]) / LAST,
        }
        print(json.dumps(line), flush=True)
    for n in said.n:
        state = surrogate.init(at.X.shape[1])
        for k in range(-2, said.repeat):  # cold, then warm, then what is timed
            measured = at.order[: n + k]
            with spent() as cost, count_compilations() as seen:
                found = step(surrogate, ucb, state, at, measured)
            _, posterior, state, info = found
            line = {
                "model": said.model,
                "n": n,
                "points": n + k,
                "warm_up": k < 0,
                "wall_s": cost.wall_s,
                "cpu_s": cost.cpu_s,
                "compilations": seen.count,
                "peak_mb": peak_mb(),
                "peak_growth_mb": cost.peak_growth_mb,
                "rmse": rmse(at, posterior),
                **{key: info[key] for key in SAID if key in info},
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
