"""The sheet of a twin: its channels, its spectra at marked points, effects on and off.

`aemtwin plot twin NAME` draws it, so that somebody who uses that kind of instrument can
say whether to believe the twin. It reads the twin as a client would, by `scan` and
`measure`, and the map of the dose shows what these acts themselves brought.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin.plots.curves import dwarfed
from aemtwin.plots.style import GREY, colour_bar, drawing, image, scale, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aemtwin.instruments.protocol import Instrument
    from aemtwin.measurement import Measurement

SPOTS = ((0.2, 0.3), (0.5, 0.55), (0.8, 0.75))  # of the field, along x and y
COLOURS = ("C0", "C1", "C2")
MOST = 4  # channels and modes shown
APART = 1.7  # ranges of colours that differ by more than this are not shared
CELLS = (48, 48)  # of the map of the dose


def twin_sheet(instrument: Instrument, plain: Instrument | None = None) -> Figure:
    """Draw the first channels of an instrument and its first modes at three spots.

    Args:
        instrument: With its effects on.
        plain: The same without any; drawn above it, and as thin grey lines.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    spec = instrument.describe()
    bounds: Any = spec.bounds
    spots = np.array(
        [
            [
                low + share * (high - low)
                for share, (low, high) in zip(s, bounds, strict=True)
            ]
            for s in SPOTS
        ]
    )
    frames = _frames(instrument, plain)
    measured = [_measured(instrument, plain, m.name, spots) for m in spec.modes[:MOST]]
    dose = getattr(instrument, "dose_map", None)
    panels = len(measured) + (dose is not None)
    channels = len(spec.channels[:MOST])
    abreast = channels * len(frames) <= MOST  # all frames in one row
    columns = max(channels * (len(frames) if abreast else 1), min(panels, MOST), 1)
    above = bool(frames) if abreast else len(frames)
    rows = above + math.ceil(panels / columns)
    with drawing(4.2 * columns + 0.6, 3.2 * rows + 0.5) as figure:
        on = ", ".join(spec.identity.get("effects", {})) or "noise alone"
        title = f"{spec.name} ({spec.kind}), sample {spec.identity['sample']}"
        figure.suptitle(f"{title}; effects: {on}", wrap=True)
        for i in range(channels):
            limits = _limits([taken[i] for _, taken in frames])
            for k, (said, taken) in enumerate(frames):
                own, shared = _limits([taken[i]]), limits
                if limits[1] - limits[0] > APART * (own[1] - own[0]):
                    shared = own  # else it would be drawn in a few shades
                place = i * len(frames) + k if abreast else k * columns + i
                ax = figure.add_subplot(rows, columns, place + 1)
                _frame(ax, taken[i], spots, said, shared)
        at = above * columns + 1
        for i, found in enumerate(measured):
            _curves(figure, (rows, columns, at + i), found)
        if dose is not None:
            ax = figure.add_subplot(rows, columns, at + len(measured))
            _dose(ax, dose(CELLS), bounds, spec.dose_units)
    return figure


def _frames(
    instrument: Instrument, plain: Instrument | None
) -> list[tuple[str, list[Measurement]]]:
    names = [channel.name for channel in instrument.describe().channels[:MOST]]
    if not names:
        return []
    taken = [("", [instrument.scan(channels=[name]) for name in names])]
    if plain is not None:
        without = [plain.scan(channels=[name]) for name in names]
        return [("without effects", without), ("with effects", taken[0][1])]
    return taken


def _limits(frames: Sequence[Measurement]) -> tuple[float, float]:
    """Return limits of colour that all frames share, but for the outermost values."""
    values = np.concatenate([_real(frame).ravel() for frame in frames])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.2, 99.8])
    return float(low), float(high) if high > low else float(low) + 1.0


def _real(found: Measurement) -> Any:
    values = found.values
    values = np.abs(values) if np.iscomplexobj(values) else values
    return np.asarray(values, np.float64)


