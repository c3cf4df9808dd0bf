"""Hypotheses about f: mean models with one kernel for what each leaves over.

A hypothesis has parameters of its mean (`means`) and hyperparameters of its kernel. All
are one vector phi, padded to the longest, so that one program samples each in turn:
first the hyperparameters as `coordinates.straight` takes them, then the unconstrained
parameters. `density` is what `nuts` samples and what `evidence` integrates, and what
comes of it is for `predictive` to read.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates.composed import named
from aemtwin.surrogates.coordinates import prior_draws, straight
from aemtwin.surrogates.evidence import LOG_2PI, bridge
from aemtwin.surrogates.exact import covariance, natural, prior, standardise
from aemtwin.surrogates.means import Mean
from aemtwin.surrogates.nuts import Chains, Told, rounds
from aemtwin.surrogates.programs import fitting


class Hypotheses(NamedTuple):
    """What programs are compiled for, besides shapes; equal ones hash alike."""

    means: tuple[Mean, ...]  # of h hypotheses, over the same d dimensions
    kernel: str  # of all, as `composed.named` takes it
    relative: bool = True  # whether means are of standardised y, or in the unit of y

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the shape of the kernel, k of them."""
        return tuple(named(self.kernel).labels(self.means[0].d))

    @property
    def q(self) -> int:
        """How many hyperparameters there are: k, the scale and the noise."""
        return len(self.labels) + 2

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers of phi count for each hypothesis."""
        return tuple(self.q + mean.layout.size for mean in self.means)

    def prior_draws(self, chains: int, samples: int) -> NDArray[np.float64]:
        """Return draws of phi from its prior, (h, chains, samples, p)."""
        shape = len(self.means), chains, samples, max(self.sizes)
        draws = np.random.default_rng(0).normal(size=shape)  # what pads stays
        draws[..., : self.q] = prior_draws(
            chains, samples, self.kernel, self.means[0].d
        )
        for mine, mean, size in zip(draws, self.means, self.sizes, strict=True):
            own = mean.draws(chains * samples)
            mine[..., self.q : size] = own.reshape(chains, samples, -1)
        return draws

    def at(self, which: Array | int, beta: Array, X: Array) -> tuple[Array, Array]:
        """Return the mean of one hypothesis, and −log of the prior density of beta.

        What pads beta is standard normal, so that it integrates to 1.

        Args:
            which: The hypothesis, ().
            beta: Its unconstrained parameters, padded, (p − q,).
            X: Points, (n, d).

        Returns:
            f(X), (n,), and the energy, ().
        """

        def branch(mean: Mean, beta: Array) -> tuple[Array, Array]:
            own, rest = beta[: mean.layout.size], beta[mean.layout.size :]
            f, energy = mean.at(own, X)
            return f, energy + 0.5 * rest @ rest + 0.5 * LOG_2PI * len(rest)

        branches = [partial(branch, mean) for mean in self.means]
        found: tuple[Array, Array] = lax.switch(which, branches, beta)
        return found

    def in_unit_of_y(
        self, which: Array | int, beta: Array, X: Array, level: Array
    ) -> Array:
        """Return f(X) in the unit of y, (n,), of which `level` is shift and spread."""
        f = self.at(which, beta, X)[0]
        return level[0] + level[1] * f if self.relative else f

    def told(self, which: Array | int, beta: Array, X: Array) -> Array:
        """Return the parameters of one hypothesis in their units, padded with zeros."""
        most = max(len(mean.layout.labels) for mean in self.means)

        def branch(mean: Mean, beta: Array) -> Array:
            found = mean.told(beta[: mean.layout.size], X)
            return jnp.pad(found, (0, most - len(found)))

        branches = [partial(branch, mean) for mean in self.means]
        found: Array = lax.switch(which, branches, beta)
        return found


def inside(X: Array, mask: Array) -> Array:
    """Return the points with the first in place of padding: there means are defined."""
    return jnp.where(mask[:, None], X, X[0])


def density(
    phi: Array,
    which: Array | int,
    X: Array,
    u: Array,
    mask: Array,
    noise: Array | float,
    level: Array,
    *,
    hypotheses: Hypotheses,
) -> tuple[Array, Array]:
    """Return minus the log of the joint density of data and parameters, and its slope.

    The prior is normalised, so that the integral over phi is the evidence.

    Args:
        phi: Hyperparameters, then parameters of the mean, padded with numbers that
            count for nothing, (p,).
        which: The hypothesis, ().
        X: Points, (N, d).
        u: Standardised values, (N,), 0 where padded.
        mask: True where measured, (N,); the first is.
        noise: Known sd of each, (N,) or (), standardised.
        level: Shift and spread of y, (2,).
        hypotheses: All of them.

    Returns:
        Value (), and gradient (p,).

    Source: Rasmussen and Williams (2006), eqs. 2.30 and 5.9, for y less its mean; the
    slope along the mean, −K⁻¹(y − m) · dm, is derived here.
    """
    kernel, q = hypotheses.kernel, hypotheses.q
    theta, pull_theta = jax.vjp(straight, phi[:q])

    def mean(beta: Array) -> tuple[Array, Array]:
        f, energy = hypotheses.at(which, beta, inside(X, mask))
        return f if hypotheses.relative else (f - level[0]) / level[1], energy

    (f, energy), pull_mean = jax.vjp(mean, phi[q:])

    def K_of(t: Array) -> Array:
        return covariance(kernel, natural(t), X, mask, noise, 1e-10)

    K, pull_K = jax.vjp(K_of, theta)
    L = lax.linalg.cholesky(K, symmetrize_input=False)
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    w = L_inv @ jnp.where(mask, u - f, 0.0)
    alpha = w @ L_inv
    nll = 0.5 * w @ w + jnp.sum(jnp.log(jnp.diag(L))) + 0.5 * LOG_2PI * jnp.sum(mask)
    (slope,) = pull_K(0.5 * (L_inv.T @ L_inv - jnp.outer(alpha, alpha)))
    median, sd = prior(kernel, X.shape[1])
    z = (theta - median) / sd
    prior_energy = 0.5 * z @ z + np.sum(np.log(sd)) + 0.5 * LOG_2PI * q
    along = pull_theta(slope + z / sd)[0], pull_mean((-alpha, jnp.ones_like(energy)))[0]
    return nll + prior_energy + energy, jnp.concatenate(along)


class Sampled(NamedTuple):
    """What sampling all hypotheses gave, each field with a leading axis of h."""

    chains: Chains  # draws (h, c, s, p) and step (h,)
    evidence: Array | NDArray[np.float64]  # (h,), log, of standardised y
    error: Array | NDArray[np.float64]  # (h,), half of the gap of its two estimates
    lost: Array | NDArray[np.int64]  # (h,), places where the density was no number
    told: Told  # how the rounds went


@fitting(static_argnames=("hypotheses", "warmup", "depth", "most"))
def sample(
    key: Array,
    chains: Chains,
    least: Array,
    agree: Array,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    hypotheses: Hypotheses,
    warmup: int,
    depth: int,
    most: int,
) -> tuple[Sampled, Array]:
    """Sample every hypothesis in turn, and estimate the evidence of each.

    Args:
        key: A JAX key, used here and nowhere else.
        chains: Where to go on, draws (h, c, s, p) and step (h,).
        least: As of `nuts.rounds`, like warmup, depth and most.
        agree: r-hat below which a hypothesis has no further round, (h,).
        X: Points, (N, d).
        y: Values, (N,).
        mask: True where measured, (N,).
        noise: Known sd of each, (N,), unit of y.
        hypotheses: All of them.
        warmup: Draws that are left out.
        depth: Doublings of a path at most.
        most: Rounds at most.

    Returns:
        What was found, and shift and spread of y, (2,).
    """
    u, shift, spread = standardise(y, mask)
    level = jnp.stack([shift, spread])

    def one(given: tuple[Array, Array, Array, Chains, Array]) -> Sampled:
        which, size, key, chains, agree = given
        active = jnp.arange(chains.draws.shape[-1]) < size
        data = X, u, mask, noise / spread, level

        def evaluate(phi: Array) -> tuple[Array, Array]:
            return density(phi, which, *data, hypotheses=hypotheses)

        def watch(draws: Array) -> Array:  # what pads needs not agree
            return jnp.where(active, draws, draws[..., :1])

        key_draw, key_bridge = jax.random.split(key)
        chains, told = rounds(
            key_draw,
            chains,
            evaluate,
            warmup=warmup,
            depth=depth,
            least=least,
            most=most,
            agree=agree,  # type: ignore[arg-type]  # traced: one for each hypothesis
            watch=watch,
        )
        found = bridge(key_bridge, jnp.asarray(chains.draws), evaluate, active)
        return Sampled(chains, *found, told)

    h = len(hypotheses.means)
    keys, sizes = jax.random.split(key, h), jnp.array(hypotheses.sizes)
    found: Any = lax.map(one, (jnp.arange(h), sizes, keys, chains, agree))
    return found, level
