"""What is large at an instrument elsewhere, or not over yet, as its proxy has it.

`aemtwin.remote.client` is the proxy, `aemtwin.remote.pull` has the bytes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.codec import answer_from_wire, array_from_wire, from_wire
from aemtwin.errors import UnknownName
from aemtwin.instruments.calls import Calls
from aemtwin.instruments.store import Place, Reference, reference_of
from aemtwin.remote.line import Line
from aemtwin.remote.pull import Puller, pull_file

PLACES = 1000  # that are remembered


class Large(Calls):
    """The part of a proxy that has large arrays, and frames line by line."""

    _line: Line
    _puller: Puller
    _has_lines: bool

    def _pulling(self, data: bool | str, timeout_s: float) -> Puller:
        """Return what has the arrays of this server."""
        self._places: dict[tuple[str, int], Place] = {}
        return Puller(
            self._piece,
            self._endpoints,
            host=self._line.host,
            folder=self._line.folder,
            use=data,
            timeout_s=timeout_s,
        )

    def lines(self, rid: str, after: int = 0, wait_s: float = 0.0) -> dict[str, Any]:
        if not self._has_lines:  # all of them come with the answer
            told = self.status(rid)
            if told["status"] in ("queued", "running"):
                time.sleep(min(wait_s, 0.2))
            return {**told, "lines": after, "of": 0, "arrays": {}, "units": {}}
        told = dict(self._line.follow("lines", [rid, after, wait_s]))
        arrays = {}
        try:
            for seq, (name, packed) in enumerate(told["arrays"].items()):
                if "data" not in packed:
                    nbytes = np.dtype(packed["dtype"]).itemsize * packed["shape"][1]
                    here = after * nbytes, packed["shape"][0] * nbytes
                    packed["data"] = self._puller.range(rid, seq, *here)
                arrays[name] = array_from_wire(packed)
        except UnknownName:  # it ended meanwhile, and the answer has it all
            return {**told, "lines": after, "arrays": {}}
        return {**told, "arrays": arrays}

    def recordings(self) -> list[Reference]:
        """Return what tells of the recorded arrays of a twin: to pull them.

        Raises:
            TruthRefused: If the twin is served without its truth.
            NotSupported: If it is no twin.
        """
        return [self._known(one) for one in self._line.ask("recordings")]

    def references(self, rid: str) -> list[Reference]:
        """Return what tells of the large arrays that a request gave.

        Raises:
            NotReady: If it is not over.
            UnknownName: If there was no such request.
        """
        packed = self._line.follow("fetch", [rid, 0.0])
        arrays = packed.get("arrays", {}) if isinstance(packed, Mapping) else {}
        told = [one["reference"] for one in arrays.values() if "reference" in one]
        return [self._known(one) for one in told]

    def pull(self, reference: Reference, path: str | Path | None = None) -> Any:
        """Return a large array, in memory or as a file.

        Args:
            reference: Of `references` or `recordings`.
            path: An .npy file to write it to, piece by piece: nothing of it stays in
                memory, and one that was cut off goes on where it was. None: in memory.

        Returns:
            The array, read-only; of a file mapped from it.

        Raises:
            AccessRefused: If the data channel does not let us in.
            Unreachable: If nothing came for `timeout_s`.
            BadFile: If it is damaged where it is kept, or cannot be written here.
        """
        if path is None:
            place = self._places.get((reference.rid, reference.seq))
            return self._puller.array(reference, place)
        return pull_file(self._puller, reference, Path(path))

    def _answer(self, packed: Any) -> Any:
        return answer_from_wire(packed, lambda told: self.pull(self._known(told)))

    def _known(self, told: Mapping[str, Any]) -> Reference:
        """Return a reference, having noted in which file its array is, if in one."""
        reference, place = reference_of(told), told.get("place")
        if place is not None:
            self._places[(reference.rid, reference.seq)] = from_wire(Place, place)
            while len(self._places) > PLACES:
                self._places.pop(next(iter(self._places)), None)
        return reference

    def _piece(self, call: str, rid: str, seq: int, offset: int, size: int) -> Any:
        return self._line.ask(call, [rid, seq, offset, size])

    def _endpoints(self) -> Mapping[str, str]:
        return dict(self._line.ask("describe")["endpoints"])
