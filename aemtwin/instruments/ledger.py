"""What the instrument did: one entry an operation, begun durably before it acts.

The ledger makes acting calls safe to repeat: the same request id finds its entry and
gets the stored answer. With a file, `begin` is on disk before the specimen is touched,
and a twin that is opened again on that file performs the entries once more, so that its
specimen stands where it stood. `aemtwin.journal` is the other record: what a campaign
decided and got.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from aemtwin import jsonlines
from aemtwin.errors import AemtwinError, BadFile, BadRequest, OperationStopped
from aemtwin.instruments.protocol import Request, same_instrument
from aemtwin.measurement import Measurement

TOLD = ("asked", "actual", "extent", "dose", "sha256", "error")
"""What `events` tells of how an operation ended, where there is such a thing."""


@dataclass
class Entry:
    """One operation, from its begin to its end."""

    number: int  # 1, 2, ... in the order of acting
    request: Request
    begin_s: float  # instrument's clock
    end_s: float | None = None
    answer: Any = None
    error: AemtwinError | None = None
    record: dict[str, Any] = field(default_factory=dict)  # the end, as JSON


class Ledger:
    """The entries of one instrument, in memory and, if asked, in a file."""

    def __init__(
        self, path: Path | None = None, identity: Mapping[str, Any] | None = None
    ) -> None:
        self._all: list[Entry] = []
        self._by_rid: dict[str, Entry] = {}  # the last of each, if it was repeated
        self._path = path
        self._file: IO[str] | None = None
        self._identity = dict(identity or {})
        if path is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._all))

    def _open(self) -> None:
        self._write({"event": "open", "identity": self._identity}, durable=True)

    def find(self, request: Request) -> Entry | None:
        """Return the entry of this request id, if it was done.

        One that was interrupted, by `stop` or by an error nobody foresaw, was not: it
        is not found, and may be begun again.

        Raises:
            BadRequest: If the id was used for another request.
        """
        entry = self._by_rid.get(request.rid)
        if entry is not None and entry.request.digest != request.digest:
            was, now = entry.request, request
            raise BadRequest(
                f"Request {request.rid!r} was {was.call} {dict(was.arguments)} and now "
                f"is {now.call} {dict(now.arguments)}; one id stands for one request. "
                "Give the new request an id of its own."
            )
        if entry is None or entry.end_s is None:
            return None
        return None if isinstance(entry.error, OperationStopped) else entry

    def begin(self, request: Request, time_s: float) -> Entry:
        """Record, durably, that this request is about to act."""
        entry = Entry(len(self._all) + 1, request, time_s)
        self._write(
            {
                "event": "begin",
                "n": entry.number,
                "rid": request.rid,
                "call": request.call,
                "arguments": request.arguments,
                "begin_s": time_s,
            },
            durable=True,
        )
        self.restore(entry)
        return entry

    def end(
        self,
        entry: Entry,
        time_s: float,
        *,
        answer: Any = None,
        error: AemtwinError | None = None,
        dose: float = 0.0,
        position: list[float] | None = None,
    ) -> None:
        """Record how the request ended.

        Args:
            entry: The request.
            time_s: When, on the instrument's clock.
            answer: What it gave, if it was done.
            error: What ended it, if it was not.
            dose: What one that failed had added.
            position: Where the probe was when it failed, metres.
        """
        entry.end_s, entry.answer, entry.error = time_s, answer, error
        entry.record = {
            "event": "end",
            "n": entry.number,
            "rid": entry.request.rid,
            "end_s": time_s,
            **summary(answer),
        }
        if self._path is not None:  # a file needs it now, memory when somebody asks
            entry.record |= fingerprint(answer)
        if error is not None:
            entry.record |= {"error": [error.code, str(error)], "dose": dose}
            if position is not None:
                entry.record["actual"] = position
        self._write(entry.record)

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the entries numbered above `after` as JSON values."""
        for entry in self:
            if entry.number > after and "sha256" not in entry.record:
                entry.record |= fingerprint(entry.answer)
        return [
            {
                "n": entry.number,
                "rid": entry.request.rid,
                "call": entry.request.call,
                "arguments": dict(entry.request.arguments),
                "begin_s": entry.begin_s,
                "end_s": entry.end_s,
                **{key: entry.record[key] for key in TOLD if key in entry.record},
            }
            for entry in self
            if entry.number > after
        ]

    def stored(self) -> list[dict[str, Any]]:
        """Return the records of an existing file, the torn last line cut off.

        Raises:
            BadFile: If the file is of another instrument, or damaged in the middle.
        """
        if self._path is None or not self._path.exists():
            return []
        records, whole = jsonlines.read(self._path, BadFile)
        jsonlines.cut(self._path, whole)
        if not records:  # its writer died at the first line
            self._open()
            return []
        was = records[0].get("identity", {})
        if not same_instrument(was, self._identity):
            raise BadFile(
                f"The ledger {self._path} is of another instrument ({was}) than "
                f"this one ({self._identity}). Name another file."
            )
        return records[1:]

    def restore(self, entry: Entry) -> None:
        """Put back an entry that the file holds, without writing it again."""
        self._all.append(entry)
        self._by_rid[entry.request.rid] = entry

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def clear(self) -> None:
        """Forget everything, in memory and in the file: a specimen as at time zero."""
        self._all.clear()
        self._by_rid.clear()
        if self._path is not None:
            self.close()
            self._path.unlink(missing_ok=True)
            self._open()

    def _write(self, record: Mapping[str, Any], *, durable: bool = False) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        jsonlines.append(self._file, record, durable=durable)


def fingerprint(answer: Any) -> dict[str, str]:
    """Return the hash of what an answer measured; nothing, if that was nothing."""
    if isinstance(answer, Measurement):
        return {"sha256": array_hash(answer)}
    return {}


def summary(answer: Any) -> dict[str, Any]:
    """Return what the ledger keeps of an answer: positions and dose.

    The `extent` of a frame is that of its outermost pixel centres before a rotation.
    """
    if isinstance(answer, Measurement):
        extent = {}
        if answer.call == "scan":
            ends = [answer.axis(name).values[[0, -1]].tolist() for name in "xy"]
            extent = {"extent": ends}
        return {
            **extent,
            "asked": np.asarray(answer.asked).tolist()
            if answer.asked.ndim == 1
            else None,
            "actual": np.asarray(answer.actual).tolist()
            if answer.actual.ndim == 1
            else None,
            "dose": answer.dose,
        }
    if isinstance(answer, np.ndarray):
        return {"actual": answer.tolist()}
    if isinstance(answer, dict) and "pulse" in answer:
        return {"actual": answer["position"], "dose": answer["dose"]}
    return {}


def array_hash(measurement: Measurement) -> str:
    """Return the SHA-256 of all arrays of a measurement, names and dtypes included."""
    digest = hashlib.sha256()
    for name, values in measurement.arrays.items():
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
