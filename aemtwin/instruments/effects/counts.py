"""Counting: what a detector counts is Poisson's, about what it should count.

Pure functions beside `aemtwin.instruments.effects.noise`, whose `generator` gives the
chance by its address.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 9e18  # beyond that NumPy draws no Poisson numbers, and no detector counts


def expected(values: NDArray[Any], exposure: float) -> NDArray[Any]:
    """Return what would be counted on average, in the dtype of `values`.

    Args:
        values: Expected counts at the usual dwell and current, any shape.
        exposure: Dwell times current, over the usual ones; at 1 the values themselves.

    >>> expected(np.array([4.0, 3.0], "f4"), 0.5).tolist()
    [2.0, 1.5]
    """
    if exposure == 1.0:
        return values.copy()
    return rounded(values.dtype, values.astype(np.float64) * exposure)


def counted(
    values: NDArray[Any], exposure: float, random: np.random.Generator
) -> NDArray[Any]:
    """Count: one draw of Poisson's law for each value, in the dtype of `values`.

    What is expected below zero counts nothing; what is not a number stays so.

    Args:
        values: Expected counts at the usual dwell and current, any shape.
        exposure: Dwell times current, over the usual ones.
        random: The source of chance, from `noise.generator`.

    Returns:
        A new array, same shape and dtype. Integers keep within their type; float32
        holds every count up to 2^24 and above that the nearest that it can.

    Source:
        Independent arrivals at a mean rate: Poisson's law, variance equal to mean.
    """
    mean = values.astype(np.float64) * exposure
    missing = np.isnan(mean)
    counts = random.poisson(np.where(missing, 0.0, np.clip(mean, 0.0, MOST)))
    return rounded(values.dtype, np.where(missing, np.nan, counts.astype(np.float64)))


def rounded(dtype: np.dtype[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Return values in a dtype: integers are rounded and kept inside their type."""
    if values.dtype == dtype:
        return values
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        top = float(info.max)
        if top > info.max:  # 64 bits: the float above is no number of this type
            top = float(np.nextafter(top, 0.0))
        values = np.clip(np.rint(values), info.min, top)
    return np.asarray(values.astype(dtype))
