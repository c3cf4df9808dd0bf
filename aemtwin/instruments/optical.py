"""Light on a specimen: a Raman microscope, an AFM in infrared light, an AFM with Raman.

Where photons are counted, dose is the energy that came down, and counts are in
proportion to the laser's power. The AFM in infrared light reads the thermal expansion
with its tip, so its dose is time, as an AFM's. Times and powers are typical ones.
"""

from __future__ import annotations

from aemtwin.instruments.kinds import POWER, Kind, moving
from aemtwin.specs import Limits, Parameter

_LIMITS = Limits(dwell_s=(1e-6, 3600.0), points=2**24)
_LASER = Parameter(POWER, "W", 1e-3, 1e-7, 0.1, "power of the laser on the specimen")

RAMAN = Kind(
    name="raman",
    spot_dwell_s=1.0,
    pixel_dwell_s=1e-2,
    line_overhead_s=0.1,
    settings=(*moving(1e-4, 0.05, "the stage"), _LASER),
    limits=_LIMITS,
    dose_units="J",
    spot_m=4e-7,
)
AFM_IR = Kind(
    name="afm_ir",
    spot_dwell_s=2.0,
    pixel_dwell_s=2e-3,
    line_overhead_s=0.1,
    settings=moving(2e-6, 0.05, "the tip"),
    limits=_LIMITS,
    spot_m=2e-8,
)
AFM_RAMAN = Kind(
    name="afm_raman",
    spot_dwell_s=1.0,
    pixel_dwell_s=2e-3,
    line_overhead_s=0.1,
    settings=(*moving(2e-6, 0.05, "tip and spot"), _LASER),
    limits=_LIMITS,
    dose_units="J",
    spot_m=4e-7,
)
