"""Whether two instruments are one: what they say of themselves, compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def same_instrument(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say whether two identities are of one instrument.

    >>> same_instrument({"data_sha256": "a", "source": "x"}, {"data_sha256": "a"})
    True
    """
    return not differences(was, now)


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in what two identities differ; nothing, if they are of one instrument.

    Data that was moved is the same data: where there is a hash, it decides, and not
    the name and the path of the file. What one says and the other leaves empty or out
    is the same.

    >>> differences({"seed": 0, "twin": True}, {"seed": 1, "twin": True})
    ['seed: 0, now 1']
    """
    # for people, and may be worded better one day; or it follows from the others
    said = {"guessed", "notices", "noise_sd", "pulses_with"}
    said |= {"source", "name"} if "data_sha256" in was else set[str]()
    one, other = (
        {k: v for k, v in i.items() if k not in said and v not in ({}, [], None)}
        for i in (was, now)
    )
    return [
        f"{name}: {one.get(name)!s:.60}, now {other.get(name)!s:.60}"
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    ]
