"""No-U-turn sampling as a pure function: chains of draws in, chains of draws out.

NumPyro's kernels do the work, inside whatever program calls `rounds`, so that data are
arguments and nothing is compiled anew. Chains go on from the draws they are given: from
their last ones, with a mass matrix pooled over all. A target that moved little since
then is met after a few steps, and one that moved far after a few rounds, until `r_hat`
says that the chains agree. `bayes_gp` samples hyperparameters with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray
from numpyro.infer.hmc import hmc

ACCEPT = 0.8  # mean probability of acceptance that the step size aims at
SHRINK = 5.0  # draws that the pooled covariance counts less for being uncertain
TRIED = 16  # draws of a chain that are looked at for the best start
GAIN = 2.0  # of the logarithm of the step for each unit of acceptance off the aim
LEAST = 1e-3  # variance towards which it is shrunk

Evaluate = Callable[[Array], tuple[Array, Array]]
"""theta (p,) -> negative log density (), gradient (p,)."""

Watch = Callable[[Array], Array]
"""Draws (c, s, p) -> what chains shall agree on, (c, s, k)."""


class Chains(NamedTuple):
    """Draws of several chains, and the step with which they go on."""

    draws: Array | NDArray[np.float64]  # (c, s, p)
    step: Array | NDArray[np.float64]  # (), leapfrog step in units of the spread


class Told(NamedTuple):
    """How the last round went."""

    r_hat: Array  # (), highest split r-hat of any dimension
    rounds: Array  # (), rounds that were sampled
    divergences: Array  # (), paths of the last round that diverged
    accept: Array  # (), mean probability of acceptance in it
    evaluations: Array  # (), of the density, in all rounds


def rounds(
    key: Array,
    chains: Chains,
    evaluate: Evaluate,
    *,
    warmup: int,
    depth: int,
    least: Array,
    most: int,
    agree: float,
    dense: bool = True,
    watch: Watch | None = None,
) -> tuple[Chains, Told]:
    """Sample in rounds until the chains agree; the last round is what is kept.

    A round has as many draws as the chains that it goes on from. Each beyond the first
    `least` keeps half as many of its steps as the one before, and takes twice as long.

    Args:
        key: A JAX key, used here and nowhere else.
        chains: Where to go on.
        evaluate: Negative log density and its gradient, from one evaluation.
        warmup: Draws at the head of each chain and round that are left out.
        depth: Doublings of a path at most; 2^depth − 1 evaluations a draw.
        least: Rounds at least, (), whole number; with 0 the chains stay as they are.
        most: Rounds at most, also where `least` is more.
        agree: r-hat below which no further round is sampled.
        dense: Whether the mass matrix is full; with more dimensions than a few tens,
            False takes its diagonal alone.
        watch: What r-hat is taken of; all dimensions where it is None. Weights of a net
            are exchangeable, so that chains agree on what it says, not on them.

    Returns:
        The draws of the last round, and how it went.
    """
    least, zero = jnp.minimum(least, most), jnp.zeros((), int)

    def apart(draws: Array | NDArray[np.float64]) -> Array:
        seen = jnp.asarray(draws)
        return jnp.max(r_hat(seen if watch is None else watch(seen)))

    start = Told(
        r_hat=apart(chains.draws),
        rounds=zero,
        divergences=zero,
        accept=jnp.zeros((), chains.draws.dtype),
        evaluations=zero,
    )

    def going(s: tuple[Array, Chains, Told]) -> Array:
        told = s[2]
        more = ~(told.r_hat < agree)  # also where it is NaN
        return (told.rounds < least) | (more & (0 < told.rounds) & (told.rounds < most))

    def turn(s: tuple[Array, Chains, Told]) -> tuple[Array, Chains, Told]:
        at, before, told = s
        now = jax.random.fold_in(key, told.rounds)
        thin = 2 ** jnp.maximum(told.rounds + 1 - least, 0)
        after, accept, diverged, leaps = _round(
            now, at, before, thin, evaluate, warmup, depth, dense
        )
        return (
            jnp.asarray(after.draws)[:, -1],
            after,
            Told(
                r_hat=apart(after.draws),
                rounds=told.rounds + 1,
                divergences=diverged,
                accept=accept,
                evaluations=told.evaluations + leaps,
            ),
        )

    at = likeliest(chains.draws, evaluate)
    _, chains, told = lax.while_loop(going, turn, (at, chains, start))
    return chains, told


def likeliest(draws: Array | NDArray[np.float64], evaluate: Evaluate) -> Array:
    """Return the likeliest of `TRIED` draws of each chain, (c, p).

    Draws of an older target, or of the prior, may lie so far off that no path leads
    back; one among them does not.
    """
    c, s, p = draws.shape
    tried = jnp.asarray(draws)[:, :: max(1, s // TRIED)]
    value = lax.map(lambda theta: evaluate(theta)[0], tried.reshape(-1, p))
    value = jnp.where(jnp.isfinite(value), value, jnp.inf).reshape(c, -1)
    best = jnp.argmin(value, axis=1)
    return jnp.take_along_axis(tried, best[:, None, None], axis=1)[:, 0]


def _round(
    key: Array,
    at: Array,
    chains: Chains,
    thin: Array,
    evaluate: Evaluate,
    warmup: int,
    depth: int,
    dense: bool,
) -> tuple[Chains, Array, Array, Array]:
    """Sample each chain, one after the other, and keep every `thin`-th draw."""
    c, s, _ = chains.draws.shape
    mass = pooled(chains.draws) if dense else spreads(chains.draws)

    def guarded(theta: Array) -> tuple[Array, Array]:
        value, slope = evaluate(theta)
        sound = jnp.isfinite(value) & jnp.all(jnp.isfinite(slope))
        return jnp.where(sound, value, jnp.inf), jnp.where(sound, slope, 0.0)

    potential = jax.custom_vjp(lambda theta: guarded(theta)[0])
    potential.defvjp(guarded, lambda slope, weight: (weight * slope,))
    begin, advance = hmc(potential, algo="NUTS")

    def chain(given: tuple[Array, Array]) -> tuple[Array, ...]:
        key, theta = given
        state = begin(
            theta,
            0,
            step_size=chains.step,
            inverse_mass_matrix=mass,
            adapt_step_size=False,
            adapt_mass_matrix=False,
            dense_mass=dense,
            max_tree_depth=depth,
            rng_key=key,
        )

        def step(_: Array, now: tuple[Any, Array, Array]) -> tuple[Any, Array, Array]:
            state, diverged, leaps = now
            state = advance(state)
            return state, diverged + state.diverging, leaps + state.num_steps

        def one(now: Any, _: None) -> tuple[Any, Array]:
            now = lax.fori_loop(0, thin, step, now)
            return now, now[0].z

        zero = jnp.zeros((), int)
        now, z = lax.scan(one, (state, zero, zero), None, length=warmup + s)
        state, diverged, leaps = now
        return z[warmup:], state.mean_accept_prob, diverged, leaps

    given = jax.random.split(key, c), at
    draws, accept, diverged, leaps = lax.map(chain, given)
    accept = jnp.mean(accept)
    step = chains.step * jnp.exp(GAIN * (accept - ACCEPT))
    return Chains(draws, step), accept, jnp.sum(diverged), jnp.sum(leaps)


def pooled(draws: Array | NDArray[np.float64]) -> Array:
    """Return the covariance of the draws of all chains, (p, p), a little shrunk.

    Args:
        draws: (c, s, p).

    Source: Stan Development Team (2024), Stan Reference Manual, "Automatic parameter
    tuning", for the amount of shrinkage.
    """
    flat = jnp.asarray(draws).reshape(-1, draws.shape[-1])
    n = flat.shape[0]
    centred = flat - jnp.mean(flat, axis=0)
    covariance = centred.T @ centred / max(n - 1, 1)
    unit = jnp.eye(flat.shape[1], dtype=flat.dtype)
    return (n * covariance + SHRINK * LEAST * unit) / (n + SHRINK)


def spreads(draws: Array | NDArray[np.float64]) -> Array:
    """Return the diagonal of `pooled`, (p,), without the rest."""
    flat = jnp.asarray(draws).reshape(-1, draws.shape[-1])
    n = flat.shape[0]
    variance = jnp.sum((flat - jnp.mean(flat, axis=0)) ** 2, axis=0) / max(n - 1, 1)
    return (n * variance + SHRINK * LEAST) / (n + SHRINK)


def r_hat(draws: Array | NDArray[np.float64]) -> Array:
    """Return the split r-hat of each dimension, (p,): 1 where all halves agree.

    Args:
        draws: (c, s, p), with 4 draws or more a chain.

    Source: Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., eqs. 11.1 to 11.4.
    """
    c, s, p = draws.shape
    half = s // 2
    halves = draws[:, s - 2 * half :].reshape(2 * c, half, p)
    within = jnp.mean(jnp.var(halves, axis=1, ddof=1), axis=0)
    between = jnp.var(jnp.mean(halves, axis=1), axis=0, ddof=1)
    return jnp.sqrt((half - 1) / half + between / within)
