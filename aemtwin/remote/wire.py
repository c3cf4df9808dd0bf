"""How errors cross the wire: by code, as the same Python types on both sides.

Our client rebuilds records by `aemtwin.codec` and errors by their code. A plain Pyro4
proxy gets the same dicts of builtins; there an array's bytes are what
`serpent.tobytes(a["data"])` decodes, and an error is the built-in that it refines, with
our code in front.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

from aemtwin.errors import AemtwinError, builtin_base, by_code

OURS = "aemtwin."


def error_for_plain(error: Exception) -> BaseException:
    """Return the built-in that a client without aemtwin can rebuild.

    >>> from aemtwin.errors import OutOfRange
    >>> error_for_plain(OutOfRange("too far"))
    ValueError('OutOfRange: too far')
    """
    if isinstance(error, AemtwinError):
        return builtin_base(type(error))(f"{error.code}: {error}")
    return builtin_base(type(error))(str(error))


def error_to_wire(error: Exception) -> dict[str, str]:
    """Return an error as our own client takes it."""
    if isinstance(error, AemtwinError):
        return {"__class__": f"{OURS}{error.code}", "message": str(error)}
    return {"__class__": builtin_base(type(error)).__name__, "message": str(error)}


def error_from_wire(packed: Any) -> Exception:
    """Rebuild an error; one of a kind that is not known here says of which it was.

    >>> error_from_wire({"__class__": "aemtwin.OutOfRange", "message": "too far"})
    OutOfRange('too far')
    >>> error_from_wire({"__class__": "TypeError", "message": "three, not two"})
    TypeError('three, not two')
    """
    if not isinstance(packed, Mapping):
        return AemtwinError(f"The server failed: {packed}")
    code, said = str(packed.get("__class__")), packed.get("message")
    if said is None:  # of a server that is not ours: Pyro4's own form
        said = " ".join(str(argument) for argument in packed.get("args", ()))
    known = by_code().get(code.removeprefix(OURS))
    if code.startswith(OURS) and known is not None:
        return known(str(said))
    kind = getattr(builtins, code.removeprefix("builtins."), None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        return kind(str(said))
    return AemtwinError(f"{code.removeprefix(OURS)}: {said}")
