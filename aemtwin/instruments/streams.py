"""Frames on their way: lines that are there before the operation is over.

Who performs a scan opens a `Stream` and says how many lines are there; any number of
others read them, from the first or from where they left off. Nothing is handed to
anybody and nobody is waited for, so who is slow slows himself alone. What is over is
remembered for a while; after that the answer has it all.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.store import no_such, require_range

REMEMBERED = 4  # streams that are over
LOOK_S = 0.05  # between two looks at what has no stream so far


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a frame, as it came."""

    rid: str
    seq: int  # the row of the frame, from 0
    lines: int  # of the whole frame
    arrays: Mapping[str, NDArray[Any]]  # (columns,) each, by channel
    units: Mapping[str, str]


class Stream:
    """The arrays of one operation, of which the first `done` lines are there."""

    def __init__(
        self,
        rid: str,
        arrays: Mapping[str, NDArray[Any]],
        units: Mapping[str, str],
        tell: Callable[[], None],
    ) -> None:
        self.rid, self.arrays, self.units = rid, dict(arrays), dict(units)
        self.lines = min(len(values) for values in self.arrays.values())
        self.done, self.over = 0, False
        self._tell = tell

    def advance(self, done: int) -> None:
        """Say that so many lines are there, from the first."""
        self.done = done
        self._tell()

    def close(self) -> None:
        """Say that no more will come."""
        self.over = True
        self._tell()


class Streams:
    """The frames of one instrument that are on their way, or just came."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._streams: OrderedDict[str, Stream] = OrderedDict()

    def open(
        self, rid: str, arrays: Mapping[str, NDArray[Any]], units: Mapping[str, str]
    ) -> Stream:
        """Begin a stream.

        Args:
            rid: Of the operation.
            arrays: (lines, columns) each, filled while the stream advances.
            units: Of each.
        """
        stream = Stream(rid, arrays, units, self._notify)
        with self._changed:
            self._streams[rid] = stream
            over = [rid for rid, one in self._streams.items() if one.over]
            for old in over[:-REMEMBERED]:
                del self._streams[old]
        return stream

    def find(self, rid: str) -> Stream | None:
        """Return the stream of an operation, if there is one."""
        with self._changed:
            return self._streams.get(rid)

    def wait(
        self, rid: str, after: int, wait_s: float, going_on: Callable[[], bool]
    ) -> Stream | None:
        """Wait for more than `after` lines, or until the operation is over.

        Args:
            rid: Of the operation.
            after: Lines that are known.
            wait_s: How long at most.
            going_on: Whether the operation is not over: after its last line it may
                take a while to have its answer.
        """
        until = time.monotonic() + wait_s
        with self._changed:
            while True:
                stream = self._streams.get(rid)
                if stream is not None and stream.done > after:
                    return stream
                left = until - time.monotonic()
                under_way = stream is not None and not stream.over
                if left <= 0 or not (under_way or going_on()):
                    return stream
                self._changed.wait(left if under_way else min(left, LOOK_S))

    def read(self, rid: str, seq: int, offset: int, size: int) -> bytes:
        """Return bytes of an array that is on its way, of lines that are there.

        Raises:
            UnknownName: If there is no such stream.
            OutOfRange: If these bytes are not there, or not yet.
        """
        stream = self.find(rid)
        if stream is None or not 0 <= seq < len(stream.arrays):
            raise no_such(rid, seq)
        values = [*stream.arrays.values()][seq]
        there = values.nbytes // len(values) * stream.done
        require_range(rid, seq, offset, size, there)
        data = np.ascontiguousarray(values).data.cast("B")
        return bytes(data[offset : offset + size])

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
