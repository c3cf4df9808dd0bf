"""The look of every picture: colours, units with a prefix, images, colour bars.

Nothing here, nor in the other modules of `aemtwin.plots`, touches pyplot or leaves a
global setting changed; matplotlib is imported by the functions that need it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart by every kind of colour vision
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#767676"

SETTINGS: Any = {
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "aemtwin",
    "pdf.fonttype": 42,
}

PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
PREFIXED = {"m", "V", "A", "s", "N", "Pa", "Hz", "J", "W", "C", "F", "S", "eV", "rad"}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """Give an empty figure, in inches, and the settings to draw it with.

    Raises:
        MissingExtra: If matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            f"Pictures need matplotlib, which is not installed ({error}). "
            "Install it with: pip install 'aemtwin[view]'."
        ) from error
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def scale(values: ArrayLike, units: str) -> tuple[float, str]:
    """Return a factor and a unit in which numbers are good to read.

    Args:
        values: Numbers of any shape, in `units`; the largest finite one decides.
        units: Their unit. The first factor of a product, as the m of "m·V", takes an SI
            prefix; wave numbers in 1/m become 1/cm; others get a power of ten.

    Returns:
        (factor, label): multiply by the factor to get numbers in `label`.

    >>> scale([0, 2e-6], "m"), scale([3e-12], "m·V"), scale([150e3], "1/m")
    ((1000000.0, 'µm'), (1000000000000.0, 'pm·V'), (0.01, '1/cm'))
    >>> scale([25_000], "counts"), scale([0.5], "counts"), scale([], "V")
    ((0.001, '10³ counts'), (1.0, 'counts'), (1.0, 'V'))
    """
    size = np.abs(np.asarray(values, dtype=np.float64)).ravel()
    size = size[np.isfinite(size)]
    largest = float(size.max(initial=0.0))
    if units == "1/m":
        return 0.01, "1/cm"
    if largest == 0:
        return 1.0, units
    exponent = 3 * math.floor(math.log10(largest * 1.0001) / 3)
    first, dot, rest = units.partition("·")
    if first in PREFIXED:
        exponent = min(max(exponent, -12), 9)
        return 10.0**-exponent, f"{PREFIXES[exponent]}{first}{dot}{rest}"
    if 0.01 <= largest < 10_000:
        return 1.0, units
    power = "10" + str(exponent).translate(SUPERSCRIPTS)
    return 10.0**-exponent, f"{power} {units}".strip()


def quantity(
    value: float, units: str, digits: int = 4, like: ArrayLike | None = None
) -> str:
    """Return a number with its unit as a text; `like` chooses the prefix instead.

    >>> quantity(4.12e-7, "m"), quantity(0.5, ""), quantity(2.5e-5, "counts")
    ('412 nm', '0.5', '25 × 10⁻⁶ counts')
    >>> quantity(0, "m", like=[3e-12])
    '0 pm'
    >>> quantity(0, "counts", like=[25e3])
    '0 counts'
    >>> quantity(1153.2, "counts", 3, like=[4011.0])
    '1153 counts'
    """
    if not math.isfinite(value):
        return "none" if math.isnan(value) else f"{value} {units}".strip()
    factor, label = scale([value] if like is None else like, units)
    if value == 0 and label.startswith("10"):
        label = units
    times = "× " if label.startswith("10") else ""
    number = value * factor
    short = f"{number:.{digits}g}"
    if "e" in short and 1 <= abs(number) < 1e5:  # no digit is hidden by writing all
        short = f"{number:.0f}"
    return f"{short} {times}{label}".strip()


def plain(value: float, digits: int = 4) -> str:
    """Return a number without a unit, of any size.

    >>> plain(2.71828), plain(-0.5), plain(123456.0)
    ('2.718', '-0.5', '1.235 × 10⁵')
    """
    text, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent:
        return text
    return f"{text} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def with_unit(text: str, units: str) -> str:
    """Return an axis label: what, and its unit in brackets if it has one.

    >>> with_unit("loop_area", "pm·V"), with_unit("cycle", "")
    ('loop area (pm·V)', 'cycle')
    """
    words = text.replace("_", " ").strip()
    return f"{words} ({units})" if units else words


def image(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.float64],
    **look: Any,
) -> Any:
    """Draw a map with each value centred on its position, y upwards.

    Args:
        ax: Where to draw.
        x: Position of every column, (c,), in the unit drawn; any order or spacing.
        y: Position of every row, (r,).
        values: (r, c).
        look: Passed on: `cmap`, `vmin`, `vmax`.

    Returns:
        What a colour bar is made for.
    """
    columns, rows = np.argsort(x), np.argsort(y)
    x, y, values = x[columns], y[rows], values[np.ix_(rows, columns)]
    steps = [np.diff(x), np.diff(y)]
    given = [step.mean() for step in steps if step.size]
    width, height = (
        float(step.mean()) if step.size else float(given[0]) if given else 1.0
        for step in steps
    )
    if all(np.allclose(step, step.mean(), rtol=1e-3) for step in steps if step.size):
        left, right = float(x[0]) - width / 2, float(x[-1]) + width / 2
        bottom, top = float(y[0]) - height / 2, float(y[-1]) + height / 2
        extent = left, right, bottom, top
        return ax.imshow(
            values, extent=extent, origin="lower", interpolation="nearest", **look
        )
    mesh = ax.pcolormesh(x, y, values, shading="nearest", rasterized=True, **look)
    ax.set_aspect("equal")
    return mesh


def colour_bar(
    ax: Axes,
    mappable: Any,
    label: str,
    extend: str = "neither",
    *,
    below: bool = False,
) -> None:
    """Put a colour bar beside a map, as high as the map is, or below a flat one.

    Its thickness and its distance are inches, so that it is as thick beside a narrow
    map as beside a wide one.
    """
    if below:
        beside = ax.inset_axes((0.0, -0.64, 1.0, 0.13), transform=inches(ax, "y", 0))
    else:
        beside = ax.inset_axes((0.08, 0.0, 0.14, 1.0), transform=inches(ax, "x", 1))
    way = "horizontal" if below else "vertical"
    bar = ax.figure.colorbar(
        mappable, cax=beside, label=label, extend=extend, orientation=way
    )
    bar.outline.set_linewidth(0.6)


def inches(ax: Axes, along: str, start: float) -> Any:
    """Return a transform that counts inches from an edge of the axes along x or y.

    Args:
        ax: The axes; across, the transform is theirs, 0 to 1.
        along: "x" or "y".
        start: The edge: 0, left or lower, or 1, right or upper.
    """
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    edge = (start, 0.0) if along == "x" else (0.0, start)
    to_screen: Any = ax.transAxes
    count = ax.figure.dpi_scale_trans + ScaledTranslation(*edge, to_screen)
    if along == "x":
        return blended_transform_factory(count, ax.transAxes)
    return blended_transform_factory(ax.transAxes, count)


def say(ax: Axes, sentence: str) -> None:
    """Write a sentence where a picture would be."""
    import textwrap

    ax.set_axis_off()
    ax.text(
        0.5,
        0.5,
        textwrap.fill(sentence, 44),
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=GREY,
    )
