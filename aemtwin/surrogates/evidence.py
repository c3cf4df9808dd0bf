"""The evidence of a model: the probability of all data, whatever its parameters.

It is the integral of the joint density of data and parameters, and weighs models
against one another. Bridge sampling estimates it from draws of the posterior, such as
`nuts` leaves them: importance sampling fails where a normal proposal has too light a
tail, and Laplace's method where the mode is not normal, as that of a length scale with
few points is. `hypotheses` weighs mean models with it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from aemtwin.surrogates.nuts import Evaluate, pooled

BRIDGES = 200  # iterations of the estimator, each a few hundred logarithms
LOG_2PI = float(np.log(2.0 * np.pi))


def bridge(
    key: Array, draws: Array, evaluate: Evaluate, active: Array
) -> tuple[Array, Array, Array]:
    """Estimate the logarithm of the integral of a density from draws of it.

    Half of the draws is bridged to a normal density that the other half tells, and the
    other way round; draws that both make the proposal and meet it would be biased.

    Args:
        key: A JAX key, used here and nowhere else.
        draws: Chains of draws, (c, s, p).
        evaluate: Minus the log of the density, as `nuts` takes it.
        active: True for the coordinates that count, (p,); others are standard normal.

    Returns:
        The mean of both logarithms, (), half of the gap between them, (), and at how
        many places the density was no number and counted as 0, ().

    Source: Meng and Wong (1996), Statistica Sinica 6, 831, for the estimator; Wong,
    Forster and Smith (2020), Statistics and Computing 30, 799, for the halves.
    """
    s, p = draws.shape[1:]
    half = s // 2
    halves = jnp.stack([draws[:, :half], draws[:, s - half :]])

    def one(given: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, told, met = given
        middle = jnp.where(active, jnp.mean(told, axis=(0, 1)), 0.0)
        both = active[:, None] & active[None, :]
        spread = jnp.where(both, pooled(told), jnp.eye(p, dtype=draws.dtype))
        root = jnp.linalg.cholesky(spread)
        met = met.reshape(-1, p)
        normal = jax.random.normal(key, met.shape, draws.dtype)

        def ratio(at: Array) -> Array:
            z = solve_triangular(root, at - middle, lower=True)
            log_q = -0.5 * z @ z - jnp.sum(jnp.log(jnp.diag(root))) - 0.5 * LOG_2PI * p
            return -evaluate(at)[0] - log_q

        both_sides = jnp.stack([met, middle + normal @ root.T])
        found = lax.map(lambda side: lax.map(ratio, side), both_sides)
        lost = jnp.isnan(found)  # K was not positive definite: no density, no share
        mine, its = jnp.where(lost, -jnp.inf, found)

        def turn(_: Array, r: Array) -> Array:  # equal numbers of both
            up: Array = jax.nn.logsumexp(its - jnp.logaddexp(its, r))
            return up - jax.nn.logsumexp(-jnp.logaddexp(mine, r))

        bridged = lax.fori_loop(0, BRIDGES, turn, jnp.median(mine))
        return bridged, jnp.sum(lost)

    keys = jax.random.split(key)
    (first, second), lost = lax.map(one, (keys, halves, halves[::-1]))
    return 0.5 * (first + second), 0.5 * jnp.abs(first - second), jnp.sum(lost)
