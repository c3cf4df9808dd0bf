"""A run as its folder tells it: what the page, the report and the plots read.

`read_run` only reads, so that killing a viewer changes no byte of a run.
`aemtwin.journal` is the writer's side.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import journal
from aemtwin.documents import Document, other_keys
from aemtwin.errors import BadJournal
from aemtwin.measurement import Measurement

TIMINGS = ("decide_s", "fit_s", "move_s", "measure_s", "total_s")


@dataclass(frozen=True)
class RunRecord:
    """Everything a run folder holds, read when asked for."""

    path: Path
    start: Document
    events: list[dict[str, Any]]  # seq_num, time, data (with info), timings
    stop: Document | None  # None: the run was cut off, or goes on
    value_name: str
    value_units: str
    others: tuple[tuple[str, str], ...] = ()  # name and unit of what is sought besides

    @property
    def sought(self) -> list[tuple[str, str]]:
        """Name and unit of every number sought."""
        return [(self.value_name, self.value_units), *self.others]

    @cached_property
    def outcomes(self) -> NDArray[np.float64]:
        """Every number of every measurement, (n, p); NaN where there is none."""
        keys = ("value", *other_keys(len(self.others)))
        rows = [[event["data"][key] for key in keys] for event in self.events]
        return np.array(rows, np.float64).reshape(-1, len(keys))

    @cached_property
    def true_outcomes(self) -> NDArray[np.float64] | None:
        """Every true number of every candidate, (m, p); None where not known."""
        found = journal.load_maps(self.path, "truth")
        if found is None:
            return None
        others = [found["others"].T] if self.others else []
        return np.column_stack([found["values"], *others])

    @property
    def uid(self) -> str:
        """The run's own id."""
        return str(self.start["uid"])

    @cached_property
    def config_text(self) -> str:
        """The resolved configuration as it was written."""
        return (self.path / journal.CONFIG).read_text(encoding="utf-8")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        return tomllib.loads(self.config_text)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, processor."""
        return _json(self.path / journal.ENVIRONMENT) or {}

    @cached_property
    def scores(self) -> dict[str, Any] | None:
        """Scores against the truth; None where it is not known."""
        found = _json(self.path / journal.SCORES)
        if found is None:
            return None
        curves = {
            name: [math.nan if value is None else value for value in curve]
            for name, curve in found["curves"].items()
        }
        return {**found, "curves": curves}

    @cached_property
    def candidates(self) -> NDArray[np.float64]:
        """Positions (m, 2), metres, row by row."""
        return self._maps("candidates")["positions"]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the candidates."""
        rows, columns = self._maps("candidates")["shape"]
        return int(rows), int(columns)

    @cached_property
    def overview(self) -> dict[str, Any] | None:
        """The frame taken first: channel, units, quantity, values, x, y."""
        path = journal.spectrum_path(self.path, 0)
        if not path.exists():
            return None
        frame = journal.load_spectrum(self.path, 0)
        return {
            "channel": frame.name,
            "units": frame.units[frame.name],
            "quantity": frame.quantities[frame.name],
            "values": frame.values,
            "x": frame.axis("x").values,
            "y": frame.axis("y").values,
        }

    @cached_property
    def maps(self) -> dict[str, Any] | None:
        """The latest mean, sd and acquisition, (m,), and their seq_num."""
        names = ["final"] if self.stop else []
        names += [f"{event['seq_num']:06d}" for event in reversed(self.events)]
        for name in names:
            found = journal.load_maps(self.path, name)
            if found is not None:
                return {**found, "seq_num": int(found["seq_num"])}
        return None

    @cached_property
    def truth(self) -> NDArray[np.float64] | None:
        """The true number at every candidate, (m,); None where it is not known."""
        found = journal.load_maps(self.path, "truth")
        return None if found is None else found["values"]

    def spectrum(self, i: int) -> Measurement:
        """Return the measurement of event number i, counting from 0."""
        return journal.load_spectrum(self.path, self.events[i]["seq_num"])

    def _maps(self, name: str) -> dict[str, NDArray[Any]]:
        found = journal.load_maps(self.path, name)
        if found is None:
            raise BadJournal(
                f"{self.path} has no maps/{name}.npz; it is not a whole run."
            )
        return found


def read_run(path: str | Path) -> RunRecord:
    """Read a run folder.

    Raises:
        BadJournal: If it is not one.
    """
    folder = Path(path)
    file = folder / journal.JOURNAL
    if not file.is_file():
        raise BadJournal(
            f"{folder} is not a run folder: it has no {journal.JOURNAL}. Runs lie "
            "under runs/ unless --out said otherwise."
        )
    documents, _ = journal.read_documents(file)
    by_name: dict[str, list[Document]] = {}
    for name, document in documents:
        by_name.setdefault(name, []).append(document)
    if "start" not in by_name or "descriptor" not in by_name:
        raise BadJournal(
            f"{file} ends before the run began; nothing was measured. Start it again."
        )
    numbers = [event["seq_num"] for event in by_name.get("event", [])]
    if numbers != list(range(1, len(numbers) + 1)):
        raise BadJournal(
            f"{file} numbers its measurements {numbers[:20]}..., not 1, 2, 3 and so "
            "on: two processes wrote it. Measure again."
        )
    told = by_name["descriptor"][0]["data_keys"]
    keys = [key for key in other_keys(len(told)) if key in told]
    events = [_event(e, keys) for e in by_name.get("event", [])]
    _revalue(folder, events, keys)
    return RunRecord(
        path=folder,
        start=by_name["start"][0],
        events=events,
        stop=_last_stop(documents),
        value_name=told["value"]["source"],
        value_units=told["value"]["units"],
        others=tuple((told[key]["source"], told[key]["units"]) for key in keys),
    )


def _last_stop(documents: list[tuple[str, Document]]) -> Document | None:
    """A resumed run has an event after its first stop: then that one does not count."""
    name, document = documents[-1]
    return document if name == "stop" else None


def _event(document: Document, others: Sequence[str]) -> dict[str, Any]:
    data = dict(document["data"])
    timings = {key: data.pop(key) for key in TIMINGS}
    data["info"] = json.loads(data["info"])
    for key in ("value", *others):
        if data[key] is None:
            data[key] = math.nan
    return {
        "seq_num": document["seq_num"],
        "time": document["time"],
        "data": data,
        "timings": timings,
    }


def _revalue(folder: Path, events: list[dict[str, Any]], others: Sequence[str]) -> None:
    """Give events the values that a learned scalarizer has computed again since."""
    found = journal.load_maps(folder, "values") or {}
    for event, value in zip(events, found.get("values", ()), strict=False):
        event["data"]["value"] = float(value)
        event["data"]["valid"] = math.isfinite(value)
    for event, row in zip(events, found.get("others", ()), strict=False):
        event["data"] |= zip(others, map(float, row), strict=True)


def _json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value
