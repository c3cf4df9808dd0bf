"""Acquisitions that ask what a measurement would teach: of the maximum, of the best.

`mes` weighs how much the value at a candidate says about the height of the maximum, and
reads mean and variance alone. `kg` weighs by how much one measurement is expected to
raise the highest mean anywhere, and reads covariances. Both are logarithms, so that
candidates without promise still differ. `registry` finds all acquisitions by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from aemtwin.acquisition.analytic import Context, compiled, log_ei, unmeasured
from aemtwin.acquisition.normal import cdf, log_gain, log_h
from aemtwin.errors import BadConfig, OutOfRange
from aemtwin.surrogates.base import Posterior, float64

Floats = NDArray[np.float64]
Search = tuple[Array, Array, Array, Array, Array]  # ends, off by; last, off by; steps

SURE = 5.0  # standard deviations below its mean that a value does not lie
FINE = 1e-6  # to which a quantile of the maximum is found
TINY = 1e-30  # least −log of a probability that is told from 0
QUARTILES = 0.25, 0.75  # of the maximum, through which the Gumbel law passes
DIRECTIONS = np.tan(np.linspace(-1.45, 1.45, 17))  # in which corners are sought first
LOWEST = -1e150  # of a mean, in units of the steepest slope; its square is finite
BLOCK = 4096  # terms that are computed at once

_log_h = jax.jit(log_h)


def peak_quantiles(posterior: Posterior, p: Array) -> Array:
    """Return quantiles of the maximum of f by a Gumbel law, (k,), unit of y.

    Candidates are taken as independent, so the maximum lies below y with probability
    Π Φ((y − mean)/sd). The Gumbel law has the same quartiles, and is cut below the
    highest of mean − `SURE` · sd, which f exceeds almost surely.

    Args:
        posterior: Mean and variance of f at m candidates.
        p: Probabilities, (k,), between 0 and 1.

    Source: Wang and Jegelka (2017), ICML, section 3.1; the bound derived here.
    """
    mean = jnp.asarray(posterior.mean)
    sd = jnp.sqrt(jnp.asarray(posterior.variance))
    lowest = jnp.max(mean - SURE * sd)
    # mΦ(−z) < 1/8 beyond it, so both quartiles lie between
    highest = jnp.max(mean + sd * jnp.sqrt(2.0 * jnp.log(4.0 * mean.size)))
    some = jnp.where(sd > 0, sd, 1.0)

    def log_below(y: Array) -> Array:
        z = (y - mean) / some  # nowhere below −SURE
        known = jnp.where(y >= mean, 0.0, -jnp.inf)
        return jnp.sum(jnp.where(sd > 0, jnp.log(cdf(z)), known))

    def rank(y: Array) -> Array:  # of a Gumbel law it would be a line
        return -jnp.log(jnp.clip(-log_below(y), TINY, 1.0 / TINY))

    ranks = -jnp.log(-jnp.log(jnp.array(QUARTILES, mean.dtype)))
    bracket, fine = jnp.stack([lowest, highest]), FINE * (highest - lowest)
    outer = lax.map(rank, bracket)

    def quantile(q: Array) -> Array:
        def wide(at: Search) -> Array:
            return (at[0][1] - at[0][0] > fine) & (jnp.abs(at[3]) > FINE)

        def narrow(at: Search) -> Search:
            (low, high), (r_low, r_high), _, _, k = at
            chord = low - r_low * (high - low) / (r_high - r_low)
            y = jnp.where(k % 2 == 0, chord, 0.5 * (low + high))
            r = rank(y) - q
            side = jnp.array([r < 0, r >= 0])  # the end that y replaces
            return jnp.where(side, y, at[0]), jnp.where(side, r, at[1]), y, r, k + 1

        off = outer - q
        first = bracket, off, highest, off[1], jnp.array(0)
        return lax.while_loop(wide, narrow, first)[2]

    ends = lax.map(quantile, ranks)
    scale = (ends[1] - ends[0]) / (ranks[1] - ranks[0])
    middle = ends[0] - scale * ranks[0]
    return jnp.asarray(jnp.maximum(middle - scale * jnp.log(-jnp.log(p)), lowest))


def mes(posterior: Posterior, context: Context, *, peaks: Array) -> Array:
    """Return the log information that f at each candidate gives about its maximum.

    Args:
        posterior: Mean and variance of f at m candidates.
        context: Which candidates were measured.
        peaks: Heights the maximum may have, equally likely, (k,), unit of y.

    Returns:
        Logarithm of the mean gain in nats, (m,), of f itself, without noise; the lowest
        finite number where f is known. −∞ if measured.

    Source: Wang and Jegelka (2017), ICML, eq. 6.
    """
    mean, v = jnp.asarray(posterior.mean), jnp.asarray(posterior.variance)
    sd = jnp.sqrt(jnp.where(v > 0, v, 1.0))

    def add(total: Array, peak: Array) -> tuple[Array, None]:
        return jnp.logaddexp(total, log_gain((peak - mean) / sd)), None

    total, _ = lax.scan(add, jnp.full_like(mean, -jnp.inf), peaks)
    lowest = np.finfo(mean.dtype).min
    return unmeasured(jnp.where(v > 0, total - jnp.log(peaks.size), lowest), context)


def log_kg(mean: Floats, slopes: Floats) -> Floats:
    """Return the log of what a measurement is expected to add to the highest mean.

    A measurement moves the mean at j by slope_j · Z, with Z standard normal. The
    highest mean is then the upper envelope of the lines mean_j + slope_j · Z, and with
    breakpoints c_i between neighbours on it the gain is Σ (Δslope_i) · h(−|c_i|), h as
    in `analytic.log_h`. Every term is positive and is kept as a logarithm.

    Args:
        mean: Of f at m alternatives, (m,), unit of y.
        slopes: Covariance of f with each of k measurements over that one's standard
            deviation, (k, m), unit of y.

    Returns:
        log(E[max over j of (mean_j + slope_j Z)] − max mean), (k,), log of the unit
        of y; the lowest finite number where all slopes are equal.

    Source: Frazier, Powell and Dayanik (2009), INFORMS J. Comput. 21, 599, the sum over
    breakpoints; logarithms and pruning derived here.

    >>> float(log_kg(np.zeros(2), np.array([[0.0, 1.0]]))[0])  # log φ(0)
    -0.9189385332046727
    """
    parts = list[tuple[Floats, Floats]]()
    with np.errstate(over="ignore"):  # what is too far to count may be infinite
        for slope in slopes:
            unit = float(np.max(np.abs(slope))) or 1.0
            a, b = np.maximum((mean - np.max(mean)) / unit, LOWEST), slope / unit
            corner = envelope(a, b)
            steps = np.diff(b[corner])
            c = np.diff(a[corner]) / steps
            parts.append((np.log(unit) + np.log(steps), -np.abs(c)))
    weights, z = (np.concatenate(part) for part in zip(*parts, strict=True))
    blocks = np.zeros((-(-max(z.size, 1) // BLOCK), BLOCK))
    blocks.flat[: z.size] = z
    with float64():  # one program, however many terms
        h = np.concatenate([np.asarray(_log_h(block)) for block in blocks])
    each = np.split(weights + h[: z.size], np.cumsum([len(w) for w, _ in parts])[:-1])
    lowest = np.finfo(np.float64).min
    return np.array([np.logaddexp.reduce(t) if t.size else lowest for t in each])


def envelope(a: Floats, b: Floats) -> NDArray[np.int64]:
    """Return which lines a + b z are highest somewhere, in order of b; indices.

    They are the corners of the upper convex hull of points (b, a). Almost all others
    lie below the polygon of the corners that are extreme in a few directions; the rest
    is passed through once in order of slope. Of equal slopes (m,) only the line with
    the highest value at 0 (m,) can be there.
    """
    some = {int(np.argmin(b)), int(np.argmax(b))}
    some |= {int(np.argmax(a + b * z)) for z in DIRECTIONS}
    coarse = _hull(np.array(sorted(some)), a, b)
    above = a > np.interp(b, b[coarse], a[coarse])
    above[coarse] = True
    return _hull(np.flatnonzero(above), a, b)


def _hull(points: NDArray[np.int64], a: Floats, b: Floats) -> NDArray[np.int64]:
    """Return the corners of the upper convex hull of (b, a), in order of b."""
    kept: list[int] = []
    for j in points[np.lexsort((a[points], b[points]))]:
        if kept and b[kept[-1]] == b[j]:  # the later is no lower
            kept.pop()
        while len(kept) > 1:
            i, k = kept[-2], kept[-1]
            if (a[k] - a[i]) * (b[j] - b[i]) > (a[j] - a[i]) * (b[k] - b[i]):
                break
            kept.pop()
        kept.append(int(j))
    return np.array(kept, np.int64)


def leaders(scores: Floats, k: int) -> NDArray[np.int64]:
    """Return k candidates, half of them the highest and half spread over the pool.

    On a fine grid the highest are neighbours. The others are highest each in one of 2k
    equal stretches of the pool, and among those the highest.
    """
    order = np.argsort(-scores, kind="stable")
    _, first = np.unique(order * (2 * k) // scores.size, return_index=True)
    some = np.concatenate([order[: -(-k // 2)], order[np.sort(first)], order])
    _, first = np.unique(some, return_index=True)
    return some[np.sort(first)][:k]


@dataclass(frozen=True)
class MES:
    """Max-value entropy search, as `mes` says.

    The heights are the middles of `samples` equal parts of the Gumbel law, without
    chance: they stand for it better than as many draws, and a step repeats its bits.

    Attributes:
        samples: Heights of the maximum that are tried, 1 to 1000.
    """

    scores: ClassVar[str] = "log"

    samples: int = 16

    def __post_init__(self) -> None:
        if isinstance(self.samples, bool) or not 1 <= int(self.samples) <= 1000:
            raise BadConfig(
                f"The acquisition mes got samples = {self.samples!r}; it takes a whole "
                "number of heights of the maximum, 1 to 1000. 16 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "mes"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), logarithm of nats."""
        p = (np.arange(self.samples) + 0.5) / self.samples
        return compiled(_mes, posterior, context, *p)


