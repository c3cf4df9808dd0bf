"""Effects of what touches or lights up the specimen: a blunt tip that wears and breaks.

The shapes are pure functions of `aemtwin.instruments.effects.tip`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import TipCrashed
from aemtwin.instruments.effects import tip
from aemtwin.instruments.effects.base import Effect, Scene, Shot, hashed, number, pair
from aemtwin.instruments.effects.motion import TIPS
from aemtwin.sample import Field, Sample
from aemtwin.specs import METRES

Array = NDArray[np.float64]
HEIGHTS = ("height", "topograph", "z sensor", "zsensor")

Shape = tuple[float, float, float, float]
"""Radius, offset of a second apex along x and y, how much higher it ends: metres."""


def is_height(field: Field) -> bool:
    """Say whether a channel is a height in a unit of length: what a tip dilates."""
    said = f"{field.stored.quantity} {field.name}".replace("_", " ").lower()
    length = field.stored.units.strip().lower() in METRES
    return length and any(word in said for word in HEIGHTS)


@dataclass
class Tip(Effect):
    """A parabolic tip, perhaps a double one, that wears, changes and crashes.

    Heights are dilated by it, in metres; any other channel shows what is at the point
    of contact.
    """

    name: ClassVar[str] = "tip"
    says: ClassVar[str] = "A blunt or double tip widens what it images; it may change."
    source: ClassVar[str] = "Villarrubia (1997); Archard (1953)"
    kinds: ClassVar[tuple[str, ...]] = TIPS

    radius_m: float = number(1e-8, "m", "of the apex at time zero", 0.0, 1e-5)
    second_m: tuple[float, float] = pair(
        (0.0, 0.0),
        "m",
        "where a second apex stands; (0, 0): there is none",
        -1e-5,
        1e-5,
    )
    lower_m: float = number(0.0, "m", "how much higher the second apex ends", 0.0, 1e-5)
    wear_m2: float = number(0.0, "m2", "volume worn off a metre of sliding", 0.0, 1e-6)
    change: float = number(0.0, "", "chance that it changes in a frame or trace", 0, 1)
    crash: float = number(0.0, "", "chance that it crashes in an operation", 0.0, 1.0)

    def start(self, scene: Scene) -> None:
        self._shape: Shape = (self.radius_m, *self.second_m, self.lower_m)
        self._change: tuple[float, Shape] | None = None  # of the shot under way
        self._heights = _heights(scene.sample)
        self._contacts: dict[str, tuple[Shape, Any]] = {}

    def digest(self) -> str:
        return hashed(self._shape)

    def idle(self, scene: Scene) -> str:
        if self.crash or _heights(scene.sample):
            return ""
        return "no channel is a height in a unit of length"

    def fault(self, shot: Shot) -> None:
        if shot.call == "pulse" or not self.crash:
            return
        random = shot.random("tip/crash")
        if random.random() < self.crash:
            self._shape = (
                self._shape[0] * (2.0 + 3.0 * random.random()),
                0.0,
                0.0,
                0.0,
            )
            raise TipCrashed(
                f"{shot.call} ended in a crash of the tip, which is blunter now. Take "
                "a frame to see what it does to the image, and go on or change the tip."
            )

    def breaks(self, shot: Shot) -> tuple[float, ...]:
        self._change = None
        if shot.call not in ("scan", "trace") or not self.change:
            return ()
        random = shot.random("tip/change")
        if random.random() >= self.change:
            return ()
        times = shot.path.times_s
        at = float(times.min() + random.random() * np.ptp(times))
        radius = self._shape[0] * float(np.exp(random.normal(0.0, 0.5)))
        angle, away = random.uniform(0.0, 2 * np.pi), random.uniform(1.0, 4.0) * radius
        second = (away * np.cos(angle), away * np.sin(angle))
        self._change = at, (radius, *second, 0.1 * radius * random.random())
        return (at,)

    def stamp(self, time_s: float, settings: Mapping[str, float]) -> Shape:
        if self._change is not None and time_s >= self._change[0]:
            return self._change[1]
        return self._shape

    def seen(self, field: Field, image: Array, stamp: Any) -> Array:
        radius, x, y, lower = stamp
        if not radius:
            return image
        if is_height(field):
            metres = METRES[field.stored.units.strip().lower()]
            pixel = field.grid.pixel
            if not all(pixel):
                return image
            surface = image * metres
            if x or y:
                wide = tip.double(surface, radius, pixel, (x, y), lower)
            else:
                wide = tip.dilate(surface, radius, pixel)
            return wide / metres
        height = self._heights.get(field.grid.shape)
        if height is None or height.grid.bounds != field.grid.bounds:
            return image  # nobody knows where the tip touches
        return np.asarray(image[self._contact(height, stamp)])

    def done(self, shot: Shot) -> None:
        self.breaks(shot)  # of a frame that failed nobody asked
        end_s = float(shot.path.times_s.max()) + shot.dwell_s / 2.0
        reached_s = shot.begin_s + shot.share * (end_s - shot.begin_s)
        if self._change is not None and self._change[0] <= reached_s:
            self._shape = self._change[1]
        self._change = None
        if self.wear_m2 and shot.call in ("scan", "trace"):
            lines = shot.path.in_time(shot.path.points)
            slid = float(np.linalg.norm(np.diff(lines, axis=1), axis=2).sum())
            radius = tip.worn(self._shape[0], slid * shot.share, self.wear_m2)
            self._shape = (radius, *self._shape[1:])

    def _contact(self, height: Field, stamp: Shape) -> Any:
        kept = self._contacts.get(height.name)
        if kept is None or kept[0] != stamp:
            radius, x, y, lower = stamp
            metres = METRES[height.stored.units.strip().lower()]
            surface = height.image.astype(np.float64) * metres
            offset = (x, y) if x or y else None
            found = tip.contact(
                surface, radius, height.grid.pixel, offset_m=offset, lower_m=lower
            )
            kept = self._contacts[height.name] = stamp, found
        return kept[1]


def _heights(sample: Sample) -> dict[tuple[int, int], Field]:
    """Return the first height image of every raster."""
    found: dict[tuple[int, int], Field] = {}
    for field in sample.images:
        if is_height(field) and all(field.grid.pixel):
            found.setdefault(field.grid.shape, field)
    return found
