"""Ranks of the truth among draws of a posterior, and whether they are uniform.

Draw theta from the prior and data from theta: among L independent draws of the
posterior, theta itself has each of the L + 1 ranks alike, if the posterior is right.
So has every function of theta and the data.

Source: Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv:1804.06788,
theorem 1; Modrák et al. (2023), Bayesian Analysis, for functions of the data, such as
the likelihood, which see what ranks of theta alone miss.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, chisquare

DRAWS = 31  # L: independent enough, and L + 1 has many divisors
NULL = 10_000  # samples of uniform ranks that a p-value is read from
BINS = 8  # of the chi-square


def rank(truth: ArrayLike, draws: ArrayLike) -> NDArray[np.int64]:
    """Return how many of L draws, the first axis, are below the truth.

    >>> rank([0.5, 9.0], [[0.1, 0.1], [0.2, 0.2], [0.7, 0.7]])
    array([2, 3])
    """
    return np.sum(np.asarray(draws) < np.asarray(truth), axis=0)


def thinned(draws: NDArray[np.float64], count: int = DRAWS) -> NDArray[np.float64]:
    """Return `count` of the draws along the first axis, evenly."""
    return draws[np.arange(count) * len(draws) // count]


def gamma(ranks: NDArray[np.int64], L: int = DRAWS) -> NDArray[np.float64]:
    """Return how far out the distribution function of samples of ranks goes, (...,).

    At each of its L steps the number of ranks below is binomial; what is returned is
    the least two-sided probability over all steps.

    Args:
        ranks: Samples of N ranks, (..., N).
        L: Draws among which they are ranks.

    Source: Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32, 32,
    section 2.2: simultaneous bands by simulation.
    """
    N, steps = ranks.shape[-1], np.arange(1, L + 1) / (L + 1)
    counts = np.stack([(ranks == k).sum(axis=-1) for k in range(L)], axis=-1)
    below = counts.cumsum(axis=-1)
    sides = binom.cdf(below, N, steps), binom.sf(below - 1, N, steps)
    return 2.0 * np.minimum(*sides).min(axis=-1)


@cache
def _null(N: int, L: int) -> NDArray[np.float64]:
    """Return `gamma` of many samples of uniform ranks, sorted."""
    random = np.random.default_rng(0)
    return np.sort(gamma(random.integers(0, L + 1, (NULL, N)), L))


def envelope(ranks: NDArray[np.int64], L: int = DRAWS) -> float:
    """Return the probability of ranks as far out as these, if they are uniform.

    It is below α where the distribution function leaves its simultaneous 1 − α band.
    """
    null = _null(len(ranks), L)
    at = np.searchsorted(null, gamma(ranks, L) * (1.0 + 1e-9), side="right")
    return float((at + 1) / (NULL + 1))


def chi_square(ranks: NDArray[np.int64], L: int = DRAWS) -> float:
    """Return the p-value of equal numbers of ranks in `BINS` bins."""
    return float(chisquare(np.bincount(ranks * BINS // (L + 1), minlength=BINS)).pvalue)


def least(ranks: dict[str, NDArray[np.int64]], L: int = DRAWS) -> float:
    """Return the least p-value of all quantities and both tests, times their number.

    Source: Bonferroni's inequality, whatever hangs together.
    """
    every = [test(one, L) for one in ranks.values() for test in (envelope, chi_square)]
    return min(1.0, len(every) * min(every))
