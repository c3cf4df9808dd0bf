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
from aemtwin.plots.calibration import calibration
from aemtwin.plots.curves import learning_curve, spectra, step_times
from aemtwin.plots.dose import dose
from aemtwin.plots.front import front, hypervolume
from aemtwin.plots.latent import latent
from aemtwin.plots.maps import acquisition, mean, measured, uncertainty
from aemtwin.plots.reading import grid, missing
from aemtwin.plots.style import SETTINGS, drawing
from aemtwin.plots.trajectory import NARROW, overview

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
    "latent": latent,
    "dose": dose,
    "spectra": spectra,
    "learning_curve": learning_curve,
    "front": front,
    "hypervolume": hypervolume,
    "calibration": calibration,
    "step_times": step_times,
}

ALIASES = {"trajectory": "overview"}  # other names that `draw` takes
WIDE = 7.6, 3.4  # inches, as all sizes
SIZES = {
    "latent": (5.0, 4.15),
    "front": (5.6, 4.6),
    "hypervolume": WIDE,
    "spectra": (5.0, 4.15),
    "calibration": (4.8, 4.9),
    "learning_curve": WIDE,
    "step_times": WIDE,
}
SIDE = 3.2  # of a square field in the picture
LONGEST = 5.6, 4.3  # width and height of a field in the picture
SLIMMEST = 3.0  # width of a picture, which has a title
FORMATS = ("png", "svg", "pdf", "webp")
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
    with drawing(*size(kind, record)) as figure:
        KINDS[kind](record, figure.add_subplot())
    return figure


def size(kind: str, record: RunRecord) -> tuple[float, float]:
    """Return width and height of a picture in inches; maps follow their field.

    Args:
        kind: One of `KINDS`.
        record: The run.
    """
    if kind in SIZES:
        return SIZES[kind]
    if missing(kind, record) is not None:
        return SIDE + 1.6, SIDE + 0.8
    field = grid(record)
    height = min(SIDE * field.aspect**0.5, LONGEST[1])
    width = min(height / field.aspect, LONGEST[0])
    height = width * field.aspect
    # labels of the axes, and the colour bar beside or below
    width, height = width + (0.9 if field.flat else 1.6), height + 0.8
    height += 0.85 if field.flat else 0.0
    if kind == "overview":
        height += 0.8 if field.aspect > NARROW else 0.4
    return max(width, SLIMMEST), height


def to_bytes(figure: Figure, ending: str = "png") -> bytes:
    """Return a figure as the bytes of a file, without a date.

    That is "png", "svg", "pdf", or, small and a little coarser, "webp".

    Raises:
        UnknownName: If there is no such format.
    """
    import matplotlib

    if ending not in FORMATS:
        raise unknown("picture format", ending, FORMATS, "Choose by the file's ending.")
    file = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        if ending == "webp":
            figure.savefig(file, format=ending, dpi=90, pil_kwargs={"quality": 80})
        else:
            figure.savefig(file, format=ending, metadata=NO_TRACE[ending])
    return file.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure; its ending chooses PNG, SVG, PDF or WebP; no date is put into it.

    Args:
        figure: From `draw`.
        path: Where to write, ending in .png, .svg, .pdf or .webp.

    Returns:
        The path.

    Raises:
        UnknownName: If the ending is another one.
    """
    path = Path(path)
    path.write_bytes(to_bytes(figure, path.suffix.lower().lstrip(".")))
    return path
