"""The search for hyperparameters: L-BFGS from several starts, within one program.

Marginal likelihoods of few points have several modes, so `lowest` searches from the
last optimum and from a ladder of other guesses, one after the other, and keeps the
best. The minimiser is `optax.lbfgs`; it takes value and gradient from one evaluation,
because `exact.objective` has both in closed form. `gp` calls `lowest` in its fit.
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

LINE_STEPS = 6  # evaluations that one line search may take
FLAT = 1e-2  # a search ends where no component of the gradient exceeds this
GAIN = 1e-6  # ... or where a step gains less
REACH = 1.5, 3.0  # of the ladder at its ends: logarithms of length and of noise
SHAKE = 0.3  # of a rung, in standard deviations of the prior

Evaluate = Callable[[Array], tuple[Array, Array]]
"""theta (p,) -> value (), gradient (p,)."""


class Found(NamedTuple):
    """Where a search ended."""

    theta: Array  # (p,)
    value: Array  # (), ∞ where the start itself has no finite value
    evaluations: Array  # (), of value and gradient together


class _Search(NamedTuple):
    """Where a search is."""

    best: Found
    slope: Array  # (p,), gradient at the best
    memory: optax.OptState
    done: Array  # ()


def lowest(
    key: Array, theta: Array, evaluate: Evaluate, *, starts: int, limit: int
) -> tuple[Array, Array, Array]:
    """Search from theta and from the rungs of a ladder, and keep the lowest end.

    The ladder leads from short lengths and little noise (all is structure) to long
    lengths and much noise (all is trend and chance), evenly in the logarithms.

    Args:
        key: A JAX key, which shakes the ladder.
        theta: The last optimum, (d + 2,), logarithms of scale, length and noise.
        evaluate: What to minimise.
        starts: Searches, the one from theta included.
        limit: Evaluations after which a search begins no other step.

    Returns:
        The best theta (d + 2,), the evaluations of all searches (), and which start
        was the best (), 0 being theta.
    """
    middle, sd = prior(theta.shape[0] - 2)
    rungs = np.linspace(-1.0, 1.0, starts + 1)[1:-1] if starts > 1 else np.zeros(0)
    ladder = np.tile(middle, (starts - 1, 1))
    ladder[:, 1:-1] += REACH[0] * rungs[:, None]
    ladder[:, -1] += REACH[1] * rungs
    shake = jax.random.uniform(key, ladder.shape, theta.dtype, -1.0, 1.0)
    begin = jnp.concatenate([theta[None], ladder + SHAKE * sd * shake])
    ends = lax.map(lambda start: minimise(evaluate, start, limit=limit), begin)
    best = jnp.argmin(ends.value)
    return ends.theta[best], jnp.sum(ends.evaluations), best


def minimise(evaluate: Evaluate, start: Array, *, limit: int) -> Found:
    """Minimise by L-BFGS with a zoom line search.

    A value or gradient that is not finite is a step too far, from which the line
    search goes back. The end is where no component of the gradient exceeds `FLAT`,
    where a step gains less than `GAIN`, or after `limit` evaluations, which the last
    line search may exceed by `LINE_STEPS` − 1.

    Args:
        evaluate: What to minimise.
        start: Where to begin, (p,).
        limit: Evaluations after which no other step begins.

    Source: Nocedal and Wright (2006), Algorithms 3.5, 3.6 and 7.5, as in `optax`.

    >>> found = minimise(lambda t: (t @ t, 2.0 * t), jnp.ones(2), limit=20)
    >>> bool(found.value < 1e-4)
    True
    """

    def guarded(theta: Array) -> tuple[Array, Array]:
        value, slope = evaluate(theta)
        sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
        return jnp.where(sound, value, jnp.inf), slope

    value_of = jax.custom_vjp(lambda theta: guarded(theta)[0])
    value_of.defvjp(guarded, lambda slope, weight: (weight * slope,))
    line = optax.scale_by_zoom_linesearch(LINE_STEPS, initial_guess_strategy="one")
    solver = optax.lbfgs(linesearch=line)

    def going(s: _Search) -> Array:
        return ~s.done & (s.best.evaluations < limit)

    def turn(s: _Search) -> _Search:
        theta, value, evaluations = s.best
        step, memory = solver.update(
            s.slope, s.memory, theta, value=value, grad=s.slope, value_fn=value_of
        )
        told = memory[-1]  # the state of the line search: what it found at its end
        lower = told.value < value  # not where it failed
        best = Found(
            theta=jnp.where(lower, theta + step, theta),
            value=jnp.where(lower, told.value, value),
            evaluations=evaluations + told.info.num_linesearch_steps,
        )
        flat = jnp.max(jnp.abs(told.grad)) < FLAT
        return _Search(best, told.grad, memory, flat | (value - best.value < GAIN))

    value, slope = guarded(start)
    best = Found(start, value, jnp.ones((), int))
    done = jnp.isinf(value) | (jnp.max(jnp.abs(slope)) < FLAT)
    begin = _Search(best, slope, solver.init(start), done)
    return lax.while_loop(going, turn, begin).best
