"""The scanning transmission electron microscope: a beam, moved in microseconds.

What is here lets a spectrum image be served: positions, times, limits, the beam's
current and what it leaves: dose is counted in electrons. A recording of counts, if its
`twin.toml` says that it is one, is counted anew in proportion to current and dwell.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import CURRENT, Kind, moving
from aemtwin.specs import Limits, Parameter, Pulse

STEM = Kind(
    name="stem",
    spot_dwell_s=0.1,
    pixel_dwell_s=1e-5,
    line_overhead_s=1e-3,
    settings=(
        *moving(1e-3, 1e-4, "the beam"),
        Parameter(CURRENT, "A", 50e-12, 1e-13, 1e-8, "current of the beam"),
    ),
    limits=Limits(dwell_s=(1e-8, 3600.0), points=2**24),
    dose_units="electrons",
    spot_m=1e-10,
    pulses=(
        Pulse(
            "exposure",
            "the beam rests on the spot at the set current: dose, and no data",
            Parameter("dwell_s", "s", 0.1, 1e-8, 3600.0, "time of the exposure"),
        ),
    ),
)
