"""What an instrument says of itself, in words: what `aemtwin info` and `serve` print.

It is read from `describe()` alone. `aemtwin.listing` says what a file holds besides,
and `aemtwin.screen` puts both on the screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aemtwin.specs import Axis, Channel, InstrumentSpec, Mode, Parameter

INDENT = "    "


def lines(spec: InstrumentSpec, every: Sequence[str] = ()) -> Iterator[str]:
    """Yield what an instrument is and can do, with a part for each kind of call.

    Args:
        spec: The answer of `describe()`.
        every: The effects that it could have on, by name.
    """
    (x_low, x_high), (y_low, y_high) = spec.bounds
    yield f"field: x {x_low:g} to {x_high:g} m, y {y_low:g} to {y_high:g} m"
    if spec.identity.get("calibrated") is False:
        yield "lengths: not calibrated, 1 unit of the file counts as 1 nm (--calibrate)"
    yield f"dose: in {spec.dose_units}{_budget(spec)}"
    for name, value in spec.limits.allowed.items():
        yield f"the server allows: {name} {value}"
    yield f"modes, for measure:{'' if spec.modes else ' none'}"
    for mode in spec.modes:
        yield f"  {mode.name}: {_mode(mode)}; {_noise(spec, mode)}"
        yield from (f"{INDENT}{line}" for line in map(_parameter, mode.parameters))
    yield f"channels, for scan and trace:{'' if spec.channels else ' none'}"
    for channel in spec.channels:
        yield f"  {channel.name}: {_channel(channel)}; {_noise(spec, channel)}"
    yield f"settings, for configure:{'' if spec.settings else ' none'}"
    yield from (f"  {_parameter(p)}" for p in spec.settings)
    brings = spec.identity.get("pulses_with", {})
    yield f"pulses, for pulse:{'' if spec.pulses else ' none'}"
    yield from (
        f"  {', '.join(p)}: with --effects {name}" for name, p in brings.items()
    )
    for pulse in spec.pulses:
        yield f"  {pulse.name}: {pulse.doc}"
        for one in (pulse.dwell_s, *pulse.parameters):
            yield f"{INDENT}{_parameter(one)}"
    on = spec.identity.get("effects", {})
    yield f"effects on: {', '.join(on) or 'none'}"
    if every:
        off = [name for name in every if name not in on]
        yield f"effects that --effects turns on: {', '.join(off) or 'none more'}"
    yield from (f"note: {text}" for text in spec.identity.get("notices", ()))


def served(spec: InstrumentSpec) -> str:
    """Return what is told of an instrument that waits for clients."""
    guessed = spec.identity.get("guessed")
    why = f" (guessed: {guessed})" if guessed else ""
    noise = spec.identity.get("noise_sd", {})
    known: list[Mode | Channel] = [*spec.modes, *spec.channels]
    units = {one.name: one.units for one in known}
    read = [f"{name} {sd:.3g} {units.get(name, '')}" for name, sd in noise.items()]
    on = ", ".join(spec.identity.get("effects", {}))
    counted = ", ".join(one.name for one in known if one.counts)
    said = (
        f"{spec.name}, kind {spec.kind}{why}, sample {spec.identity['sample']!r}; "
        f"modes: {', '.join(m.name for m in spec.modes) or 'none'}; channels: "
        f"{', '.join(c.name for c in spec.channels) or 'none'}; effects: "
        f"{on or 'noise alone'}; read-out noise: "
        f"{', '.join(text.strip() for text in read) or 'none'}; counts: "
        f"{counted or 'none'}."
    )
    notices = [f"Note: {text}" for text in spec.identity.get("notices", ())]
    return "\n".join([said, *notices, "Ctrl-C ends it."])


def keys_made(
    folder: Path,
    made: Sequence[Path],
    lacking: Mapping[Path, Sequence[str]],
    hosts: Sequence[str],
    here: Sequence[str],
    roles: Mapping[str, str],
) -> list[str]:
    """Return what to do with keys that were made: who gets which, and how to use it.

    Args:
        folder: Of all of them.
        made: The folders of keys that are new.
        lacking: See `aemtwin.remote.authority.lacking`.
        hosts: What the server's certificate names.
        here: Those of them that are this machine alone.
        roles: Of the clients.
    """
    lines = [f"made {path}" for path in made]
    for path, names in lacking.items():
        if names:
            lines.append(
                f"kept {path}, which is not for {', '.join(names)}: "
                "with --renew it is made anew"
            )
        elif path not in made:
            lines.append(f"kept {path}, which was there")
    clients = [path.name for path in made if path.parent.name == "clients"]
    beyond = [host for host in hosts if host not in here]
    host = f" --host {beyond[-1]}" if beyond else ""
    lines += [
        "",
        f"{folder / 'authority' / 'ca.key'} makes all others: it stays here, and is "
        "backed up.",
        f"{folder / 'server'} goes to the instrument's computer:",
        f"  aemtwin serve SOURCE{host} --keys {folder / 'server'}",
    ]
    for name in clients:
        place = folder / "clients" / name
        lines += [
            f"{place} goes to {name}, by a way that nobody else reads:",
            f"  aemtwin watch URI --keys {place}"
            if roles.get(name) == "observe"
            else f"  aemtwin run EXPERIMENT --uri URI --keys {place}",
        ]
    return lines


def _mode(mode: Mode) -> str:
    axes = ", ".join(map(_axis, mode.axes))
    others = [name for name in mode.channels if name != mode.name]
    beside = f", with {', '.join(others)}" if others else ""
    place = " x ".join(str(n) for n in mode.shape or ())
    at = f", recorded at {place} places" if mode.shape and not mode.parameters else ""
    return (
        f"{mode.quantity} ({mode.units or 'no unit'}, {mode.dtype}) over "
        f"{axes}{beside}{at}; {_parameter(mode.dwell_s).rpartition('  ')[0]}"
    )


def _axis(axis: Axis) -> str:
    low, high = float(axis.values.min()), float(axis.values.max())
    return f"{axis.name} ({len(axis)}): {low:.6g} to {high:.6g} {axis.units}".strip()


def _channel(channel: Channel) -> str:
    place = " x ".join(str(n) for n in channel.shape or ())
    at = f", recorded at {place} pixels" if place else ""
    derived = f", computed from others: {channel.derived}" if channel.derived else ""
    units = channel.units or "no unit"
    return f"{channel.quantity} ({units}, {channel.dtype}){at}{derived}"


def _noise(spec: InstrumentSpec, one: Mode | Channel) -> str:
    """Say by which law a channel or a mode is noisy."""
    if spec.identity.get("ideal"):
        return "ideal, without noise"
    sd = spec.identity.get("noise_sd", {}).get(one.name, 0.0)
    noise = f"noise {sd:.3g} {one.units}".strip() if sd else ""
    if not one.counts:
        return noise or "no noise"
    return f"counts, by Poisson's law{f', and {noise}' if noise else ''}"


def _parameter(p: Parameter) -> str:
    units = f" {p.units}" if p.units else ""
    return f"{p.name} = {p.default:g}{units} ({p.low:g} to {p.high:g})  {p.doc}"


def _budget(spec: InstrumentSpec) -> str:
    units, limits = spec.dose_units, spec.limits
    told = ""
    if limits.dose is not None:
        told += f", at most {limits.dose:g} {units} in all"
    if limits.dose_per_m2 is not None:
        told += f", at most {limits.dose_per_m2:g} {units} a square metre"
    return told
