"""Several runs on one offline HTML page: what differs, scores, curves, maps, times.

`aemtwin compare RUN RUN ...` writes it. Runs that differ in their seeds alone count as
repeats of one method (`aemtwin.plots.groups`); where scores do not compare, the page
says so first and marks no best. The report of one run is `aemtwin.report`.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange
from aemtwin.plots import comparison, several, story
from aemtwin.plots.comparability import (
    notes,
    settings_that_differ,
    unlike_machines,
    warnings,
)
from aemtwin.plots.comparison import MOST, calibrations, learning_curves, mean_maps
from aemtwin.plots.curves import PARTS, usual_times
from aemtwin.plots.groups import (
    REPEATS,
    Method,
    all_scored,
    differing,
    methods,
    settings,
)
from aemtwin.plots.style import plain, quantity, scale
from aemtwin.plots.words import duration, number
from aemtwin.report import (
    COLUMN_TEXTS,
    COLUMNS,
    SHARES,
    best_of,
    cell,
    drawn,
    page_of,
    write_page,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from aemtwin.record import RunRecord

LONGEST = 80  # letters of a headline that names all methods
NO_UNIT = "The runs are in different units, so they have no picture together."


def write_comparison(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a page that compares runs, whole or not at all.

    Args:
        runs: Folders of runs, finished or not, in the order to show them; one that is
            named twice counts once.
        out: The HTML file to write.

    Returns:
        Where the page is.

    Raises:
        BadJournal: If a folder is not a run's.
        OutOfRange: If no run is given.
        MissingExtra: If jinja2 or matplotlib is not installed.
    """
    from aemtwin.record import read_run

    folders = {Path(run).resolve(): Path(run) for run in runs}
    out = Path(out)
    page = render([read_run(folder) for folder in folders.values()], out)
    out.parent.mkdir(parents=True, exist_ok=True)
    return write_page(page, out)


def render(records: Sequence[RunRecord], out: Path | None = None) -> str:
    """Return the comparison of runs as one HTML page.

    Args:
        records: The runs, one or more.
        out: The file that it is for; the page tells the command.

    Raises:
        OutOfRange: If there is no run.
        MissingExtra: If jinja2 or matplotlib is not installed.
    """
    if not records:
        raise OutOfRange("compare got no run; it takes one or more folders of runs.")
    found, apart = methods(records), differing(records)
    own = [one for one in found if not one.baseline]
    warned = warnings(records)
    together = any(len(one.runs) >= REPEATS for one in own)
    rows = _rows(found, mark=not warned)
    titles, values = settings_that_differ(records)
    return page_of(
        "compare.html.j2",
        over=_over(records),
        headline=_headline(own),
        warnings=warned,
        notes=notes(records, own),
        facts=list(_facts(records, own, marked=not warned)),
        settings_of=titles,
        differing=values,
        equal=[
            (key, str(value))
            for key, value in settings(records[0]).items()
            if key not in apart
        ],
        scores=rows,
        columns=COLUMN_TEXTS if all_scored(records) else [*COLUMN_TEXTS, FOUND],
        several=several.section(found, mark=not warned),
        together=together,
        level_truth=story.level_truth(records[0]) if not warned else "",
        each=_each(found) if together else [],
        pictures=_pictures(found, records),
        times=[_times(one) for one in own],
        time_columns=[(word, "") for _, word, _ in PARTS]
        + [("whole run", ""), ("programs compiled", "")],
        machines=unlike_machines(records),
        runs=[
            (f"{i}: {one.uid}", story.headline(one), one.path)
            for i, one in enumerate(records, start=1)
        ],
        again=_again(records, out),
    )


FOUND = ("best measured", "The highest value that was measured, noise included.")


def _over(records: Sequence[RunRecord]) -> str:
    devices = Counter(story.device(record).split(",")[0] for record in records)
    first = next(iter(devices)).removeprefix("the ") + ")"
    more = f" and {len(devices) - 1} other" if len(devices) > 1 else ""
    runs = "1 run" if len(records) == 1 else f"{len(records)} runs"
    return f"{runs} on the {first.replace('))', ')')}{more}"


def _headline(own: Sequence[Method]) -> str:
    labels = [one.label for one in own]
    if len(labels) == 1:
        return labels[0]
    if len(text := " against ".join(labels)) <= LONGEST:
        return text
    return f"{len(labels)} {'methods' if _repeated(own) else 'runs'} compared"


def _repeated(own: Sequence[Method]) -> bool:
    return any(len(one.runs) >= REPEATS for one in own)


def _facts(
    records: Sequence[RunRecord], own: Sequence[Method], *, marked: bool
) -> list[tuple[str, str]]:
    counts = sorted({len(record.events) for record in records})
    told = [
        ("runs", str(len(records))),
        ("measurements in each", _span(counts)),
        ("number sought", several.numbers(records[0])),
    ]
    if not marked or not all_scored(records):
        return told
    for key, title in (
        ("top_1_percent_found", "most of the top 1 % found"),
        ("regret", "lowest regret"),
    ):
        means = [_mean(one, key) for one in own]
        best = best_of(key, means)
        if best and len(own) > 1:
            names = ", ".join(own[i].label for i in sorted(best))
            value = _spread(own[min(best)], key, means[min(best)])
            told.append((title, f"{value} by {names}"))
    return told


def _rows(found: Sequence[Method], *, mark: bool) -> list[dict[str, Any]]:
    """Rows of the table of scores, one a method; cells are (text, whether best)."""
    table: list[dict[str, Any]] = [
        {"method": _counted(one), "n": _span(_lengths(one)), "cells": []}
        for one in found
    ]
    for key in COLUMNS:
        means = [_mean(one, key) for one in found]
        best = best_of(key, means) if mark and len(found) > 1 else set()
        for i, (into, one) in enumerate(zip(table, found, strict=True)):
            into["cells"].append((_spread(one, key, means[i]), i in best))
    if not all_scored([record for one in found for record in one.runs]):
        for into, one in zip(table, found, strict=True):
            into["cells"].append((_highest(one), False))
    return table


