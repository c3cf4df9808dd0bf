"""What a decision weighs besides the belief: how far it is, and what is too near.

The seconds that a candidate takes are asked of the instrument itself
(`Instrument.duration`), from where its probe is. `aemtwin.campaign` makes terms before
each decision, `aemtwin.beliefs` applies them to the scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.cost import Cost
from aemtwin.acquisition.penalties import exclude
from aemtwin.acquisition.stopping import Rule
from aemtwin.decisions import Known
from aemtwin.dwells import Dwells
from aemtwin.instruments.protocol import Instrument
from aemtwin.sections import Search

Array = NDArray[np.float64]


class Terms(NamedTuple):
    """What to weigh; the default is nothing."""

    near: NDArray[np.bool_] | None = None  # (m,), too near to what was measured
    apart_m: float = 0.0  # the radius of that, less than asked where all were near
    seconds: Array | None = None  # (m,), that a measurement of each would take
    travel: float = 0.0  # weight of these
    rule: Rule | None = None  # that says when to end
    decided: int = 0  # measurements that the surrogate has decided on
    batch: int = 1  # candidates to decide on
    positions: Array | None = None  # (m, 2) m, of the candidates
    shape: tuple[int, int] = (1, 1)  # rows and columns of their grid
    probe: Array | None = None  # (2,) m, where a way through several begins
    dwells: Dwells | None = None  # where the dwell is decided too

    def score(self, scores: Array, kind: Any) -> Array:
        """Return the scores less what each candidate costs; −∞ where it is too near.

        Args:
            scores: (m,); −∞ stays.
            kind: What they are, as `Acquisition` says.
        """
        if self.near is not None:
            scores = np.where(self.near, -np.inf, scores)
        if self.seconds is None:
            return scores
        return np.asarray(Cost(self.travel)(scores, self.seconds, kind=kind))

    def apart(self, scores: Array, chosen: NDArray[np.int64]) -> Array:
        """Return the scores with −∞ for what is too near to candidates just chosen."""
        if self.apart_m <= 0 or self.positions is None or not len(chosen):
            return scores
        away = self.positions[:, None] - self.positions[chosen]
        near = (np.linalg.norm(away, axis=-1) < self.apart_m).any(axis=1)
        return np.where(near, -np.inf, scores)

    def info(self) -> dict[str, float]:
        """Return what the journal keeps of them."""
        return {} if self.near is None else {"apart_m": self.apart_m}


def terms_of(
    said: Search,
    instrument: Instrument,
    candidates: Array,
    allowed: NDArray[np.bool_],
    measured: NDArray[np.int64],
    arguments: Mapping[str, Any],
    known: Known | None = None,
) -> Terms:
    """Return the terms of the next decision.

    Args:
        said: The configuration.
        instrument: Asked where it is and how long it takes.
        candidates: (m, 2), metres.
        allowed: Which may be measured at all, (m,).
        measured: Indices of those that were, in order.
        arguments: Of a measurement.
        known: Of the noise of the values so far, where a dwell is decided.
    """
    terms = Terms()
    closed = ~allowed
    closed[measured] = True
    if said.apart_m > 0 and measured.size and not closed.all():
        found = exclude(candidates, candidates[measured], said.apart_m, closed=closed)
        terms = terms._replace(near=found.mask, apart_m=float(found.radius_m))
    if said.travel > 0:
        seconds = seconds_of(instrument, candidates, arguments)
        terms = terms._replace(seconds=seconds, travel=said.travel)
    if said.dwell_s is not None and known is not None and measured.size:
        # from the last spot, not from where the probe is: a resumed run may be
        # elsewhere; and without the last digits, for the same reason
        way = way_s(instrument, candidates, candidates[measured[-1]]).round(9)
        spent = np.array(known.dwells, np.float64)
        dwells = Dwells(said.dwell_s, spent, known.rough, way)
        terms = terms._replace(dwells=dwells)
    return terms


def seconds_of(
    instrument: Instrument, candidates: Array, arguments: Mapping[str, Any]
) -> Array:
    """Return how long it takes to go to each candidate and measure there, (m,)."""
    own = instrument.duration({"call": "measure", "arguments": dict(arguments)})
    return way_s(instrument, candidates) + own


def way_s(
    instrument: Instrument, candidates: Array, probe: Array | None = None
) -> Array:
    """Return how long it takes to come to rest at each candidate, (m,).

    A move takes a time to settle and a time for the way: both are settled by asking
    about two moves, to where the probe is and to the farthest candidate.

    Args:
        instrument: Asked.
        candidates: (m, 2), metres.
        probe: Where the way begins, (2,), metres; None: where the probe is.
    """
    here = np.asarray(instrument.state().position, np.float64)
    way = np.linalg.norm(candidates - here, axis=1)
    farthest = int(np.argmax(way))
    still, far = (
        instrument.duration({"call": "move_to", "arguments": {"position": to.tolist()}})
        for to in (here, candidates[farthest])
    )
    pace = (far - still) / way[farthest] if way[farthest] > 0 else 0.0
    if probe is not None:
        way = np.linalg.norm(candidates - probe, axis=1)
    return np.asarray(still + pace * way)
