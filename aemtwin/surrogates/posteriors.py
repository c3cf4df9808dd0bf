"""The posterior of one deep kernel: its density, its draws, and a normal guide to it.

Pure functions, plain JAX, each fit one program. Parameters stand in one vector of which
the prior is N(0, I): hyperparameters, then weights. The likelihood is that of the exact
Gaussian process over the features, its mean integrated out. `infer` moves a guide
(`variational`) over all of them, `sampled` samples a part; `settled` conditions the
draws of either on all points, for `deep` to read. `dkl` makes a surrogate of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from aemtwin.surrogates import variational
from aemtwin.surrogates.base import Info
from aemtwin.surrogates.deep import Design, Fitted, embed, prior
from aemtwin.surrogates.exact import (
    MEAN_SD,
    condition,
    covariance,
    natural,
    standardise,
    tries,
)
from aemtwin.surrogates.modules import begun
from aemtwin.surrogates.programs import fitting

NARROW = 0.1  # sd of a guide that begins, in sd of the prior
PAIRS = 2  # noises a step of the guide, each with its opposite
DRAWN = 7  # seed of draws of the guide: the same in each fit, so that none jumps

Parameters: TypeAlias = tuple[dict[str, Array], Array]
"""Weights by name, float32, and theta (k + 2,), float64, as `deep.prior` has it."""


def blank(design: Design, d: int) -> variational.Guide:
    """Return a guide of the right shape, before any data."""
    p = count(design, d) + len(prior(design.features, design.coordinates)[0])
    return variational.Guide(np.zeros(p), np.full(p, np.log(NARROW)))


def count(design: Design, d: int) -> int:
    """Return how many weights a net over d columns has."""
    return sum(int(np.prod(shape)) for shape in design.shapes(d).values())


def named(flat: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return the weights that stand one after the other in flat (p,), float32."""
    found, at = {}, 0
    for name, shape in shapes.items():
        after = at + int(np.prod(shape))
        found[name] = flat[at:after].reshape(shape).astype(jnp.float32)
        at = after
    return found


def joined(weights: dict[str, Array], shapes: dict[str, tuple[int, ...]]) -> Array:
    """Return all weights in one row, (p,), the inverse of `named`."""
    return jnp.concatenate([weights[name].ravel() for name in shapes])


def likelihood(
    theta: Array, Z: Array, u: Array, mask: Array, *, kernel: str
) -> tuple[Array, Array, Array]:
    """Return the negative log likelihood, the mean integrated out, and its slopes.

    Args:
        theta: Logarithms of scale, lengths and noise, (k + 2,).
        Z: Rows as the kernel sees them, (N, k).
        u: Standardised values, (N,), 0 where padded.
        mask: True where a point counts, (N,).
        kernel: Of `kernels.RADIAL`.

    Returns:
        Value (), slopes (k + 2,) and (N, k).

    Source: Rasmussen and Williams (2006), eqs. 2.30, 2.40 and 5.9.
    """

    def K_of(t: Array, at: Array) -> Array:
        unit = natural(t)._replace(trend=np.array([MEAN_SD]))
        return covariance(kernel, unit, at, mask, 0.0, 1e-10)

    K, pull = jax.vjp(K_of, theta, Z)
    L = lax.linalg.cholesky(K, symmetrize_input=False)
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    w = L_inv @ jnp.where(mask, u, 0.0)
    alpha = w @ L_inv
    value = 0.5 * w @ w + jnp.sum(jnp.log(jnp.diag(L)))
    value = value + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(mask)
    return value, *pull(0.5 * (L_inv.T @ L_inv - jnp.outer(alpha, alpha)))


def density(
    parameters: Callable[[Array], Parameters],
    x: Array,
    X: Array,
    u: Array,
    mask: Array,
    design: Design,
) -> Callable[[Array], tuple[Array, Array]]:
    """Return the negative log posterior of a vector, up to a constant, with its slope.

    Args:
        parameters: What a vector stands for; its prior is N(0, I).
        x: What the net reads of X.
        X: Points, (N, d).
        u: Standardised values, (N,).
        mask: True where measured, (N,).
        design: Settled when compiled.
    """

    def place(v: Array) -> tuple[Array, Array]:
        weights, theta = parameters(v)
        return theta, embed(weights, x, X, design)

    def evaluate(v: Array) -> tuple[Array, Array]:
        (theta, Z), pull = jax.vjp(place, v)
        value, *slopes = likelihood(theta, Z, u, mask, kernel=design.kernel)
        return value + 0.5 * v @ v, pull(tuple(slopes))[0] + v

    return evaluate


