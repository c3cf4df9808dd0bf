"""The scanning tunnelling microscope: an AFM's scanner over a smaller field, quieter.

Bias and set point come with the modes that they change (`aemtwin.instruments.modes`).
The times are typical of a low-temperature instrument, not those of one maker.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import Kind, moving
from aemtwin.specs import Limits

STM = Kind(
    name="stm",
    spot_dwell_s=2.0,
    pixel_dwell_s=1e-3,
    line_overhead_s=0.05,
    settings=moving(50e-9, 0.1, "the tip"),
    limits=Limits(dwell_s=(1e-6, 3600.0), points=2**24),
    spot_m=5e-10,
)
