"""Effects of the electronics: feedback, flicker, mains, converters, and cosmic rays.

They act on readings in the order of time. The laws are pure functions of
`aemtwin.instruments.effects.feedback` and `electronics`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import BadFile, unknown
from aemtwin.instruments.effects import electronics, feedback
from aemtwin.instruments.effects.base import (
    Effect,
    Scene,
    Shot,
    number,
    table,
    whole,
)
from aemtwin.instruments.effects.motion import TIPS
from aemtwin.instruments.effects.probing import is_height
from aemtwin.instruments.synthetic import vibrations
from aemtwin.specs import METRES, Channel, Mode, Parameter

Array = NDArray[np.float64]
PROPORTIONAL, INTEGRAL = "proportional", "integral_hz"
MOST = 32  # updates of the loop a pixel


@dataclass
class Feedback(Effect):
    """Heights are what a PI loop makes of them: late on slopes, parachuting off edges.

    Its gains are settings: `configure(proportional=..., integral_hz=...)`.
    """

    name: ClassVar[str] = "feedback"
    says: ClassVar[str] = "Heights follow late: a PI loop with limited speed and error."
    source: ClassVar[str] = (
        "PI control; Sulchek et al. (2002) for the error that saturates"
    )
    kinds: ClassVar[tuple[str, ...]] = TIPS

    proportional: float = number(0.1, "", "usual proportional gain", 0.0, 1.0)
    integral_hz: float = number(1000.0, "Hz", "usual integral gain", 0.0, 1e5)
    slew_m_s: float = number(1e-4, "m/s", "how fast the scanner can lift", 1e-12, 1.0)
    free_m: float = number(2e-8, "m", "largest error off the surface", 1e-12, 1e-3)
    oversample: int = whole(4, "updates a pixel", 1, 64)

    def start(self, scene: Scene) -> None:
        fields = {f.name: f for f in scene.sample.images}
        self._heights = {n for n, f in fields.items() if is_height(f)}

    def idle(self, scene: Scene) -> str:
        if any(is_height(image) for image in scene.sample.images):
            return ""
        return "no channel is a height in a unit of length"

    def settings(self) -> tuple[Parameter, ...]:
        return (
            Parameter(
                PROPORTIONAL, "", self.proportional, 0.0, 1.0, "gain of the loop"
            ),
            Parameter(INTEGRAL, "Hz", self.integral_hz, 0.0, 1e6, "gain of the loop"),
        )

    def arriving(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        if what.name not in self._heights or len(shot.path) < 2:
            return values
        metres = METRES[what.units.strip().lower()]
        gain = shot.settings[INTEGRAL]
        updates = min(max(self.oversample, math.ceil(2 * gain * shot.dwell_s)), MOST)
        dt_s = shot.dwell_s / updates
        if gain:  # of a pixel that lasts for long, the loop has settled long before
            dt_s = min(dt_s, 0.5 / gain)
        z, _ = feedback.follow(
            shot.path.in_time(values.astype(np.float64)) * metres,
            dt_s,
            proportional=shot.settings[PROPORTIONAL],
            integral_hz=gain,
            slew_m_s=self.slew_m_s,
            free_m=self.free_m,
            oversample=updates,
        )
        return shot.path.as_data(z / metres)


@dataclass
class Flicker(Effect):
    """Readings wander slowly: noise whose power falls as 1/f."""

    name: ClassVar[str] = "flicker"
    says: ClassVar[str] = "Readings wander: 1/f noise, strong at low frequencies."
    source: ClassVar[str] = "Timmer and König (1995)"

    density: Mapping[str, float] = table(
        "units/√Hz", "amplitude density at 1 Hz of channels and modes by name"
    )
    exponent: float = number(1.0, "", "of the fall of power with frequency", 0.0, 2.0)

    def start(self, scene: Scene) -> None:
        known(self.name, self.density, scene)

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        density = self.density.get(what.name, 0.0)
        if not density or values.dtype.kind not in "iufc":
            return values
        steps = _readings(shot, values)
        dt_s = shot.dwell_s / steps.shape[-1] if not shot.path.shape else shot.dwell_s
        sd = density / np.sqrt(2.0 * dt_s)  # of white noise as dense, at 1 Hz
        random = shot.random(f"{self.name}/{what.name}")
        flicker = electronics.pink(random, steps.size, dt_s, sd, 1.0, self.exponent)
        return _as_readings(shot, steps + flicker.reshape(steps.shape), values)


@dataclass
class Pickup(Effect):
    """Readings carry the hum of the mains."""

    name: ClassVar[str] = "pickup"
    says: ClassVar[str] = "Readings carry the hum of the mains."
    source: ClassVar[str] = "a sine at the frequency of the mains; a definition"

    amplitude: Mapping[str, float] = table("units", "of channels and modes by name")
    frequency_hz: float = number(50.0, "Hz", "of the mains", 1e-3, 1e5)

    def start(self, scene: Scene) -> None:
        known(self.name, self.amplitude, scene)

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        amplitude = self.amplitude.get(what.name, 0.0)
        if not amplitude or values.dtype.kind not in "iufc":
            return values
        steps = _readings(shot, values)
        if shot.path.shape:
            times = shot.path.in_time(shot.path.times_s)
        else:  # a spectrum takes its dwell from end to end
            share = (np.arange(steps.shape[-1]) + 0.5) / steps.shape[-1] - 0.5
            times = shot.path.times_s[0] + share[None, :] * shot.dwell_s
        hum = electronics.hum(times.ravel(), amplitude, self.frequency_hz, 0.0)
        return _as_readings(shot, steps + hum.reshape(times.shape), values)


@dataclass
class Converter(Effect):
    """Amplifier and converter: readings have rails and steps."""

    name: ClassVar[str] = "converter"
    says: ClassVar[str] = "Readings end at the rails and come in steps of a converter."
    source: ClassVar[str] = "Bennett (1948)"

    high: Mapping[str, float] = table("units", "upper rail of arrays by name")
    low: Mapping[str, float] = table("units", "how far below zero the lower rail is")
    bits: int = whole(16, "of the converter", 1, 32)

    def start(self, scene: Scene) -> None:
        known(self.name, {**self.high, **self.low}, scene)
        for name in {**self.high, **self.low}:
            low = -self.low.get(name, 0.0)
            if name not in self.high or not self.high[name] > low:
                raise BadFile(
                    f"The effect converter has low = {dict(self.low)} and high = "
                    f"{dict(self.high)}; {name!r} needs an upper rail above its lower "
                    "one, which is at -low."
                )
        self._cut: dict[str, int] = {}

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        if what.name not in self.high or values.dtype.kind not in "iufc":
            return values
        high, low = self.high[what.name], -self.low.get(what.name, 0.0)
        wide = values.astype(np.result_type(values.dtype, np.float64))
        cut, beyond = electronics.saturate(wide, low, high)
        self._cut[what.name] = int(beyond.sum())
        return electronics.quantise(cut, low, high, self.bits)

    def notices(self, shot: Shot) -> list[str]:
        told = [
            f"saturated: {n} readings of {name!r} are cut at a rail"
            for name, n in self._cut.items()
            if n
        ]
        self._cut = {}
        return told


@dataclass
class Cosmics(Effect):
    """Cosmic rays put rare spikes on spectra that are counted, one channel wide.

    As many come in a second whatever the light does; images are left alone.
    """

    name: ClassVar[str] = "cosmics"
    says: ClassVar[str] = (
        "Cosmic rays: rare spikes, one channel wide, on counted spectra."
    )
    source: ClassVar[str] = "Poisson events in time; sizes and rate are choices"
    kinds: ClassVar[tuple[str, ...]] = ("raman", "afm_raman", "stem")

    rate_per_channel_s: float = number(
        5e-5, "1/s", "hits of one channel, independent of each other", 0.0, 1e3
    )
    height: float = number(1500.0, "counts", "mean of a spike", 0.0, 1e9)

    def idle(self, scene: Scene) -> str:
        if any(mode.counts for mode in scene.spec.modes):
            return ""
        return "no mode holds counts. Say which does, as counts={'eels': 'expected'}"

    def start(self, scene: Scene) -> None:
        self._counted = {mode.name for mode in scene.spec.modes if mode.counts}

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        if isinstance(what, Channel) or what.name not in self._counted:
            return values
        seen, hit = vibrations.cosmic_rays(
            shot.random(f"{self.name}/{what.name}"),
            values,
            self.rate_per_channel_s,
            shot.dwell_s,
            height=self.height,
        )
        return seen if hit.any() else values


def known(effect: str, tables: Mapping[str, Any], scene: Scene) -> None:
    """Refuse a name that is no channel and no mode."""
    spec = scene.spec
    names = [c.name for c in spec.channels] + [
        n for m in spec.modes for n in m.channels
    ]
    for name in tables:
        if name not in names:
            raise unknown(f"array of the effect {effect}", name, names, "See describe.")


def _readings(shot: Shot, values: NDArray[Any]) -> NDArray[Any]:
    """Return readings in the order of time, (lines, readings); a spectrum is a line."""
    if shot.path.shape:
        return shot.path.in_time(values)
    return values.reshape(1, -1)


def _as_readings(shot: Shot, steps: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    if shot.path.shape:
        return shot.path.as_data(steps)
    return steps.reshape(like.shape)
