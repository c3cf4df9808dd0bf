"""What a server offers of large data: by reference where asked, in parts to anybody.

An answer for a client of ours has references in place of its large arrays, and tells
who is on the same machine the file. The same bytes are had by range over the data
channel (`aemtwin.remote.bulk`) or, more slowly, by the control channel's own `piece`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aemtwin.codec import referring, to_wire
from aemtwin.errors import BadFile, NotSupported, OutOfRange, TruthRefused
from aemtwin.instruments.parts import RECORDING, Parts
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.store import INLINE, Reference
from aemtwin.measurement import Measurement
from aemtwin.remote.bulk import MOST, Bulk
from aemtwin.remote.connection import is_loopback
from aemtwin.remote.curve import Admitted
from aemtwin.remote.machine import this_machine

log = logging.getLogger(__name__)

NO_TRUTH = (
    "This twin is served without its truth. Serve it with --truth (serve(twin, "
    "truth=True)) to score a run against it."
)


class Offered:
    """The large data of an instrument, and the data channel if it has one.

    Args:
        instrument: Whose.
        truth: Whether a twin's recording may be had.
    """

    def __init__(self, instrument: Instrument, *, truth: bool) -> None:
        self._parts: Parts | None = getattr(instrument, "parts", None)
        self._truth = truth
        self._bulk: Bulk | None = None
        self._endpoints: dict[str, str] = {}

    def open(self, host: str, port: int, admitted: Admitted | None) -> None:
        """Have a data channel, where the instrument has large data at all.

        Raises:
            OutOfRange: If the port cannot be had.
        """
        if self._parts is None:
            return
        self._bulk = Bulk(self.piece, host, port, admitted)
        key = {} if admitted is None else {"data_key": admitted.key}
        self._endpoints = {"data": self._bulk.endpoint, "machine": this_machine()}
        self._endpoints |= key

    def close(self) -> None:
        """Close the data channel."""
        if self._bulk is not None:
            self._bulk.close()

    def describe(self, packed: dict[str, Any]) -> dict[str, Any]:
        """Return what describes an instrument, with where its data is to be had."""
        return {**packed, "endpoints": {**packed["endpoints"], **self._endpoints}}

    def by_reference(self, found: Any, peer: str) -> Any:
        """Return an answer as builtins, with references in place of large arrays.

        Args:
            found: What the instrument answered.
            peer: The address of who asked.
        """
        if isinstance(found, Mapping) and isinstance(found.get("answer"), Measurement):
            told = {key: value for key, value in found.items() if key != "answer"}
            answer = self.by_reference(found["answer"], peer)
            return {**to_wire(told, "view"), "answer": answer}
        packed = to_wire(found, "view")
        if not isinstance(found, Measurement) or self._parts is None:
            return packed
        try:
            references = self._parts.refer(found)
        except BadFile as error:  # no room: then the whole of it goes at once
            log.warning("%s", error)
            return packed
        told = {name: self._told(one, peer) for name, one in references.items()}
        return referring(packed, told)

    def lines(self, told: dict[str, Any], encoding: str) -> Any:
        """Return lines of a frame as builtins.

        Up to `INLINE` bytes ride along. Of more, who asks by reference is told how many
        there are, to have them by range, and who does not gets the first of them.
        """
        arrays = told["arrays"]
        nbytes = sum(values.nbytes for values in arrays.values())
        if nbytes <= INLINE or not arrays:
            return to_wire(told, "view" if encoding == "reference" else encoding)
        if encoding == "reference":
            shapes = {
                name: {"shape": list(values.shape), "dtype": _wire_dtype(values)}
                for name, values in arrays.items()
            }
            return {**to_wire({**told, "arrays": {}}), "arrays": shapes}
        count = len(next(iter(arrays.values())))
        most = max(INLINE * count // nbytes, 1)
        first = {name: values[:most] for name, values in arrays.items()}
        lines = told["lines"] - count + most
        return to_wire({**told, "lines": lines, "arrays": first}, encoding)

    def piece(self, rid: str, seq: int, offset: int, size: int) -> bytes:
        """Return bytes of a large array; see `Parts.piece`.

        Raises:
            AemtwinError: The kind that fits.
        """
        if type(size) is int and size > MOST:
            raise OutOfRange(
                f"piece got {size} bytes; at most {MOST} are allowed. Ask for ranges."
            )
        if rid == RECORDING:
            self._require_truth()
        return self._there().piece(rid, seq, offset, size)

    def recordings(self, peer: str) -> list[dict[str, Any]]:
        """Return what tells of a twin's recorded arrays.

        Raises:
            TruthRefused: If they may not be had.
            NotSupported: If this is no twin.
        """
        self._require_truth()
        return [self._told(one, peer) for one in self._there().recordings()]

    def _told(self, reference: Reference, peer: str) -> dict[str, Any]:
        told: dict[str, Any] = to_wire(reference)
        parts = self._there()
        host = peer.rpartition(":")[0].strip("[]")
        with suppress(ValueError):
            place = parts.place(reference.rid, reference.seq)
            if place is not None and is_loopback(host):
                told["place"] = to_wire(place)
        return told

    def _there(self) -> Parts:
        if self._parts is None:
            raise NotSupported("This instrument keeps no large data of its own.")
        return self._parts

    def _require_truth(self) -> None:
        if not self._truth:
            raise TruthRefused(NO_TRUTH)


def _wire_dtype(values: Any) -> str:
    return str(values.dtype.newbyteorder("<").str)
