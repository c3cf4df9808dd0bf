"""How errors cross the wire: by code, as the same Python types on both sides.

Our client speaks msgpack and rebuilds records by `aemtwin.codec` and errors by their
code. A plain Pyro4 proxy speaks serpent and gets the same dicts of builtins; there an
array's bytes are what `serpent.tobytes(a["data"])` decodes, and an error is the
built-in that it refines, with our code in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aemtwin.errors import AemtwinError, builtin_base, by_code


def error_for_plain(error: AemtwinError) -> BaseException:
    """Return the built-in that a client without aemtwin can rebuild.

    >>> from aemtwin.errors import OutOfRange
    >>> error_for_plain(OutOfRange("too far"))
    ValueError('OutOfRange: too far')
    """
    return builtin_base(type(error))(f"{error.code}: {error}")


def register_errors() -> None:
    """Teach Pyro4's serializers our errors: the same types on both sides."""
    from Pyro4.util import SerializerBase

    for code, kind in by_code().items():
        name = f"aemtwin.{code}"
        SerializerBase.register_class_to_dict(kind, _error_to_dict)
        SerializerBase.register_dict_to_class(name, _error_from_dict)


def _error_to_dict(error: AemtwinError) -> dict[str, Any]:
    return {"__class__": f"aemtwin.{error.code}", "message": str(error)}


def _error_from_dict(classname: str, packed: Mapping[str, Any]) -> AemtwinError:
    kind = by_code().get(classname.removeprefix("aemtwin."), AemtwinError)
    return kind(str(packed["message"]))
