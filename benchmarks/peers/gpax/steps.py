"""Steps and whole campaigns with gpax 0.1.9; runs in its own environment alone.

    python steps.py DATA.npz MODEL --n 50 100 --repeat 1
    python steps.py DATA.npz MODEL --campaign 20 40

`compare.py` makes the environment and DATA.npz. A step is what gpax's users write: make
the model, fit it, read mean and variance over the pool in batches, upper confidence
bound, argmax. Budgets, priors and precision (float32) are gpax's own: 1000 steps of
Adam, kernels over inputs as they are; NUTS with 200 + 200 draws of one chain in place
of 2000 + 2000. One JSON line a step; seconds include what is compiled in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import gpax
import jax.numpy as jnp
import numpy as np
from numpyro.diagnostics import summary

DRAWS = 200
LAST = 6  # steps of a campaign whose growth of memory is told
QUIET = {"progress_bar": False, "print_summary": False}


def vi_gp(keys, X, y, pool):
    model = gpax.viGP(X.shape[1], kernel="Matern")
    model.fit(keys[0], X, y, **QUIET)
    mean, variance = model.predict_in_batches(keys[1], pool)
    return mean, variance, model


def exact_gp(keys, X, y, pool):
    model = gpax.ExactGP(X.shape[1], kernel="Matern")
    model.fit(keys[0], X, y, num_warmup=DRAWS, num_samples=DRAWS, **QUIET)
    _, drawn = model.predict_in_batches(keys[1], pool)
    drawn = drawn.reshape(-1, drawn.shape[-1])
    return drawn.mean(0), drawn.var(0), model


def vi_dkl(keys, X, y, pool):
    model = gpax.viDKL(X.shape[1])
    model.fit(keys[0], X, y, **QUIET)
    mean, variance = model.predict_in_batches(keys[1], pool)
    return mean, variance, model


def vi_dkl_8(keys, X, y, pool):
    model = gpax.viDKL(X.shape[1])
    means, variances = model.fit_predict(keys[0], X, y, pool, n_models=8, **QUIET)
    mean = means.mean(0)
    return mean, variances.mean(0) + means.var(0), model


MODELS = {
    "viGP": vi_gp,
    "ExactGP NUTS": exact_gp,
    "viDKL": vi_dkl,
    "viDKL x 8": vi_dkl_8,
}


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3


def step(model, at, measured, seed):
    """Return the candidate chosen, and what the step cost; waits for the result."""
    wall, cpu, peak = time.perf_counter(), time.process_time(), peak_mb()
    pool, y = jnp.asarray(at["X"]), jnp.asarray(at["y"][measured])
    X = jnp.asarray(at["X"][measured])
    mean, variance, made = MODELS[model](gpax.utils.get_keys(seed), X, y, pool)
    scores = np.array(mean + 2.0 * jnp.sqrt(variance))
    scores[measured] = -np.inf
    best = int(np.nanargmax(scores))
    told = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": peak_mb(),
        "peak_growth_mb": peak_mb() - peak,
        "rmse": float(np.sqrt(np.mean((np.asarray(mean) - at["f"]) ** 2))),
    }
    if made.mcmc is not None:  # one chain, so r-hat is that of its halves
        said = summary(made.mcmc.get_samples(group_by_chain=True))
        told["r_hat"] = max(float(np.max(one["r_hat"])) for one in said.values())
        told["ess"] = min(float(np.min(one["n_eff"])) for one in said.values())
    return best, told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--n", type=int, nargs="*", default=[])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--campaign", type=int, nargs=2)
    said = parser.parse_args()
    at = dict(np.load(said.data))
    if said.campaign:
        first, last = said.campaign
        measured, grown = list(at["order"][:first]), []
        wall, cpu = time.perf_counter(), time.process_time()
        while len(measured) < last:
            best, told = step(said.model, at, measured, len(measured))
            measured.append(best)
            grown.append(told["peak_growth_mb"])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        _, told = step(said.model, at, measured, last)  # the map at the end
        top = np.argsort(at["f"])[-(len(at["f"]) // 100) :]
        line = {
            "model": said.model,
            "campaign": [first, last],
            "wall_s": wall,
            "cpu_s": cpu,
            "rmse": told["rmse"],
            "top_1_percent_found": float(np.isin(top, measured).mean()),
            "peak_mb": told["peak_mb"],
            "peak_growth_mb_per_step": sum(grown[-LAST:]) / LAST,
        }
        print(json.dumps(line), flush=True)
    for n in said.n:
        warm = 1 if n == said.n[0] else 0  # the first step of the process warms up
        for k in range(-warm, said.repeat):
            measured = at["order"][: n + k]
            _, told = step(said.model, at, measured, n + k)
            line = {"model": said.model, "n": n, "points": n + k, "warm_up": k < 0}
            print(json.dumps(line | told), flush=True)


if __name__ == "__main__":
    main()
