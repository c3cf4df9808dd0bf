"""Effects on the specimen and on what is seen of it: focus, domains, damage.

The laws are pure functions of `optics`, `writing` and `damage` of this room.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile
from aemtwin.instruments.budget import leave
from aemtwin.instruments.effects import damage, optics, writing
from aemtwin.instruments.effects.base import Effect, Scene, Shot, hashed, number, table
from aemtwin.sample import Field, Sample
from aemtwin.specs import Channel, Mode, Parameter, Pulse

Array = NDArray[np.float64]
Domain = tuple[float, float, float, float]
"""Middle x and y, radius, metres, and sign of what was written."""

WALLS = 5.0  # half widths of a wall, beyond which nothing of it is left
FOCUS: Mapping[str, tuple[str, float, str]] = {
    "defocus_m": ("C10", 5e-6, "defocus, C10; positive: overfocus"),
    "astigmatism_a_m": ("C12a", 1e-6, "twofold astigmatism along the axes, C12a"),
    "astigmatism_b_m": ("C12b", 1e-6, "twofold astigmatism between them, C12b"),
    "coma_a_m": ("C21a", 1e-5, "axial coma along x, C21a"),
    "coma_b_m": ("C21b", 1e-5, "axial coma along y, C21b"),
    "spherical_m": ("C30", 1e-2, "spherical aberration, C30"),
}
"""Setting -> aberration, largest value and what it is."""

TURN = -1.4  # rad: directions from here on, half a turn, are those of one polarity
NODES = 9  # along each side, of the places that a spectrum is gathered from


def focus(
    settings: Mapping[str, float], unknown: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Return the aberrations, metres by name, that the settings make."""
    found = dict(unknown or {})
    for setting, (name, _, _) in FOCUS.items():
        found[name] = found.get(name, 0.0) + settings.get(setting, 0.0)
    return {name: value for name, value in found.items() if value}


def focusing(usual: Mapping[str, float]) -> tuple[Parameter, ...]:
    """Return the settings of the lenses with these usual values."""
    return tuple(
        Parameter(setting, "m", usual.get(setting, 0.0), -most, most, doc)
        for setting, (_, most, doc) in FOCUS.items()
    )


