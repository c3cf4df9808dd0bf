"""What is believed of f over several hypotheses: draws of each, weighed and read.

Each draw of `hypotheses` is a Gaussian process on what its mean leaves over, and all
together are a `mixture`. A hypothesis has the weight that its evidence gives it, and
when points arrive between two samplings, draws and hypotheses are weighed by how likely
those points were to them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from aemtwin.surrogates import mixture
from aemtwin.surrogates.base import Cross, Posterior
from aemtwin.surrogates.coordinates import straight
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import CHUNK, Hyper, condition
from aemtwin.surrogates.hypotheses import Hypotheses, inside
from aemtwin.surrogates.mixture import Mixture

NEGLIGIBLE = 1e-4  # weight below which a hypothesis is not read


class Predictive(NamedTuple):
    """Draws of all hypotheses, s = h · kept, each with a GP on what it leaves over."""

    mixture: Mixture  # of the residuals, about zero
    which: Any  # (s,), the hypothesis of each
    beta: Any  # (s, p − q), its unconstrained parameters, padded
    share: Any  # (h,), weight of each hypothesis, sum 1
    told: Any  # (s, r), parameters in their own units, padded


@partial(jax.jit, static_argnames="hypotheses")
def conditioned(
    evidence: Array,
    phi: Array,
    fitted: Array,
    level: Array,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    hypotheses: Hypotheses,
) -> Predictive:
    """Condition each draw on all points, and weigh it by those after `fitted`.

    Args:
        evidence: Its logarithm at the first `fitted` points, (h,).
        phi: Draws of each hypothesis, (h, kept, p).
        fitted: How many points that were, ().
        level: Shift and spread of y then, (2,).
        X: Points, (N, d).
        y: Values, (N,).
        mask: True where measured, (N,).
        noise: Known sd of each, (N,), unit of y.
        hypotheses: All of them.

    Source: Rasmussen and Williams (2006), Algorithm 2.1; the chain rule of probability
    along the rows of L for the weights.
    """
    h, kept, _ = phi.shape
    flat = phi.reshape(h * kept, -1)
    e, beta = jnp.exp(straight(flat[:, : hypotheses.q])), flat[:, hypotheses.q :]
    which = jnp.repeat(jnp.arange(h), kept)
    zero = jnp.zeros(h * kept, phi.dtype)  # means are taken off y and added to f
    scale, noise_sd = level[1] * e[:, 0], level[1] * e[:, -1]
    hyper = Hyper(scale, e[:, 1:-1], noise_sd, zero, jnp.zeros((h * kept, 0)))
    late = mask & (jnp.arange(len(mask)) >= fitted)

    def one(given: Any) -> tuple[Array, ...]:
        which, beta, hyper = given
        at = inside(X, mask)
        f = hypotheses.in_unit_of_y(which, beta, at, level)
        L, alpha, jitter = condition(
            hyper, X, y - f, mask, noise, kernel=hypotheses.kernel
        )
        error = L.T @ alpha  # L⁻¹(y − f), each from those before it
        new = -0.5 * error**2 - jnp.log(jnp.diag(L) / level[1])
        new = jnp.sum(jnp.where(late, new, 0.0))
        return L, alpha, jitter, new, hypotheses.told(which, beta, at)

    L, alpha, jitter, new, told = lax.map(one, (which, beta, hyper))
    weight = jax.nn.softmax(evidence[which] + new)
    share = jnp.sum(weight.reshape(h, kept), axis=1)
    weight = jnp.where(share[which] < NEGLIGIBLE, 0.0, weight)
    weight = weight / jnp.sum(weight)
    mix = Mixture(weight, hyper, X, y, mask, noise, L, alpha, jitter)
    return Predictive(mix, which, beta, share, told)


@partial(jax.jit, static_argnames="hypotheses")
def moments(
    read: Predictive, level: Array, at: Array, *, hypotheses: Hypotheses
) -> Posterior:
    """Return mean and variance at m candidates, (m, d), in chunks of them."""
    m, d = at.shape
    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)

    def piece(at: Array) -> tuple[Array, Array]:
        f = _means(read, level, at, hypotheses)  # (s, rows)
        about = read.mixture.hyper._replace(mean=f)
        found = mixture.moments(
            read.mixture._replace(hyper=about), at, kernel=hypotheses.kernel
        )
        return jnp.asarray(found.mean), jnp.asarray(found.variance)

    if chunks == 1:
        return Posterior(*piece(at))
    padded = jnp.pad(at, ((0, chunks * rows - m), (0, 0)), mode="edge")
    mean, variance = lax.map(piece, padded.reshape(chunks, rows, d))
    return Posterior(mean.reshape(-1)[:m], variance.reshape(-1)[:m])


@partial(jax.jit, static_argnames="hypotheses")
def joint(
    read: Predictive,
    level: Array,
    points: Array,
    candidates: Array,
    *,
    hypotheses: Hypotheses,
) -> Cross:
    """Return the covariance of f at k points with f at m candidates, and the noise."""
    at = points, candidates
    own = tuple(_means(read, level, X, hypotheses) for X in at)
    middle = tuple(
        jnp.asarray(moments(read, level, X, hypotheses=hypotheses).mean) for X in at
    )
    return mixture.covaried(read.mixture, at, own, middle, kernel=hypotheses.kernel)


@partial(jax.jit, static_argnames="hypotheses")
def drawn(
    key: Array, read: Predictive, level: Array, at: Array, *, hypotheses: Hypotheses
) -> Array:
    """Draw f once, jointly over all candidates, (m,): of one draw, itself drawn."""
    key_choice, key_path = jax.random.split(key)
    mix = read.mixture
    k = jax.random.categorical(key_choice, jnp.log(mix.weight))
    each = mix.hyper, mix.L, mix.alpha, read.which, read.beta
    hyper, L, alpha, which, beta = jax.tree.map(lambda a: jnp.asarray(a)[k], each)
    f = hypotheses.in_unit_of_y(which, beta, at, level)
    X, mask, noise = mix.X, mix.mask, mix.noise
    left = path(key_path, hyper, X, mask, L, alpha, at, noise, kernel=hypotheses.kernel)
    return f + left


def _means(read: Predictive, level: Array, at: Array, hypotheses: Hypotheses) -> Array:
    """Return the mean of every draw at m points, (s, m), unit of y."""

    def one(given: tuple[Array, Array]) -> Array:
        return hypotheses.in_unit_of_y(*given, at, level)

    found: Array = lax.map(one, (read.which, read.beta))
    return found
