"""Computed modes by name, and what a `twin.toml` states of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from aemtwin.errors import BadFile, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.modes.base import Model
from aemtwin.instruments.recording import Stated

ROOM = "aemtwin.instruments.modes"
MODELS: dict[str, str] = {
    "force_curve": "afm:ForceCurve",
    "contact_iv": "afm:ContactCurrent",
    "kelvin": "afm:Kelvin",
    "beps": "piezo:BandExcitation",
    "loop": "piezo:SingleFrequency",
    "tunnel_iv": "stm:TunnelCurrent",
    "tunnel_didv": "stm:TunnelConductance",
    "diffraction": "stem:Diffraction",
    "eds": "stem:XRays",
    "core_loss": "stem:CoreLoss",
    "afm_ir": "light:Photothermal",
}
"""Name -> "module:class" of this room; imported when somebody asks for it."""

KEYS = ("model", "maps", "shape", "dwell_s", "parameters")


def names() -> dict[str, str]:
    """Return what each model says of itself, by name."""
    return {name: find(name).says for name in sorted(MODELS)}


def details(name: str) -> str:
    """Return all of one model: what it records, of which maps and parameters."""
    model = find(name)
    lines = [f"{name}: {model.says}", "", inspect.getdoc(model) or "", ""]
    lines += [f"Of: {', '.join(model.kinds) or 'every kind'}", "", "Maps:"]
    lines += [f"  {key} ({units})" for key, units in model.needs.items()]
    may = list(model.may)
    if may:
        units = ", ".join(dict.fromkeys(model.may.values()))
        lines += [f"  and any of ({units}): {', '.join(may)}"]
    for title, known in (
        ("Parameters", model.parameters),
        ("Settings", model.settings),
    ):
        lines += [f"{title}:"] if known else []
        lines += [
            f"  {p.name} = {p.default:g} {p.units} ({p.low:g} to {p.high:g})  {p.doc}"
            for p in known
        ]
    return "\n".join(lines)


def find(name: str) -> type[Model]:
    """Return the model of that name.

    Raises:
        UnknownName: If there is none.
    """
    if name not in MODELS:
        raise unknown("model of a mode", name, MODELS, "`aemtwin list modes` has them.")
    module, attribute = MODELS[name].split(":")
    model: type[Model] = getattr(import_module(f"{ROOM}.{module}"), attribute)
    return model


def stated(tables: Mapping[str, Any], kind: Kind, origin: str) -> list[Stated]:
    """Return the modes that `[modes.NAME]` tables state, in their order.

    Raises:
        BadFile: If a table is not what it should be.
        UnknownName: If it names a model or a key that there is not.
        NotSupported: If this kind of instrument has no such mode.
    """
    return [_stated(name, table, kind, origin) for name, table in tables.items()]


def _stated(name: str, table: Any, kind: Kind, origin: str) -> Stated:
    where = f"{origin}: [modes.{name}]"
    if not isinstance(table, Mapping):
        raise BadFile(f"{where} is {table!r}; it is a table with the key model.")
    for key in table:
        if key not in KEYS:
            raise unknown(f"key of {where}", key, KEYS, "See docs/twins.md.")
    model = find(str(table.get("model", name)))
    if model.kinds and kind.name not in model.kinds:
        raise BadFile(
            f"{where}: the model {model.name!r} is of {', '.join(model.kinds)}, and "
            f"this twin is of the kind {kind.name!r}. State another kind or model."
        )
    maps, given = table.get("maps", {}), table.get("parameters", {})
    for what, value in (("maps", maps), ("parameters", given)):
        if not isinstance(value, Mapping):
            raise BadFile(f"{where} has {what} = {value!r}, which should be a table.")
    rows, columns = checks.shape(where, table.get("shape", (48, 48)), 2**20)
    dwell_s = table.get("dwell_s")
    if dwell_s is not None:
        dwell_s = checks.number(where, "dwell_s", dwell_s, *kind.limits.dwell_s, "s")
    names = {str(key): str(value) for key, value in maps.items()}
    return Stated(name, model(), names, (rows, columns), dwell_s, dict(given))
