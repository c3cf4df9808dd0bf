"""The record of a run: an append-only journal and the arrays beside it.

A line of `journal.jsonl` is `[name, document]` in the event-model's form. Nothing
counts as done before its line is on disk: maps and spectra are written first, whole,
and the event after them. The loop alone writes; `aemtwin.record` reads. The ledger
(`aemtwin.instruments.ledger`) is the instrument's own record.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from aemtwin import jsonlines
from aemtwin.codec import from_wire, to_wire
from aemtwin.documents import Document
from aemtwin.errors import BadJournal
from aemtwin.measurement import Measurement

JOURNAL = "journal.jsonl"
CONFIG = "config.toml"
ENVIRONMENT = "environment.json"
SCORES = "scores.json"
DATA = "data.nsid.h5"
LEDGER = "ledger.sqlite"
REPORT = "report.html"
LOG = "log.jsonl"


class Journal:
    """The writer of a run folder; close it, or use it in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "maps").mkdir(parents=True, exist_ok=True)
        self._lock = only_writer(folder)
        (folder / "spectra").mkdir(exist_ok=True)
        path = folder / JOURNAL
        self.names: set[str] = set()  # of the documents written so far
        if path.exists():  # cut the torn last line of a writer that was killed
            documents, whole = read_documents(path)
            self.names = {name for name, _ in documents}
            jsonlines.cut(path, whole)
        self._file = path.open("ab", buffering=0)
        self._unsure: set[Path] = {folder}  # folders whose names are not on disk so far

    def append(self, name: str, document: Document) -> None:
        """Write one document and wait until it is on disk, and all before it.

        Raises:
            BadJournal: If it cannot be written; what was written before is there.
        """
        with _written(self.folder / JOURNAL):
            while self._unsure:
                _settle(next(iter(self._unsure)))
                self._unsure.pop()
            jsonlines.append(self._file, [name, document], durable=True)
        self.names.add(name)

    def save_spectrum(self, seq_num: int, measurement: Measurement) -> None:
        """Keep a measurement whole, before its event is written."""
        packed: bytes = msgpack.packb(to_wire(measurement), use_bin_type=True)
        self._save(spectrum_path(self.folder, seq_num), packed)

    def save_strip(self, seq_num: int, strip: Measurement | None, why: str) -> None:
        """Keep a strip of the overview, or why there is none, before it is used."""
        path = self.folder / "strips" / f"{seq_num:06d}.msgpack"
        path.parent.mkdir(exist_ok=True)
        told = [None if strip is None else to_wire(strip), why]
        self._save(path, msgpack.packb(told, use_bin_type=True))

    def load_strip(self, seq_num: int) -> tuple[Measurement | None, str] | None:
        """Return a strip and what was said of it; None where none was taken."""
        path = self.folder / "strips" / f"{seq_num:06d}.msgpack"
        if not path.exists():
            return None
        packed, why = msgpack.unpackb(path.read_bytes(), raw=False)
        return None if packed is None else from_wire(Measurement, packed), str(why)

    def save_maps(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep arrays under `maps/<name>.npz`."""
        buffer = io.BytesIO()
        np.savez(buffer, **dict(arrays))  # type: ignore[arg-type]
        self._save(self.folder / "maps" / f"{name}.npz", buffer.getvalue())

    def save_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON file beside the journal."""
        text = json.dumps(value, indent=1, allow_nan=False)
        self._save(self.folder / name, text.encode())

    def _save(self, path: Path, data: bytes) -> None:
        write_whole(path, data)
        self._unsure.add(path.parent)

    def close(self) -> None:
        """Close the file and let another writer come."""
        self._file.close()
        self._lock.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def only_writer(folder: Path) -> IO[bytes]:
    """Hold a run folder against a second writer until the file returned is closed.

    The operating system lets go when the process ends, however it ends.

    Raises:
        BadJournal: If another process, or another journal of this one, has it.
    """
    file = (folder / ".lock").open("a+b")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise BadJournal(
            f"{folder} is being written by another process. Wait for it, or stop it, "
            "before you resume this run."
        ) from None
    return file


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds it whole or not at all.

    Raises:
        BadJournal: If it cannot be written; what was there before is there still.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with _written(path):
            with temporary.open("wb", buffering=0) as file:
                left = memoryview(data)
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BadJournal:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Tell an error of the disk as one of the record."""
    try:
        yield
    except OSError as error:
        raise BadJournal(
            f"{path} cannot be written ({error.strerror}). Make room on the disk, or "
            "bring it back; then resume the run: what was recorded before is there."
        ) from None


def _settle(folder: Path) -> None:
    """Have the names of the files in a folder outlive a power failure."""
    if sys.platform != "win32":  # which has no such call, and no need of it
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def spectrum_path(folder: Path, seq_num: int) -> Path:
    """Return where measurement number `seq_num` is kept."""
    return folder / "spectra" / f"{seq_num:06d}.msgpack"


def read_documents(path: Path) -> tuple[list[tuple[str, Document]], int]:
    """Return the documents of a journal and the bytes they take up.

    A last line cut short is left out, since it was never acknowledged.

    Raises:
        BadJournal: If an earlier line is not a document.
    """
    lines, whole = jsonlines.read(path, BadJournal)
    return [(str(name), document) for name, document in lines], whole


def ended_by(folder: Path, reason: str) -> int:
    """Return how often the run in this folder has ended with this in its reason."""
    found, _ = read_documents(folder / JOURNAL)
    return sum(reason in str(document.get("reason", "")) for _, document in found)


def load_maps(folder: Path, name: str) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of `maps/<name>.npz`, or None if there are none."""
    path = folder / "maps" / f"{name}.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def load_spectrum(folder: Path, seq_num: int) -> Measurement:
    """Return measurement number `seq_num` of a run.

    Raises:
        BadJournal: If it is not there.
    """
    path = spectrum_path(folder, seq_num)
    if not path.exists():
        raise BadJournal(
            f"{path} is missing, though the journal names measurement {seq_num}. "
            "Restore the run folder from a copy."
        )
    return from_wire(Measurement, msgpack.unpackb(path.read_bytes(), raw=False))
