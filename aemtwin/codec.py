"""Records as builtins, and back: what msgpack, serpent and JSON can carry.

`aemtwin.remote` sends them to clients, `aemtwin.journal` keeps them on disk. Arrays
become shape, dtype and bytes; NumPy alone is imported, so that a client stays small.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadRequest
from aemtwin.measurement import Measurement

Record = TypeVar("Record")
ENCODINGS = ("bytes", "list")
Load = Callable[[Mapping[str, Any]], NDArray[Any]]
PLAIN = frozenset({str, float, int, bool, bytes, type(None)})


def to_wire(value: Any, encoding: str = "bytes") -> Any:
    """Turn a record, however deep, into builtins.

    Args:
        value: A dataclass of ours, an array, or builtins with those inside.
        encoding: "bytes" for arrays as bytes, "list" for nested lists; "view" for
            their memory as it is, to be packed at once.
    """
    kind: type = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return array_to_wire(value, encoding)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Measurement):
        return measurement_to_wire(value, encoding)
    if names := _names(kind):
        return {name: to_wire(getattr(value, name), encoding) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_wire(item, encoding) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_wire(item, encoding) for item in value]
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the fields of a kind of record; none of what is no record."""
    if not dataclasses.is_dataclass(kind):
        return ()
    return tuple(f.name for f in dataclasses.fields(kind))


def array_to_wire(
    array: NDArray[Any], encoding: str = "bytes", units: str | None = None
) -> dict[str, Any]:
    """Turn an array into shape, dtype, bytes (little-endian, C order) and unit."""
    little = array
    if array.dtype.str[0] == ">":
        little = array.astype(array.dtype.newbyteorder("<"))
    data: Any
    if encoding == "list":
        data = little.tolist()
    elif encoding == "view" and array.nbytes > 1000:
        data = np.ascontiguousarray(little).data.cast("B")
    else:
        data = little.tobytes()
    return {
        "shape": list(array.shape),
        "dtype": little.dtype.str,
        "data": data,
        **({} if units is None else {"units": units}),
    }


def array_from_wire(packed: Mapping[str, Any] | NDArray[Any]) -> NDArray[Any]:
    """Rebuild an array, read-only, in the dtype that it had (native byte order)."""
    if isinstance(packed, np.ndarray):  # it was referred to, and is here already
        return packed
    dtype, shape = np.dtype(packed["dtype"]), tuple(packed["shape"])
    data = packed["data"]
    if isinstance(data, Mapping):  # serpent's base64 form of bytes
        import base64

        data = base64.b64decode(data["data"])
    if isinstance(data, bytes | bytearray | memoryview):
        array = np.frombuffer(data, dtype).reshape(shape)
    else:
        array = np.array(data, dtype).reshape(shape)
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    array.flags.writeable = False
    return array


def measurement_to_wire(m: Measurement, encoding: str = "bytes") -> dict[str, Any]:
    """Turn a measurement into builtins; its arrays carry their units."""
    packed = {
        f.name: to_wire(getattr(m, f.name), encoding) for f in dataclasses.fields(m)
    }
    packed["arrays"] = {
        name: array_to_wire(values, encoding, m.units.get(name, ""))
        for name, values in m.arrays.items()
    }
    return packed


def referring(packed: dict[str, Any], references: Mapping[str, Any]) -> dict[str, Any]:
    """Return a measurement on the wire with references in place of some arrays.

    Args:
        packed: As `measurement_to_wire` gives it.
        references: What tells of an array, by its name: builtins.
    """
    arrays = dict(packed["arrays"])
    for name, reference in references.items():
        told = {key: arrays[name][key] for key in ("shape", "dtype", "units")}
        arrays[name] = {**told, "reference": reference}
    return {**packed, "arrays": arrays}


