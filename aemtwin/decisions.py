"""What the loop passes from one step to the next: state, belief, decision, event.

`aemtwin.campaign` makes them; `aemtwin.scoring` and the screen read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.measurement import Measurement
from aemtwin.scalarizers import Scalarizer

if TYPE_CHECKING:
    from aemtwin.acquisition.stopping import Verdict


class Known(NamedTuple):
    """What is known of the noise of the values."""

    sds: tuple[float, ...] = ()  # said of each, unit of the value; NaN: nothing
    dwells: tuple[float, ...] = ()  # s, of each, where that is decided
    rough: float = 0.0  # sd of a value after one second; 0: nothing believed yet


class Others(NamedTuple):
    """What is sought beside the first number, p − 1 of them."""

    values: tuple[tuple[float, ...], ...] = ()  # (n, p − 1); NaN where the first is
    scalarizers: tuple[Scalarizer, ...] = ()  # as learned so far


class OtherMaps(NamedTuple):
    """What is believed of those numbers everywhere, each in its unit."""

    mean: NDArray[np.float64]  # (p − 1, m)
    sd: NDArray[np.float64]  # (p − 1, m), of the latent values


@dataclass(frozen=True)
class State:
    """What the next decision depends on."""

    indices: tuple[int, ...] = ()  # candidates measured, in order
    values: tuple[float, ...] = ()  # the number found at each; NaN where there is none
    learned: Any = None  # the surrogate's own state
    scalarizer: Scalarizer | None = None  # as learned so far, where it learns
    pending: tuple[int, ...] = ()  # candidates decided on and not yet measured
    known: Known = field(default_factory=Known)
    others: Others = field(default_factory=Others)  # none where one number is sought

    @property
    def seq_num(self) -> int:
        """The number of the next measurement, from 1."""
        return len(self.indices) + 1


@dataclass(frozen=True, eq=False)
class Belief:
    """What the surrogate holds of every candidate, and how attractive each is."""

    mean: NDArray[np.float64]  # (m,), unit of the scalarizer
    sd: NDArray[np.float64]  # (m,), of the latent value, same unit
    scores: NDArray[np.float64]  # (m,), acquisition; -inf where measured
    learned: Any
    info: Mapping[str, Any]
    fit_s: float
    batch: tuple[int, ...] = ()  # candidates to measure next; none where none is left
    latent: NDArray[np.float64] | None = None  # (m, k), where the surrogate has one
    pool: Any = None  # what the next belief may go on from, and use up
    verdict: Verdict | None = None  # of the stopping rule
    dwell_s: NDArray[np.float64] | None = None  # (m,), where that is decided
    others: OtherMaps | None = None  # where several numbers are sought


@dataclass(frozen=True, eq=False)
class Decision:
    """Where to measure next, and why."""

    seq_num: int
    index: int
    position: NDArray[np.float64]  # (2,) m
    phase: str  # "first" or "search"
    belief: Belief | None = None
    timings: dict[str, float] = field(default_factory=dict)
    dwell_s: float | None = None  # how long; None: as the instrument usually does

    @property
    def ends(self) -> str:
        """Why there is nothing more to measure, by the stopping rule; "" otherwise."""
        verdict = None if self.belief is None else self.belief.verdict
        return verdict.why if verdict is not None and verdict.stop else ""


@dataclass(frozen=True)
class Failure:
    """A spot at which the instrument failed twice, would not, or nobody knows."""

    rid: str  # of the last attempt
    reason: str  # what the instrument said
    time_s: float  # on the instrument's clock
    refused: bool = False  # it would not: the place has had its dose


def event_data(
    decision: Decision, measured: Measurement | Failure, value: float, notices: str
) -> dict[str, Any]:
    """Return what the journal keeps of one measurement (`documents.DATA_KEYS`)."""
    belief = decision.belief
    score = math.nan if belief is None else float(belief.scores[decision.index])
    data: dict[str, Any] = {
        "index": decision.index,
        "x": float(decision.position[0]),
        "y": float(decision.position[1]),
        "actual_x": float(decision.position[0]),
        "actual_y": float(decision.position[1]),
        "value": value if math.isfinite(value) else None,
        "valid": math.isfinite(value),
        "failed": isinstance(measured, Failure),
        "phase": decision.phase,
        "acquisition": score if math.isfinite(score) else None,
        "rid": measured.rid,
        "notices": notices,
        "info": json.dumps({} if belief is None else dict(belief.info)),
        "dose": 0.0,
        **{"total_s": 0.0, **decision.timings},
    }
    if isinstance(measured, Failure):
        return {**data, "instrument_time_s": measured.time_s}
    return {
        **data,
        "actual_x": float(measured.actual[0]),
        "actual_y": float(measured.actual[1]),
        "instrument_time_s": measured.time_s[1],
        "dose": measured.dose,
    }
