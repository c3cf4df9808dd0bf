"""Write NSID files: what pyNSID and SciFiReaders open, and what comes back unchanged.

Every array becomes `Measurement_000/Channel_NNN/<name>/<name>` with its dimension
scales beside it. Readers take names from HDF5 paths and labels, so these are made safe:
`/` and control characters become `_`, an empty text becomes "generic", and a name that
is taken, or that sidpy reserves, gets a `_`. The texts as given, and all metadata, are
in the dataset `aemtwin_metadata` beside the array. `aemtwin.formats.nsid` reads both.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aemtwin.errors import BadFile, ShapeMismatch, WrongType
from aemtwin.formats import metadata as meta
from aemtwin.formats.nsid_names import (
    EXACT,
    safe_data_type,
    safe_kind,
    safe_labels,
    safe_name,
    safe_text,
)
from aemtwin.sample import StoredArray

FOLLOWS = "0.0.7.2"  # the pyNSID whose layout this is
CHUNK = 128 * 2**10  # bytes; a chunk has whole spectra
SLAB = 32 * 2**20  # bytes copied at a time


def write_nsid(
    path: str | os.PathLike[str],
    arrays: Sequence[StoredArray],
    *,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    gzip: int = 4,
) -> None:
    """Write a new NSID file whole or not at all; an old one of that name is replaced.

    Equal input gives equal bytes on the same versions of h5py (from 3.16, the first to
    leave out times of groups) and HDF5, unless `attributes` has a time or the like. The
    layout is that of HDF5 1.10, whose structure has checksums as the data has.

    Args:
        path: The file, usually `*.nsid.h5`; its folder must exist.
        arrays: What to write, in this order, with at least one axis each.
        attributes: Attributes of the file itself.
        gzip: Compression, 0 (none) to 9; checksums are always on.

    Raises:
        ShapeMismatch: If there is no array, or axes do not fit one.
        WrongType: If an array is not numeric, or metadata cannot be kept.
        BadFile: If the file cannot be written.
    """
    path = Path(path)
    if not arrays:
        raise ShapeMismatch(f"write_nsid got no array for {path}; give at least one.")
    for array in arrays:
        _check(array)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with h5py.File(temporary, "w", libver=("v110", "v110")) as file:
            file.attrs["pyNSID_version"] = FOLLOWS
            for key, value in (attributes or {}).items():
                file.attrs[key] = value
            digits = max(3, len(str(len(arrays) - 1)))
            for i, array in enumerate(arrays):
                place = f"Measurement_000/Channel_{i:0{digits}d}"
                _write_array(file.create_group(place), array, gzip)
        _to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(
            f"write_nsid could not write {path}: {error}. Check that its folder "
            "exists, may be written to and has room."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _check(array: StoredArray) -> None:
    shape, lengths = tuple(array.data.shape), tuple(len(a) for a in array.axes)
    if not shape or 0 in shape or shape != lengths:
        raise ShapeMismatch(
            f"write_nsid got {array.name!r} of shape {shape} with axes of lengths "
            f"{lengths}; they must be equal, with no length 0 and at least one axis."
        )
    for what, dtype, kinds in [
        (repr(array.name), array.data.dtype, "biufc"),
        *(
            (f"axis {a.name!r} of {array.name!r}", a.values.dtype, "biuf")
            for a in array.axes
        ),
    ]:
        if np.dtype(dtype).kind not in kinds:
            raise WrongType(
                f"write_nsid got {what} of dtype {dtype}; NSID keeps numbers. "
                "Convert it first."
            )


def _write_array(channel: h5py.Group, array: StoredArray, gzip: int) -> None:
    labels = safe_labels(array.axes)
    title = safe_name(array.name, {*labels, EXACT, "metadata", "original_metadata"})
    group = channel.create_group(title)
    group.attrs["pyNSID_version"] = FOLLOWS
    main = _write_values(group, title, array.data, gzip)
    for i, (label, axis) in enumerate(zip(labels, array.axes, strict=True)):
        scale = group.create_dataset(label, data=axis.values, track_times=False)
        scale.attrs["name"] = label
        scale.attrs["units"] = safe_text(axis.units)
        scale.attrs["quantity"] = safe_text(axis.quantity)
        scale.attrs["dimension_type"] = safe_kind(axis.kind)
        scale.make_scale(label)
        main.dims[i].label = label
        main.dims[i].attach_scale(scale)
    values = dict(array.metadata)
    if array.derived:
        values.setdefault("derived", array.derived)
    main.attrs["title"] = safe_text(array.name)
    main.attrs["main_data_name"] = title
    main.attrs["quantity"] = safe_text(array.quantity)
    main.attrs["units"] = safe_text(array.units)
    main.attrs["data_type"] = safe_data_type(array.data_type)
    main.attrs["modality"] = safe_text(array.modality)
    main.attrs["source"] = safe_text(array.source)
    main.attrs["pyNSID_version"] = FOLLOWS
    if values:
        meta.write_attributes(group.create_group("metadata"), values)
    exact = {
        "title": array.name,
        "quantity": array.quantity,
        "units": array.units,
        "data_type": array.data_type,
        "modality": array.modality,
        "source": array.source,
        "axes": [[a.name, a.units, a.quantity, a.kind] for a in array.axes],
        "metadata": values,
    }
    text = np.array([meta.dumps(exact)])  # (1,), bytes
    group.create_dataset(
        EXACT, data=text, chunks=(1,), fletcher32=True, compression=gzip or None
    )


def _write_values(group: h5py.Group, name: str, data: Any, gzip: int) -> h5py.Dataset:
    shape, dtype = tuple(data.shape), np.dtype(data.dtype)
    chunk, room = [1] * len(shape), max(1, CHUNK // dtype.itemsize)
    for i in reversed(range(len(shape))):
        chunk[i] = min(shape[i], room)
        room = max(1, room // chunk[i])
    main = group.create_dataset(
        name,
        shape=shape,
        dtype=dtype,
        chunks=tuple(chunk),
        shuffle=bool(gzip),
        compression=gzip or None,
        fletcher32=True,
        track_times=False,
    )
    row = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = max(chunk[0], SLAB // row // chunk[0] * chunk[0])
    for begin in range(0, shape[0], rows):
        main[begin : begin + rows] = data[begin : begin + rows]
    return main


def _to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
