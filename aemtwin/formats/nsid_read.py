"""Read one NSID main dataset: its axes, texts and metadata; its values when indexed.

`aemtwin.formats.nsid` finds the datasets of a file; this turns each into a
`StoredArray`, or says in one sentence why it cannot.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile
from aemtwin.formats import metadata as meta
from aemtwin.formats.nsid_names import (
    EXACT,
    safe_data_type,
    safe_kind,
    safe_labels,
    safe_text,
)
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

BROKEN = (
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)  # what h5py raises on damaged files


class LazyArray:
    """A dataset of an open file: read where it is indexed, its errors `BadFile`s.

    A file that somebody writes to or cuts after it was opened is refused from then on:
    HDF5 itself would give what is there by now.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._path = dataset.file.filename
        self._stamp = _stamp(self._path)
        self._where = f"{dataset.file.filename}: {dataset.name}"
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype: np.dtype[Any] = dataset.dtype
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))
        self.nbytes = self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Any) -> NDArray[Any]:
        if not self._dataset:
            raise BadFile(
                f"{self._where} was read after its file was closed. Read it inside "
                "`with open_nsid(...)`."
            )
        try:
            values: NDArray[Any] = self._dataset[selection]
        except (OSError, RuntimeError) as error:
            raise BadFile(
                f"{self._where} cannot be read ({error}); its bytes are damaged. "
                "Fetch the file again and compare its SHA-256."
            ) from error
        if _stamp(self._path) != self._stamp:  # while it was read, or before
            raise BadFile(
                f"{self._where} was changed after it was opened, so its values are not "
                "those that were promised. Bring the file back, and open it again."
            )
        return values

    @property
    def block(self) -> tuple[str, int] | None:
        """Return path and offset of its bytes, if they lie in the file as they are."""
        own = self._dataset.chunks is None and self.dtype.str[0] != ">"
        offset = self._dataset.id.get_offset() if own and self._dataset else None
        return None if offset is None else (str(self._path), int(offset))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[()], dtype)


def _stamp(path: str) -> tuple[int, ...] | None:
    """Return what changes where somebody writes to a file, or puts another there."""
    try:
        there = os.stat(path)
    except OSError:
        return None
    times = there.st_mtime_ns, there.st_ctime_ns
    return there.st_dev, there.st_ino, there.st_size, *times


def read_main(path: Path, main: h5py.Dataset) -> StoredArray:
    """Return a main dataset of an open file as a stored array.

    Args:
        path: The file, for messages.
        main: The dataset, described as NSID asks.

    Raises:
        BadFile: If it breaks NSID's rules or is damaged.
    """

    def bad(cause: str) -> NoReturn:
        raise BadFile(
            f"open_nsid: {main.name} in {path} {cause}. Write it again with pyNSID or "
            "`aemtwin.formats.nsid.write_nsid`."
        )

    try:
        if main.shape is None or not main.shape or 0 in main.shape:
            bad("has no values")
        if main.dtype.kind not in "biufc":
            bad(f"is not numeric (dtype {main.dtype})")
        if main.is_virtual or main.external:
            bad("keeps its values in other files, which are not followed")
        exact = _exact(main)
        given = exact.get("axes") or [None] * main.ndim
        if len(given) != main.ndim:
            bad(f"has {main.ndim} axes but its {EXACT} describes {len(given)}")
        axes = []
        for i, length in enumerate(main.shape):
            if not len(main.dims[i]):
                bad(f"lacks the dimension scale of axis {i}")
            scale = main.dims[i][len(main.dims[i]) - 1]
            if scale.shape != (length,):
                bad(f"has {length} points on axis {i}, its scale has {scale.shape}")
            if scale.dtype.kind not in "biuf" or scale.is_virtual or scale.external:
                bad(f"has a scale on axis {i} that is not numbers in this file")
            axes.append(_axis(scale, main.dims[i].label))
        if "axes" in exact:
            safe = safe_labels(
                [Axis(name, units, np.empty(0)) for name, units, *_ in given]
            )
            axes = [_as_given(*both) for both in zip(axes, given, safe, strict=True)]

        def text(key: str, default: str) -> str:
            stored, given = _text(main.attrs, key, default), exact.get(key)
            safe = safe_data_type if key == "data_type" else safe_text
            return given if given is not None and safe(given) == stored else stored

        own = main.name.split("/")[-1]
        called = _text(main.attrs, "main_data_name", own).split("/")[-1]
        values = exact["metadata"] if "metadata" in exact else _foreign(main.parent)
        return StoredArray(
            name=text("title", called or own),
            quantity=text("quantity", ""),
            units=text("units", ""),
            data=LazyArray(main),
            axes=tuple(axes),
            metadata=values,
            data_type=text("data_type", "UNKNOWN"),
            modality=text("modality", ""),
            source=text("source", ""),
            path_in_file=main.name,
            derived=str(values.get("derived", "")),
        )
    except BadFile:
        raise
    except BROKEN as error:
        bad(f"is damaged ({error})")


def _axis(scale: h5py.Dataset, label: str) -> Axis:
    name = _text(scale.attrs, "name", label) or scale.name.split("/")[-1]
    kind = _text(scale.attrs, "dimension_type", "unknown").lower()
    units, quantity = (_text(scale.attrs, key, "") for key in ("units", "quantity"))
    return Axis(name, units, scale[()], quantity, kind)


def _as_given(axis: Axis, given: list[str], label: str) -> Axis:
    """Undo what `write_nsid` made safe, unless another program changed it since."""
    name, units, quantity, kind = given
    return Axis(
        name if label == axis.name else axis.name,
        units if safe_text(units) == axis.units else axis.units,
        axis.values,
        quantity if safe_text(quantity) == axis.quantity else axis.quantity,
        kind if safe_kind(kind).lower() == axis.kind else axis.kind,
    )


def _exact(main: h5py.Dataset) -> dict[str, Any]:
    """Return the texts and metadata as `write_nsid` was given them, or nothing."""
    if not isinstance(main.parent.get(EXACT, getlink=True), h5py.HardLink):
        return {}
    loaded = meta.loads(bytes(main.parent[EXACT][0]))
    if not isinstance(loaded, dict):
        raise ValueError(f"{EXACT} is not a dictionary")
    return loaded


def _foreign(group: h5py.Group) -> dict[str, Any]:
    """Return the dictionaries that pyNSID wrote: `metadata`, the others under a key."""
    values: dict[str, Any] = {}
    for key in ("metadata", "original_metadata", "provenance"):
        if isinstance(group.get(key, getlink=True), h5py.HardLink):
            found = meta.read_attributes(group[key])
            values.update(found if key == "metadata" else {key: found} if found else {})
    return values


def _text(attributes: Any, key: str, default: str) -> str:
    value = attributes.get(key, default)
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
