"""The atomic force microscope: a tip on a scanner, slow to move, one loop at a time.

The times are those of a piezo scanner in contact mode and a band-excitation loop of a
second: typical, not those of one maker. Change them by `configure` or in `twin.toml`.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import SETTLE, SPEED, Kind
from aemtwin.specs import Limits, Parameter

AFM = Kind(
    name="afm",
    spot_dwell_s=1.0,
    pixel_dwell_s=1e-3,
    line_overhead_s=0.1,
    settings=(
        Parameter(SPEED, "m/s", 2e-6, 1e-9, 1e-3, "speed of the tip between spots"),
        Parameter(SETTLE, "s", 0.02, 0.0, 60.0, "wait after a move"),
    ),
    limits=Limits(dwell_s=(1e-6, 3600.0), points=2**24),
)
