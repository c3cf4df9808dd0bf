"""The search for hyperparameters: L-BFGS from several starts, within one program.

Marginal likelihoods of few points have several modes, so `modes` searches from the
last optimum and from a ladder of other guesses, one after the other, and weighs what it
finds. The minimiser is `optax.lbfgs`; it takes value and gradient from one evaluation,
because `exact.objective` has both in closed form. `gp` calls `modes` in its fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from numpy.typing import NDArray

LINE_STEPS = 6  # evaluations that one line search may take
FLAT = 1e-2  # a search ends where no component of the gradient exceeds this
GAIN = 1e-6  # ... or where a step gains less
REACH = 1.5, 3.0  # of the ladder at its ends: logarithms of length and of noise
SHAKE = 0.3  # of a rung, in standard deviations of the prior
SAME = 0.1  # of the prior's sd, by which two ends may differ and be one mode
NEGLIGIBLE = 6.0  # nats above the lowest mode from which one counts no more
STEP = 1e-3  # of the prior's sd, for differences of the gradient
BROAD = 0.5  # least second derivative: half of what the prior alone has

Evaluate = Callable[[Array], tuple[Array, Array]]
"""theta (p,) -> value (), gradient (p,)."""


class Found(NamedTuple):
    """Where a search ended."""

    theta: Array  # (p,)
    value: Array  # (), ∞ where the start itself has no finite value
    evaluations: Array  # (), of value and gradient together


class Modes(NamedTuple):
    """The modes of a density, the highest first."""

    theta: Array  # (kept, p); the first once more where there are fewer
    weight: Array  # (kept,), sum 1; 0 where there is none
    value: Array  # (kept,), of what was minimised; ∞ where there is none
    evaluations: Array  # ()
    start: Array  # (), which start was the best, 0 being the last optimum


class _Search(NamedTuple):
    """Where a search is."""

    best: Found
    slope: Array  # (p,), gradient at the best
    memory: optax.OptState
    done: Array  # ()


def modes(
    key: Array,
    theta: Array,
    evaluate: Evaluate,
    *,
    median: NDArray[np.float64],
    sd: NDArray[np.float64],
    starts: int,
    limit: int,
    kept: int,
) -> Modes:
    """Search from theta and from the rungs of a ladder, and keep the modes found.

    The ladder leads from short lengths and little noise (all is structure) to long
    lengths and much noise (all is trend and chance), evenly in the logarithms. Ends
    nearer than `SAME` to a lower one are the same mode.

    A mode weighs as much as the normal density that fits it holds: exp(−value) over
    the root of the determinant of its second derivatives, which are taken only where a
    second mode is not negligible.

    Args:
        key: A JAX key, which shakes the ladder.
        theta: The last optimum, (p,), logarithms of scale, shape and noise.
        evaluate: What to minimise, a negative log density.
        median: Of the prior of theta, (p,).
        sd: Of it, (p,).
        starts: Searches, the one from theta included.
        limit: Evaluations after which a search begins no other step.
        kept: Modes at most.

    Source: MacKay (2003), Information Theory, Inference, and Learning Algorithms,
    chapter 27, for the weight (Laplace's method).
    """
    rungs = np.linspace(-1.0, 1.0, starts + 1)[1:-1] if starts > 1 else np.zeros(0)
    ladder = np.tile(median, (starts - 1, 1))
    ladder[:, 1:-1] += REACH[0] * rungs[:, None]
    ladder[:, -1] += REACH[1] * rungs
    shake = jax.random.uniform(key, ladder.shape, theta.dtype, -1.0, 1.0)
    begin = jnp.concatenate([theta[None], ladder + SHAKE * sd * shake])
    ends = lax.map(lambda start: minimise(evaluate, start, limit=limit), begin)

    value, found, lowest = ends.value, [], []
    for _ in range(min(kept, starts)):
        best = jnp.argmin(value)
        lowest.append(value[best])
        found.append(ends.theta[best])
        near = jnp.max(jnp.abs(ends.theta - ends.theta[best]) / sd, axis=1) < SAME
        value = jnp.where(near, jnp.inf, value)
    at, depth = jnp.stack(found), jnp.stack(lowest)
    at = jnp.where(jnp.isfinite(depth)[:, None], at, at[0])  # a mode that is not there
    gap = depth - depth[0]

    def weigh() -> Array:
        log_weight = -gap - 0.5 * lax.map(lambda t: _curvature(evaluate, t, sd), at)
        return jax.nn.softmax(jnp.where(gap < NEGLIGIBLE, log_weight, -jnp.inf))

    def first() -> Array:
        return jnp.zeros_like(gap).at[0].set(1.0)

    several = jnp.sum(gap < NEGLIGIBLE) > 1
    weight = lax.cond(several, weigh, first)
    extra = jnp.where(several, 2 * theta.shape[0] * len(found), 0)
    evaluations = jnp.sum(ends.evaluations) + extra
    return Modes(at, weight, depth, evaluations, jnp.argmin(ends.value))


def _curvature(evaluate: Evaluate, theta: Array, sd: NDArray[np.float64]) -> Array:
    """Return log det of the second derivatives, in units of sd, by differences."""
    step = STEP * sd

    def slope(offset: Array) -> Array:
        return evaluate(theta + offset)[1] * sd

    axes = jnp.diag(jnp.asarray(step))
    ahead, behind = (lax.map(slope, way * axes) for way in (1.0, -1.0))
    H = (ahead - behind) / (2.0 * STEP)
    H = jnp.where(jnp.isfinite(H), H, 0.0)
    return jnp.sum(jnp.log(jnp.maximum(jnp.linalg.eigvalsh(0.5 * (H + H.T)), BROAD)))


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
