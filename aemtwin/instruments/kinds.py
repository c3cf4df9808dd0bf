"""What one kind of instrument has that another has not: names, times and limits.

`afm`, `stem`, `stm` and `optical` of this folder fill one in each; `twin` is the same
for all. Settings that belong to an effect or to a mode come with it, not with the kind:
an instrument has no focus where nothing would be blurred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aemtwin.specs import Limits, Parameter, Pulse

SPEED = "speed_m_s"
SETTLE = "settle_s"
CURRENT = "current_A"  # of the beam
POWER = "power_W"  # of the laser
ELECTRON_C = 1.602176634e-19  # charge of an electron, exact since 2019
FLUX: Mapping[str, float] = {CURRENT: ELECTRON_C, POWER: 1.0}
"""Settings that counts and dose are in proportion to -> what one unit of dose takes."""


@dataclass(frozen=True)
class Kind:
    """The constants of one kind of instrument."""

    name: str
    spot_dwell_s: float  # the usual time of one spectrum or loop
    pixel_dwell_s: float  # the usual time of one pixel of a frame
    line_overhead_s: float  # turning round at the end of a line
    settings: tuple[Parameter, ...]  # speed_m_s and settle_s are what moving costs
    limits: Limits
    dose_units: str = "s"  # the time on the specimen; or "electrons", or "J"
    pulses: tuple[Pulse, ...] = ()
    spot_m: float = 1e-8  # standard deviation of what a probe at rest doses

    @property
    def flux(self) -> str:
        """The setting that dose is in proportion to; "" where that is time alone."""
        names = [p.name for p in self.settings if p.name in FLUX]
        return names[0] if names and self.dose_units != "s" else ""


def moving(speed_m_s: float, settle_s: float, what: str) -> tuple[Parameter, ...]:
    """Return the settings that every kind has: what it costs to go somewhere."""
    return (
        Parameter(SPEED, "m/s", speed_m_s, 1e-9, 1.0, f"speed of {what} between spots"),
        Parameter(SETTLE, "s", settle_s, 0.0, 60.0, "wait after a move"),
    )
