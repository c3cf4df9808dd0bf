"""Whether a recording holds counts: whole numbers, as scattered as Poisson's.

A detector whose gain is not one, whose counts spread over neighbouring channels, or
whose data were processed, has another scatter; such data cannot be dealt count by
count (`aemtwin.instruments.effects.dealing`). An image has no neighbours whose mean is
known to be smooth, so of one frame it cannot be told.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.instruments.effects.dealing import largest_exact

Array = NDArray[np.float64]

CURVED = 3.0  # standard errors of the mean's second difference: above it is no noise
APART = 4.0  # standard errors from 1 that a factor of counts may be, and
ALLOWED = 0.05  # what it may be in any case: pile-up and rest of curvature
UNSURE = 0.1  # standard error from which nothing is said
STEPS = (1, 2)  # channels apart: a spread over neighbours makes the two differ


class Fano(NamedTuple):
    """The scatter of a recording over that of counts."""

    factor: float  # variance over mean, from second differences; 1 for counts
    error: float  # its standard error
    channels: int  # that were smooth enough to be used
    counts: float  # in them


class Verdict(NamedTuple):
    """Whether a recording can be dealt, and why."""

    ok: bool
    fano: float  # the factor between nearest channels; NaN where there is none
    error: float  # its standard error; infinite where there is none
    why: str  # one sentence for people


def fano(
    spectra: NDArray[Any], smooth: NDArray[np.bool_] | None = None, step: int = 1
) -> Fano:
    """Estimate variance over mean of counts from their second differences.

    Of independent counts with the means a, b, c in channels i - step, i, i + step, the
    second difference s has the variance w = a + 4b + c about that of the means. The
    square of s, less what all pixels have in common, over w is therefore 1 for counts
    and g for counts times a gain g. It is below 1 where counts spread over neighbours,
    and then larger for a longer `step`.

    Only channels are used whose mean spectrum is smooth: where the sum over pixels of s
    and those of two neighbours on either side are within `CURVED` of its standard
    error, sqrt(factor w). What is left to be used is the scatter between pixels, which
    knows nothing of that sum; so the choice does not favour an answer. The factor in
    that error is the median over channels, or 1 if that is more.

    Args:
        spectra: Counts (k, e), at least 2 pixels and 2 step + 1 channels.
        smooth: Channels (e,) to use; default: those found as above.
        step: How far apart the channels are that are compared.

    Returns:
        The estimate; its error is that of counts, times the factor if that is above 1.
        Where no channel is smooth the factor is NaN and its error infinite.

    Raises:
        ShapeMismatch: If an array has another shape.
        OutOfRange: If a step is below 1 or a value negative or not finite.

    Source:
        Derived here from the cumulants of Poisson's law: of counts with means m,
        var(s² - w) = 2 w² and cov(s² - w, s'² - w') = 2 (Σ α α' m)², with (1, -2, 1)
        for α. With n readings of equal mean the error is sqrt(35 / 9n), at any mean.

    >>> counts = np.random.default_rng(0).poisson(0.01, (500, 1000))
    >>> found = fano(counts)
    >>> round(found.factor, 2), round(found.error, 3)
    (1.0, 0.003)
    """
    values = _spectra(spectra, step)
    k, e = values.shape
    low, mid, high = (
        values[:, : -2 * step],
        values[:, step:-step],
        values[:, 2 * step :],
    )
    second = low - 2.0 * mid + high  # (k, e - 2 step)
    bend = second.sum(axis=0)
    between = (np.einsum("ke,ke->e", second, second) - bend**2 / k) * (k / (k - 1))
    channel = values.sum(axis=0)
    weight = channel[: -2 * step] + 4.0 * channel[step:-step] + channel[2 * step :]
    there = weight > 0
    if not there.any():
        return Fano(math.nan, math.inf, 0, 0.0)
    if smooth is None:
        typical = max(1.0, float(np.median(between[there] / weight[there])))
        used = there & _all_near(np.abs(bend) <= CURVED * np.sqrt(typical * weight))
    else:
        if np.shape(smooth) != (e,):
            raise ShapeMismatch(
                f"fano got smooth of shape {np.shape(smooth)} for {e} channels; it is "
                "one flag a channel."
            )
        used = there & np.asarray(smooth, np.bool_)[step:-step]
    if not used.any():
        return Fano(math.nan, math.inf, 0, 0.0)
    total = float(weight[used].sum())
    factor = float(between[used].sum()) / total
    pixel = values.sum(axis=1) / channel.sum()  # share of the counts, (k,)
    variance = float(np.sum(pixel**2)) * _variance(channel, used, step) * k / (k - 1)
    error = max(1.0, factor) * math.sqrt(variance) / total
    counts = float(channel[step:-step][used].sum())
    return Fano(factor, error, int(used.sum()), counts)


def countable(spectra: NDArray[Any]) -> Verdict:
    """Say whether recorded spectra are counts of unit gain.

    They are whole numbers from 0 on, and `fano` is 1 between nearest channels and
    between those two apart: within `APART` of its error or `ALLOWED`.

    Args:
        spectra: (k, e), of some pixels. Of an image, (k,) or (k, 1), it cannot be told.

    Returns:
        The verdict with its reason as a sentence.

    >>> countable(np.arange(15).reshape(3, 5)).why
    'its 3 smooth channels of 5 hold too few counts to tell.'
    """
    values = np.asarray(spectra)
    if values.dtype.kind not in "iuf":
        return _no(f"it holds {values.dtype}, which counts nothing.")
    if values.ndim != 2 or values.shape[1] < 2 * STEPS[-1] + 1:
        return _no(
            "one value a pixel does not tell counts from other numbers: its scatter "
            "cannot be told from what it shows."
        )
    if values.shape[0] < 2:
        return _no("the scatter of one spectrum alone cannot be told from its shape.")
    real = values.dtype.kind == "f"
    if real and not np.isfinite(values).all():
        return _no("it holds values that are no numbers.")
    if (values < 0).any() or (real and (values != np.rint(values)).any()):
        return _no("it holds values that are no whole numbers from 0 on.")
    if (values > largest_exact(values.dtype)).any():
        return _no(f"it holds larger numbers than {values.dtype} can count.")
    near, apart = (fano(values, step=step) for step in STEPS)
    for one in (near, apart):
        if not one.error <= UNSURE * max(1.0, one.factor):
            return _no(
                f"its {one.channels} smooth channels of {values.shape[1]} hold too few "
                "counts to tell.",
                near,
            )
    said = f"{near.factor:.3f} ± {near.error:.3f}"
    if not _near_one(near):
        return _no(
            f"its variance over mean is {said} in {near.channels} smooth channels, and "
            "that of counts is 1: a gain, a point spread or a correction is in it.",
            near,
        )
    if not _near_one(apart):
        return _no(
            f"its variance over mean is {said} between nearest channels and "
            f"{apart.factor:.3f} ± {apart.error:.3f} between those {STEPS[1]} apart: "
            "neighbours do not count for themselves.",
            near,
        )
    why = f"its variance over mean is {said} in {near.channels} smooth channels."
    return Verdict(True, near.factor, near.error, why)


def _near_one(found: Fano) -> bool:
    return abs(found.factor - 1.0) <= max(APART * found.error, ALLOWED)


def _no(why: str, found: Fano | None = None) -> Verdict:
    return Verdict(False, *(found[:2] if found else (math.nan, math.inf)), why)


def _spectra(spectra: NDArray[Any], step: int) -> Array:
    values = np.asarray(spectra, np.float64)
    if step < 1:
        raise OutOfRange(f"fano got step = {step}; it is 1 channel or more.")
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 2 * step + 1:
        raise ShapeMismatch(
            f"fano got spectra of shape {values.shape}; it is (pixels, channels) with "
            f"2 pixels and {2 * step + 1} channels or more."
        )
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise OutOfRange(
            "fano got values that are negative or no numbers; give counts."
        )
    return values


def _all_near(flat: NDArray[np.bool_], reach: int = 2) -> NDArray[np.bool_]:
    """Say where a flag holds with all its neighbours, as far as there are any."""
    wide = np.pad(flat, reach, constant_values=True)
    views = np.lib.stride_tricks.sliding_window_view(wide, 2 * reach + 1)
    return np.asarray(views.all(axis=1))


def _variance(channel: Array, used: NDArray[np.bool_], step: int) -> float:
    """Return the variance of the sum of s² - w over used channels, of one pixel.

    It is 2 Σ (Σ α α' m)² over pairs of channels, which overlap at 0, 1 and 2 steps.
    """
    low, mid, high = channel[: -2 * step], channel[step:-step], channel[2 * step :]
    pairs = {0: low + 4.0 * mid + high, step: -2.0 * (mid + high), 2 * step: high}
    total = 0.0
    for lag, overlap in pairs.items():
        n = len(used) - lag
        if n > 0:
            both = used[:n] & used[lag:]
            times = 2.0 if lag == 0 else 4.0  # each pair once or, apart, twice
            total += times * float(np.sum(overlap[:n][both] ** 2))
    return total
