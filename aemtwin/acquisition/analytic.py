"""Acquisitions with a closed form: log expected improvement, upper bound, variance.

All maximise. The functions are plain JAX, for use inside other programs; the classes
of nearly the same names are what a campaign calls: NumPy in and out, float64, compiled
once for each number of candidates. `policies` has the orders that need no posterior,
`registry` finds all of them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr
from numpy.typing import NDArray

from aemtwin.errors import BadConfig
from aemtwin.surrogates.base import Cross, Floats, Posterior, float64

DEPTH = 60  # terms of the continued fraction; full precision for z < −3


class Context(NamedTuple):
    """What an acquisition knows besides the posterior."""

    best: float | Floats  # (), highest value measured so far, unit of y
    measured: NDArray[np.bool_] | Array  # (m,), True where a candidate was measured
    draw: NDArray[np.float64] | None = None  # (m,), of f, where an acquisition reads it
    joint: Callable[[NDArray[np.int64]], Cross] | None = None  # of candidates by index
    n: int = 0  # measurements so far


def log_h(z: Array) -> Array:
    """Return log(φ(z) + z Φ(z)), to nearly full precision for any z.

    For z < −3 the two terms cancel. There φ + zΦ = φ · A/(t + A) with t = −z, where
    Φ(−t) = φ(t)/(t + A) and A is the continued fraction 1/(t + 2/(t + 3/(t + ...))):
    nothing is subtracted. In float64, z below −1e77 counts as −1e77.

    Args:
        z: Gap to the best in standard deviations, any shape.

    Source: Ament, Daulton, Eriksson, Balandat and Bakshy (2023), arXiv:2310.20708,
    for the function; Abramowitz and Stegun (1964), 26.2.14 for the fraction.

    >>> round(float(log_h(jnp.array(0.0))), 6)
    -0.918939
    """
    near = jnp.maximum(z, -3.0)  # each branch sees only what it can do
    t = jnp.clip(-z, 3.0, float(np.finfo(z.dtype).max) ** 0.25)  # t² is finite
    phi = jnp.exp(-0.5 * near**2) / jnp.sqrt(2.0 * jnp.pi)
    direct = jnp.log(phi + near * ndtr(near))
    A = jax.lax.fori_loop(0, DEPTH, lambda k, tail: (DEPTH - k) / (t + tail), 0.0 * t)
    far = -0.5 * t**2 - 0.5 * jnp.log(2.0 * jnp.pi) + jnp.log(A) - jnp.log(t + A)
    return jnp.where(z >= -3.0, direct, far)


def log_ei(posterior: Posterior, context: Context) -> Array:
    """Return the logarithm of the expected improvement over the best so far.

    Args:
        posterior: Mean and variance of f at m candidates.
        context: The best value so far and which candidates were measured.

    Returns:
        log E[max(f − best, 0)], (m,), log of the unit of y. Without variance it is
        log(mean − best), or the lowest finite number where that is no improvement. −∞
        if measured.

    Source: Ament, Daulton, Eriksson, Balandat and Bakshy (2023), arXiv:2310.20708.

    >>> at = Posterior(jnp.zeros(2), jnp.ones(2))
    >>> scores = log_ei(at, Context(0.0, jnp.array([False, True])))
    >>> [round(float(score), 4) for score in scores]
    [-0.9189, -inf]
    """
    gap = jnp.asarray(posterior.mean) - context.best
    unsure = jnp.asarray(posterior.variance) > 0
    sd = jnp.sqrt(jnp.where(unsure, posterior.variance, 1.0))
    lowest = np.finfo(gap.dtype).min
    certain = jnp.where(gap > 0, jnp.log(jnp.where(gap > 0, gap, 1.0)), lowest)
    scores = jnp.where(unsure, log_h(gap / sd) + jnp.log(sd), certain)
    return unmeasured(scores, context)


def ucb(posterior: Posterior, context: Context, *, beta: float | Array = 2.0) -> Array:
    """Return mean + beta · sd, (m,), unit of y; −∞ where measured.

    `beta` counts standard deviations; elsewhere √beta or κ often stands in its place.

    Source: Srinivas, Krause, Kakade and Seeger (2010), ICML; our `beta` is their √β_t.
    """
    sd = jnp.sqrt(jnp.asarray(posterior.variance))
    return unmeasured(jnp.asarray(posterior.mean) + beta * sd, context)


def variance(posterior: Posterior, context: Context) -> Array:
    """Return the variance, (m,), unit of y squared; −∞ where measured."""
    return unmeasured(jnp.asarray(posterior.variance), context)


def unmeasured(scores: Array, context: Context) -> Array:
    """Return the scores with −∞ where a candidate was measured."""
    return jnp.where(context.measured, -jnp.inf, scores)


@partial(jax.jit, static_argnames="score")
def _scores(
    posterior: Posterior, context: Context, settings: tuple[float, ...], *, score: Score
) -> Array:
    return score(posterior, context, *settings)


Score = Callable[..., Array]


def _compiled(
    score: Score, posterior: Posterior, context: Context, *settings: float
) -> NDArray[np.float64]:
    """Score in float64, as one program for each function and number of candidates."""
    at = Posterior(*(np.asarray(a, np.float64) for a in posterior))
    known = Context(np.float64(context.best), np.asarray(context.measured, bool))
    with float64():
        found = _scores(at, known, tuple(map(np.float64, settings)), score=score)
        return np.asarray(found)


@dataclass(frozen=True)
class LogEI:
    """Logarithm of the expected improvement, as `log_ei` says."""

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "log_ei"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), log of the unit of y."""
        return _compiled(log_ei, posterior, context)


@dataclass(frozen=True)
class UCB:
    """Upper confidence bound, as `ucb` says.

    Attributes:
        beta: Standard deviations above the mean; 0 exploits, more explores.
    """

    beta: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta < float("inf"):  # also catches NaN
            raise BadConfig(
                f"The acquisition ucb got beta = {self.beta!r}; it takes a finite "
                "number of standard deviations, 0 or more. 2.0 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "ucb"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), unit of y."""
        return _compiled(_ucb, posterior, context, self.beta)


@dataclass(frozen=True)
class Variance:
    """Posterior variance: measure where least is known."""

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "variance"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), unit of y squared."""
        return _compiled(variance, posterior, context)


def _ucb(posterior: Posterior, context: Context, beta: Array) -> Array:
    return ucb(posterior, context, beta=beta)
