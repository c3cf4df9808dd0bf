"""Several candidates at once, where each pick knows of those before it.

Two ways. `greedy` believes in a measurement at each pick and conditions the posterior
on it, exactly, so it needs covariances (`Joint` of `surrogates.base`). `spread` pushes
later picks away from earlier ones by `local_penalties` and needs mean and variance
alone. Both take candidates that were asked for and not yet answered. Work and memory
grow as the number of picks times that of candidates. `cost` has the order in which to
visit a batch, `penalties` what keeps away from measured points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.acquisition.cost import unit_of
from aemtwin.acquisition.penalties import (
    lipschitz,
    local_penalties,
    require_index,
)
from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, unknown
from aemtwin.surrogates.base import Cross, Posterior

__all__ = [
    "Batch",
    "Conditioned",
    "fantasise",
    "greedy",
    "lipschitz",
    "local_penalties",
    "spread",
]

if TYPE_CHECKING:
    from aemtwin.acquisition.analytic import Context
    from aemtwin.acquisition.registry import Acquisition

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Adjust = Callable[[Array, Indices], Array]
"""(scores (m,), picks of this batch so far (k,)) -> scores (m,)."""

BELIEVERS = ("mean", "best", "worst")
APART = 1e-4  # of the largest variance: how far below 0 rounding may take one


class Batch(NamedTuple):
    """Candidates to measure together."""

    indices: Indices  # (q,), in the order in which they were chosen
    scores: Array  # (q,), of each when it was chosen
    posterior: Posterior  # (m,), once all fantasies have come true


@dataclass(frozen=True)
class Conditioned:
    """Covariances as they are once measurements were made, as `Context.joint` is.

    Attributes:
        joint: Covariances without them.
        rows: One for each, (m,): covariance of f with it over its standard deviation.
    """

    joint: Callable[[Indices], Cross]
    rows: tuple[Array, ...]

    def __call__(self, indices: Indices) -> Cross:
        """Return covariances of k candidates, (k,), with all m."""
        cross = self.joint(indices)
        covariance = np.array(cross.covariance, np.float64)
        for row in self.rows:
            covariance -= np.outer(row[indices], row)
        return Cross(covariance, np.asarray(cross.noise, np.float64))


def fantasise(
    posterior: Posterior, context: Context, index: int, value: float | None = None
) -> tuple[Posterior, Context]:
    """Return what would be believed if one more candidate had been measured.

    With v + s the variance of the measurement and c the covariance of f with it, the
    mean moves by c (value − mean) / (v + s) and covariances fall by c cᵀ / (v + s). It
    is what conditioning a Gaussian process with its hyperparameters held would give;
    of beliefs that are not normal, such as mixtures, it is the best linear update.
    Where v + s is 0 the value is known beforehand, and nothing changes.

    Args:
        posterior: Mean and variance of f at m candidates.
        context: Has `joint`.
        index: The candidate.
        value: Of the measurement, unit of y; None: the mean there.

    Returns:
        The posterior, and the context with the candidate measured, one measurement
        more, `best` raised to what is then believed there if that is higher, and
        `joint` of the new beliefs. A draw stays what it was.

    Raises:
        BadConfig: If the context has no `joint`.
        OutOfRange: If there is no such candidate, or covariances are not finite or do
            not fit the posterior.

    Source: Rasmussen and Williams (2006), eq. A.6, for one point; Chevalier,
    Ginsbourger and Emery (2014), in Mathematics of Planet Earth, Springer, 119.
    """
    if context.joint is None:
        raise BadConfig(
            "A fantasy got a context without joint; it conditions on covariances. "
            "Choose a surrogate that has `covariance`, such as gp, or take "
            "acquisition.batch.spread, which needs none."
        )
    mean = np.array(posterior.mean, np.float64)
    variance = np.array(posterior.variance, np.float64)
    j = require_index(index, mean.size)
    cross = context.joint(np.array([j], np.int64))
    row, noise = np.array(cross.covariance[0], np.float64), float(cross.noise[0])
    if not (np.isfinite(row).all() and 0 <= noise < np.inf):
        raise OutOfRange(
            f"The covariance of candidate {j} with the others is not finite, or its "
            f"noise variance {noise:g} is negative. Look at the fit of the surrogate."
        )
    known = mean[j] if value is None else float(value)
    scale, total = float(variance.max()), row[j] + noise
    if total > 0:
        row /= np.sqrt(total)
        mean += row * ((known - mean[j]) / np.sqrt(total))
        variance -= row**2
    else:
        row[:] = 0.0
    if not variance.min() >= -APART * scale:
        raise OutOfRange(
            f"A measurement at candidate {j} would leave a variance of "
            f"{variance.min():g}, where {-APART * scale:g} is rounding: covariances "
            "and variances of the surrogate do not fit. Read both from one state."
        )
    measured = np.array(context.measured, bool)
    measured[j] = True
    joint = context.joint
    if not isinstance(joint, Conditioned):
        joint = Conditioned(joint, ())
    after = context._replace(
        best=max(float(context.best), float(mean[j])),
        measured=measured,
        joint=Conditioned(joint.joint, (*joint.rows, row)),
        n=context.n + 1,
    )
    return Posterior(mean, np.maximum(variance, 0.0)), after


def greedy(
    acquire: Acquisition,
    posterior: Posterior,
    context: Context,
    q: int,
    *,
    believer: str = "mean",
    seen: ArrayLike | None = None,
    pending: Sequence[int] | Indices = (),
    draws: ArrayLike | None = None,
    adjust: Adjust | None = None,
) -> Batch:
    """Choose q candidates one after the other, believing in each before the next.

    Args:
        acquire: Scores candidates.
        posterior: Mean and variance of f at m candidates.
        context: What `acquire` knows; has `joint`.
        q: How many.
        believer: What each fantasy says. "mean": what is believed there (the kriging
            believer). "best", "worst": always the highest or the lowest value seen
            (the constant liar); of the two, "best" keeps a batch together and "worst"
            drives it apart.
        seen: Values measured so far, (n,), unit of y, for "worst", and for "best" in
            place of `context.best`.
        pending: Candidates asked for and not yet answered; believed in beforehand and
            not chosen again.
        draws: One draw of f a pick, (q, m), for acquisitions that read draws; they are
            drawn without the fantasies.
        adjust: Changes the scores before each pick, such as by what it costs to get
            there from the one before.

    Returns:
        The picks; fewer than q where no other candidate scores above −∞.

    Raises:
        BadConfig: If q, the believer or what it reads is not there.
        OutOfRange: If a pending candidate does not exist, or a score is NaN.

    Source: Ginsbourger, Le Riche and Carraro (2010), "Kriging is well-suited to
    parallelize optimization", in Computational Intelligence in Expensive Optimization
    Problems, Springer, 131.
    """
    _require_q("greedy", q)
    lie = _lie(believer, context, seen)
    each = None if draws is None else np.asarray(draws, np.float64)
    m = np.asarray(posterior.mean).size
    if (each is None and getattr(acquire, "draws", False)) or (
        each is not None and each.shape != (q, m)
    ):
        got = "no draws" if each is None else f"draws of shape {each.shape}"
        raise BadConfig(
            f"greedy got {got} for {q} picks of {m} candidates by {acquire.name}; it "
            f"takes ({q}, {m}), one draw a pick. Draw q times with q keys."
        )
    for index in pending:
        posterior, context = fantasise(posterior, context, int(index), lie)
    chosen: list[int] = []
    scores: list[float] = []
    for k in range(q):
        if each is not None:
            context = context._replace(draw=each[k])
        at = np.array(acquire(posterior, context), np.float64)
        if adjust is not None:
            at = np.array(adjust(at, np.array(chosen, np.int64)), np.float64)
        index, score = _highest(at, np.asarray(context.measured, bool), acquire.name)
        if index is None:
            break
        chosen.append(index)
        scores.append(score)
        posterior, context = fantasise(posterior, context, index, lie)
    return Batch(np.array(chosen, np.int64), np.array(scores), posterior)


def spread(
    scores: ArrayLike,
    posterior: Posterior,
    positions: ArrayLike,
    q: int,
    *,
    slope: float,
    log: bool = False,
    pending: Sequence[int] | Indices = (),
    top: float | None = None,
    adjust: Adjust | None = None,
) -> Batch:
    """Choose q candidates that local penalties keep apart; needs no covariance.

    The score is log g(a) + Σ log φ: a itself where it is a logarithm, else softplus of
    the scores brought to mean 0 and standard deviation 1 over the pool, so that the
    unit of y decides nothing.

    Args:
        scores: Acquisition, (m,); −∞ where not to be chosen.
        posterior: Mean and variance of f at m candidates.
        positions: (m, 2), any unit of length.
        q: How many.
        slope: Largest slope of f, unit of y per unit of length, as from `lipschitz`.
        log: Whether scores are the logarithm of something positive, as `log_ei`.
        pending: Candidates asked for and not yet answered.
        top: Height of the maximum, unit of y; None: the highest mean.
        adjust: Changes the scores before each pick.

    Returns:
        The picks, their scores as logarithms, and the posterior as it was; fewer than
        q where no other candidate scores above −∞.

    Raises:
        BadConfig: If q is less than 1.
        OutOfRange: If a score is NaN or +∞, or as `local_penalties`.
        ShapeMismatch: If scores or positions do not fit the posterior.

    Source: González, Dai, Hennig and Lawrence (2016), PMLR 51, 648, eq. 4 and
    algorithm 1; bringing scores to one scale derived here.
    """
    _require_q("spread", q)
    raw = np.array(scores, np.float64)
    if raw.shape != np.shape(posterior.mean):
        raise ShapeMismatch(
            f"spread got scores of shape {raw.shape} for a posterior of "
            f"{np.shape(posterior.mean)}. Score every candidate."
        )
    at = raw if log else _log_softplus(raw)
    taken = [int(index) for index in pending]
    at = at + local_penalties(posterior, positions, taken, slope=slope, top=top)
    closed = np.zeros(at.size, bool)
    closed[taken] = True
    chosen: list[int] = []
    found: list[float] = []
    for _ in range(q):
        now = at.copy()
        if adjust is not None:
            now = np.array(adjust(now, np.array(chosen, np.int64)), np.float64)
        index, score = _highest(now, closed, "spread")
        if index is None:
            break
        chosen.append(index)
        found.append(score)
        closed[index] = True
        at += local_penalties(posterior, positions, [index], slope=slope, top=top)
    return Batch(np.array(chosen, np.int64), np.array(found), posterior)


def _log_softplus(scores: Array) -> Array:
    """Return log(log(1 + e^z)) of the scores z, standardised where they are finite."""
    finite = scores[np.isfinite(scores)]
    unit = unit_of(finite)  # refuses what has no mean
    z = (scores - (finite.mean() if finite.size else 0.0)) / unit
    soft = np.logaddexp(0.0, np.maximum(z, -30.0))
    return np.where(z > -30.0, np.log(soft), z)  # below, softplus is e^z


def _highest(
    scores: Array, closed: NDArray[np.bool_], who: str
) -> tuple[int | None, float]:
    """Return the open candidate that scores highest; None if none is above −∞."""
    open_scores = np.where(closed, -np.inf, scores)
    wrong = np.flatnonzero(np.isnan(open_scores) | np.isposinf(open_scores))
    if wrong.size:
        raise OutOfRange(
            f"The score of candidate {wrong[0]} by {who} is {scores[wrong[0]]}, and so "
            f"are {wrong.size} in all; a score is finite, or −∞ where not to measure. "
            "Look at the posterior there."
        )
    index = int(np.argmax(open_scores))
    score = float(open_scores[index])
    return (None if np.isneginf(score) else index), score


def _lie(believer: str, context: Context, seen: ArrayLike | None) -> float | None:
    """Return the value of every fantasy; None where it is the mean."""
    if believer not in BELIEVERS:
        raise unknown("believer", believer, BELIEVERS, 'Leave it out for "mean".')
    if believer == "mean":
        return None
    values = np.asarray([] if seen is None else seen, np.float64).ravel()
    if values.size and np.isfinite(values).all():
        return float(values.max() if believer == "best" else values.min())
    if believer == "best" and seen is None:
        return float(context.best)
    raise BadConfig(
        f"greedy got believer = {believer!r} and {values.size} values seen; the liar "
        "repeats one of them, so they are finite and at least one. Give seen, the "
        'values measured so far, or take believer = "mean".'
    )


def _require_q(call: str, q: int) -> None:
    if isinstance(q, bool) or not isinstance(q, int | np.integer) or q < 1:
        raise BadConfig(
            f"{call} got q = {q!r}; a batch has a whole number of candidates, 1 or "
            "more. Give the number of spots to measure together."
        )
