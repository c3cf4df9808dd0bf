"""How much dose the specimen may get: in all, and at any one place.

The budgets are those of `describe().limits`. An operation that would go beyond one is
refused before it begins, so that nothing has changed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import DoseRefused, SpotSpent
from aemtwin.instruments.effects.damage import DoseField
from aemtwin.instruments.paths import Path
from aemtwin.specs import InstrumentSpec

Array = NDArray[np.float64]
FEW = 64  # readings of a trace of which each has the width of the probe
SLACK = 1e-9  # of a budget: sums of many doses round


class Budget:
    """What is left of the dose that the specimen may get."""

    def __init__(self, spec: InstrumentSpec) -> None:
        self._spec, self._limits = spec, spec.limits
        self.on = self._limits.dose is not None or self._limits.dose_per_m2 is not None
        self.start()

    def start(self) -> None:
        """Have given nothing so far."""
        self._field: DoseField | None = None
        if self._limits.dose_per_m2 is not None:
            self._field = DoseField(self._spec.bounds)

    def digest(self) -> str:
        """Return what tells one state from another; "" without a local budget."""
        return "" if self._field is None else self._field.digest()

    def add(self, path: Path, dose: float) -> None:
        """Count `dose` in all, spread evenly along a path."""
        if self._field is not None:
            leave(self._field, path, None, dose / len(path))

    def require(self, call: str, path: Path, dose: float, so_far: float) -> None:
        """Refuse `dose` more along a path where that is beyond a budget.

        Raises:
            DoseRefused: If it is beyond that of the whole specimen.
            SpotSpent: If it is beyond that of a place.
        """
        units, limits = self._spec.dose_units, self._limits
        if limits.dose is not None and so_far + dose > limits.dose * (1 + SLACK):
            raise DoseRefused(
                f"{call} would add {dose:.4g} {units} to {so_far:.4g}, and the budget "
                f"of the specimen is {limits.dose:.4g}. Measure for a shorter time, or "
                "raise limits.dose in twin.toml."
            )
        if self._field is None or limits.dose_per_m2 is None:
            return
        after = self._field.copy()
        leave(after, path, None, dose / len(path))
        most = float(np.max(after.at(path.points)))
        if most > limits.dose_per_m2 * (1 + SLACK):
            raise SpotSpent(
                f"{call} would bring {most:.4g} {units}/m2 to a place of which the "
                f"budget is {limits.dose_per_m2:.4g}. Go elsewhere, measure for a "
                "shorter time, or raise limits.dose_per_m2 in twin.toml."
            )


def leave(field: DoseField, path: Path, off: Array | None, each: float) -> None:
    """Leave dose along a path: each pixel of a frame over its area, else on the spot.

    So the dose per area of a frame does not depend on the cells of the field. A frame
    that is bent on its way is moved as a whole by the mean of what it is off.

    Args:
        field: Where it is counted.
        path: Of the operation.
        off: How far off its commanded place each reading is, (k, 2), metres; or None.
        each: The dose of one reading.
    """
    width, height = path.pixel_m
    where = path.points if off is None else path.points + off
    if not (width and height):
        few = len(where) <= FEW  # of many the cells alone must do
        field.add(where, each, path.spot_m if few else 0.0)
    elif path.turned:
        field.add(where, each, float(np.sqrt(width * height)), "box")
    else:
        middle, half = np.mean(where, axis=0), np.array([width, height]) / 2.0
        half = half * path.shape[::-1]
        (x, y), (dx, dy) = middle.tolist(), half.tolist()
        region = ((x - dx, x + dx), (y - dy, y + dy))
        field.add_frame(region, each * len(path))
