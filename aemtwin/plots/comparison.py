"""Pictures of several runs together: learning curves, calibration, predicted means.

Each draws methods, as `aemtwin.plots.groups` finds them: one line for a single run, the
median and the band from the 16th to the 84th percentile for several.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin.plots.calibration import calibration_axes
from aemtwin.plots.comparability import incomparable
from aemtwin.plots.coverage import LEVELS, coverages
from aemtwin.plots.curves import key_below, on_two_lines, whole_numbers
from aemtwin.plots.front import volume_axes
from aemtwin.plots.groups import Array, Method, all_scored
from aemtwin.plots.maps import frame_axes
from aemtwin.plots.reading import grid, missing, points
from aemtwin.plots.several import volumes_together
from aemtwin.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    drawing,
    image,
    quantity,
    scale,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aemtwin.record import RunRecord

COLOURS = BLUE, VERMILLION, PURPLE, ORANGE, SKY  # of methods; green is the highest
DASHES: tuple[Any, ...] = "-", "--", ":", "-."
SHORT = 30  # letters of a label, two of which fit beside each other
WRAP = 58  # letters of a label on one line below a curve
MOST = 11  # maps side by side
BAND = 0.16, 0.84


def learning_curves(methods: Sequence[Method]) -> Figure:
    """Draw the best value found so far of every method, random ones in grey.

    Args:
        methods: All in one unit.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    methods = _once(methods)
    records = [record for one in methods for record in one.runs]
    units, scored = records[0].value_units, all_scored(records)
    tops = {float((r.scores or {}).get("truth_best", np.nan)) for r in records}
    top = tops.pop() if scored and len(tops) == 1 else None
    levels = [curve for one in methods for curve in one.curves]
    factor, unit = scale(np.concatenate([*levels, [top or 0.0]]), units)
    columns = 1 if max(len(one.label) for one in methods) > SHORT else 2
    lines = (len(methods) + columns) // columns
    with drawing(7.6, 3.6 + 0.2 * lines) as figure:
        ax = figure.add_subplot()
        ax.set_title("Learning curves")
        if top is not None:
            ax.axhline(
                top * factor,
                color=GREEN,
                lw=1.4,
                ls=(0, (5, 2)),
                label=f"highest there is, {quantity(top, units)}",
            )
        for one, look in zip(methods, _looks(methods), strict=True):
            if any(curve.size for curve in one.curves):
                _line(ax, _even(one.curves) * factor, one, look, step=True)
        longest = max((curve.size for curve in levels), default=1)
        ax.set_xlim(0.5, longest + 0.5)
        whole_numbers(ax)
        ax.set_xlabel("measurements")
        what = "best true" if scored else "best measured"
        name = with_unit(f"{what} {records[0].value_name}", unit)
        ax.set_ylabel(on_two_lines(name))
        ax.grid(color="0.85", lw=0.6)
        key_below(ax, columns=columns)
    return figure


def hypervolumes(methods: Sequence[Method]) -> Figure | None:
    """Draw the hypervolume that every method found; None where they do not compare.

    With the truth it is in per cent of that of all candidates; otherwise it is that of
    what was measured, from one reference below all of it.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    methods = _once(methods)
    curves, whole = volumes_together(methods)
    if not curves or incomparable([run for one in methods for run in one.runs]):
        return None
    with drawing(7.6, 3.8 + 0.2 * len(methods)) as figure:
        ax = figure.add_subplot()
        ax.set_title("Hypervolume")
        for one, own, look in zip(methods, curves, _looks(methods), strict=True):
            if any(curve.size for curve in own):
                _line(ax, _even(own), one, look, step=True)
        volume_axes(ax, whole)
        key_below(ax, columns=1)
    return figure


def calibrations(methods: Sequence[Method]) -> Figure | None:
    """Draw the coverage of every method's intervals; None where none is known.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    own = [one for one in methods if not one.baseline]
    found = []
    for one, look in zip(own, _looks(own), strict=True):
        curves = [c[0].covered for r in one.runs if (c := coverages(r, alone=True))]
        if curves:
            found.append((one, look, np.array(curves)))
    if not found:
        return None
    with drawing(4.8, 4.6 + 0.17 * len(found)) as figure:
        ax = figure.add_subplot()
        ax.set_title("Calibration")
        for one, look, covered in found:
            _line(ax, 100 * covered, one, look, x=100 * LEVELS)
        calibration_axes(ax)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), handlelength=1.6)
    return figure


