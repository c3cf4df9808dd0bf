"""Steps and whole campaigns with gpax 0.1.9; runs in its own environment alone.

    python -m benchmarks.peers.gpax.steps DATA.npz MODEL --n 50 100 --repeat 1
    python -m benchmarks.peers.gpax.steps DATA.npz MODEL --campaign 20 200

A step is what gpax's users write: make
the model, fit it, read mean and variance over the pool in batches, upper confidence
bound, argmax. Budgets, priors and precision (float32) are gpax's own: 1000 steps of
Adam, kernels over inputs as they are; NUTS with 200 + 200 draws of one chain in place
of 2000 + 2000. Whatever a step compiles counts, in each step anew.
"""

from __future__ import annotations

import gpax
import jax.numpy as jnp
import numpy as np
from numpyro.diagnostics import summary

from benchmarks.peers.deciding import main, upper

DRAWS = 200
ADAM = 1000  # steps of variational inference, each one gradient
QUIET = {"progress_bar": False, "print_summary": False}


def vi_gp(keys, X, y, pool):
    model = gpax.viGP(X.shape[1], kernel="Matern")
    model.fit(keys[0], X, y, **QUIET)
    mean, variance = model.predict_in_batches(keys[1], pool)
    return mean, variance, model


def exact_gp(keys, X, y, pool):
    model = gpax.ExactGP(X.shape[1], kernel="Matern")
    told = {"extra_fields": ("num_steps",), **QUIET}  # through to numpyro
    model.fit(keys[0], X, y, num_warmup=DRAWS, num_samples=DRAWS, **told)
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


def decider(fit_and_read):
    def begin(at, evaluations):
        assert evaluations is None, "its steps are its own"
        pool = jnp.asarray(at["X"])

        def decide(measured, seed):
            X, y = jnp.asarray(at["X"][measured]), jnp.asarray(at["y"][measured])
            keys = gpax.utils.get_keys(seed)
            mean, variance, made = fit_and_read(keys, X, y, pool)
            mean, variance = np.asarray(mean), np.asarray(variance)
            best = upper(mean, variance, measured)
            return best, mean, said_by(made)

        return decide

    return begin


def said_by(made):
    """Return what a fit tells of itself; one chain's r-hat is that of its halves."""
    if made.mcmc is None:
        return {"evaluations": ADAM}
    said = summary(made.mcmc.get_samples(group_by_chain=True))
    return {
        "r_hat": max(float(np.max(one["r_hat"])) for one in said.values()),
        "ess": min(float(np.min(one["n_eff"])) for one in said.values()),
        "evaluations": int(np.sum(made.mcmc.get_extra_fields()["num_steps"])),
    }


if __name__ == "__main__":
    models = {name: decider(one) for name, one in MODELS.items()}
    packages = ("gpax", "jax", "jaxlib", "numpyro", "flax", "dm-haiku", "numpy")
    main(models, packages, doc=__doc__)
