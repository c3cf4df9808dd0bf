"""Which machine this is: so that both sides know whether they share its files."""

from __future__ import annotations

import functools
import hashlib
import socket
import uuid
from contextlib import suppress
from pathlib import Path


@functools.cache
def this_machine() -> str:
    """Return what is the same for all processes of one machine, since it started."""
    said = f"{socket.gethostname()} {uuid.getnode()}"
    with suppress(OSError):  # where there is none, the above must do
        said = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return hashlib.sha256(f"aemtwin {said}".encode()).hexdigest()[:32]
