"""The search for hyperparameters: L-BFGS from several starts, within one program.

Marginal likelihoods of few points have several modes, so `best_of` searches from the
last optimum and from a ladder of lengths, one start after the other, and keeps the
lowest. The minimiser is `optax.lbfgs`; `exact.objective` gives value and gradient in
one evaluation, which `_lbfgs` hands it as one differentiable function. `gp` calls this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from aemtwin.surrogates.exact import prior

Evaluate = Callable[[Array], tuple[Array, Array]]
"""theta (p,) -> value (), gradient (p,)."""

MEMORY = 6  # steps from which the curvature is estimated
LINE_STEPS = 6  # evaluations that one line search may take
FLAT = 1e-2  # the search ends where no component of the gradient exceeds this
GAIN = 1e-6  # ... or where a step gains less


class Found(NamedTuple):
    """Where a search ended."""

    theta: Array  # (p,)
    value: Array  # (), ∞ where nothing finite was found
    evaluations: Array  # (), of value and gradient


def best_of(
    key: Array, theta: Array, evaluate: Evaluate, *, starts: int, limit: int
) -> tuple[Array, Array, Array]:
    """Search from theta and from a shaken ladder of lengths, and keep the lowest.

    Args:
        key: A JAX key, which shakes the ladder.
        theta: The last optimum, (d + 2,).
        evaluate: What to minimise.
        starts: Searches, the one from theta included.
        limit: Evaluations after which a search begins no further line search.

    Returns:
        The best theta (d + 2,), evaluations of all searches (), and which start it
        was (), 0 being theta.
    """
    middle, sd = prior(theta.shape[0] - 2)
    rungs = np.linspace(-1.0, 1.0, starts + 1)[1:-1] if starts > 1 else np.zeros(0)
    ladder = np.tile(middle, (starts - 1, 1))
    ladder[:, 1:-1] += 1.5 * rungs[:, None]
    shake = jax.random.uniform(key, ladder.shape, theta.dtype, -1.0, 1.0)
    begin = jnp.concatenate([theta[None], ladder + 0.3 * sd * shake])
    ends = lax.map(lambda t: minimise(evaluate, t, limit=limit), begin)
    best = jnp.argmin(ends.value)
    return ends.theta[best], jnp.sum(ends.evaluations), best


def minimise(evaluate: Evaluate, start: Array, *, limit: int) -> Found:
    """Minimise by L-BFGS with a zoom line search.

    A value or gradient that is not finite is a step too far for the line search, which
    goes back. Ends where no component of the gradient exceeds `FLAT`, where a step
    gains less than `GAIN`, or after `limit` evaluations.

    Args:
        evaluate: What to minimise.
        start: Where to begin, (p,).
        limit: Evaluations after which no further line search begins.

    Source: Nocedal and Wright (2006), Algorithms 3.5, 3.6 and 7.5, as `optax` has them.

    >>> found = minimise(lambda t: (t @ t, 2.0 * t), jnp.ones(2), limit=20)
    >>> bool(found.value < 1e-4)
    True
    """
    value_of = jax.custom_vjp(lambda t: evaluate(t)[0])
    value_of.defvjp(evaluate, lambda slope, weight: (weight * slope,))
    line = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=LINE_STEPS, initial_guess_strategy="one"
    )
    solver = optax.lbfgs(memory_size=MEMORY, linesearch=line)

    class At(NamedTuple):
        found: Found
        slope: Array
        memory: optax.OptState
        done: Array

    def going(at: At) -> Array:
        return ~at.done & (at.found.evaluations < limit)

    def turn(at: At) -> At:
        theta, value, evaluations = at.found
        step, memory = solver.update(
            at.slope, at.memory, theta, value=value, grad=at.slope, value_fn=value_of
        )
        told = memory[-1]  # of the line search
        lower = told.value < value  # NaN is not
        found = Found(
            theta=jnp.where(lower, theta + step, theta),
            value=jnp.where(lower, told.value, value),
            evaluations=evaluations + told.info.num_linesearch_steps,
        )
        flat = jnp.max(jnp.abs(told.grad)) < FLAT
        return At(found, told.grad, memory, flat | (value - found.value < GAIN))

    value, slope = evaluate(start)
    sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
    begin = Found(start, jnp.where(sound, value, jnp.inf), jnp.ones((), int))
    done = ~sound | (jnp.max(jnp.abs(slope)) < FLAT)
    return lax.while_loop(going, turn, At(begin, slope, solver.init(start), done)).found
