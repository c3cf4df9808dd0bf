"""The conformance suite of acquisitions and policies; `surrogates` has that of models.

An acquisition is held to its laws on a small pool whose beliefs are known jointly, with
everything in the context that the loop may put there; a policy on a few grids. Laws of
the one say nothing of the other and skip themselves.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.surrogates.base import Cross, Posterior, count_compilations
from aemtwin.testing.conformance import Result, held
from aemtwin.testing.laws import Law, Laws, Skip, require
from aemtwin.testing.learners import digest

if TYPE_CHECKING:
    from aemtwin.acquisition.analytic import Context

Array = NDArray[np.float64]
POOL = 30  # candidates
NOISE = 0.04  # variance of one measurement
SHAPES = ((5, 7), (1, 9), (1, 1))  # of the grids that a policy is asked for

Make = Callable[[], Any]
"""What makes the acquisition or the policy anew."""

ACQUISITION_LAWS: Laws[Make] = Laws()
law = ACQUISITION_LAWS


def check_acquisition(
    acquisition: Acquisition | Policy | Make, laws: Iterable[Law[Make]] | None = None
) -> list[Result]:
    """Hold an acquisition or a policy to laws (default: all of `ACQUISITION_LAWS`).

    Args:
        acquisition: One of either, or a class that makes one without arguments.
        laws: Those to hold it to.

    >>> from aemtwin.acquisition import get
    >>> {one.outcome for one in check_acquisition(get("grid"))} == {"ok", "skipped"}
    True
    """
    chosen = ACQUISITION_LAWS.values() if laws is None else laws
    return list(held(maker(acquisition), chosen))


def maker(acquisition: Any) -> Make:
    """Return what makes an acquisition again, of an object or a class."""
    if isinstance(acquisition, type):
        return acquisition
    return partial(copy.copy, acquisition)


@dataclasses.dataclass(frozen=True)
class Pool:
    """Candidates on a line, what is believed of them together, and which are closed."""

    mean: Array  # (m,)
    covariance: Array  # (m, m), of the latent f
    measured: NDArray[np.bool_]  # (m,)
    draw: Array  # (m,), of f
    noise: float = NOISE

    @property
    def posterior(self) -> Posterior:
        """Mean and variance."""
        return Posterior(self.mean.copy(), np.diag(self.covariance).copy())

    def told(self, acquisition: Any) -> tuple[Posterior, Any]:
        """Return belief and context for an acquisition, of one output or several.

        Of several, every second one is the first with its sign turned.
        """
        if not hasattr(acquisition, "outputs"):
            return self.posterior, self.context
        from aemtwin.acquisition.hypervolume import Several

        signs = np.resize([1.0, -1.0], acquisition.outputs[0])
        mean, draw = (one[:, None] * signs for one in (self.mean, self.draw))
        variance = np.diag(self.covariance)[:, None] * signs**2
        context = Several(mean[self.measured], self.measured.copy(), None, draw)
        return Posterior(mean, variance), context

    @property
    def context(self) -> Context:
        """All that the loop may tell an acquisition."""
        from aemtwin.acquisition.analytic import Context

        def joint(indices: Any) -> Cross:
            rows = np.asarray(indices, np.int64)
            return Cross(self.covariance[rows], np.full(len(rows), self.noise))

        best = float(self.mean[self.measured].max())
        n = int(self.measured.sum())
        return Context(best, self.measured.copy(), self.draw.copy(), joint, n)

    def times(self, factor: float) -> Pool:
        """Return the pool in another unit of y."""
        return Pool(
            factor * self.mean,
            factor**2 * self.covariance,
            self.measured,
            factor * self.draw,
            factor**2 * self.noise,
        )

    def ordered(self, order: NDArray[np.int64]) -> Pool:
        """Return the pool with its candidates in another order."""
        return Pool(
            self.mean[order],
            self.covariance[np.ix_(order, order)],
            self.measured[order],
            self.draw[order],
            self.noise,
        )


def pool(*, certain: bool = False) -> Pool:
    """Return a Gaussian process on a line after six measurements with noise.

    Args:
        certain: Believe what was drawn, without any variance.
    """
    rng, x = np.random.default_rng(5), np.linspace(0.0, 1.0, POOL)
    K = np.exp(-0.5 * ((x[:, None] - x) / 0.15) ** 2)
    seen = np.array([2, 7, 11, 17, 22, 28])
    y = np.sin(6 * x[seen]) + np.sqrt(NOISE) * rng.normal(size=len(seen))
    gain = np.linalg.solve(K[np.ix_(seen, seen)] + NOISE * np.eye(len(seen)), K[seen])
    mean, covariance = gain.T @ y, K - K[:, seen] @ gain
    covariance = 0.5 * (covariance + covariance.T)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(POOL))
    draw = mean + root @ rng.normal(size=POOL)
    return Pool(
        mean, 0.0 * K if certain else covariance, np.isin(np.arange(POOL), seen), draw
    )


@law()
def it_satisfies_a_protocol_and_names_itself(make: Make) -> None:
    """It scores candidates (`Acquisition`) or has an order of its own (`Policy`)."""
    made = make()
    fits = isinstance(made, Policy) or (
        isinstance(made, Acquisition) and callable(made)
    )
    require(fits, "it neither scores candidates nor orders them")
    named = isinstance(made.name, str) and bool(made.name.strip())
    require(named, f"its name is {made.name!r}; it is a word")


@law()
def a_measured_candidate_scores_lowest_and_every_other_a_finite_number(
    make: Make,
) -> None:
    """−∞ where measured, finite elsewhere, also where nothing is uncertain any more."""
    for certain in (False, True):
        at = pool(certain=certain)
        scores = _scores(make, at)
        low = bool(np.all(np.isneginf(scores[at.measured])))
        require(low, f"measured candidates score {scores[at.measured][:3]}, not −∞")
        wrong = np.flatnonzero(~np.isfinite(scores) & ~at.measured)
        told = f"candidates {wrong[:5]} score {scores[wrong[:5]]}; they are open"
        require(not wrong.size, told)


@law()
def the_same_belief_gives_the_same_bits(make: Make) -> None:
    """Scores are a function of belief and context: another object, the same bits."""
    first, again = _scores(make, pool()), _scores(make, pool())
    require(np.array_equal(first, again), "asked again, it scores otherwise")


@law()
def scoring_changes_nothing_it_is_given(make: Make) -> None:
    """Belief and context are as they were after they were scored."""
    made = _acquisition(make)
    at = pool()
    posterior, context = at.told(made)
    before = digest(posterior), digest(context[:3])
    made(posterior, context)
    after = digest(posterior), digest(context[:3])
    named = zip(("posterior", "context"), before, after, strict=True)
    changed = [what for what, was, now in named if was != now]
    require(not changed, f"it changed the {' and the '.join(changed)}")


@law()
def the_order_of_candidates_does_not_matter(make: Make) -> None:
    """Candidates in another order score the same, each by itself, to 1e-9."""
    at, order = pool(), np.random.default_rng(4).permutation(POOL)
    scores, moved = _scores(make, at), _scores(make, at.ordered(order))
    same = np.allclose(moved, scores[order], rtol=1e-9, atol=1e-9)
    require(same, "in another order candidates score otherwise")


@law()
def the_unit_of_y_moves_no_choice(make: Make) -> None:
    """With y times 1e9 or 1e-9, the candidate that scores highest is the same."""
    chosen = int(np.argmax(_scores(make, pool())))
    for factor in (2.0**30, 2.0**-30):
        other = int(np.argmax(_scores(make, pool().times(factor))))
        told = f"with y times {factor:.1e} it chooses candidate {other}, not {chosen}"
        require(other == chosen, told)


@law()
def nothing_is_compiled_after_the_first_call(make: Make) -> None:
    """One program serves every belief of as many candidates, whichever object asks."""
    at = pool()
    order = np.random.default_rng(3).permutation(POOL)
    pools = [at, at.ordered(order), at.times(2.0)]
    counts = []
    for one in pools:
        made = _acquisition(make)
        posterior, context = one.told(made)
        with count_compilations() as seen:
            made(posterior, context)
        counts.append(seen.count)
    told = f"three calls compiled {counts} programs; after the first there is none"
    require(not any(counts[1:]), told)


@law()
def an_order_has_every_candidate_once(make: Make) -> None:
    """The order of a policy is a permutation of the grid, and the seed decides it."""
    policy = make()
    if not isinstance(policy, Policy):
        raise Skip("it is no policy: it scores candidates")
    for shape in SHAPES:
        for seed in (0, 5):
            order = np.asarray(policy.order(seed, shape))
            whole = order.dtype.kind == "i" and np.array_equal(
                np.sort(order), np.arange(shape[0] * shape[1])
            )
            require(whole, f"the order of {shape} is {order.tolist()[:9]}")
            same = np.array_equal(order, make().order(seed, shape))
            require(same, f"seed {seed} gives two orders of {shape}")


def _acquisition(make: Make) -> Any:
    """Return it anew, or skip where it is a policy."""
    made = make()
    if isinstance(made, Policy):
        raise Skip("it is a policy: it scores nothing")
    return made


def _scores(make: Make, at: Pool) -> Array:
    """Return the scores of a pool, (m,), which are numbers without NaN."""
    made = _acquisition(make)
    scores = np.asarray(made(*at.told(made)), np.float64)
    right = scores.shape == at.mean.shape and not np.any(np.isnan(scores))
    require(right, f"it scored {POOL} candidates with {scores.shape} numbers: {scores}")
    return scores
