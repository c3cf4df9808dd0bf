"""Several runs side by side: which repeat one another, and what tells methods apart.

Runs that differ in nothing but their seeds are repeats of one method. With three
repeats or more of any, methods are drawn and tabled as a whole; with fewer, run by run.
`aemtwin.plots.comparison` draws them, `aemtwin.compare` makes the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.plots.coverage import method
from aemtwin.plots.reading import points

if TYPE_CHECKING:
    from aemtwin.record import RunRecord

Array = NDArray[np.float64]
IGNORED = ("out", "uri")  # where a run was written, and whom it asked
SEEDS = ("seed", "twin.seed")
REPEATS = 3  # of one method, from which methods are shown as a whole
NAMED = 3  # settings that a label names


class Method(NamedTuple):
    """What one line of the comparison stands for."""

    label: str
    runs: tuple[RunRecord, ...]  # of which the rows and curves are
    rows: tuple[Mapping[str, Any], ...]  # scores of each run; {} where it has none
    curves: tuple[Array, ...]  # best value after 1, 2, ... measurements, of each
    baseline: bool = False  # whether it is the random run beside others


def settings(record: RunRecord) -> dict[str, Any]:
    """Return the configuration with dotted keys, without what is `IGNORED`."""
    found = dict(_flat(record.config))
    return {key: value for key, value in found.items() if key not in IGNORED}


def differing(records: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs: one value a run.

    A run that does not have a setting has None there.
    """
    said = [settings(record) for record in records]
    keys = dict.fromkeys(key for one in said for key in one)
    columns = {key: [one.get(key) for one in said] for key in keys}
    return {
        key: values
        for key, values in columns.items()
        if any(value != values[0] for value in values)
    }


def methods(records: Sequence[RunRecord]) -> list[Method]:
    """Return the methods that runs were made by, and their random baselines last.

    Args:
        records: The runs, in the order that they shall have.
    """
    apart = differing(records)
    kept: dict[tuple[Any, ...], list[int]] = {}
    for i, record in enumerate(records):
        fixed = [(k, v[i]) for k, v in apart.items() if k not in SEEDS]
        kept.setdefault((specimen(record), *map(repr, fixed)), []).append(i)
    together = any(len(members) >= REPEATS for members in kept.values())
    groups = list(kept.values()) if together else [[i] for i in range(len(records))]
    labels = [_label(records[g[0]], g[0], apart, seeds=not together) for g in groups]
    scored = all_scored(records)
    found = [
        Method(
            label,
            tuple(records[i] for i in members),
            tuple(_row(records[i]) for i in members),
            tuple(_curve(records[i], scored) for i in members),
        )
        for label, members in zip(_unlike(labels, groups), groups, strict=True)
    ]
    return found + _baselines(records, apart, together=together)


def all_scored(records: Sequence[RunRecord]) -> bool:
    """Say whether every run was held against a truth."""
    return all(record.scores is not None for record in records)


def specimen(record: RunRecord) -> tuple[str, ...]:
    """Return what was measured on: the instrument's name, and the hash of its data."""
    spec = record.start.get("instrument", {})
    identity = spec.get("identity", {})
    hashes = (str(v) for k, v in identity.items() if k.endswith("sha256"))
    return (str(spec.get("name", "")), *hashes)


def _label(
    record: RunRecord, i: int, apart: Mapping[str, list[Any]], *, seeds: bool
) -> str:
    """Name a method by its surrogate and acquisition, and by what else differs."""
    text, extras = method(record), []
    if " + " not in text and "surrogate.name" in apart:
        extras.append(f"map by {apart['surrogate.name'][i]}")  # of a policy
    for key, values in apart.items():
        if key in (*SEEDS, "surrogate.name", "acquisition.name") or values[i] is None:
            continue
        said = [value for value in values if value is not None]
        if key.startswith("twin.") and all(value == said[0] for value in said):
            continue  # others had a URI
        value = Path(values[i]).name if key == "twin.source" else values[i]
        name = "twin" if key == "twin.source" else key.removesuffix(".name")
        extras.append(f"{name.rpartition('.')[2]} {value}")
    extras = extras[:NAMED] + ["…"] * (len(extras) > NAMED)
    if seeds:
        told = {
            key: apart[key][i]
            for key in SEEDS
            if len(set(apart.get(key, [])) - {None}) > 1 and apart[key][i] is not None
        }
        if told.get("seed") == told.get("twin.seed"):
            told.pop("twin.seed", None)
        extras += [f"{key.replace('.', ' ')} {seed}" for key, seed in told.items()]
    return ", ".join([text, *extras])


def _unlike(labels: list[str], groups: list[list[int]]) -> Iterator[str]:
    """Tell apart what is labelled alike by the number of its first run."""
    for label, members in zip(labels, groups, strict=True):
        again = labels.count(label) > 1
        yield f"{label}, run {members[0] + 1}" if again else label


def _baselines(
    records: Sequence[RunRecord], apart: Mapping[str, list[Any]], *, together: bool
) -> list[Method]:
    """Return the random runs beside these; the same one beside several counts once."""
    kept: dict[str, dict[str, tuple[RunRecord, Mapping[str, Any], Array]]] = {}
    several = len({specimen(record) for record in records}) > 1
    for i, record in enumerate(records):
        scores = record.scores or {"rows": [], "curves": {}}
        for row in scores["rows"][1:]:
            label = f"{row['method']} (baseline)"
            if "surrogate.name" in apart:
                label += f", map by {apart['surrogate.name'][i]}"
            if not together and "seed" in apart:
                label += f", seed {apart['seed'][i]}"
            curve = np.array(scores["curves"].get(row["method"], []), dtype=np.float64)
            one = record, row, curve
            if several:
                label += f", on {specimen(record)[0]}"
            kept.setdefault(label, {})[repr((specimen(record), row))] = one
    return [
        Method(
            label,
            tuple(record for record, _, _ in found.values()),
            tuple(row for _, row, _ in found.values()),
            # where some runs have no truth, curves are of measured values instead
            tuple(c if all_scored(records) else c[:0] for _, _, c in found.values()),
            baseline=True,
        )
        for label, found in kept.items()
    ]


def _row(record: RunRecord) -> Mapping[str, Any]:
    rows = (record.scores or {}).get("rows") or [{"n": len(record.events)}]
    return dict(rows[0])


def _curve(record: RunRecord, scored: bool) -> Array:
    if scored and record.scores:
        return np.array(next(iter(record.scores["curves"].values())), np.float64)
    return np.asarray(np.fmax.accumulate(points(record).value), dtype=np.float64)


def part_text(said: Mapping[str, Any]) -> str:
    """Return a part of a configuration in its short form.

    >>> part_text({"name": "pca", "params": {"component": 2}})
    'pca:component=2'
    """
    params = ",".join(f"{k}={v}" for k, v in (said.get("params") or {}).items())
    return f"{said['name']}:{params}" if params else str(said["name"])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{prefix}{key}", ", ".join(map(part_text, value))
        else:
            yield f"{prefix}{key}", value
