"""The pictures of a run in words: titles, captions, and what each of them shows.

For the report, the page and the command line, and for readers who do not see the
pictures: `alt` tells the content of one picture from the same numbers that are drawn.
The run as a whole is told in `aemtwin.plots.story`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aemtwin.plots.coverage import Coverage, coverages
from aemtwin.plots.latent import shown
from aemtwin.plots.reading import (
    Array,
    dose_units,
    doses,
    frame_dose,
    missing,
    points,
)
from aemtwin.plots.style import quantity

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

TITLES = {
    "overview": "Overview and trajectory",
    "measured": "Measured values",
    "mean": "Predicted mean",
    "uncertainty": "Uncertainty",
    "acquisition": "Last acquisition",
    "latent": "Latent space",
    "dose": "Dose",
    "spectra": "Best and worst spectra",
    "learning_curve": "Learning curve",
    "front": "Front",
    "hypervolume": "Hypervolume",
    "calibration": "Calibration",
    "step_times": "Step times",
}

CAPTIONS = {
    "overview": "The frame taken before the search and the way of the probe over it. "
    "The last measurements are numbered in the order they were made.",
    "measured": "The value found at every spot; a cross gave no valid value. Colours "
    "are those of the predicted mean.",
    "mean": "What the surrogate expects at every candidate, with the measured spots.",
    "uncertainty": "One standard deviation of that prediction.",
    "acquisition": "The score by which the next spot is chosen; the cross has the "
    "highest. The lowest twentieth shares one colour.",
    "latent": "Where the surrogate puts the candidates in the space that it learned: "
    "close together are those it takes for alike. Black rings were measured.",
    "dose": "Dose of the first frame and of the spectra, counted per area of a "
    "candidate's cell; right beneath the probe it was more.",
    "spectra": "The measurements with the highest and the lowest value; the axis is "
    "logarithmic where one peak would flatten the rest.",
    "learning_curve": "The best value found against the number of measurements.",
    "front": "The numbers sought against each other, noise included. Ringed ones are "
    "the front: no other measurement is at least as high in all and higher in one.",
    "hypervolume": "What the numbers found so far dominate above the reference; where "
    "the truth is known, their true values, in per cent of what all candidates do.",
    "calibration": "How much the central intervals of the prediction hold, against "
    "what they claim; the dashed diagonal is calibrated.",
    "step_times": "Wall-clock time of each step. A bar that is cut off at the top has "
    "its total beside it; most such steps wait for a compilation.",
}


def caption(kind: str, record: RunRecord) -> str:
    """Return what stands below a picture of a run."""
    text = CAPTIONS[kind]
    if kind == "overview" and record.overview is None:
        return (
            "The way of the probe over the field. No frame was taken first: there is "
            "no image that was recorded beside the spectra. The last measurements are "
            "numbered in the order they were made."
        )
    if missing(kind, record) is not None:
        return text
    if kind == "latent" and record.maps is not None:
        return f"{text} {_dimensions(record.maps['latent'])}".strip()
    if kind == "calibration":
        return f"{text} {_chance(coverages(record)[0])}"
    if kind == "dose":
        return f"{text} {_exposure(record)}"
    return text


def _dimensions(space: Array) -> str:
    if space.shape[1] == 1:
        return "It has one dimension, drawn against the predicted mean."
    if space.shape[1] == 2:
        return ""
    first, second = (k + 1 for k in shown(space))
    return (
        f"Of its {space.shape[1]} dimensions, {first} and {second} are drawn, in which "
        "the candidates vary most."
    )


def _chance(curve: Coverage) -> str:
    if not curve.ahead:
        return (
            f"Counted over the {curve.spots} candidates whose truth is known. "
            "Neighbours err together, so no band of chance is drawn: one for as many "
            "independent spots would be far too narrow."
        )
    noise = (
        "with the noise that the fit had found"
        if curve.noisy
        else "without measurement noise, which the surrogate does not tell"
    )
    return (
        f"No truth is known, so each of the {curve.spots} measurements of the search "
        f"was held against its prediction just before it was made, {noise}. They are "
        "spots that the search chose, which is a harder test than spots at random, "
        "and few: chance alone moves this curve."
    )


def _exposure(record: RunRecord) -> str:
    units, spots, frame = dose_units(record), doses(record), frame_dose(record)
    total = float(spots.sum()) + frame
    return (
        f"In all {quantity(total, units)}, {percent(frame / total)} of it by the frame."
    )


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
    if kind == "latent":
        return (
            f"Scatter plot of {len(record.candidates)} candidates in latent space, "
            f"coloured by predicted mean of {name}, with {count} measured ones ringed."
        )
    if kind == "dose":
        return f"Map of the dose over the candidates. {_exposure(record)}"
    if kind == "calibration":
        ends = [
            f"{one.label} {percent(one.at_90)} of {one.spots}"
            for one in coverages(record)
        ]
        return f"Curves of coverage; 90 % intervals hold: {', '.join(ends)}."
    if kind == "spectra" and spots.best is not None and spots.worst is not None:
        best, worst = (
            quantity(spots.value[i], units) for i in (spots.best, spots.worst)
        )
        return f"Two curves: the best measurement, {best}, and the worst, {worst}."
    if kind == "front":
        first, second = (one.replace("_", " ") for one, _ in record.sought[:2])
        return f"{second} against {first} of {count} measurements, the front ringed."
    if kind == "hypervolume":
        return f"Hypervolume of the front found, over {count} measurements."
    if kind == "learning_curve":
        curves = (record.scores or {}).get("curves") or {"this run": spots.value}
        ends = [
            f"{label} reaches {quantity(float(np.nanmax(curve)), units)}"
            for label, curve in curves.items()
        ]
        return f"Best {name} found over {count} measurements: {', '.join(ends)}."
    return f"Stacked bars of the time of {count} steps: measure, move, fit and decide."


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
