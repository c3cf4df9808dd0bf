"""What a deep kernel finds in 200 measurements, beside that of GPyTorch.

    python -m benchmarks.quality --seeds 10        # resumes where it was interrupted
    python -m benchmarks.quality --table --machine "in words"

Three tasks: `pfm_loops` (a synthetic twin, with its noise), `sts_grid` (a recording),
and `beps`, whose images are computed from the spectra that are sought (leaky: it
compares learners, and says nothing of an experiment); the last two need AEMTWIN_DATA.
A seed is that of the first 20 points and of the noise, so that the methods are paired.
All but "dkl, one at a time" are fitted every 10 points and then measure the 10
candidates with the highest mean + 2 sd; "random" measures at random, and its map is
that of `dkl`. GPyTorch is in an environment of its own, `.cache/peers/torch`
(peers/torch). Cells are lines of `.cache/quality/cells.jsonl`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin import acquisition, designs, open_twin, patches, surrogates
from aemtwin.acquisition.analytic import Context
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import pad, step_keys
from benchmarks.keep import PACKAGES
from benchmarks.learning import INNER, Problem, problem, top_found

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[1]
CELLS, RESULT = ROOT / ".cache" / "quality", HERE / "results" / "quality.json"
PROGRAM = HERE / "peers" / "torch" / "deep_kernel.py"
TORCH = ROOT / ".cache" / "peers" / "torch" / "bin" / "python"
FIRST, LAST, BATCH, HALF = 20, 200, 10, 100
KAPPA = 2.0
COORDINATES = 2
TASKS = "pfm_loops", "sts_grid", "beps"
SCORES = "found_100", "rmse_100", "found_200", "rmse_200"
TITLES = {
    "found_100": "best 1 % found at 100, %",
    "rmse_100": "map RMSE at 100, sd",
    "found_200": "found at 200, %",
    "rmse_200": "RMSE at 200, sd",
}
PEER = "GPyTorch DKL"
METHODS = {  # surrogate, or model of the peer; how it decides
    "dkl": ("dkl", "batch"),
    PEER: ("tutorial", "peer"),
    "random, dkl": ("dkl", "random"),
    "gp": ("gp", "batch"),
    "dkl, one at a time": ("dkl", "single"),
    f"{PEER}, 1000 steps, patch": ("long, patch", "peer"),
}
RESAMPLES = 10_000
Cell = dict[str, Any]


@cache
def image_task(name: str) -> Problem:
    """Return a recorded map with patches of its image, in order of rows."""
    folder = Path(os.environ["AEMTWIN_DATA"])
    if name == "sts_grid":
        twin = open_twin(
            str(folder / "nsid" / "sts_grid_nanoscale.nsid.h5"), ideal=True
        )
        mode = next(one for one in twin.describe().modes if one.name == "lockin_x")
        positions = designs.candidate_grid(mode.extent, mode.shape)
        told = twin.truth(mode.name, positions)
        frame = twin.scan(channels=["topography"])
        x, y = frame.axis("x").values, frame.axis("y").values
        image = frame.arrays["topography"]
        bias = told.axes[-1].values
        inside = (bias >= 0.15) & (bias <= 0.22)  # V, as experiments/sts_grid
        value = np.trapezoid(told.values[:, inside], bias[inside], axis=1)
        X, pool = designs.scale_to_box(positions, mode.extent), slice(None)
    else:
        import h5py

        with h5py.File(folder / "raw" / "BEPS_PTO_50x50.h5") as file:
            loops = np.asarray(file["Channel_000/generic/generic"])  # (50, 50, v)
        rows, columns = loops.shape[:2]
        image = np.log(np.abs(loops).mean(axis=-1))
        value = np.log(np.ptp(loops, axis=-1)).ravel()
        x, y = np.arange(float(columns)), np.arange(float(rows))
        positions = np.stack([a.ravel() for a in np.meshgrid(x, y)], axis=1)
        X = positions / (columns - 1)
        cells = np.arange(rows * columns).reshape(rows, columns)
        pool = cells[INNER, INNER].ravel()
    pixels, _ = patches.cut([image], x, y, positions, size=8)
    f = (value - value.mean()) / value.std()
    X, f = np.hstack([X, pixels])[pool], f[pool]
    return Problem(X, f, f, np.arange(len(f)))


def task(name: str, seed: int) -> Problem:
    """Return a task as one seed sees it: simulated noise, and the order of points."""
    if name == "pfm_loops":
        return problem(images=True, seed=seed)
    at = image_task(name)
    return at._replace(order=np.random.default_rng(seed).permutation(len(at.f)))


def ours(surrogate: Any, way: str, at: Problem, seed: int) -> Cell:
    """Make one campaign of aemtwin; return what was measured, maps, CPU seconds."""
    ahead = acquisition.get("log_ei")
    measured, rmse, spent = [int(k) for k in at.order[:FIRST]], dict[int, float](), 0.0
    state = surrogate.init(at.X.shape[1])
    while True:
        begin, n = time.process_time(), len(measured)
        fit, read, _ = step_keys(seed, n)
        state, _ = surrogate.fit(fit, state, pad(at.X[measured], at.y[measured]))
        found = surrogate.predict(read, state, at.X)
        done = np.isin(np.arange(len(at.f)), measured)
        if way == "single":
            best = float(np.asarray(found.mean)[done].max())
            scores, count = np.array(ahead(found, Context(best, done))), 1
        else:
            scores, count = found.mean + KAPPA * np.sqrt(found.variance), BATCH
        scores[done] = -np.inf
        spent += time.process_time() - begin
        error = np.asarray(found.mean) - at.f
        rmse[n] = float(np.sqrt(np.mean(error**2)))
        if n >= LAST:
            return {"measured": measured, "rmse": rmse, "cpu_s": spent}
        if way == "random":
            measured += [int(k) for k in at.order[n : n + count]]
        else:
            measured += [int(k) for k in np.argsort(-scores, kind="stable")[:count]]


def peer(model: str, at: Problem, seed: int) -> Cell:
    """Make one campaign of GPyTorch in its own environment."""
    data = CELLS / f"task {os.getpid()}.npz"
    np.savez(data, coordinates=COORDINATES, **at._asdict())
    wanted = [str(data), model, "--seed", str(seed), "--first", str(FIRST)]
    wanted += ["--last", str(LAST), "--batch", str(BATCH)]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [str(torch_python()), str(PROGRAM), *wanted],
            check=True,
            env={**os.environ, **threads},
            capture_output=True,
            text=True,
        )
    finally:
        data.unlink()
    line: Cell = json.loads(done.stdout.splitlines()[-1])
    return line


def scored(at: Problem, cell: Cell) -> dict[str, float]:
    """Return the scores of a campaign, at half and at the end."""
    rmse = {int(n): value for n, value in cell["rmse"].items()}
    return {
        f"{score}_{n}": value
        for n in (HALF, LAST)
        for score, value in (
            ("found", top_found(at, cell["measured"][:n])),
            ("rmse", rmse[n]),
        )
    }


def interval(values: Any) -> list[float]:
    """Return mean, and the 95 % interval of a bootstrap over seeds (percentiles)."""
    numbers = np.asarray(values, float)
    random = np.random.Generator(np.random.Philox(0))
    drawn = random.choice(numbers, (RESAMPLES, len(numbers))).mean(axis=1)
    ends = np.quantile(drawn, [0.025, 0.975])
    return [round(float(k), 4) for k in (numbers.mean(), *ends)]


def cells(folder: Path) -> dict[tuple[str, str, int], Cell]:
    """Return every cell that is there, by task, method and seed; the last counts."""
    path = folder / "cells.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return {(one["task"], one["method"], one["seed"]): one for one in found}


def compared(found: dict[tuple[str, str, int], Cell]) -> list[Cell]:
    """Return a row for each task and method: means, and paired differences, ours - it.

    Differences are those of "dkl" to each other method, over the seeds that both have.
    """
    rows = []
    for name in TASKS:
        of = {
            method: {
                s: one for (t, m, s), one in found.items() if (t, m) == (name, method)
            }
            for method in METHODS
        }
        for method, seeds in of.items():
            both = sorted(seeds.keys() & of["dkl"].keys())
            if not both:
                continue
            row: Cell = {"task": name, "method": method, "seeds": len(both)}
            for key in SCORES:
                theirs = np.array([seeds[s]["scores"][key] for s in both])
                mine = np.array([of["dkl"][s]["scores"][key] for s in both])
                row[key] = interval(theirs)
                if method != "dkl":
                    row[f"dkl less it, {key}"] = interval(mine - theirs)
            row["cpu_s"] = round(float(np.median([seeds[s]["cpu_s"] for s in both])), 2)
            rows.append(row)
    return rows


def table(rows: list[Cell]) -> str:
    """Return the rows as a Markdown table: mean (95 % interval)."""
    titles = "task", "method", "seeds", *(TITLES[k] for k in SCORES), "CPU, s"
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]

    def said(key: str, row: Cell, prefix: str = "") -> str:
        share = key.startswith("found")
        form = "{:+.1f}" if prefix and share else "{:.1f}" if share else "{:.3f}"
        form = "{:+.3f}" if prefix and not share else form
        mean, low, high = (
            form.format(100 * k if share else k) for k in row[prefix + key]
        )
        return f"{mean} ({low} to {high})"

    for row in rows:
        told = [said(key, row) for key in SCORES]
        ends = row["task"], row["method"], str(row["seeds"])
        lines.append(f"| {' | '.join((*ends, *told, str(row['cpu_s'])))} |")
        if row["method"] != "dkl":
            told = [said(key, row, "dkl less it, ") for key in SCORES]
            lines.append(f"| | *dkl less it* | | {' | '.join(told)} | |")
    return "\n".join(lines)


def torch_python() -> Path:
    """Make GPyTorch's environment, unless it is there; return its Python."""
    if not TORCH.exists():
        pins = HERE / "peers" / "torch" / "requirements.txt"
        make = [sys.executable, "-m", "venv", str(TORCH.parents[1])]
        fill = [str(TORCH), "-m", "pip", "install", "-r", str(pins)]
        for command in (make, fill):
            subprocess.run(command, check=True)
    return TORCH


