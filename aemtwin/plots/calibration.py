"""The calibration of predictions: what intervals held against what they claimed.

`aemtwin.plots.coverage` reads the numbers. No band of chance is drawn: neighbouring
candidates err together, so that their number says little of how far a curve may stray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aemtwin.plots.coverage import LEVELS, SHOWN, coverages
from aemtwin.plots.reading import missing
from aemtwin.plots.style import BLUE, GREY, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord


def calibration(record: RunRecord, ax: Axes) -> None:
    """Draw the coverage of central intervals against the level that they claim.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Calibration")
    if sentence := missing("calibration", record):
        return say(ax, sentence)
    for curve in coverages(record):
        colour = GREY if curve.label == "random" else BLUE
        of = "measurements" if curve.ahead else "candidates"
        ax.plot(
            100 * LEVELS,
            100 * curve.covered,
            color=colour,
            lw=1.4 if colour == GREY else 2.0,
            label=f"{curve.label}: 90 % intervals hold {100 * curve.at_90:.0f} % "
            f"of {curve.spots} {of}",
        )
        ax.plot(90, 100 * curve.covered[SHOWN], "o", color=colour, ms=5)
    calibration_axes(ax)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), handlelength=1.6)


def calibration_axes(ax: Axes) -> None:
    """Set what every picture of calibration shares: diagonal, limits, labels."""
    ax.plot([0, 100], [0, 100], color="black", lw=1, ls="--", zorder=1.5)
    side: Any = {"color": GREY, "fontsize": 8.5, "transform": ax.transAxes}
    ax.text(0.04, 0.94, "too careful", va="top", **side)
    ax.text(0.96, 0.06, "overconfident", ha="right", **side)
    ax.set_xlim(-2, 102)
    ax.set_ylim(-2, 102)
    ax.set_aspect("equal")
    ticks = range(0, 101, 20)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)
    ax.set_xlabel("level of the central interval (%)")
    ax.set_ylabel("share that lies inside (%)")
    ax.grid(color="0.9", lw=0.6)
