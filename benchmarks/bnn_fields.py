"""How well does each inference of a Bayesian net know what it does not know?

    python benchmarks/bnn_fields.py

Twelve fields drawn from Gaussian processes (Matérn-5/2, sd 1; length 0.25 for even
seeds, 0.12 for odd ones) on 30 x 30 points, of which 50 are measured with noise of 0.1.
Told are, of f at the other 850: root mean square error, mean negative log density of a
normal with the mean and variance predicted, and how much of f lies inside intervals of
50, 90 and 95 %; "grown" means that the points came five at a time, with a fit after
each five, as in a campaign. The truth is of the family of `gp`, and of no net's.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import surrogates
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import pad, step_keys

SEEDS = range(100, 112)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gp": ("gp", {}),
    **{
        f"bnn {kind}": ("bnn", {"inference": kind})
        for kind in ("nuts", "svi", "partial")
    },
}
INSIDE = {50: 0.67449, 90: 1.64485, 95: 1.95996}  # per cent -> standard deviations
Array = NDArray[np.float64]


def field(seed: int, *, side: int = 30) -> tuple[Array, Array]:
    """Draw a field: positions in the unit box (side², 2), and f there."""
    line = np.linspace(0.0, 1.0, side)
    X = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    length = 0.12 if seed % 2 else 0.25
    r = np.sqrt(5.0) * np.linalg.norm(X[:, None] - X[None], axis=-1) / length
    K = (1.0 + r + r**2 / 3.0) * np.exp(-r) + 1e-9 * np.eye(len(X))
    return X, np.linalg.cholesky(K) @ np.random.default_rng(seed).normal(size=len(X))


def run(name: str, seed: int, *, grown: bool, n: int = 50) -> dict[str, float]:
    """Fit a model to n points of a field; return its figures at the others."""
    X, f = field(seed)
    rng = np.random.default_rng([seed, 1])
    at = rng.permutation(len(X))
    y = f[at[:n]] + 0.1 * rng.normal(size=n)
    kind, settings = MODELS[name]
    model = surrogates.get(kind, **settings)
    state = model.init(2)
    for count in range(10, n + 1, 5) if grown else (n,):
        key_fit, key_read, _ = step_keys(seed, count if grown else 0)
        begin = time.process_time()
        state, info = model.fit(key_fit, state, pad(X[at[:count]], y[:count]))
        cost = time.process_time() - begin
    found = model.predict(key_read, state, X[at[n:]])
    gap, variance = f[at[n:]] - found.mean, np.asarray(found.variance)
    score = np.abs(gap) / np.sqrt(variance)
    return {
        "length": 0.12 if seed % 2 else 0.25,
        "RMSE": float(np.sqrt(np.mean(gap**2))),
        "NLPD": float(np.mean(0.5 * (score**2 + np.log(2 * np.pi * variance)))),
        **{f"{p} %": float(np.mean(score < z)) for p, z in INSIDE.items()},
        "r-hat": float(info.get("r_hat", 1.0)),
        "CPU s": cost,
    }


def main(names: list[str]) -> None:
    """Print a row for each model and length: means, medians of r-hat and cost."""
    prepare_jax()
    columns = ("RMSE", "NLPD", *(f"{p} %" for p in INSIDE), "r-hat", "CPU s")
    print(f"| model | length | {' | '.join(columns)} |")
    print("|---|---|" + "---|" * len(columns), flush=True)
    for name, grown in product(names or MODELS, (False, True)):
        run(name, 0, grown=grown)  # compiles
        rows = [run(name, seed, grown=grown) for seed in SEEDS]
        for length in (0.25, 0.12, None):
            some = [row for row in rows if length in (None, row["length"])]
            told = []
            for column in columns:
                middle = np.median if column in ("r-hat", "CPU s") else np.mean
                told.append(f"{middle([row[column] for row in some]):.2f}")
            title = f"{name}{', grown' if grown else ''} | {length or 'both'}"
            print(f"| {title} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
