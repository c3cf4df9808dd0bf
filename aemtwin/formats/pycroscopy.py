"""To and from `sidpy.Dataset`: the one place that knows sidpy.

sidpy takes about ten CPU seconds to import, so it is imported when a dataset is asked
for and not before. Values keep their dtype; texts that sidpy refuses (an empty unit, a
dimension called "shape") are made safe by `aemtwin.formats.nsid_names`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aemtwin import __version__
from aemtwin.errors import MissingExtra, unknown
from aemtwin.formats.nsid_names import (
    data_type_of,
    safe_data_type,
    safe_kind,
    safe_labels,
    safe_text,
)
from aemtwin.measurement import Measurement
from aemtwin.sample import StoredArray
from aemtwin.specs import Axis

if TYPE_CHECKING:
    import sidpy

BESIDE = ("original_metadata", "provenance")  # dictionaries that sidpy keeps apart


def to_sidpy(stored: StoredArray) -> sidpy.Dataset:
    """Return a stored array as a `sidpy.Dataset`, read whole into memory.

    Args:
        stored: An array, from a file or made in memory.

    Returns:
        The dataset: same values, dtype, axes and units; `metadata` as stored, and a
        note in `provenance` that aemtwin made it.

    Raises:
        MissingExtra: If sidpy is not installed.
    """
    dataset = _dataset(
        np.asarray(stored.data[()]),
        stored.axes,
        title=stored.name,
        data_type=stored.data_type,
        quantity=stored.quantity,
        units=stored.units,
        modality=stored.modality,
        source=stored.source,
    )
    values = dict(stored.metadata)
    if isinstance(values.get("original_metadata"), dict):
        dataset.original_metadata = values.pop("original_metadata")
    if isinstance(values.get("provenance"), dict):
        dataset.provenance.update(values.pop("provenance"))
    if stored.derived:
        values.setdefault("derived", stored.derived)
    dataset.metadata = values
    dataset.add_provenance("aemtwin", "to_sidpy", version=__version__)
    return dataset


def measurement_to_sidpy(
    measurement: Measurement, name: str | None = None
) -> sidpy.Dataset:
    """Return one array of a measurement as a `sidpy.Dataset`.

    Args:
        measurement: What `measure`, `trace` or `scan` gave.
        name: Which array; None: the main one.

    Returns:
        A SPECTRUM (or LINE_PLOT, IMAGE, by its axes), a LINE_PLOT for a trace, an IMAGE
        for a frame. `metadata` has where it was asked and where it was, in metres, the
        time in seconds, dwell, dose, request id, and the parameters under "info".

    Raises:
        MissingExtra: If sidpy is not installed.
        UnknownName: If there is no array `name`.
    """
    name = measurement.name if name is None else name
    if name not in measurement.arrays:
        raise unknown(
            "array", name, measurement.arrays, f"This {measurement.call} has these."
        )
    whole = {"scan": "IMAGE", "trace": "LINE_PLOT"}
    dataset = _dataset(
        measurement.arrays[name],
        measurement.axes,
        title=name,
        data_type=whole.get(measurement.call, data_type_of(measurement.axes)),
        quantity=measurement.quantities.get(name, ""),
        units=measurement.units.get(name, ""),
        modality=measurement.mode or measurement.call,
        source="aemtwin",
    )
    dataset.metadata = {
        "call": measurement.call,
        "mode": measurement.mode,
        "asked_m": np.asarray(measurement.asked).tolist(),
        "actual_m": np.asarray(measurement.actual).tolist(),
        "time_s": list(measurement.time_s),
        "dwell_s": measurement.dwell_s,
        "dose": measurement.dose,
        "rid": measurement.rid,
        "info": dict(measurement.info),
    }
    dataset.add_provenance("aemtwin", measurement.call, version=__version__)
    return dataset


def from_sidpy(dataset: sidpy.Dataset) -> StoredArray:
    """Return a `sidpy.Dataset` as a stored array, its values in memory.

    Args:
        dataset: Any sidpy dataset. Its `original_metadata` and `provenance`, if not
            empty, become entries of the metadata.
    """
    values = dict(dataset.metadata)
    for key in BESIDE:
        found = getattr(dataset, key, None)
        if isinstance(found, Mapping) and found:
            values.setdefault(key, dict(found))
    axes = [dataset._axes[i] for i in range(dataset.ndim)]
    return StoredArray(
        name=str(dataset.title).split("/")[-1],
        quantity=dataset.quantity,
        units=dataset.units,
        data=np.array(dataset),
        axes=tuple(
            Axis(
                axis.name,
                axis.units,
                np.array(axis.values),
                axis.quantity,
                axis.dimension_type.name.lower(),
            )
            for axis in axes
        ),
        metadata=values,
        data_type=dataset.data_type.name,
        modality=dataset.modality,
        source=dataset.source,
        derived=str(values.get("derived", "")),
    )


def _dataset(
    values: NDArray[Any],
    axes: Sequence[Axis],
    *,
    title: str,
    data_type: str,
    **texts: str,
) -> sidpy.Dataset:
    sid = _sidpy()
    dataset = sid.Dataset.from_array(values, title=safe_text(title))
    dataset.data_type = safe_data_type(data_type)
    for key, text in texts.items():
        setattr(dataset, key, safe_text(text))
    # Its default names a, b, ... go first, lest an axis called "b" meets one.
    dataset.del_dimension()
    for i, (label, axis) in enumerate(zip(safe_labels(axes), axes, strict=True)):
        dimension = sid.Dimension(
            axis.values,
            label,
            safe_text(axis.quantity),
            safe_text(axis.units),
            safe_kind(axis.kind),
        )
        dataset.set_dimension(i, dimension)
    return dataset


def _sidpy() -> Any:
    try:
        return importlib.import_module("sidpy")
    except ImportError as error:
        raise MissingExtra(
            f"to_sidpy needs sidpy, which cannot be imported ({error}). Install it: "
            "pip install 'aemtwin[nsid]'"
        ) from error
