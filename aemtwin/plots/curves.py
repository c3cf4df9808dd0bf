"""Curves of a run: best and worst spectra, the learning curve, the time of each step.

The maps of the same run are in `aemtwin.plots.maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots.reading import missing, points
from aemtwin.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    quantity,
    say,
    scale,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord

PARTS = (
    ("measure_s", "measure", BLUE),
    ("move_s", "move", SKY),
    ("fit_s", "fit", ORANGE),
    ("decide_s", "decide", PURPLE),
)

PEAK = 50.0  # times the median, from which a peak flattens the rest of a spectrum


def spectra(record: RunRecord, ax: Axes) -> None:
    """Draw the spectra, or loops, with the highest and the lowest valid value.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Best and worst measured")
    if sentence := missing("spectra", record):
        return say(ax, sentence)
    spots = points(record)
    chosen = [("best", spots.best, BLUE)]
    if spots.worst != spots.best:
        chosen.append(("worst", spots.worst, VERMILLION))
    found = [(w, i, c, record.spectrum(i)) for w, i, c in chosen if i is not None]
    axis = found[0][3].axes[-1]
    arrays = [np.squeeze(np.asarray(one.values)) for *_, one in found]
    if any(values.shape != (len(axis.values),) for values in arrays):
        return say(ax, "These measurements are not spectra of one axis.")
    if complex_valued := any(np.iscomplexobj(values) for values in arrays):
        arrays = [np.abs(values) for values in arrays]
    name, units = _main(found[0][3])
    x_factor, x_unit = scale(axis.values, axis.units)
    y_factor, y_unit = scale(np.concatenate(arrays), units)
    x = np.asarray(axis.values, dtype=np.float64) * x_factor
    turns = np.ptp(np.sign(np.diff(x))) > 0 if x.size > 2 else False
    for (word, index, colour, _), values in zip(found, arrays, strict=True):
        close = (lambda a: np.append(a, a[0])) if turns else np.asarray
        value = quantity(spots.value[index], record.value_units)
        ax.plot(
            close(x),
            close(values) * y_factor,
            color=colour,
            lw=1.4,
            ls="-" if word == "best" else "--",
            marker="." if x.size <= 80 else "",
            ms=4,
            label=f"{word}: measurement {index + 1}, {value}",
        )
    ax.set_xlabel(with_unit(axis.quantity or axis.name, x_unit))
    ax.set_ylabel(with_unit(f"|{name}|" if complex_valued else name, y_unit))
    dwarfed(ax, np.concatenate(arrays) * y_factor)
    ax.grid(color="0.9", lw=0.6)
    key_below(ax, columns=1)


def dwarfed(ax: Axes, values: NDArray[np.float64]) -> None:
    """Take a logarithmic axis where one peak would flatten all the rest."""
    above = values[values > 0]
    if values.min() >= 0 and above.size and values.max() > PEAK * np.median(above):
        ax.set_yscale("log", nonpositive="mask")
        ax.set_ylim(float(np.quantile(above, 0.01)) / 1.5, float(values.max()) * 2)


