"""Large results as files, for people: `aemtwin pull URI REF`.

A REF is a request id, of which all arrays are meant, or one of them after a #: its name
or its number, as "a1b2/0/overview#topography". What a twin plays back is "recording".
Files are NumPy's .npy, which `numpy.load(path, mmap_mode="r")` opens without reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aemtwin.errors import OutOfRange, TruthRefused, UnknownName, unknown

RECORDING = "recording"
LATEST = 20  # operations that are listed
MEBI = 2**20


class Wanted(NamedTuple):
    """One array that somebody wants as a file."""

    name: str
    source: Any  # a `Reference`, or the array itself where it came along
    what: str  # dtype, shape and unit, for people


def wanted(scope: Any, ref: str) -> list[Wanted]:
    """Return the arrays that a REF means, small ones too.

    Args:
        scope: A `RemoteInstrument`.
        ref: See the head of this module.

    Raises:
        UnknownName: If there is no such request, or it has no such array.
        TruthRefused: If it is a recording, which is not served.
        AemtwinError: What ended the request, if it failed.
    """
    rid, _, which = ref.partition("#")
    if rid == RECORDING:
        found = [_referred(one) for one in scope.recordings()]
    else:
        large = {one.name: one for one in scope.references(rid)}
        arrays = getattr(scope.fetch(rid), "arrays", {})
        found = [
            _referred(large[name]) if name in large else _here(name, values)
            for name, values in arrays.items()
        ]
    if not found:
        raise UnknownName(f"{rid} gave no array: it moved, or wrote. Name another.")
    if not which:
        return found
    names = [one.name for one in found]
    if which in names:
        return [found[names.index(which)]]
    if which.isdigit() and int(which) < len(found):
        return [found[int(which)]]
    raise unknown("array", which, names, f"They are those of {rid}.")


def paths(ref: str, found: list[Wanted], output: Path | None) -> list[Path]:
    """Return the files to write: `output` itself, in it, or named after the REF.

    Raises:
        OutOfRange: If there are several arrays for one file.
    """
    if output is not None and output.suffix == ".npy":
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise OutOfRange(
                f"pull got one file, {output}, for {len(found)} arrays ({names}). Name "
                "one of them after a #, or a folder."
            )
        return [output]
    rid = ref.partition("#")[0]
    stem = "".join(c if c.isalnum() or c in "-." else "_" for c in rid)
    folder = output or Path()
    return [folder / f"{stem}-{_plain(one.name)}.npy" for one in found]


def pull(scope: Any, one: Wanted, path: Path) -> int:
    """Write an array to a file, and return its bytes.

    Raises:
        AemtwinError: As `RemoteInstrument.pull`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(one.source, np.ndarray):
        np.save(path, one.source)
        return int(one.source.nbytes)
    scope.pull(one.source, path)
    return int(one.source.nbytes)


def listed(scope: Any) -> Iterator[str]:
    """Yield what there is to pull, a line each: recordings, and the latest results."""
    try:
        for one in scope.recordings():
            yield f"{RECORDING}#{one.name}  {_referred(one).what}"
    except (TruthRefused, TypeError):  # not served, or no twin
        pass
    after = max(scope.state().operations - LATEST, 0)
    for event in scope.events(after):
        if event["end_s"] is not None and "sha256" in event:
            yield f"{event['rid']}  {event['call']}"


def _referred(reference: Any) -> Wanted:
    shape = " x ".join(str(n) for n in reference.shape)
    size = f"{reference.nbytes / MEBI:.1f} MiB"
    what = f"{np.dtype(reference.dtype).name}, {shape}, {reference.units}, {size}"
    return Wanted(reference.name, reference, what)


def _here(name: str, values: Any) -> Wanted:
    return Wanted(name, values, f"{values.dtype.name}, {values.shape}")


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "_" for c in name)
