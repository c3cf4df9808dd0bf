"""When a search may end: rules that ask whether anything much better can be left.

A rule reads a belief before a measurement is made and gives a verdict. None of them
knows more than the surrogate does, so how often each stops wrongly is measured, on
fields that suit the surrogate and on fields that do not (`benchmarks/stopping.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadConfig
from aemtwin.plugins import build, entry_points, find, listing

if TYPE_CHECKING:
    from aemtwin.surrogates.base import Posterior

GROUP = "aemtwin.stopping"
TOP = 128  # candidates that are drawn jointly; the others enter by a bound
DRAWS = 4096
RELATIVE = 0.05  # of the range of the mean: the margin where none is given

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

BUILT_IN = {  # name -> where it is, and one line for people
    "regret": (
        "aemtwin.acquisition.stopping:Regret",
        "once it is likely that no candidate is better than the best by a margin",
    ),
    "bounds": (
        "aemtwin.acquisition.stopping:Bounds",
        "once no upper confidence bound exceeds the best lower one by a margin",
    ),
    "gain": (
        "aemtwin.acquisition.stopping:Gain",
        "once no measurement is expected to improve on the best by a margin",
    ),
}


class Standing(NamedTuple):
    """How a search stands before a measurement."""

    posterior: Posterior  # mean and variance of f, (m,)
    open: NDArray[np.bool_]  # (m,), may still be measured
    measured: Indices  # those with a value, in order
    decided: int  # measurements that the surrogate has decided on
    among: Callable[[Indices], Floats] | None = None  # (k,) -> covariance of f, (k, k)
    seed: tuple[int, ...] = (0,)  # of what is drawn

    @property
    def best(self) -> int:
        """The measured candidate with the highest mean."""
        return int(self.measured[np.argmax(self.posterior.mean[self.measured])])


class Verdict(NamedTuple):
    """What a rule says."""

    stop: bool
    value: float  # of what it watches
    limit: float  # which that may not exceed
    why: str  # in words, with both


class Rule(Protocol):
    """Says whether to end; pure, and asked before every measurement.

    It may ask for covariances by `joint = True`.
    """

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        ...

    def __call__(self, standing: Standing) -> Verdict:
        """Return the verdict."""
        ...


@dataclass(frozen=True)
class _Margin:
    """What all rules of the house have.

    Attributes:
        margin: How much better is no longer worth the while, unit of the scalarizer;
            None: `relative`.
        relative: The same as part of the range of the mean over all candidates.
        after: Measurements that the surrogate decides on before it may end.
    """

    margin: float | None = None
    relative: float = RELATIVE
    after: int = 10

    def __post_init__(self) -> None:
        if self.margin is not None:
            _require(self.name, "margin", self.margin, "0 or more, unit of the value")
        _require(self.name, "relative", self.relative, "0 or more, of the range")
        if isinstance(self.after, bool) or int(self.after) != self.after:
            raise BadConfig(
                f"The stopping rule {self.name} got after = {self.after!r}; it takes a "
                "whole number of measurements. 10 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return type(self).__name__.lower()

    def width(self, standing: Standing) -> float:
        """Return the margin in the unit of the value."""
        if self.margin is not None:
            return float(self.margin)
        return self.relative * float(np.ptp(standing.posterior.mean[_all(standing)]))

    def verdict(
        self, standing: Standing, value: float, limit: float, what: str
    ) -> Verdict:
        """Return whether what is watched has fallen to its limit."""
        stop = standing.decided >= self.after and bool(value <= limit)
        why = f"{self.name}: {what} {value:.3g} {'<=' if value <= limit else '>'} "
        return Verdict(stop, float(value), float(limit), f"{why}{limit:.3g}")


@dataclass(frozen=True)
class Regret(_Margin):
    """Stop once P(max f − f(best) > margin) ≤ risk.

    The probability is that of joint draws over the best and the `TOP` candidates that
    are most likely to beat it, plus the sum of the probabilities of all others (Boole's
    inequality), so it is not understated by what is left out. Needs covariances.

    Attributes:
        risk: Probability of too large a regret that is accepted at a step. A search
            asks at every step and ends at the first that is content, so that more
            stops may be wrong; how many were is in `benchmarks/README.md`.

    Source: Wilson (2024), "Stopping Bayesian optimization with probabilistic regret
    bounds", NeurIPS 37, arXiv:2402.16811, the (ε, δ) criterion; over finitely many
    candidates draws are exact, and the bound for the rest is derived here.
    """

    risk: float = 0.01
    joint = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.risk < 1:
            raise BadConfig(
                f"The stopping rule regret got risk = {self.risk!r}; it is a "
                "probability between 0 and 1. 0.01 is usual."
            )

    def __call__(self, standing: Standing) -> Verdict:
        value = regret_probability(standing, self.width(standing))
        what = f"P(regret > {self.width(standing):.3g}) ="
        return self.verdict(standing, value, self.risk, what)


@dataclass(frozen=True)
class Bounds(_Margin):
    """Stop once max(mean + β sd) − max over measured of (mean − β sd) ≤ margin.

    Attributes:
        beta: Standard deviations.

    Source: Makarova et al. (2022), "Automatic termination for hyperparameter
    optimization", AutoML-Conf, PMLR 188: the bound on the simple regret; their limit is
    a statistical error, here it is the margin.
    """

    beta: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.name, "beta", self.beta, "0 or more standard deviations")

    def __call__(self, standing: Standing) -> Verdict:
        mean, sd = standing.posterior.mean, _sd(standing)
        upper = float((mean + self.beta * sd)[_all(standing)].max())
        lower = float((mean - self.beta * sd)[standing.measured].max())
        return self.verdict(standing, upper - lower, self.width(standing), "bound")


@dataclass(frozen=True)
class Gain(_Margin):
    """Stop once the largest expected improvement over the best mean ≤ margin.

    The improvement of one more measurement is much less than what many may find, so the
    margin is smaller than that of the other rules: `relative` is 0.001.

    Source: Nguyen, Gupta, Rana, Li and Venkatesh (2017), "Regret for expected
    improvement over the best-observed value and stopping condition", ACML, PMLR 77.
    """

    relative: float = 0.001

    def __call__(self, standing: Standing) -> Verdict:
        from aemtwin.acquisition.analytic import Context, compiled, log_ei

        best = float(standing.posterior.mean[standing.best])
        scores = compiled(log_ei, standing.posterior, Context(best, ~standing.open))
        value = float(np.exp(scores.max(initial=-np.inf)))
        return self.verdict(standing, value, self.width(standing), "expected gain")


def regret_probability(standing: Standing, margin: float) -> float:
    """Return an upper estimate of P(max f − f(best) > margin).

    Args:
        standing: With covariances.
        margin: Unit of f.

    Raises:
        BadConfig: If there are no covariances.
    """
    if standing.among is None:
        raise BadConfig(
            "The regret of a standing is told by covariances, and there are none. Use "
            "a surrogate that has them (gp, bayes_gp), or the stopping rule bounds."
        )
    best, mean = standing.best, standing.posterior.mean
    others = _all(standing)
    others[best] = False
    alone = _ahead(standing, ~others, margin)  # of each, were it independent of best
    order = np.argsort(-alone, kind="stable")[: np.count_nonzero(others)]
    top = order[:TOP]
    if not top.size:
        return 0.0
    chosen = np.concatenate([[best], top])
    if chosen.size <= TOP:  # one shape, so that what reads covariances compiles once
        chosen = np.concatenate([chosen, np.full(TOP + 1 - chosen.size, best)])
    square = np.asarray(standing.among(chosen), np.float64)[: top.size + 1]
    square = square[:, : top.size + 1]
    values, vectors = np.linalg.eigh(0.5 * (square + square.T))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = np.random.default_rng(standing.seed).standard_normal((DRAWS, len(values)))
    draws = mean[chosen[: top.size + 1]] + noise @ root.T
    beaten = (draws[:, 1:].max(axis=1) - draws[:, 0] > margin).mean()
    return float(min(1.0, beaten + alone[order[TOP:]].sum()))


def _ahead(standing: Standing, closed: NDArray[np.bool_], margin: float) -> Floats:
    """Return P(f − f(best) > margin) of each candidate, as if independent; 0 closed."""
    from aemtwin.acquisition.analytic import Context, compiled, log_poi
    from aemtwin.surrogates.base import Posterior

    mean, variance = standing.posterior
    difference = Posterior(mean, np.maximum(variance, 0) + variance[standing.best])
    context = Context(float(mean[standing.best]) + margin, closed)
    logarithm = compiled(log_poi, difference, context)
    return np.asarray(np.exp(logarithm), np.float64)


def _all(standing: Standing) -> NDArray[np.bool_]:
    there = standing.open.copy()
    there[standing.measured] = True
    return there


def _sd(standing: Standing) -> Floats:
    variance = np.asarray(standing.posterior.variance, np.float64)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _require(rule: str, name: str, value: Any, what: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and 0 <= value < np.inf):
        raise BadConfig(
            f"The stopping rule {rule} got {name} = {value!r}; it is {what}."
        )


def available() -> dict[str, str]:
    """Return what each stopping rule is, in one line, by name.

    >>> sorted(available())[:3]
    ['bounds', 'gain', 'regret']
    """
    lines = {name: line for name, (_, line) in BUILT_IN.items()}
    return listing(lines, entry_points(GROUP))


def factory(name: str) -> Callable[..., Any]:
    """Return what makes the stopping rule of that name; errors as `get`."""
    return find("stopping rule", name, BUILT_IN, GROUP)


def get(name: str, **params: Mapping[str, Any]) -> Rule:
    """Make the stopping rule of that name.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If it does not take these parameters.

    >>> get("regret", margin=2.0).risk
    0.01
    """
    made = build("stopping rule", name, params, BUILT_IN, GROUP)
    return cast("Rule", made)
