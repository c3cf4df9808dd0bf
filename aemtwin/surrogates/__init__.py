"""Models of the number sought over the field; `registry` makes one by name."""

from aemtwin.surrogates.registry import available, get

__all__ = ["available", "get"]
