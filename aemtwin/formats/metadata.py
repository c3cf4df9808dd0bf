"""Metadata to JSON and back without loss, and to plain HDF5 attributes for others.

NSID keeps metadata in HDF5 attributes, which know neither None nor tuples nor mixed
lists, and end at 64 kB. `aemtwin.formats.nsid` therefore writes both: the attributes
for pyNSID, and this JSON, from which every value comes back with its type (a time
zone as its offset from UTC).
"""

from __future__ import annotations

import base64
import datetime
import json
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aemtwin.errors import WrongType

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

ATTRIBUTE_BYTES = 32_000  # longer values stay in the JSON alone; HDF5 ends at 64 kB
ATTRIBUTE_KEYS = 500  # sidpy refuses larger dictionaries


def dumps(value: object) -> bytes:
    """Return `value` as ASCII JSON, equal bytes for equal values.

    Raises:
        WrongType: If something in it cannot be kept; the message has its place.

    >>> loads(dumps({"gain": (1, None), "bias": np.float32(0.5)}))
    {'gain': (1, None), 'bias': np.float32(0.5)}
    """
    tree = _encode(value, "metadata")
    return json.dumps(tree, allow_nan=False, separators=(",", ":")).encode("ascii")


def loads(text: bytes) -> Any:
    """Return what `dumps` was given.

    Raises:
        ValueError: If the text is not what `dumps` writes.
    """
    try:
        return _decode(json.loads(text))
    except (TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"not metadata of aemtwin: {error}") from error


def _encode(value: object, where: str) -> Json:
    if isinstance(value, np.generic | np.ndarray):
        if value.dtype.hasobject or value.dtype.names:
            raise _refused(value, where)
        tag = "$array" if isinstance(value, np.ndarray) else "$scalar"
        data = base64.b64encode(np.asarray(value).tobytes()).decode()
        return {tag: [value.dtype.str, list(value.shape), data]}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list):
        return [_encode(one, f"{where}[{i}]") for i, one in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        items = [(k, _encode(v, f"{where}[{k!r}]")) for k, v in value.items()]
        if all(isinstance(k, str) and not k.startswith("$") for k, _ in items):
            return {str(k): v for k, v in items}
        return {"$items": [[_encode(k, f"a key of {where}"), v] for k, v in items]}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"$complex": [repr(value.real), repr(value.imag)]}
    if isinstance(value, datetime.datetime):
        return {"$datetime": [value.isoformat(), value.fold]}
    if isinstance(value, datetime.date):
        return {"$date": value.isoformat()}
    if isinstance(value, pathlib.PurePath):
        return {"$path": str(value)}
    raise _refused(value, where)


def _refused(value: object, where: str) -> WrongType:
    return WrongType(
        f"{where} is a {type(value).__name__}, which a file cannot keep; allowed: "
        "None, bool, int, float, complex, str, bytes, date, path, list, tuple, dict "
        "and arrays of numbers or text. Convert it first, for instance by str()."
    )


def _array(parts: list[Any]) -> np.ndarray[Any, Any]:
    dtype, shape, data = parts
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$array": _array,
    "$scalar": lambda parts: _array(parts)[()],
    "$float": float,
    "$tuple": lambda parts: tuple(_decode(one) for one in parts),
    "$items": lambda parts: {_decode(k): _decode(v) for k, v in parts},
    "$bytes": base64.b64decode,
    "$complex": lambda parts: complex(float(parts[0]), float(parts[1])),
    "$datetime": lambda parts: datetime.datetime.fromisoformat(parts[0]).replace(
        fold=parts[1]
    ),
    "$date": datetime.date.fromisoformat,
    "$path": pathlib.Path,
}


def _decode(value: Json) -> Any:
    if isinstance(value, list):
        return [_decode(one) for one in value]
    if isinstance(value, dict):
        if len(value) == 1:
            (tag, inner), *_ = value.items()
            if tag in _TAGS:
                return _TAGS[tag](inner)
        return {key: _decode(inner) for key, inner in value.items()}
    return value


def write_attributes(group: Any, values: Mapping[Any, Any]) -> None:
    """Write what HDF5 attributes can hold; the rest is left to the JSON.

    Text, numbers, flat lists of them and nested dictionaries are written, as pyNSID
    does; None, mixed lists and whatever is too long are not.

    Args:
        group: The `h5py.Group` to write into.
        values: The metadata.
    """
    for key, value in list(values.items())[:ATTRIBUTE_KEYS]:
        name = str(key).replace("\0", "").strip()
        if isinstance(value, Mapping):
            name = name.replace("/", "_")
            if value and name not in ("", ".", "..") and _storable(name):
                if name not in group:
                    write_attributes(group.create_group(name), value)
        elif name and _storable(name) and (plain := _plain(value)) is not None:
            group.attrs[name] = plain


def _storable(text: str) -> bool:
    try:
        return len(text.encode()) <= ATTRIBUTE_BYTES and "\0" not in text
    except UnicodeEncodeError:  # half a surrogate pair
        return False


def _plain(value: object) -> object:
    """Return what h5py can write as one attribute, or None."""
    if isinstance(value, str):
        return str(value) if _storable(value) else None
    if isinstance(value, bool | float | np.bool_ | np.number):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    if isinstance(value, np.ndarray):
        fits = value.dtype.kind in "biufc" and 0 < value.nbytes <= ATTRIBUTE_BYTES
        return value if fits else None
    if isinstance(value, list | tuple) and value:
        if all(isinstance(one, str) and _storable(one) for one in value):
            return list(value) if sum(map(len, value)) * 4 <= ATTRIBUTE_BYTES else None
        if all(isinstance(one, bool | float) for one in value) or all(
            type(one) is int and -(2**63) <= one < 2**63 for one in value
        ):
            return _plain(np.array(value))
    return None


def read_attributes(group: Any) -> dict[str, Any]:
    """Return a group's attributes and sub-groups as plain Python values.

    Args:
        group: An `h5py.Group` as pyNSID writes it for a dictionary.
    """
    values = {key: python(group.attrs[key]) for key in group.attrs}
    for key in group:
        if group.get(key, getclass=True, getlink=True).__name__ != "HardLink":
            continue
        if hasattr(inner := group[key], "keys"):
            values[key] = read_attributes(inner)
    return values


def python(value: Any) -> Any:
    """Return an HDF5 attribute's value as a plain Python one."""
    if isinstance(value, np.ndarray):
        return [python(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
