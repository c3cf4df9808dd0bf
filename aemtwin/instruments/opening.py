"""From a name or a file to a twin: `open_twin`, the way in for people and commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aemtwin.errors import BadFile, unknown
from aemtwin.formats import catalog, nsid
from aemtwin.formats.specimens import Calibration, make_sample
from aemtwin.instruments.afm import AFM
from aemtwin.instruments.checks import number
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.stem import STEM
from aemtwin.instruments.twin import Twin
from aemtwin.sample import Field, Sample
from aemtwin.specs import Limits, Parameter

KINDS: dict[str, Kind] = {kind.name: kind for kind in (AFM, STEM)}
NOISE = 0.01  # of the spread of a channel: read-out noise where nobody stated one
LOOKED_AT = 64  # pixels from which the spread is estimated


def open_twin(
    source: str | Path,
    *,
    kind: str | None = None,
    select: str | None = None,
    ideal: bool = False,
    seed: int = 0,
    noise: Mapping[str, float] | None = None,
    calibrate: Calibration | None = None,
    real_time: bool = False,
    ledger: str | Path | None = None,
) -> Twin:
    """Open a digital twin, ready to measure.

    Args:
        source: A name of the catalogue (`aemtwin list`), a twin folder, an NSID file.
        kind: "afm" or "stem"; default: what the catalogue says, or what the axes
            suggest (energy: STEM; otherwise a scanning probe, served as AFM).
        select: Which sample, where a file holds several; default: the first.
        ideal: No effect at all: a grid point returns its stored values, bit for bit.
        seed: Of all chance; the same seed and the same requests give the same bits.
        noise: Read-out noise of channels and modes by name, standard deviation in
            their unit at the usual dwell. Default: what the catalogue says; otherwise
            1 % of the spread of each, and none where counts are counted.
        calibrate: Lengths for axes that state none: `{"x": ("SI px", 0.39e-9)}`.
            Otherwise one unit counts as 1 nm and `describe()` says `calibrated` False.
        real_time: Let each operation take its time, rather than jump ahead.
        ledger: A file to keep the ledger in. One that exists is performed again first,
            so that the specimen stands where it stood.

    Raises:
        BadFile: If the file cannot be read as a sample.
        UnknownName: If nothing is called so.

    >>> twin = open_twin("pfm_loops", ideal=True)
    >>> twin.describe().kind
    'afm'
    """
    path = Path(source)
    stated: dict[str, float] = {}
    entry: catalog.TwinEntry | None = None
    name, version = path.name.split(".")[0], ""
    if path.is_file() or (path.suffix and not path.is_dir()):
        data = path
    else:
        entry = catalog.find_twin(source)
        data, name, version = entry.data, entry.name, entry.version
        stated, kind = dict(entry.noise), kind or entry.kind
    if entry is not None:
        catalog.verify(entry)
    file = nsid.open_nsid(data)  # open as long as the sample reads it
    sample = make_sample(
        file.arrays, select=select, calibrate=calibrate, origin=f"The file {data.name}"
    )
    chosen = _kind(kind, sample)
    if entry is not None:
        chosen = _as_stated(chosen, entry)
    counts = _counted(entry, sample)
    sd = {**_usual_noise(sample), **dict.fromkeys(counts, 0.0), **stated}
    if noise is not None:
        for channel, value in noise.items():
            sample.field(channel)  # an unknown one is an error, not silence
            what = f"noise of {channel}"
            sd[channel] = number("open_twin", what, value, 0.0, 1e300, "")
    identity: dict[str, Any] = {
        "source": catalog.located(source),
        "version": version,
        "data_sha256": nsid.sha256_of(data),
        "others": list(sample.others),
        "noise": {channel: sd[channel] for channel in noise or {}},
        "calibrate": {axis: list(unit) for axis, unit in (calibrate or {}).items()},
    }
    return Twin(
        sample,
        chosen,
        name=name,
        seed=seed,
        ideal=ideal,
        noise=sd,
        counts=counts,
        identity=identity,
        real_time=real_time,
        ledger=None if ledger is None else Path(ledger),
        release=file.close,
    )


def _kind(name: str | None, sample: Sample) -> Kind:
    if name is not None:
        if name not in KINDS:
            raise unknown("kind", name, KINDS, "Leave it out to have it guessed.")
        return KINDS[name]
    axes = [axis for field in sample.spectra for axis in field.axes]
    energy = any(
        axis.units.lower() in ("ev", "kev", "mev") or "energy" in axis.quantity.lower()
        for axis in axes
    )
    return STEM if energy else AFM


def _as_stated(kind: Kind, entry: catalog.TwinEntry) -> Kind:
    """Put the limits and usual times of a `twin.toml` in place of the kind's own."""
    limits, usual = entry.limits, entry.defaults
    low, high = limits.get("dwell_s", kind.limits.dwell_s)
    return replace(
        kind,
        limits=Limits((low, high), limits.get("points", kind.limits.points)),
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


def _counted(entry: catalog.TwinEntry | None, sample: Sample) -> tuple[str, ...]:
    """Return which arrays of the sample hold counts, by what its `twin.toml` says."""
    names = tuple(f.name for f in sample.fields if entry and f.name in entry.counts)
    for name in names:
        dtype = sample.field(name).dtype
        if dtype.kind not in "iuf":
            raise BadFile(
                f"twin.toml names {name!r} in [counts], but it holds {dtype}; counts "
                "are real numbers. Leave it out of [counts]."
            )
    return names


def _usual_noise(sample: Sample) -> dict[str, float]:
    return {field.name: NOISE * _spread(field) for field in sample.fields}


def _spread(field: Field) -> float:
    """Return the standard deviation over some pixels spread over the field."""
    rows, columns = field.grid.shape
    some = np.unique(np.linspace(0, rows * columns - 1, LOOKED_AT).astype(int))
    values = np.stack([field.pixel(*divmod(int(i), columns)) for i in some])
    if values.dtype.kind not in "fciu":
        return 0.0
    values = np.abs(values) if values.dtype.kind == "c" else values
    finite = values[np.isfinite(values)]
    return float(np.std(finite, dtype=np.float64)) if finite.size else 0.0
