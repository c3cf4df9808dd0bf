"""From a run and a kind of picture to a figure, and from a figure to a file.

`KINDS` is the list of all kinds. The functions behind it draw into any Axes; `draw`
gives them a figure of their own, free of pyplot, and `save` writes the same bytes for
the same run.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aemtwin.errors import unknown
from aemtwin.plots.curves import learning_curve, spectra, step_times
from aemtwin.plots.maps import acquisition, mean, measured, uncertainty
from aemtwin.plots.style import SETTINGS, drawing
from aemtwin.plots.trajectory import overview

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aemtwin.record import RunRecord

KINDS: dict[str, Callable[[RunRecord, Axes], None]] = {
    "overview": overview,
    "measured": measured,
    "mean": mean,
    "uncertainty": uncertainty,
    "acquisition": acquisition,
    "spectra": spectra,
    "learning_curve": learning_curve,
    "step_times": step_times,
}

ALIASES = {"trajectory": "overview"}  # other names that `draw` takes
MAP, WIDE = (4.8, 4.0), (7.6, 3.4)  # inches
SIZES = {
    "overview": (5.0, 4.75),
    "spectra": (5.0, 4.15),
    "learning_curve": WIDE,
    "step_times": WIDE,
}
FORMATS = ("png", "svg", "pdf")
NO_TRACE = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def draw(kind: str, record: RunRecord) -> Figure:
    """Return a picture of a run.

    Args:
        kind: One of `KINDS`, such as "learning_curve"; "trajectory" is "overview".
        record: The run, from `aemtwin.record.read_run`.

    Returns:
        A figure of its own; where the run has nothing of that kind, it says why.

    Raises:
        UnknownName: If there is no such kind.
        MissingExtra: If matplotlib is not installed.
    """
    kind = ALIASES.get(kind, kind)
    if kind not in KINDS:
        raise unknown("picture", kind, KINDS, "See aemtwin.plots.KINDS.")
    with drawing(*SIZES.get(kind, MAP)) as figure:
        KINDS[kind](record, figure.add_subplot())
    return figure


def to_bytes(figure: Figure, ending: str = "png") -> bytes:
    """Return a figure as the bytes of a file: "png", "svg" or "pdf", without a date.

    Raises:
        UnknownName: If there is no such format.
    """
    import matplotlib

    if ending not in FORMATS:
        raise unknown("picture format", ending, FORMATS, "Choose by the file's ending.")
    file = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        figure.savefig(file, format=ending, metadata=NO_TRACE[ending])
    return file.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure; its ending chooses PNG, SVG or PDF, and no date is put into it.

    Args:
        figure: From `draw`.
        path: Where to write, ending in .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        UnknownName: If the ending is another one.
    """
    path = Path(path)
    path.write_bytes(to_bytes(figure, path.suffix.lower().lstrip(".")))
    return path