def settled(
    vectors: Array,
    parameters: Callable[[Array], Parameters],
    x: Array,
    X: Array,
    y: Array,
    mask: Array,
    design: Design,
) -> tuple[Fitted, dict[str, Array]]:
    """Condition draws (s, p) on all points; return them and what is told of them."""
    u, shift, spread = standardise(y, mask)
    evaluate = density(parameters, x, X, u, mask, design)

    def one(v: Array) -> tuple[Any, ...]:
        weights, theta = parameters(v)
        Z, trend = embed(weights, x, X, design), jnp.full(1, MEAN_SD, u.dtype)
        hyper = natural(theta)._replace(trend=trend)
        L, alpha, jitter = condition(hyper, Z, u, mask, kernel=design.kernel)
        unit = hyper._replace(
            scale=spread * hyper.scale,
            noise=spread * hyper.noise,
            mean=shift,
            trend=spread * trend,
        )
        return weights, unit, Z, spread * L, alpha / spread, jitter, evaluate(v)[0]

    weights, hyper, Z, L, alpha, jitter, value = lax.map(one, vectors)
    best = jnp.argmin(jnp.where(jnp.isfinite(value), value, jnp.inf))
    told = {
        "objective": jnp.mean(value),
        "scale": jnp.median(hyper.scale),
        "noise_sd": jnp.median(hyper.noise),
        "mean": shift,
        "jitter": spread**2 * jnp.max(jitter),
        "jitter_tries": tries(spread**2 * jitter, hyper.scale),
        "finite": jnp.all(jnp.isfinite(alpha)),
    }
    return Fitted(weights, hyper, Z, mask, L, alpha, best), told


@fitting(static_argnames="design")
def infer(
    key: Array,
    guide: variational.Guide,
    cold: Array,
    steps: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    design: Design,
) -> tuple[variational.Guide, Fitted, dict[str, Array]]:
    """Move a guide over weights and hyperparameters, and condition draws of it.

    Args:
        key: A JAX key, used here and nowhere else.
        guide: Where to begin.
        cold: Whether to begin anew instead, ().
        steps: Of Adam, (); with 0 only the conditioning is new.
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
    k = len(median)

    def parameters(v: Array) -> Parameters:
        return named(v[k:] / root, shapes), jnp.asarray(median + sd * v[:k])

    key_begin, key_fit = jax.random.split(key)
    flat = beginning(key_begin, design, x, shapes)
    first = jnp.concatenate([jnp.zeros(k), root * flat])
    start = variational.Guide(
        jnp.where(cold, first, guide.mean),
        jnp.where(cold, np.log(NARROW), guide.log_sd),
    )
    u, *_ = standardise(y, mask)
    guide, went = variational.fit(
        key_fit,
        start,
        density(parameters, x, X, u, mask, design),
        steps=steps,
        learning_rate=design.learning_rate,
        pairs=PAIRS,
    )
    drawn = variational.draws(jax.random.key(DRAWN), guide, design.members)
    at, told = settled(drawn, parameters, x, X, y, mask, design)
    constant = 0.5 * len(first) * np.log(2.0 * np.pi)  # of the prior
    told |= {
        "elbo": went.elbo - constant,
        "elbo_error": went.error,
        "failed": went.failed,
    }
    return guide, at, told


def fit(
    key: Array,
    guide: variational.Guide,
    data: tuple[Any, Any, Any],
    *,
    first: bool,
    steps: int,
    design: Design,
) -> tuple[variational.Guide, Fitted, Info]:
    """Run `infer` on X, y and mask; return plain numbers for people."""
    cold, count = np.asarray(first), np.asarray(steps)
    guide, at, told = infer(key, guide, cold, count, *data, design=design)
    info: Info = {name: value.item() for name, value in jax.device_get(told).items()}
    return jax.device_get(guide), at, info | {"finite": int(info["finite"])}


def beginning(
    key: Array, design: Design, x: Array, shapes: dict[str, tuple[int, ...]]
) -> Array:
    """Return weights with which a net begins, (p,) float32."""
    one = begun(key, design.network, x.shape[1:], design.features, 1)
    return joined({name: stacked[0] for name, stacked in one.items()}, shapes)
