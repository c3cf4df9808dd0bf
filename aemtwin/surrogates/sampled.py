"""Deep kernels of which the last layer and the hyperparameters are sampled.

All other layers are at their mode. Each fit is one program: Adam to the mode, rounds of
the no-U-turn sampler (`nuts`) about it, and draws conditioned on all points
(`posteriors`). `dkl` makes a surrogate of it.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpyro.diagnostics import effective_sample_size

from aemtwin.surrogates.base import Info
from aemtwin.surrogates.deep import Design, Fitted, embed, prior
from aemtwin.surrogates.ensemble import Members, train
from aemtwin.surrogates.exact import standardise
from aemtwin.surrogates.kernels import squared_distance
from aemtwin.surrogates.modules import last_layer
from aemtwin.surrogates.nuts import Chains, rounds
from aemtwin.surrogates.posteriors import (
    Parameters,
    beginning,
    count,
    density,
    joined,
    named,
    settled,
)
from aemtwin.surrogates.programs import fitting

log = logging.getLogger(__name__)
FIRST = 3  # rounds that a first fit has, if `rounds` allows
SPREAD = 0.3  # of chains that begin about the mode, in sd of the prior
STEP = 0.1  # of their first round
PROBES = 8  # pairs of measured points whose distance the chains shall agree on
HIGHEST = 1e6  # r-hat of chains that never moved, or of which it is undefined


class Sampled(NamedTuple):
    """A net at its mode, and chains about it."""

    begin: Any  # (p,) float32, weights from which each training begins
    weights: Any  # (p,) float32, at the mode
    theta: Any  # (k + 2,), there
    draws: Any  # (chains, samples, q), of hyperparameters and last layer
    step: Any  # (), leapfrog step


def blank(design: Design, d: int) -> Sampled:
    """Return chains of the right shape, before any data."""
    theta, _ = prior(design.features, design.coordinates)
    shapes, (chains, _, samples, *_) = design.shapes(d), design.sampler
    q = len(theta) + int(np.prod(shapes[last_layer(shapes)]))
    flat, draws = (
        np.zeros(count(design, d), np.float32),
        np.zeros((chains, samples, q)),
    )
    return Sampled(flat, flat, theta, draws, np.array(STEP))


@fitting(static_argnames="design")
def infer(
    key: Array,
    before: Sampled,
    cold: Array,
    steps: Array,
    least: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    design: Design,
) -> tuple[Sampled, Fitted, dict[str, Array]]:
    """Train a net to its mode, and sample its last layer and hyperparameters there.

    Each training begins with the same weights and takes as many steps, so that no net
    drifts however many there were. Chains go on from where they stood about the mode.

    Args:
        key: A JAX key, used here and nowhere else.
        before: What the last fit returned.
        cold: Whether this is the first fit, ().
        steps: Of Adam, (); with 0 only the conditioning is new.
        least: Rounds of the chains at least, (), as `nuts.rounds` takes it.
        X: Positions and patches, (N, d).
        y: Values, (N,), any unit.
        mask: True where measured, (N,).
        design: Settled when compiled.
    """
    shapes, x, root = (
        design.shapes(X.shape[1]),
        design.seen(X),
        design.weight_prior**0.5,
    )
    median, sd = prior(design.features, design.coordinates)
    k, last = len(median), last_layer(shapes)
    chains, warmup, samples, depth, most, agree = design.sampler
    key_begin, key_spread, key_chains = jax.random.split(key, 3)
    u, *_ = standardise(y, mask)

    def vector(flat: Array, theta: Array) -> Array:
        matrix = named(flat, shapes)[last].ravel().astype(theta.dtype)
        return jnp.concatenate([(theta - median) / sd, root * matrix])

    begin = jnp.where(cold, beginning(key_begin, design, x, shapes), before.begin)
    start = Members(named(begin, shapes), jnp.asarray(median))
    mode = train(start, x, X, u, mask, steps, design)
    flat = jnp.where(steps > 0, joined(mode.weights, shapes), before.weights)
    theta = jnp.where(steps > 0, mode.theta, before.theta)
    weights, now = named(flat, shapes), vector(flat, theta)

    def parameters(v: Array) -> Parameters:
        matrix = (v[k:] / root).reshape(shapes[last]).astype(jnp.float32)
        return weights | {last: matrix}, jnp.asarray(median + sd * v[:k])

    def watch(draws: Array) -> Array:
        seen: Array = lax.map(jax.vmap(told_apart), draws)
        return seen

    def told_apart(v: Array) -> Array:
        """Return what no turn of the features changes, of one draw."""
        weights, theta = parameters(v)
        own = jnp.concatenate([theta[:1], theta[1 + design.features :]])
        rows = jnp.arange(PROBES + 1) * jnp.sum(mask) // (PROBES + 1)
        at = embed(weights, x[rows], X[rows], design)
        length = jnp.exp(theta[1:-1])
        far = jnp.diagonal(squared_distance(length, at[:-1], at[1:]))
        return jnp.concatenate([own, jnp.where(far > 0, jnp.log(far), theta[-1])])

    shape = chains, samples, len(now)
    around = now + SPREAD * jax.random.normal(key_spread, shape, now.dtype)
    moved = before.draws + (now - vector(before.weights, before.theta))
    found, went = rounds(
        key_chains,
        Chains(jnp.where(cold, around, moved), jnp.where(cold, STEP, before.step)),
        density(parameters, x, X, u, mask, design),
        warmup=warmup,
        depth=depth,
        least=least,
        most=most,
        agree=agree,
        dense=False,
        watch=watch,
    )
    every = jnp.asarray(found.draws).reshape(chains * samples, -1)
    kept = every[np.arange(design.members) * len(every) // design.members]
    at, told = settled(kept, parameters, x, X, y, mask, design)
    told |= {
        "r_hat": went.r_hat,
        "rounds": went.rounds,
        "divergences": went.divergences,
        "accept_prob": went.accept,
        "evaluations": went.evaluations,
        "watched": watch(jnp.asarray(found.draws)),
    }
    return Sampled(begin, flat, theta, found.draws, found.step), at, told


def fit(
    key: Array,
    before: Sampled,
    data: tuple[Any, Any, Any],
    *,
    first: bool,
    steps: int,
    least: int,
    design: Design,
) -> tuple[Sampled, Fitted, Info]:
    """Run `infer` on X, y and mask; return plain numbers, warn where chains differ."""
    counts = np.asarray(first), np.asarray(steps), np.asarray(least)
    after, at, told = infer(key, before, *counts, *data, design=design)
    after, told = jax.device_get((after, told))
    watched, (*_, most, agree) = told.pop("watched"), design.sampler
    info: Info = {name: value.item() for name, value in told.items()}
    info |= {"finite": int(info["finite"]), **plain(watched, info["r_hat"])}
    if info["rounds"] >= most and info["r_hat"] > agree:
        log.warning(
            "dkl still has chains that disagree on %d points after all of its rounds "
            "= %d: r-hat is %.3g, where agree = %g was asked for. Mean and variance "
            "depend on the seed; raise rounds in [surrogate].",
            int(np.sum(data[2])),
            most,
            info["r_hat"],
            agree,
        )
    return after, at, info


def plain(watched: Any, r_hat: float) -> Info:
    """Return r-hat and effective draws as numbers for people.

    Args:
        watched: What the chains shall agree on, (chains, samples, k).
        r_hat: Of it.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # draws without spread
        size = effective_sample_size(np.asarray(watched)).min()
    apart = np.nan_to_num(r_hat, nan=HIGHEST, posinf=HIGHEST)
    return {
        "r_hat": min(float(apart), HIGHEST),
        "ess": float(np.nan_to_num(size, nan=0.0, posinf=0.0)),
    }