def run(seeds: range, tasks: list[str], methods: list[str], folder: Path) -> None:
    """Make every campaign that is not there yet, one line each as it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    if "AEMTWIN_DATA" not in os.environ:
        print("skipped, AEMTWIN_DATA is not set:", *set(tasks) - {"pfm_loops"})
        tasks = [name for name in tasks if name == "pfm_loops"]
    for seed, name in ((s, t) for s in seeds for t in tasks):
        at, there = task(name, seed), cells(folder)
        for method in methods:
            if (name, method, seed) in there:
                continue
            model, way = METHODS[method]
            if way == "peer":
                made = peer(model, at, seed)
            else:
                made = ours(surrogates.get(model), way, at, seed)
            scores = scored(at, made)
            line = {"task": name, "method": method, "seed": seed, "scores": scores}
            with (folder / "cells.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line | made) + "\n")
            told = {key: round(value, 3) for key, value in scores.items()}
            print(name, method, seed, told, round(made["cpu_s"], 1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="runs seeds 0, 1, ...")
    parser.add_argument("--begin", type=int, default=0, help="the first of the seeds")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cells", type=Path, default=CELLS, help="a folder")
    parser.add_argument("--table", action="store_true", help="only tell what is there")
    parser.add_argument("--machine", help="the machine, in words: keep the table")
    said = parser.parse_args()
    prepare_jax()
    if not said.table:
        seeds = range(said.begin, said.begin + said.seeds)
        run(seeds, said.tasks, said.methods, said.cells)
    rows = compared(cells(said.cells))
    print(table(rows))
    if said.machine:
        kept = {
            "date": datetime.date.today().isoformat(),
            "machine": said.machine,
            "python": platform.python_version(),
            "packages": {name: metadata.version(name) for name in PACKAGES},
            "peer": "GPyTorch 1.15.2, torch 2.13.0 on a CPU, float32",
            "rows": rows,
        }
        RESULT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
