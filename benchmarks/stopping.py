"""How often does each stopping rule end a search wrongly, and how much does it save?

    python benchmarks/stopping.py [fields]

On 24 x 24 candidates a search of `gp` and log_ei begins with 10 points and has 70 more;
measurements have noise of 0.05, fields a standard deviation of 1. Every rule looks on
at the same searches and is asked before each measurement. A stop is wrong if some
candidate is better by more than 0.1, the margin, than the measured one with the highest
mean. Fields: "prior", smooth ones that `gp` expects (Matérn-5/2, lengths 0.12 to 0.35
of the side); "domains", the same cut into plateaus, with walls of one pixel; "needle",
with one spot more, twice as high as the field and one pixel wide.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import surrogates
from aemtwin.acquisition import stopping
from aemtwin.acquisition.analytic import Context, LogEI
from aemtwin.designs import candidate_grid, first_points
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import Posterior, pad, step_keys

SIDE, FIRST, STEPS, NOISE, MARGIN = 24, 10, 70, 0.05, 0.1
RULES = {
    "regret, risk 0.05": ("regret", {"margin": MARGIN, "risk": 0.05}),
    "regret, risk 0.01": ("regret", {"margin": MARGIN, "risk": 0.01}),
    "bounds, beta 2": ("bounds", {"margin": MARGIN}),
    "gain, 0.001 of range": ("gain", {}),
    "gain, 0.0001 of range": ("gain", {"relative": 1e-4}),
}
OUT = Path(__file__).parent / "results" / "stopping.json"
Array = NDArray[np.float64]


def field(kind: str, seed: int) -> tuple[Array, Array]:
    """Draw a field: positions in the unit box (m, 2), and f there, (m,)."""
    rng = np.random.default_rng([seed, len(kind)])
    X = candidate_grid(((0.0, 1.0), (0.0, 1.0)), (SIDE, SIDE))
    length = np.exp(rng.uniform(np.log(0.12), np.log(0.35), 2))
    r = np.sqrt(5.0) * np.linalg.norm((X[:, None] - X[None]) / length, axis=-1)
    K = (1.0 + r + r**2 / 3.0) * np.exp(-r) + 1e-9 * np.eye(len(X))
    f = np.linalg.cholesky(K) @ rng.normal(size=len(X))
    if kind == "domains":
        f = np.digitize(f, [-1.0, 0.0, 1.0]) - 1.5 + 0.1 * f
    if kind == "needle":
        middle = X[rng.integers(len(X))]
        away = np.linalg.norm(X - middle, axis=1) * (SIDE - 1)
        f = f + 2 * np.ptp(f) / 2 * np.exp(-0.5 * away**2)
    return X, f


def search(kind: str, seed: int) -> dict[str, tuple[int, float]]:
    """Return, for each rule, the measurements at which it ended, and the regret then.

    A rule that never ended has all of them.
    """
    X, f = field(kind, seed)
    rng = np.random.default_rng([seed, 7])
    y = f + NOISE * rng.normal(size=f.size)
    model, rules = (
        surrogates.get("gp"),
        {k: stopping.get(n, **p) for k, (n, p) in RULES.items()},
    )
    state = model.init(2)
    done = list(first_points(seed, (SIDE, SIDE), FIRST))
    found: dict[str, tuple[int, float]] = {}
    for decided in range(STEPS + 1):
        key_fit, key_read, _ = step_keys(seed, len(done) + 1)
        state, _ = model.fit(key_fit, state, pad(X[done], y[done]))
        at = Posterior(*map(np.asarray, model.predict(key_read, state, X)))
        closed = np.zeros(len(X), bool)
        closed[done] = True

        def among(chosen: NDArray[np.int64], state: Any = state) -> Array:
            return model.covariance(state, X[chosen], X[chosen]).covariance

        standing = stopping.Standing(
            at, ~closed, np.array(done), decided, among, (seed, decided)
        )
        regret = float(f.max() - f[standing.best])
        for name, rule in rules.items():
            if name not in found and (decided == STEPS or rule(standing).stop):
                found[name] = len(done), regret
        if len(found) == len(rules):
            break
        context = Context(float(at.mean[done].max()), closed)
        done.append(int(np.argmax(LogEI()(at, context))))
    return found


def wilson(wrong: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    if n == 0:
        return 0.0, 1.0
    p = wrong / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, float(middle - half)), float(middle + half)


def main(fields: int) -> None:
    """Print the table and keep it."""
    prepare_jax()
    rows: list[dict[str, Any]] = []
    last = FIRST + STEPS
    for kind in ("prior", "domains", "needle"):
        runs = [search(kind, seed) for seed in range(fields)]
        for name in RULES:
            ended = [run[name] for run in runs if run[name][0] < last]
            wrong = sum(regret > MARGIN for _, regret in ended)
            low, high = wilson(wrong, len(ended))
            rows.append(
                {
                    "fields": kind,
                    "rule": name,
                    "ended_early": len(ended) / fields,
                    "measurements": float(np.median([run[name][0] for run in runs])),
                    "wrong": wrong / len(ended) if ended else None,
                    "wrong_low": low,
                    "wrong_high": high,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    OUT.write_text(json.dumps({"fields_each": fields, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
