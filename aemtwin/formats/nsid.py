"""NSID files with h5py alone: lazily, in their own dtype, read-only, without sidpy.

`open_nsid` finds every main dataset of a file whatever its groups are called, and
`write_nsid` writes files that pyNSID's readers open. `aemtwin.formats.specimens` makes
a `Sample` of the arrays, `aemtwin.formats.pycroscopy` a `sidpy.Dataset`. The layout is
that of pyNSID: a main dataset with descriptive attributes, and one dimension scale an
axis in the same group.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py

from aemtwin.errors import BadFile, unknown
from aemtwin.formats import metadata as meta
from aemtwin.formats.nsid_read import BROKEN, LazyArray, read_main
from aemtwin.formats.nsid_write import write_nsid
from aemtwin.sample import StoredArray

__all__ = [
    "LazyArray",
    "NsidFile",
    "StoredArray",
    "open_nsid",
    "sha256_of",
    "summary",
    "write_nsid",
]


VENDORS = {  # how files of instruments end -> whose they are; none is HDF5
    ".ibw": "Asylum Research (Igor)",
    ".dm3": "Gatan (DigitalMicrograph)",
    ".dm4": "Gatan (DigitalMicrograph)",
    ".3ds": "Nanonis (grid spectroscopy)",
    ".sxm": "Nanonis (scan)",
    ".spm": "Bruker (NanoScope)",
    ".gwy": "Gwyddion",
    ".wdf": "Renishaw (WiRE)",
    ".ser": "FEI (TIA)",
    ".mib": "Quantum Detectors (Merlin)",
}
WHOLE = 2**28  # bytes: a larger file is told by samples of it
BLOCK, BLOCKS = 2**16, 256


class NsidFile:
    """An open NSID file; close it, or use it in a `with` statement."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self.arrays = _arrays(path, file)
        self.attributes = {k: meta.python(v) for k, v in file.attrs.items()}

    def array(self, name: str) -> StoredArray:
        """Return the first array of that name.

        Raises:
            UnknownName: If there is none.
        """
        for one in self.arrays:
            if one.name == name:
                return one
        raise unknown(
            "array", name, (a.name for a in self.arrays), f"{self.path} holds these."
        )

    def close(self) -> None:
        """Close the file; arrays not yet read can no longer be."""
        self._file.close()

    def __enter__(self) -> NsidFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_nsid(path: str | os.PathLike[str]) -> NsidFile:
    """Open an NSID file read-only, without a lock, and find its arrays.

    Args:
        path: The file. It is never written to; many processes may read it at once.
            Links to other files are not followed.

    Returns:
        The file with `.arrays` in natural order of their places in it ("Channel_2"
        before "Channel_10"), their data still on disk.

    Raises:
        BadFile: If it is missing, damaged, foreign, or breaks NSID's rules.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "does not exist"
        raise BadFile(f"open_nsid: {path} {kind}. Give the path of an NSID file.")
    try:
        if not h5py.is_hdf5(path):
            size = path.stat().st_size
            what = "is not an HDF5 file" if size else "is empty"
            if size and (vendor := VENDORS.get(path.suffix.lower())):
                raise BadFile(
                    f"open_nsid: {path} is a file of {vendor}, which is not read here "
                    "yet. Read it with SciFiReaders and write its datasets as NSID "
                    "with pyNSID or `aemtwin.formats.nsid.write_nsid`."
                )
            raise BadFile(
                f"open_nsid: {path} {what}. Give an NSID file, or fetch this one again."
            )
        file = h5py.File(path, "r", locking=False)
    except BadFile:
        raise
    except BROKEN as error:
        raise BadFile(
            f"open_nsid: {path} cannot be opened ({error}), so it is cut short, "
            "damaged or not readable for you. Fetch it again or check its permissions."
        ) from error
    try:
        return NsidFile(path, file)
    except BadFile:
        file.close()
        raise
    except BROKEN as error:
        file.close()
        raise BadFile(
            f"open_nsid: the structure of {path} is damaged ({error}). Fetch it again."
        ) from error


def _arrays(path: Path, file: h5py.File) -> tuple[StoredArray, ...]:
    mains: list[h5py.Dataset] = []
    usid = False

    def visit(_: str, found: object) -> None:
        nonlocal usid
        if isinstance(found, h5py.Dataset):
            if "main_data_name" in found.attrs or {"data_type", "quantity"} <= set(
                found.attrs
            ):
                mains.append(found)
            usid = usid or "Spectroscopic_Values" in found.attrs

    file.visititems(visit)  # hard links only: nothing outside the file
    if not mains:
        what = "is a USID file" if usid else "holds no NSID main dataset"
        raise BadFile(
            f"open_nsid: {path} {what}, and NSID is what is read here. Convert it "
            "first: `aemtwin.formats.nsid.write_nsid` writes NSID, as pyNSID does."
        )
    mains.sort(key=lambda main: _natural(main.name))
    return tuple(read_main(path, main) for main in mains)


def _natural(name: str) -> list[list[tuple[int, str]]]:
    """Return a key that sorts numbers by value, part by part.

    >>> sorted(["a/c_10", "a/c_2"], key=_natural)
    ['a/c_2', 'a/c_10']
    """
    return [
        [(int(p), "") if p.isdecimal() else (-1, p) for p in re.split(r"(\d+)", part)]
        for part in name.split("/")
    ]


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return what tells a file's content from another's, as hexadecimal digits.

    That is the SHA-256 of its bytes. Of a file larger than `WHOLE` it is that of its
    size and of 256 blocks spread over it, marked "sampled-": who changes such a file in
    between is not found out, and a file of 10 GB opens at once.

    Raises:
        BadFile: If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= WHOLE:
                return hashlib.file_digest(file, "sha256").hexdigest()
            digest = hashlib.sha256(str(size).encode())
            for i in range(BLOCKS):
                file.seek(i * (size - BLOCK) // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
            return f"sampled-{digest.hexdigest()}"
    except OSError as error:
        raise BadFile(f"sha256_of: {path} cannot be read ({error}).") from error


def summary(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Describe every array of a file: what `aemtwin info FILE` prints.

    Returns:
        One dictionary an array: name, quantity, units, shape, dtype, data_type,
        derived, path_in_file and axes (name, units, length, first, last, kind).

    Raises:
        BadFile: As `open_nsid`.
    """
    with open_nsid(path) as file:
        return [
            {
                "name": a.name,
                "quantity": a.quantity,
                "units": a.units,
                "shape": tuple(a.data.shape),
                "dtype": str(a.data.dtype),
                "data_type": a.data_type,
                "derived": a.derived,
                "path_in_file": a.path_in_file,
                "axes": [
                    {
                        "name": axis.name,
                        "units": axis.units,
                        "length": len(axis),
                        "first": axis.values[0].item(),
                        "last": axis.values[-1].item(),
                        "low": axis.values.min().item(),
                        "high": axis.values.max().item(),
                        "kind": axis.kind,
                    }
                    for axis in a.axes
                ],
            }
            for a in file.arrays
        ]
