"""Read the run folders, and nothing else; print the table and draw the curves.

    python experiments/first_light/analysis.py runs/first_light

`--save` writes the numbers to `results.json` beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.record import RunRecord, read_run

RESULTS = Path(__file__).with_name("results.json")
MACHINE = ("python", "cores", "jax_backend", "packages")
SCORES = ("top_1_percent_found", "regret", "rmse", "coverage_90", "first_hit")


def methods(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Return what each method of one run scored, with its learning curve."""
    truth, scores = record.truth, record.scores
    level = np.sort(truth)[-max(1, round(0.01 * truth.size))]  # of the best 1 %
    told = {}
    for row, curve in zip(scores["rows"], scores["curves"].values(), strict=True):
        hits = np.flatnonzero(np.array(curve) >= level)
        # Not found counts as the first measurement after the last.
        first_hit = int(hits[0]) + 1 if hits.size else len(curve) + 1
        told[row["method"]] = {**row, "curve": curve, "first_hit": first_hit}
    return told


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided exact p of so uneven a split of `better` and `worse`.

    >>> sign_test(5, 0)
    0.0625
    """
    n, k = better + worse, max(better, worse)
    tail = sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n
    return min(1.0, 2 * tail)


def compared(records: list[RunRecord]) -> dict[str, Any]:
    """Return the numbers of all runs together."""
    runs = [methods(record) for record in records]
    gp, random = list(runs[0])
    found = np.array([[run[m]["top_1_percent_found"] for m in run] for run in runs])
    better = int((found[:, 0] > found[:, 1]).sum())
    worse = int((found[:, 0] < found[:, 1]).sum())
    first = records[0]
    return {
        "runs": len(runs),
        "measurements": len(first.events),
        "candidates": int(first.truth.size),
        "truth_best": first.scores["truth_best"],
        "units": first.value_units,
        "scores": {
            method: {key: _spread([run[method][key] for run in runs]) for key in SCORES}
            for method in (gp, random)
        },
        "runs_without_any_of_them": {
            method: sum(run[method]["top_1_percent_found"] == 0 for run in runs)
            for method in (gp, random)
        },
        "seeds_where_gp_found_more": better,
        "seeds_where_random_found_more": worse,
        "sign_test_p": sign_test(better, worse),
        "environment": {key: first.environment.get(key) for key in MACHINE},
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
    }


def table(result: dict[str, Any]) -> str:
    """Return the numbers as a Markdown table: mean, and lowest to highest."""
    last = result["measurements"]
    lines = [
        "| method | best 1 % found | first of them at measurement (median) "
        f"| regret, {result['units']} | map RMSE, {result['units']} "
        "| 90 % interval covers |",
        "|---|---|---|---|---|---|",
    ]
    for method, score in result["scores"].items():
        hit = score["first_hit"]
        top, regret = score["top_1_percent_found"], score["regret"]
        lines.append(
            f"| {method} "
            f"| {top['mean']:.1%} ({top['min']:.0%} to {top['max']:.0%}) "
            f"| {_when(hit['median'], last)} "
            f"({_when(hit['min'], last)} to {_when(hit['max'], last)}) "
            f"| {regret['mean']:.1f} ({regret['min']:.1f} to {regret['max']:.1f}) "
            f"| {score['rmse']['mean']:.1f} | {score['coverage_90']['mean']:.0%} |"
        )
    return "\n".join(lines)


def _when(measurement: float, last: int) -> str:
    return f"{measurement:g}" if measurement <= last else "never"


def draw(records: list[RunRecord], result: dict[str, Any], path: Path) -> None:
    """Draw the best true value found against the number of measurements."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    runs = [methods(record) for record in records]
    for method, colour in zip(runs[0], ("#0072B2", "#999999"), strict=True):
        curves = np.array([run[method]["curve"] for run in runs])  # (runs, n)
        n = np.arange(1, curves.shape[1] + 1)
        axes.plot(n, curves.T, color=colour, alpha=0.25, linewidth=0.8)
        axes.plot(n, curves.mean(axis=0), color=colour, linewidth=2.5, label=method)
    best = result["truth_best"]
    axes.axhline(best, color="black", linestyle=":", label="best of the specimen")
    axes.axvline(10.5, color="black", linewidth=0.5)
    axes.set_xlabel("measurements (the first 10 by design)")
    axes.set_ylabel(f"widest loop found, true area / {result['units']}")
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder with the runs' folders")
    parser.add_argument("--save", action="store_true", help="write results.json")
    said = parser.parse_args()
    folders = sorted(path.parent for path in said.runs.glob("*/scores.json"))
    if not folders:
        parser.error(f"no run with scores in {said.runs}; run.py makes them")
    records = [read_run(folder) for folder in folders]
    result = compared(records)
    print(table(result))
    print(
        f"\n{result['runs']} runs; the GP found more of the best 1 % in "
        f"{result['seeds_where_gp_found_more']}, random in "
        f"{result['seeds_where_random_found_more']} (sign test, two-sided: "
        f"p = {result['sign_test_p']:.2g})."
    )
    draw(records, result, said.runs / "curves.png")
    print(f"{said.runs / 'curves.png'}")
    if said.save:
        kept = {"date": date.today().isoformat(), **result}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(RESULTS)


if __name__ == "__main__":
    main()