def mean_maps(methods: Sequence[Method], truth: Array | None = None) -> Figure | None:
    """Draw the predicted means side by side on one scale of colours.

    Args:
        methods: All in one unit; of each its first run, up to `MOST`.
        truth: True values, (m,), where all runs share them; drawn first.

    Returns:
        The figure; None where no run has a map.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    panels: list[tuple[str, RunRecord, Array, bool]] = []
    for one in methods:
        record = one.runs[0]
        if one.baseline or missing("mean", record) or record.maps is None:
            continue
        if truth is not None and not panels:
            panels.append(("the truth", record, truth, False))
        mean = np.asarray(record.maps["mean"], dtype=np.float64)
        panels.append((one.label, record, mean, True))
    if not panels:
        return None
    panels = panels[: MOST + 1]
    together = np.concatenate([values for _, _, values, _ in panels])
    low, high = float(np.nanmin(together)), float(np.nanmax(together))
    factor, unit = scale([low, high], panels[0][1].value_units)
    aspect = float(np.clip(grid(panels[0][1]).aspect, 0.3, 3.0))
    rows = -(-len(panels) // (6 if aspect > 1.6 else 4))
    columns = -(-len(panels) // rows)
    side = 2.5 if aspect <= 1 else 2.5 / aspect**0.5
    width, height = columns * (side + 0.35) + 1.0, rows * (side * aspect + 0.6) + 0.3
    with drawing(width, height) as figure:
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat[len(panels) :]:
            ax.remove()
        for i, (label, record, values, spots) in enumerate(panels):
            ax = axes.flat[i]
            field = grid(record)
            drawn = image(
                ax,
                field.x,
                field.y,
                values.reshape(field.shape) * factor,
                cmap="viridis",
                vmin=low * factor,
                vmax=high * factor,
            )
            if spots:
                _spots(ax, record, field.factor)
            frame_axes(ax, field)
            if i + columns < len(panels):  # another one is below
                ax.set_xlabel("")
            if i % columns:
                ax.set_ylabel("")
            ax.set_title(textwrap.fill(label, 26), fontsize=9.5)
        name = with_unit(panels[0][1].value_name, unit)
        figure.colorbar(
            drawn, ax=axes.flat[: len(panels)], label=name, shrink=0.85, aspect=30
        )
    return figure


def _once(methods: Sequence[Method]) -> list[Method]:
    """Leave out random runs that measured what others did, for another map."""
    kept: list[Method] = []
    seen: set[bytes] = set()
    for one in methods:
        measured = b"".join(sorted(curve.tobytes() for curve in one.curves))
        if not one.baseline:
            kept.append(one)
        elif measured not in seen:
            kept.append(one._replace(label=re.sub(", map by [^,]*", "", one.label)))
            seen.add(measured)
    return kept


def _spots(ax: Axes, record: RunRecord, factor: float) -> None:
    spots = points(record)
    look: Any = {"facecolors": "white", "edgecolors": "black", "linewidths": 0.5}
    ax.scatter(spots.x * factor, spots.y * factor, s=7, zorder=3, **look)


def _looks(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Colours and dashes: grey for random runs, told apart by dashes too."""
    own = grey = 0
    looks = []
    for one in methods:
        if one.baseline:
            looks.append({"color": GREY, "ls": DASHES[grey % 4], "lw": 1.3})
            grey += 1
        else:
            dash = DASHES[own // len(COLOURS) % 4]
            looks.append({"color": COLOURS[own % len(COLOURS)], "ls": dash, "lw": 1.9})
            own += 1
    return looks


def _line(
    ax: Axes,
    curves: Array,
    one: Method,
    look: dict[str, Any],
    *,
    x: Array | None = None,
    step: bool = False,
) -> None:
    """One curve as it is, several as their median and band."""
    x = np.arange(1.0, curves.shape[1] + 1) if x is None else x
    middle, label = curves[0], one.label
    if len(curves) > 1:
        known = ~np.isnan(curves).all(axis=0)
        low, middle, high = np.full((3, x.size), np.nan)
        low[known], middle[known], high[known] = np.nanquantile(
            curves[:, known], [BAND[0], 0.5, BAND[1]], axis=0
        )
        shade: Any = {"color": look["color"], "alpha": 0.16, "lw": 0}
        shade |= {"step": "post"} if step else {}
        ax.fill_between(x, low, high, **shade)
        label = f"{one.label} ({len(curves)} runs)"
    draw: Any = {"drawstyle": "steps-post"} if step else {}
    ax.plot(x, middle, label=textwrap.fill(label, WRAP), **draw, **look)


def _even(curves: Sequence[Array]) -> Array:
    """Curves of one method, (runs, n); one that ended early is NaN from there on."""
    longest = max(curve.size for curve in curves)
    out = np.full((len(curves), longest), np.nan)
    for row, curve in zip(out, curves, strict=True):
        row[: curve.size] = curve
    return out
