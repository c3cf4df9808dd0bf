"""One decision on a live pool: the fit, the look at every candidate, the acquisition.

    taskset -c 0 python benchmarks/live_pool.py [--side 512] [--points 200]

Hyperparameters were learned before; each step adds one measured point to a gp, follows
the pool, scores all candidates and takes the highest. In turn with each step, an array
as large as the rows that are read is copied, by the same core in the same run, to tell
what of the memory's bandwidth the step reaches. One JSON line: medians over the steps,
milliseconds, and how far the followed pool is from one read anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np

from aemtwin.environment import prepare_jax

STEPS = 24


def field(X: Any) -> Any:
    """Return what is sought at places in the unit box."""
    return np.sin(9 * X[:, 0]) * np.cos(7 * X[:, 1])


def main() -> None:
    """Run it, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--points", type=int, default=200)
    said = parser.parse_args()
    prepare_jax()
    import jax

    from aemtwin import acquisition
    from aemtwin.acquisition.analytic import Context
    from aemtwin.surrogates.base import pad
    from aemtwin.surrogates.gp import GP

    rng, m = np.random.default_rng(0), said.side**2
    axis = np.linspace(0.0, 1.0, said.side)
    pool_X = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    X = rng.random((said.points + STEPS, 2))
    y = field(X) + 0.1 * rng.normal(size=len(X))
    gp, key = (
        GP(refit_every=10**6, drift=float("inf"), modes=1, spread=0),
        jax.random.key(0),
    )
    begin = said.points - 2
    state, _ = gp.fit(key, gp.init(2), pad(X[:begin], y[:begin]))
    score, measured = acquisition.get("log_ei"), np.zeros(m, bool)
    source = np.ones(said.points * m, np.float32)
    target, pool = np.empty_like(source), None
    told: dict[str, list[float]] = {}
    for n in range(begin + 1, len(X) + 1):
        times = [time.perf_counter()]

        def lap(times: list[float] = times) -> None:
            times.append(time.perf_counter())

        state, _ = gp.fit(key, state, pad(X[:n], y[:n]))
        lap()
        pool, posterior = gp.look(state, pool, pool_X)
        lap()
        assert posterior is not None
        best = float(np.max(posterior.mean))
        int(np.argmax(score(posterior, Context(best, measured))))  # type: ignore[operator]
        lap()
        np.copyto(target, source)
        lap()
        if n > said.points:  # programs are made, the pool is followed
            parts = np.diff(times) * 1e3
            for name, part in zip(("fit", "look", "score", "copy"), parts, strict=True):
                told.setdefault(name, []).append(float(part))
    anew, spread = gp.predict(key, state, pool_X), float(np.std(y))
    middle = {k: round(statistics.median(v), 2) for k, v in told.items()}
    decision = sum(middle[k] for k in ("fit", "look", "score"))
    read_gb = 4 * said.points * m / 1e9
    line = {
        "pool": m,
        "n": said.points,
        "milliseconds": middle,
        "decision_ms": round(decision, 2),
        "copy_gb_per_s": round(2e3 * read_gb / middle["copy"], 1),
        "look_gb_per_s": round(1e3 * read_gb / middle["look"], 1),
        "with_padding_gb_per_s": round(
            pool.seats[0].V.nbytes / middle["look"] / 1e6, 1
        ),
        "mean_off": float(np.abs(posterior.mean - anew.mean).max() / spread),
        "variance_off": float(
            np.abs(posterior.variance - anew.variance).max() / spread**2
        ),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
