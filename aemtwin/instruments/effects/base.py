"""What an effect is: one thing that an instrument does to the truth, with its hooks.

An effect is a dataclass whose fields are its parameters, as `twin.toml` states them
under `[effects.NAME]`. Each hook does nothing unless an effect overrides it, and the
probe calls the hooks of all effects in the order of `aemtwin.instruments.effects.
registry`, so that any of them compose. The physics is in pure functions of the modules
beside this one; an effect joins them to the operation under way and keeps what the
specimen or the tip remembers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.paths import Path
from aemtwin.sample import Field, Sample
from aemtwin.specs import Channel, InstrumentSpec, Mode, Parameter, Pulse

Array = NDArray[np.float64]


def number(
    default: float, units: str, doc: str, low: float = 0.0, high: float = math.inf
) -> Any:
    """Declare a parameter of an effect: one number with its unit and range."""
    meta = {"units": units, "doc": doc, "low": low, "high": high}
    return field(default=default, metadata=meta)


def whole(default: int, doc: str, low: int, high: int) -> Any:
    """Declare a parameter of an effect: a whole number of something."""
    meta = {"units": "", "doc": doc, "low": low, "high": high, "whole": True}
    return field(default=default, metadata=meta)


def pair(
    default: tuple[float, float],
    units: str,
    doc: str,
    low: float = -math.inf,
    high: float = math.inf,
) -> Any:
    """Declare a parameter of an effect: (x, y), with its unit and range."""
    meta = {"units": units, "doc": doc, "low": low, "high": high}
    return field(default=default, metadata=meta)


def table(units: str, doc: str) -> Any:
    """Declare a parameter of an effect: numbers >= 0 by the names of arrays."""
    meta = {"units": units, "doc": doc, "low": 0.0, "high": math.inf, "names": True}
    return field(default_factory=dict, metadata=meta)


@dataclass(frozen=True, eq=False)
class Scene:
    """What a twin is made of, as effects are told when they start."""

    sample: Sample
    spec: InstrumentSpec
    seed: int


@dataclass(frozen=True, eq=False)
class Shot:
    """One operation under way, as effects see it."""

    call: str  # "scan", "trace", "measure", "pulse", "move_to"
    arguments: Mapping[str, Any]
    path: Path
    begin_s: float  # on the instrument's clock, getting there included
    settings: Mapping[str, float]
    dose: float  # of each reading, in `InstrumentSpec.dose_units`
    random: Callable[[str], np.random.Generator]  # by a word, addressed by the request
    share: float = 1.0  # of it that was done: less than 1 where it was stopped
    off: Array | None = None  # (k, 2) metres: how far off its commanded place it is

    @property
    def where(self) -> Array:
        """Where the probe truly is on the specimen, (k, 2), metres."""
        return self.path.points if self.off is None else self.path.points + self.off

    @property
    def dwell_s(self) -> float:
        """The time at each reading; 0 of a move."""
        return float(self.arguments.get("dwell_s", 0.0))


@dataclass
class Effect:
    """One thing that an instrument does to the truth; the base does nothing.

    State that an effect keeps is made in `start` and told apart by `digest`; it is a
    function of the seed and the operations alone, so that a ledger rebuilds it.
    """

    name: ClassVar[str] = ""
    says: ClassVar[str] = ""  # one line for people
    kinds: ClassVar[tuple[str, ...]] = ()  # of instruments; (): all
    source: ClassVar[str] = ""  # author and year of the physics

    def start(self, scene: Scene) -> None:
        """Stand as at time zero."""

    def digest(self) -> str:
        """Return what tells one state from another; "" where nothing is kept."""
        return ""

    def idle(self, scene: Scene) -> str:
        """Return why this effect does nothing here, as a clause; "" where it acts."""
        known = parameters(type(self))
        tables = [name for name, about in known.items() if about.get("names")]
        if not tables or any(v for n in tables for v in getattr(self, n).values()):
            return ""
        spec = scene.spec
        arrays = [c.name for c in spec.channels] + [m.name for m in spec.modes]
        return (
            f"its table {tables[0]} is empty. Give it numbers in "
            f"{known[tables[0]]['units']} by the names of arrays "
            f"({', '.join(arrays)}), as `aemtwin list effects {self.name}` says"
        )

    def settings(self) -> tuple[Parameter, ...]:
        """Return what `configure` can change because of this effect."""
        return ()

    def pulses(self, sample: Sample) -> tuple[Pulse, ...]:
        """Return the ways to write that this effect makes mean something."""
        return ()

    def fault(self, shot: Shot) -> None:
        """Raise an `InstrumentFault` if the operation fails."""

    def dark(self, shot: Shot) -> bool:
        """Say whether nothing arrives at the detector meanwhile."""
        return False

    def displacement(self, shot: Shot) -> Array | None:
        """Return how far off its commanded place the probe is, (k, 2), metres."""
        return None

    def breaks(self, shot: Shot) -> tuple[float, ...]:
        """Return the times in the operation at which `seen` changes, ascending."""
        return ()

    def stamp(self, time_s: float, settings: Mapping[str, float]) -> Any:
        """Return what `seen` depends on; None where this effect changes no image."""
        return None

    def seen(self, field: Field, image: Array, stamp: Any) -> Array:
        """Return an image of the specimen as the probe sees it, same shape."""
        return image

    def spread(self, settings: Mapping[str, float]) -> tuple[Array, Array] | None:
        """Return where else a spectrum comes from: offsets (s, 2) m, weights (s,)."""
        return None

    def arriving(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        """Return what arrives at the detector, (k, *spectral), at the usual dose."""
        return values

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        """Return what the electronics make of it, counted and with its noise."""
        return values

    def notices(self, shot: Shot) -> list[str]:
        """Return what the instrument says of an operation that it has just done."""
        return []

    def done(self, shot: Shot) -> None:
        """Keep what the operation left behind in the specimen or in the tip."""


def parameters(kind: type[Effect]) -> dict[str, dict[str, Any]]:
    """Return the parameters of an effect: units, default, low, high, doc, by name."""
    return {
        f.name: {"default": _default(f), **f.metadata}
        for f in dataclasses.fields(kind)
        if f.metadata
    }


def _default(one: dataclasses.Field[Any]) -> Any:
    return {} if one.default is dataclasses.MISSING else one.default


def make(kind: type[Effect], stated: Mapping[str, Any], origin: str) -> Effect:
    """Make an effect of what a table states; what it leaves out has its default.

    Raises:
        UnknownName: If it states a parameter that there is not.
        BadFile: If a value is not what the parameter takes.
    """
    known = parameters(kind)
    values: dict[str, Any] = {}
    for key, value in stated.items():
        if key not in known:
            raise unknown(f"parameter of {kind.name}", key, known, f"See {origin}.")
        values[key] = _value(f"{origin}: {kind.name}.{key}", value, known[key])
    return kind(**values)


def _value(what: str, value: Any, about: Mapping[str, Any]) -> Any:
    low, high, default = about["low"], about["high"], about["default"]

    def one(number: Any) -> float:
        real = isinstance(number, checks.REAL) and not isinstance(number, bool)
        if not real or not low <= number <= high or not math.isfinite(number):
            raise BadFile(
                f"{what} got {value!r}; it takes {low:g} to {high:g} {about['units']}"
                f" ({about['doc']}). See `aemtwin list effects`."
            )
        if about.get("whole"):
            if number != int(number):
                raise BadFile(f"{what} got {value!r}; it is a whole number.")
            return int(number)
        return float(number)

    if about.get("names"):
        if not isinstance(value, Mapping):
            raise BadFile(
                f"{what} got {value!r}; it takes a table of numbers by the names of "
                f"arrays, in {about['units']} ({about['doc']})."
            )
        return {str(name): one(number) for name, number in value.items()}
    if isinstance(default, tuple):
        several = isinstance(value, list | tuple | np.ndarray)
        if not several or np.shape(value) != (len(default),):
            raise BadFile(
                f"{what} got {value!r}; it takes {len(default)} numbers in "
                f"{about['units']} ({about['doc']})."
            )
        return tuple(one(number) for number in value)
    return one(value)


def stated(effect: Effect) -> dict[str, Any]:
    """Return the parameters of an effect with their values, as a table states them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name in parameters(type(effect))
        for value in (getattr(effect, name),)
    }


def hashed(*parts: Any) -> str:
    """Return a short hash of arrays and of anything with a faithful `repr`."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()