def _frame(
    ax: Axes,
    frame: Measurement,
    spots: Any,
    title: str,
    limits: tuple[float, float],
) -> None:
    x, y = frame.axis("x").values, frame.axis("y").values
    length, unit_of_length = scale(np.concatenate([x, y]), "m")
    factor, unit = scale(limits, frame.units[frame.name])
    low, high = (value * factor for value in limits)
    shown = image(
        ax,
        x * length,
        y * length,
        _real(frame) * factor,
        cmap="gray",
        vmin=low,
        vmax=high,
    )
    for colour, spot in zip(COLOURS, spots * length, strict=True):
        ax.plot(*spot, "o", color=colour, mec="white", ms=5)
    ax.set_xlabel(with_unit("x", unit_of_length))
    ax.set_ylabel(with_unit("y", unit_of_length))
    ax.set_title(f"{frame.name}, {title}" if title else frame.name)
    named = frame.quantities[frame.name] or frame.name
    colour_bar(ax, shown, with_unit(named, unit))


def _measured(
    instrument: Instrument, plain: Instrument | None, mode: str, spots: Any
) -> list[tuple[str, Measurement, Measurement | None]]:
    """Return colour, measurement and the same without effects, of every spot."""
    found = []
    for colour, spot in zip(COLOURS, spots, strict=True):
        instrument.move_to(spot)
        without = None
        if plain is not None:
            plain.move_to(spot)
            without = plain.measure(mode)
        found.append((colour, instrument.measure(mode), without))
    return found


def _curves(figure: Figure, place: tuple[int, int, int], found: Any) -> None:
    first = found[0][1]
    ax = figure.add_subplot(*place)
    ax.set_title(first.mode)
    if len(first.axes) == 2:
        _patterns(ax, found)
        return
    if len(first.axes) > 2:
        ax.text(0.5, 0.5, f"{first.values.shape} at each spot", ha="center")
        ax.set_axis_off()
        return
    axis = first.axes[0]
    most = [np.nanmax(np.abs(_real(f)), initial=0.0) for _, f, _ in found]
    factor, unit = scale(most, first.units[first.name])
    along, unit_along = scale(axis.values, axis.units)
    for colour, with_effects, without in found:
        if without is not None:
            ax.plot(axis.values * along, _real(without) * factor, color=GREY, lw=0.7)
        values = _real(with_effects) * factor
        ax.plot(axis.values * along, values, color=colour, lw=0.9)
        dwarfed(ax, values)
    said = f"|{first.name}|" if np.iscomplexobj(first.values) else ""
    ax.set_xlabel(with_unit(axis.quantity or axis.name, unit_along))
    ax.set_ylabel(with_unit(said or first.quantities[first.name] or first.mode, unit))


def _patterns(ax: Axes, found: Any) -> None:
    """Draw what has two axes (a diffraction pattern, a band at every step) abreast."""
    ax.set_axis_off()
    share = 1.0 / len(found)
    for i, (colour, pattern, _) in enumerate(found):
        inset = ax.inset_axes((i * share, 0.15, share * 0.94, 0.7))
        values = np.abs(pattern.values).astype(np.float64)
        square = len({axis.units for axis in pattern.axes}) == 1
        aspect: Any = "equal" if square else "auto"
        inset.imshow(np.sqrt(values), cmap="magma", origin="lower", aspect=aspect)
        inset.set_xticks([])
        inset.set_yticks([])
        for side in inset.spines.values():
            side.set_color(colour)
            side.set_linewidth(2.0)
    down, across = found[0][1].axes
    ax.text(
        0.5,
        0.08,
        f"{across.name} across, {down.name} up; square root of "
        f"{found[0][1].units[found[0][1].name] or 'values'}",
        ha="center",
        va="top",
        transform=ax.transAxes,
        fontsize=8,
    )


def _dose(ax: Axes, density: Any, bounds: Any, units: str) -> None:
    from matplotlib.colors import LogNorm

    (x_low, x_high), (y_low, y_high) = bounds
    rows, columns = density.shape
    x = x_low + (np.arange(columns) + 0.5) * (x_high - x_low) / columns
    y = y_low + (np.arange(rows) + 0.5) * (y_high - y_low) / rows
    length, unit_of_length = scale([x_low, x_high, y_low, y_high], "m")
    area = 1e-18 if units == "electrons" else 1e-12  # per nm², per µm²
    shown = np.where(density > 0, density * area, np.nan)
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    norm = LogNorm(low, high) if high > 3 * low else None
    drawn = image(ax, x * length, y * length, shown, cmap="inferno", norm=norm)
    ax.set_facecolor("#dddddd")
    ax.set_title("dose of this sheet")
    ax.set_xlabel(with_unit("x", unit_of_length))
    ax.set_ylabel(with_unit("y", unit_of_length))
    colour_bar(ax, drawn, f"{units} per {'nm²' if area == 1e-18 else 'µm²'}")
