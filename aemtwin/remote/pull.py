"""Bytes of large arrays, from wherever they are had best: a file, ZeroMQ, the call.

On the same machine an array is mapped from the file that the server keeps it in. From
elsewhere its pieces are asked for over the data channel, a few at a time; a piece that
came is not asked for again, whatever happens to connection and server. Where there is
no data channel, or no way to it, the control channel carries them. What came is what
was measured: it has the hash of its reference, or each piece has its own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import AemtwinError, BadFile, Unreachable
from aemtwin.instruments.store import Place, Reference, exactly
from aemtwin.remote import curve
from aemtwin.remote.bulk import PIECE
from aemtwin.remote.link import Link, Ranges
from aemtwin.remote.machine import this_machine

log = logging.getLogger(__name__)

Ask = Callable[[str, str, int, int, int], Any]
LINKS = 4  # that are kept for the next who asks
PAGED = 2**26  # bytes: a larger array has a file of its own


class Puller:
    """Has the arrays of one server.

    Args:
        ask: Asks the control channel: call, rid, seq, offset, size.
        endpoints: Says anew where the data channel is, and its key.
        host: That the server is reached by.
        folder: Of our keys, if any.
        use: Whether to use the data channel, if there is one, or where it is instead.
        timeout_s: How long it may say nothing.
    """

    def __init__(
        self,
        ask: Ask,
        endpoints: Callable[[], Mapping[str, str]],
        *,
        host: str,
        folder: Path | None,
        use: bool | str,
        timeout_s: float,
    ) -> None:
        self._ask, self._endpoints = ask, endpoints
        self._host, self._folder, self._timeout_s = host, folder, timeout_s
        self._use = use
        self._lock = threading.Lock()
        self._free: list[Link] = []
        self._told: Mapping[str, str] = {}  # what the server said last

    @property
    def on(self) -> bool:
        """Whether the server has a data channel that we would use."""
        return bool(self._use) and "data" in self._told

    def told(self, endpoints: Mapping[str, str]) -> None:
        """Take note of what the server says of its data channel."""
        self._told = dict(endpoints)
        ours = self._folder is not None and (self._folder / curve.FILE).exists()
        if "data_key" in endpoints and not ours and self._use:
            log.warning(
                "Large results come by the control channel: %s has no %s. Keys made "
                "anew (`aemtwin keys ... --renew`) have one.",
                *(self._folder, curve.FILE),
            )
            self._use = False

    def array(self, reference: Reference, place: Place | None = None) -> NDArray[Any]:
        """Return an array, read-only: mapped where its file is here, else pulled.

        Raises:
            AccessRefused: If the data channel does not let us in.
            Unreachable: If nothing came in the time that there is.
            BadFile: If what comes is not what was measured.
        """
        if (mapped := self._mapped(reference, place)) is not None:
            return mapped
        array = np.empty(reference.shape, reference.dtype)
        view = array.reshape(-1).data.cast("B") if array.nbytes else None

        def put(offset: int, data: Any) -> None:
            assert view is not None
            view[offset : offset + len(data)] = data

        def get(offset: int, size: int) -> Any:
            assert view is not None
            return view[offset : offset + size]

        self.pull(reference, put, get, range(_pieces(reference)))
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        array.flags.writeable = False
        return array

    def pull(
        self,
        reference: Reference,
        put: Callable[[int, Any], None],
        get: Callable[[int, int], Any],
        missing: range | list[int],
    ) -> int:
        """Have the missing pieces of an array, and see that all of it is right.

        Args:
            reference: What the array must be.
            put: Takes the bytes at an offset.
            get: Gives those that it took.
            missing: Numbers of pieces, of `PIECE` bytes each.

        Returns:
            How many bytes came.
        """
        size = reference.nbytes
        ranges = {k * PIECE: min(PIECE, size - k * PIECE) for k in missing}
        came = self._fetch(reference, Ranges(ranges, check=not reference.sha256), put)
        if not reference.sha256 or self._right(reference, get):
            return came
        log.warning("%s %d was damaged on its way", reference.rid, reference.seq)
        whole = {k: min(PIECE, size - k) for k in range(0, size, PIECE)}
        came += self._fetch(reference, Ranges(whole, check=True, have=get), put)
        if not self._right(reference, get):
            raise BadFile(
                f"The array {reference.name or reference.seq} of {reference.rid} is "
                "damaged where it is kept: its bytes are not those that were measured. "
                "Measure under another id."
            )
        return came

    def range(self, rid: str, seq: int, offset: int, size: int) -> bytes:
        """Return a range of bytes, of a frame on its way for instance."""
        out = bytearray(size)

        def put(at: int, data: Any) -> None:
            out[at - offset : at - offset + len(data)] = data

        end = offset + size
        ranges = {k: min(PIECE, end - k) for k in range(offset, end, PIECE)}
        reference = Reference(rid, seq, "|u1", (size,), size)
        self._fetch(reference, Ranges(ranges, check=True), put)
        return bytes(out)

    def close(self) -> None:
        """Close the connections; the next question opens them again."""
        with self._lock:
            links, self._free = self._free, []
        for link in links:
            link.close()

    def _fetch(
        self, reference: Reference, ranges: Ranges, put: Callable[[int, Any], None]
    ) -> int:
        """Have ranges by the data channel, or else by the control channel."""
        size = sum(ranges.missing.values())
        if self.on:
            link = self._link()
            try:
                link.pull(reference.rid, reference.seq, ranges, put)
            except Unreachable as error:
                link.close()
                log.warning("%s Going on by the control channel.", error)
                self._use = False
            except BaseException:
                link.close()
                raise
            else:
                with self._lock:
                    self._free.append(link)
                    spare = self._free[:-LINKS]
                    self._free = self._free[-LINKS:]
                for one in spare:
                    one.close()
        for offset, nbytes in list(ranges.missing.items()):
            said = self._ask("piece", reference.rid, reference.seq, offset, nbytes)
            put(offset, said)
            ranges.missing.pop(offset)
        return size

    def _link(self) -> Link:
        with self._lock:
            if self._free:
                return self._free.pop()
        return Link(self._where, folder=self._folder, timeout_s=self._timeout_s)

    def _where(self, again: bool) -> tuple[str, str]:
        """Return address and key of the data channel; `again`: ask whether it moved."""
        if again:
            self.told(self._endpoints())
        where = self._told.get("data", "")
        if isinstance(self._use, str):
            where = self._use
        host = f"[{self._host}]" if ":" in self._host else self._host
        return where.replace("*", host), self._told.get("data_key", "")

    def _mapped(self, reference: Reference, place: Place | None) -> NDArray[Any] | None:
        """Return an array from the file of its server, if that file is here."""
        if place is None or self._use is not True or not reference.nbytes:
            return None  # where somebody said where the data is, it is elsewhere
        if self._told.get("machine") != this_machine():
            return None
        try:
            file = os.open(place.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError:  # another's: not for us
            return None
        with os.fdopen(file, "rb") as opened:
            found = os.fstat(opened.fileno())
            if (found.st_dev, found.st_ino) != (place.device, place.inode):
                return None
            if found.st_size < place.offset + reference.nbytes:
                return None
            array = np.memmap(
                opened, reference.dtype, "r", place.offset, reference.shape
            )
        return np.asarray(array)

    def _right(self, reference: Reference, get: Callable[[int, int], Any]) -> bool:
        digest = hashlib.sha256()
        for k in range(0, reference.nbytes, PIECE):
            digest.update(get(k, min(PIECE, reference.nbytes - k)))
        return digest.hexdigest() == reference.sha256


def _pieces(reference: Reference) -> int:
    return -(-reference.nbytes // PIECE)


class PulledFile:
    """An array on its way into an .npy file; what came stays, whatever happens.

    Args:
        path: Of the file; until it is whole it is called so with ".part" after it.
        reference: What it must be; a part of something else begins anew.

    Attributes:
        missing: The numbers of the pieces that did not come so far.
    """

    def __init__(self, path: Path, reference: Reference) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._log = path.with_name(f"{path.name}.part.log")
        what = repr(reference).encode() + b"\n"
        head = _npy_head(reference)
        self._begin = len(head)
        done: set[int] = set()
        if self._log.is_file() and self._part.is_file():
            said = self._log.read_bytes()
            if said.startswith(what):
                listed = said[len(what) :]
                listed = listed[: len(listed) // 8 * 8]  # the last may be torn
                done = set(np.frombuffer(listed, "<i8").tolist())
                self._log.write_bytes(what + listed)
        if not done:
            self._part.write_bytes(head)
            self._log.write_bytes(what)
        self.missing = [k for k in range(_pieces(reference)) if k not in done]
        self._file = self._part.open("r+b", buffering=0)
        self._list = self._log.open("ab", buffering=0)

    def put(self, offset: int, data: Any) -> None:
        """Take the bytes at an offset."""
        self._file.seek(self._begin + offset)
        with memoryview(data) as left:
            done = 0
            while done < len(left):
                done += self._file.write(left[done:])
        self._list.write((offset // PIECE).to_bytes(8, "little"))

    def get(self, offset: int, size: int) -> bytes:
        """Give bytes that were taken."""
        return exactly(self._file, self._begin + offset, size, str(self._part))

    def close(self, *, whole: bool) -> None:
        """Close it; if it is whole, it gets its name."""
        if whole:
            os.fsync(self._file.fileno())
        self._file.close()
        self._list.close()
        if whole:
            os.replace(self._part, self._path)
            self._log.unlink()


def pull_file(puller: Puller, reference: Reference, path: Path) -> NDArray[Any]:
    """Have an array as an .npy file, and return it mapped from there, read-only.

    Raises:
        BadFile: If it cannot be written, or is damaged where it is kept.
        AemtwinError: As `Puller.pull`.
    """
    try:
        file, whole = PulledFile(path, reference), False
        try:
            puller.pull(reference, file.put, file.get, file.missing)
            whole = True
        finally:
            file.close(whole=whole)
    except AemtwinError:
        raise
    except OSError as error:
        raise BadFile(
            f"{path} cannot be written ({error}). Make room, or name another file; "
            "what came stays, and the same call goes on."
        ) from None
    return np.asarray(np.load(path, mmap_mode="r"))


def _npy_head(reference: Reference) -> bytes:
    from io import BytesIO

    out = BytesIO()
    told = {
        "descr": reference.dtype,
        "fortran_order": False,
        "shape": reference.shape,
    }
    np.lib.format.write_array_header_1_0(out, told)
    return out.getvalue()
