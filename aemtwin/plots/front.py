"""Runs that seek several numbers: the front that was found, and how much it dominates.

A measurement is on the front where no other is at least as high in every number and
higher in one. `aemtwin.fronts` has the arithmetic, `aemtwin.scoring` the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin import fronts
from aemtwin.plots.curves import key_below, whole_numbers
from aemtwin.plots.reading import missing, points
from aemtwin.plots.style import (
    BLUE,
    GREEN,
    GREY,
    VERMILLION,
    colour_bar,
    say,
    scale,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord

Array = NDArray[np.float64]


class Volumes(NamedTuple):
    """Hypervolumes over measurements, all from one reference."""

    curves: dict[str, Array]  # (n,) of each method, product of the units
    reference: Array  # (p,), unit of each number
    whole: float | None  # of the truth, where it is known


def told(name: str) -> str:
    """Return the name of a number for people; one to be low has a minus sign.

    >>> told("-peak_width")
    '−peak width'
    """
    words = name.replace("_", " ")
    return f"−{words[1:]}" if words.startswith("-") else words


def on_front(record: RunRecord) -> NDArray[np.intp]:
    """Return which measurements no other one dominates, by the first number, down."""
    there = np.flatnonzero(np.isfinite(record.outcomes).all(axis=1))
    best = there[fronts.pareto(record.outcomes[there])] if there.size else there
    order: NDArray[np.intp] = best[np.argsort(-record.outcomes[best, 0], kind="stable")]
    return order


def volumes(record: RunRecord) -> Volumes | None:
    """Return the hypervolumes of a run: true ones where known, else as measured.

    None of more than three numbers, or where nothing was found.
    """
    scored = (record.scores or {}).get("several")
    if scored and scored["reference"] is not None:
        curves = {k: np.array(v, np.float64) for k, v in scored["curves"].items()}
        whole = float(scored["hypervolume"])
        return Volumes(curves, np.array(scored["reference"]), whole)
    y = record.outcomes
    known = y[np.isfinite(y).all(axis=1)]
    if not len(known) or not 2 <= y.shape[1] <= fronts.MOST:
        return None
    reference = fronts.reference_of(known)
    return Volumes({"this run": fronts.volumes(y, reference)}, reference, None)


def front(record: RunRecord, ax: Axes) -> None:
    """Draw the first two numbers of every measurement against each other.

    Those on the front are ringed, and joined where two are sought; a third number
    colours them. The truth of all candidates lies behind, where it is known.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Front")
    if sentence := missing("front", record):
        return say(ax, sentence)
    y, truth, p = record.outcomes, record.true_outcomes, len(record.sought)
    drawn = y if truth is None else np.vstack([y, truth])
    scales = [scale(drawn[:, j], record.sought[j][1]) for j in range(p)]
    y = y * [factor for factor, _ in scales]
    if truth is not None:
        truth = truth * [factor for factor, _ in scales]
        truth = truth[np.isfinite(truth).all(axis=1)]
        label = "truth of every candidate"
        ax.scatter(truth[:, 0], truth[:, 1], s=5, c="0.82", lw=0, label=label, zorder=1)
        _joined(ax, truth[fronts.pareto(truth)], p, GREEN, "its front")
    best = on_front(record)
    first = np.arange(len(y)) < points(record).first
    for these, marker, word in ((first, "s", "first points"), (~first, "o", "search")):
        if np.isfinite(y[these]).all(axis=1).any():
            one: dict[str, Any] = {"color": BLUE}
            if p > 2:
                one = {"c": y[these, 2], **_limits(y[:, 2])}
            one |= {"s": 16, "marker": marker, "lw": 0, "zorder": 3, "label": word}
            spots = ax.scatter(y[these, 0], y[these, 1], **one)
    if p > 2:
        name = with_unit(told(record.sought[2][0]), scales[2][1])
        colour_bar(ax, spots, name)
    ring: Any = {"facecolors": "none", "edgecolors": VERMILLION, "linewidths": 1.4}
    ring |= {"s": 58, "zorder": 4, "label": "front as measured"}
    ax.scatter(y[best, 0], y[best, 1], **ring)
    if p == 2:
        _joined(ax, y[best], p, VERMILLION, "")
    ax.set_xlabel(with_unit(told(record.sought[0][0]), scales[0][1]))
    ax.set_ylabel(with_unit(told(record.sought[1][0]), scales[1][1]))
    ax.grid(color="0.9", lw=0.6)
    key_below(ax, columns=2)


def hypervolume(record: RunRecord, ax: Axes) -> None:
    """Draw how much the front found so far dominates, against measurements.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Hypervolume")
    if sentence := missing("hypervolume", record):
        return say(ax, sentence)
    found = volumes(record)
    assert found is not None
    for i, (name, curve) in enumerate(found.curves.items()):
        steps = np.arange(1, curve.size + 1)
        colour, width = (GREY, 1.4) if i else (BLUE, 2.0)
        look: Any = {"where": "post", "color": colour, "lw": width, "label": name}
        ax.step(steps, curve if found.whole is None else share(curve, found), **look)
    volume_axes(ax, found.whole is not None)
    spots = points(record)
    if 0 < spots.first < spots.x.size:
        label = "before the search"
        ax.axvspan(0.5, spots.first + 0.5, color="0.93", lw=0, label=label)
    ax.set_xlim(0.5, max(curve.size for curve in found.curves.values()) + 0.5)
    key_below(ax, columns=2)


def share(curve: Array, found: Volumes) -> Array:
    """Return a hypervolume in per cent of that of the truth."""
    return 100.0 * curve / found.whole if found.whole else curve


def volume_axes(ax: Axes, shared: bool) -> None:
    """Label the axes of hypervolumes, in per cent of the truth or as they are."""
    if shared:
        ax.axhline(100.0, color=GREEN, lw=1.2, ls="--", label="front of the truth")
    whole_numbers(ax)
    ax.set_xlabel("measurements")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("hypervolume found (%)" if shared else "hypervolume measured")
    ax.grid(color="0.85", lw=0.6)


def _limits(values: Array) -> dict[str, Any]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return {"cmap": "viridis", "vmin": low, "vmax": high}


def _joined(ax: Axes, values: Array, p: int, colour: str, label: str) -> None:
    """Draw the border of what some values dominate; of three numbers, the values."""
    if p > 2:
        ring: Any = {"facecolors": "none", "edgecolors": colour, "linewidths": 0.8}
        ax.scatter(values[:, 0], values[:, 1], s=22, label=label, zorder=2, **ring)
        return
    order = np.argsort(values[:, 0], kind="stable")
    look: Any = {"color": colour, "lw": 1.3, "where": "pre", "zorder": 2}
    look |= {"label": label} if label else {}
    ax.step(values[order, 0], values[order, 1], **look)
