"""What flags say where that is more than a word, and what people are told of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aemtwin import sections
from aemtwin.errors import AemtwinError, BadConfig, unknown


def noise(said: list[str]) -> dict[str, float]:
    """Read `loops=1.5`: a standard deviation, in the unit of the channel."""
    found = {}
    for text in said:
        name, _, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise BadConfig(
                f"--noise got {text!r}; it is channel=number, as loops=1.5."
            ) from None
    return found


def counts(said: list[str]) -> dict[str, str]:
    """Read `eds=recorded`: how an array of counts is counted."""
    found = {}
    for text in said:
        name, equals, how = text.rpartition("=")
        if not equals:
            raise BadConfig(
                f"--counts got {text!r}; it is array=expected or array=recorded."
            )
        found[name] = how
    return found


def roles(said: list[str] | None) -> dict[str, str]:
    """Read `loop=operate`: a client and its role."""
    found: dict[str, str] = {}
    for text in said or ():
        name, equals, role = text.partition("=")
        if not equals:
            raise BadConfig(
                f"--client got {text!r}; it is NAME=ROLE, as loop=operate; roles are "
                "observe, operate and admin."
            )
        if found.get(name, role) != role:
            raise BadConfig(f"--client got {name} twice, with two roles; give one.")
        found[name] = role
    return found


def effects(said: str | None) -> Any:
    """Read `drift,tip`, or a JSON table of parameters by name.

    >>> effects('{"drift": {}}')
    {'drift': {}}
    """
    if said is None or not said.lstrip().startswith("{"):
        return said
    try:
        return json.loads(said)
    except ValueError as error:
        raise BadConfig(
            f"--effects got {said!r}, which is no JSON ({error}); it is names with "
            'commas, all, none, or {"drift": {"velocity_m_s": [1e-11, 0]}}.'
        ) from None


def calibration(said: list[str]) -> dict[str, tuple[str, float]]:
    """Read `x=0.39nm/px`: one px of axis x is 0.39 nm."""
    pairs = (text.partition("=") for text in said)
    return {axis: sections.calibration(axis, length) for axis, _, length in pairs}


def campaign_file(experiment: str) -> Path:
    """Return the campaign file of a path or of a name of the catalogue."""
    from aemtwin.listing import experiments

    path = Path(experiment)
    if path.is_dir():
        for name in ("campaign.toml", "config.toml"):
            if (path / name).is_file():
                return path / name
    if path.is_file():
        return path
    known = experiments()
    if experiment not in known:
        raise unknown("experiment", experiment, known, "Or give a campaign file.")
    return known[experiment] / "campaign.toml"


def described(**said: Any) -> dict[str, Any]:
    """Return how a twin is opened, as far as flags say so, in a config's words."""
    read: dict[str, Callable[[Any], Any]] = {
        "calibrate": calibration,
        "noise": noise,
        "counts": counts,
        "effects": effects,
    }
    given = {
        key: value for key, value in said.items() if value not in (None, False, [])
    }
    return {k: read[k](v) if k in read else v for k, v in given.items()}


def sentence(error: BaseException, with_code: bool = False) -> str:
    """Return an error as one paragraph; `with_code`, so that it can be raised again.

    >>> sentence(BadConfig("No."), with_code=True)
    'BadConfig: No.'
    """
    if isinstance(error, AemtwinError):
        return f"{error.code}: {error}" if with_code else str(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"This needs {error.name}, which is not installed. Install what the "
            "commands use with: pip install 'aemtwin[learn,nsid,view]'."
        )
    return str(error)
