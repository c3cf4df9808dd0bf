"""What a diffraction pattern says in one number: where the beam went, and how much.

A pattern has two axes of angle, the last one along x. `aemtwin.scalarizers.built_in`
makes scalarizers of these functions; spectra have `aemtwin.scalarizers.spectra`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch, WrongType
from aemtwin.measurement import Measurement
from aemtwin.scalarizers.arrays import finite, quiet, require_real


@quiet
def centre_of_mass(
    angle_y: ArrayLike, angle_x: ArrayLike, pattern: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the intensity of patterns has its middle, along x and y.

    Behind a thin specimen that is the mean deflection of the beam, in proportion to
    the electric field across it.

    Args:
        angle_y: Of the rows, (r,), in a unit a.
        angle_x: Of the columns, (c,), in a.
        pattern: Intensity, (..., r, c), in any unit.

    Returns:
        x and y, (...) each, in a; NaN where nothing was counted or a value is not
        finite.

    Source:
        Müller et al. (2014), Nat. Commun. 5, 5653: Ehrenfest's theorem.

    >>> x, y = centre_of_mass([0.0, 1.0], [0.0, 1.0, 2.0], [[0, 0, 1], [0, 0, 1]])
    >>> float(x), float(y)
    (2.0, 0.5)
    """
    rows, columns, values = _patterns("centre_of_mass", angle_y, angle_x, pattern)
    total = values.sum(axis=(-2, -1))
    x = (values.sum(axis=-2) * columns).sum(axis=-1) / total
    y = (values.sum(axis=-1) * rows).sum(axis=-1) / total
    return finite(x), finite(y)


@quiet
def annular(
    angle_y: ArrayLike,
    angle_x: ArrayLike,
    pattern: ArrayLike,
    low: float | None = None,
    high: float | None = None,
) -> NDArray[np.float64]:
    """Return what falls on a ring of a camera: a virtual detector.

    Args:
        angle_y: Of the rows, (r,), in a unit a.
        angle_x: Of the columns, (c,), in a.
        pattern: Intensity, (..., r, c), in any unit u.
        low: Inner angle, included; None is the middle.
        high: Outer angle, included; None is the edge of the camera.

    Returns:
        Sum, (...), u; NaN where a value on the ring is not finite.

    >>> float(annular([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], np.ones((3, 3)), low=0.5))
    8.0
    """
    rows, columns, values = _patterns("annular", angle_y, angle_x, pattern)
    angle = np.hypot(rows[:, None], columns[None, :])
    ring = angle >= (0.0 if low is None else low)
    ring &= angle <= (np.inf if high is None else high)
    return finite(np.where(ring, values, 0.0).sum(axis=(-2, -1)))


def pattern_of(name: str, measurement: Measurement) -> tuple[Any, Any, Any]:
    """Return the angles of rows and columns and the main array of a measurement.

    Args:
        name: The scalarizer that asks, for the message.
        measurement: A pattern at one spot, from `measure`.

    Raises:
        WrongType: If it is a frame or a trace.
        ShapeMismatch: If it has not two axes.
    """
    if measurement.call != "measure":
        raise WrongType(
            f"The scalarizer {name} got the result of {measurement.call!r}; it takes "
            "that of 'measure', a diffraction pattern at one spot."
        )
    if len(measurement.axes) != 2:
        axes = ", ".join(f"{axis.name} {len(axis)}" for axis in measurement.axes)
        raise ShapeMismatch(
            f"The scalarizer {name} got {measurement.name!r} with the axes {axes}; it "
            "takes a diffraction pattern, which has two. Choose another mode."
        )
    rows, columns = measurement.axes
    return rows.values, columns.values, measurement.values


def _patterns(
    call: str, angle_y: ArrayLike, angle_x: ArrayLike, pattern: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    y, x, values = require_real(
        call, "the intensity", angle_y=angle_y, angle_x=angle_x, pattern=pattern
    )
    if y.ndim != 1 or x.ndim != 1 or values.shape[-2:] != (len(y), len(x)):
        raise ShapeMismatch(
            f"{call} got a pattern of shape {values.shape} and angles of shape "
            f"{y.shape} and {x.shape}; it takes (..., r, c), (r,) and (c,)."
        )
    wide = np.float64
    return y.astype(wide), x.astype(wide), values.astype(wide)
