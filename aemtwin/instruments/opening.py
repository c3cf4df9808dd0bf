"""From a name or a file to a twin: `open_twin`, the way in for people and commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.errors import BadConfig, BadFile, NotSupported, WrongType, unknown
from aemtwin.formats import catalog, nsid
from aemtwin.formats.specimens import Calibration, make_sample
from aemtwin.instruments.checks import number
from aemtwin.instruments.effects import registry as effects_registry
from aemtwin.instruments.effects.base import Effect
from aemtwin.instruments.effects.base import stated as effect_table
from aemtwin.instruments.effects.countable import countable
from aemtwin.instruments.guessing import KINDS, guess
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.modes import registry as modes_registry
from aemtwin.instruments.recording import Stated, readers_of
from aemtwin.instruments.twin import Twin
from aemtwin.sample import Field, Sample
from aemtwin.specs import Limits, Parameter

NOISE = 0.01  # of the spread of a channel: read-out noise where nobody stated one
LOOKED_AT = 64  # pixels from which the spread is estimated
FEW = 16  # places from which that of a computed mode is
TESTED = 256  # pixels from which it is told whether a recording is counts
COUNTING = ("expected", "recorded")
COUNTS = re.compile(r"\b(counts?|electrons|photons)\b(?!\s*/)")
VANISHING = 0.15  # sd of noise that leaves 999 of 1000 whole numbers as they are

EffectsArgument = str | Sequence[str] | Mapping[str, Mapping[str, Any]]


def open_twin(
    source: str | Path,
    *,
    kind: str | None = None,
    select: str | None = None,
    ideal: bool = False,
    seed: int = 0,
    noise: Mapping[str, float] | None = None,
    counts: Mapping[str, str] | None = None,
    effects: EffectsArgument | None = None,
    calibrate: Calibration | None = None,
    real_time: bool = False,
    ledger: str | Path | None = None,
) -> Twin:
    """Open a digital twin, ready to measure.

    Args:
        source: A name of the catalogue (`aemtwin list`), a twin folder, an NSID file.
        kind: "afm", "stem", "stm", "raman", "afm_ir" or "afm_raman"; default: what the
            catalogue says, or what axes and quantities suggest; then
            `describe().identity["guessed"]` says why.
        select: Which sample, where a file holds several; default: the first.
        ideal: No effect at all: a grid point returns its stored values, bit for bit.
        seed: Of all chance; the same seed and the same requests give the same bits.
        noise: Read-out noise of channels and modes by name, standard deviation in
            their unit at the usual dwell. Default: what the catalogue says; otherwise
            1 % of the spread of each, and none where counts are counted.
        counts: Arrays that hold counts, by name: "expected" ones are counted anew by
            Poisson's law; "recorded" ones are given out once each, in proportion to
            the dose, and must be countable. Default: what the catalogue says.
        effects: What else the instrument does to the truth: "all" that the twin states
            (of a plain file: that suit its kind), "none", "default", names, or a table
            of parameters by name; `aemtwin list effects` has them. Default: those that
            the catalogue turns on; of a plain file none.
        calibrate: Lengths for axes that state none: `{"x": ("SI px", 0.39e-9)}`.
            Otherwise one unit counts as 1 nm and `describe()` says `calibrated` False.
        real_time: Let each operation take its time, rather than jump ahead.
        ledger: A file to keep the ledger in. One that exists is performed again first,
            so that the specimen stands where it stood.

    Raises:
        BadFile: If the file cannot be read as a sample.
        UnknownName: If nothing is called so.
        NotSupported: If "recorded" counts are none that can be given out one by one.

    >>> twin = open_twin("pfm_loops", ideal=True)
    >>> twin.describe().kind
    'afm'
    """
    path = Path(source)
    stated: dict[str, float] = {}
    entry: catalog.TwinEntry | None = None
    name, version, why = path.name.split(".")[0], "", ""
    if path.is_file() or (path.suffix and not path.is_dir()):
        data = path
    else:
        entry = catalog.find_twin(source)
        data, name, version = entry.data, entry.name, entry.version
        stated, kind = dict(entry.noise), kind or entry.kind
    if entry is not None:
        catalog.verify(entry)
    file = nsid.open_nsid(data)  # open as long as the sample reads it
    try:
        sample = make_sample(
            file.arrays,
            select=select,
            calibrate=calibrate,
            origin=f"The file {data.name}",
        )
        if kind is None:
            chosen, why = guess(sample)
        elif kind in KINDS:
            chosen = KINDS[kind]
        else:
            raise unknown("kind", kind, KINDS, "Leave it out to have it guessed.")
        if entry is not None:
            chosen = _as_stated(chosen, entry)
        toml = entry.toml if entry is not None else {}
        origin = "twin.toml" if entry is not None else "open_twin"
        modes = modes_registry.stated(toml.get("modes", {}), chosen, origin)
        on = effects_registry.chosen(toml.get("effects", {}), effects, chosen, origin)
        counting = _counting(entry, counts or {}, sample)
        expected = [n for n, how in counting.items() if how == "expected"]
        dealt = [n for n, how in counting.items() if how == "recorded"]
        sd = {**_usual_noise(sample), **dict.fromkeys(counting, 0.0), **stated}
        if ideal:
            _require_no_effects(effects)
        else:
            unsaid = [m for m in modes if m.name not in sd and not m.model.counts]
            sd |= _noise_of_modes(sample, chosen, unsaid, on)
        for channel, value in (noise or {}).items():
            if channel not in (m.name for m in modes):
                sample.field(channel)  # an unknown one is an error, not silence
            what = f"noise of {channel}"
            sd[channel] = number("open_twin", what, value, 0.0, 1e300, "")
        read = [] if ideal else _read(sample, modes)
        asked = {**stated, **(noise or {}), **counting}
        usual = {n: sd[n] for n in read if n in sd and n not in asked}
        identity: dict[str, Any] = {
            "source": catalog.located(source),
            "version": version,
            "data_sha256": nsid.sha256_of(data),
            "others": list(sample.others),
            "noise": {channel: sd[channel] for channel in noise or {}},
            "noise_sd": {name: sd[name] for name in read if sd.get(name)},
            "counts": dict(counts or {}),
            "notices": _hints(sample, usual),
            "effects": {e.name: effect_table(e) for e in ([] if ideal else on)},
            "calibrate": {axis: list(unit) for axis, unit in (calibrate or {}).items()},
            **_told(ideal, chosen, sample, on),
            **({"guessed": why} if why else {}),
        }
        return Twin(
            sample,
            chosen,
            name=name,
            seed=seed,
            ideal=ideal,
            noise=sd,
            counts=expected,
            dealt=dealt,
            effects=on,
            modes=modes,
            identity=identity,
            real_time=real_time,
            ledger=None if ledger is None else Path(ledger),
            release=file.close,
        )
    except BaseException:
        file.close()
        raise


def _as_stated(kind: Kind, entry: catalog.TwinEntry) -> Kind:
    """Put the limits and usual times of a `twin.toml` in place of the kind's own."""
    limits, usual = entry.limits, entry.defaults
    low, high = limits.get("dwell_s", kind.limits.dwell_s)
    return replace(
        kind,
        limits=Limits(
            (low, high),
            limits.get("points", kind.limits.points),
            limits.get("dose"),
            limits.get("dose_per_m2"),
        ),
        spot_dwell_s=usual.get("dwell_s", kind.spot_dwell_s),
        pixel_dwell_s=usual.get("pixel_dwell_s", kind.pixel_dwell_s),
        settings=tuple(_usual(p, usual, entry) for p in kind.settings),
        pulses=tuple(
            replace(p, dwell_s=_limited(p.dwell_s, low, high)) for p in kind.pulses
        ),
    )


