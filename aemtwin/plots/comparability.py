"""Whether scores of several runs compare, and what to bear in mind where they do.

`aemtwin.compare` puts these sentences at the head of its page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots import story
from aemtwin.plots.groups import (
    SEEDS,
    Method,
    differing,
    part_text,
    settings,
    specimen,
)
from aemtwin.plots.style import quantity

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

WIDEST = 6  # runs whose settings have a column each
MACHINE = ("platform", "processor", "cores", "jax_backend", "packages.jax")


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """Return what to be told before scores are compared, a sentence each."""
    said = incomparable(records)
    leaky = [record.uid for record in records if story.warnings(record)]
    if leaky:
        said.append(f"{story.LEAKY} It holds for: {', '.join(leaky)}.")
    return said


def incomparable(records: Sequence[RunRecord]) -> list[str]:
    """Return why scores of these runs do not compare, a sentence each."""
    said = list[str]()

    def unless_equal(what: str, tell: Callable[[RunRecord], str]) -> None:
        kinds = Counter(tell(record) for record in records)
        if len(kinds) > 1:
            named = "; ".join(f"{k} ({n})" for k, n in kinds.most_common(4))
            more = f" and {len(kinds) - 4} more" if len(kinds) > 4 else ""
            said.append(f"The runs {what}: {named}{more}. Their scores do not compare.")

    def data(record: RunRecord) -> str:
        name, *hashes = specimen(record)
        return f"{name}, data {hashes[0][:12]}" if hashes else f"{name}, without hash"

    unless_equal("were made on different specimens", data)
    unless_equal("seek different numbers", _scalarizer)
    unless_equal("are in different units", lambda r: r.value_units or "no unit")
    unless_equal("chose among different candidates", _candidates)
    if not said and len(records) > 1:
        truths = [r.truth for r in records if r.truth is not None]
        if any(not _same(truth, truths[0]) for truth in truths[1:]):
            said.append(
                "The truth is not the same in all runs, as with a number sought that "
                "each learned by itself. Their scores do not compare."
            )
    return said


def notes(records: Sequence[RunRecord], own: Sequence[Method]) -> list[str]:
    """Return what to bear in mind that does not forbid to compare, a sentence each."""
    said = []
    open_ended = [r.uid for r in records if r.stop is None]
    if open_ended:
        said.append(f"No end is on record of {', '.join(open_ended)}: not finished.")
    bad = [
        f"{record.uid} ({record.stop['exit_status']})"
        for record in records
        if record.stop is not None and record.stop["exit_status"] != "success"
    ]
    if bad:
        said.append(f"Not every run ended well: {', '.join(bad)}.")
    unscored = sum(record.scores is None for record in records)
    if unscored and unscored < len(records):
        said.append(
            f"{unscored} of {len(records)} runs have no scores, since no truth is "
            "known; learning curves are of measured values therefore."
        )
    counts = {len(record.events) for record in records}
    if len(counts) > 1:
        said.append(
            f"The runs have {min(counts)} to {max(counts)} measurements; who measured "
            "more has found more. Compare the curves at equal numbers."
        )
    seeds = {tuple(sorted(_seeds(r) for r in one.runs)) for one in own}
    if len(seeds) > 1:
        said.append(
            "The methods were not run with the same seeds, so chance in first points "
            "and noise is not shared."
        )
    failed = sum(story.failures(record) for record in records)
    if failed:
        said.append(f"{failed} measurements failed on the instrument and were skipped.")
    if not all(story.calibrated(record) for record in records):
        said.append("Lengths are not calibrated: 1 unit of a file counts as 1 nm.")
    return said


def unlike_machines(records: Sequence[RunRecord]) -> str:
    """Return a sentence where wall-clock times do not compare, else ""."""
    said = [_machine(record) for record in records]
    unlike = [key for key in MACHINE if len({one.get(key) for one in said}) > 1]
    if not unlike:
        return ""
    return f"Times do not compare: {', '.join(unlike)} differ between the runs."


def _machine(record: RunRecord) -> dict[str, str]:
    told = record.environment
    versions = {f"packages.{k}": v for k, v in (told.get("packages") or {}).items()}
    return {**told, **versions}


def settings_that_differ(
    records: Sequence[RunRecord],
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the titles and rows of the table of settings that differ."""
    apart = differing(records)
    if len(records) <= WIDEST:
        titles = [f"run {i + 1}" for i in range(len(records))]
        return titles, [(k, [_said(v) for v in vs]) for k, vs in apart.items()]
    rows = []
    for key, values in apart.items():
        counts = Counter(_said(value) for value in values)
        texts = [f"{value} ({n} runs)" for value, n in counts.most_common(8)]
        texts += ["…"] * (len(counts) > 8)
        rows.append((key, [", ".join(texts)]))
    return ["values"], rows


def _said(value: Any) -> str:
    return "–" if value is None else str(value)


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Say whether two truths agree to rounding, whatever their unit."""
    near = 1e-9 * float(np.nanmax(np.abs(b)))
    return bool(np.allclose(a, b, rtol=0, atol=near, equal_nan=True))


def _scalarizer(record: RunRecord) -> str:
    said = record.config.get("scalarizer") or {}
    if isinstance(said, list):
        return " and ".join(map(part_text, said))
    params = ", ".join(f"{k} {v}" for k, v in (said.get("params") or {}).items())
    name = str(said.get("name", record.value_name))
    return f"{name} with {params}" if params else name


def _candidates(record: RunRecord) -> str:
    (left, low), (right, high) = record.candidates.min(0), record.candidates.max(0)
    rows, columns = record.shape
    field = " × ".join(quantity(side, "m", 3) for side in (right - left, high - low))
    return f"{rows} × {columns} over {field}"


def _seeds(record: RunRecord) -> tuple[str, ...]:
    said = settings(record)
    return tuple(str(said.get(key)) for key in SEEDS)
