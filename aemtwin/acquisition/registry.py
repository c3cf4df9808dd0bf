"""Acquisitions and policies by name: those of the house and those of plugins.

An acquisition scores candidates from a posterior; a policy visits them in an order of
its own and needs no surrogate. Both are chosen by one word in a campaign file. Nothing
here imports JAX until an acquisition is asked for. A plugin names a class under the
entry point group `aemtwin.acquisitions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aemtwin.plugins import build, entry_points, find, listing

if TYPE_CHECKING:
    from aemtwin.acquisition.analytic import Context
    from aemtwin.surrogates.base import Posterior

GROUP = "aemtwin.acquisitions"

BUILT_IN = {  # name -> where it is, and one line for people
    "log_ei": (
        "aemtwin.acquisition.analytic:LogEI",
        "logarithm of the expected improvement over the best so far",
    ),
    "ucb": (
        "aemtwin.acquisition.analytic:UCB",
        "upper confidence bound, mean + beta standard deviations",
    ),
    "log_poi": (
        "aemtwin.acquisition.analytic:LogPOI",
        "logarithm of the probability of improvement, by more than a margin",
    ),
    "mes": (
        "aemtwin.acquisition.information:MES",
        "max-value entropy search: what f there says of the height of its maximum",
    ),
    "kg": (
        "aemtwin.acquisition.information:KG",
        "knowledge gradient: by how much a measurement raises the highest mean",
    ),
    "level_set": (
        "aemtwin.acquisition.sets:LevelSet",
        "straddle: where it is uncertain on which side of a level f lies",
    ),
    "variance": (
        "aemtwin.acquisition.analytic:Variance",
        "posterior variance: learn the map, seek no maximum",
    ),
    "thompson": (
        "aemtwin.acquisition.thompson:Thompson",
        "one draw of the posterior, jointly over all candidates",
    ),
    "ehvi": (
        "aemtwin.acquisition.hypervolume:EHVI",
        "expected hypervolume improvement of two or three scalarizers at once",
    ),
    "novelty": (
        "aemtwin.acquisition.novelty:Novelty",
        "outcomes unlike all before, in the space of two to eight scalarizers",
    ),
    "random": (
        "aemtwin.acquisition.policies:Random",
        "every candidate once, in a seeded random order; no surrogate",
    ),
    "grid": (
        "aemtwin.acquisition.policies:Grid",
        "the whole field, coarse to fine; no surrogate",
    ),
}


@runtime_checkable
class Acquisition(Protocol):
    """Scores candidates; the campaign measures where the score is highest.

    Pure: the same posterior and context give the same bits. Measured candidates score
    −∞ and every other one a finite number, so the highest is never a measured one.
    It may say what its scores are, `scores = "log"` or "positive", so that costs are
    weighed as they should be, and ask for more of the context by `draws` or `joint`.
    One of several outputs says how many it takes, `outputs = (2, 3)`; its posterior
    and its context (`hypervolume.Several`) have a column for each.
    """

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        ...

    def __call__(self, posterior: Posterior, context: Context) -> NDArray[np.float64]:
        """Return the scores of m candidates, (m,)."""
        ...


@runtime_checkable
class Policy(Protocol):
    """An order in which to visit candidates, settled before the first measurement."""

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        ...

    def order(self, seed: int, shape: tuple[int, int]) -> NDArray[np.int64]:
        """Return every candidate of a (rows, columns) grid once, (m,), row-major."""
        ...


def available() -> dict[str, str]:
    """Return what each acquisition or policy is, in one line, by name; imports none.

    >>> sorted(available())[:5]
    ['ehvi', 'grid', 'kg', 'level_set', 'log_ei']
    """
    lines = {name: line for name, (_, line) in BUILT_IN.items()}
    return listing(lines, entry_points(GROUP))


def factory(name: str) -> Callable[..., Any]:
    """Return what makes the acquisition of that name; errors as `get`."""
    return find("acquisition", name, BUILT_IN, GROUP)


def get(name: str, **params: Any) -> Acquisition | Policy:
    """Make the acquisition or policy of that name.

    Args:
        name: One of `available()`.
        params: What its class takes, such as `beta` of "ucb".

    Returns:
        An `Acquisition`, or a `Policy` where it has `order`.

    Raises:
        UnknownName: If there is none of that name.
        BadConfig: If it does not take these parameters.
        MissingExtra: If it needs packages that are not installed, or is a plugin that
            cannot be imported.

    >>> isinstance(get("random"), Policy), isinstance(get("ucb", beta=3.0), Policy)
    (True, False)
    """
    made = build("acquisition", name, params, BUILT_IN, GROUP)
    return cast("Acquisition | Policy", made)
