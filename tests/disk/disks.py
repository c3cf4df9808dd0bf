"""Disks as they may be after a power cut: made of what was written, and synchronized.

`shim.c` records what a process does to its files. Here the record is cut somewhere, and
the files are made that could be found then: what was synchronized is there; of what was
written later any part, torn at sectors. A file whose making, renaming or removal was
followed by no synchronization of it or its folder may have either name, or none.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECTOR = 512
_HEAD = struct.Struct("<cHIq")


class Record(NamedTuple):
    kind: str
    path: str
    data: bytes
    offset: int


@cache
def shim() -> Path:
    """Compile the shim, or skip where that cannot be done."""
    import tempfile

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler and Linux are needed to be in a disk's way")
    made = Path(tempfile.mkdtemp(prefix="aemtwin-shim-")) / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made)]
    done = subprocess.run(
        [*command, str(HERE / "shim.c"), "-ldl", "-lpthread"], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"the shim cannot be compiled: {done.stderr.decode()[:300]}")
    return made


def watched(
    script: str,
    arguments: Sequence[str],
    folder: Path,
    trace: Path | None = None,
    timeout_s: float = 500.0,
) -> str:
    """Run Python with the shim over a folder; return what it printed."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LD_PRELOAD": str(shim()),
        "SHIM_FOLDER": f"{folder}/",
        "NPROC": "1",
    }
    if trace is not None:
        env["SHIM_TRACE"] = str(trace)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def records(trace: Path) -> list[Record]:
    """Return what a trace says, in order."""
    data, found, at = trace.read_bytes(), [], 0
    while at < len(data):
        kind, length, size, offset = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        path = data[at : at + length].decode()
        at += length
        found.append(Record(kind.decode(), path, data[at : at + size], offset))
        at += size
    return found


class _File:
    """A file: its bytes, and what was done to it since it was synchronized."""

    def __init__(self) -> None:
        self.synced, self.since = b"", list[Record]()
        self.made = False  # whether it is surely there at all

    def after(self, dice: random.Random) -> bytes:
        """Its bytes after a power cut."""
        data = bytearray(self.synced)
        for one in self.since:
            if one.kind == "T":
                if dice.random() < 0.5:
                    del data[one.offset :]
                    data.extend(bytes(one.offset - len(data)))
                continue
            for begin in range(0, len(one.data), SECTOR):
                if dice.random() < 0.5:
                    continue
                piece = one.data[begin : begin + SECTOR]
                at = one.offset + begin
                data.extend(bytes(max(at + len(piece) - len(data), 0)))
                data[at : at + len(piece)] = piece
        return bytes(data)

    def whole(self) -> bytes:
        """Its bytes as every process sees them."""
        data = bytearray(self.synced)
        for one in self.since:
            if one.kind == "T":
                del data[one.offset :]
                data.extend(bytes(one.offset - len(data)))
            else:
                data.extend(bytes(max(one.offset + len(one.data) - len(data), 0)))
                data[one.offset : one.offset + len(one.data)] = one.data
        return bytes(data)


def after_a_cut(
    done: Sequence[Record], folder: Path, made: Path, dice: random.Random
) -> list[str]:
    """Make in `made` what `folder` may hold after these records; return the marks."""
    files: dict[str, _File] = {}
    # names that are not sure so far: what they were before, in the order of changes
    unsure: list[tuple[str, str, _File, _File | None]] = []
    marks = []
    for one in done:
        if one.kind == "M":
            marks.append(one.data.decode())
        elif one.kind == "C":
            files[one.path] = _File()
        elif one.kind in "WT":
            files.setdefault(one.path, _File()).since.append(one)
        elif one.kind == "S":
            if one.path in files:
                file = files[one.path]
                file.synced, file.since, file.made = file.whole(), [], True
            else:  # a folder: the names in it are sure
                unsure = [u for u in unsure if os.path.dirname(u[1]) != one.path]
        elif one.kind == "R":
            to, file = one.data.decode(), files.pop(one.path)
            unsure.append((one.path, to, file, files.get(to)))
            files[to] = file
        elif one.kind == "U" and one.path in files:
            files.pop(one.path)
    for old, new, file, before in reversed(unsure):
        if files.get(new) is file and dice.random() < 0.5:
            del files[new]
            files[old] = file
            if before is not None:
                files[new] = before
    for path, file in files.items():
        if not file.made and dice.random() < 0.3:
            continue
        target = made / os.path.relpath(path, folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.after(dice))
    return marks
