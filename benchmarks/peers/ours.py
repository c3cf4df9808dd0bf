"""Steps and whole campaigns of aemtwin, as `NAME/steps.py` does them for the peers.

    python -m benchmarks.peers.ours DATA.npz MODEL --n 50 100 --repeat 3
    python -m benchmarks.peers.ours DATA.npz MODEL --campaign 20 200

Models are those of the campaigns with their defaults, and some with other settings:
"gp, 1 search" goes on from the last optimum alone and takes it for certain, as most
peers do; "gp append" keeps its hyperparameters and follows the pool; "bayes_gp to 1.01"
samples until r-hat is below that, and "anew" does so from the prior in each step. Of
the evaluations that it is asked to spend, `gp` makes as many searches as take them,
`dkl` as many steps of Adam a member.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from aemtwin import surrogates
from aemtwin.acquisition.analytic import Context
from aemtwin.environment import prepare_jax
from aemtwin.surrogates.base import count_compilations, pad, step_keys
from benchmarks.learning import Problem, acquisition_of, step
from benchmarks.peers.deciding import main

AGREED = {"agree": 1.01, "rounds": 8}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gp": ("gp", {}),
    "gp, 1 search": ("gp", {"starts": 1, "modes": 1, "spread": 0}),
    "gp append": ("gp", {"refit_every": 10_000, "drift": float("inf")}),
    "bayes_gp": ("bayes_gp", {}),
    "bayes_gp to 1.01": ("bayes_gp", AGREED),
    "bayes_gp to 1.01, anew": ("bayes_gp", AGREED),
    "bayes_gp to 1.01, 200 draws": ("bayes_gp", AGREED | {"samples": 200}),
    "dkl x 1": ("dkl", {"members": 1}),
    "dkl x 8": ("dkl", {"members": 8}),
}
SAID = ("r_hat", "ess", "rounds", "evaluations", "restarts", "searched")
TRIES, FEW = 4, 1.2  # to find as many searches as take the evaluations asked for
NEVER = 1e6  # nats that a member may lose, so that its steps are those asked for


def spending(model: str, evaluations: int, at: Problem, measured: Any) -> Any:
    """Return the surrogate that spends so many evaluations on a fit."""
    name, params = MODELS[model]
    if name == "dkl":
        both = {"steps": evaluations, "cold_steps": evaluations}
        return surrogates.get(name, **params, **both, drift=NEVER)
    ucb, starts = acquisition_of("ucb"), surrogates.get(name).starts
    for _ in range(TRIES):
        surrogate = surrogates.get(name, **params, starts=starts)
        state = surrogate.init(at.X.shape[1])
        for some in (measured[:-1], measured):  # from the prior, then from where it was
            *_, state, info = step(surrogate, ucb, anew(state), at, some)
        if evaluations <= info["evaluations"] < FEW * evaluations:
            break
        starts = math.ceil(starts * evaluations / info["evaluations"])
    return surrogate


def anew(state: Any) -> Any:
    """Return the state of a `gp` that searches from all starts at its next fit."""
    return state._replace(whole=0)


def begin(model: str, arrays: dict[str, Any], evaluations: int | None) -> Any:
    """Return what decides once, and keeps the state for the next time."""
    at, ucb = Problem(**arrays), acquisition_of("ucb")
    name, params = MODELS[model]
    kept: dict[str, Any] = {"pool": None}
    if evaluations is None:
        kept["surrogate"] = surrogates.get(name, **params)
        kept["state"] = kept["surrogate"].init(at.X.shape[1])

    def decide(measured: Any, seed: int) -> Any:
        del seed  # keys follow from the number of points
        if "surrogate" not in kept:  # in the first step, a warm-up
            kept["surrogate"] = spending(model, evaluations or 1, at, measured)
            kept["state"] = kept["surrogate"].init(at.X.shape[1])
        surrogate, state = kept["surrogate"], kept["state"]
        if model.endswith("anew"):
            state = surrogate.init(at.X.shape[1])
        if evaluations is not None and name == "gp":
            state = anew(state)
        with count_compilations() as seen:
            if model == "gp append":
                found = followed(surrogate, ucb, state, at, measured, kept)
            else:
                found = step(surrogate, ucb, state, at, measured)
        best, posterior, kept["state"], info = found
        told = {key: info[key] for key in SAID if key in info}
        told |= {"compilations": seen.count, "compiling_s": seen.seconds}
        if evaluations is not None and name == "dkl":
            told["evaluations"] = evaluations
        return best, posterior.mean, told

    return decide


def followed(
    surrogate: Any, acquire: Any, state: Any, at: Problem, measured: Any, kept: Any
) -> Any:
    """Add a point and follow the pool: a decision without a search."""
    fit, _, _ = step_keys(0, len(measured))
    state, info = surrogate.fit(fit, state, pad(at.X[measured], at.y[measured]))
    kept["pool"], posterior = surrogate.look(state, kept["pool"], at.X)
    done = np.isin(np.arange(len(at.X)), measured)
    scores = acquire(posterior, Context(float(posterior.mean[done].max()), done))
    return int(np.argmax(scores)), posterior, state, info


if __name__ == "__main__":
    prepare_jax()
    packages = ("aemtwin", "numpy", "jax", "jaxlib", "flax", "optax", "numpyro")
    main(
        {model: partial(begin, model) for model in MODELS},
        packages,
        warm_up=(3, 3),  # cold, warm, and once more what a restart takes
        doc=__doc__,
    )
