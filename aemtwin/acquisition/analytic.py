"""Acquisitions with a closed form: improvement, upper bound, variance.

All maximise. The functions are plain JAX, for use inside other programs; the classes
of nearly the same names are what a campaign calls: NumPy in and out, float64, compiled
once for each number of candidates. `information` has what a measurement would teach,
`sets` seeks a level instead of a maximum, `policies` has the orders that need no
posterior; `registry` finds all of them by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from aemtwin.acquisition.normal import log_cdf, log_h
from aemtwin.errors import BadConfig, unknown
from aemtwin.surrogates.base import Cross, Floats, Posterior, float64

SCHEDULES = ("constant", "srinivas", "decay")


class Context(NamedTuple):
    """What an acquisition knows besides the posterior."""

    best: float | Floats  # (), highest value measured so far, unit of y
    measured: NDArray[np.bool_] | Array  # (m,), True where a candidate was measured
    draw: NDArray[np.float64] | None = None  # (m,), of f, where an acquisition reads it
    joint: Callable[[NDArray[np.int64]], Cross] | None = None  # of candidates by index
    n: int = 0  # measurements so far


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
    unsure = ~(jnp.asarray(posterior.variance) <= 0)  # NaN stays NaN
    sd = jnp.sqrt(jnp.where(unsure, posterior.variance, 1.0))
    lowest = np.finfo(gap.dtype).min
    certain = jnp.where(gap > 0, jnp.log(jnp.where(gap > 0, gap, 1.0)), lowest)
    scores = jnp.where(unsure, log_h(gap / sd) + jnp.log(sd), certain)
    return unmeasured(scores, context)


def log_poi(
    posterior: Posterior, context: Context, *, margin: float | Array = 0.0
) -> Array:
    """Return the logarithm of the probability of improvement by more than a margin.

    Args:
        posterior: Mean and variance of f at m candidates.
        context: The best value so far and which candidates were measured.
        margin: How much better counts, in standard deviations of f over the pool as
            it is believed now: √(variance of the means + mean of the variances).
            Without margin, near the best a tiny gain is nearly sure and wins.

    Returns:
        log P(f > best + margin), (m,), 0 or less. Without variance it is 0 or the
        lowest finite number. −∞ if measured.

    Source: Kushner (1964), J. Basic Eng. 86, 97. The unit of the margin is by the law
    of total variance, derived here.

    >>> at = Posterior(jnp.zeros(2), jnp.ones(2))
    >>> scores = log_poi(at, Context(0.0, jnp.array([False, True])))
    >>> [round(float(score), 4) for score in scores]
    [-0.6931, -inf]
    """
    mean, v = jnp.asarray(posterior.mean), jnp.asarray(posterior.variance)
    unit = jnp.sqrt(jnp.var(mean) + jnp.mean(v))
    gap = mean - context.best - jnp.where(margin == 0.0, 0.0, margin * unit)
    sd = jnp.sqrt(jnp.where(v <= 0, 1.0, v))
    certain = jnp.where(gap > 0, 0.0, np.finfo(gap.dtype).min)
    return unmeasured(jnp.where(v <= 0, certain, log_cdf(gap / sd)), context)


def ucb(posterior: Posterior, context: Context, *, beta: float | Array = 2.0) -> Array:
    """Return mean + beta · sd, (m,), unit of y; −∞ where measured.

    `beta` counts standard deviations; elsewhere √beta or κ often stands in its place.

    Source: Srinivas, Krause, Kakade and Seeger (2010), ICML; our `beta` is their √β_t.
    """
    sd = jnp.sqrt(jnp.asarray(posterior.variance))
    return unmeasured(jnp.asarray(posterior.mean) + beta * sd, context)


def srinivas(n: int, m: int, delta: float = 0.1) -> float:
    """Return how many standard deviations bound f everywhere and always.

    If f is a draw of the prior, f lies below mean + beta_t · sd at all m candidates in
    all rounds t = 1, 2, ... with probability 1 − delta at least.

    Args:
        n: Measurements so far; t = n + 1.
        m: Candidates.
        delta: Between 0 and 1.

    Returns:
        √(2 log(m t² π² / (6 delta))).

    Source: Srinivas, Krause, Kakade and Seeger (2010), ICML, theorem 1, √β_t there.

    >>> round(srinivas(0, 2500), 2)
    4.61
    """
    t = n + 1
    return math.sqrt(2.0 * (math.log(m * math.pi**2 / (6.0 * delta)) + 2 * math.log(t)))


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


def compiled(
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

    scores: ClassVar[str] = "log"

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "log_ei"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), log of the unit of y."""
        return compiled(log_ei, posterior, context)


