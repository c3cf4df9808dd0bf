"""Maps over the candidates: measured values, predicted mean, uncertainty, acquisition.

All four show the same field with the same axes, in metres with a prefix, y upwards, so
that they can be laid side by side; measured values and mean share their colours. The
frame under the trajectory is in `aemtwin.plots.trajectory`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots.reading import Grid, grid, missing, points, value_limits
from aemtwin.plots.style import colour_bar, image, say, scale, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord


def measured(record: RunRecord, ax: Axes) -> None:
    """Draw the value found at every measured spot; crosses gave no valid value.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Measured values")
    if sentence := missing("measured", record):
        return say(ax, sentence)
    spots, field = points(record), grid(record)
    low, high = value_limits(record)
    factor, unit = scale([low, high], record.value_units)
    ax.set_facecolor("#efefef")
    lost = ~spots.valid
    where = spots.x * field.factor, spots.y * field.factor
    ax.scatter(
        where[0][lost], where[1][lost], marker="x", color="black", s=22, lw=1, zorder=3
    )
    drawn = ax.scatter(
        where[0][~lost],
        where[1][~lost],
        c=spots.value[~lost] * factor,
        cmap="viridis",
        vmin=low * factor,
        vmax=high * factor,
        s=34,
        edgecolors="black",
        linewidths=0.5,
        zorder=4,
    )
    colour_bar(ax, drawn, with_unit(record.value_name, unit), below=field.flat)
    frame_axes(ax, field)


def mean(record: RunRecord, ax: Axes) -> None:
    """Draw the surrogate's last predicted mean, with the measured spots.

    Args:
        record: The run.
        ax: Where to draw.
    """
    limits = value_limits(record)
    _map(record, ax, "mean", "mean", "Predicted mean", "viridis", limits)


def uncertainty(record: RunRecord, ax: Axes) -> None:
    """Draw the last predicted standard deviation, with the measured spots.

    Args:
        record: The run.
        ax: Where to draw.
    """
    _map(record, ax, "uncertainty", "sd", "Uncertainty", "cividis")


def acquisition(record: RunRecord, ax: Axes) -> None:
    """Draw the last acquisition map; its highest spot is where to measure next.

    Scores without a finite value, such as those of spots already measured, stay blank;
    the lowest twentieth shares one colour, since logarithmic scores fall without end.

    Args:
        record: The run.
        ax: Where to draw.
    """
    limits = None
    if missing("acquisition", record) is None and record.maps is not None:
        scores = np.ravel(record.maps["acquisition"])
        finite = scores[np.isfinite(scores)]
        limits = float(np.quantile(finite, 0.05)), float(finite.max())
    _map(record, ax, "acquisition", "acquisition", "Last acquisition", "magma", limits)


def _map(
    record: RunRecord,
    ax: Axes,
    kind: str,
    name: str,
    title: str,
    cmap: str,
    limits: tuple[float, float] | None = None,
) -> None:
    ax.set_title(title)
    if (sentence := missing(kind, record)) or record.maps is None:
        return say(ax, sentence or "")
    field = grid(record)
    values = np.asarray(record.maps[name], dtype=np.float64).reshape(field.shape)
    values = np.where(np.isfinite(values), values, np.nan)
    low, high = limits or (float(np.nanmin(values)), float(np.nanmax(values)))
    if kind == "acquisition":
        factor, label = 1.0, "acquisition score"
    else:
        factor, unit = scale([low, high], record.value_units)
        label = with_unit(record.value_name, unit)
    if kind == "uncertainty":
        label = f"sd of {label}"
    ax.set_facecolor("#dddddd")
    look = {"cmap": cmap, "vmin": low * factor, "vmax": high * factor}
    drawn = image(ax, field.x, field.y, values * factor, **look)
    beyond = "min" if np.nanmin(values) < low else "neither"
    colour_bar(ax, drawn, label, extend=beyond, below=field.flat)
    _spots(record, ax, field)
    if kind == "acquisition":
        _highest(ax, field, values)
    frame_axes(ax, field)


def _spots(record: RunRecord, ax: Axes, field: Grid) -> None:
    """Small dots that show on every colour."""
    spots = points(record)
    ax.scatter(
        spots.x * field.factor,
        spots.y * field.factor,
        s=9,
        facecolors="white",
        edgecolors="black",
        linewidths=0.6,
        zorder=3,
    )


def _highest(ax: Axes, field: Grid, values: NDArray[np.float64]) -> None:
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    for size, width, colour in ((150, 3.2, "black"), (140, 1.4, "white")):
        ax.scatter(
            [field.x[column]],
            [field.y[row]],
            marker="+",
            s=size,
            linewidths=width,
            color=colour,
            zorder=5,
            clip_on=False,
        )


def frame_axes(ax: Axes, field: Grid) -> None:
    """Set limits, aspect and labels of a map over the candidates."""
    for values, set_limits in ((field.x, ax.set_xlim), (field.y, ax.set_ylim)):
        step = np.ptp(values) / max(values.size - 1, 1) or 1.0
        set_limits(values.min() - step / 2, values.max() + step / 2)
    ax.set_aspect("equal", anchor="W")
    if field.aspect > 1.5:  # no room for all tick labels
        ax.locator_params(axis="x", nbins=max(2, round(6 / field.aspect)))
    ax.set_xlabel(f"x ({field.unit})")
    ax.set_ylabel(f"y ({field.unit})")
