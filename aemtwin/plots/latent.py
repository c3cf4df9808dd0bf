"""The space that deep kernel learning has made of position and image patches.

Candidates that lie together here are alike to the surrogate, wherever they are on the
specimen. The maps over the specimen itself are in `aemtwin.plots.maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin.plots.reading import Array, missing, points, value_limits
from aemtwin.plots.style import colour_bar, say, scale, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aemtwin.record import RunRecord

MANY = 2000  # points beyond which a vector picture keeps them as pixels


def latent(record: RunRecord, ax: Axes) -> None:
    """Draw the candidates in latent space by predicted mean, the measured ones on top.

    A latent space of one dimension is drawn against the predicted mean; of more than
    two, the two in which the candidates vary most.

    Args:
        record: The run.
        ax: Where to draw.
    """
    ax.set_title("Latent space")
    if (sentence := missing("latent", record)) or record.maps is None:
        return say(ax, sentence or "")
    space = np.asarray(record.maps["latent"], dtype=np.float64)
    mean = np.asarray(record.maps["mean"], dtype=np.float64)
    spots, low, high = points(record), *value_limits(record)
    factor, unit = scale([low, high], record.value_units)
    name = with_unit(record.value_name, unit)
    first, *second = shown(space)
    x, y = space[:, first], space[:, second[0]] if second else mean * factor
    chosen = np.array([e["data"]["index"] for e in record.events], dtype=np.intp)
    colours: Any = {"cmap": "viridis", "vmin": low * factor, "vmax": high * factor}
    ax.set_facecolor("#efefef")
    drawn = ax.scatter(
        x,
        y,
        c=mean * factor,
        s=float(np.clip(2e4 / mean.size, 3, 16)),
        linewidths=0,
        rasterized=mean.size > MANY,
        label="candidates, by predicted mean",
        **colours,
    )
    valid = chosen[spots.valid]
    value = spots.value[spots.valid] * factor
    ax.scatter(
        x[valid],
        y[valid] if second else value,
        c=value,
        s=36,
        edgecolors="black",
        linewidths=1.0,
        zorder=3,
        label="measured, by value",
        **colours,
    )
    colour_bar(ax, drawn, name)
    ax.set_xlabel(f"latent dimension {first + 1}")
    ax.set_ylabel(f"latent dimension {second[0] + 1}" if second else name)
    key = ax.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, handletextpad=0.2
    )
    for handle in key.legend_handles:
        handle.set_sizes([36.0])  # type: ignore[union-attr]


def shown(space: Array) -> list[int]:
    """Return which dimensions of a latent space (m, k) are drawn, one or two.

    >>> shown(np.array([[0.0, 1, 9], [0, 3, 1]]))
    [1, 2]
    """
    spread = np.nanvar(np.where(np.isfinite(space), space, np.nan), axis=0)
    return sorted(int(k) for k in np.argsort(-spread, kind="stable")[:2])
