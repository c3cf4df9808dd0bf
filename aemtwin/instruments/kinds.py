"""What one kind of instrument has that another has not: names, times and limits.

`aemtwin.instruments.afm` and `stem` fill one in each; `twin` is the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

from aemtwin.specs import Limits, Parameter, Pulse


@dataclass(frozen=True)
class Kind:
    """The constants of one kind of instrument."""

    name: str
    spot_dwell_s: float  # the usual time of one spectrum or loop
    pixel_dwell_s: float  # the usual time of one pixel of a frame
    line_overhead_s: float  # turning round at the end of a line
    settings: tuple[Parameter, ...]  # speed_m_s and settle_s are what moving costs
    limits: Limits
    dose_units: str = "s"  # "s": the time on the specimen; "electrons": what it got
    pulses: tuple[Pulse, ...] = ()


SPEED = "speed_m_s"
SETTLE = "settle_s"
CURRENT = "current_A"  # of the beam, where there is one; counts are in proportion
ELECTRON_C = 1.602176634e-19  # charge of an electron, exact since 2019
