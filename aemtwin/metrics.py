"""How good a campaign was, against a truth that its decisions never saw.

All scores are taken over the candidates whose truth is known: NaN in `truth` marks a
spot without a value (outside the sample, no loop to fit), which counts neither for nor
against a method. `measured` are indices into the candidates, in the order measured;
predictions are of the true scalar itself, without measurement noise. `scores.json`
of a run keeps these numbers, `aemtwin.report` shows them.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType


def top_fraction_found(
    truth: ArrayLike, measured: ArrayLike, fraction: float = 0.01
) -> float:
    """Return how much of the best fraction of all candidates has been measured.

    The best are the `fraction` of the candidates with the highest truth, rounded up;
    among equals at their border any will do. A candidate measured twice counts once.

    Args:
        truth: True scalar of every candidate, (m,), any unit; NaN is left out.
        measured: Indices of the candidates measured, (n,).
        fraction: Of the candidates that count as the best, above 0 and up to 1.

    Returns:
        Share of the best found, 0 to 1.

    Raises:
        OutOfRange: If `fraction` is not in (0, 1], an index is not a candidate's, or no
            truth is known.

    Source:
        The "allALM" of Rohr et al. (2020), Chem. Sci. 11, 2696.

    >>> top_fraction_found([0.0, 1, 2, 3], measured=[1, 3], fraction=0.5)
    0.5
    """
    if not 0 < fraction <= 1:  # also catches NaN
        raise OutOfRange(
            f"top_fraction_found got fraction = {fraction!r}; it takes one above 0 and "
            "up to 1, such as 0.01 for the best per cent."
        )
    values, chosen = _truth(truth), _indices(measured, truth)
    known = np.sort(values[np.isfinite(values)])
    # 0.07 * 100 is a little more than 7
    count = max(1, int(np.ceil(round(fraction * known.size, 9))))
    border, got = known[-count], values[np.unique(chosen)]
    above, at = int(np.sum(got > border)), int(np.sum(got == border))
    places = count - int(np.sum(known > border))  # for those at the border
    return (above + min(at, places)) / count


def simple_regret(truth: ArrayLike, measured: ArrayLike) -> float:
    """Return how far the best measured candidate lies below the best there is.

    Args:
        truth: True scalar of every candidate, (m,), any unit; NaN is left out.
        measured: Indices of the candidates measured, (n,).

    Returns:
        Regret, unit of `truth`, never negative; NaN where nothing was measured.

    Raises:
        OutOfRange: If an index is not a candidate's, or no truth is known.

    Source:
        Bubeck, Munos and Stoltz (2009), Lect. Notes Comput. Sci. 5809, 23.

    >>> simple_regret([0.0, 1, 2, 3], measured=[0, 2])
    1.0
    """
    curve = best_so_far(truth, measured)
    return float(np.nanmax(_truth(truth)) - curve[-1]) if curve.size else float("nan")


def best_so_far(truth: ArrayLike, measured: ArrayLike) -> NDArray[np.float64]:
    """Return the best true value among the first 1, 2, ... n measurements.

    Args:
        truth: True scalar of every candidate, (m,), any unit; NaN is left out.
        measured: Indices of the candidates measured, in order, (n,).

    Returns:
        The learning curve, (n,), unit of `truth`, never falling; NaN until the first
        candidate whose truth is known.

    Raises:
        OutOfRange: If an index is not a candidate's, or no truth is known.

    Source:
        The running maximum; with `simple_regret` at its end.

    >>> best_so_far([0.0, 3, 2], measured=[2, 0, 1]).tolist()
    [2.0, 2.0, 3.0]
    """
    values = _truth(truth)[_indices(measured, truth)]
    return np.asarray(np.fmax.accumulate(values), dtype=np.float64)


def rmse(truth: ArrayLike, mean: ArrayLike) -> float:
    """Return the root of the mean square error of a predicted map.

    Args:
        truth: True scalar of every candidate, (m,), any unit; NaN is left out.
        mean: Predicted mean of each, (m,), same unit.

    Returns:
        Error, unit of `truth`; NaN where a prediction that counts is.

    Raises:
        ShapeMismatch: If the two differ in shape.
        OutOfRange: If no truth is known.

    Source:
        Rasmussen and Williams (2006), section 2.5, not divided by the targets' spread.

    >>> rmse([1.0, 2, float("nan")], mean=[1.0, 4, 0])
    1.4142135623730951
    """
    t, mu = _known(truth, mean)
    return float(np.sqrt(np.mean((t - mu) ** 2)))


def nlpd(truth: ArrayLike, mean: ArrayLike, variance: ArrayLike) -> float:
    """Return the mean negative log density that a Gaussian prediction gives the truth.

    Lower is better. It is taken of the latent truth, so `variance` is that of the
    scalar itself, without measurement noise. It depends on the unit of `truth`: only
    numbers of one campaign compare.

    Args:
        truth: True scalar of every candidate, (m,), any unit u; NaN is left out.
        mean: Predicted mean of each, (m,), u.
        variance: Predicted variance of each, (m,), u², above 0.

    Returns:
        Mean over the candidates of -log p(truth), in nats, for densities in 1/u.

    Raises:
        ShapeMismatch: If the three differ in shape.
        OutOfRange: If a variance that counts is not above 0, or no truth is known.

    Source:
        Rasmussen and Williams (2006), equation 2.34, of f instead of y.

    >>> round(nlpd([0.0], mean=[0.0], variance=[1.0]), 6)
    0.918939
    """
    t, mu, v = _known(truth, mean, variance)
    _require_variance("nlpd", v, v > 0, "above 0")
    return float(np.mean(0.5 * np.log(2 * np.pi * v) + 0.5 * (t - mu) ** 2 / v))


def coverage(
    truth: ArrayLike, mean: ArrayLike, variance: ArrayLike, level: float = 0.9
) -> float:
    """Return how often the truth lies in the central interval of a Gaussian prediction.

    A calibrated prediction covers as much as it claims: `level`. Less is overconfident,
    more is too careful.

    Args:
        truth: True scalar of every candidate, (m,), any unit u; NaN is left out.
        mean: Predicted mean of each, (m,), u.
        variance: Predicted variance of each, (m,), u², not negative.
        level: Probability that the interval claims to hold, between 0 and 1.

    Returns:
        Share of the candidates whose truth lies inside, 0 to 1.

    Raises:
        ShapeMismatch: If the three differ in shape.
        OutOfRange: If `level` is not between 0 and 1, a variance is negative, or no
            truth is known.

    Source:
        Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102, 359, section 6.2.

    >>> coverage([0.0, 1.6, 1.7, -9], mean=[0.0] * 4, variance=[1.0] * 4)
    0.5
    """
    if not 0 < level < 1:
        raise OutOfRange(
            f"coverage got level = {level!r}; it takes one between 0 and 1, "
            "such as 0.9."
        )
    t, mu, v = _known(truth, mean, variance)
    _require_variance("coverage", v, v >= 0, "not negative")
    half_width = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(v)
    return float(np.mean(np.abs(t - mu) <= half_width))


def calibration_curve(
    truth: ArrayLike, mean: ArrayLike, variance: ArrayLike, levels: ArrayLike
) -> NDArray[np.float64]:
    """Return how often the truth lies in the central interval of each level.

    A calibrated prediction lies on the diagonal; a curve below it is overconfident,
    one above it too careful. `coverage` is one point of it.

    Args:
        truth: True scalar of every candidate, (m,), any unit u; NaN is left out.
        mean: Predicted mean of each, (m,), u; NaN covers nothing.
        variance: Predicted variance of each, (m,), u², not negative.
        levels: Probabilities that the intervals claim to hold, (k,), 0 to 1; that of 1
            is the whole line.

    Returns:
        Share of the candidates whose truth lies inside, (k,), 0 to 1.

    Raises:
        ShapeMismatch: If truth and predictions differ in shape.
        OutOfRange: If a level is not in 0 to 1, a variance is negative, or no truth is
            known.

    Source:
        Kuleshov, Fenner and Ermon (2018), Proc. Mach. Learn. Res. 80, 2796, section
        3.1, for central intervals as in Gneiting and Raftery (2007), section 6.2.

    >>> calibration_curve([0.0, 1, 2], [0.0] * 3, [1.0] * 3, [0, 0.5, 0.9, 1]).round(2)
    array([0.33, 0.33, 0.67, 1.  ])
    """
    nominal = np.asarray(levels, dtype=np.float64)
    if not ((nominal >= 0) & (nominal <= 1)).all():  # also catches NaN
        raise OutOfRange(
            f"calibration_curve got levels from {np.min(nominal):g} to "
            f"{np.max(nominal):g}; it takes probabilities, 0 to 1."
        )
    t, mu, v = _known(truth, mean, variance)
    _require_variance("calibration_curve", v, v >= 0, "not negative")
    normal = NormalDist()
    widths = np.array(
        [normal.inv_cdf((1 + p) / 2) if p < 1 else np.inf for p in nominal.ravel()]
    )  # (k,) standard deviations
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(t - mu) / np.sqrt(v)  # 0 / 0 is a hit
    apart = np.where((v == 0) & (t == mu), 0.0, apart)
    apart = np.sort(np.where(np.isnan(apart), np.inf, apart))
    inside = np.searchsorted(apart, widths, side="right")
    inside[np.isinf(widths)] = int(np.isfinite(mu).sum())
    return np.asarray(inside / apart.size, dtype=np.float64)


def _truth(truth: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(truth, dtype=np.float64)
    if values.ndim != 1:
        raise ShapeMismatch(
            f"A score got a truth of shape {values.shape}; it takes (m,), one value a "
            "candidate. Use truth.ravel()."
        )
    if not np.isfinite(values).any() or np.isinf(values).any():
        raise OutOfRange(
            "A score got a truth that holds no finite value, or an infinite one; it "
            "takes finite values, and NaN where nothing is known."
        )
    return values


def _indices(measured: ArrayLike, truth: ArrayLike) -> NDArray[np.intp]:
    index, m = np.asarray(measured), np.asarray(truth).size
    if index.size == 0:
        return np.empty(0, dtype=np.intp)
    if index.dtype.kind not in "iu" or index.ndim != 1:
        raise WrongType(
            f"A score got measured indices of type {index.dtype} and shape "
            f"{index.shape}; it takes integers, (n,), in the order measured."
        )
    if index.min() < 0 or index.max() >= m:
        raise OutOfRange(
            f"A score got measured indices from {index.min()} to {index.max()}; the "
            f"candidates are 0 to {m - 1}."
        )
    return index.astype(np.intp)


def _known(truth: ArrayLike, *predictions: ArrayLike) -> list[NDArray[np.float64]]:
    """Return truth and predictions at the candidates whose truth is known."""
    values = _truth(truth)
    arrays = [values, *(np.asarray(p, dtype=np.float64) for p in predictions)]
    for array in arrays[1:]:
        if array.shape != values.shape:
            raise ShapeMismatch(
                f"A score got predictions of shape {array.shape} for a truth of shape "
                f"{values.shape}; it takes one prediction a candidate."
            )
    return [array[np.isfinite(values)] for array in arrays]


def _require_variance(
    call: str, variance: NDArray[np.float64], good: NDArray[np.bool_], allowed: str
) -> None:
    if not good.all():
        raise OutOfRange(
            f"{call} got a variance of {variance[~good][0]:g}; it must be {allowed}."
        )
