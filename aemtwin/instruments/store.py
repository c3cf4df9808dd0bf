"""Large arrays of answers, in files: addressed by request id and number, read by range.

An array of up to `INLINE` bytes rides along with its answer; a larger one is kept here
and told of by a `Reference`, which is all that a ledger and a control channel carry of
it. Who has the reference reads any range of the array, as often as he likes, while and
after others do; on the same machine from the file itself (`Place`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile, BadRequest, OutOfRange, UnknownName
from aemtwin.measurement import Measurement

INLINE = 2**16  # bytes of an array that ride along
KNOWN = 4096  # references that are remembered


@dataclass(frozen=True)
class Reference:
    """Where the bytes of an array are to be had, and what they must be."""

    rid: str  # of the operation that gave it
    seq: int  # the how-manieth of its arrays, from 0
    dtype: str  # little-endian, NumPy's short form
    shape: tuple[int, ...]
    nbytes: int  # in C order
    sha256: str = ""  # of those bytes; "": each piece comes with its own
    name: str = ""  # of the array
    units: str = ""


@dataclass(frozen=True)
class Place:
    """The file that has the bytes of an array, for who is on the same machine."""

    path: str
    offset: int  # bytes before the first
    nbytes: int
    device: int  # of the file, and its number there: what tells it from another
    inode: int


class Store:
    """The large arrays of one instrument.

    Args:
        folder: Where they stay; made when the first one comes. None: in a temporary
            folder that goes with this object.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._lasting = folder, folder is not None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], Reference] = OrderedDict()
        self._trusted: set[Path] = set()  # written or verified by this process

    def keep(
        self, rid: str, seq: int, array: NDArray[Any], name: str = "", units: str = ""
    ) -> Reference:
        """Keep an array, unless it is here already, and return what tells of it.

        Raises:
            BadFile: If it cannot be written.
        """
        known = self._known.get((rid, seq))
        if known is not None:
            return known
        little = np.ascontiguousarray(array)
        if little.dtype.str[0] == ">":
            little = little.astype(little.dtype.newbyteorder("<"))
        data = little.data.cast("B")
        reference = Reference(
            rid=rid,
            seq=seq,
            dtype=little.dtype.str,
            shape=tuple(array.shape),
            nbytes=array.nbytes,
            sha256=hashlib.sha256(data).hexdigest(),
            name=name,
            units=units,
        )
        self._write(self._path(rid, seq), data)
        self._remember(reference)
        return reference

    def refer(self, answer: Measurement) -> dict[str, Reference]:
        """Keep what is large in an answer; return what tells of it, by its name."""
        return {
            name: self.keep(answer.rid, seq, values, name, answer.units.get(name, ""))
            for seq, (name, values) in enumerate(answer.arrays.items())
            if values.nbytes > INLINE
        }

    def mapped(self, answer: Measurement) -> Measurement:
        """Return an answer that has in files what this store keeps of it."""
        arrays = {
            name: self.load(known)
            if (known := self._known.get((answer.rid, seq))) is not None
            else values
            for seq, (name, values) in enumerate(answer.arrays.items())
        }
        return replace(answer, arrays=arrays)

    def load(self, reference: Reference) -> NDArray[Any]:
        """Return a kept array, mapped from its file, read-only.

        Raises:
            BadFile: If it is not there, or its bytes are others.
        """
        path = self._path(reference.rid, reference.seq)
        try:
            if path.stat().st_size != reference.nbytes:
                raise _damaged(path)
            array = np.memmap(path, reference.dtype, "r", shape=reference.shape)
        except OSError as error:
            raise BadFile(
                f"The array {reference.name or reference.seq} of {reference.rid} is "
                f"gone ({error}). Bring {path.parent} back from a copy, or measure "
                "under another id."
            ) from None
        if path not in self._trusted:
            if hashlib.sha256(array.data.cast("B")).hexdigest() != reference.sha256:
                raise _damaged(path)
            self._trusted.add(path)
        self._remember(reference)
        return np.asarray(array)

    def place(self, rid: str, seq: int) -> Place | None:
        """Return where an array is kept, if it is."""
        path = self._path(rid, seq)
        with suppress(OSError):
            there = path.stat()
            where = str(path.resolve())
            return Place(where, 0, there.st_size, there.st_dev, there.st_ino)
        return None

    def read(self, rid: str, seq: int, offset: int, size: int) -> bytes:
        """Return `size` bytes of a kept array.

        Raises:
            UnknownName: If there is no such array.
            OutOfRange: If it has no such bytes.
        """
        path = self._path(rid, seq)
        try:
            file = path.open("rb", buffering=0)
        except OSError:
            raise no_such(rid, seq) from None
        with file:
            there = os.fstat(file.fileno()).st_size
            require_range(rid, seq, offset, size, there)
            return exactly(file, offset, size, str(path))

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._known.clear()
            self._trusted.clear()
        if self._folder is not None and self._folder.is_dir():
            for path in self._folder.iterdir():
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what was temporary; what somebody has mapped stays readable."""
        with self._lock:
            scratch, self._scratch = self._scratch, None
            if not self._lasting:
                self._folder = None
                self._known.clear()
        if scratch is not None:
            scratch.cleanup()

    def _path(self, rid: str, seq: int) -> Path:
        folder = self._folder if self._folder is not None else Path(os.devnull)
        name = hashlib.blake2b(rid.encode(), digest_size=16).hexdigest()
        return folder / f"{name}-{seq}"

    def _remember(self, reference: Reference) -> None:
        with self._lock:
            self._known[(reference.rid, reference.seq)] = reference
            while len(self._known) > KNOWN:
                self._known.popitem(last=False)

    def _write(self, path: Path, data: memoryview) -> None:
        try:
            with self._lock:
                if self._folder is None:
                    self._scratch = tempfile.TemporaryDirectory(
                        prefix="aemtwin-", ignore_cleanup_errors=True
                    )
                    self._folder = Path(self._scratch.name)
                elif self._lasting:
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self._folder / path.name
            part = path.with_name(f"{path.name}.{threading.get_ident()}.part")
            try:
                with part.open("wb", buffering=0) as file:
                    while data:
                        data = data[file.write(data[: 2**26]) :]
                os.replace(part, path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise BadFile(
                f"A large array cannot be kept in {self._folder} ({error}). Make room "
                "on the disk, or serve with a ledger elsewhere."
            ) from None
        self._trusted.add(path)


def require_range(rid: str, seq: int, offset: int, size: int, there: int) -> None:
    """Refuse bytes that an array does not have.

    Raises:
        OutOfRange: If it has not.
        BadRequest: If these are no numbers.
    """
    if not (type(offset) is int and type(size) is int):
        raise BadRequest(f"A range is two whole numbers; got {offset!r}, {size!r}.")
    if not (offset >= 0 and size >= 0 and offset + size <= there):
        raise OutOfRange(
            f"Bytes {offset} to {offset + size} of {rid} {seq} were asked for; there "
            f"are {there}. Ask for those of its reference."
        )


def exactly(file: RawIOBase, offset: int, size: int, path: str) -> bytes:
    """Return bytes of an open file, all that were asked for.

    Raises:
        BadFile: If it ends before, or cannot be read.
    """
    try:
        file.seek(offset)
        data = file.read(size) or b""
        while len(data) < size:
            more = file.read(size - len(data))
            if not more:
                raise _damaged(path)
            data += more
    except BadFile:
        raise
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error}).") from None
    return data


def no_such(rid: str, seq: int) -> UnknownName:
    """Return the error that says that an array is not here."""
    return UnknownName(
        f"There is no large array {rid!r} {seq}: it was never measured here, is still "
        "under way, or came with its answer. Fetch that."
    )


def reference_of(packed: Mapping[str, Any]) -> Reference:
    """Rebuild a reference from builtins."""
    known = {name: packed[name] for name in Reference.__annotations__ if name in packed}
    return Reference(**{**known, "shape": tuple(packed["shape"])})


def _damaged(path: str | Path) -> BadFile:
    return BadFile(
        f"{path} is damaged: it has other bytes than were measured. Bring it back from "
        "a copy, or measure under another id."
    )
