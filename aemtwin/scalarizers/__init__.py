"""From a measurement to the number sought: loops, spectra, and scalarizers by name."""

from aemtwin.scalarizers.hysteresis import coercive_bias, loop_area
from aemtwin.scalarizers.registry import Scalarizer, available, get, parse
from aemtwin.scalarizers.spectra import band_intensity, peak_position

__all__ = [
    "Scalarizer",
    "available",
    "band_intensity",
    "coercive_bias",
    "get",
    "loop_area",
    "parse",
    "peak_position",
]
