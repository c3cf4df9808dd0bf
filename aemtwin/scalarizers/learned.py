"""What is learned of spectra from the spectra themselves: their principal components.

`principal_component` learns one direction from the spectra measured so far;
`component_score` reads how far any spectrum lies along it, an earlier, a later or a
noise-free one. `aemtwin.scalarizers.pca` makes a scalarizer of the two, which a
campaign learns again after each measurement.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch
from aemtwin.scalarizers.arrays import finite, quiet, require_real

CLEAR = 0.1  # share by which one sign of the parts outweighs the other, to decide
FAR = 100.0  # median distances from the median spectrum beyond which one is spoilt
USUAL = 8  # spectra at least that say what distance is usual


class Component(NamedTuple):
    """A direction in the space of spectra and the point that its scores count from."""

    mean: NDArray[np.float64]  # (e,), the mean of the spectra, in their unit u
    loading: NDArray[np.float64]  # (e,), of length 1, without unit


def principal_component(
    axis: ArrayLike, spectra: ArrayLike, component: int = 1
) -> Component | None:
    """Learn a principal component of spectra, all samples counting alike.

    The spectra are centred on their mean and decomposed by singular values. Spectra
    that hold a sample which is not finite are left out. So are those that a spike or a
    fault put far outside, as one of them alone would be the component: of `USUAL`
    spectra or more, those farther from their sample-wise median than `FAR` times the
    median distance, unless half are alike or `component` or fewer would be left.

    A component has no sign of its own. Here it has the one for which higher scores go
    with, in this order, (1) a higher sum over the spectrum, (2) more of the mean
    spectrum, (3) weight farther up the axis: the first of the three that is clear
    decides, that is, for which the loadings for and against it do not balance within a
    tenth. Where none is, the largest loading is positive. The sum settles most spectra;
    the mean settles hysteresis loops, whose sum is zero; the axis a peak that shifts.
    So the sign seldom turns when one more spectrum is learned from.

    Args:
        axis: What the spectra run over, (e,), in any unit; it may turn.
        spectra: One in each row, (n, e), in a unit u.
        component: Which one, from 1, by falling variance.

    Returns:
        The component; None where fewer than `component` + 1 spectra are whole, or where
        these have no variance left in it beyond rounding.

    Raises:
        OutOfRange: If spectra of e samples cannot have that component.
        ShapeMismatch: If `spectra` is not (n, e).
        WrongType: If either is complex or not numeric.

    Source:
        Jolliffe (2002), Principal Component Analysis, 2nd ed., Springer, section 3.5.
        The sign: after Bro, Acar and Kolda (2008), J. Chemometrics 22, 135.

    >>> spectra = [[1.0, 0, 2], [2, 0, 4], [3, 0, 6]]
    >>> found = principal_component([0.0, 1, 2], spectra)
    >>> bool(np.allclose(found.loading, np.array([1, 0, 2]) / 5**0.5))
    True
    >>> bool(np.allclose(component_score(spectra, found), [-(5**0.5), 0, 5**0.5]))
    True
    """
    call = "principal_component"
    at, given = require_real(call, "the modulus", axis=axis, spectra=spectra)
    if at.ndim != 1 or given.shape[1:] != at.shape:
        raise ShapeMismatch(
            f"{call} got an axis of shape {at.shape} and spectra of shape "
            f"{given.shape}; it takes (e,) and (n, e). Give one spectrum in each row."
        )
    require_component(call, component, at.size)
    rows = finite(given)
    rows = rows[~np.isnan(rows).any(axis=-1)]
    if len(rows) <= component:
        return None
    rows = rows[_near(rows, component)]
    exponent = np.frexp(np.abs(rows).max())[1]
    rows = np.ldexp(rows, -exponent)  # exact; no square of it overflows
    mean = rows.mean(axis=0)
    sizes, loadings = np.linalg.svd(rows - mean, full_matrices=False)[1:]
    rounding = np.finfo(np.float64).eps * max(rows.shape) * np.linalg.norm(rows)
    if not sizes[component - 1] > rounding:
        return None
    loading = loadings[component - 1]
    loading = loading * _sign(at.astype(np.float64), mean, loading)
    return Component(np.ldexp(mean, exponent), loading)


@quiet
def component_score(spectra: ArrayLike, learned: Component) -> NDArray[np.float64]:
    """Return how far spectra lie from the mean along a component.

    Args:
        spectra: Spectra on the axis that it was learned on, (..., e), in a unit u.
        learned: From `principal_component`.

    Returns:
        Score of each, (...,), u; NaN where a sample is not finite.

    Raises:
        ShapeMismatch: If the spectra are not as long as those learned from.
        WrongType: If they are complex or not numeric.

    Source:
        Jolliffe (2002), Principal Component Analysis, 2nd ed., Springer, section 3.5.
    """
    (given,) = require_real("component_score", "the modulus", spectra=spectra)
    if given.ndim == 0 or given.shape[-1] != learned.mean.size:
        raise ShapeMismatch(
            f"component_score got spectra of shape {given.shape}; the component was "
            f"learned from {learned.mean.size} samples. Measure all in one mode."
        )
    return finite(np.sum((finite(given) - learned.mean) * learned.loading, axis=-1))


def require_component(call: str, component: int, samples: int) -> None:
    """Refuse a component that spectra of so many samples cannot have.

    Raises:
        OutOfRange: If it is not one of 1, 2, ..., `samples`.
    """
    if not 1 <= component <= samples:
        raise OutOfRange(
            f"{call} got the component {component} of spectra with {samples} samples; "
            f"it takes 1 to {samples}. Choose a lower one or a wider band."
        )


@quiet
def _near(rows: NDArray[np.float64], component: int) -> NDArray[np.bool_]:
    """Say which spectra to learn a component from, (n,); rows (n, e), all finite.

    A phase that is rare and bright lies outside as well, and may be what is sought. So
    `FAR` is beyond phases, not noise: in 1,500 draws each of the spectra behind the two
    twins, the farthest of 8 lay at 64 median distances, of 10 at 43, of 80 at 16. Of
    fewer than `USUAL` it lay anywhere, as two of them are by chance nearly the same.
    """
    every = np.ones(len(rows), bool)
    if len(rows) < USUAL:
        return every
    usual = np.median(np.abs(rows).max(axis=1))
    rows = np.ldexp(rows, -np.frexp(usual)[1])  # exact; no usual square overflows
    distance = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
    typical = np.median(distance)
    near = distance <= FAR * typical
    sure = 0 < typical < np.inf and np.sum(near) > component
    return near if sure else every


def _sign(
    axis: NDArray[np.float64],
    mean: NDArray[np.float64],
    loading: NDArray[np.float64],
) -> float:
    """Return the sign, 1.0 or -1.0, to give a loading; arrays (e,)."""
    weight = np.abs(loading)
    centre = np.sum(weight * axis) / np.sum(weight)
    for reference in (np.ones(loading.size), mean, axis - centre):
        parts = loading * reference
        balance = np.sum(parts)
        if abs(balance) > CLEAR * np.sum(np.abs(parts)):
            return float(np.sign(balance))
    return float(np.sign(loading[np.argmax(weight)]))
