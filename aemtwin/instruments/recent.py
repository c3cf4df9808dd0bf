"""The last entries of a ledger, in memory: asked for without waiting for a disk.

Entries stay for a while; answers leave before them, by their size, once they are on
disk. `aemtwin.instruments.ledger` writes them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from aemtwin.codec import size_of
from aemtwin.instruments.entries import Entry

KEPT, KEPT_BYTES = 256, 2**25  # entries, and bytes of their answers


class Recent:
    """Entries by number and by request id; for any number of threads.

    Attributes:
        bytes: Of the answers, about.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}  # oldest first
        self._numbers: dict[str, int] = {}  # rid -> the last entry of it
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether something should leave."""
        return len(self._entries) > KEPT or self.bytes > KEPT_BYTES

    def get(self, number: int) -> Entry | None:
        """Return the entry of a number, if it is here."""
        return self._entries.get(number)

    def last(self, rid: str) -> Entry | None:
        """Return the last entry of a request id, if it is here."""
        with self._lock:
            number = self._numbers.get(rid)
            return None if number is None else self._entries[number]

    def all(self) -> list[Entry]:
        """Return what is here, oldest first."""
        with self._lock:
            return list(self._entries.values())

    def between(self, after: int, until: int) -> list[Entry] | None:
        """Return the entries numbered above `after`, to `until`; None if one is not."""
        with self._lock:
            found = [
                self._entries.get(number) for number in range(after + 1, until + 1)
            ]
        here = [entry for entry in found if entry is not None]
        return here if len(here) == len(found) else None

    def keep(self, entry: Entry, answer: Any = None) -> None:
        """Hold an entry, with its answer."""
        with self._lock:
            self.bytes += _weight(answer) - _weight(entry.answer)
            entry.answer = answer
            self._entries[entry.number] = entry
            self._numbers[entry.request.rid] = entry.number

    def leaving(self, late: Collection[Entry]) -> list[Entry]:
        """Return what has to be on disk now, so that its answer can leave.

        Args:
            late: Those that cannot.
        """
        if not self.full:
            return []
        stay = {entry.number for entry in late}
        with self._lock:
            entries = [*self._entries.values()]
            newer = entries[-KEPT // 2].number if len(entries) > KEPT else 0
            ended = [e for e in entries if e.end_s is not None and e.number not in stay]
            found, left = [], self.bytes
            for entry in ended[:-1]:  # the last answer is asked for again, if any is
                if entry.number >= newer and left <= KEPT_BYTES / 2:
                    break
                if not entry.away:
                    found.append(entry)
                    left -= _weight(entry.answer)
        return found

    def leave(self, entries: Sequence[Entry]) -> None:
        """Keep of entries what is told of them, and of the oldest nothing."""
        with self._lock:
            for entry in entries:
                self.bytes -= _weight(entry.answer)
                # a copy: somebody may be about to give the answer of the other away
                self._entries[entry.number] = replace(entry, answer=None, away=True)
            if len(self._entries) <= KEPT:
                return
            for entry in [*self._entries.values()][: -KEPT // 2]:
                if entry.away:
                    del self._entries[entry.number]
                    if self._numbers.get(entry.request.rid) == entry.number:
                        del self._numbers[entry.request.rid]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._entries.clear()
            self._numbers.clear()
            self.bytes = 0


def _weight(answer: Any) -> int:
    return 0 if answer is None else size_of(answer)
