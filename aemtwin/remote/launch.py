"""A twin in a process of its own, behind its URI, for as long as somebody needs it.

The child ends when this process does, however it ends: it watches a pipe that only the
parent holds open. `aemtwin run --twin` and `aemtwin demo` work this way.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aemtwin.errors import AemtwinError, Unreachable, by_code

log = logging.getLogger(__name__)

# Ctrl-C on a terminal goes to a whole group: a run ends its twin itself, and later.
_APART: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":
    _APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
PATIENCE_S = 60.0  # to start Python, read the file and perform the ledger again


@contextmanager
def launched(
    source: str,
    *,
    kind: str | None = None,
    select: str | None = None,
    ideal: bool = False,
    seed: int = 0,
    noise: Sequence[str] = (),
    counts: Sequence[str] = (),
    effects: str | None = None,
    calibrate: Sequence[str] = (),
    real_time: bool = False,
    ledger: Path | None = None,
) -> Iterator[str]:
    """Serve a twin with its truth in a new process, and give its URI.

    Args:
        source: A name of the catalogue, a twin folder or a file.
        kind: See `aemtwin.open_twin`, as `select`, `ideal` and `seed`.
        select: The sample, where a file holds several.
        ideal: Whether to leave out all effects.
        seed: Of all chance.
        noise: As the command line takes it, such as "loops=1.5".
        counts: As the command line takes it, such as "eds=recorded".
        effects: As the command line takes it, such as "drift,tip".
        calibrate: As the command line takes it, such as "x=0.39nm/px".
        real_time: Whether each operation takes its time.
        ledger: The file of its ledger.

    Raises:
        AemtwinError: If it does not start: what it said, as the type that it was.
    """
    command = [sys.executable, "-m", "aemtwin", "serve", source, "--truth"]
    command += ["--seed", str(seed), "--until-stdin-closes"]
    command += ["--kind", kind] if kind else []
    command += ["--select", select] if select else []
    command += ["--ideal"] if ideal else []
    command += ["--real-time"] if real_time else []
    for channel in noise:
        command += ["--noise", channel]
    for array in counts:
        command += ["--counts", array]
    command += ["--effects", effects] if effects is not None else []
    for axis in calibrate:
        command += ["--calibrate", axis]
    command += ["--ledger", str(ledger)] if ledger is not None else []
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **_APART,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    said: list[str] = []
    listener = threading.Thread(target=_listen, args=(child.stderr, said), daemon=True)
    listener.start()
    impatient = threading.Timer(PATIENCE_S, child.kill)
    impatient.start()
    try:
        uri = child.stdout.readline().strip()
        impatient.cancel()
        if not uri.startswith("PYRO:"):
            child.kill()
            listener.join(timeout=5)
            raise _what_it_said("".join(said).strip(), source)
        yield uri
    finally:
        impatient.cancel()
        child.stdin.close()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()
        listener.join(timeout=5)
        child.stderr.close()


def _listen(stream: object, said: list[str]) -> None:
    """Read to the end, so that the child never blocks on a full pipe."""
    for line in stream:  # type: ignore[attr-defined]
        said.append(line)
        del said[:-50]
        if line.startswith("WARNING: "):
            log.warning("the twin says: %s", line.removeprefix("WARNING: ").strip())


def _what_it_said(text: str, source: str) -> AemtwinError:
    """Return the error that ended the child, as the type that it was."""
    found = re.search(r"^aemtwin: (\w+): (.*)", text, re.M | re.S)
    if found is not None and found[1] in by_code():
        return by_code()[found[1]](found[2].strip())
    why = text or f"it said nothing in {PATIENCE_S:g} s"
    return Unreachable(f"The twin of {source!r} did not start: {why}")
