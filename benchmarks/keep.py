"""Trim what pytest-benchmark wrote to what is kept, and print it as a table.

    pytest benchmarks --benchmark-only --benchmark-json=FILE
    python benchmarks/keep.py FILE benchmarks/results/NAME.json --machine "two cores"

Kept are the date, versions, the machine in words, and for each benchmark its quality
and five numbers; names of hosts and places on a disk are not.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

STATS = ("min", "median", "mean", "stddev", "rounds")
PACKAGES = (
    *("aemtwin", "numpy", "h5py", "Pyro4", "msgpack"),
    *("jax", "jaxlib", "flax", "optax", "numpyro"),
)


def trimmed(report: dict[str, Any], machine: str) -> dict[str, Any]:
    """Return what is kept of a report; times in seconds."""
    return {
        "date": report["datetime"][:10],
        "machine": machine,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "benchmarks": [
            {
                "name": one["name"],
                "seconds": {key: one["stats"][key] for key in STATS},
                "extra_info": one["extra_info"],
            }
            for one in sorted(report["benchmarks"], key=lambda one: one["fullname"])
        ],
    }


def table(kept: dict[str, Any]) -> str:
    """Return the benchmarks as a Markdown table."""
    lines = [
        "| benchmark | least | median | rounds | quality |",
        "|---|---|---|---|---|",
    ]
    for one in kept["benchmarks"]:
        seconds, quality = one["seconds"], one["extra_info"]
        said = ", ".join(f"{k} {_short(v)}" for k, v in quality.items())
        lines.append(
            f"| {one['name'].removeprefix('test_')} | {_time(seconds['min'])} "
            f"| {_time(seconds['median'])} | {seconds['rounds']} | {said} |"
        )
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    scale, unit = (1e6, "µs") if seconds < 1e-3 else (1e3, "ms")
    return f"{seconds * scale:.3g} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("result", type=Path, help="what to write")
    parser.add_argument("--machine", required=True, help="the machine, in words")
    said = parser.parse_args()
    report = json.loads(said.report.read_text(encoding="utf-8"))
    kept = trimmed(report, said.machine)
    said.result.parent.mkdir(parents=True, exist_ok=True)
    said.result.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(kept) + "\n")


if __name__ == "__main__":
    main()
