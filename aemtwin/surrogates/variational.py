"""Stochastic variational inference: the normal nearest to a density, as a function.

A guide is a normal distribution without correlations over a flat vector (p,). `fit`
moves it towards any density of which value and gradient can be had, by noisy steps of
Adam that a schedule calms, inside whatever program calls it: data are arguments and
nothing is compiled anew. `descend` is the loop alone, for a mode in place of a guide.
`bnn` uses both for the weights of a net; `nuts` samples what they approximate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from numpy.typing import NDArray

from aemtwin.surrogates.nuts import Evaluate

PAIRS = 4  # noises a step, each with its opposite
CHECKED = 64  # draws of the last guide from which its bound is estimated

Tree = TypeVar("Tree")


class Guide(NamedTuple):
    """A normal distribution of independent parameters."""

    mean: Array | NDArray[np.floating]  # (p,)
    log_sd: Array | NDArray[np.floating]  # (p,)


class Told(NamedTuple):
    """How a fit went."""

    elbo: Array  # (), evidence lower bound of the guide, estimated from `CHECKED` draws
    error: Array  # (), standard error of that estimate
    failed: Array  # (), steps that were not finite and not taken


def fit(
    key: Array,
    guide: Guide,
    evaluate: Evaluate,
    *,
    steps: Array | int,
    learning_rate: float,
    pairs: int = PAIRS,
) -> tuple[Guide, Told]:
    """Move a guide towards a density, in the sense of Kullback and Leibler.

    Each step draws `pairs` noises and their opposites, and follows the path derivative
    of the bound, whose noise vanishes where the guide is the density. The step falls as
    half a cosine to nothing, so that what noise is left averages out.

    Args:
        key: A JAX key, used here and nowhere else.
        guide: Where to begin; the last one where the density moved little since.
        evaluate: Negative log density, up to a constant, and its gradient.
        steps: Of Adam, (), whole number; with 0 the guide stays as it is.
        learning_rate: Of the first step, in units of theta and of log sd.
        pairs: Noises a step, each with its opposite.

    Returns:
        The guide, and how it went.

    Source: Kingma and Welling (2014), ICLR, section 2.4, for reparameterisation;
    Kucukelbir et al. (2017), JMLR 18, 14, section 2.4, for the guide; Roeder, Wu and
    Duvenaud (2017), NeurIPS, section 3, for the path derivative. The schedule is that
    of Loshchilov and Hutter (2017), ICLR, eq. 5, without restarts.

    >>> begin = Guide(jnp.zeros(1), jnp.zeros(1))
    >>> target = lambda theta: (2 * jnp.sum((theta - 3) ** 2), 4 * (theta - 3))
    >>> found, _ = fit(
    ...     jax.random.key(0), begin, target, steps=500, learning_rate=0.1
    ... )
    >>> [round(float(x), 2) for x in (found.mean[0], jnp.exp(found.log_sd[0]))]
    [3.0, 0.5]
    """

    def noises(step: Array | int, count: int) -> Array:
        shape, dtype = (count, *guide.mean.shape), guide.mean.dtype
        one = jax.random.normal(jax.random.fold_in(key, step), shape, dtype)
        return jnp.concatenate([one, -one])

    def at(now: Guide, noise: Array) -> tuple[Array, Array]:
        theta = jnp.asarray(now.mean) + jnp.exp(jnp.asarray(now.log_sd)) * noise
        return jax.vmap(evaluate)(theta)

    def slope(step: Array, now: Guide) -> tuple[Array, Guide]:
        noise, sd = noises(step, pairs), jnp.exp(jnp.asarray(now.log_sd))
        value, gradient = at(now, noise)
        uphill = gradient - noise / sd  # of log q − log p, along the path
        by_log_sd = jnp.mean(uphill * noise * sd, axis=0)
        return jnp.mean(value), Guide(jnp.mean(uphill, axis=0), by_log_sd)

    start = Guide(*(jnp.asarray(part) for part in guide))
    found, failed = descend(slope, start, steps=steps, learning_rate=learning_rate)
    noise = noises(jnp.asarray(steps), CHECKED // 2)
    value, _ = at(found, noise)
    density = -0.5 * noise**2 - found.log_sd - 0.5 * jnp.log(2.0 * jnp.pi)
    bound = -value - jnp.sum(density, axis=1)
    halves = jnp.mean(bound.reshape(2, -1), axis=0)  # a noise and its opposite
    error = jnp.std(halves, ddof=1) / np.sqrt(CHECKED // 2)
    return found, Told(jnp.mean(bound), error, failed)


def descend(
    slope: Callable[[Array, Tree], tuple[Array, Tree]],
    start: Tree,
    *,
    steps: Array | int,
    learning_rate: float,
) -> tuple[Tree, Array]:
    """Go downhill by Adam, with steps that fall to nothing.

    A step of which anything is not finite is not taken and forgotten.

    Args:
        slope: Step () and where it stands -> value () and gradient there.
        start: Where to begin, any tree of arrays.
        steps: How many, (), whole number.
        learning_rate: Of the first step.

    Returns:
        Where it ends, and how many steps were not taken, ().

    Source: Kingma and Ba (2015), ICLR, Algorithm 1.
    """
    solver = optax.scale_by_adam()

    def turn(step: Array, state: tuple[Tree, Any, Array]) -> tuple[Tree, Any, Array]:
        now, memory, failed = state
        value, gradient = slope(step, now)
        change, later = solver.update(gradient, memory)
        rate = -0.5 * learning_rate * (1.0 + jnp.cos(jnp.pi * step / steps))
        change = jax.tree.map(lambda a: (rate * a).astype(a.dtype), change)
        after = optax.apply_updates(now, change), later
        sound = jnp.isfinite(value)
        for leaf in jax.tree.leaves((gradient, after)):
            sound &= jnp.all(jnp.isfinite(leaf))
        kept = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old), after, (now, memory)
        )
        return *kept, failed + ~sound

    begin = start, solver.init(start), jnp.zeros((), jnp.int32)
    end, _, failed = lax.fori_loop(0, steps, turn, begin)
    return end, failed


def draws(key: Array, guide: Guide, count: int) -> Array:
    """Draw `count` vectors from a guide, (count, p), a noise and its opposite in turn.

    Each is a fair draw, and their mean is that of the guide where `count` is even.
    """
    half = -(-count // 2)
    shape, dtype = (half, *guide.mean.shape), guide.mean.dtype
    noise = jax.random.normal(key, shape, dtype)
    both = jnp.stack([noise, -noise], axis=1).reshape(2 * half, -1)[:count]
    return jnp.asarray(guide.mean) + jnp.exp(jnp.asarray(guide.log_sd)) * both
