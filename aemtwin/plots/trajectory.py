"""The overview frame with the probe's way over it.

The last measurements are numbered, ten of them or, in a narrow field, five, since the
straight lines between fifty points would bury the image; the rest stays faint. The maps
are in `aemtwin.plots.maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots.maps import frame_axes
from aemtwin.plots.reading import Grid, Points, grid, missing, points
from aemtwin.plots.style import (
    ORANGE,
    SKY,
    VERMILLION,
    YELLOW,
    colour_bar,
    image,
    inches,
    say,
    scale,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord

NUMBERED = 10, 5  # measurements, in a usual and in a narrow or flat field
NARROW = 1.6  # height divided by width, from which the key has one column
ANGLES = np.deg2rad([45, 135, -45, -135, 90, 0, 180, -90])
RADII = (0.045, 0.07, 0.1, 0.14, 0.18)  # of the field's longer side


def overview(record: RunRecord, ax: Axes) -> None:
    """Draw the overview frame, the trajectory, where it began and its best spot.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Overview and trajectory")
    if sentence := missing("overview", record):
        return say(ax, sentence)
    field, spots = grid(record), points(record)
    ax.set_facecolor("#9a9a9a")
    frame_axes(ax, field)
    if record.overview is not None:
        frame = record.overview
        values = np.asarray(frame["values"], dtype=np.float64)
        # heights count from the lowest, as every topograph does
        factor, unit = scale([np.ptp(values[np.isfinite(values)])], frame["units"])
        x, y = (np.asarray(frame[k], dtype=np.float64) * field.factor for k in "xy")
        if frame["units"] == "m":
            values = values - np.nanmin(values)
        drawn = image(ax, x, y, values * factor, cmap="gray")
        name = frame.get("channel") or frame.get("quantity") or "signal"
        colour_bar(ax, drawn, with_unit(name, unit), below=field.flat)
        _widen(ax, field, x, y)
    if spots.x.size:
        _way(ax, spots, field)
        _key(ax, field)


def _widen(
    ax: Axes, field: Grid, x: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Show all of the frame and all of the candidates."""
    frame_axes(ax, field)
    limits = ((ax.get_xlim, ax.set_xlim, x), (ax.get_ylim, ax.set_ylim, y))
    for get, put, values in limits:
        half = np.ptp(values) / max(values.size - 1, 1) / 2
        low, high = get()
        put(min(low, values.min() - half), max(high, values.max() + half))


def _way(ax: Axes, spots: Points, field: Grid) -> None:
    """The line, its points, their numbers and a key below the map."""
    x, y = spots.x * field.factor, spots.y * field.factor
    usual = 1 / NARROW < field.aspect < NARROW
    last = max(0, x.size - NUMBERED[0 if usual else 1])
    ax.plot(x[: last + 1], y[: last + 1], color=ORANGE, lw=0.7, alpha=0.3)
    ax.plot(x[last:], y[last:], color=ORANGE, lw=1.1, alpha=0.9)
    look: Any = {"edgecolors": "black", "linewidths": 0.5}
    ax.scatter(x[:last], y[:last], s=11, color=ORANGE, alpha=0.75, **look)
    newest = f"last {x.size - last} of {x.size}, numbered"
    ax.scatter(
        x[last:], y[last:], s=24, color=VERMILLION, zorder=4, label=newest, **look
    )
    look = {"edgecolors": "black", "linewidths": 0.8, "clip_on": False}
    ax.scatter(
        x[:1], y[:1], marker="s", s=42, color=SKY, zorder=5, label="start", **look
    )
    if (best := spots.best) is not None:
        ax.scatter(
            x[best],
            y[best],
            marker="*",
            s=170,
            color=YELLOW,
            zorder=6,
            label="best",
            **look,
        )
    _number(ax, x, y, last)


def _key(ax: Axes, field: Grid) -> None:
    """The key below axis label and colour bar; of one column below a narrow field."""
    narrow = field.aspect > NARROW
    ax.legend(
        loc="upper left" if narrow else "upper center",
        bbox_to_anchor=(0.0 if narrow else 0.5, -1.12 if field.flat else -0.46),
        bbox_transform=inches(ax, "y", 0),
        ncols=1 if narrow else 3,
        borderaxespad=0.0,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _number(
    ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64], start: int
) -> None:
    """Number the points from `start` on (counted from 1), clear of one another."""
    from matplotlib.patheffects import withStroke

    size = max(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()))
    corner = np.array([ax.get_xlim()[0], ax.get_ylim()[0]])
    room = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())]) / size
    where = (np.column_stack([x, y]) - corner) / size  # (n, 2)
    for index, place in enumerate(place_labels(where, room, start), start=start):
        far = np.hypot(*(place - where[index])) > RADII[0] * 1.01
        ax.annotate(
            str(index + 1),
            xy=(x[index], y[index]),
            xytext=tuple(place * size + corner),
            arrowprops={"arrowstyle": "-", "lw": 0.7, "color": "black"}
            if far
            else None,
            ha="center",
            va="center",
            fontsize=8,
            fontweight="bold",
            color="black",
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
            zorder=7,
        )


def place_labels(
    where: NDArray[np.float64], room: NDArray[np.float64], start: int
) -> NDArray[np.float64]:
    """Choose a free place beside each point for its number, one after another.

    Args:
        where: All points, (n, 2), in units of the field's longer side.
        room: Width and height of the field, (2,), same unit.
        start: The first point that gets a number.

    Returns:
        Centres of the numbers, (n - start, 2).
    """
    offsets = np.array(
        [(r * np.cos(a), r * np.sin(a)) for r in RADII for a in ANGLES]
    )  # (k, 2)
    near = np.linalg.norm(offsets, axis=1)
    placed: list[NDArray[np.float64]] = []
    for point in where[start:]:
        tries = point + offsets
        gap = np.linalg.norm(tries[:, None] - where[None], axis=-1)  # (k, n)
        weight = np.where(np.arange(len(where)) < start, 1.0, 4.0)
        cost = near * 8 + np.clip(0.04 - gap, 0, None) @ weight * 40
        if placed:
            apart = np.abs(tries[:, None] - np.array(placed)[None])
            clash = np.all(apart < [0.06, 0.042], axis=-1)
            cost += 30 * clash.sum(axis=1)
        outside = np.any((tries < 0.025) | (tries > room - 0.025), axis=1)
        cost += 20 * outside
        placed.append(tries[int(np.argmin(cost))])
    return np.array(placed).reshape(-1, 2)
