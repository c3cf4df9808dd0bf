"""From a measurement to the number sought: loops, spectra, and scalarizers by name."""

from aemtwin.scalarizers.hysteresis import coercive_bias, imprint, loop_area, switching
from aemtwin.scalarizers.learned import Component, component_score, principal_component
from aemtwin.scalarizers.registry import Learner, Scalarizer, available, get
from aemtwin.scalarizers.spectra import (
    band_intensity,
    band_ratio,
    peak_position,
    peak_width,
)

__all__ = [
    "Component",
    "Learner",
    "Scalarizer",
    "available",
    "band_intensity",
    "band_ratio",
    "coercive_bias",
    "component_score",
    "get",
    "imprint",
    "loop_area",
    "peak_position",
    "peak_width",
    "principal_component",
    "switching",
]
