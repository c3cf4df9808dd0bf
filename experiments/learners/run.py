"""Run every learner on three samples, once a seed, on twins in this process.

    python experiments/learners/run.py --seeds 20 --jobs 2

A seed is that of the decisions and of the twin's noise, so that the methods are paired:
the same first points, the same noise of the same measurement. A run that is there
already is not made again. `analysis.py` reads what is written here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from aemtwin import config, open_twin, runs
from aemtwin.flags import campaign_file

SAMPLES = {"pfm_loops": "pfm_line", "stem_eels": "stem_line", "sts_grid": "sts_grid"}
METHODS: dict[str, dict[str, Any]] = {
    "dkl": {"surrogate": "dkl"},
    "gp": {"surrogate": "gp", "inputs": {}},
    "bayes_gp": {"surrogate": "bayes_gp", "inputs": {}},
    "random": {"surrogate": "gp", "inputs": {}, "acquisition": "random"},
}


def one(sample: str, method: str, seed: int, out: Path) -> str:
    """Make one run, unless it is there."""
    folder = out / sample / method / f"seed{seed:02d}"
    if any(folder.glob("*/scores.json")):
        return f"{sample} {method} {seed}: there already"
    described = config.load(campaign_file(SAMPLES.get(sample, sample))).model_dump()
    changes = {**METHODS[method], "seed": seed, "baseline": False, "out": str(folder)}
    said = config.build({**described, **changes})
    source = os.path.expandvars(said.twin.source)
    told = said.twin.model_dump(exclude={"source", "seed"})
    twin = open_twin(source, seed=seed, **told)
    done = runs.run(twin, said)
    found = done.scores["top_1_percent_found"]
    return f"{sample} {method} {seed}: {found:.0%} of the best 1 % found"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="runs: seeds 0, 1, ...")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/learners"))
    parser.add_argument(
        "--samples",
        nargs="+",
        default=list(SAMPLES),
        help="of the three, or any experiment by name",
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    said = parser.parse_args()
    wanted = [
        (sample, method, seed, said.out)
        for seed in range(said.seeds)
        for sample in said.samples
        for method in said.methods
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(said.jobs, mp_context=spawn) as pool:
        for done in as_completed([pool.submit(one, *each) for each in wanted]):
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()
