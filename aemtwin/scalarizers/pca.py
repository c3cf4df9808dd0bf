"""The scalarizer `pca`: from measurements to scores, learned again as a run goes on.

The arithmetic is in `aemtwin.scalarizers.learned`. This is also the example of a
scalarizer that learns: what `fit` takes and gives is `registry.Learner`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.arrays import require_real, spectrum_of
from aemtwin.scalarizers.learned import (
    Component,
    component_score,
    principal_component,
    require_component,
)


@dataclass(frozen=True)
class PCA:
    """The score on a principal component of all spectra measured so far.

    There is none before component + 1 spectra that differ; then earlier spectra get
    theirs too. A spectrum spoilt by a spike has a score, but teaches nothing. Only
    samples from low to high count; hysteresis loops serve as well.
    """

    def __call__(
        self,
        measurement: Measurement,
        component: int = 1,
        low: float | None = None,
        high: float | None = None,
    ) -> float:
        """Return NaN, as nothing is learned yet, for what could be learned from."""
        axis, _ = _samples(measurement, low, high)
        require_component("The scalarizer pca", component, axis.size)
        return float("nan")

    def fit(
        self,
        measurements: Sequence[Measurement],
        component: int = 1,
        low: float | None = None,
        high: float | None = None,
    ) -> Callable[[Measurement], float]:
        """Return what gives the scores as learned from these, NaN if they are too few.

        Raises:
            OutOfRange: If the band holds no sample, or too few for the component.
            ShapeMismatch: If a spectrum has several axes, or another length.
            WrongType: If one is complex, or not from `measure`.
        """
        found = [_samples(measurement, low, high) for measurement in measurements]
        lengths = sorted({axis.size for axis, _ in found})
        if len(lengths) > 1:
            raise ShapeMismatch(
                f"The scalarizer pca got spectra of {lengths[0]} and of {lengths[-1]} "
                "samples; it takes equal ones. Measure all in one mode."
            )
        learned = None
        if found:
            spectra = np.stack([values for _, values in found])
            learned = principal_component(found[0][0], spectra, component)
        if learned is None:
            return partial(self, component=component, low=low, high=high)
        return Learned(learned, low, high)


@dataclass(frozen=True, eq=False)
class Learned:
    """The scores on a component that was learned from samples between two edges."""

    component: Component
    low: float | None
    high: float | None

    def __call__(self, measurement: Measurement) -> float:
        """Return the score of a spectrum, in its unit."""
        _, values = _samples(measurement, self.low, self.high)
        return float(component_score(values, self.component))


def _samples(
    measurement: Measurement, low: float | None, high: float | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return axis and values of the samples that count; the axis may turn."""
    axis, values = spectrum_of("pca", measurement)
    require_real("The scalarizer pca", "the modulus", spectrum=values)
    first, last = np.min(axis), np.max(axis)
    low, high = first if low is None else low, last if high is None else high
    inside = (axis >= low) & (axis <= high)
    if not inside.any():
        raise OutOfRange(
            f"The scalarizer pca got the band {low:g} to {high:g}, which holds no "
            f"sample of the axis, {first:g} to {last:g} in its own unit. Move it there."
        )
    return axis[inside], values[inside]