def answer_from_wire(packed: Any, load: Load | None = None) -> Any:
    """Rebuild what an operation answers: a measurement, an array or a dictionary.

    Args:
        packed: Builtins.
        load: Gives the array that a reference tells of.

    >>> answer_from_wire({"settle_s": 0.5})
    {'settle_s': 0.5}
    """
    if "arrays" in packed:
        away = {n: a for n, a in packed["arrays"].items() if "reference" in a}
        if away and load is not None:
            here = {n: load(a["reference"]) for n, a in away.items()}
            packed = {**packed, "arrays": {**packed["arrays"], **here}}
        return from_wire(Measurement, packed)
    if "dtype" in packed and "shape" in packed:
        return array_from_wire(packed)
    return dict(packed)


def from_wire(kind: type[Record], packed: Any) -> Record:
    """Rebuild a record of type `kind` from builtins.

    Keys that it does not know are left out: a newer minor version may have added them.

    >>> from aemtwin.specs import Parameter
    >>> p = Parameter("dwell_s", "s", 1.0, 0.0, 2.0)
    >>> from_wire(Parameter, to_wire(p)) == p
    True
    """
    built: Record = _build(kind, packed)
    return built


def _build(kind: Any, packed: Any) -> Any:
    build = _builder(kind)
    return packed if packed is None or build is None else build(packed)


@functools.cache
def _builder(kind: Any) -> Callable[[Any], Any] | None:
    """Return what rebuilds a value of a kind, looked up once; None: it is one as is."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _builder(next(k for k in inner if k is not type(None)))
    if origin is np.ndarray or kind is np.ndarray:
        return array_from_wire
    if origin is tuple:
        return _tuple_builder(inner)
    if origin is not None and issubclass(origin, Mapping):
        item = inner[1]
        if _builder(item) is None:
            return dict
        return lambda packed: {key: _build(item, each) for key, each in packed.items()}
    if dataclasses.is_dataclass(kind):
        made: Any = kind
        hints = typing.get_type_hints(kind)
        known = {f.name: _builder(hints[f.name]) for f in dataclasses.fields(kind)}
        return lambda packed: made(**dict(_fields(known, packed)))
    return None


def _fields(
    known: Mapping[str, Callable[[Any], Any] | None], packed: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the fields that are known, rebuilt."""
    for name, value in packed.items():
        if name in known:
            build = known[name]
            yield name, value if value is None or build is None else build(value)


def _tuple_builder(inner: tuple[Any, ...]) -> Callable[[Any], Any]:
    if inner[-1] is Ellipsis:
        return lambda packed: tuple(_build(inner[0], item) for item in packed)
    return lambda packed: tuple(
        _build(kind, item) for kind, item in zip(inner, packed, strict=True)
    )


def pack(answer: Any, references: Mapping[str, Any] | None = None) -> bytes:
    """Turn what an operation answers into bytes that `unpack` rebuilds.

    Args:
        answer: A `Measurement`, an array, or a dictionary of builtins.
        references: What tells of arrays that are kept elsewhere, by name.
    """
    import msgpack

    wire = to_wire(answer, "view")
    if references:
        wire = referring(wire, references)
    packed: bytes = msgpack.packb(wire, use_bin_type=True)
    return packed


def unpack(packed: bytes, load: Load | None = None) -> Any:
    """Rebuild what `pack` took; `load` gives the arrays that are kept elsewhere.

    >>> unpack(pack({"settle_s": 0.5}))
    {'settle_s': 0.5}
    """
    import msgpack

    return answer_from_wire(msgpack.unpackb(packed, raw=False), load)


def size_of(answer: Any) -> int:
    """Return about how many bytes of memory an answer takes.

    >>> size_of(np.zeros(1000)) > 8000
    True
    """
    if isinstance(answer, Measurement):
        arrays = [*answer.arrays.values(), *(axis.values for axis in answer.axes)]
        return 2000 + sum(array.nbytes for array in arrays)
    return 500 + answer.nbytes if isinstance(answer, np.ndarray) else 500


def require_encoding(encoding: object) -> str:
    """Return `encoding` if it is one of `ENCODINGS`.

    Raises:
        BadRequest: If it is not.
    """
    if encoding not in ENCODINGS:
        raise BadRequest(
            f"encoding is one of {', '.join(ENCODINGS)}; got {encoding!r}."
        )
    return str(encoding)
