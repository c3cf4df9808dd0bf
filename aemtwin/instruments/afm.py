"""The atomic force microscope: a tip on a scanner, slow to move, one loop at a time.

The times are those of a piezo scanner in contact mode and a band-excitation loop of a
second: typical, not those of one maker. Change them by `configure` or in `twin.toml`.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import Kind, moving
from aemtwin.specs import Limits

AFM = Kind(
    name="afm",
    spot_dwell_s=1.0,
    pixel_dwell_s=1e-3,
    line_overhead_s=0.1,
    settings=moving(2e-6, 0.02, "the tip"),
    limits=Limits(dwell_s=(1e-6, 3600.0), points=2**24),
)