def learning_curve(record: RunRecord, ax: Axes) -> None:
    """Draw the best true value found so far, of the run and of random measurements.

    Without a truth (a real instrument has none) it is the best measured value.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Learning curve")
    if sentence := missing("learning_curve", record):
        return say(ax, sentence)
    spots, scores = points(record), record.scores
    if scores and scores.get("curves"):
        curves = {k: np.asarray(v, np.float64) for k, v in scores["curves"].items()}
        units, what = scores.get("units") or record.value_units, "best true"
        highest = scores.get("truth_best")
    else:
        measured = np.fmax.accumulate(spots.value)
        curves, units, what = (
            {"this run": measured},
            record.value_units,
            "best measured",
        )
        highest = None
    levels = np.concatenate([*curves.values(), [] if highest is None else [highest]])
    factor, unit = scale(levels, units)
    if highest is not None:
        top = quantity(highest, units)
        ax.axhline(
            highest * factor,
            color=GREEN,
            lw=1.2,
            ls="--",
            zorder=3,
            label=f"highest there is, {top}",
        )
    for (name, curve), colour in zip(
        curves.items(), _colours(list(curves)), strict=True
    ):
        ax.step(
            np.arange(1, curve.size + 1),
            curve * factor,
            where="post",
            color=colour,
            lw=2.0 if colour == BLUE else 1.4,
            label=name,
        )
    if 0 < spots.first < spots.x.size:
        ax.axvspan(
            0.5, spots.first + 0.5, color="0.93", lw=0, label="before the search"
        )
    longest = max(curve.size for curve in curves.values())
    ax.set_xlim(0.5, longest + 0.5)
    whole_numbers(ax)
    ax.set_xlabel("measurements")
    ax.set_ylabel(on_two_lines(with_unit(f"{what} {record.value_name}", unit)))
    ax.grid(color="0.85", lw=0.6)
    key_below(ax, columns=2)


def step_times(record: RunRecord, ax: Axes) -> None:
    """Draw where the time of each step went, stacked; a step far above is cut off.

    Steps that wait for a compilation take many times as long as the others, so the axis
    ends a little above what nine steps in ten take; a cut-off one has its total on top.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Time of each step")
    if sentence := missing("step_times", record):
        return say(ax, sentence)
    parts = np.array(
        [[_seconds(e["timings"].get(k)) for k, *_ in PARTS] for e in record.events]
    )  # (n, 4) s
    totals = parts.sum(axis=1)
    usual = float(np.quantile(totals, 0.9)) if totals.size else 0.0
    top = float(totals.max())
    limit = 1.6 * usual if top > 3 * usual > 0 else 1.08 * top
    factor, unit = scale([limit], "s")
    steps, below = np.arange(1, len(totals) + 1), np.zeros(len(totals))
    for (_, word, colour), part in zip(PARTS, parts.T, strict=True):
        ax.bar(
            steps,
            part * factor,
            bottom=below * factor,
            width=0.86,
            color=colour,
            label=f"{word}, {_usual(part)}",
        )
        below = below + part
    ax.set_xlim(0.4, len(totals) + 0.6)
    ax.set_ylim(0, limit * factor or 1)
    _cut_off(ax, steps, totals, limit)
    whole_numbers(ax)
    ax.set_xlabel("step")
    ax.set_ylabel(with_unit("time", unit))
    ax.grid(axis="y", color="0.85", lw=0.6)
    key_below(ax, columns=4, title="median of each part, where it took place")


def usual_times(record: RunRecord) -> dict[str, float]:
    """Return the median of each of `PARTS`, seconds, over the steps that had it."""
    found = {}
    for key, *_ in PARTS:
        spent = [_seconds(event["timings"].get(key)) for event in record.events]
        if took := [seconds for seconds in spent if seconds > 0]:
            found[key] = float(np.median(took))
    return found


def _usual(part: NDArray[np.float64]) -> str:
    """Median of the steps that had this part; the first points are not fitted."""
    took = part[part > 0]
    return quantity(float(np.median(took)), "s", 3) if took.size else "none"


def _cut_off(
    ax: Axes, steps: NDArray[np.intp], totals: NDArray[np.float64], limit: float
) -> None:
    for step in steps[totals > limit]:
        ax.annotate(
            quantity(totals[step - 1], "s", 3),
            xy=(step, 0.985),
            xycoords=("data", "axes fraction"),
            xytext=(7, 0),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="top",
            fontsize=7.5,
        )


def on_two_lines(label: str, most: int = 32) -> str:
    """Return a label with its unit below it, where both are too long for one line.

    >>> on_two_lines("best true band intensity (10³ counts·eV)")
    'best true band intensity\\n(10³ counts·eV)'
    """
    return label.replace(" (", "\n(", 1) if len(label) > most else label


def whole_numbers(ax: Axes) -> None:
    """Put ticks at whole numbers of measurements alone."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def key_below(ax: Axes, columns: int, title: str | None = None) -> None:
    """Put the key below the axis label, where it hides no curve."""
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=columns,
        title=title,
        title_fontsize=8.5,
        columnspacing=1.2,
        handlelength=1.6,
    )


def _colours(names: list[str]) -> list[str]:
    """Grey for random, blue for the first other one."""
    others = iter((BLUE, VERMILLION, PURPLE, ORANGE, SKY) * len(names))
    return [GREY if name == "random" else next(others) for name in names]


def _main(measurement: Any) -> tuple[str, str]:
    """Quantity and unit of the main array, as far as they are told."""
    name = getattr(measurement, "name", "signal")
    quantities = getattr(measurement, "quantities", {})
    units = getattr(measurement, "units", {})
    return quantities.get(name) or name, units.get(name, "")


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
