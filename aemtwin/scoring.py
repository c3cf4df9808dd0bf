"""Scores of a finished run against the truth of its twin.

Only here is the truth asked for, when every decision has been made. What the numbers
mean is in `aemtwin.metrics`; `aemtwin.runs` keeps them as `scores.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import metrics
from aemtwin.campaign import Campaign
from aemtwin.decisions import Belief
from aemtwin.errors import NotSupported, TruthRefused
from aemtwin.instruments.protocol import Instrument
from aemtwin.record import RunRecord

CHUNK = 256  # positions asked for in one call
LEVEL = 0.9  # of the intervals whose coverage is told


def true_values(
    instrument: Instrument, campaign: Campaign
) -> NDArray[np.float64] | None:
    """Return the number sought at every candidate without noise, (m,).

    None where nobody knows it: a real instrument, or a twin served without truth.
    """
    tell = getattr(instrument, "truth", None)
    if tell is None:
        return None
    values: list[float] = []
    try:
        for begin in range(0, len(campaign.candidates), CHUNK):
            points = campaign.candidates[begin : begin + CHUNK]
            told = tell(campaign.mode.name, points)
            for i in range(len(points)):
                arrays = {name: array[i] for name, array in told.arrays.items()}
                one = replace(told, call="measure", arrays=arrays, axes=told.axes[1:])
                values.append(campaign.scalarizer(one))
    except (TruthRefused, NotSupported):
        return None
    return np.array(values)


def row(
    method: str,
    truth: NDArray[np.float64],
    indices: Sequence[int],
    belief: Belief | None,
) -> dict[str, Any]:
    """Return one line of the table: what was found, and how good the map is."""
    scores: dict[str, Any] = {
        "method": method,
        "n": len(indices),
        "top_1_percent_found": metrics.top_fraction_found(truth, indices, 0.01),
        "regret": metrics.simple_regret(truth, indices),
        "rmse": None,
        "nlpd": None,
        "coverage_90": None,
    }
    if belief is not None:
        variance = belief.sd**2
        scores |= {
            "rmse": metrics.rmse(truth, belief.mean),
            "nlpd": metrics.nlpd(truth, belief.mean, variance),
            "coverage_90": metrics.coverage(truth, belief.mean, variance, LEVEL),
        }
    return scores


def table(
    truth: NDArray[np.float64],
    methods: Mapping[str, tuple[Sequence[int], Belief | None]],
    record: RunRecord,
) -> dict[str, Any]:
    """Return all scores of a run and of what it is compared with."""
    return {
        "rows": [row(name, truth, *found) for name, found in methods.items()],
        "curves": {
            name: metrics.best_so_far(truth, indices).tolist()
            for name, (indices, _) in methods.items()
        },
        "truth_best": float(np.nanmax(truth)),
        "units": record.value_units,
    }
