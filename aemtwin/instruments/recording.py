"""What a recorded sample lets an instrument say of itself: its `InstrumentSpec`.

A file's images become channels and its spectra modes; a twin may state further modes
that are computed from maps, and effects that bring settings of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aemtwin.errors import BadFile, unknown
from aemtwin.instruments import checks
from aemtwin.instruments.effects.base import Effect, Scene
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.modes.base import Computed, Model, Played, Reader, even_grid
from aemtwin.sample import Field, Sample
from aemtwin.specs import Channel, InstrumentSpec, Mode, Parameter, Pulse


@dataclass(frozen=True, eq=False)
class Stated:
    """A mode that is computed, as `twin.toml` states it under `[modes.NAME]`."""

    name: str
    model: Model
    maps: Mapping[str, str]  # the model's name of a map -> the array of the file
    shape: tuple[int, int]  # rows and columns at which the truth is told
    dwell_s: float | None = None  # in place of the model's own
    parameters: Mapping[str, float] = field(default_factory=dict)  # defaults, likewise

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of the file that it takes as its maps."""
        named = (m for m in self.model.may if m in self.maps)
        return tuple(self.maps.get(m, m) for m in (*self.model.needs, *named))


@dataclass(frozen=True, eq=False)
class Make:
    """What a twin is made of, beside its sample, its kind and its seed."""

    noise: Mapping[str, float] = field(default_factory=dict)
    counts: frozenset[str] = frozenset()  # expected counts, counted anew each time
    dealt: frozenset[str] = frozenset()  # recorded counts, each given out once
    effects: tuple[Effect, ...] = ()
    readers: Mapping[str, Reader] = field(default_factory=dict)  # of every mode
    models: tuple[Model, ...] = ()
    ideal: bool = False


def readers_of(
    sample: Sample, kind: Kind, stated: Sequence[Stated] = ()
) -> dict[str, Reader]:
    """Return how every mode of a twin reads the sample, in the order of its modes."""
    maps = {name for one in stated for name in one.maps.values()}
    readers: dict[str, Reader] = {
        one.name: Played(sample.beside(one))
        for one in sample.spectra
        if one.name not in maps
    }
    for one in stated:
        if one.name in readers or one.name in (f.name for f in sample.fields):
            raise BadFile(
                f"The mode {one.name!r} has the name of an array of the file; give it "
                "another name in [modes]."
            )
        readers[one.name] = _computed(sample, kind, one)
    return readers


def describe(
    sample: Sample, kind: Kind, name: str, identity: Mapping[str, Any], make: Make
) -> InstrumentSpec:
    """Return the spec of a twin of `sample`.

    Every image that is no map of a computed mode becomes a channel. Arrays with a
    spectrum at each pixel become modes; those recorded together come together, the one
    asked for first.
    """
    counts = make.counts | make.dealt
    hidden = {
        one.name
        for reader in make.readers.values()
        if isinstance(reader, Computed)
        for one in reader.maps.values()
    }
    brought = [p for model in make.models for p in model.settings]
    brought += [p for effect in make.effects for p in effect.settings()]
    settings = {p.name: p for p in (*brought, *kind.settings)}  # the kind's own win
    written = (p for effect in make.effects for p in effect.pulses(sample))
    pulses = (*kind.pulses, *(_within(p, kind) for p in written))
    return InstrumentSpec(
        name=name,
        kind=kind.name,
        bounds=sample.bounds,
        channels=tuple(
            _channel(image, image.name in counts)
            for image in sample.images
            if image.name not in hidden
        ),
        modes=tuple(
            reader.spec
            if isinstance(reader, Computed)
            else _mode(kind, reader.fields, reader.fields[0].name in counts)
            for reader in make.readers.values()
        ),
        settings=tuple(sorted(settings.values(), key=_order(kind))),
        limits=kind.limits,
        dose_units=kind.dose_units,
        pulses=pulses,
        identity={
            "name": name,
            "kind": kind.name,
            "sample": sample.name,
            "calibrated": sample.calibrated,
            **identity,
        },
    )


def remarks(scene: Scene, make: Make) -> list[str]:
    """Return what should be said of how a twin is set: effects that do nothing."""
    idle = ((effect.name, effect.idle(scene)) for effect in make.effects)
    return [f"The effect {n} is on and does nothing: {why}." for n, why in idle if why]


