"""Does it pay to decide how long to measure? Equal seconds of the instrument, each way.

    python benchmarks/dwells.py [seeds]

Loop areas of `pfm_loops` on its 50 x 50 spots, with a read-out noise of 4 pm at
0.512 s, nearly three times its own (the area's map has a standard deviation of 61 pm·V,
a measurement then 19). A `gp` begins with 8 points of the usual dwell and measures
until `BUDGET_S` seconds of the instrument's own clock are over: moving, settling and
dwell. All count travel. Fixed dwells: the usual one, a short and a long one; decided:
any of `LADDER`.

Scored after the budget are the map's RMSE and how far the true value of the measured
spot that is believed best lies below the highest there is.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import open_twin, scoring
from aemtwin.campaign import Campaign
from aemtwin.config import build
from aemtwin.environment import prepare_jax
from aemtwin.journal import Journal

BUDGET_S, MOST = 45.0, 400
SHORT, USUAL, LONG = 0.1, 0.512, 2.0
LADDER = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
ARMS: dict[str, dict[str, Any]] = {
    "usual, 0.512 s": {"dwell_s": USUAL},
    "short, 0.1 s": {"dwell_s": SHORT},
    "long, 2 s": {"dwell_s": LONG},
    "decided": {"search": {"travel": 1.0, "dwell_s": LADDER}},
}
NOISES = (4.0,)  # pm
ACQUISITIONS = ("variance",)
OUT = Path(__file__).parent / "results" / "dwells.json"
Array = NDArray[np.float64]


def campaign(arm: str, acquire: str, noise: float, seed: int) -> dict[str, Any]:
    """Return what one campaign had found when its time was over."""
    twin = open_twin("pfm_loops", seed=seed, noise={"loops": noise})
    said = {
        "search": {"travel": 1.0},
        "uri": "here",
        "surrogate": "gp:refit_every=10",
        "acquisition": acquire,
        "first": 8,
        "steps": MOST,
        "seed": seed,
        "overview": "",
        **ARMS[arm],
    }
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        run = Campaign(twin, build(said), journal, "dwells")
        state, start = run.init(), twin.state().time_s
        while twin.state().time_s - start < BUDGET_S and len(state.indices) < MOST:
            state, _ = run.step(state)
        belief = run.believe(state)
        truth = scoring.true_values(twin, run, run.scalarizer)
    assert belief is not None
    assert truth is not None
    done = np.array(state.indices)
    best = done[np.argmax(belief.mean[done])]
    spent = Counter(state.known.dwells[run.config.first :])
    return {
        "n": len(done),
        "seconds": twin.state().time_s - start,
        "rmse": float(np.sqrt(np.mean((belief.mean - truth) ** 2))),
        "regret": float(truth.max() - truth[best]),
        "inside_90": float(np.mean(np.abs(belief.mean - truth) < 1.645 * belief.sd)),
        "noise_1s": state.known.rough,
        "dwells": {f"{t:g}": k for t, k in sorted(spent.items())},
        "cpu_s": time.process_time() - begin,
    }


def paired(rows: list[dict[str, Any]], other: list[dict[str, Any]], key: str) -> str:
    """Return the mean difference with its 95 % interval, over seeds (Student's t)."""
    from scipy import stats

    gap = np.array([a[key] - b[key] for a, b in zip(rows, other, strict=True)])
    half = stats.t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap))
    return f"{gap.mean():+.1f} ± {half:.1f}"


def main(seeds: int) -> None:
    """Print the table and keep it."""
    prepare_jax()
    found: dict[str, Any] = {"ladder": LADDER}
    print(
        "| noise | acquisition | dwell | spots | RMSE | of decided | regret | of it |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for noise in NOISES:
        for acquire in ACQUISITIONS:
            runs = {
                arm: [campaign(arm, acquire, noise, seed) for seed in range(seeds)]
                for arm in ARMS
            }
            found[f"{noise:g} pm, {BUDGET_S:g} s, {acquire}"] = runs
            for arm, rows in runs.items():
                mean = {k: np.mean([r[k] for r in rows]) for k in ("n", "rmse")}
                regret = np.mean([r["regret"] for r in rows])
                less = [paired(rows, runs["decided"], k) for k in ("rmse", "regret")]
                print(
                    f"| {noise:g} pm | `{acquire}` | {arm} | {mean['n']:.0f} | "
                    f"{mean['rmse']:.1f} | {less[0]} | {regret:.0f} | {less[1]} |",
                    flush=True,
                )
            OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 12)
