"""Effects of where the probe is: drift, creep, wandering, and what the scanner does.

Each gives how far the probe is from where it was sent, at the time of every reading, so
that a slow frame is bent. The laws are pure functions of
`aemtwin.instruments.effects.scanner`. An instrument without a sensor at its tip does
not know of these: a `Measurement` tells where the probe was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects import scanner
from aemtwin.instruments.effects.base import Effect, Scene, Shot, hashed, number, pair

Array = NDArray[np.float64]
TIPS = ("afm", "stm", "afm_ir", "afm_raman")
STEPS = 64  # moves that creep goes on from: older ones stay as far as they came


@dataclass
class Drift(Effect):
    """The specimen moves evenly away under the probe."""

    name: ClassVar[str] = "drift"
    says: ClassVar[str] = "The probe drifts evenly over the specimen."
    source: ClassVar[str] = "velocity times time; a definition"

    velocity_m_s: tuple[float, float] = pair(
        (2e-11, 1e-11), "m/s", "velocity of the probe over the specimen", -1e-6, 1e-6
    )

    def displacement(self, shot: Shot) -> Array:
        return scanner.linear_drift(shot.path.times_s, np.array(self.velocity_m_s))


@dataclass
class Walk(Effect):
    """The probe wanders: a random walk without a direction."""

    name: ClassVar[str] = "walk"
    says: ClassVar[str] = "The probe wanders, as far as the root of the time."
    source: ClassVar[str] = (
        "Karatzas and Shreve (1991): a Wiener process, drawn at any times in any order"
    )

    sd_m: float = number(2e-11, "m", "standard deviation after one second", 0.0, 1e-6)

    def start(self, scene: Scene) -> None:
        self._seed = scene.seed

    def displacement(self, shot: Shot) -> Array:
        return scanner.random_walk(shot.path.times_s, self._seed, self.sd_m)


@dataclass
class Creep(Effect):
    """After every move the piezo goes on for a while in its direction.

    Of a frame or a trace the way to its first reading is one move, and the way from
    there to its last another, made at its end; its lines in between are left out.
    """

    name: ClassVar[str] = "creep"
    says: ClassVar[str] = "After a move the piezo creeps on: share * ln(1 + t / onset)."
    source: ClassVar[str] = "Vieira (1986)"
    kinds: ClassVar[tuple[str, ...]] = TIPS

    share: float = number(0.005, "", "of a move, for each factor e in time", 0.0, 0.5)
    onset_s: float = number(0.1, "s", "when creep begins after a move", 1e-6, 1e4)

    def start(self, scene: Scene) -> None:
        self._at = np.mean(scene.spec.bounds, axis=1)
        self._times: list[float] = []
        self._steps: list[Array] = []
        self._ended = np.zeros(2)  # how far the moves came that creep no longer

    def digest(self) -> str:
        steps = [step.tolist() for step in self._steps]
        return hashed(self._at.tolist(), self._times, steps, self._ended.tolist())

    def displacement(self, shot: Shot) -> Array | None:
        times, steps = self._with_this(shot)
        if not times:
            return None
        return self._crept(shot.path.times_s, times, steps) + self._ended

    def done(self, shot: Shot) -> None:
        times, steps = self._with_this(shot)
        now = shot.path.times_s.max(keepdims=True)
        if len(shot.path) > 1:
            times = [*times, float(now[0]) + shot.dwell_s / 2.0]
            steps = [*steps, shot.path.last - _first(shot)]
        old = len(times) - STEPS
        if old > 0:
            self._ended = self._ended + self._crept(now, times[:old], steps[:old])[0]
        self._times, self._steps = times[-STEPS:], steps[-STEPS:]
        self._at = shot.path.last

    def _crept(self, at_s: Array, times: list[float], steps: list[Array]) -> Array:
        about = np.array(times), np.array(steps), self.share, self.onset_s
        return scanner.creep(at_s, *about)

    def _with_this(self, shot: Shot) -> tuple[list[float], list[Array]]:
        """Return the moves so far with that to where this operation begins."""
        first = shot.path.last if len(shot.path) == 1 else _first(shot)
        step = first - self._at
        if not step.any():
            return self._times, self._steps
        there_s = float(shot.path.times_s.min()) - shot.dwell_s / 2.0
        return [*self._times, there_s], [*self._steps, step]


@dataclass
class Hysteresis(Effect):
    """A scanner without a sensor: forward and backward lines are bent apart."""

    name: ClassVar[str] = "hysteresis"
    says: ClassVar[str] = "Forward and backward lines disagree in their middle."
    source: ClassVar[str] = "Rayleigh's law of a loop between two turning points"
    kinds: ClassVar[tuple[str, ...]] = TIPS

    share: float = number(0.03, "", "of the length of a line, at its middle", 0.0, 0.2)

    def displacement(self, shot: Shot) -> Array | None:
        if shot.call != "scan" or shot.path.lines[1] < 2:
            return None
        lines = shot.path.in_time(shot.path.points)  # (rows, columns, 2)
        way = lines[:, -1] - lines[:, 0]
        length = float(np.linalg.norm(way[0]))
        if length == 0.0:
            return None
        ahead = way[0] / length
        along = (lines - lines[:, :1]) @ ahead
        off = scanner.line_hysteresis(np.clip(along, 0.0, length), length, self.share)
        return shot.path.as_data(off[..., None] * ahead)


@dataclass
class Flyback(Effect):
    """After the flight back to the next line the scanner is still behind."""

    name: ClassVar[str] = "flyback"
    says: ClassVar[str] = "The first pixels of a line come before the scanner arrives."
    source: ClassVar[str] = (
        "exponential relaxation of a first-order scanner; a definition"
    )

    tau_s: float = number(3e-4, "s", "time constant of the scanner", 1e-9, 10.0)

    def displacement(self, shot: Shot) -> Array | None:
        lines = shot.path.in_time(shot.path.points)
        if shot.call != "scan" or len(lines) < 2:
            return None
        times = shot.path.in_time(shot.path.times_s)
        since = times[1:] - (times[:-1, -1:] + shot.dwell_s / 2)
        step = np.broadcast_to(
            (lines[1:, 0] - lines[:-1, -1])[:, None], lines[1:].shape
        )
        off = np.zeros(lines.shape)
        behind = scanner.flyback_lag(since.ravel(), step.reshape(-1, 2), self.tau_s)
        off[1:] = behind.reshape(step.shape)
        return shot.path.as_data(off)


@dataclass
class Jitter(Effect):
    """The mains shake the probe at 50 or 60 Hz."""

    name: ClassVar[str] = "jitter"
    says: ClassVar[str] = "The mains shake the probe: lines are shifted or wavy."
    source: ClassVar[str] = "a sine at the frequency of the mains; a definition"

    amplitude_m: tuple[float, float] = pair(
        (5e-11, 5e-11), "m", "amplitude along x and y", -1e-6, 1e-6
    )
    frequency_hz: float = number(50.0, "Hz", "of the mains", 1e-3, 1e5)
    phase_rad: float = number(0.0, "rad", "at time zero", -10.0, 10.0)

    def displacement(self, shot: Shot) -> Array:
        return scanner.hum(
            shot.path.times_s,
            np.array(self.amplitude_m),
            self.frequency_hz,
            self.phase_rad,
        )


def _first(shot: Shot) -> Array:
    first: Array = shot.path.in_time(shot.path.points)[0, 0]
    return first
