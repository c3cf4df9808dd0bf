"""Where a specimen was exposed, and how much: frame and spectra together.

A dose is counted per area of the cell of a candidate, since a run does not say how wide
the probe is; right beneath the probe it was more. The other maps are in
`aemtwin.plots.maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots.maps import frame_axes
from aemtwin.plots.reading import (
    Array,
    Grid,
    dose_units,
    doses,
    frame_dose,
    grid,
    missing,
    points,
)
from aemtwin.plots.style import colour_bar, image, say, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord

WIDE = 30.0  # highest over lowest dose from which colours are logarithmic
METRES = {"pm": 1e-12, "nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "m": 1.0}


def dose(record: RunRecord, ax: Axes) -> None:
    """Draw the dose per area at every candidate; what was never exposed stays blank.

    Args:
        record: The run.
        ax: Where to draw.
    """
    from matplotlib.colors import LogNorm, Normalize

    ax.set_title("Dose")
    if sentence := missing("dose", record):
        return say(ax, sentence)
    field = grid(record)
    density, units = dose_density(record, field)
    exposed = density[density > 0]
    low, high = float(exposed.min()), float(exposed.max())
    wide = high > WIDE * low
    factor, label = (1.0, units) if wide else scale([high], units)
    shown = np.where(density > 0, density * factor, np.nan)
    norm = LogNorm(low, high) if wide else Normalize(0, high * factor)
    ax.set_facecolor("#dddddd")
    drawn = image(ax, field.x, field.y, shown, cmap="inferno", norm=norm)
    colour_bar(ax, drawn, f"dose ({label})", below=field.flat)
    frame_axes(ax, field)


def dose_density(record: RunRecord, field: Grid) -> tuple[Array, str]:
    """Return the dose per area at every candidate, (rows, columns), and its unit."""
    spots, units = points(record), dose_units(record)
    area = "nm" if units == "electrons" or field.unit not in METRES else field.unit
    x, y = (axis / field.factor / METRES[area] for axis in (field.x, field.y))
    wide, high = _step(x), _step(y)
    cell = (wide or high or 1.0) * (high or wide or 1.0)
    density = np.zeros(field.shape)
    column = _nearest(x * METRES[area], spots.x)
    row = _nearest(y * METRES[area], spots.y)
    np.add.at(density, (row, column), doses(record) / cell)
    if (whole := frame_dose(record)) and record.overview is not None:
        u, v = (np.asarray(record.overview[k], float) / METRES[area] for k in "xy")
        sides = [float(np.ptp(axis)) + (_step(axis) or wide) for axis in (u, v)]
        seen = _inside(y, v)[:, None] & _inside(x, u)[None, :]
        density[seen] += whole / (sides[0] * sides[1] or 1.0)
    return density, f"{units}/{area}²"


def _step(axis: Array) -> float:
    """Distance of neighbours; 0 where there is but one."""
    return float(np.ptp(axis)) / max(axis.size - 1, 1)


def _nearest(axis: Array, values: Array) -> NDArray[np.intp]:
    apart = np.abs(axis[None, :] - values[:, None])  # (n, cells)
    return np.asarray(apart.argmin(axis=1), dtype=np.intp)


def _inside(axis: Array, frame: Array) -> NDArray[np.bool_]:
    half = 0.5 * _step(frame) * (1 + 1e-9)
    low, high = frame.min() - half, frame.max() + half
    return np.asarray((axis >= low) & (axis <= high), dtype=np.bool_)
