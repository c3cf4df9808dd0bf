"""The sheet of a twin: its channels, and what it measures at marked points.

`aemtwin plot twin NAME` draws it, so that somebody who uses that kind of instrument can
say whether to believe the twin. It reads the twin as a client would, by `scan` and
`measure`, and has no other way in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin.plots.curves import dwarfed
from aemtwin.plots.style import colour_bar, drawing, image, scale, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aemtwin.instruments.protocol import Instrument

SPOTS = ((0.2, 0.3), (0.5, 0.55), (0.8, 0.75))  # of the field, along x and y
COLOURS = ("C0", "C1", "C2")
MOST = 4  # channels and modes shown


def twin_sheet(instrument: Instrument) -> Figure:
    """Draw the first channels of an instrument and its first modes at three spots.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    spec = instrument.describe()
    (x_low, x_high), (y_low, y_high) = spec.bounds
    spots = np.array(
        [(x_low + u * (x_high - x_low), y_low + v * (y_high - y_low)) for u, v in SPOTS]
    )
    channels, modes = spec.channels[:MOST], spec.modes[:MOST]
    columns = max(len(channels), len(modes), 1)
    rows = bool(channels) + bool(modes)
    with drawing(3.6 * columns + 0.6, 3.3 * max(rows, 1) + 0.4) as figure:
        figure.suptitle(f"{spec.name} ({spec.kind}), sample {spec.identity['sample']}")
        for i, channel in enumerate(channels):
            ax = figure.add_subplot(rows, columns, i + 1)
            _frame(ax, instrument, channel.name, spots)
        for i, mode in enumerate(modes):
            ax = figure.add_subplot(rows, columns, (rows - 1) * columns + i + 1)
            _spectra(ax, instrument, mode.name, spots)
    return figure


def _frame(ax: Axes, instrument: Instrument, channel: str, spots: Any) -> None:
    frame = instrument.scan(channels=[channel])
    x, y = frame.axis("x").values, frame.axis("y").values
    length, unit_of_length = scale(np.concatenate([x, y]), "m")
    factor, unit = scale(frame.values, frame.units[channel])
    shown = image(ax, x * length, y * length, frame.values * factor, cmap="gray")
    for colour, spot in zip(COLOURS, spots * length, strict=True):
        ax.plot(*spot, "o", color=colour, mec="white")
    ax.set_xlabel(with_unit("x", unit_of_length))
    ax.set_ylabel(with_unit("y", unit_of_length))
    ax.set_title(channel)
    colour_bar(ax, shown, with_unit(frame.quantities[channel] or channel, unit))


def _spectra(ax: Axes, instrument: Instrument, mode: str, spots: Any) -> None:
    for colour, spot in zip(COLOURS, spots, strict=True):
        instrument.move_to(spot)
        found = instrument.measure(mode)
        if len(found.axes) != 1:
            ax.text(0.5, 0.5, f"{mode}: {found.values.shape} at each spot", ha="center")
            ax.set_axis_off()
            return
        axis = found.axes[0]
        if colour == COLOURS[0]:
            factor, unit = scale(found.values, found.units[mode])
        ax.plot(axis.values, found.values * factor, color=colour, lw=0.9)
        if not np.iscomplexobj(found.values):
            dwarfed(ax, np.asarray(found.values, np.float64) * factor)
    ax.set_xlabel(with_unit(axis.quantity or axis.name, axis.units))
    ax.set_ylabel(with_unit(found.quantities[mode] or mode, unit))
    ax.set_title(mode)
