"""The search for hyperparameters: L-BFGS from several starts, within one program.

Marginal likelihoods of few points have several modes, so `modes` searches from the
last optima and from a ladder of other guesses, one after the other, and `laplace` says
what is to be made of the ends. The minimiser is `optax.lbfgs`; it takes value and
gradient from one evaluation, because `exact.objective` has both in closed form. `gp`
calls `modes` in its fit.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from numpy.typing import NDArray

from aemtwin.surrogates.laplace import Evaluate, spread

LINE_STEPS = 6  # evaluations that one line search may take
FLAT = 1e-2  # a search ends where no component of the gradient exceeds this
GAIN = 1e-6  # ... or where a step gains less
REACH = 1.5, 3.0  # of the ladder at its ends: logarithms of length and of noise
SHAKE = 0.3  # of a rung, in standard deviations of the prior
SAME = 0.1  # of the prior's sd, by which two ends may differ and be one mode


class Found(NamedTuple):
    """Where a search ended."""

    theta: Array  # (p,)
    value: Array  # (), ∞ where the start itself has no finite value
    evaluations: Array  # (), of value and gradient together


class Modes(NamedTuple):
    """What a density is taken for: its modes, and points about them."""

    theta: Array  # (s, p); the modes, the highest first, then `laplace.spread`
    weight: Array  # (s,), sum 1; 0 where there is nothing
    value: Array  # (kept,), of what was minimised; ∞ where there is no mode
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
    known: Array,
    used: Array | NDArray[np.bool_],
    evaluate: Evaluate,
    *,
    whole: Array | bool,
    median: NDArray[np.float64],
    sd: NDArray[np.float64],
    starts: int,
    limit: int,
    kept: int,
    directions: int = 0,
) -> Modes:
    """Search from what is known and from the rungs of a ladder; keep the modes found.

    The ladder leads from short lengths and little noise (all is structure) to long
    lengths and much noise (all is trend and chance), evenly in the logarithms. Ends
    nearer than `SAME` to a lower one are the same mode.

    Args:
        key: A JAX key, which shakes the ladder.
        known: Optima of the last search, (k, p), the likeliest first; logarithms of
            scale, shape and noise.
        used: Which of them there are, (k,); the first counts in any case.
        evaluate: What to minimise, a negative log density.
        whole: Whether the ladder is searched from too; (), may be traced.
        median: Of the prior of theta, (p,).
        sd: Of it, (p,).
        starts: Rungs of the ladder, and one.
        limit: Evaluations after which a search begins no other step.
        kept: Modes at most.
        directions: Axes of each mode along which it is spread; `laplace` says how.
    """
    rungs = np.linspace(-1.0, 1.0, starts + 1)[1:-1] if starts > 1 else np.zeros(0)
    ladder = np.tile(median, (starts - 1, 1))
    ladder[:, 1:-1] += REACH[0] * rungs[:, None]
    ladder[:, -1] += REACH[1] * rungs
    shake = jax.random.uniform(key, ladder.shape, known.dtype, -1.0, 1.0)
    begin = jnp.concatenate([known, ladder + SHAKE * sd * shake])
    ends = _ends(evaluate, begin, _wanted(used, whole, starts), limit=limit)

    value, found, lowest = ends.value, [], []
    for _ in range(min(kept, len(begin))):
        best = jnp.argmin(value)
        lowest.append(value[best])
        found.append(ends.theta[best])
        near = jnp.max(jnp.abs(ends.theta - ends.theta[best]) / sd, axis=1) < SAME
        value = jnp.where(near, jnp.inf, value)
    at, depth = jnp.stack(found), jnp.stack(lowest)
    at = jnp.where(jnp.isfinite(depth)[:, None], at, at[0])  # a mode that is not there
    theta, weight, extra = spread(evaluate, at, depth, sd, directions=directions)
    evaluations = jnp.sum(ends.evaluations) + extra
    return Modes(theta, weight, depth, evaluations, jnp.argmin(ends.value))


def _wanted(used: Array | NDArray[np.bool_], whole: Array | bool, starts: int) -> Array:
    """Return which starts are searched from, (k + starts − 1,)."""
    ladder = jnp.broadcast_to(jnp.asarray(whole), (starts - 1,))
    return jnp.concatenate([jnp.asarray(used, bool).at[0].set(True), ladder])


def _ends(evaluate: Evaluate, begin: Array, wanted: Array, *, limit: int) -> Found:
    """Search from the wanted starts, one after the other; others have no value."""
    order = jnp.argsort(~wanted, stable=True)

    def turn(i: Array, ends: Found) -> Found:
        k = order[i]
        end = minimise(evaluate, begin[k], limit=limit)
        return Found(*(a.at[k].set(b) for a, b in zip(ends, end, strict=True)))

    n = len(begin)
    nothing = Found(begin, jnp.full(n, jnp.inf, begin.dtype), jnp.zeros(n, int))
    return cast(Found, lax.fori_loop(0, jnp.sum(wanted), turn, nothing))


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
