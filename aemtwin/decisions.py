"""What the loop passes from one step to the next: state, belief, decision.

`aemtwin.campaign` makes them; `aemtwin.scoring` and the screen read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class State:
    """What the next decision depends on."""

    indices: tuple[int, ...] = ()  # candidates measured, in order
    values: tuple[float, ...] = ()  # the number found at each; NaN where there is none
    learned: Any = None  # the surrogate's own state

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


@dataclass(frozen=True, eq=False)
class Decision:
    """Where to measure next, and why."""

    seq_num: int
    index: int
    position: NDArray[np.float64]  # (2,) m
    phase: str  # "first" or "search"
    belief: Belief | None = None
    timings: dict[str, float] = field(default_factory=dict)