def _within(pulse: Pulse, kind: Kind) -> Pulse:
    """Return a pulse that takes no longer than the limits of the instrument allow."""
    dwell = pulse.dwell_s
    low, high = max(dwell.low, kind.limits.dwell_s[0]), kind.limits.dwell_s[1]
    high = max(min(dwell.high, high), low)
    usual = min(max(dwell.default, low), high)
    return replace(pulse, dwell_s=replace(dwell, default=usual, low=low, high=high))


def _order(kind: Kind) -> Any:
    names = [p.name for p in kind.settings]
    return lambda p: (names.index(p.name) if p.name in names else len(names), p.name)


def _channel(image: Field, counts: bool) -> Channel:
    stored = image.stored
    return Channel(
        name=image.name,
        quantity=stored.quantity,
        units=stored.units,
        dtype=image.dtype.name,
        shape=image.grid.shape,
        extent=image.grid.bounds,
        derived=stored.derived,
        counts=counts,
    )


def _mode(kind: Kind, fields: Sequence[Field], counts: bool) -> Mode:
    main = fields[0]
    return Mode(
        name=main.name,
        quantity=main.stored.quantity,
        units=main.stored.units,
        dtype=main.dtype.name,
        axes=main.axes,
        dwell_s=_dwell(kind, kind.spot_dwell_s),
        channels=tuple(one.name for one in fields),
        shape=main.grid.shape,
        extent=main.grid.bounds,
        counts=counts,
    )


def _dwell(kind: Kind, usual_s: float) -> Parameter:
    low, high = kind.limits.dwell_s
    usual_s = min(max(usual_s, low), high)
    return Parameter("dwell_s", "s", usual_s, low, high, "time of one measurement")


def _require_unit(field: Field, need: str, units: str, origin: str) -> None:
    """Refuse a map whose unit is another: a modulus in GPa would be wrong by 1e9."""
    said = field.stored.units
    if _plain(said) != _plain(units):
        raise BadFile(
            f"{origin} takes the map {need!r} in {units or 'no unit'}, and the array "
            f"{field.name!r} is in {said or 'no unit'}. Store it in that unit, or name "
            "another array."
        )


def _plain(units: str) -> str:
    """Return a unit without what writers differ in.

    >>> _plain("J/m²") == _plain("J/m^2"), _plain("V m") == _plain("V·m")
    (True, True)
    """
    swaps = {"²": "2", "³": "3", "^": "", " ": "", "·": "", "*": "", "µ": "u", "μ": "u"}
    return "".join(swaps.get(letter, letter) for letter in units.strip())


def _computed(sample: Sample, kind: Kind, one: Stated) -> Computed:
    model, origin = one.model, f"[modes.{one.name}]"
    fields = {}
    known_maps = {**model.may, **model.needs}
    if not model.needs and not one.maps:
        raise BadFile(
            f"{origin} names no map; it takes one or more of {', '.join(model.may)}."
        )
    for need in (*model.needs, *(m for m in model.may if m in one.maps)):
        array = one.maps.get(need, need)
        if array not in (f.name for f in sample.fields):
            raise BadFile(
                f"{origin} needs the map {need!r} ({known_maps[need]}), and the file "
                f"has no array {array!r}. Name it: maps = {{ {need} = 'its name' }}."
            )
        fields[need] = sample.field(array)
        _require_unit(fields[need], need, known_maps[need], origin)
        if fields[need].shape:
            raise BadFile(
                f"{origin} takes {array!r} for the map {need!r}, but it holds a "
                "spectrum at every pixel; a map has one value."
            )
    for name in one.maps:
        if name not in known_maps:
            raise unknown(f"map of {origin}", name, known_maps, "See the model.")
    stated = checks.parameters(origin, one.parameters, model.parameters)
    parameters = tuple(
        replace(p, default=stated.get(p.name, p.default)) for p in model.parameters
    )
    grid = even_grid(sample, one.shape)
    spec = Mode(
        name=one.name,
        quantity=model.quantity,
        units=model.units,
        dtype=str(model.dtype),
        axes=model.axes({p.name: p.default for p in parameters}),
        dwell_s=_dwell(kind, model.dwell_s if one.dwell_s is None else one.dwell_s),
        channels=(one.name,),
        parameters=parameters,
        shape=grid.shape,
        extent=grid.bounds,
        counts=model.counts,
    )
    scale = 1.0
    if model.counts:
        flux = next((p.default for p in kind.settings if p.name == kind.flux), 0.0)
        scale = spec.dwell_s.default / model.dwell_s
        scale *= flux / model.flux if model.flux and flux else 1.0
    return Computed(one.name, model, fields, grid, spec, scale)
