"""What a caller gave, as builtins that the wire carries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np

from aemtwin.errors import WrongType

SENT = "biufcUS"  # kinds of dtype that travel as numbers or text; not dates or records


def plain(call: str, value: Any) -> Any:
    """Turn arrays and NumPy numbers into builtins that msgpack carries.

    Raises:
        WrongType: If it is something that an instrument would not take either.
    """
    if type(value) in (float, bool, NoneType):  # nearly all there is
        return value
    sent = not isinstance(value, np.ndarray | np.generic) or value.dtype.kind in SENT
    if isinstance(value, np.ndarray) and sent:
        return plain(call, value.tolist())
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.generic) and sent:
        return value.item()
    if isinstance(value, Mapping):
        return {_text(str(key)): plain(call, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(call, item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return math.inf if value > 0 else -math.inf  # beyond every limit
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float | complex):
        return value
    raise WrongType(
        f"{call} got {str(value)[:60]!r} of type {type(value).__name__}. Give numbers, "
        "strings, lists and arrays of numbers."
    )


def _text(value: str) -> str:
    """Return text without the half characters that no wire carries."""
    if value.isascii():
        return value
    return value.encode(errors="replace").decode()
