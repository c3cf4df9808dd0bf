"""A run in words: what it was measured on, its result, how it ended, what to beware of.

For the report, the page and the command line. What single pictures show is told in
`aemtwin.plots.words`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from aemtwin.plots.front import on_front
from aemtwin.plots.reading import points
from aemtwin.plots.several import COLUMNS, numbers, rows_of
from aemtwin.plots.style import quantity
from aemtwin.plots.words import duration, number, percent, place

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

LEAKY = (
    "Structural input is derived from the spectra (leaky = true): scores of this run "
    "say nothing about a real experiment."
)
LEVEL_TRUTH = (
    "All true values are equal, so any measurement is the best: top 1 % and NLPD mean "
    "little here."
)


def device(record: RunRecord) -> str:
    """Return what a run was measured on, as the end of a sentence."""
    spec = record.start.get("instrument", {})
    identity = spec.get("identity", {})
    name, kind = spec.get("name", "unnamed"), str(spec.get("kind", "")).upper()
    has_data = any(key.endswith("sha256") for key in identity)
    if not identity.get("twin", has_data):
        return f"the instrument {name} ({kind})"
    chance = "ideal" if identity.get("ideal") else f"seed {identity.get('seed', 0)}"
    return f"the digital twin {name} ({kind}, {chance})"


def headline(record: RunRecord) -> str:
    """Return the result of a run in one line."""
    spots = points(record)
    if (best := spots.best) is None:
        return "No valid measurement"
    if record.others:
        k, n = len(on_front(record)), len(record.events)
        return f"{k} of {n} measurements are on the front of {numbers(record)}"
    name = record.value_name.replace("_", " ")
    value = quantity(float(spots.value[best]), record.value_units)
    where = place(float(spots.x[best]), float(spots.y[best]))
    return f"Best {name}: {value} at {where}"


def status(record: RunRecord) -> str:
    """Return how a run ended and what it skipped, in sentences; "" if all is well."""
    said = []
    if record.stop is None:
        said.append("This run has no end on record: it goes on, or was cut off.")
    else:
        words = {"abort": "was aborted", "fail": "failed"}
        reason = str(record.stop.get("reason") or "no reason was given").rstrip(".")
        if word := words.get(record.stop["exit_status"]):
            said.append(f"This run {word}: {reason}.")
        elif record.stop.get("reason"):
            said.append(f"This run ended before all its steps, by the {reason}.")
    if lost := failures(record):
        spots = "1 spot was" if lost == 1 else f"{lost} spots were"
        said.append(f"{spots} skipped, since the instrument could not measure there.")
    return " ".join(said)


def warnings(record: RunRecord) -> list[str]:
    """Return what a reader must know before believing the scores of a run."""
    channels = record.start.get("instrument", {}).get("channels", [])
    derived = {one["name"] for one in channels if one.get("derived")}
    return [LEAKY] if derived & set(record.start.get("images", ())) else []


def level_truth(record: RunRecord) -> str:
    """Return a sentence where all true values are equal, else ""."""
    truth = np.zeros(2) if record.truth is None else record.truth
    known = truth[np.isfinite(truth)]
    if record.truth is None or np.ptp(known) > 1e-9 * np.abs(known).max():
        return ""
    return LEVEL_TRUTH


def facts(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Give the numbers that belong under the headline: a label and a value each."""
    spots, units = points(record), record.value_units
    best, scores = spots.best, record.scores
    if record.others:
        yield from _facts_of_several(record)
    elif scores and best is not None and record.truth is not None:
        top, row = float(scores["truth_best"]), (scores.get("rows") or [{}])[0]
        there = float(record.truth[record.events[best]["data"]["index"]])
        yield "truth at that spot", quantity(there, units)
        yield "highest there is", quantity(top, units)
        yield "regret", quantity(number(row.get("regret")), units, 3, like=[top])
        yield "top 1 % found", percent(row.get("top_1_percent_found"))
    else:
        yield "truth", "not known"
    if best is not None and not record.others:
        yield "best found by", f"measurement {best + 1} of {len(record.events)}"
    failed = failures(record)
    invalid = int((~spots.valid).sum()) - failed
    skipped = f", {failed} failed" if failed else ""
    yield "measurements", f"{len(record.events)}, {invalid or 'none'} invalid{skipped}"
    if told := dwells(record):
        yield "dwell", told
    if seen := patches(record):
        yield "patches", seen
    if not calibrated(record):
        yield "lengths", "not calibrated: 1 unit of the file counts as 1 nm"
    began, ended = record.start.get("time"), (record.stop or {}).get("time")
    if began is not None:
        when = datetime.fromtimestamp(float(began), UTC)
        yield "began", f"{when:%Y-%m-%d %H:%M} UTC"
        if ended is not None:
            yield "took", duration(float(ended) - float(began))


def dwells(record: RunRecord) -> str:
    """Return which dwells were decided on, and how long all took; "" of other runs."""
    rows = [event["data"] for event in record.events]
    chosen = Counter(
        row["dwell_s"]
        for row in rows
        if row.get("dwell_s") and row["phase"] == "search"
    )
    if not chosen:
        return ""
    each = [f"{quantity(t, 's')} × {k}" for t, k in sorted(chosen.items())]
    ended = duration(float(rows[-1]["instrument_time_s"]))
    return f"{', '.join(each)}; ended {ended} into the instrument's time"


def _facts_of_several(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "numbers sought", numbers(record)
    for row in rows_of(record)[:1]:
        for key, (title, _) in COLUMNS.items():
            if row[key] is not None:
                yield title, percent(row[key])
    if record.true_outcomes is None:
        yield "truth", "not known"


def failures(record: RunRecord) -> int:
    """Return how many spots the instrument could not measure."""
    return sum(
        bool(data.get("failed"))
        or (not data["valid"] and str(data.get("notices") or "").startswith("failed"))
        for data in (event["data"] for event in record.events)
    )


def calibrated(record: RunRecord) -> bool:
    """Say whether lengths are real ones, not pixels taken for nanometres."""
    identity = record.start.get("instrument", {}).get("identity", {})
    return identity.get("calibrated") is not False


def patches(record: RunRecord) -> str:
    """Return which image patches the surrogate was told; "" if none."""
    said = _inputs(record)
    channels = record.start.get("images")
    if not channels:
        return ""
    size = said.get("size", 8)
    scales = list(said.get("scales", [1]))
    apart = "" if scales == [1] else f" at scales {', '.join(map(str, scales))}"
    edge = "" if said.get("border", "mirror") == "mirror" else ", whole ones alone"
    return f"{size} × {size} px of {', '.join(channels)}{apart}{edge}"


def _inputs(record: RunRecord) -> dict[str, Any]:
    return dict(record.config.get("inputs") or {})
