"""What an instrument can do, with units: axes, channels, modes, parameters, limits.

These records are data alone: `aemtwin.instruments` fills them in, `aemtwin.remote.wire`
carries them, a campaign reads them. What an instrument *gave* is in
`aemtwin.measurement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import NotSupported, unknown

PROTOCOL = "1.4"  # major.minor; a client refuses another major

Bounds = tuple[tuple[float, float], tuple[float, float]]
"""((x low, x high), (y low, y high)), metres, in the sample frame."""

METRES = {
    "m": 1.0,
    "mm": 1e-3,
    "um": 1e-6,
    "µm": 1e-6,
    "μm": 1e-6,
    "nm": 1e-9,
    "å": 1e-10,
    "angstrom": 1e-10,
    "pm": 1e-12,
}
"""Units of length as files write them, in lower case."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of an array: a name, a unit and the value at every index."""

    name: str
    units: str
    values: NDArray[Any]  # (k,), in `units`; any order, uniform or not
    quantity: str = ""  # what is varied along it: "Length", "Bias", "Energy loss"
    kind: str = "spectral"  # "spatial", "spectral", "temporal", "reciprocal", "unknown"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        return (
            (self.name, self.units, self.quantity, self.kind)
            == (other.name, other.units, other.quantity, other.kind)
            and self.values.dtype == other.values.dtype
            and np.array_equal(self.values, other.values, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays cannot be hashed

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Parameter:
    """One number that a call takes, with its unit, default and range."""

    name: str
    units: str
    default: float
    low: float
    high: float
    doc: str = ""
    whole: bool = False  # a fraction is refused


@dataclass(frozen=True)
class Channel:
    """One quantity that `scan` and `trace` read."""

    name: str
    quantity: str
    units: str
    dtype: str  # NumPy's name, such as "float32"
    shape: tuple[int, int] | None = None  # (rows, columns) of a recording, if it is one
    extent: Bounds | None = None  # outermost pixel centres of a recording, metres
    derived: str = ""  # not empty: computed from another channel, and how
    counts: bool = False  # values are counts: Poisson's, in proportion to the dose


@dataclass(frozen=True)
class Mode:
    """One kind of measurement at a spot."""

    name: str
    quantity: str
    units: str
    dtype: str
    axes: tuple[Axis, ...]
    dwell_s: Parameter
    channels: tuple[str, ...] = ()  # arrays it returns, the main one first
    parameters: tuple[Parameter, ...] = ()
    shape: tuple[int, int] | None = None  # (rows, columns) of a recording, if it is one
    extent: Bounds | None = None  # outermost pixel centres of a recording, metres
    counts: bool = False  # values are counts: Poisson's, in proportion to the dose


@dataclass(frozen=True)
class Pulse:
    """One way to act on the specimen at a spot without measuring: a write."""

    name: str
    doc: str  # what it does, one sentence
    dwell_s: Parameter
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What the instrument refuses to exceed in one operation."""

    dwell_s: tuple[float, float]  # at one spot or pixel
    points: int  # pixels of a frame, points of a trace
    dose: float | None = None  # in all, in `dose_units`; None: no budget
    dose_per_m2: float | None = None  # at any place, in `dose_units` per square metre
    # what the operator of a server allows, JSON values by name; empty: nothing more
    allowed: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class InstrumentSpec:
    """The answer of `describe()`; constant for a run."""

    name: str
    kind: str  # "afm", "stem", ...
    bounds: Bounds
    channels: tuple[Channel, ...]
    modes: tuple[Mode, ...]
    settings: tuple[Parameter, ...]
    limits: Limits
    dose_units: str
    identity: Mapping[str, Any]  # what this is: twin or instrument, data hash, seed
    endpoints: Mapping[str, str] = field(default_factory=dict)  # data channel, if any
    protocol: str = PROTOCOL
    pulses: tuple[Pulse, ...] = ()  # none: it cannot write

    def mode(self, name: str | None = None) -> Mode:
        """Return the mode of that name; None is the first.

        Raises:
            UnknownName: If there is no such mode, or none at all.
        """
        for mode in self.modes:
            if name is None or mode.name == name:
                return mode
        raise unknown(
            "mode", name, (m.name for m in self.modes), "See describe().modes."
        )

    def channel(self, name: str) -> Channel:
        """Return the channel of that name.

        Raises:
            UnknownName: If there is none.
        """
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise unknown(
            "channel", name, (c.name for c in self.channels), "See describe().channels."
        )

    def pulse(self, name: str | None = None) -> Pulse:
        """Return the pulse of that name; None is the first.

        Raises:
            NotSupported: If the instrument has none at all.
            UnknownName: If there is none of that name.
        """
        if not self.pulses:
            effect = next(iter(self.identity.get("pulses_with", {})), None)
            how = "See describe().pulses of the instrument before asking for one."
            if effect:
                how = f"Open it with effects={effect!r} for one that can."
            raise NotSupported(
                f"{self.name} has no pulse: it can measure and not write. {how}"
            )
        for pulse in self.pulses:
            if name is None or pulse.name == name:
                return pulse
        raise unknown(
            "pulse", name, (p.name for p in self.pulses), "See describe().pulses."
        )
