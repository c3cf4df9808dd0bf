"""What modes leave open: how much each weighs, and how far it reaches.

A mode counts as much as the normal density of its curvature holds (Laplace's method).
Of few points that curvature is small: hyperparameters far from a mode explain the data
nearly as well, and a posterior that takes the mode for certain is too narrow. `spread`
adds a star of points, two along each axis of the normal, each weighed by the density
found there, so that the mixture is an integral over hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

NEGLIGIBLE = 6.0  # nats above the lowest mode from which one counts no more
STEP = 1e-3  # of the prior's sd, for differences of the gradient
BROAD = 0.5  # least second derivative: half of what the prior alone has
DIRECTIONS = 6  # axes at most, the least curved first
REACH = 1.7  # of a star: radius over √axes, in sd of the normal; below, why
LIGHT = 0.02  # of the heaviest: what weighs less is left out

Evaluate = Callable[[Array], tuple[Array, Array]]
"""theta (p,) -> value (), gradient (p,)."""


class Star(NamedTuple):
    """A mode and the points about it; weights are not normalised."""

    log_weight: Array  # (), of the mode
    theta: Array  # (2 r, p)
    log_weights: Array  # (2 r,)


def spread(
    evaluate: Evaluate,
    at: Array,
    depth: Array,
    sd: NDArray[np.float64],
    *,
    directions: int,
) -> tuple[Array, Array, Array]:
    """Weigh modes, and the points of their stars.

    A star of r axes has points at ±`REACH`·√r standard deviations along each; the mode
    keeps 1 − 1/`REACH`² and the points share the rest, so that mean and covariance of a
    normal density are met for any reach. A longer one stands for longer tails than a
    normal has, such as posteriors of few points have: 1.1 is usual, and with 1.7 the
    intervals of `gp` held what they say at 10, 30 and 80 points
    (`benchmarks/honesty.py`). Of all stars the 2 r heaviest points are kept; what the
    others weigh falls to their modes.

    Without directions second derivatives are taken only where a second mode is not
    negligible.

    Args:
        evaluate: The negative log density.
        at: Modes, (k, p), the lowest first.
        depth: Its value there, (k,); ∞ where there is no mode.
        sd: Of the prior, (p,), the unit of differences.
        directions: r, at most p; 0: modes alone.

    Returns:
        Points (k + 2 r, p), the modes first; their weights, sum 1; evaluations made.

    Sources: MacKay (2003), Information Theory, Inference, and Learning Algorithms,
    chapter 27, for the weight of a mode; Rue, Martino and Chopin (2009), Journal of the
    Royal Statistical Society B 71, 319, section 6.5, for integrating over
    hyperparameters by a central composite design, of which this is the star.
    """
    gap = depth - depth[0]
    near = gap < NEGLIGIBLE

    def look(one: tuple[Array, Array, Array]) -> Star:
        theta, value, near = one
        missing = _missing(theta, directions)
        there = partial(_star, evaluate, theta, value, depth[0], sd, directions)
        return cast(Star, lax.cond(near, there, lambda: missing))

    def looked() -> Star:
        return cast(Star, lax.map(look, (at, depth, near)))

    def alone() -> Star:
        none: Star = jax.vmap(lambda theta: _missing(theta, directions))(at)
        return none._replace(log_weight=none.log_weight.at[0].set(0.0))

    several = (jnp.sum(near) > 1) | (directions > 0)
    stars = lax.cond(several, looked, alone)
    every = stars.log_weights.reshape(-1)
    heavy, which = lax.top_k(every, 2 * directions)
    points = stars.theta.reshape(-1, at.shape[1])[which]
    rest = every.at[which].set(-jnp.inf).reshape(len(at), -1)  # falls to the mode
    own = jax.nn.logsumexp(jnp.column_stack([stars.log_weight, rest]), axis=1)
    log_weight = jnp.concatenate([own, heavy])
    log_weight = jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)
    lost = jnp.max(log_weight) == -jnp.inf  # then the first, whatever it is
    log_weight = log_weight.at[0].set(jnp.where(lost, 0.0, log_weight[0]))
    light = log_weight < jnp.max(log_weight) + np.log(LIGHT)
    weight = jax.nn.softmax(jnp.where(light, -jnp.inf, log_weight))
    each = 2 * at.shape[1] + 2 * directions
    evaluations = jnp.where(several, jnp.sum(near) * each, 0)
    return jnp.concatenate([at, points]), weight, evaluations


def _missing(theta: Array, directions: int) -> Star:
    """Return the star of a mode that does not count."""
    none = jnp.full(2 * directions + 1, -jnp.inf, theta.dtype)
    return Star(none[0], jnp.tile(theta, (2 * directions, 1)), none[1:])


def _star(
    evaluate: Evaluate,
    theta: Array,
    value: Array,
    lowest: Array,
    sd: NDArray[np.float64],
    directions: int,
) -> Star:
    """Return a mode with the star about it, weighed beside the lowest mode."""
    values, axes = jnp.linalg.eigh(_curvature(evaluate, theta, sd))
    values = jnp.maximum(values, BROAD)
    mass = lowest - value - 0.5 * jnp.sum(jnp.log(values))
    if not directions:
        return _missing(theta, 0)._replace(log_weight=mass)
    radius = REACH * np.sqrt(directions)
    rays = (axes[:, :directions] / jnp.sqrt(values[:directions])).T * sd * radius
    points = theta + jnp.concatenate([rays, -rays])
    rise = lax.map(lambda t: evaluate(t)[0], points) - value
    share = -np.log(2 * directions * REACH**2) + 0.5 * radius**2
    found = jnp.where(jnp.isfinite(rise), mass + share - rise, -jnp.inf)
    return Star(mass + np.log1p(-(REACH**-2)), points, found)


def _curvature(evaluate: Evaluate, theta: Array, sd: NDArray[np.float64]) -> Array:
    """Return second derivatives, (p, p), in units of sd, by differences."""
    step = STEP * sd

    def slope(offset: Array) -> Array:
        return evaluate(theta + offset)[1] * sd

    axes = jnp.diag(jnp.asarray(step))
    ahead, behind = jnp.split(lax.map(slope, jnp.concatenate([axes, -axes])), 2)
    H = (ahead - behind) / (2.0 * STEP)
    H = jnp.where(jnp.isfinite(H), H, 0.0)
    return 0.5 * (H + H.T)
