"""One operation of a ledger: as a record in memory, a row on disk, an event to tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aemtwin.codec import pack, to_wire, unpack
from aemtwin.errors import AemtwinError, BadFile, OperationStopped, by_code
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.store import Store, reference_of
from aemtwin.instruments.summaries import fingerprint
from aemtwin.measurement import Measurement

TOLD = ("asked", "actual", "extent", "dose", "sha256", "error", "holder")
"""What `events` tells of how an operation ended, where there is such a thing."""


LARGEST = 900_000_000  # bytes of an answer; SQLite takes 10^9 in a row


@dataclass
class Entry:
    """One operation, from its begin to its end."""

    number: int  # 1, 2, ... in the order of acting
    request: Request
    begin_s: float  # instrument's clock
    end_s: float | None = None
    answer: Any = None
    error: AemtwinError | None = None
    record: dict[str, Any] = field(default_factory=dict)  # what is told of it, as JSON
    away: bool = False  # its answer is on disk alone


def begun(entry: Entry) -> tuple[Any, ...]:
    """Return the row of an entry that is begun."""
    request = entry.request
    arguments, told = _json(request.arguments), _json(entry.record)
    return (entry.number, request.rid, request.call, arguments, entry.begin_s, told)


def ended(entry: Entry, store: Store) -> tuple[Any, ...]:
    """Return what its end adds to the row of an entry, and its number.

    Raises:
        BadFile: If what is large in its answer cannot be kept.
    """
    packed = None
    if entry.answer is not None:
        large = {}
        if isinstance(entry.answer, Measurement):
            large = {n: to_wire(r) for n, r in store.refer(entry.answer).items()}
        packed = pack(entry.answer, large)
        packed = None if len(packed) > LARGEST else packed
    return (entry.end_s, _json(entry.record), packed, entry.number)


def whole(entry: Entry, store: Store) -> tuple[Any, ...]:
    """Return the row of an entry that is over."""
    end_s, told, packed, _ = ended(entry, store)
    return (*begun(entry)[:-1], end_s, told, packed)


def read(row: Sequence[Any], store: Store, *, complete: bool = False) -> Entry:
    """Return what a row tells; that it has no answer is told if it is complete."""
    number, rid, call, arguments, begin_s, end_s, told, answer = row
    record = json.loads(told)
    error = None
    if "error" in record:
        code, message = record["error"]
        error = by_code().get(code, OperationStopped)(message)
    elif complete and end_s is not None and answer is None:
        error = BadFile(
            f"The answer of {rid} was too large to be kept. Measure under another id, "
            "in parts."
        )
    request = Request(call, rid, json.loads(arguments))
    found = None
    if answer is not None:
        try:
            found = unpack(answer, lambda told: store.load(reference_of(told)))
        except BadFile as lost:
            error = lost
    return Entry(number, request, begin_s, end_s, found, error, record)


def event(entry: Entry) -> dict[str, Any]:
    """Return what is told of an entry, as JSON values."""
    if "sha256" not in entry.record and entry.end_s is not None:
        entry.record |= fingerprint(entry.answer)
    return {
        "n": entry.number,
        "rid": entry.request.rid,
        "call": entry.request.call,
        "arguments": dict(entry.request.arguments),
        "begin_s": entry.begin_s,
        "end_s": entry.end_s,
        **{key: entry.record[key] for key in TOLD if key in entry.record},
    }


_json = json.JSONEncoder(allow_nan=False).encode  # made once: it is called often
