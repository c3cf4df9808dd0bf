"""What surrogates ask of their settings, in one voice: names, numbers, defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aemtwin.errors import BadConfig, unknown
from aemtwin.surrogates.composed import named

MEANS = ("constant", "linear", "zero")


def require_process(surrogate: Any) -> None:
    """Require a kernel and a mean that there are.

    Raises:
        BadConfig: If there is no such kernel.
        UnknownName: If there is no such mean.
    """
    named(surrogate.kernel)
    require_known(surrogate, mean=MEANS)


def require_known(surrogate: Any, **known: Collection[str]) -> None:
    """Require each of these settings to be one of the names allowed.

    Raises:
        UnknownName: If one is not.
    """
    for field, names in known.items():
        got = getattr(surrogate, field)
        if got not in names:
            raise unknown(field, got, names, "Set it in [surrogate].")


def require_whole(surrogate: Any, least: Mapping[str, int]) -> None:
    """Require each of these settings to be a whole number, from its least one on.

    Raises:
        BadConfig: If one is not.
    """
    for field, low in least.items():
        value = getattr(surrogate, field)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            allowed = f"a whole number from {low} on"
            raise refused(surrogate, field, allowed)


def refused(surrogate: Any, field: str, allowed: str) -> BadConfig:
    """Return what says that a setting is not allowed, and what its default is."""
    return BadConfig(
        f"The surrogate {surrogate.name} got {field} = {getattr(surrogate, field)!r}; "
        f"it takes {allowed}. Leave it out for the default "
        f"{getattr(type(surrogate), field)}."
    )


def suit(surrogate: Any, defaults: Mapping[str, Any]) -> None:
    """Put defaults in place of the settings of a frozen surrogate that are None."""
    for field, value in defaults.items():
        if getattr(surrogate, field) is None:
            object.__setattr__(surrogate, field, value)
