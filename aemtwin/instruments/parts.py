"""What is large, or not over yet: parts of it, for whoever asks, as often as he asks.

Three things are had in parts, all by (rid, seq) and a range of bytes: arrays of answers
that are kept in files (`aemtwin.instruments.store`), frames on their way
(`aemtwin.instruments.streams`) and the recorded arrays of a twin, which stay on disk
however large they are. `aemtwin.remote` hands parts on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.errors import UnknownName
from aemtwin.instruments import checks
from aemtwin.instruments.protocol import split_rid
from aemtwin.instruments.store import Place, Reference, Store, no_such, require_range
from aemtwin.instruments.streams import Streams
from aemtwin.measurement import Measurement
from aemtwin.sample import StoredArray

RECORDING = "recording/0/stored"  # what the arrays of a twin's recording are had by


class Parts:
    """The large arrays of one instrument, and its frames on their way.

    Args:
        store: Of what is kept of answers.
        status: Tells how it stands with a request.
        recorded: The arrays of a twin's recording.
    """

    def __init__(
        self,
        store: Store,
        status: Callable[[str], dict[str, Any]],
        recorded: Sequence[StoredArray] = (),
    ) -> None:
        self._store, self._status, self._recorded = store, status, tuple(recorded)
        self.streams = Streams()

    def lines(self, rid: str, after: int, wait_s: float) -> dict[str, Any]:
        """Return the lines of a frame after the first `after`; see `Instrument`."""
        split_rid(rid)
        after = checks.whole("lines", "after", after, 0, 2**62)
        wait_s = checks.number("lines", "wait_s", wait_s, 0.0, 3600.0, "s")

        def going_on() -> bool:
            return self._status(rid)["status"] in ("queued", "running")

        stream = self.streams.wait(rid, after, wait_s, going_on)
        told: dict[str, Any] = {"rid": rid, "status": self._status(rid)["status"]}
        if stream is None and told["status"] == "unknown":
            raise UnknownName(
                f"There is no request {rid!r}, so it has no lines. Submit it, or look "
                "for it in events()."
            )
        if stream is None:
            return {**told, "lines": after, "of": 0, "arrays": {}, "units": {}}
        done = max(stream.done, after)
        arrays = {n: values[after:done] for n, values in stream.arrays.items()}
        told |= {"lines": done, "of": stream.lines}
        return {**told, "arrays": arrays, "units": dict(stream.units)}

    def refer(self, answer: Measurement) -> dict[str, Reference]:
        """Keep the large arrays of an answer; return what tells of them, by name.

        Raises:
            BadFile: If they cannot be kept.
        """
        return self._store.refer(answer)

    def recordings(self) -> list[Reference]:
        """Return what tells of the recorded arrays of a twin, small ones too."""
        return [
            Reference(
                rid=RECORDING,
                seq=seq,
                dtype=_little(array.data.dtype).str,
                shape=tuple(array.data.shape),
                nbytes=_size(array.data),
                name=array.name,
                units=array.units,
            )
            for seq, array in enumerate(self._recorded)
        ]

    def place(self, rid: str, seq: int) -> Place | None:
        """Return the file that has the bytes of an array as they are, if one has."""
        if rid == RECORDING:
            return _place(self._stored(seq).data)
        return self._store.place(rid, seq)

    def piece(self, rid: str, seq: int, offset: int, size: int) -> bytes:
        """Return bytes of an array, in C order, little-endian.

        Raises:
            UnknownName: If there is no such array.
            OutOfRange: If it has no such bytes, or not yet.
            BadFile: If they cannot be read.
        """
        if rid == RECORDING:
            data = self._stored(seq).data
            require_range(rid, seq, offset, size, _size(data))
            return read_range(data, offset, size)
        try:
            return self._store.read(rid, seq, offset, size)
        except UnknownName:
            return self.streams.read(rid, seq, offset, size)

    def _stored(self, seq: int) -> StoredArray:
        if type(seq) is not int or not 0 <= seq < len(self._recorded):
            raise no_such(RECORDING, seq)
        return self._recorded[seq]


def read_range(data: Any, offset: int, size: int) -> bytes:
    """Return bytes of an array in C order, and read little more of it than those.

    Args:
        data: An array in memory, or a dataset of a file that is read when sliced.
        offset: The first byte.
        size: How many.

    >>> stack = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    >>> read_range(stack, 5, 30) == stack.tobytes()[5:35]
    True
    """
    if not size:
        return b""
    inner = _size(data) // data.shape[0] if data.ndim else _size(data)
    first, last = offset // inner, (offset + size - 1) // inner
    if first < last or data.ndim <= 1:  # whole items of this axis
        item = data.dtype.itemsize if data.ndim <= 1 else inner
        first, last = offset // item, (offset + size - 1) // item
        cut = slice(first, last + 1) if data.ndim else ()
        if data.ndim > 1 and size < inner:  # two items, and little of either
            middle = last * item - offset
            return read_range(data, offset, middle) + read_range(
                data, last * item, size - middle
            )
        values = np.asarray(data[cut])
        values = np.ascontiguousarray(values, _little(values.dtype))
        begin = offset - first * item
        return values.tobytes()[begin : begin + size]
    return read_range(_Item(data, first), offset - first * inner, size)


class _Item:
    """One item along the first axis of a dataset, itself read when sliced."""

    def __init__(self, data: Any, index: int) -> None:
        self._data, self._index = data, index
        self.shape, self.dtype = tuple(data.shape[1:]), data.dtype
        self.ndim = len(self.shape)

    def __getitem__(self, cut: Any) -> Any:
        cut = cut if isinstance(cut, tuple) else (cut,)
        return self._data[(self._index, *cut)]


def _size(data: Any) -> int:
    return int(np.prod(data.shape, dtype=np.int64)) * int(data.dtype.itemsize)


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<") if dtype.str[0] == ">" else dtype


def _place(data: Any) -> Place | None:
    """Return where a dataset of a file lies, if it does as one block."""
    with suppress(OSError):
        if (block := getattr(data, "block", None)) is not None:
            path = Path(block[0]).resolve()
            there = path.stat()
            return Place(str(path), block[1], _size(data), there.st_dev, there.st_ino)
    return None
