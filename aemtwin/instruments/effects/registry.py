"""Effects by name, in the order in which they act, and which of them a twin has on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from aemtwin.errors import BadFile, unknown
from aemtwin.instruments.effects.base import Effect, make, parameters
from aemtwin.instruments.kinds import Kind

ROOM = "aemtwin.instruments.effects"
EFFECTS: dict[str, str] = {
    "drift": "motion:Drift",
    "walk": "motion:Walk",
    "creep": "motion:Creep",
    "hysteresis": "motion:Hysteresis",
    "flyback": "motion:Flyback",
    "jitter": "motion:Jitter",
    "knock_on": "sites:KnockOn",
    "tip": "probing:Tip",
    "optics": "seeing:Optics",
    "writing": "seeing:Writing",
    "damage": "seeing:Damage",
    "feedback": "readings:Feedback",
    "cosmics": "readings:Cosmics",
    "flicker": "readings:Flicker",
    "pickup": "readings:Pickup",
    "converter": "readings:Converter",
    "faults": "faults:Faults",
}
"""Name -> "module:class" of this room, in the order of acting."""


def find(name: str) -> type[Effect]:
    """Return the effect of that name.

    Raises:
        UnknownName: If there is none.
    """
    if name not in EFFECTS:
        hint = "`aemtwin list effects` has them; 'all' and 'none' work too."
        raise unknown("effect", name, EFFECTS, hint)
    module, attribute = EFFECTS[name].split(":")
    effect: type[Effect] = getattr(import_module(f"{ROOM}.{module}"), attribute)
    return effect


def names() -> dict[str, str]:
    """Return what each effect says of itself, by name, in the order of acting."""
    return {name: find(name).says for name in EFFECTS}


def details(name: str) -> str:
    """Return all of one effect: what it does, its source, kinds and parameters."""
    effect = find(name)
    lines = [f"{name}: {effect.says}", "", inspect.getdoc(effect) or "", ""]
    lines += [f"Source: {effect.source}"] if effect.source else []
    lines += [f"Of: {', '.join(effect.kinds) or 'every kind'}", ""]
    for key, about in parameters(effect).items():
        default = about["default"] or ("{}" if about.get("names") else about["default"])
        units = f" {about['units']}" if about["units"] else ""
        lines.append(f"  {key} = {default}{units}  {about['doc']}")
    return "\n".join(lines)


def of_kind(kind: str) -> list[str]:
    """Return the names of the effects that an instrument of this kind has."""
    return [n for n in EFFECTS if not (kinds := find(n).kinds) or kind in kinds]


def offered(tables: Mapping[str, Any], kind: str) -> list[str]:
    """Return what "all" turns on: what the tables state; without any, what suits."""
    on = tables.get("on", [])
    there = [*tables, *(on if isinstance(on, list) else ())]
    return [name for name in of_kind(kind) if not tables or name in there]


def chosen(
    tables: Mapping[str, Any],
    said: str | Sequence[str] | Mapping[str, Any] | None,
    kind: Kind,
    origin: str,
) -> tuple[Effect, ...]:
    """Return the effects that are on, in the order of acting.

    Args:
        tables: What `twin.toml` has under `[effects]`: `on`, a list of names, and a
            table of parameters for each that has other than the usual ones.
        said: What somebody asked for instead of `on`: "all" that the tables state, or
            without tables all that suit the kind; "none"; "default", as None; names;
            or parameters by name, which go before those of `tables`.
        kind: Of instrument.
        origin: What to call the tables in errors.

    Raises:
        UnknownName: If there is no such effect or parameter.
        BadFile: If a value is not what it should be.
    """
    stated, on = {k: v for k, v in tables.items() if k != "on"}, tables.get("on", [])
    for name, table in stated.items():
        if not isinstance(table, Mapping):
            raise BadFile(f"{origin} has effects.{name} = {table!r}; it is a table.")
        make(find(name), table, f"{origin}: [effects.{name}]")
    every = offered(tables, kind.name)
    asked = _asked(on if said is None or said == "default" else said, every)
    for name in asked:
        kinds = find(name).kinds
        if kinds and kind.name not in kinds:
            raise unknown(
                f"effect of the kind {kind.name!r}",
                name,
                of_kind(kind.name),
                f"{name!r} is of {', '.join(kinds)}.",
            )
    return tuple(
        make(
            find(name),
            {**stated.get(name, {}), **asked[name]},
            f"effects: {name}" if asked[name] else f"{origin}: [effects.{name}]",
        )
        for name in EFFECTS
        if name in asked
    )


def _asked(said: Any, every: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    if isinstance(said, str):
        if said in ("all", "none"):
            return {key: {} for key in (every if said == "all" else [])}
        said = [part.strip() for part in said.split(",")]
    if isinstance(said, Mapping):
        for name, table in said.items():
            find(str(name))
            if not isinstance(table, Mapping):
                raise BadFile(f"The effect {name!r} got {table!r}; it takes a table.")
        return dict(said)
    if isinstance(said, Sequence) and all(isinstance(name, str) for name in said):
        for name in said:
            find(name)
        return {key: {} for key in said}
    raise BadFile(
        f"effects got {said!r}; it is 'all', 'none', a list of names, or a table of "
        "parameters by name. See `aemtwin list effects`."
    )
