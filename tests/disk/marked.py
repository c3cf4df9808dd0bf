"""An instrument whose exposures the shim marks in its trace: an observer outside."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

from tests.remote.bench import Bench


class Marks:
    """Hardware at the end of a wire: every exposure is marked, whoever lives."""

    def __init__(self) -> None:
        self._shim = ctypes.CDLL(None)
        self.exposed: list[str] = []

    def write(self, line: str) -> None:
        self.exposed.append(json.loads(line))
        self._shim.shim_mark(self.exposed[-1].encode())

    def flush(self) -> None:
        """Nothing waits."""

    def readline(self) -> str:
        return "done\n"

    def close(self) -> None:
        """Nothing is open."""


def marked(path: Path) -> tuple[Bench, Marks]:
    wire = Marks()
    return Bench(0, path, wire=wire), wire


def mark(text: str) -> None:
    """Mark something in the trace."""
    ctypes.CDLL(None).shim_mark(text.encode())


def room(nbytes: int) -> None:
    """Leave so many bytes on the disk; -1: any number."""
    ctypes.CDLL(None).shim_room(ctypes.c_long(nbytes))