@dataclass(frozen=True)
class LogPOI:
    """Logarithm of the probability of improvement, as `log_poi` says.

    Attributes:
        margin: In standard deviations of f over the pool; 0.01 is gentle.
    """

    scores: ClassVar[str] = "log"

    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.margin < float("inf"):  # also catches NaN
            raise BadConfig(
                f"The acquisition log_poi got margin = {self.margin!r}; it takes a "
                "finite number of standard deviations of f over the pool, 0 or more. "
                "Leave it out, or try 0.01."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "log_poi"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), logarithm of a probability."""
        return compiled(_log_poi, posterior, context, self.margin)


@dataclass(frozen=True)
class UCB:
    """Upper confidence bound, as `ucb` says.

    Attributes:
        beta: Standard deviations above the mean; 0 exploits, more explores.
        schedule: How beta goes on: "constant"; "decay", beta · decay^n after n
            measurements; or "srinivas", as `srinivas` says, which does not read beta,
            is sure of itself and explores a lot.
        delta: Of "srinivas": chance that some bound fails ever, between 0 and 1.
        decay: Of "decay": factor for each measurement, above 0 and at most 1.
    """

    beta: float = 2.0
    schedule: str = "constant"
    delta: float = 0.1
    decay: float = 0.98

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            hint = 'Leave it out for "constant".'
            raise unknown("schedule of ucb", self.schedule, SCHEDULES, hint)
        if not 0.0 <= self.beta < float("inf"):  # also catches NaN
            raise BadConfig(
                f"The acquisition ucb got beta = {self.beta!r}; it takes a finite "
                "number of standard deviations, 0 or more. 2.0 is usual."
            )
        if not 0.0 < self.delta < 1.0:
            raise BadConfig(
                f"The acquisition ucb got delta = {self.delta!r}; it is the chance "
                "that a bound fails, between 0 and 1. 0.1 is usual."
            )
        if not 0.0 < self.decay <= 1.0:
            raise BadConfig(
                f"The acquisition ucb got decay = {self.decay!r}; it is the factor of "
                "beta for each measurement, above 0 and at most 1. Try 0.98."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "ucb"

    def beta_at(self, n: int, m: int) -> float:
        """Return beta after n measurements of a pool of m candidates.

        >>> UCB(beta=2.0, schedule="decay", decay=0.5).beta_at(n=3, m=100)
        0.25
        """
        if self.schedule == "srinivas":
            return srinivas(n, m, self.delta)
        return self.beta * self.decay**n if self.schedule == "decay" else self.beta

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), unit of y."""
        beta = self.beta_at(int(context.n), np.size(posterior.mean))
        return compiled(_ucb, posterior, context, beta)


@dataclass(frozen=True)
class Variance:
    """Posterior variance: measure where least is known."""

    scores: ClassVar[str] = "positive"

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "variance"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), unit of y squared."""
        return compiled(variance, posterior, context)


def _log_poi(posterior: Posterior, context: Context, margin: Array) -> Array:
    return log_poi(posterior, context, margin=margin)


def _ucb(posterior: Posterior, context: Context, beta: Array) -> Array:
    return ucb(posterior, context, beta=beta)