@dataclass(frozen=True)
class KG:
    """Knowledge gradient over the pool: by how much one measurement raises the best.

    What counts is the highest mean at any candidate, measured or not, after a noisy
    measurement, so a candidate may be worth it for what it says of others. It is
    computed exactly, against all alternatives, for the `leaders` in expected
    improvement over the highest mean; all others score below them, in its order.

    Attributes:
        joint: True: it reads covariances, so the context has `joint`.
        shortlist: Candidates for which it is computed, at 8 · m bytes each.

    Source: Frazier, Powell and Dayanik (2009), INFORMS J. Comput. 21, 599; the
    shortlist is ours.
    """

    scores: ClassVar[str] = "log"

    joint: ClassVar[bool] = True
    shortlist: int = 64

    def __post_init__(self) -> None:
        if isinstance(self.shortlist, bool) or not 1 <= int(self.shortlist) <= 4096:
            raise BadConfig(
                f"The acquisition kg got shortlist = {self.shortlist!r}; it takes a "
                "whole number of candidates, 1 to 4096. 64 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "kg"

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,), log of the unit of y.

        Raises BadConfig without covariances, OutOfRange if they do not fit.
        """
        if context.joint is None:
            raise BadConfig(
                "The acquisition kg got a context without joint; it reads covariances. "
                "Choose a surrogate that has `covariance`, such as gp, or an "
                "acquisition that needs none, such as log_ei."
            )
        mean = np.asarray(posterior.mean, np.float64)
        cheap = compiled(log_ei, posterior, context._replace(best=float(mean.max())))
        listed = leaders(cheap, self.shortlist)
        measured = np.isneginf(cheap)
        scores = np.where(measured, -np.inf, np.finfo(np.float64).min)
        if measured.all():
            return scores
        cross = context.joint(listed)  # measured ones too, so that k never changes
        covariance = np.asarray(cross.covariance, np.float64)
        shape, noise = (listed.size, mean.size), np.asarray(cross.noise, np.float64)
        whole = covariance.shape == shape and np.isfinite(covariance).all()
        if not (whole and noise.shape == shape[:1] and np.all(noise >= 0)):
            raise OutOfRange(
                f"The acquisition kg got covariances of shape {covariance.shape}; it "
                f"takes {shape}, all finite, and as many noise variances, none below "
                "0. Look at the fit of the surrogate."
            )
        total = covariance[np.arange(listed.size), listed] + noise
        slopes = covariance / np.sqrt(np.where(total > 0, total, np.inf))[:, None]
        fresh = ~measured[listed]
        exact = log_kg(mean, slopes[fresh])
        rest = ~measured
        rest[listed] = False
        if rest.any():
            with np.errstate(over="ignore"):  # then it stays the lowest number
                below = exact.min() - 1.0 + (cheap[rest] - cheap[rest].max())
            scores[rest] = np.maximum(scores[rest], below)
        scores[listed[fresh]] = exact
        return scores


def _mes(posterior: Posterior, context: Context, *p: Array) -> Array:
    peaks = peak_quantiles(posterior, jnp.stack(p))
    return mes(posterior, context, peaks=peaks)