def _each(found: Sequence[Method]) -> list[dict[str, Any]]:
    """Rows of single runs."""
    single = [
        one._replace(
            label=f"{one.label}, {run.uid}",
            runs=(run,),
            rows=(row,),
            curves=(curve,),
        )
        for one in found
        for run, row, curve in zip(one.runs, one.rows, one.curves, strict=True)
    ]
    return _rows(single, mark=False)


def _spread(one: Method, key: str, mean: float) -> str:
    """Return a score as a text, with the standard error of its mean."""
    units, like = one.runs[0].value_units, _like(one)
    values = _values(one, key)
    if values.size < 2:
        return cell(key, mean, units, like)
    error = float(values.std(ddof=1) / math.sqrt(values.size))
    if key in SHARES:
        return f"{100 * mean:.1f} ± {100 * error:.1f} %"
    if key == "nlpd":
        return f"{plain(mean)} ± {plain(error, 2)}"
    factor, label = scale(like, units)
    times = "× " if label.startswith("10") else ""
    return f"{mean * factor:.3g} ± {error * factor:.2g} {times}{label}".strip()


def _highest(one: Method) -> str:
    """Return the best measured value, the mean over the runs of a method."""
    if one.baseline:
        return "–"
    best = [
        max((e["data"]["value"] for e in r.events if e["data"]["valid"]), default=None)
        for r in one.runs
    ]
    values = [value for value in best if value is not None]
    units = one.runs[0].value_units
    return quantity(float(np.mean(values)), units) if values else "–"


def _values(one: Method, key: str) -> NDArray[np.float64]:
    values = np.array([number(row.get(key)) for row in one.rows])
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)


def _mean(one: Method, key: str) -> float:
    values = _values(one, key)
    return float(values.mean()) if values.size else math.nan


def _like(one: Method) -> list[float]:
    return [float((run.scores or {}).get("truth_best", 0.0)) for run in one.runs]


def _lengths(one: Method) -> list[int]:
    return sorted({int(row["n"]) for row in one.rows})


def _span(counts: Sequence[int]) -> str:
    return f"{counts[0]}–{counts[-1]}" if len(counts) > 1 else str(counts[0])


def _counted(one: Method) -> str:
    return one.label if len(one.rows) < 2 else f"{one.label} ({len(one.rows)} runs)"


def _pictures(
    found: Sequence[Method], records: Sequence[RunRecord]
) -> dict[str, dict[str, str]]:
    one_unit = len({record.value_units for record in records}) == 1
    some = any(np.isfinite(c).any() for one in found for c in one.curves)
    truth = records[0].truth if not warnings(records) else None
    own = [one for one in found if not one.baseline]
    names = ", ".join(one.label for one in own[:MOST])
    band = (
        " Of several runs, the median and the band from 16 % to 84 % of them."
        if _repeated(own)
        else ""
    )
    best = "true" if all_scored(records) else "measured"
    nothing = "No measurement gave a valid value."
    return {
        "learning": _picture(
            "Learning curves",
            f"The best {best} value found against the number of measurements.{band}",
            f"Learning curves of {names}.",
            learning_curves(found) if one_unit and some else None,
            nothing if one_unit else NO_UNIT,
        ),
        "hypervolume": _picture(
            "Hypervolume",
            "What the front found so far dominates, against the number of "
            f"measurements.{band}",
            f"Curves of hypervolume of {names}.",
            comparison.hypervolumes(found),
            "Hypervolumes of these runs do not compare.",
        ),
        "means": _picture(
            "Predicted means",
            "What each surrogate expects at the end, with its measured spots, on one "
            f"scale of colours; of each method the first run, up to {MOST} of them.",
            f"Maps of the predicted mean of {names}.",
            mean_maps(found, truth) if one_unit else None,
            "No run holds a map." if one_unit else NO_UNIT,
        ),
        "calibration": _picture(
            "Calibration",
            "How much the central intervals of the last predictions hold, against what "
            "they claim; without a truth, those of each measurement just before it was "
            f"made. Neighbours err together, so no band of chance is drawn.{band}",
            f"Curves of coverage of {names}.",
            calibrations(found),
            "No prediction can be held against anything.",
        ),
    }


def _picture(
    title: str, caption: str, alt: str, figure: Figure | None, missing: str
) -> dict[str, str]:
    found = {"title": title, "caption": caption, "alt": alt, "missing": missing}
    return found | ({"data": ""} if figure is None else drawn(figure))


def _times(one: Method) -> dict[str, Any]:
    """A row of the table of times."""
    usual = [usual_times(run) for run in one.runs]
    cells = []
    for key, *_ in PARTS:
        seconds = [parts[key] for parts in usual if key in parts]
        cells.append(quantity(float(np.median(seconds)), "s", 3) if seconds else "–")
    whole = [r.stop["time"] - r.start["time"] for r in one.runs if r.stop]
    cells.append(duration(float(np.median(whole))) if whole else "–")
    programs = [(r.stop or {}).get("compilations") for r in one.runs]
    known = sorted({int(count) for count in programs if count is not None})
    cells.append(_span(known) if known else "–")
    texts = [(text, False) for text in cells]
    return {"method": _counted(one), "n": _span(_lengths(one)), "cells": texts}


def _again(records: Sequence[RunRecord], out: Path | None) -> str:
    command = ["aemtwin", "compare", *(str(record.path) for record in records)]
    return shlex.join([*command, *(["-o", str(out)] if out else [])])
