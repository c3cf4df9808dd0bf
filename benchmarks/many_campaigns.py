"""A thousand campaigns of 180 steps on the map of `pfm_loops`, in one program.

    taskset -c 0 python benchmarks/many_campaigns.py [--campaigns 1000]

Hyperparameters are held fixed, as learned from 200 random points of the same map: more
than a campaign sees at its beginning. Each campaign has its own 20 first points and its
own noise, and goes on by the upper confidence bound. One JSON line: CPU seconds without
the compilation, and the share of the best 1 % that a campaign finds.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from aemtwin.environment import prepare_jax
from benchmarks.learning import NOISE, problem

FIRST, STEPS, LEARNED = 20, 180, 200


def main() -> None:
    """Run it, and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=1000)
    count = parser.parse_args().campaigns
    prepare_jax()
    import jax
    import jax.numpy as jnp

    from aemtwin.surrogates.base import pad
    from aemtwin.surrogates.gp import GP
    from aemtwin.surrogates.rehearsal import rehearse

    at, gp = problem(images=False, inner=False), GP(modes=1, spread=0)
    some = at.order[:LEARNED]
    state, _ = gp.fit(jax.random.key(0), gp.init(2), pad(at.X[some], at.y[some]))
    hyper = jax.tree.map(lambda a: np.asarray(a)[0], gp.mixture("look", state).hyper)

    def upper(posterior, best, measured):  # type: ignore[no-untyped-def]
        del best, measured
        return posterior.mean + 2.0 * jnp.sqrt(posterior.variance)

    rng, m = np.random.default_rng(0), len(at.f)
    first = np.stack([rng.permutation(m)[:FIRST] for _ in range(count)])
    y = at.f + NOISE * rng.normal(size=(count, m))
    rehearse(hyper, at.X, y, first, STEPS, upper)  # compiled, outside the clock
    begin = time.process_time()
    picks = rehearse(hyper, at.X, y, first, STEPS, upper)
    seconds = time.process_time() - begin
    top = np.isin(picks, np.argsort(-at.f)[: m // 100]).sum(axis=1) / (m // 100)
    line = {
        "campaigns": count,
        "steps": STEPS,
        "pool": m,
        "cpu_s": round(seconds, 2),
        "steps_per_cpu_s": round(count * STEPS / seconds),
        "top_1_percent_found": round(float(top.mean()), 3),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
