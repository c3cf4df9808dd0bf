"""A run and its pictures in words: the result, the facts, titles, captions, contents.

For the report, the page and the command line, and for readers who do not see the
pictures: `alt` tells the content of one picture from the same numbers that are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from aemtwin.plots.reading import Array, missing, points
from aemtwin.plots.style import quantity

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

TITLES = {
    "overview": "Overview and trajectory",
    "measured": "Measured values",
    "mean": "Predicted mean",
    "uncertainty": "Uncertainty",
    "acquisition": "Last acquisition",
    "spectra": "Best and worst spectra",
    "learning_curve": "Learning curve",
    "step_times": "Step times",
}

CAPTIONS = {
    "overview": "The frame taken before the search and the way of the probe over it. "
    "The last ten measurements are numbered in the order they were made.",
    "measured": "The value found at every spot; a cross gave no valid value. Colours "
    "are those of the predicted mean.",
    "mean": "What the surrogate expects at every candidate, with the measured spots.",
    "uncertainty": "One standard deviation of that prediction.",
    "acquisition": "The score by which the next spot is chosen; the cross has the "
    "highest. The lowest twentieth shares one colour.",
    "spectra": "The measurements with the highest and the lowest value.",
    "learning_curve": "The best value found against the number of measurements.",
    "step_times": "Wall-clock time of each step. A bar that is cut off at the top has "
    "its total beside it; most such steps wait for a compilation.",
}


def caption(kind: str, record: RunRecord) -> str:
    """Return what stands below a picture of a run."""
    if kind == "overview" and record.overview is None:
        return (
            "The way of the probe over the field. No frame was taken first: there is "
            "no image that was recorded beside the spectra. The last ten measurements "
            "are numbered in the order they were made."
        )
    return CAPTIONS[kind]


def place(x: float, y: float) -> str:
    """Return a position as a text.

    >>> place(4.12e-7, 1.5e-6)
    'x = 0.412 µm, y = 1.5 µm'
    """
    return ", ".join(
        f"{name} = {quantity(value, 'm', like=[x, y])}"
        for name, value in (("x", x), ("y", y))
    )


def alt(kind: str, record: RunRecord) -> str:
    """Return what a picture of a run shows, as a text.

    Args:
        kind: One of `aemtwin.plots.KINDS`.
        record: The run.
    """
    if sentence := missing(kind, record):
        return sentence
    spots, count = points(record), len(record.events)
    name, units = record.value_name.replace("_", " "), record.value_units
    if kind == "overview":
        frame = record.overview
        under = "an empty field" if frame is None else f"a frame of {frame['channel']}"
        text = f"Map of {under} with the path of the probe over {count} measurements"
        if spots.best is None:
            return text + "."
        return f"{text}; the best lies at {place(*_spot(record, spots.best))}."
    if kind == "measured":
        lost = int(np.sum(~spots.valid))
        return (
            f"Map of {count} measured spots coloured by {name}, "
            f"{_range(spots.value, units)}; {lost} gave no valid value."
        )
    if kind in ("mean", "uncertainty", "acquisition") and record.maps is not None:
        values = np.ravel(record.maps["sd" if kind == "uncertainty" else kind])
        title = TITLES[kind].lower()
        what = "scores" if kind == "acquisition" else f"{title} of {name}"
        most = place(*record.candidates[np.nanargmax(_finite(values))])
        unit = "" if kind == "acquisition" else units
        return f"Map of the {what}, {_range(values, unit)}, highest at {most}."
    if kind == "spectra" and spots.best is not None and spots.worst is not None:
        best, worst = (
            quantity(spots.value[i], units) for i in (spots.best, spots.worst)
        )
        return f"Two curves: the best measurement, {best}, and the worst, {worst}."
    if kind == "learning_curve":
        curves = (record.scores or {}).get("curves") or {"this run": spots.value}
        ends = [
            f"{label} reaches {quantity(float(np.nanmax(curve)), units)}"
            for label, curve in curves.items()
        ]
        return f"Best {name} found over {count} measurements: {', '.join(ends)}."
    return f"Stacked bars of the time of {count} steps: measure, move, fit and decide."


def device(record: RunRecord) -> str:
    """Return what a run was measured on, as the end of a sentence."""
    spec = record.start.get("instrument", {})
    identity = spec.get("identity", {})
    name, kind = spec.get("name", "unnamed"), str(spec.get("kind", "")).upper()
    has_data = any(key.endswith("sha256") for key in identity)
    if not identity.get("twin", has_data):
        return f"the instrument {name} ({kind})"
    chance = "ideal" if identity.get("ideal") else f"seed {identity.get('seed', 0)}"
    return f"the digital twin {name} ({kind}, {chance})"


def headline(record: RunRecord) -> str:
    """Return the result of a run in one line."""
    spots = points(record)
    if (best := spots.best) is None:
        return "No valid measurement"
    name = record.value_name.replace("_", " ")
    value = quantity(float(spots.value[best]), record.value_units)
    return f"Best {name}: {value} at {place(*_spot(record, best))}"


def status(record: RunRecord) -> str:
    """Return how a run ended, as a sentence; "" if it ended well."""
    if record.stop is None:
        return "This run has no end on record: it goes on, or was cut off."
    words = {"abort": "was aborted", "fail": "failed"}
    word = words.get(record.stop["exit_status"], "")
    reason = str(record.stop.get("reason") or "no reason was given")
    return f"This run {word}: {reason.rstrip('.')}." if word else ""


def facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Give the numbers that belong under the headline: a label and a value each."""
    spots, units = points(record), record.value_units
    best, scores = spots.best, record.scores
    if scores and best is not None and record.truth is not None:
        top, row = float(scores["truth_best"]), (scores.get("rows") or [{}])[0]
        there = float(record.truth[record.events[best]["data"]["index"]])
        yield "truth at that spot", quantity(there, units)
        yield "highest there is", quantity(top, units)
        yield "regret", quantity(number(row.get("regret")), units, 3, like=[top])
        yield "top 1 % found", percent(row.get("top_1_percent_found"))
    else:
        yield "truth", "not known"
    if best is not None:
        yield "best found by", f"measurement {best + 1} of {len(record.events)}"
    invalid = int((~spots.valid).sum())
    yield "measurements", f"{len(record.events)}, {invalid or 'none'} invalid"
    began, ended = record.start.get("time"), (record.stop or {}).get("time")
    if began is not None:
        when = datetime.fromtimestamp(float(began), UTC)
        yield "began", f"{when:%Y-%m-%d %H:%M} UTC"
        if ended is not None:
            yield "took", duration(float(ended) - float(began))


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(3.21), duration(61.5), duration(7260)
    ('3.21 s', '1 min 2 s', '2 h 1 min')
    """
    if seconds < 60:
        return quantity(seconds, "s", 3)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def percent(share: object) -> str:
    """Return a share as a text; what is no number is a dash.

    >>> percent(0.875), percent(None)
    ('87.5 %', '–')
    """
    value = number(share)
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def number(value: object) -> float:
    """Return a number from a document as a float; what is none is NaN."""
    return float(value) if isinstance(value, (int, float)) else math.nan


def _spot(record: RunRecord, index: int) -> tuple[float, float]:
    spots = points(record)
    return float(spots.x[index]), float(spots.y[index])


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _range(values: Array, units: str) -> str:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return "without a finite value"
    low, high = (quantity(float(v), units) for v in (finite.min(), finite.max()))
    return f"from {low} to {high}"
