"""What a recorded sample lets an instrument say of itself: its `InstrumentSpec`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aemtwin.instruments.kinds import Kind
from aemtwin.sample import Field, Sample
from aemtwin.specs import Channel, InstrumentSpec, Mode, Parameter


def describe(
    sample: Sample,
    kind: Kind,
    name: str,
    identity: Mapping[str, Any],
    counts: Collection[str] = (),
) -> InstrumentSpec:
    """Return the spec of a twin that plays back `sample`.

    Every image becomes a channel. Every array with a spectrum at each pixel becomes a
    mode; those recorded together come together, the one asked for first. Those named
    in `counts` hold counts.
    """
    return InstrumentSpec(
        name=name,
        kind=kind.name,
        bounds=sample.bounds,
        channels=tuple(
            _channel(field, field.name in counts) for field in sample.images
        ),
        modes=tuple(
            _mode(sample, kind, field, field.name in counts) for field in sample.spectra
        ),
        settings=kind.settings,
        limits=kind.limits,
        dose_units=kind.dose_units,
        pulses=kind.pulses,
        identity={
            "name": name,
            "kind": kind.name,
            "sample": sample.name,
            "calibrated": sample.calibrated,
            **identity,
        },
    )


def _channel(field: Field, counts: bool) -> Channel:
    stored = field.stored
    return Channel(
        name=field.name,
        quantity=stored.quantity,
        units=stored.units,
        dtype=field.dtype.name,
        shape=field.grid.shape,
        extent=field.grid.bounds,
        derived=stored.derived,
        counts=counts,
    )


def _mode(sample: Sample, kind: Kind, field: Field, counts: bool) -> Mode:
    low, high = kind.limits.dwell_s
    return Mode(
        name=field.name,
        quantity=field.stored.quantity,
        units=field.stored.units,
        dtype=field.dtype.name,
        axes=field.axes,
        dwell_s=Parameter(
            "dwell_s", "s", kind.spot_dwell_s, low, high, "time of one measurement"
        ),
        channels=tuple(f.name for f in sample.beside(field)),
        shape=field.grid.shape,
        extent=field.grid.bounds,
        counts=counts,
    )
