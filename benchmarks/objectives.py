"""What is found of two numbers that conflict, by ehvi, by novelty and without them?

    python benchmarks/objectives.py [seeds]

On `pfm_loops` loops shall be wide in area and low in coercive bias, which go together
with a correlation of 0.6, so that no loop is best in both. Every method has the same 10
first points and 40 more, with the twin's noise; it is scored by the true numbers of the
spots that it measured. "Hypervolume" is that of these spots in parts of that of all
2500 candidates, from one reference; "outcomes" the part of the cells of 5 x 5 numbers
that some candidate reaches in which a measured one lies.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import aemtwin
from aemtwin import fronts
from aemtwin.acquisition.novelty import cells_of, reached

FIRST, STEPS = 10, 40
BOTH = ["loop_area", "-coercive_bias"]
PCA = ["pca:component=1", "pca:component=2", "pca:component=3"]
METHODS: dict[str, dict[str, Any]] = {
    "random": {"scalarizer": BOTH, "acquisition": "random"},
    "log_ei on loop_area": {"scalarizer": BOTH[0], "acquisition": "log_ei"},
    "log_ei on -coercive_bias": {"scalarizer": BOTH[1], "acquisition": "log_ei"},
    "ehvi on both": {"scalarizer": BOTH, "acquisition": "ehvi"},
    "novelty of both, by means": {
        "scalarizer": BOTH,
        "acquisition": "novelty:of=mean",
    },
    "novelty of spectra, by means": {
        "scalarizer": PCA,
        "acquisition": "novelty:of=mean,scale=same",
    },
    "novelty of both, by draws": {"scalarizer": BOTH, "acquisition": "novelty"},
}
OUT = Path(__file__).parent / "results" / "objectives.json"
Array = NDArray[np.float64]


def run(method: str, seed: int, out: str) -> tuple[Any, float]:
    """Return the record of a run, and its CPU seconds."""
    begin = time.process_time()
    done = aemtwin.run(
        aemtwin.open_twin("pfm_loops", seed=seed),
        surrogate="multi_gp",
        first=FIRST,
        steps=STEPS,
        seed=seed,
        baseline=False,
        out=out,
        **METHODS[method],
    )
    return done.record, time.process_time() - begin


def main(seeds: int) -> None:
    """Print the table and keep it."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as out:
        truth = run("random", 0, out)[0].true_outcomes
        at, cells = fronts.reference_of(truth), cells_of(truth, 5)
        whole = fronts.hypervolume(truth, at)
        for name in METHODS:
            for seed in range(seeds):
                record, cpu_s = run(name, seed, out)
                y = truth[[event["data"]["index"] for event in record.events]]
                curve = fronts.volumes(y, at) / whole
                row = curve[FIRST + 20 - 1], curve[-1], reached(y, cells, truth), cpu_s
                found.setdefault(name, []).append(tuple(float(x) for x in row))
            told = np.array(found[name])
            error = told.std(axis=0, ddof=1) / np.sqrt(seeds)
            line = zip(told.mean(axis=0), error, strict=True)
            print(name, *(f"{m:.3f} +- {e:.3f}" for m, e in line), flush=True)
            keep(found, float(np.corrcoef(truth.T)[0, 1]))


def keep(found: dict[str, list[tuple[float, ...]]], correlation: float) -> None:
    """Write what was found so far."""
    keys = "hypervolume_30", "hypervolume_50", "outcomes_50", "cpu_s"
    runs = {
        name: [dict(zip(keys, row, strict=True)) for row in rows]
        for name, rows in found.items()
    }
    told = {"scalarizers": BOTH, "correlation": correlation, "runs": runs}
    OUT.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
