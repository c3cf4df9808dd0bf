"""Steps and campaigns side by side with gpax 0.1.9: same points, same pool, one run.

    python -m benchmarks.peers.compare --core 1 --machine "in words"

gpax runs in an environment of its own, made with uv under `.cache/peers/gpax` from
`gpax/requirements.txt`. Each cell is a process on one core with one thread for linear
algebra, ours and the peer's in turn, twice. CPU seconds of the process are compared,
since a machine may be shared. `benchmarks/README.md` says what differs in work done.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning import problem

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "peers"
PAIRS = [  # ours, the peer's, task, n of ours, n of the peer's
    ("gp", "viGP", "coordinates", (50, 100, 200), (50, 100, 200)),
    ("dkl x 1", "viDKL", "patches", (50, 100, 200), (50, 100, 200)),
    ("dkl x 8", "viDKL x 8", "patches", (50, 100, 200), (50, 100, 200)),
    ("bayes_gp", "ExactGP NUTS", "coordinates", (50, 100), (50, 100)),
]
RATIOS = [*((ours, peer) for ours, peer, *_ in PAIRS), ("dkl x 8", "viDKL")]
CAMPAIGNS = [("gp", "viGP", "coordinates"), ("dkl x 8", "viDKL", "patches")]
QUALITY = ("rmse", "r_hat", "ess", "compilations", "restarts", "peak_growth_mb")
Line = dict[str, Any]


def environment() -> Path:
    """Make gpax's environment, unless it is there; return its Python."""
    python = CACHE / "gpax" / "bin" / "python"
    if not python.exists():
        uv, pins = shutil.which("uv") or "uv", HERE / "gpax" / "requirements.txt"
        make = [uv, "venv", "--no-config", "--python", "3.11", str(CACHE / "gpax")]
        fill = [uv, "pip", "install", "--no-config", "--python", str(python)]
        for command in (make, [*fill, "-r", str(pins)]):
            subprocess.run(command, check=True, cwd=HERE)
    return python


def run(command: list[str], told: Line, **variables: str) -> list[Line]:
    """Run a process that prints JSON lines; a failure is a line too."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **threads, **variables},
        capture_output=True,
        text=True,
    )
    lines = [json.loads(one) for one in done.stdout.splitlines() if one[:1] == "{"]
    if done.returncode:
        lines.append({"failed": done.stderr.strip().splitlines()[-1]})
    lines = [{**told, **line} for line in lines]
    for line in lines:
        print(json.dumps(line), file=sys.stderr, flush=True)
    return lines


def measured(rounds: int, only: list[str], campaigns: bool, folder: Path) -> list[Line]:
    """Run every cell, ours and the peer's in turn, so that the machine is the same."""
    python, lines = environment(), list[Line]()
    data = {task: str(folder / f"{task}.npz") for task in ("coordinates", "patches")}
    at = problem(images=False, inner=False)
    np.savez(data["coordinates"], **at._asdict())
    np.savez(data["patches"], **problem(images=True)._asdict())
    peers = [str(python), str(HERE / "gpax" / "steps.py")]
    here = [sys.executable, "-m", "benchmarks.peers.ours"]
    for turn in range(rounds):
        for ours, peer, task, n_ours, n_peer in PAIRS:
            if ours not in only:
                continue
            for who, program, model, n in (
                ("aemtwin", here, ours, n_ours),
                ("gpax", peers, peer, n_peer),
            ):
                wanted = [data[task], model, "--n", *map(str, n)]
                lines += run([*program, *wanted], {"who": who, "round": turn})
    for ours, peer, task in CAMPAIGNS:
        if ours not in only or not campaigns:
            continue
        wanted = ["--campaign", "20", "40"]
        cache = str(folder / f"cache {ours}")
        for state in ("cold", "warm"):
            command = [*here, data[task], ours, *wanted]
            told = {"who": "aemtwin", "cache": state}
            lines += run(command, told, AEMTWIN_CACHE=cache)
        lines += run([*peers, data[task], peer, *wanted], {"who": "gpax"})
    return lines


def cells(lines: list[Line]) -> list[Line]:
    """Return one line a model and n: medians of steps that are not a warm-up."""
    out = []
    keys = dict.fromkeys((w["who"], w["model"], w["n"]) for w in lines if "n" in w)
    for who, model, n in keys:
        same = [w for w in lines if (w.get("model"), w.get("n")) == (model, n)]
        timed = [w for w in same if not w["warm_up"]]
        cell = {"who": who, "model": model, "n": n, "steps": len(timed)}
        for key in ("cpu_s", "wall_s"):
            cell[key] = statistics.median(w[key] for w in timed)
            cell[f"{key}_least"] = min(w[key] for w in timed)
            cell[f"{key}_most"] = max(w[key] for w in timed)
        for key in QUALITY:
            if key in timed[0]:
                cell[key] = statistics.median(w[key] for w in timed)
        out.append(cell)
    return out


def ratios(found: list[Line]) -> list[Line]:
    """Return how many times the CPU seconds of ours a step of the peer's takes."""
    by = {(cell["model"], cell["n"]): cell for cell in found}
    return [
        {
            "n": n,
            "ours": ours,
            "peer": peer,
            "cpu": by[peer, n]["cpu_s"] / by[ours, n]["cpu_s"],
            "rmse": [by[ours, n]["rmse"], by[peer, n]["rmse"]],
        }
        for ours, peer in RATIOS
        for n in (50, 100, 200)
        if (ours, n) in by and (peer, n) in by
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="the machine, in words")
    parser.add_argument("--rounds", type=int, default=2)
    ours = [pair[0] for pair in PAIRS]
    parser.add_argument("--only", nargs="*", choices=ours, default=ours)
    no = argparse.BooleanOptionalAction
    parser.add_argument("--campaigns", action=no, default=True)
    parser.add_argument("--core", type=int, help="run every process on this core alone")
    result = HERE.parent / "results" / "gpax.json"
    parser.add_argument("--result", type=Path, default=result)
    said = parser.parse_args()
    if said.core is not None:
        os.sched_setaffinity(0, {said.core})  # and every process begun from here
    with tempfile.TemporaryDirectory() as folder:
        lines = measured(said.rounds, said.only, said.campaigns, Path(folder))
    found = cells(lines)
    packages = ("aemtwin", "numpy", "jax", "jaxlib", "flax", "optax", "numpyro")
    kept = {
        "date": datetime.date.today().isoformat(),
        "machine": said.machine,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "peer": "gpax 0.1.9, jax 0.6.2, numpyro 0.19.0, float32",
        "ratios": ratios(found),
        "steps": found,
        "campaigns": [line for line in lines if "campaign" in line],
        "failed": [line for line in lines if "failed" in line],
    }
    said.result.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for one in kept["ratios"]:
        print(f"n = {one['n']}: {one['ours']} against {one['peer']}: {one['cpu']:.0f}x")


if __name__ == "__main__":
    main()
