"""The scanning transmission electron microscope: a beam, moved in microseconds.

What is here lets a recorded spectrum image be served: positions, times and limits. Beam
current, counts and dose follow from physics that a recording of counts does not carry.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import SETTLE, SPEED, Kind
from aemtwin.specs import Limits, Parameter

STEM = Kind(
    name="stem",
    spot_dwell_s=0.1,
    pixel_dwell_s=1e-5,
    line_overhead_s=1e-3,
    settings=(
        Parameter(SPEED, "m/s", 1e-3, 1e-9, 1.0, "speed of the beam between spots"),
        Parameter(SETTLE, "s", 1e-4, 0.0, 60.0, "wait after a move"),
    ),
    limits=Limits(dwell_s=(1e-8, 3600.0), points=2**24),
)
