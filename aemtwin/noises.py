"""What a run keeps of the noise of its values: what is said of it, and each dwell.

`aemtwin.campaign` asks here how long to measure, and what to write of it; how a dwell
is chosen is in `aemtwin.dwells`, and what a number made of counts says of itself in
`aemtwin.scalarizers.poisson`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.config import CampaignConfig
from aemtwin.decisions import Belief, Decision, Known
from aemtwin.dwells import ROUGH, require_decidable, usual_s
from aemtwin.instruments.protocol import Instrument
from aemtwin.scalarizers import Scalarizer
from aemtwin.specs import Mode
from aemtwin.surrogates.base import Surrogate


class Noises:
    """How long to measure, and what is known of what comes of it.

    Args:
        config: Of the run.
        instrument: Asked whether it takes the dwells.
        mode: Measured.
        surrogate: What learns.
        acquire: What scores.
        scalarizer: What is sought.

    Raises:
        BadConfig: If a dwell is to be decided and cannot be.
    """

    def __init__(
        self,
        config: CampaignConfig,
        instrument: Instrument,
        mode: Mode,
        surrogate: Surrogate,
        acquire: Acquisition | Policy,
        scalarizer: Scalarizer,
    ) -> None:
        require_decidable(config, instrument, mode, surrogate, acquire)
        self.decides = config.search.dwell_s is not None
        self._asked_s = usual_s(config, mode) if self.decides else config.dwell_s
        self.counts = mode.counts and not instrument.describe().identity.get("ideal")
        # the dwell to which counts are scaled where they are not of one dwell
        self.per_s = self._asked_s if self.decides and mode.counts else None
        told = scalarizer.spread(counts=self.counts) is not None
        self.keys = ("sd",) * told + ("dwell_s",) * self.decides  # of an event

    def dwell_s(self, belief: Belief | None, index: int) -> float | None:
        """Return how long to measure a candidate; None: as the instrument usually does.

        First points, and those decided on without a belief, are measured as asked.
        """
        if belief is None or belief.dwell_s is None:
            return self._asked_s
        return float(belief.dwell_s[index])

    def after(self, known: Known, decision: Decision, sd: float) -> Known:
        """Return what is known with one more measurement; `sd` of it, or NaN."""
        rough = known.rough
        if decision.belief is not None:
            rough = float(decision.belief.info.get(ROUGH, rough))
        here = (decision.dwell_s,) if decision.dwell_s and self.decides else ()
        return Known((*known.sds, sd), (*known.dwells, *here), rough)

    def data(self, known: Known) -> dict[str, float | None]:
        """Return what the journal keeps of the last measurement, besides the rest."""
        told: dict[str, float | None] = {}
        if "sd" in self.keys:
            told["sd"] = known.sds[-1] if math.isfinite(known.sds[-1]) else None
        if self.decides:
            told["dwell_s"] = known.dwells[-1]
        return told

    def read(self, events: Sequence[Mapping[str, Any]]) -> Known:
        """Return what is known after these recorded events, as `after` made it."""
        rows = [event["data"] for event in events]
        sds = (row.get("sd") for row in rows)
        rough = [row["info"][ROUGH] for row in rows if ROUGH in row["info"]]
        return Known(
            tuple(math.nan if sd is None else float(sd) for sd in sds),
            tuple(float(row["dwell_s"]) for row in rows) if self.decides else (),
            float(rough[-1]) if rough else 0.0,
        )
