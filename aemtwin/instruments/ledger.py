"""What the instrument did: one entry an operation, begun durably before it acts.

The ledger makes acting calls safe to repeat: the same request id finds its entry and
gets the stored answer. In a file (`aemtwin.instruments.archive`), `begin` is on disk
before the specimen is touched; `end`, with the answer and its hash, outlives the death
of the process and is on disk a little later. A server may have the answer sent before
its end is written (`later`). Only the last entries are in memory
(`aemtwin.instruments.recent`), the others on disk, so that a million operations need no
more of it than a thousand; who asks for those waits for no disk.
`aemtwin.instruments.acting` says what follows from an entry; `aemtwin.journal` is the
other record: what a campaign decided and got.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from aemtwin.errors import AemtwinError, BadFile, BadRequest, OperationStopped
from aemtwin.instruments.archive import COLUMNS, Archive
from aemtwin.instruments.entries import Entry, begun, ended, event, read, whole
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.recent import Recent
from aemtwin.instruments.store import Store
from aemtwin.instruments.summaries import fingerprint, summary
from aemtwin.measurement import Measurement

log = logging.getLogger(__name__)

BLOCK = 256  # entries that are read at a time
BEGUN = "INSERT INTO operation VALUES (?, ?, ?, ?, ?, NULL, ?, NULL)"
ENDED = "UPDATE operation SET end_s = ?, told = ?, answer = ? WHERE n = ?"
REFUSALS = 10_000  # that are remembered
FORGET = "DELETE FROM refusal WHERE id <="
LAST = f"SELECT {COLUMNS} FROM operation WHERE rid = ? ORDER BY n DESC LIMIT 1"
WHOLE = "INSERT INTO operation VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class Ledger:
    """The entries of one instrument.

    Args:
        path: A file, made if it is not there; None: what does not fit in memory goes to
            a temporary one.
        identity: Of the instrument; a file that another wrote is refused. None: the
            file must be there, of whichever instrument: to read it.

    Attributes:
        store: What is large in the answers; of a ledger in a file a folder beside it.

    Raises:
        BadFile: If the file is of another instrument, in use or no ledger at all.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._identity = identity
        self.store = Store(
            self._path and self._path.with_name(f"{self._path.name}-data")
        )
        self._disk = threading.RLock()  # for what may take a while
        self._recent = Recent()
        self.later = False  # ends wait for `settle`, or for the next begin
        self._late: list[Entry] = []  # whose end is not written so far
        self._count = 0
        self._archive: Archive | None = None
        if path is not None:
            ((last,),) = self._file().rows("SELECT max(n) FROM operation")
            self._count = last or 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """Yield every entry, the answers left on disk."""
        after = 0
        while block := self._after(after, BLOCK):
            yield from block
            after = block[-1].number

    # What was done

    def find(self, request: Request) -> Entry | None:
        """Return the entry of this request id, if it was done.

        One that was interrupted, by `stop` or by an error nobody foresaw, was not: it
        is not found, and may be begun again.

        Raises:
            BadRequest: If the id was used for another request.
        """
        entry = self.last(request.rid)
        if entry is None:
            return None
        if not entry.request.asks_as(request):
            was, now = entry.request, request
            raise BadRequest(
                f"Request {request.rid!r} was {was.call} {_short(was.arguments)} and "
                f"now is {now.call} {_short(now.arguments)}; one id stands for one "
                "request. Give the new request an id of its own."
            )
        undone = entry.end_s is None or isinstance(entry.error, OperationStopped)
        return None if undone else entry

    def last(self, rid: str) -> Entry | None:
        """Return the last entry of a request id, with its answer, or None."""
        entry = self._recent.last(rid)
        if entry is not None and not entry.away:
            return entry
        with self._disk:
            if self._archive is None:
                return None
            rows = self._archive.rows(LAST, rid)
        return read(rows[0], self.store, complete=True) if rows else None

    def events(self, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        """Return entries numbered above `after` as JSON values, `most` at most."""
        found: list[dict[str, Any]] = []
        most = self._count if most is None else most
        while len(found) < most:
            block = self._after(after, min(BLOCK, most - len(found)))
            if not block:
                break
            found += [event(entry) for entry in block]
            after = block[-1].number
        return found

    def unended(self) -> list[Entry]:
        """Return what was begun and not ended, of the last entries: by a death."""
        return [e for e in self._after(self._count - BLOCK, BLOCK) if e.end_s is None]

    def plain(self, prefix: str) -> int:
        """Return the first number that no id beginning with `prefix` has had."""
        ids = [entry.request for entry in self._recent.all()]
        with self._disk:
            if self._archive is not None:
                rows = self._archive.rows(
                    "SELECT rid FROM operation WHERE rid >= ? AND rid < ? "
                    "ORDER BY n DESC LIMIT 1",
                    prefix,
                    prefix[:-1] + chr(ord(prefix[-1]) + 1),
                )
                ids += [Request("", rid, {}) for (rid,) in rows]
        steps = [one.address[0] for one in ids if one.rid.startswith(prefix)]
        return max(steps, default=-1) + 1

    def told(self, key: str) -> Any:
        """Return what the last entry that tells `key` tells of it, or None."""
        for entry in reversed(self._recent.all()):
            if key in entry.record:
                return entry.record[key]
        with self._disk:
            if self._archive is None:
                return None
            rows = self._archive.rows(
                "SELECT told FROM operation WHERE told LIKE ? ORDER BY n DESC LIMIT 1",
                f'%"{key}":%',
            )
        return json.loads(rows[0][0])[key] if rows else None

    def refused(self, who: str, call: str, why: str) -> None:
        """Note that somebody was refused for who he is."""
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        row = (at, who, call, why)
        forget = f"{FORGET} (SELECT max(id) - {REFUSALS} FROM refusal)"
        with self._disk:
            self._file().commit("INSERT INTO refusal VALUES (NULL, ?, ?, ?, ?)", [row])
            self._file().commit(forget, [()])

    def refusals(self) -> list[dict[str, str]]:
        """Return who was refused, what and why, the last one first."""
        columns = ("at", "who", "call", "why")
        with self._disk:
            if self._archive is None:
                return []
            listed = ", ".join(columns)
            rows = self._archive.rows(f"SELECT {listed} FROM refusal ORDER BY id DESC")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def about(self, key: str) -> Any:
        """Return what was last noted under `key`, or None."""
        with self._disk:
            return None if self._archive is None else self._archive.about(key)

    # What is being done

    def begin(
        self, request: Request, time_s: float, told: Mapping[str, Any] | None = None
    ) -> Entry:
        """Record, durably, that this request is about to act.

        Args:
            request: What is asked.
            time_s: On the instrument's clock.
            told: What else to remember of it, as JSON values.

        Raises:
            BadFile: If that cannot be written; nothing has changed.
        """
        with self._disk:
            entry = Entry(self._count + 1, request, time_s, record=dict(told or {}))
            if self._path is not None:
                self._write_late()
                self._file().commit(BEGUN, [begun(entry)], durable=True)
            self._recent.keep(entry)
            self._count += 1
            self._make_room()
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
        entry.error = error
        entry.record |= summary(answer)
        if error is not None:
            entry.record |= {"error": [error.code, str(error)], "dose": dose}
            if position is not None:
                entry.record["actual"] = position
        self._recent.keep(entry, answer)
        entry.end_s = time_s  # last of all: whoever sees it finds the answer
        if self._path is not None or self.later:
            self._late.append(entry)
        if not self.later:
            self.settle()

    def settle(self) -> None:
        """Write how requests ended, where that is to be done still."""
        if not self._late and not self._recent.full:
            return
        with self._disk:
            try:
                self._write_late()
                self._make_room()
            except BadFile as failure:  # it was done: who asked shall have the answer
                log.error("%s ended, and that is not written: %s", self._late, failure)

    def note(self, key: str, value: Any) -> None:
        """Remember a JSON value under `key`, durably if there is a file."""
        with self._disk:
            self._file().note(key, value)

    def close(self) -> None:
        """Close the file; what was written is whole."""
        self.settle()
        with self._disk:
            if self._archive is not None:
                self._archive.close()
                self._archive = None
            self.store.close()

    def clear(self) -> None:
        """Forget what was done, in memory and in the file: as at time zero."""
        with self._disk:
            self._recent.clear()
            self._late.clear()
            self._count = 0
            if self._archive is not None:
                self._archive.commit("DELETE FROM operation", [()], durable=True)
            self.store.clear()

    # How it is kept

    def _file(self) -> Archive:
        """Return the archive, opened if it was closed or not needed so far."""
        if self._archive is None:
            identity = {} if self._path is None else self._identity
            self._archive = Archive(self._path, identity)
        return self._archive

    def _write_late(self) -> None:
        while self._late:
            entry = self._late[0]
            entry.record |= fingerprint(entry.answer)
            if self._path is not None:
                self._file().commit(ENDED, [ended(entry, self.store)])
                self._shelve(entry)
            del self._late[0]

    def _shelve(self, entry: Entry) -> None:
        """Have in memory no more of an answer than what its row has."""
        if isinstance(entry.answer, Measurement) and self.store.refer(entry.answer):
            self._recent.keep(entry, self.store.mapped(entry.answer))

    def _make_room(self) -> None:
        leaving = self._recent.leaving(self._late)
        if self._path is None and leaving:
            for entry in leaving:
                entry.record |= fingerprint(entry.answer)
            rows = [whole(entry, self.store) for entry in leaving]
            self._file().commit(WHOLE, rows)
        self._recent.leave(leaving)

    def _after(self, after: int, most: int) -> list[Entry]:
        """Return the next entries above a number; answers only of recent ones."""
        here = self._recent.between(max(after, 0), min(after + most, self._count))
        if here is not None:
            return here
        with self._disk:
            found: list[Entry] = []
            if self._archive is not None:
                columns = COLUMNS.replace("answer", "NULL")
                rows = self._archive.rows(
                    f"SELECT {columns} FROM operation WHERE n > ? ORDER BY n LIMIT ?",
                    *(after, most),
                )
                found = [
                    self._recent.get(row[0]) or read(row, self.store) for row in rows
                ]
            if self._path is None or self._archive is None:  # not all is on disk
                beyond = found[-1].number if len(found) == most else self._count + 1
                there = {entry.number for entry in found}
                found += [
                    entry
                    for entry in self._recent.all()
                    if after < entry.number < beyond and entry.number not in there
                ]
                found = sorted(found, key=lambda entry: entry.number)[:most]
            return found


def _short(arguments: Mapping[str, Any]) -> str:
    text = str(dict(arguments))
    return text if len(text) < 400 else text[:397] + "..."
