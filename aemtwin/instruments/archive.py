"""The file of a ledger: a database of one table, found by number and by request id.

SQLite in its write-ahead mode: a durable commit costs one synchronized write, any other
none, and what was committed outlives the death of the process. The file is locked while
it is open, so no two instruments write one ledger. `aemtwin.instruments.ledger` says
what the rows mean.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aemtwin.errors import BadFile
from aemtwin.instruments.identity import differences

APPLICATION = 0x61656D74  # the mark of our files, where SQLite keeps such a mark
COLUMNS = "n, rid, call, arguments, begin_s, end_s, told, answer"
TABLES = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
    "CREATE TABLE operation (n INTEGER PRIMARY KEY, rid TEXT NOT NULL, "
    "call TEXT NOT NULL, arguments TEXT NOT NULL, begin_s REAL NOT NULL, end_s REAL, "
    "told TEXT NOT NULL, answer BLOB)",
    "CREATE TABLE refusal (id INTEGER PRIMARY KEY, at TEXT, who TEXT, call TEXT, "
    "why TEXT)",
    "CREATE INDEX by_rid ON operation (rid, n)",
)
NOTE = "REPLACE INTO about VALUES (?, ?)"
BUSY_S = 3.0  # how long a process that is ending may still hold the file


class Archive:
    """An open file of entries, or a temporary one that goes when it is closed.

    Not for two threads at once: its owner serializes.

    Args:
        path: Made if it is not there; None for a temporary one.
        identity: Of the instrument; a file that another wrote is refused. None: the
            file must be there, of whichever instrument.

    Raises:
        BadFile: If the file is of another instrument, in use or no ledger at all.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any] | None) -> None:
        self._path = path
        self._level = ""  # of synchronization, as it is set
        if identity is None and (path is None or not path.is_file()):
            raise BadFile(f"There is no ledger {path}. Name the file of one.")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        # one connection for all threads; transactions are begun here, not by Python
        self._db = sqlite3.connect(
            "" if path is None else str(path),
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            was = self._made(identity)
        except sqlite3.Error as error:
            self.close()
            how = "Name another file."
            if "locked" in str(error):
                how = "Another instrument is using it: end that one, or name another."
            raise BadFile(f"{path} cannot be the ledger ({error}). {how}") from None
        if was is None:
            self.close()
            raise BadFile(f"{path} is no ledger of aemtwin. Name another file.")
        if other := [] if identity is None else differences(was, identity):
            self.close()
            raise BadFile(
                f"The ledger {path} is of another instrument: {'; '.join(other)}. Name "
                "another file."
            )

    def _made(self, identity: Mapping[str, Any] | None) -> Any:
        """Make the tables of a new file; return whose it is, None if not a ledger."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("BEGIN IMMEDIATE")
        ((mark,),) = self._db.execute("PRAGMA application_id")
        empty = self._db.execute("SELECT * FROM sqlite_master").fetchone() is None
        if not mark and empty and identity is not None:
            for statement in TABLES:
                self._db.execute(statement)
            self._db.execute(NOTE, ("identity", json.dumps(dict(identity))))
            self._db.execute(f"PRAGMA application_id = {APPLICATION}")
            mark = APPLICATION
        self._db.execute("COMMIT")
        return self.about("identity") if mark == APPLICATION else None

    def rows(self, statement: str, *values: Any) -> list[Any]:
        """Return what a SELECT finds.

        Raises:
            BadFile: If the file cannot be read.
        """
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise BadFile(
                f"The ledger {self._path} cannot be read ({error}). Restore it from a "
                "copy, or begin another."
            ) from None

    def commit(
        self, statement: str, rows: Sequence[Any], *, durable: bool = False
    ) -> None:
        """Write rows, all or none; `durable` ones are on disk when this returns.

        Raises:
            BadFile: If they cannot be written.
        """
        level = "FULL" if durable and self._path is not None else "NORMAL"
        try:
            if level != self._level:
                self._db.execute(f"PRAGMA synchronous = {level}")
                self._level = level
            if len(rows) == 1:
                self._db.execute(statement, rows[0])
                return
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise BadFile(
                f"The ledger {self._path} cannot be written ({error}), so nothing may "
                "be done. Make room on the disk, or serve with another ledger."
            ) from None

    def about(self, key: str) -> Any:
        """Return what was last noted under `key`, a JSON value, or None."""
        rows = self.rows("SELECT value FROM about WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def note(self, key: str, value: Any) -> None:
        """Remember a JSON value under `key`, durably."""
        self.commit(NOTE, [(key, json.dumps(value, allow_nan=False))], durable=True)

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        self._db.close()
