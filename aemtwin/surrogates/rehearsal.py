"""Many campaigns on one known map in one program, with hyperparameters held fixed.

For research on acquisitions: a campaign of 180 steps on 2500 candidates takes some ten
milliseconds, because no instrument, no search and no journal stands between two steps.
What it leaves out is as important: real campaigns learn their hyperparameters as they
go, and those given here are often learned from more than a campaign has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.surrogates.base import Posterior
from aemtwin.surrogates.exact import Hyper, before, between

Score = Callable[[Posterior, Array, Array], Array]
"""(posterior (m,), best so far (), measured (m,)) -> scores (m,)."""


def rehearse(
    hyper: Hyper,
    X: ArrayLike,
    y: ArrayLike,
    first: ArrayLike,
    steps: int,
    score: Score,
    *,
    kernel: str = "matern52",
) -> NDArray[np.int64]:
    """Run c campaigns, each from its own first points, one after the other.

    A step adds one row to V = L⁻¹ K(measured, pool), float32, as `pools` does, and
    measures where the score of the posterior is highest.

    Args:
        hyper: Held fixed, in the unit of y.
        X: The pool, (m, d).
        y: What a measurement of each candidate gives, (m,), or (c, m) where each
            campaign has noise of its own.
        first: Candidates that are measured first, (c, k).
        steps: Measurements after these.
        score: Plain JAX; candidates that were measured are never taken again.
        kernel: As `composed.named` takes it.

    Returns:
        Candidates in the order in which they were measured, (c, k + steps).

    Raises:
        ShapeMismatch: If shapes do not fit.
        OutOfRange: If there are more measurements than candidates, or a first point is
            none of them.

    >>> hyper = Hyper(jnp.array(1.0), jnp.array([0.3]), jnp.array(0.1))
    >>> X = np.linspace(0, 1, 5)[:, None]
    >>> greedy = lambda at, best, measured: at.mean
    >>> rehearse(hyper, X, X[:, 0], [[0, 3]], 2, greedy).tolist()
    [[0, 3, 4, 2]]
    """
    at, values = np.asarray(X, np.float32), np.asarray(y, np.float32)
    begin = np.asarray(first)
    m = len(at)
    if at.ndim != 2 or begin.ndim != 2 or values.shape not in ((m,), (len(begin), m)):
        raise ShapeMismatch(
            f"rehearse got X {at.shape}, y {values.shape} and first {begin.shape}; it "
            "takes (m, d), (m,) or (c, m), and (c, k)."
        )
    if steps < 0 or begin.shape[1] + steps > m or begin.min() < 0 or begin.max() >= m:
        raise OutOfRange(
            f"rehearse got {begin.shape[1]} first points, from {begin.min()} to "
            f"{begin.max()}, and steps = {steps}; there are {m} candidates, from 0 on, "
            "each measured once. Take fewer steps, or another first point."
        )
    single = jax.tree.map(lambda a: np.asarray(a, np.float32), hyper)
    picks = _rehearsed(
        single, at, values, begin, steps=steps, score=score, kernel=kernel
    )
    return np.asarray(picks, np.int64)


@partial(jax.jit, static_argnames=("steps", "score", "kernel"))
def _rehearsed(
    hyper: Hyper,
    X: Array,
    y: Array,
    first: Array,
    *,
    steps: int,
    score: Score,
    kernel: str,
) -> Array:
    k, m = first.shape[1], X.shape[0]
    n = k + steps
    prior = before(hyper, X)

    def campaign(given: tuple[Array, Array]) -> Array:
        begin, values = given

        def step(state: Any, i: Array) -> tuple[Any, Array]:
            V, mean, variance, measured, best = state
            at = Posterior(mean, jnp.maximum(variance, 0.0))
            scores = jnp.where(measured, -jnp.inf, score(at, best, measured))
            pick = jnp.where(i < k, begin[jnp.minimum(i, k - 1)], jnp.argmax(scores))
            row = V[:, pick]  # L⁻¹ k: what is known of this candidate from the others
            own = jnp.sqrt(jnp.maximum(variance[pick], 0.0) + hyper.noise**2)
            K = between(kernel, hyper, lax.dynamic_slice_in_dim(X, pick, 1), X)[0]
            v = (K - row @ V) / own
            error = (values[pick] - mean[pick]) / own
            return (
                lax.dynamic_update_slice(V, v[None], (i, 0)),
                mean + error * v,
                variance - v**2,
                measured.at[pick].set(True),
                jnp.maximum(best, values[pick]),
            ), pick

        start = (
            jnp.zeros((n, m), jnp.float32),
            jnp.full(m, hyper.mean, jnp.float32),
            prior,
            jnp.zeros(m, bool),
            jnp.full((), -jnp.inf, jnp.float32),
        )
        _, picks = lax.scan(step, start, jnp.arange(n))
        return picks

    each = y if y.ndim == 2 else jnp.broadcast_to(y, (first.shape[0], m))
    picks: Array = lax.map(campaign, (first, each))
    return picks
