"""A gate: measurements that are too bad to be learned from, told by a number of each.

The number is that of any scalarizer, such as `snr`, and the gate says where it may lie.
What does not pass is kept and marked, its spot counts as measured, and nothing is
learned from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aemtwin.errors import BadConfig
from aemtwin.measurement import Measurement
from aemtwin.scalarizers import Scalarizer, get
from aemtwin.sections import GateConfig


@dataclass(frozen=True)
class Gate:
    """What a measurement must be worth.

    Attributes:
        quality: What is asked of a measurement.
        low: The least that passes.
        high: The most that passes.
    """

    quality: Scalarizer
    low: float = -math.inf
    high: float = math.inf

    def refuses(self, measurement: Measurement) -> str:
        """Return why a measurement does not pass, in a sentence; "" where it does."""
        value = self.quality(measurement)
        if self.low <= value <= self.high:
            return ""
        units = self.quality.units(measurement)
        told = f"{self.quality.name} = {value:.4g} {units}".strip()
        if math.isnan(value):
            return f"its {self.quality.name} is not a number, so nothing is learned"
        limit = f"below {self.low:g}" if value < self.low else f"above {self.high:g}"
        return f"{told} is {limit}, so nothing is learned from it"


def gate_of(said: GateConfig | None) -> Gate | None:
    """Return the gate that a configuration describes; None without one.

    Raises:
        BadConfig: If its quality is learned from measurements, as `pca` is.
    """
    if said is None:
        return None
    quality = get(said.quality.name, **said.quality.params)
    if quality.learns:
        raise BadConfig(
            f"The gate got quality = {quality.name}, which is learned from what was "
            "measured, the bad with the good. Choose one that is not, such as snr."
        )
    low = -math.inf if said.low is None else said.low
    return Gate(quality, low, math.inf if said.high is None else said.high)