@dataclass
class Optics(Effect):
    """A probe of finite size: aberrations and source blur image and spectra alike.

    Aberrations are settings: `configure(defocus_m=...)`. What the instrument has of its
    own, unknown to its user, is added to them: the best image is where both cancel.
    """

    name: ClassVar[str] = "optics"
    says: ClassVar[str] = "The probe is blurred by aberrations, aperture and source."
    source: ClassVar[str] = "Krivanek, Dellby and Lupini (1999)"
    kinds: ClassVar[tuple[str, ...]] = ("stem",)

    energy_ev: float = number(200e3, "eV", "of the electrons", 1e3, 3e6)
    convergence_rad: float = number(0.025, "rad", "half angle of it", 1e-4, 0.2)
    source_m: float = number(8e-11, "m", "full width of the source's image", 0.0, 1e-7)
    defocus_m: float = number(0.0, "m", "C10 that is not told", -5e-6, 5e-6)
    astigmatism_a_m: float = number(0.0, "m", "C12a that is not told", -1e-6, 1e-6)
    astigmatism_b_m: float = number(0.0, "m", "C12b that is not told", -1e-6, 1e-6)
    spherical_m: float = number(0.0, "m", "C30 that is not told", -1e-2, 1e-2)

    def start(self, scene: Scene) -> None:
        self._kept: tuple[Any, Array, float] | None = None

    def settings(self) -> tuple[Parameter, ...]:
        return focusing({})

    def stamp(self, time_s: float, settings: Mapping[str, float]) -> Any:
        own = {
            "C10": self.defocus_m,
            "C12a": self.astigmatism_a_m,
            "C12b": self.astigmatism_b_m,
            "C30": self.spherical_m,
        }
        return tuple(sorted(focus(settings, own).items()))

    def seen(self, field: Field, image: Array, stamp: Any) -> Array:
        if not all(field.grid.pixel):
            return image
        spread, fine_m = self._spread(stamp)
        return optics.blur(image, optics.binned(spread, fine_m, field.grid.pixel))

    def spread(self, settings: Mapping[str, float]) -> tuple[Array, Array] | None:
        spread, fine_m = self._spread(self.stamp(0.0, settings))
        radius = max(2.5 * optics.rms_radius(spread, fine_m), fine_m)
        step = 2.0 * radius / (NODES - 1)
        coarse = optics.binned(spread, fine_m, (step, step))
        half = len(coarse) // 2
        y, x = np.meshgrid(
            *[(np.arange(n) - n // 2) * step for n in coarse.shape], indexing="ij"
        )
        near = (np.abs(x) <= NODES * step) & (np.abs(y) <= NODES * step)
        keep = near & (coarse > 1e-3 * coarse.max())
        weights = coarse[keep] / coarse[keep].sum()
        assert half >= 0
        return np.column_stack([x[keep], y[keep]]), weights

    def _spread(self, stamp: Any) -> tuple[Array, float]:
        if self._kept is None or self._kept[0] != stamp:
            aberrations = dict(stamp)
            about = (self.energy_ev, self.convergence_rad, aberrations)
            n, fine_m = optics.raster(*about, self.source_m)
            spread = optics.point_spread(n, fine_m, *about, self.source_m)
            self._kept = stamp, spread, fine_m
        return self._kept[1], self._kept[2]


@dataclass
class Writing(Effect):
    """A voltage on the tip writes a domain, which the next frame shows.

    Positive bias writes one polarity and negative bias the other, whatever was there.
    The recorded phase tells which polarity the specimen has where nothing was written:
    where that changes, phase turns by half a turn, and amplitude dips at the new wall.
    """

    name: ClassVar[str] = "writing"
    says: ClassVar[str] = "A voltage pulse writes a domain; the next frame shows it."
    source: ClassVar[str] = "Rodriguez et al. (2005)"
    kinds: ClassVar[tuple[str, ...]] = ("afm", "afm_raman", "afm_ir")

    threshold_v: float = number(3.0, "V", "bias that switches nothing yet", 0.0, 100.0)
    metres_per_volt: float = number(8e-9, "m/V", "growth for a factor e in time", 0, 1)
    onset_s: float = number(0.01, "s", "when growth begins", 1e-9, 1e3)
    wall_m: float = number(1e-8, "m", "half width of a domain's wall", 1e-10, 1e-6)
    bias_v: float = number(10.0, "V", "usual bias of a pulse", -100.0, 100.0)
    most_v: float = number(20.0, "V", "largest bias of a pulse", 1e-3, 1e3)

    def __post_init__(self) -> None:
        if abs(self.bias_v) > self.most_v:
            raise BadFile(
                f"The effect writing has bias_v = {self.bias_v:g} V, and its pulses "
                f"take up to most_v = {self.most_v:g} V. Raise most_v or lower bias_v."
            )

    def start(self, scene: Scene) -> None:
        self._kinds = {f.name: _piezo(f) for f in scene.sample.images}
        phases = [f for f in scene.sample.images if self._kinds[f.name] == "phase"]
        self._phase = phases[0] if phases else None
        self._axis = 0.0
        if phases:  # the two polarities are half a turn apart, about this direction
            angles = np.radians(phases[0].image.astype(np.float64))
            self._axis = 0.5 * float(np.angle(np.nanmean(np.exp(2j * angles))))
            if self._axis < TURN:  # of +90 and -90 degrees the first is positive
                self._axis += np.pi
        self._domains: list[Domain] = []

    def digest(self) -> str:
        return hashed(self._domains)

    def idle(self, scene: Scene) -> str:
        if self.pulses(scene.sample):
            return ""
        return "no channel is the amplitude or the phase of a piezoresponse"

    def pulses(self, sample: Sample) -> tuple[Pulse, ...]:
        if not any(_piezo(image) for image in sample.images):
            return ()
        return (
            Pulse(
                "bias",
                "a voltage on the tip: it writes a domain where it is above threshold",
                Parameter("dwell_s", "s", 0.5, 1e-6, 3600.0, "time of the pulse"),
                (
                    Parameter(
                        "bias_v",
                        "V",
                        self.bias_v,
                        -self.most_v,
                        self.most_v,
                        "of the tip",
                    ),
                ),
            ),
        )

    def arriving(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        kind = self._kinds.get(what.name, "")
        if not kind or not self._domains:
            return values
        recorded, now = self.polarity(shot.where)
        if kind == "phase":
            return writing.piezo_phase(values, recorded * now)
        return writing.piezo_amplitude(values, recorded * now)

    def polarity(self, points: Array) -> tuple[Array, Array]:
        """Return the polarity at points (k, 2): as recorded, 1 or -1, and now."""
        recorded = np.ones(len(points))
        if self._phase is not None:
            phase = np.radians(self._phase.at(points).astype(np.float64))
            recorded = np.where(np.cos(phase - self._axis) < 0, -1.0, 1.0)
        now = recorded
        for x, y, radius, sign in self._domains:
            away = np.hypot(points[:, 0] - x, points[:, 1] - y)
            now = writing.stamped(now, away, radius, sign, self.wall_m)
        return recorded, now

    def done(self, shot: Shot) -> None:
        if shot.call != "pulse" or shot.arguments.get("name") != "bias":
            return
        bias = float(shot.arguments["bias_v"])
        radius = writing.domain_radius(
            bias,
            shot.dwell_s * shot.share,
            self.threshold_v,
            metres_per_volt=self.metres_per_volt,
            onset_s=self.onset_s,
        )
        if radius > 0:
            x, y = shot.where[0].tolist()
            older = [d for d in self._domains if not self._covers((x, y, radius), d)]
            self._domains = [*older, (x, y, radius, 1.0 if bias > 0 else -1.0)]

    def _covers(self, new: tuple[float, float, float], old: Domain) -> bool:
        """Say whether nothing of an older domain is left to be seen, its wall too."""
        away = math.hypot(new[0] - old[0], new[1] - old[1])
        return away + old[2] + WALLS * self.wall_m <= new[2] - WALLS * self.wall_m


def _piezo(field: Field) -> str:
    """Say whether a channel is the amplitude or the phase of a piezoresponse; or ""."""
    said = f"{field.stored.quantity} {field.name} {field.stored.modality}".lower()
    if not any(word in said for word in ("pfm", "piezo")):
        return ""
    if "phase" in said and field.stored.units.strip().lower() in ("deg", "degree", "°"):
        return "phase"
    return "amplitude" if "amplitude" in said else ""


@dataclass
class Damage(Effect):
    """The dose changes the specimen: signals fade as exp(-dose / critical dose).

    Every operation leaves its dose where the probe truly was; what is read later there
    is less, and within one exposure the mean is read.
    """

    name: ClassVar[str] = "damage"
    says: ClassVar[str] = "Signals fade with the dose that a place has had."
    source: ClassVar[str] = "Egerton, Li and Malac (2004)"

    critical: Mapping[str, float] = table(
        "dose/m2", "dose per area after which 1/e is left, of arrays by name"
    )
    share: float = number(1.0, "", "of the signal that fades", 0.0, 1.0)
    low: float = number(
        -1e300, "", "spectra fade from here on along their axis", -1e300, 1e300
    )
    high: float = number(1e300, "", "up to here", -1e300, 1e300)

    def start(self, scene: Scene) -> None:
        from aemtwin.instruments.effects.readings import known

        known(self.name, self.critical, scene)
        self._field = damage.DoseField(scene.spec.bounds)

    def digest(self) -> str:
        return self._field.digest()

    def arriving(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        critical = self.critical.get(what.name, 0.0)
        if not critical:
            return values
        added = shot.dose / shot.path.area_m2(self._field.cell_m2)
        left = damage.faded(self._field.at(shot.where), added, critical)
        left = 1.0 - self.share * (1.0 - left)
        left = left.reshape(-1, *[1] * (values.ndim - 1))
        if isinstance(what, Mode) and len(what.axes) == 1:
            along = what.axes[0].values
            left = np.where((along >= self.low) & (along <= self.high), left, 1.0)
        return np.asarray(values * left)

    def done(self, shot: Shot) -> None:
        if shot.dose > 0:
            leave(self._field, shot.path, shot.off, shot.dose * shot.share)
