"""One offline HTML file per run: pictures, scores, and all that makes it again.

The page needs no network, no script and no other file; the same run gives the same
bytes. It is read from a `RunRecord` alone, with the pictures of `aemtwin.plots`; its
text is laid out in `templates/report.html.j2`.
"""

from __future__ import annotations

import base64
import math
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aemtwin import plots
from aemtwin.errors import MissingExtra
from aemtwin.plots import words
from aemtwin.plots.style import quantity
from aemtwin.plots.words import number, percent

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

REPORT = "report.html"

COLUMNS = {  # of the scores: title, what it says, which value is best
    "top_1_percent_found": (
        "top 1 % found",
        "How much of the best hundredth of all candidates was measured; all is best.",
        1.0,
    ),
    "regret": (
        "regret",
        "How far the best measured spot lies below the highest there is; 0 is best.",
        0.0,
    ),
    "rmse": (
        "map RMSE",
        "Root mean square error of the predicted mean over all candidates; low is "
        "best.",
        -math.inf,
    ),
    "nlpd": (
        "NLPD",
        "Mean negative log density, in nats, that the prediction gives the truth; low "
        "is best. It depends on the unit, so compare within this table alone.",
        -math.inf,
    ),
    "coverage_90": (
        "coverage 90 %",
        "How many candidates have their truth inside the predicted 90 % interval; 90 % "
        "is calibrated, less is overconfident.",
        0.9,
    ),
}


def write_report(run_folder: str | Path) -> Path:
    """Write `report.html` into a run's folder, whole or not at all.

    Args:
        run_folder: The folder of a run, finished or not.

    Returns:
        Where the report is.

    Raises:
        BadJournal: If the folder is not a run's.
        MissingExtra: If jinja2 or matplotlib is not installed.
    """
    from aemtwin.record import read_run

    record = read_run(run_folder)
    path = Path(run_folder) / REPORT
    page = render(record).encode("utf-8")
    handle, part = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def render(record: RunRecord) -> str:
    """Return the report of a run as one HTML page.

    Raises:
        MissingExtra: If jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra(
            f"The report needs jinja2, which is not installed ({error}). "
            "Install it with: pip install 'aemtwin[view]'."
        ) from error
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("aemtwin", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report.html.j2").render(
        uid=record.uid,
        device=words.device(record),
        headline=words.headline(record),
        facts=list(words.facts(record)),
        status=words.status(record),
        pictures={kind: _picture(kind, record) for kind in plots.KINDS},
        scores=_scores(record),
        columns=[(title, text) for title, text, _ in COLUMNS.values()],
        compilations=_compilations(record),
        notices=_notices(record),
        identity=list(_flat(record.start.get("instrument", {}).get("identity", {}))),
        hashes=_hashes(record),
        config=record.config_text,
        environment=list(_flat(record.environment)),
        **_commands(record),
    )


def _picture(kind: str, record: RunRecord) -> dict[str, str]:
    """One picture, or the sentence that stands for it."""
    missing = plots.missing(kind, record)
    data = "" if missing else base64.b64encode(_png(kind, record)).decode("ascii")
    return {
        "title": words.TITLES[kind],
        "caption": words.caption(kind, record),
        "alt": words.alt(kind, record),
        "data": data,
        "missing": missing or "",
    }


def _png(kind: str, record: RunRecord) -> bytes:
    return plots.to_bytes(plots.draw(kind, record), "png")


def _scores(record: RunRecord) -> list[dict[str, Any]]:
    """Rows of the table; each cell is (text, whether it is the column's best)."""
    if not record.scores:
        return []
    rows, units = record.scores["rows"], record.value_units
    cells: list[dict[str, Any]] = [
        {"method": row["method"], "n": row["n"], "cells": []} for row in rows
    ]
    for key, (*_, ideal) in COLUMNS.items():
        values = [number(row.get(key)) for row in rows]
        apart = [v if ideal == -math.inf else abs(v - ideal) for v in values]
        least = min((a for a in apart if not math.isnan(a)), default=math.nan)
        for into, value, off in zip(cells, values, apart, strict=True):
            if math.isnan(value):
                text = "–"
            elif key in ("top_1_percent_found", "coverage_90"):
                text = percent(value)
            elif key == "nlpd":
                text = f"{value:.3f}"
            else:
                text = quantity(value, units, 3, like=[record.scores["truth_best"]])
            into["cells"].append((text, len(rows) > 1 and off == least))
    return cells


def _compilations(record: RunRecord) -> str:
    count = (record.stop or {}).get("compilations")
    if count is None:
        return "How many programs were compiled is not on record yet: the end tells it."
    return f"{count} programs were compiled, or read from the cache of earlier runs."


def _notices(record: RunRecord) -> list[str]:
    """What the instrument said of single measurements."""
    said = ((e["seq_num"], e["data"].get("notices")) for e in record.events)
    return [f"Measurement {number}: {text}" for number, text in said if text]


def _hashes(record: RunRecord) -> list[str]:
    identity = record.start.get("instrument", {}).get("identity", {})
    return [str(value) for key, value in identity.items() if key.endswith("sha256")]


def _commands(record: RunRecord) -> dict[str, Any]:
    path = Path(record.path)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    done = record.stop is not None and record.stop["exit_status"] == "success"
    return {
        "again": shlex.join(["aemtwin", "run", str(path / "config.toml")]),
        "resume": shlex.join(["aemtwin", "resume", str(path)]),
        "done": done,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in ("", None, [], ()):
            yield f"{prefix}{key}", str(value)
