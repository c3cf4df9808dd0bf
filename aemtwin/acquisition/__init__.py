"""What to measure next; `registry` makes an acquisition or a policy by name."""

from aemtwin.acquisition.registry import available, get

__all__ = ["available", "get"]
