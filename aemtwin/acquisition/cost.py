"""What a measurement costs, and scores that know it: time on the way, time, dose.

`travel_s` says how long the probe takes to each candidate, `Cost` turns scores into
scores per cost, and `short_path` orders a batch. `discounted` is how any discount, of
cost or of nearness (`penalties.closeness`), is taken off scores of any kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch, unknown

Array = NDArray[np.float64]
Kind = Literal["log", "positive", "any"]
"""Scores that are logarithms, that are 0 or more, or that may be anything."""

KINDS = ("log", "positive", "any")
EXACT = 8  # points up to which the shortest path is found for certain
FLAT = 1e-9  # of the largest score: a spread below that is rounding


def travel_s(
    probe: ArrayLike, candidates: ArrayLike, speed_m_per_s: float, settle_s: float
) -> Array:
    """Return how long the probe takes to come to rest at each candidate.

    It is what `Instrument.duration` says of `move_to`, for many positions at once.

    Args:
        probe: Where it is, (2,), metres.
        candidates: (m, 2), metres.
        speed_m_per_s: Speed between spots, the setting speed_m_s of an instrument.
        settle_s: Wait after a move, the setting settle_s; also where the way is 0.

    Returns:
        Seconds, (m,).

    Raises:
        OutOfRange: If the speed is not positive or the wait negative.
        ShapeMismatch: If positions have another shape.

    >>> travel_s([0.0, 0.0], [[3e-6, 4e-6]], 1e-6, 0.5).round(9).tolist()
    [5.5]
    """
    start, to = _positions("travel_s", probe, candidates)
    if not (0 < speed_m_per_s < np.inf and 0 <= settle_s < np.inf):
        raise OutOfRange(
            f"travel_s got a speed of {speed_m_per_s!r} m/s and a wait of {settle_s!r} "
            "s; the speed is more than 0, the wait 0 or more. Read both from the "
            "settings of the instrument."
        )
    way: Array = np.linalg.norm(to - start, axis=1)
    return way / speed_m_per_s + settle_s


@dataclass(frozen=True)
class Cost:
    """Scores per cost: what is cheap is done first, where scores are alike.

    The cost of a candidate is per_second · seconds + per_dose · dose, in a unit of the
    caller's choice that drops out.

    Attributes:
        weight: 0 leaves scores as they are, 1 counts gain per cost, more is thriftier.
        per_second: Price of a second: moving, settling and dwell together.
        per_dose: Price of a unit of dose.

    Source: Snoek, Larochelle and Adams (2012), arXiv:1206.2944, section 3.2, for the
    expected improvement per second, and for other resources in the place of seconds.
    """

    weight: float = 1.0
    per_second: float = 1.0
    per_dose: float = 0.0

    def __post_init__(self) -> None:
        prices = self.weight, self.per_second, self.per_dose
        if not all(0 <= price < np.inf for price in prices) or max(prices[1:]) <= 0:
            raise BadConfig(
                f"Cost got weight = {self.weight!r}, per_second = {self.per_second!r} "
                f"and per_dose = {self.per_dose!r}; all are finite and 0 or more, and "
                "one of the prices is more than 0. Cost() counts gain per second."
            )

    def __call__(
        self,
        scores: ArrayLike,
        seconds: ArrayLike,
        dose: ArrayLike = 0.0,
        *,
        kind: Kind = "any",
    ) -> Array:
        """Return scores per cost, the cheapest candidate's unchanged.

        weight · log(cost / least cost) is taken off by `discounted`: scores that are
        logarithms become those of gain / cost^weight, scores that are 0 or more are
        divided by cost^weight, and for all others it counts standard deviations of the
        scores over the pool, so that negative scores do not gain by being divided.

        Args:
            scores: (m,); −∞ stays.
            seconds: What each takes in all, (m,) or ().
            dose: What each leaves, (m,) or (), unit of the instrument.
            kind: "log", "positive" or "any", as the scores are.

        Returns:
            (m,), in the kind and unit of the scores. Of two equal scores the cheaper
            is higher, unless weight is 0, or the score is a 0 of the kind "positive".

        Raises:
            OutOfRange: If the cost of a candidate that scores above −∞ is not positive
                and finite, or as `discounted`.
            ShapeMismatch: If shapes do not fit.
        """
        at = np.asarray(scores, np.float64)
        cost = self.per_second * np.asarray(seconds, np.float64)
        cost = cost + self.per_dose * np.asarray(dose, np.float64)
        if at.ndim != 1 or cost.shape not in ((), at.shape):
            raise ShapeMismatch(
                f"Cost got scores of shape {at.shape} and costs of {cost.shape}; it "
                "takes (m,) and (m,) or (). Give every candidate a cost."
            )
        cost = np.broadcast_to(cost, at.shape)
        may = ~np.isneginf(at)
        if not may.any():
            return at.copy()
        low, high = float(cost[may].min()), float(cost[may].max())
        if not 0 < low <= high < np.inf:
            raise OutOfRange(
                f"Cost got costs from {low:g} to {high:g}; each is finite and more "
                "than 0, because gain per nothing has no measure. Count the dwell too."
            )
        amount = np.zeros(at.shape)
        amount[may] = self.weight * np.log(cost[may] / low)
        return discounted(at, amount, kind=kind)


def discounted(scores: ArrayLike, amount: ArrayLike, *, kind: Kind = "any") -> Array:
    """Take an amount without unit off scores: e^(−amount) of what each is worth.

    Logarithms lose the amount; scores that are 0 or more are multiplied by
    e^(−amount); all others lose it in standard deviations of the scores over the pool,
    or in units of the largest where all are alike. So a change of the unit or of the
    zero of such scores changes no order.

    Args:
        scores: (m,); −∞ stays.
        amount: (m,) or (), finite where the score is.
        kind: "log", "positive" or "any", as the scores are.

    Returns:
        (m,), in the kind and unit of the scores.

    Raises:
        OutOfRange: If a score is NaN or +∞, an amount is not finite, or scores of the
            kind "positive" are negative.
        UnknownName: If there is no such kind.

    Source: derived here; for logarithms it is the product of penalties.

    >>> discounted([-1.0, -1.0], [0.0, 0.5], kind="log").tolist()
    [-1.0, -1.5]
    """
    if kind not in KINDS:
        raise unknown("kind of scores", kind, KINDS, 'Leave it out for "any".')
    at = np.array(scores, np.float64)
    off = np.broadcast_to(np.asarray(amount, np.float64), at.shape)
    may = ~np.isneginf(at)
    some, less = at[may], off[may]
    if not (np.isfinite(some).all() and np.isfinite(less).all()):
        raise OutOfRange(
            "discounted got a score that is NaN or +∞, or an amount that is not "
            "finite. Look at the posterior there; −∞ says where not to measure."
        )
    if kind == "positive":
        if some.size and some.min() < 0:
            raise OutOfRange(
                f'discounted got a score of {some.min():g} of the kind "positive"; '
                'it takes 0 or more. Call scores that may be negative "any".'
            )
        at[may] = some * np.exp(-less)
        return at
    at[may] = some - (1.0 if kind == "log" else unit_of(some)) * less
    return at


def unit_of(scores: Array) -> float:
    """Return the standard deviation of finite scores, or the largest if all are alike.

    It is 1 where there is none but 0.

    Raises:
        OutOfRange: If they lie too far apart to be counted in such a unit, as
            logarithms do where nothing can be gained.
    """
    if not scores.size:
        return 1.0
    most = float(np.abs(scores).max())
    with np.errstate(over="ignore"):
        sd = float(np.std(scores))
    if not sd < np.inf:
        raise OutOfRange(
            f"Scores reach {most:g}, too far to be counted in standard deviations. "
            'If they are logarithms, say so: kind = "log", or log = True of a batch.'
        )
    if sd > FLAT * most:
        return sd
    return most if most > 0 else 1.0


def short_path(probe: ArrayLike, points: ArrayLike) -> NDArray[np.int64]:
    """Return a short order in which to visit points, from where the probe is.

    Up to `EXACT` points it is a shortest one. Beyond, the better of the given order
    and that of nearest neighbours is improved by turning parts round until no turn
    helps, so that it is never longer than either. The way ends at the last point.

    Args:
        probe: Where the probe is, (2,), metres.
        points: (q, 2), metres.

    Returns:
        Indices into points, (q,), each once.

    Raises:
        ShapeMismatch: If positions have another shape.
        OutOfRange: If a position is not finite.

    Source: Held and Karp (1962), J. SIAM 10, 196, here for a way that does not
    return; Croes (1958), Oper. Res. 6, 791, for turning parts round.

    >>> short_path([0.0, 0.0], [[3.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).tolist()
    [1, 2, 0]
    """
    start, to = _positions("short_path", probe, points)
    D = np.linalg.norm(to[:, None] - to[None], axis=-1)  # (q, q)
    first = np.linalg.norm(to - start, axis=1)  # (q,)
    q = len(to)
    order = _held_karp(D, first) if q <= EXACT else _two_opt(D, first)
    return np.array(order, np.int64)


def path_m(probe: ArrayLike, points: ArrayLike) -> float:
    """Return the length of the way from the probe through points (q, 2), metres."""
    start, to = _positions("path_m", probe, points)
    return float(np.linalg.norm(np.diff(to, axis=0, prepend=start[None]), axis=1).sum())


def _held_karp(D: Array, first: Array) -> list[int]:
    """Return a shortest order; best[S, k] is that of a way through S that ends in k."""
    q = len(first)
    if q == 0:
        return []
    best = np.full((2**q, q), np.inf)
    before = np.full((2**q, q), -1)
    best[2 ** np.arange(q), np.arange(q)] = first
    for visited in range(1, 2**q):
        for k in range(q):
            rest = visited & ~(1 << k)
            if rest and visited >> k & 1:
                ways = best[rest] + D[:, k]
                before[visited, k] = j = int(np.argmin(ways))
                best[visited, k] = ways[j]
    visited = 2**q - 1
    order, k = [], int(np.argmin(best[visited]))
    while k >= 0:
        order.append(k)
        visited, k = visited & ~(1 << k), int(before[visited, k])
    return order[::-1]


def _two_opt(D: Array, first: Array) -> list[int]:
    """Return an order that no turning round of a part makes shorter."""
    q = len(first)
    near, left = [int(np.argmin(first))], np.ones(q, bool)
    left[near[0]] = False
    while left.any():
        near.append(int(np.argmin(np.where(left, D[near[-1]], np.inf))))
        left[near[-1]] = False

    def length(order: NDArray[np.int64]) -> float:
        return float(first[order[0]] + D[order[:-1], order[1:]].sum())

    order = min(np.arange(q), np.array(near), key=length)
    tiny = 1e-12 * (float(first.max()) + float(D.max()))
    upper = np.triu(np.ones((q, q), bool), 1)
    while True:
        # into[i, j]: from what comes before place i to the point at place j
        into = np.vstack([first[order][None], D[np.ix_(order[:-1], order)]])
        out = np.hstack([D[np.ix_(order, order[1:])], np.zeros((q, 1))])
        change = into - np.diag(into)[:, None] + out - np.diag(out)[None, :]
        change = np.where(upper, change, np.inf)  # turn places i to j round
        i, j = np.unravel_index(int(np.argmin(change)), change.shape)
        if change[i, j] >= -tiny:
            return [int(k) for k in order]
        order[i : j + 1] = order[i : j + 1][::-1].copy()


def _positions(call: str, probe: ArrayLike, points: ArrayLike) -> tuple[Array, Array]:
    start, to = np.asarray(probe, np.float64), np.asarray(points, np.float64)
    if to.size == 0:
        to = to.reshape(0, 2)
    if start.shape != (2,) or to.ndim != 2 or to.shape[1] != 2:
        raise ShapeMismatch(
            f"{call} got a probe of shape {start.shape} and positions of {to.shape}; "
            "it takes (2,) and (m, 2), metres. Give one (x, y) a row."
        )
    if not (np.isfinite(start).all() and np.isfinite(to).all()):
        raise OutOfRange(
            f"{call} got a position that is not finite; positions are in metres. Look "
            "at where the instrument said it is."
        )
    return start, to
