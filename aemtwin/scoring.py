"""Scores of a finished run against the truth of its twin.

Only here is the truth asked for, when every decision has been made. What the numbers
mean is in `aemtwin.metrics`; `aemtwin.runs` keeps them as `scores.json`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import fronts, metrics
from aemtwin.acquisition.novelty import cells_of, reached
from aemtwin.campaign import Campaign
from aemtwin.decisions import Belief, State
from aemtwin.dwells import usual_s
from aemtwin.errors import NotSupported, TruthRefused
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement
from aemtwin.record import RunRecord
from aemtwin.scalarizers import Scalarizer

log = logging.getLogger(__name__)

CHUNK = 256  # positions asked for in one call
LEVEL = 0.9  # of the intervals whose coverage is told
CELLS = 5  # along each number, into which outcomes are sorted


def true_values(
    instrument: Instrument, campaign: Campaign, scalarizer: Scalarizer
) -> NDArray[np.float64] | None:
    """Return the number sought at every candidate without noise, (m,).

    Args:
        instrument: What was measured with.
        campaign: The run.
        scalarizer: What it sought, as learned by the end.

    None where nobody knows it: a real instrument, or a twin served without truth.
    """
    tell = getattr(instrument, "truth", None)
    if tell is None:
        return None
    config, values = campaign.config, list[float]()
    dwell_s = usual_s(config, campaign.mode)
    asked: tuple[object, ...] = (config.dwell_s, config.parameters or None)
    while asked and asked[-1] is None:  # an older twin takes fewer
        asked = asked[:-1]
    try:
        for begin in range(0, len(campaign.candidates), CHUNK):
            points = campaign.candidates[begin : begin + CHUNK]
            told = tell(campaign.mode.name, points, *asked)
            values += [
                scalarizer(_spot(told, i, dwell_s, config.parameters))
                for i in range(len(points))
            ]
    except (TruthRefused, NotSupported):
        return None
    truth = np.array(values)
    truth[~np.isfinite(truth)] = np.nan  # no number there: it counts for nobody
    if np.isnan(truth).all():
        log.warning("the scalarizer finds no number in the truth; nothing is scored")
        return None
    return truth


def _spot(
    told: Measurement, i: int, dwell_s: float, parameters: Mapping[str, float]
) -> Measurement:
    """Return what `measure` would have given at spot i, without noise."""
    return replace(
        told,
        call="measure",
        arrays={name: array[i] for name, array in told.arrays.items()},
        axes=told.axes[1:],
        asked=told.asked[i],
        actual=told.actual[i],
        dwell_s=dwell_s,
        info={"mode": told.mode, "dwell_s": dwell_s, **parameters, "notices": []},
    )


def row(
    method: str,
    truth: NDArray[np.float64],
    state: State,
    belief: Belief | None,
) -> dict[str, Any]:
    """Return one line of the table: what was found, and how good the map is.

    A spot counts as found where it gave a value; `n` counts the others too.
    """
    valid = np.isfinite(np.array(state.values, np.float64))
    indices = np.array(state.indices, np.int64)[valid]
    scores: dict[str, Any] = {
        "method": method,
        "n": len(state.indices),
        "top_1_percent_found": metrics.top_fraction_found(truth, indices, 0.01),
        "regret": _number(metrics.simple_regret(truth, indices)),
        "rmse": None,
        "nlpd": None,
        "coverage_90": None,
    }
    if belief is not None:
        variance = np.maximum(belief.sd**2, np.finfo(float).tiny)
        scores |= {
            "rmse": _number(metrics.rmse(truth, belief.mean)),
            "nlpd": _number(metrics.nlpd(truth, belief.mean, variance)),
            "coverage_90": metrics.coverage(truth, belief.mean, variance, LEVEL),
        }
    return scores


def table(
    truth: NDArray[np.float64],
    methods: Mapping[str, tuple[State, Belief | None]],
    record: RunRecord,
) -> dict[str, Any]:
    """Return all scores of a run and of what it is compared with."""
    return {
        "rows": [row(name, truth, *found) for name, found in methods.items()],
        "curves": {
            name: [_number(v) for v in _curve(truth, state)]
            for name, (state, _) in methods.items()
        },
        "truth_best": float(np.nanmax(truth)),
        "units": record.value_units,
    }


def several(
    truths: NDArray[np.float64],
    methods: Mapping[str, tuple[State, Belief | None]],
    record: RunRecord,
) -> dict[str, Any]:
    """Return how much of the front, and of all outcomes, was found.

    Args:
        truths: Every true number of every candidate, (m, p); NaN where there is none.
        methods: As for `table`.
        record: Of the run.

    Returns:
        names, units; reference, (p,), and hypervolume of the truth, or None of more
        than three numbers; of each method a row, and the hypervolume over measurements.
    """
    known = truths[np.isfinite(truths).all(axis=1)]
    told: dict[str, Any] = {
        "names": [name for name, _ in record.sought],
        "units": [units for _, units in record.sought],
        "reference": None,
        "hypervolume": None,
        "curves": {},
        "rows": [],
    }
    if volume := truths.shape[1] <= fronts.MOST and len(known) > 0:
        reference = fronts.reference_of(known)
        whole = fronts.hypervolume(known, reference)
        told |= {"reference": reference.tolist(), "hypervolume": whole}
    best = {tuple(one) for one in known[fronts.pareto(known)]}
    cells = cells_of(known, CELLS)
    for name, (state, _) in methods.items():
        valid = np.isfinite(np.array(state.values, np.float64))
        indices = np.array(state.indices, np.int64)
        found = np.where(valid[:, None], truths[indices], np.nan)  # (n, p)
        whole_rows = found[np.isfinite(found).all(axis=1)]
        row: dict[str, Any] = {
            "method": name,
            "n": len(indices),
            "front_found": len(best & {tuple(one) for one in whole_rows}) / len(best),
            "outcomes_reached": reached(whole_rows, cells, known),
            "hypervolume_found": None,
        }
        if volume:
            curve = fronts.volumes(found, reference)
            told["curves"][name] = curve.tolist()
            row["hypervolume_found"] = float(curve[-1] / whole) if curve.size else 0.0
        told["rows"].append(row)
    return told


def _curve(truth: NDArray[np.float64], state: State) -> NDArray[np.float64]:
    """Return the best true value found so far, (n,); spots without one find none."""
    found = np.where(
        np.isfinite(np.array(state.values, np.float64)),
        truth[list(state.indices)],
        np.nan,
    )
    return np.asarray(np.fmax.accumulate(found), np.float64)


def _number(value: float) -> float | None:
    """Return a finite number as it is, another as None, which JSON has."""
    return float(value) if math.isfinite(value) else None