def _usual(
    setting: Parameter, usual: Mapping[str, float], entry: catalog.TwinEntry
) -> Parameter:
    value = float(usual.get(setting.name, setting.default))
    if not setting.low <= value <= setting.high:
        raise BadFile(
            f"{entry.folder / 'twin.toml'} has defaults.{setting.name} = {value:g}; "
            f"allowed is {setting.low:g} to {setting.high:g} {setting.units}."
        )
    return replace(setting, default=value)


def _limited(parameter: Parameter, low: float, high: float) -> Parameter:
    default = min(max(parameter.default, low), high)
    return replace(parameter, default=default, low=low, high=high)


def _counting(
    entry: catalog.TwinEntry | None, said: Mapping[str, str], sample: Sample
) -> dict[str, str]:
    """Return how the arrays that hold counts are counted, by name."""
    if not isinstance(said, Mapping):
        raise WrongType(f"open_twin got counts = {said!r}; it is a table by array.")
    here = {field.name for field in sample.fields}
    found = {n: "expected" for n in (entry.counts if entry else ()) if n in here}
    found |= {n: "recorded" for n in (entry.recorded if entry else ()) if n in here}
    found |= said
    for name, how in found.items():
        field = sample.field(name)
        if how not in COUNTING:
            raise unknown(f"way to count {name!r}", how, COUNTING, "See open_twin.")
        if field.dtype.kind not in "iuf":
            raise BadFile(
                f"{name!r} is said to be counts, but it holds {field.dtype}; counts "
                "are real numbers. Leave it out of [counts]."
            )
        if how == "recorded":
            verdict = countable(_some(field, TESTED).reshape(-1, *field.shape[-1:]))
            if not verdict.ok:
                raise NotSupported(
                    f"{name!r} cannot be given out count by count: {verdict.why} Use "
                    f"counts={{{name!r}: 'expected'}}, which counts it anew."
                )
    return found


