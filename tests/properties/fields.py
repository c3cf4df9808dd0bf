"""Fields drawn from the prior of the Gaussian processes, and who is right about them.

A field is a draw of everything that `gp` does not know: scale, lengths and noise of
`exact.prior`, the constant mean, f, and its noisy measurement at a few points. NumPy
alone, with a kernel of its own, so that it shares no algebra with what it judges.

A fit standardises y by its own mean and standard deviation, so that its prior is that
of y only where these are about 0 and 1. Given that they are, whatever is exact Bayes is
calibrated; `usual` draws such fields. Of others it is calibrated as far as the level of
y tells nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from aemtwin.surrogates.base import float64
from aemtwin.surrogates.exact import MEAN_SD, prior
from aemtwin.surrogates.mixture import moments

LEVELS = np.array([0.5, 0.9, 0.95])  # of central intervals
SDS = np.array([0.6744897501960817, 1.6448536269514722, 1.959963984540054])  # half
EVENLY = ndtri((np.arange(16) + 0.5) / 16)  # sixteen normal numbers, alike likely
HELD_OUT = 200  # positions at which f is asked for
NUGGET = 1e-10  # of scale², far below any noise
USUAL = 0.2  # |mean of y| and |log sd of y| at most, for `usual` fields

Array = NDArray[np.float64]


class Field(NamedTuple):
    """A field, what is measured of it, and what there is to know."""

    X: Array  # (n, d), in the unit box
    y: Array  # (n,), measured with noise
    at: Array  # (m, d), held out
    f: Array  # (m,), the truth there
    mean: Array  # (m,), of f given y, scale, lengths and noise
    sd: Array  # (m,), likewise
    theta: Array  # (d + 2,), logarithms of scale, lengths and noise


def matern52(length: Array, A: Array, B: Array) -> Array:
    """Return the correlation of Matérn-5/2, (n, m).

    Source: Rasmussen and Williams (2006), eq. 4.17.
    """
    r = np.sqrt(5.0) * np.linalg.norm((A[:, None] - B[None]) / length, axis=-1)
    return (1.0 + r + r**2 / 3.0) * np.exp(-r)


def covariance(theta: Array, A: Array, B: Array) -> Array:
    """Return that of f and its unknown constant mean together, (n, m)."""
    scale, length = np.exp(theta[0]), np.exp(theta[1:-1])
    return scale**2 * matern52(length, A, B) + MEAN_SD**2


def draw(seed: object, n: int, *, usual: bool = False, m: int = HELD_OUT) -> Field:
    """Draw a field of two dimensions, measured at n random points."""
    random = np.random.default_rng(seed)  # type: ignore[arg-type]
    middle, sd = prior("matern52", 2)
    while True:
        theta = random.normal(middle, sd)
        X, noise = random.random((n, 2)), np.exp(theta[-1])
        tiny = NUGGET * np.exp(2.0 * theta[0])
        K = covariance(theta, X, X) + tiny * np.eye(n)
        L = np.linalg.cholesky(K)
        z = random.normal(size=n)
        y = L @ z + noise * random.normal(size=n)
        if not usual or max(abs(y.mean()), abs(np.log(y.std()))) < USUAL:
            break
    at = random.random((m, 2))
    C = covariance(theta, at, at) + tiny * np.eye(m)
    cross = covariance(theta, X, at)  # (n, m)
    half = np.linalg.solve(L, cross)
    rest = np.linalg.cholesky(C - half.T @ half + tiny * np.eye(m))
    f = half.T @ z + rest @ random.normal(size=m)
    solved = np.linalg.solve(K + noise**2 * np.eye(n), cross)
    variance = np.diag(C) - np.sum(cross * solved, axis=0)
    known = np.sqrt(np.maximum(variance, tiny))
    return Field(X, y, at, f, solved.T @ y, known, theta)


def inside(field: Field, mean: Array, sd: Array) -> Array:
    """Return the share of the truth inside central intervals of a normal, (3,)."""
    gap = np.abs(field.f - mean)
    return np.mean(gap <= SDS[:, None] * sd, axis=1)


def expected(field: Field, mean: Array, sd: Array) -> Array:
    """Return the share of `inside`, averaged over all fields with the same data, (3,).

    Given y, the truth is normal with a mean and sd that the drawer of the field knows,
    so the average needs no draw (Rao and Blackwell), and it scatters far less from
    field to field: not at all for one who knows the hyperparameters.
    """
    half = SDS[:, None] * sd
    high = ndtr((mean + half - field.mean) / field.sd)
    low = ndtr((mean - half - field.mean) / field.sd)
    return np.mean(high - low, axis=1)


def error(shares: Array) -> Array:
    """Return the standard error of the mean share over fields, not positions, (3,)."""
    return shares.std(axis=0, ddof=1) / np.sqrt(len(shares))


def components(model: Any, state: Any, at: Array) -> tuple[Array, Array, Array]:
    """Return weight (s,), mean and sd (s, m) of the processes that a state mixes."""
    mixture = model.mixture("components", state)
    weight = np.asarray(mixture.weight)
    read = []
    with float64():
        for one in np.eye(len(weight))[weight > 0]:
            alone = mixture._replace(weight=one)
            found = moments(alone, at, kernel=model.kernel)
            read.append((found.mean, np.sqrt(np.asarray(found.variance))))
    mean, sd = np.moveaxis(np.array(read, np.float64), 1, 0)
    return weight[weight > 0], mean, sd


def expected_of_mixture(field: Field, parts: tuple[Array, Array, Array]) -> Array:
    """Return what `expected` does for central intervals of the mixture itself, (3,).

    The normal of the same mean and variance is flatter in the middle: where processes
    of the mixture differ in width, its interval of 50 % holds more than half of it.
    """
    weight, mean, sd = parts
    f = field.mean + field.sd * EVENLY[:, None]  # (16, m)
    below = np.tensordot(weight, ndtr((f - mean[:, None]) / sd[:, None]), 1)
    held = np.abs(below - 0.5) <= 0.5 * LEVELS[:, None, None]
    return np.mean(held, axis=(1, 2))
