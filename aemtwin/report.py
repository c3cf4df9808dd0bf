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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aemtwin import plots
from aemtwin.errors import MissingExtra
from aemtwin.plots import several, story, words
from aemtwin.plots.front import told
from aemtwin.plots.reading import dose_units
from aemtwin.plots.style import plain, quantity
from aemtwin.plots.words import number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

COLUMN_TEXTS = [(title, text) for title, text, _ in COLUMNS.values()]
SHARES = ("top_1_percent_found", "coverage_90")
NO_BREAK = "\u00a0"  # a space
SHORT = 18  # letters of a cell that stays on one line
REM = 7.4  # width of a picture on the page, for each inch
SLIM = 3.5  # inches, below which four maps stand side by side


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
    return write_page(render(record), Path(run_folder) / REPORT)


def write_page(page: str, path: Path) -> Path:
    """Write a page, whole or not at all, and return where it is."""
    handle, part = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def page_of(template: str, **values: Any) -> str:
    """Fill in one of the templates; what comes from outside is escaped.

    Raises:
        MissingExtra: If jinja2 is not installed.
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
    templates.filters["kept"] = _kept
    return templates.get_template(template).render(**values)


def _kept(text: str) -> str:
    """Keep a number and its unit on one line; a long unit may have its own."""
    number, space, unit = text.rpartition(" ")
    between = NO_BREAK if len(text) <= SHORT else space
    return number.replace(" ", NO_BREAK) + between * bool(space) + unit


def render(record: RunRecord) -> str:
    """Return the report of a run as one HTML page.

    Raises:
        MissingExtra: If jinja2 or matplotlib is not installed.
    """
    return page_of(
        "report.html.j2",
        uid=record.uid,
        device=story.device(record),
        headline=story.headline(record),
        warnings=story.warnings(record),
        status=story.status(record),
        facts=list(story.facts(record)),
        pictures={kind: _picture(kind, record) for kind in plots.KINDS},
        slim=plots.size("mean", record)[0] < SLIM,
        scores=_scores(record),
        several=_several(record),
        level_truth=story.level_truth(record),
        columns=COLUMN_TEXTS,
        compilations=_compilations(record),
        notices=_notices(record),
        identity=list(flat(record.start.get("instrument", {}).get("identity", {}))),
        hashes=hashes(record),
        config=record.config_text,
        environment=list(flat(record.environment)),
        **_commands(record),
    )


def _picture(kind: str, record: RunRecord) -> dict[str, str]:
    """One picture, or the sentence that stands for it; {} where it has no place."""
    missing = plots.missing(kind, record)
    if kind == "latent" and missing:  # most surrogates have none
        return {}
    if kind in ("front", "hypervolume") and not record.others:
        return {}
    if kind == "dose" and (missing or dose_units(record) == "s"):
        return {}
    found = {
        "title": words.TITLES[kind],
        "caption": words.caption(kind, record),
        "alt": words.alt(kind, record),
        "missing": missing or "",
        "data": "",
    }
    return found if missing else found | drawn(plots.draw(kind, record))


def drawn(figure: Figure) -> dict[str, str]:
    """Return a figure as a page holds it: its bytes, and how wide it may be shown."""
    data = base64.b64encode(plots.to_bytes(figure, "png")).decode("ascii")
    return {"data": data, "rem": f"{REM * figure.get_figwidth():.1f}"}


def _scores(record: RunRecord) -> list[dict[str, Any]]:
    """Rows of the table; each cell is (text, whether it is the column's best)."""
    if not record.scores:
        return []
    rows = score_rows(record.scores["rows"], record)
    rows[0]["method"] += " (this run)"
    return rows


def _several(record: RunRecord) -> dict[str, Any]:
    """What there is to tell where several numbers are sought; {} where one is."""
    if not record.others:
        return {}
    rows, columns = several.measured(record)
    return {
        "first": told(record.value_name),
        "scores": several.scored(record),
        "terms": several.TERMS,
        "reference": several.reference(record),
        "rows": rows,
        "columns": columns,
    }


def score_rows(
    rows: Sequence[Mapping[str, Any]], record: RunRecord, *, mark: bool = True
) -> list[dict[str, Any]]:
    """Return the rows of a table of scores.

    Args:
        rows: As in `RunRecord.scores`.
        record: A run that tells the unit and the highest there is.
        mark: Whether to mark the best of each column.

    Returns:
        method, n and cells of each; a cell is (text, whether it is the best).
    """
    like = [(record.scores or {}).get("truth_best", 0.0)]
    table: list[dict[str, Any]] = [
        {"method": row["method"], "n": row["n"], "cells": []} for row in rows
    ]
    for key in COLUMNS:
        values = [number(row.get(key)) for row in rows]
        best = best_of(key, values) if mark and len(rows) > 1 else set()
        for i, (into, value) in enumerate(zip(table, values, strict=True)):
            into["cells"].append(
                (cell(key, value, record.value_units, like), i in best)
            )
    return table


def best_of(key: str, values: Sequence[float]) -> set[int]:
    """Return which values of a column are the best; NaN never is."""
    ideal = COLUMNS[key][2]
    apart = [v if ideal == -math.inf else abs(v - ideal) for v in values]
    least = min((a for a in apart if not math.isnan(a)), default=math.nan)
    return {i for i, a in enumerate(apart) if a == least}


def cell(key: str, value: float, units: str, like: Sequence[float]) -> str:
    """Return one score as a text; `like` chooses the prefix of its unit."""
    if math.isnan(value):
        return "–"
    if key in SHARES:
        return percent(value)
    return plain(value) if key == "nlpd" else quantity(value, units, 3, like=like)


def _compilations(record: RunRecord) -> str:
    count = (record.stop or {}).get("compilations")
    if count is None:
        return "How many programs were compiled is not on record yet: the end tells it."
    return f"{count} programs were compiled, or read from the cache of earlier runs."


def _notices(record: RunRecord) -> list[str]:
    """What the instrument said of single measurements."""
    said = ((e["seq_num"], e["data"].get("notices")) for e in record.events)
    return [f"Measurement {number}: {text}" for number, text in said if text]


def hashes(record: RunRecord) -> list[str]:
    """Return the SHA-256 of the data behind a twin; none of a real instrument."""
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
        "gone": _gone(record),
    }


def _gone(record: RunRecord) -> str:
    """Say what to add where the instrument of a run was an address."""
    uri = record.config.get("uri")
    if not uri:
        return ""
    identity = record.start.get("instrument", {}).get("identity", {})
    twin = identity.get("source") if identity.get("twin") else None
    say = shlex.join(["--twin", str(twin)]) if twin else "--twin NAME"
    return (
        f"The instrument of this run answered at {uri}. Once nobody answers there, add "
        f"the address of one that does, --uri URI, or a twin to serve, {say}."
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Give nested tables as pairs of a dotted key and a text."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        elif value not in ("", None, [], ()):
            yield f"{prefix}{key}", str(value)
