"""Acquisitions that look for where f crosses a level: the border of a phase, a contour.

They do not seek a maximum. A candidate is worth measuring where it is uncertain on
which side of the level it lies: near the level, or little known. `analytic` has those
that seek a maximum, `registry` finds all by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from aemtwin.acquisition.analytic import Context, compiled, unmeasured
from aemtwin.errors import BadConfig
from aemtwin.surrogates.base import Posterior

STRADDLE = 1.96  # standard deviations; 95 percent of a normal distribution


def straddle(
    posterior: Posterior,
    context: Context,
    *,
    level: float | Array,
    beta: float | Array = STRADDLE,
) -> Array:
    """Return beta · sd − |mean − level|, (m,), unit of y; −∞ where measured.

    It is above 0 where mean ± beta · sd contains the level.

    Source: Bryan, Schneider, Nichol, Miller, Genovese and Wasserman (2005), NIPS 18,
    163, the straddle heuristic.

    >>> at = Posterior(jnp.array([0.0, 3.0]), jnp.ones(2))
    >>> straddle(at, Context(3.0, jnp.array([False, False])), level=1.0, beta=2.0)
    Array([1., 0.], dtype=float32)
    """
    sd = jnp.sqrt(jnp.asarray(posterior.variance))
    gap = jnp.abs(jnp.asarray(posterior.mean) - level)
    return unmeasured(beta * sd - gap, context)


def quantile_level(posterior: Posterior, context: Context, quantile: Array) -> Array:
    """Return the quantile of the means at measured candidates, (), unit of y.

    Values are noisy, so what is believed of them stands in their place. Between two
    means it is interpolated; where none was measured, all candidates count.
    """
    seen = _seen(context)
    mean = jnp.sort(jnp.where(seen, jnp.asarray(posterior.mean), jnp.inf))
    at = quantile * (jnp.sum(seen) - 1)
    low = jnp.floor(at).astype(int)
    high = jnp.minimum(low + 1, jnp.sum(seen) - 1)
    return mean[low] + (at - low) * (mean[high] - mean[low])


def fraction_level(posterior: Posterior, context: Context, fraction: Array) -> Array:
    """Return a level from lowest (0) to highest (1) mean at measured candidates, ()."""
    seen, mean = _seen(context), jnp.asarray(posterior.mean)
    low = jnp.min(jnp.where(seen, mean, jnp.inf))
    high = jnp.max(jnp.where(seen, mean, -jnp.inf))
    return low + fraction * (high - low)


def random_beta(seed: int, n: int) -> float:
    """Return the square root of a draw from chi-squared with two degrees of freedom.

    It is a function of the seed and of the measurements so far, so a run that is
    resumed has the same. Its mean is √(π/2) = 1.25.

    Args:
        seed: 0 or more, below 2^128.
        n: Measurements so far.

    Source: Inatsu, Takeno, Kutsukake and Takeuchi (2024), arXiv:2408.03144, for the
    distribution, which needs no setting and has a bound on the loss.

    >>> random_beta(0, 5) == random_beta(0, 5) != random_beta(0, 6)
    True
    """
    word = int(np.random.Philox(key=seed, counter=n).random_raw())
    uniform = ((word >> 11) + 0.5) * 2.0**-53  # in (0, 1), never 0
    return math.sqrt(-2.0 * math.log(uniform))


@dataclass(frozen=True)
class LevelSet:
    """Measure where it is uncertain whether f lies above a level, as `straddle` says.

    At most one of the first three is given; without any, `fraction` is 0.5.

    Attributes:
        level: The level itself, unit of y.
        quantile: The level is this quantile of what was seen so far, 0 to 1.
        fraction: The level lies so far from the lowest to the highest seen, 0 to 1.
        beta: Standard deviations in which a candidate straddles the level.
        randomised: Draw beta anew for each measurement, as `random_beta` says, which
            does not read `beta`.
        seed: Of `random_beta`; 0 or more, below 2^128.
    """

    level: float | None = None
    quantile: float | None = None
    fraction: float | None = None
    beta: float = STRADDLE
    randomised: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        given = {"quantile": self.quantile, "fraction": self.fraction}
        if sum(v is not None for v in (self.level, *given.values())) > 1:
            raise BadConfig(
                f"The acquisition level_set got level = {self.level!r}, quantile = "
                f"{self.quantile!r} and fraction = {self.fraction!r}; one of them says "
                "where the level is. Keep one."
            )
        if self.level is not None and not math.isfinite(self.level):
            raise BadConfig(
                f"The acquisition level_set got level = {self.level!r}; it takes a "
                "finite number in the unit of y. Give one, or a quantile or fraction."
            )
        for name, value in given.items():
            if value is not None and not 0.0 <= value <= 1.0:  # also catches NaN
                raise BadConfig(
                    f"The acquisition level_set got {name} = {value!r}; it is a part "
                    "of what was seen, 0 to 1. Try 0.5, or give the level itself."
                )
        if not 0.0 < self.beta < math.inf:
            raise BadConfig(
                f"The acquisition level_set got beta = {self.beta!r}; it takes a "
                "finite number of standard deviations above 0. 1.96 is usual."
            )
        if isinstance(self.seed, bool) or not 0 <= int(self.seed) < 2**128:
            raise BadConfig(
                f"The acquisition level_set got seed = {self.seed!r}; it takes a whole "
                "number from 0 to 2^128 − 1. Give the seed of the run."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "level_set"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), unit of y."""
        beta = random_beta(self.seed, int(context.n)) if self.randomised else self.beta
        if self.level is not None:
            return compiled(_at_level, posterior, context, self.level, beta)
        if self.quantile is not None:
            return compiled(_at_quantile, posterior, context, self.quantile, beta)
        fraction = 0.5 if self.fraction is None else self.fraction
        return compiled(_at_fraction, posterior, context, fraction, beta)


def _seen(context: Context) -> Array:
    measured = jnp.asarray(context.measured)
    return measured | ~jnp.any(measured)


def _at_level(at: Posterior, context: Context, level: Array, beta: Array) -> Array:
    return straddle(at, context, level=level, beta=beta)


def _at_quantile(at: Posterior, context: Context, part: Array, beta: Array) -> Array:
    level = quantile_level(at, context, part)
    return straddle(at, context, level=level, beta=beta)


def _at_fraction(at: Posterior, context: Context, part: Array, beta: Array) -> Array:
    level = fraction_level(at, context, part)
    return straddle(at, context, level=level, beta=beta)