def _read(sample: Sample, modes: Sequence[Stated]) -> list[str]:
    """Return the arrays that calls tell: those of the file but maps, and modes."""
    maps = {array for mode in modes for array in mode.arrays}
    stored = [field.name for field in sample.fields if field.name not in maps]
    return stored + [mode.name for mode in modes]


def _hints(sample: Sample, sd: Mapping[str, float]) -> list[str]:
    """Return what to say of arrays that call themselves counts and are not counted."""
    told = []
    for field in (f for f in sample.fields if f.name in sd):
        said = f"{field.stored.quantity} {field.stored.units}".replace("_", " ").lower()
        if field.dtype.kind not in "iuf" or COUNTS.search(said) is None:
            continue
        noise = sd[field.name]
        rounded = field.dtype.kind in "iu" and noise < VANISHING
        told.append(
            f"{field.name!r} calls itself counts and is read with Gaussian noise of "
            f"{noise:.3g} {field.stored.units}, 1 % of its spread"
            f"{', which rounding to whole numbers takes away' if rounded else ''}: "
            f"counts={{{field.name!r}: 'expected'}} (--counts {field.name}=expected) "
            "counts it anew, with Poisson's noise."
        )
    return told


def _told(
    ideal: bool, kind: Kind, sample: Sample, on: Sequence[Effect]
) -> dict[str, dict[str, list[str]]]:
    """Return which effects that are not on would bring which pulses."""
    off = [] if ideal else effects_registry.of_kind(kind.name)
    off = [name for name in off if name not in (effect.name for effect in on)]
    found = {n: effects_registry.find(n)().pulses(sample) for n in off}
    pulses = {n: [p.name for p in brought] for n, brought in found.items() if brought}
    return {"pulses_with": pulses} if pulses else {}


def _require_no_effects(said: EffectsArgument | None) -> None:
    """Refuse effects of a twin that is to have none."""
    if said in (None, "none", "default") or not len(said or ()):
        return
    raise BadConfig(
        f"open_twin got ideal = True and effects = {said!r}; an ideal twin has no "
        "effect and no noise. Leave out the one or the other: for effects without "
        "read-out noise, give noise = 0 for the arrays by name."
    )


def _usual_noise(sample: Sample) -> dict[str, float]:
    return {field.name: NOISE * _spread(field) for field in sample.fields}


def _noise_of_modes(
    sample: Sample, kind: Kind, modes: Sequence[Stated], effects: Sequence[Effect]
) -> dict[str, float]:
    """Return 1 % of the spread of computed modes over some places of the field."""
    brought = [p for mode in modes for p in mode.model.settings]
    brought += [p for effect in effects for p in effect.settings()]
    settings = {p.name: p.default for p in (*brought, *kind.settings)}
    found, readers = {}, readers_of(sample, kind, modes) if modes else {}
    for mode in modes:
        reader = readers[mode.name]
        points = reader.grid.points()
        some = points[:: max(len(points) // FEW, 1)]
        values = reader.read(some, settings, {})[mode.name]
        found[mode.name] = NOISE * float(np.nanstd(np.abs(values)))
    return found


def _some(field: Field, most: int) -> Any:
    """Return the values of some pixels spread over the field, (k, *spectral)."""
    rows, columns = field.grid.shape
    some = np.unique(np.linspace(0, rows * columns - 1, most).astype(int))
    return np.stack([field.pixel(*divmod(int(i), columns)) for i in some])


def _spread(field: Field) -> float:
    """Return the standard deviation over some pixels of the field."""
    values = _some(field, LOOKED_AT)
    if values.dtype.kind not in "fciu":
        return 0.0
    values = np.abs(values) if values.dtype.kind == "c" else values
    finite = values[np.isfinite(values)]
    return float(np.std(finite, dtype=np.float64)) if finite.size else 0.0
