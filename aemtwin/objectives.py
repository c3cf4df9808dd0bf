"""The numbers that a run seeks, one or several: what each measurement has of them.

The first that is named is the value of a measurement, as in a run that seeks it alone;
the others are kept beside it. A measurement in which one of them is not finite counts
as none. `aemtwin.values` computes one number, `aemtwin.trade_offs` decides by several.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import scalarizers
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.acquisition.stopping import Rule
from aemtwin.config import CampaignConfig
from aemtwin.decisions import Others, State
from aemtwin.documents import other_keys
from aemtwin.errors import BadConfig
from aemtwin.measurement import Measurement
from aemtwin.scalarizers import Scalarizer
from aemtwin.surrogates.base import Joint, Surrogate
from aemtwin.values import Found, Values

PCA = '["pca:component=1", "pca:component=2", "pca:component=3"]'
INSTEAD = {"ehvi": '["loop_area", "imprint"]', "novelty": PCA}

Sought = Scalarizer | Sequence[Scalarizer] | None
"""What was given in place of the names of a configuration."""


class Objectives:
    """All numbers sought of each measurement.

    Args:
        sought: The scalarizers, the first of which gives the value.
        values: Of the run, which computes each of them.
    """

    def __init__(self, sought: Sequence[Scalarizer], values: Values) -> None:
        self.names = told_apart(sought)
        self.others = tuple(sought[1:])
        self._keys = other_keys(len(self.others))
        self._values = values

    def learn(self, first: Scalarizer) -> bool:
        """Say whether earlier numbers change with each measurement."""
        return any(one.learns for one in (first, *self.others))

    def after(
        self, state: State, first: Scalarizer, measured: Measurement | None
    ) -> tuple[Scalarizer, tuple[float, ...], Others]:
        """Return the first scalarizer, its values and the others, with one more.

        Args:
            state: Before it.
            first: The scalarizer of the value, not yet fitted to anything.
            measured: The measurement; None where the instrument failed.

        Raises:
            MeasurementFailed: If a scalarizer does, with its name and the spot.
        """
        if not self.others:
            return (*self._values.after(state, first, measured), state.others)
        anew, columns = self.learn(first), _columns(state, len(self.others))
        return _together(
            self._values.after(replace(state, values=column), one, measured, anew=anew)
            for one, column in zip((first, *self.others), columns, strict=True)
        )

    def read(
        self, first: Scalarizer, events: Sequence[Mapping[str, Any]]
    ) -> tuple[Scalarizer, tuple[float, ...], Others]:
        """Return what `after` returned for the last of these recorded events."""
        every, n = (first, *self.others), len(events)
        if self.learn(first):
            return _together(self._values.of(one, n) for one in every)
        return _together(
            (one, tuple(float(event["data"][key]) for event in events))
            for one, key in zip(every, ("value", *self._keys), strict=True)
        )

    def data(self, others: Others) -> dict[str, float | None]:
        """Return what an event keeps of the last measurement beside its value."""
        last = others.values[-1] if others.values else ()
        known = (value if math.isfinite(value) else None for value in last)
        return dict(zip(self._keys, known, strict=True))

    def maps(
        self, values: tuple[float, ...], others: Others
    ) -> dict[str, NDArray[np.float64]]:
        """Return what earlier measurements mean by now, where that is learned."""
        told = {"values": np.array(values)}
        return told | ({"others": np.array(others.values)} if self.others else {})

    def notices(self, measured: Measurement | None, others: Others) -> list[str]:
        """Say which numbers a measurement lacks, and so counts as none."""
        if not self.others or measured is None or self._values.refuses(measured):
            return []
        if all(map(math.isfinite, others.values[-1])):
            return []
        told = ", ".join(self.names)
        return [f"not every number of {told} is known, so nothing is learned from it"]

    def units(self, measured: Measurement | None) -> list[tuple[str, str]]:
        """Return name and unit of the others, for the descriptor."""
        units = ("" if measured is None else o.units(measured) for o in self.others)
        return list(zip(self.names[1:], units, strict=True))


def sought_of(config: CampaignConfig, given: Sought) -> tuple[Scalarizer, ...]:
    """Return the scalarizers of a run: those given, or those that it names."""
    if isinstance(given, Scalarizer):
        return (given,)
    if given is not None:
        return tuple(given)
    return tuple(scalarizers.get(one.name, **one.params) for one in config.sought)


def told_apart(sought: Sequence[Scalarizer]) -> tuple[str, ...]:
    """Return the names of scalarizers, with parameters where a name comes twice.

    >>> told_apart([scalarizers.get("pca:component=1"), scalarizers.get("pca")])
    ('pca:component=1', 'pca')
    """
    names = [one.name for one in sought]
    return tuple(str(one) if names.count(one.name) > 1 else one.name for one in sought)


def require_several(
    config: CampaignConfig,
    sought: Sequence[Scalarizer],
    surrogate: Surrogate,
    acquire: Acquisition | Policy,
    rule: Rule | None,
) -> None:
    """Refuse what seeks one number where there are several, and the other way round.

    Raises:
        BadConfig: If parts do not go together.
    """
    p, takes = len(sought), getattr(acquire, "outputs", None)
    named = " and ".join(told_apart(sought))
    if takes is not None and not takes[0] <= p <= takes[1]:
        raise BadConfig(
            f"The acquisition {acquire.name} takes {takes[0]} to {takes[1]} "
            f"scalarizers and got {p}, {named}. Name them in a list, such as "
            f"{INSTEAD.get(acquire.name, INSTEAD['ehvi'])}, with the surrogate "
            "multi_gp, or choose an acquisition of one number, such as log_ei."
        )
    if p == 1:
        return
    if takes is None and not isinstance(acquire, Policy):
        raise BadConfig(
            f"The acquisition {acquire.name} seeks one number and got {p} scalarizers, "
            f"{named}. Choose ehvi or novelty, or name one scalarizer."
        )
    if not getattr(surrogate, "several", False):
        raise BadConfig(
            f"The surrogate {surrogate.name} learns one number and got {p} "
            f"scalarizers, {named}. Choose multi_gp, or name one scalarizer."
        )
    if rule is not None:
        raise BadConfig(
            f"The stopping rule {rule.name} watches one number for its maximum, and "
            f"{p} are sought, {named}. Leave out stop; the run ends after its steps."
        )
    if getattr(config.search, "dwell_s", None) is not None:
        raise BadConfig(
            f"search.dwell_s is decided by the noise of one number, and {p} are "
            f"sought, {named}. Leave it out, or name one scalarizer."
        )
    if config.search.batch > 1 and not isinstance(surrogate, Joint):
        raise BadConfig(
            f"A batch of {config.search.batch} for several numbers asks how beliefs "
            f"hang together, and {surrogate.name} has no method `covariance`. Choose "
            "multi_gp, or batch = 1."
        )


def _columns(state: State, others: int) -> list[tuple[float, ...]]:
    """Return the values of each scalarizer so far."""
    rows = state.others.values
    return [state.values, *(tuple(row[k] for row in rows) for k in range(others))]


def _together(found: Any) -> tuple[Scalarizer, tuple[float, ...], Others]:
    """Return what each scalarizer found; where one found nothing, none did."""
    pairs: list[Found] = list(found)
    first, *others = (one for one, _ in pairs)
    if not others:
        return first, pairs[0][1], Others()
    table = np.array([column for _, column in pairs], np.float64).T  # (n, p)
    table[~np.isfinite(table).all(axis=1)] = np.nan
    rows = tuple(tuple(row) for row in table[:, 1:].tolist())
    return first, tuple(table[:, 0].tolist()), Others(rows, tuple(others))
