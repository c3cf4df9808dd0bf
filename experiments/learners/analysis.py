"""Read the run folders, and nothing else; print the tables and draw the curves.

    python experiments/learners/analysis.py runs/learners

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
SCORES = {  # of scores.json: title, and how it is written
    "top_1_percent_found": ("best 1 % found", "{:.1%}".format),
    "regret": ("regret", lambda value: _short(value)),
    "rmse": ("map RMSE", lambda value: _short(value)),
    "nlpd": ("NLPD", "{:.2f}".format),
    "coverage_90": ("90 % interval covers", "{:.0%}".format),
}
COLOURS = {"dkl": "#D55E00", "gp": "#0072B2", "bayes_gp": "#009E73"}
RESAMPLES = 10_000


def read(folder: Path) -> dict[str, dict[str, dict[int, RunRecord]]]:
    """Return the runs with scores: sample -> method -> seed -> record."""
    found: dict[str, dict[str, dict[int, RunRecord]]] = {}
    for scores in sorted(folder.glob("*/*/seed*/*/scores.json")):
        sample, method, seed = scores.parts[-5:-2]
        of_sample = found.setdefault(sample, {})
        number = int(seed.removeprefix("seed"))
        of_sample.setdefault(method, {})[number] = read_run(scores.parent)
    return found


def interval(values: list[float]) -> dict[str, float]:
    """Return mean and the 95 % interval of a bootstrap over seeds (percentiles)."""
    numbers = np.array(values, float)
    random = np.random.Generator(np.random.Philox(0))
    drawn = random.choice(numbers, (RESAMPLES, len(numbers))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"mean": float(numbers.mean()), "low": float(low), "high": float(high)}


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided exact p of so uneven a split of `better` and `worse`.

    >>> sign_test(5, 0)
    0.0625
    """
    n, k = better + worse, max(better, worse)
    tail = sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n
    return min(1.0, 2 * tail)


def compared(methods: dict[str, dict[int, RunRecord]]) -> dict[str, Any]:
    """Return the numbers of all methods on one sample, over the seeds all have."""
    seeds = sorted(set.intersection(*(set(runs) for runs in methods.values())))
    rows = {
        name: [runs[seed].scores["rows"][0] for seed in seeds]
        for name, runs in methods.items()
    }
    first = next(iter(methods.values()))[seeds[0]]
    chance = [row["top_1_percent_found"] for row in rows["random"]]
    told: dict[str, Any] = {
        "seeds": len(seeds),
        "measurements": len(first.events),
        "candidates": int(first.truth.size),
        "sought": _sought(first.config["scalarizer"]),
        "truth_best": first.scores["truth_best"],
        "truth_sd": float(np.nanstd(first.truth)),
        "units": first.value_units,
        "methods": {},
    }
    for name, of_seeds in rows.items():
        found = [row["top_1_percent_found"] for row in of_seeds]
        more = sum(a > b for a, b in zip(found, chance, strict=True))
        less = sum(a < b for a, b in zip(found, chance, strict=True))
        told["methods"][name] = {
            **{key: interval([row[key] for row in of_seeds]) for key in SCORES},
            "seeds_with_more_than_random": more,
            "seeds_with_less_than_random": less,
            "sign_test_p": sign_test(more, less),
            "step_s": float(np.median([_step_s(r) for r in methods[name].values()])),
        }
    return told


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _sought(scalarizer: dict[str, Any]) -> str:
    params = scalarizer.get("params", {}).items()
    said = ",".join(f"{key}={value}" for key, value in params)
    return f"{scalarizer['name']}:{said}".rstrip(":")


def _step_s(record: RunRecord) -> float:
    """Return the median time of a decided step of one run, without measuring."""
    steps = [e["timings"] for e in record.events if e["data"]["phase"] == "search"]
    return float(np.median([t["fit_s"] + t["decide_s"] for t in steps]))


def table(told: dict[str, Any]) -> str:
    """Return the numbers of one sample as a Markdown table: mean (95 % interval)."""
    titles = [
        f"{title}, {told['units']}" if key in ("regret", "rmse") else title
        for key, (title, _) in SCORES.items()
    ]
    lines = [
        f"| method | {' | '.join(titles)} | against random | fit and decide |",
        "|---" * (len(titles) + 3) + "|",
    ]
    for name, scores in told["methods"].items():
        cells = [
            "{} ({} to {})".format(*(form(scores[key][k]) for k in scores[key]))
            for key, (_, form) in SCORES.items()
        ]
        more, less = (scores[f"seeds_with_{w}_than_random"] for w in ("more", "less"))
        p = scores["sign_test_p"]
        beside = "–" if name == "random" else f"{more} : {less}, p = {p:.1g}"
        step = f"{1e3 * scores['step_s']:.0f} ms"
        lines.append(f"| {name} | {' | '.join(cells)} | {beside} | {step} |")
    return "\n".join(lines)


def draw(samples: dict[str, dict[str, dict[int, RunRecord]]], path: Path) -> None:
    """Draw the best true value found against the number of measurements."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(samples), 3.8), layout="constrained")
    panels = figure.subplots(1, len(samples), squeeze=False)[0]
    for axes, (sample, methods) in zip(panels, samples.items(), strict=True):
        for method, runs in methods.items():
            curves = [next(iter(r.scores["curves"].values())) for r in runs.values()]
            best = np.array(curves, float)  # (seeds, n)
            n, colour = np.arange(1, best.shape[1] + 1), COLOURS.get(method, "#777777")
            low, high = np.nanquantile(best, [0.16, 0.84], axis=0)
            axes.fill_between(n, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(n, np.nanmean(best, axis=0), color=colour, lw=2, label=method)
        one = next(iter(methods["random"].values()))
        axes.axhline(one.scores["truth_best"], color="black", ls=":", lw=1)
        axes.set_title(sample)
        axes.set_xlabel("measurements (the first 10 by design)")
        axes.set_ylabel(f"best true {one.value_name} so far / {one.value_units}")
    most = max(panels, key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    most.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="the folder with the runs' folders")
    parser.add_argument("--save", action="store_true", help="write results.json")
    said = parser.parse_args()
    samples = read(said.runs)
    if not samples:
        parser.error(f"no run with scores in {said.runs}; run.py makes them")
    result = {sample: compared(methods) for sample, methods in samples.items()}
    for sample, told in result.items():
        print(
            f"\n{sample}: {told['sought']}, {told['measurements']} of "
            f"{told['candidates']} candidates, {told['seeds']} seeds; the truth has "
            f"its best at {told['truth_best']:.4g} {told['units']} and an sd of "
            f"{told['truth_sd']:.3g}.\n\n{table(told)}"
        )
    draw(samples, said.runs / "curves.png")
    print(f"\n{said.runs / 'curves.png'}")
    if said.save:
        some = next(iter(next(iter(samples.values()))["random"].values()))
        about = {key: some.environment.get(key) for key in MACHINE}
        kept = {"date": date.today().isoformat(), "samples": result, "ran_on": about}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(RESULTS)


if __name__ == "__main__":
    main()
