"""What a mode is to a twin: something that reads the specimen at points.

`Played` gives back what a file holds at every pixel. `Computed` reads maps of the
specimen's properties (a modulus, a composition) and works out what the instrument would
record there, so that a mode can have parameters. The physics is in pure functions of
`aemtwin.instruments.synthetic`; `afm`, `stem`, `stm` and `optical` of this folder join
them to maps, and `registry` knows them by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from aemtwin.sample import Field, Grid, Sample
from aemtwin.specs import Axis, Mode, Parameter

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """What a computed mode can see: maps of the specimen, where the probe is."""

    maps: Mapping[str, Field]
    points: Array  # (k, 2) metres
    settings: Mapping[str, float]

    def at(self, name: str) -> Array:
        """Return a map at the points, (k,), in its unit."""
        return self.maps[name].at(self.points).astype(np.float64)


class Model:
    """The physics of one computed mode; subclasses say what they need and give.

    A model is stateless: the same view and parameters give the same values.
    """

    name: ClassVar[str]
    says: ClassVar[str]  # one line for people
    kinds: ClassVar[tuple[str, ...]]  # of instruments that have it
    quantity: ClassVar[str]
    units: ClassVar[str]
    dtype: ClassVar[str] = "float32"
    counts: ClassVar[bool] = False  # values are expected counts
    flux: ClassVar[float] = 0.0  # current (A) or power (W) that counts are for; 0: any
    whole_probe: ClassVar[bool] = False  # it has the size of the probe in itself
    dwell_s: ClassVar[float] = 1.0  # usual time of one measurement
    needs: ClassVar[Mapping[str, str]]  # map -> its unit
    may: ClassVar[Mapping[str, str]] = {}  # maps that it takes where they are named
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    settings: ClassVar[tuple[Parameter, ...]] = ()  # what `configure` can change

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        """Return the axes of one measurement with these parameters."""
        raise NotImplementedError

    def require_settings(self, settings: Mapping[str, float]) -> None:
        """Refuse settings with which no measurement is possible, before they hold.

        Raises:
            OutOfRange: If there is none, whatever its place and parameters.
        """

    def require(
        self,
        maps: Mapping[str, Field],
        settings: Mapping[str, float],
        given: Mapping[str, float],
    ) -> None:
        """Refuse a measurement that is possible nowhere, before it is begun.

        Args:
            maps: Of the specimen, by the model's names.
            settings: Those in effect.
            given: The parameters of the measurement.

        Raises:
            OutOfRange: If these parameters and settings do not go together.
        """
        self.axes(given)  # parameters that describe no axis are refused there

    def values(self, view: View, given: Mapping[str, float]) -> NDArray[Any]:
        """Return what is recorded at every point of the view, (k, *spectral)."""
        raise NotImplementedError


class Reader(Protocol):
    """One mode of a twin."""

    @property
    def grid(self) -> Grid:
        """Where the truth is told if nobody says where."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """What is recorded together, the main one first; none where computed."""
        ...

    @property
    def whole_probe(self) -> bool:
        """Whether what is read has the size of the probe in it already."""
        ...

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        """Return the axes of one measurement with these parameters."""
        ...

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype in which an array is given."""
        ...

    def require_settings(self, settings: Mapping[str, float]) -> None:
        """Refuse settings with which this mode measures nothing."""
        ...

    def require(
        self, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> None:
        """Refuse parameters that do not go with the settings."""
        ...

    def read(
        self, points: Array, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> dict[str, NDArray[Any]]:
        """Return arrays (k, *spectral) by name, the main one first."""
        ...


@dataclass(frozen=True, eq=False)
class Played:
    """A mode that gives back what the file holds."""

    fields: tuple[Field, ...]
    whole_probe: bool = False

    @property
    def grid(self) -> Grid:
        return self.fields[0].grid

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        return self.fields[0].axes

    def dtype(self, name: str) -> np.dtype[Any]:
        return next(field.dtype for field in self.fields if field.name == name)

    def require_settings(self, settings: Mapping[str, float]) -> None:
        """Take any: what was recorded is there."""

    def require(
        self, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> None:
        """Take any, likewise."""

    def read(
        self, points: Array, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> dict[str, NDArray[Any]]:
        return {field.name: field.at(points) for field in self.fields}


@dataclass(frozen=True, eq=False)
class Computed:
    """A mode that works out from maps what would be recorded."""

    name: str
    model: Model
    maps: Mapping[str, Field]
    grid: Grid
    spec: Mode
    scale: float = 1.0  # counts at the usual dwell and flux over those of the model

    @property
    def fields(self) -> tuple[Field, ...]:
        return ()

    @property
    def whole_probe(self) -> bool:
        return self.model.whole_probe

    def axes(self, given: Mapping[str, float]) -> tuple[Axis, ...]:
        return self.model.axes(_known(self.spec, given))

    def dtype(self, name: str) -> np.dtype[Any]:
        return np.dtype(self.model.dtype)

    def require_settings(self, settings: Mapping[str, float]) -> None:
        self.model.require_settings(settings)

    def require(
        self, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> None:
        self.model.require(self.maps, settings, _known(self.spec, given))

    def read(
        self, points: Array, settings: Mapping[str, float], given: Mapping[str, float]
    ) -> dict[str, NDArray[Any]]:
        view = View(self.maps, points, settings)
        values = self.model.values(view, _known(self.spec, given))
        return {self.name: values if self.scale == 1.0 else values * self.scale}


def _known(spec: Mode, given: Mapping[str, float]) -> dict[str, float]:
    return {p.name: given.get(p.name, p.default) for p in spec.parameters}


def even_grid(sample: Sample, shape: tuple[int, int]) -> Grid:
    """Return a raster of that shape over the whole sample."""
    (x_low, x_high), (y_low, y_high) = sample.bounds
    rows, columns = shape
    return Grid(np.linspace(x_low, x_high, columns), np.linspace(y_low, y_high, rows))
