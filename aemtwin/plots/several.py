"""Runs that seek several numbers, in tables: what was found, of one run or of methods.

`aemtwin.plots.front` draws them, `aemtwin.report` and `aemtwin.compare` show both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin import fronts
from aemtwin.plots.front import Array, on_front, share, told, volumes
from aemtwin.plots.groups import Method
from aemtwin.plots.style import quantity
from aemtwin.plots.words import number, percent, place

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

COLUMNS = {  # of the scores: title, what it says
    "hypervolume_found": (
        "hypervolume found",
        "What the true numbers of the measured spots dominate above the reference, of "
        "what the truth of all candidates dominates; all is best.",
    ),
    "front_found": (
        "front found",
        "How many of the candidates that no other dominates were measured; all is "
        "best.",
    ),
    "outcomes_reached": (
        "outcomes reached",
        "Each number is cut into five; of the cells that some candidate reaches, how "
        "many a measured one does. It is what novelty seeks.",
    ),
}
TERMS = list(COLUMNS.values())

Row = Mapping[str, Any]


def numbers(record: RunRecord) -> str:
    """Return all that a run seeks, as a text: `loop area and −imprint`."""
    names = [told(name) for name, _ in record.sought]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def rows_of(record: RunRecord) -> list[Row]:
    """Return the scores of several numbers, a row for each method; none unscored."""
    return list(((record.scores or {}).get("several") or {"rows": []})["rows"])


def table(
    rows: Sequence[tuple[str, str, Sequence[Row]]], *, mark: bool = True
) -> list[dict[str, Any]]:
    """Return the rows of a table: each a label, a count, and one or more scores.

    Cells are (text, whether it is the best): the mean, and its standard error.
    """
    made: list[dict[str, Any]] = [
        {"method": label, "n": n, "cells": []} for label, n, _ in rows
    ]
    for key in COLUMNS:
        values = [np.array([number(one.get(key)) for one in few]) for *_, few in rows]
        means = [float(v.mean()) if v.size else math.nan for v in values]
        best = max((m for m in means if not math.isnan(m)), default=math.nan)
        for into, v, mean in zip(made, values, means, strict=True):
            text = percent(None if math.isnan(mean) else mean)
            if v.size > 1 and not math.isnan(mean):
                error = float(v.std(ddof=1) / math.sqrt(v.size))
                text = f"{100 * mean:.1f} ± {100 * error:.1f} %"
            into["cells"].append((text, mark and len(rows) > 1 and mean == best))
    return made


def scored(record: RunRecord) -> list[dict[str, Any]]:
    """Return the table of one run, and of the random one beside it."""
    return table(
        [
            (f"{row['method']}{'' if i else ' (this run)'}", str(row["n"]), [row])
            for i, row in enumerate(rows_of(record))
        ]
    )


def section(methods: Sequence[Method], *, mark: bool) -> dict[str, Any]:
    """Return what a comparison tells of several numbers; {} where one is sought."""
    runs = [run for one in methods for run in one.runs]
    if not all(run.others for run in runs):
        return {}
    rows = compared(methods, mark=mark)
    at = reference(runs[0]) if rows and mark else ""
    return {"rows": rows, "terms": TERMS, "reference": at}


def compared(methods: Sequence[Method], *, mark: bool = True) -> list[dict[str, Any]]:
    """Return the table of methods; none where a run has no such scores."""
    rows = []
    for one in methods:
        names = [row.get("method") for row in one.rows]
        pairs = zip(one.runs, names, strict=True)
        few = [r for run, m in pairs for r in rows_of(run) if r["method"] == m]
        if len(few) < len(one.runs):
            return []
        label = one.label if len(few) < 2 else f"{one.label} ({len(few)} runs)"
        counts = sorted({int(row["n"]) for row in few})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        rows.append((label, n, few))
    return table(rows, mark=mark)


def measured(record: RunRecord) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the measurements on the front as rows of a table, and its columns."""
    rows = []
    for i in on_front(record):
        data, outcome = record.events[i]["data"], record.outcomes[i]
        cells = [
            (quantity(float(value), units), False)
            for value, (_, units) in zip(outcome, record.sought, strict=True)
        ]
        where = place(float(data["x"]), float(data["y"]))
        rows.append({"method": str(i + 1), "n": where, "cells": cells})
    return rows, [(told(name), "") for name, _ in record.sought]


def reference(record: RunRecord) -> str:
    """Say from where hypervolume is counted; "" where it is not."""
    found = volumes(record)
    if found is None:
        return ""
    where = ", ".join(
        f"{told(name)} = {quantity(float(at), units)}"
        for at, (name, units) in zip(found.reference, record.sought, strict=True)
    )
    of = "the true front" if found.whole is not None else "the front as measured"
    return (
        f"Hypervolume is counted from {where}: a tenth of the range of {of} below it."
    )


def volumes_together(methods: Sequence[Method]) -> tuple[list[list[Array]], bool]:
    """Return the hypervolumes of every run of every method, and whether in per cent.

    They are shares of that of the truth where it is the same for all; otherwise of
    what was measured, from one reference. None where runs do not compare.
    """
    runs = [run for one in methods for run in one.runs]
    if any(run.sought != runs[0].sought or not run.others for run in runs):
        return [], False
    found = [volumes(run) for run in runs]
    known = [one for one in found if one is not None and one.whole is not None]
    if len(known) == len(runs):
        same = (
            np.allclose(one.reference, known[0].reference, rtol=1e-6, atol=0.0)
            for one in known
        )
        if not all(same):
            return [], False
        return [[_share(run, row) for run, row in _rows(one)] for one in methods], True
    y = np.vstack([run.outcomes for run in runs])
    y = y[np.isfinite(y).all(axis=1)]
    if not len(y) or not 2 <= y.shape[1] <= fronts.MOST:
        return [], False
    at = fronts.reference_of(y)
    own = [one if not one.baseline else one._replace(runs=()) for one in methods]
    return [[fronts.volumes(r.outcomes, at) for r in one.runs] for one in own], False


def _rows(one: Method) -> list[tuple[RunRecord, Row]]:
    return list(zip(one.runs, one.rows, strict=True))


def _share(run: RunRecord, row: Row) -> Array:
    found = volumes(run)
    assert found is not None
    return share(found.curves[str(row["method"])], found)
