"""Files of JSON lines that only grow: the journal of a run is one.

A line counts when its end is on disk. What a killed writer left of the last one was
never acknowledged, and is cut off before anybody writes on.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from io import RawIOBase
from pathlib import Path
from typing import Any

from aemtwin.errors import AemtwinError


def read(path: Path, error: type[AemtwinError]) -> tuple[list[Any], int]:
    """Return the values of all whole lines, and the bytes that these take up.

    Raises:
        AemtwinError: Of the kind `error`, if a line before the last is not JSON.
    """
    data = path.read_bytes()
    values: list[Any] = []
    whole = 0
    for line in data.splitlines(keepends=True):
        try:
            value = json.loads(line)
        except ValueError as cause:
            if whole + len(line) < len(data):
                raise error(
                    f"{path} is damaged: line {len(values) + 1} is not JSON ({cause}), "
                    "but later lines are there. Restore the file from a copy."
                ) from None
            break
        if not line.endswith(b"\n"):
            break  # complete by chance
        values.append(value)
        whole += len(line)
    return values, whole


def cut(path: Path, whole: int) -> None:
    """Cut off what follows the first `whole` bytes."""
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)


def append(file: RawIOBase, value: Any, *, durable: bool) -> None:
    """Write one line; if `durable`, wait until it is on disk.

    Args:
        file: Opened to append, without a buffer.
        value: JSON.
        durable: Whether to wait.

    Raises:
        OSError: If it cannot be written; then there is nothing of it.
    """
    line = memoryview((json.dumps(value, allow_nan=False) + "\n").encode())
    before = os.fstat(file.fileno()).st_size
    try:
        while line:
            line = line[file.write(line) :]
        if durable:
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(before)
        raise
