"""Kernels of one name: squared exponential, three of Matérn's, the periodic.

A kernel is a correlation, 1 between equal points; the prior standard deviation of f
multiplies it in `exact.covariance`. Its shape is one row of positive numbers, such as
a length for each dimension (automatic relevance). `composed` has sums and products.

Distances come from direct differences, not from |a|² + |b|² − 2a·b: the latter loses
half the digits between near points, and the Cholesky factor of K with them. Gradients
are finite at distance zero, where every measured point meets itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

UNROLLED = 8  # up to so many dimensions are summed one by one, which vectorises better
LENGTH = 0.25  # median of a length, times √d, in a unit box: distances grow so
PERIOD = 0.25  # median of a period in a unit box
SHAPE_SD = 1.0  # of the logarithms of lengths and periods

Prior: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Median and sd of the logarithms of the shape, (k,) each."""


class Kernel(Protocol):
    """A correlation with a shape: what `composed.named` returns."""

    def labels(self, d: int) -> tuple[str, ...]:
        """Return the names of the k numbers of its shape over d dimensions."""
        ...

    def prior(self, d: int) -> Prior:
        """Return the prior of its shape, where X fills a unit box."""
        ...

    def correlation(self, shape: Array, A: Array, B: Array) -> Array:
        """Return the correlation between rows of A (n, d) and B (m, d), (n, m)."""
        ...

    def frequencies(self, key: Array, shape: Array, count: int, d: int) -> Array:
        """Draw `count` angular frequencies of its spectrum, (count, d), 1/unit of X.

        The mean of cos(ω · (a − b)) over them is the correlation of a and b.

        Source: Rasmussen and Williams (2006), eq. 4.5 (Bochner's theorem).
        """
        ...


def squared_distance(length: Array, A: Array, B: Array) -> Array:
    """Return the squared distance between rows, each dimension in units of its length.

    Args:
        length: Length scales, (d,), unit of X.
        A: Points, (n, d).
        B: Points, (m, d).

    Returns:
        r² = Σ (a_k − b_k)² / length_k², (n, m), no unit; exactly 0 between equal rows.

    >>> squared_distance(jnp.array([1.0, 2.0]), jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([[1.25]], dtype=float32)
    """
    per = length**-2.0  # after the difference: equal rows are exactly 0 apart
    return _summed(lambda a, b, k: (a - b) ** 2 * per[k], A, B)


def _summed(term: Callable[[Any, Any, Any], Array], A: Array, B: Array) -> Array:
    """Sum a term of each dimension over all of them, (n, m)."""
    d = A.shape[1]
    if d > UNROLLED:
        every = np.arange(d)
        return jnp.sum(term(A[:, None, :], B[None, :, :], every), axis=-1)
    total = jnp.zeros((A.shape[0], B.shape[0]), A.dtype)
    for k in range(d):
        total = total + term(A[:, k, None], B[None, :, k], k)
    return total


def _root(r2: Array) -> Array:
    """Return r, at least 1e-18, so that its own derivative is finite at r = 0.

    No `where(r2 > 0, ...)` here: XLA may compute r² anew in each fused loop, with
    multiply-adds in one and not in the other, and two branches taken apart, on 0 here
    and on 1e-33 there, would disagree.
    """
    return jnp.sqrt(r2 + 1e-36)


def rbf(r2: Array) -> Array:
    """Return exp(−r²/2), the squared exponential: a field smooth beyond all orders.

    Source: Rasmussen and Williams (2006), eq. 4.9.
    """
    return jnp.exp(-0.5 * r2)


@jax.custom_jvp
def matern12(r2: Array) -> Array:
    """Return exp(−r), the exponential: a field without a slope anywhere.

    Source: Rasmussen and Williams (2006), eq. 4.18.
    """
    return jnp.exp(-_root(r2))


@matern12.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (r2,), (dr2,) = primals, tangents
    r = _root(r2)
    e = jnp.exp(-r)
    return e, -0.5 * e / r * dr2


@jax.custom_jvp
def matern32(r2: Array) -> Array:
    """Return (1 + √3 r) exp(−√3 r): a field with slopes and no curvature.

    Source: Rasmussen and Williams (2006), eq. 4.17.
    """
    s = _root(3.0 * r2)
    return (1.0 + s) * jnp.exp(-s)


@matern32.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (r2,), (dr2,) = primals, tangents
    s = _root(3.0 * r2)
    e = jnp.exp(-s)
    return (1.0 + s) * e, -1.5 * e * dr2


@jax.custom_jvp
def matern52(r2: Array) -> Array:
    """Return (1 + √5 r + 5r²/3) exp(−√5 r): a field with slopes and curvature.

    Source: Rasmussen and Williams (2006), eq. 4.17.
    """
    s = _root(5.0 * r2)
    return (1.0 + s + s**2 / 3.0) * jnp.exp(-s)


@matern52.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (r2,), (dr2,) = primals, tangents
    s = _root(5.0 * r2)
    e = jnp.exp(-s)
    return (1.0 + s + s**2 / 3.0) * e, -(5.0 / 6.0) * (1.0 + s) * e * dr2


@dataclass(frozen=True)
class Radial:
    """A correlation of the distance alone, with a length for each dimension."""

    of_square: Callable[[Array], Array]  # r² -> correlation
    freedom: int | None  # of Student's t, its spectrum: twice the order; None: normal

    def labels(self, d: int) -> tuple[str, ...]:
        """Return the names of the lengths."""
        return tuple(f"length_{k}" for k in range(d))

    def prior(self, d: int) -> Prior:
        """Return medians that grow with √d, as distances in a box do."""
        return np.full(d, np.log(LENGTH * np.sqrt(d))), np.full(d, SHAPE_SD)

    def correlation(self, shape: Array, A: Array, B: Array) -> Array:
        """Return the correlation between rows of A and B, (n, m)."""
        return self.of_square(squared_distance(shape, A, B))

    def frequencies(self, key: Array, shape: Array, count: int, d: int) -> Array:
        """Draw normal frequencies, or Student's t: normal over the root of a mean.

        Source: Rasmussen and Williams (2006), eqs. 4.11 and 4.15.
        """
        key_normal, key_tail = jax.random.split(key)
        omega = jax.random.normal(key_normal, (count, d), shape.dtype)
        if self.freedom is not None:
            tail = jax.random.normal(key_tail, (count, self.freedom), shape.dtype)
            omega = omega / jnp.sqrt(jnp.mean(tail**2, axis=1, keepdims=True))
        return omega / shape


@dataclass(frozen=True)
class Periodic:
    """exp(−2 Σ sin²(π(a_k − b_k)/period_k)/length_k²): a lattice along the axes.

    Lengths are in parts of a period's turn and have no unit; a long one leaves little
    but the mean over a period.

    Source: MacKay (1998), "Introduction to Gaussian processes"; Rasmussen and Williams
    (2006), eq. 4.31.
    """

    def labels(self, d: int) -> tuple[str, ...]:
        """Return the names of the periods, then of the lengths."""
        names = ("period", "turn")
        return tuple(f"{name}_{k}" for name in names for k in range(d))

    def prior(self, d: int) -> Prior:
        """Return the prior of periods, then of lengths."""
        median = [*[np.log(PERIOD)] * d, *[0.0] * d]
        return np.array(median), np.full(2 * d, SHAPE_SD)

    def correlation(self, shape: Array, A: Array, B: Array) -> Array:
        """Return the correlation between rows of A and B, (n, m)."""
        d = A.shape[1]
        turn, weight = jnp.pi / shape[:d], -2.0 * shape[d:] ** -2.0
        return jnp.exp(
            _summed(lambda a, b, k: weight[k] * jnp.sin(turn[k] * (a - b)) ** 2, A, B)
        )

    def frequencies(self, key: Array, shape: Array, count: int, d: int) -> Array:
        """Draw whole numbers of turns: exp(κ(cos θ − 1)) is Σ exp(−κ) I_j(κ) cos jθ.

        These weights are those of Skellam's distribution, the difference of two
        Poisson variables of mean κ/2, here with κ = 1/length².

        Source: Abramowitz and Stegun (1964), 9.6.34; Skellam (1946), J. R. Stat. Soc.
        109, 296.
        """
        up, down = jax.random.split(key)
        half, size = 0.5 * shape[d:] ** -2.0, (count, d)
        turns = jax.random.poisson(up, half, size) - jax.random.poisson(
            down, half, size
        )
        return 2.0 * jnp.pi * turns.astype(shape.dtype) / shape[:d]


RADIAL: dict[str, Kernel] = {
    "matern12": Radial(matern12, 1),
    "matern32": Radial(matern32, 3),
    "matern52": Radial(matern52, 5),
    "rbf": Radial(rbf, None),
}
"""Kernels whose shape is a length for each dimension."""

KERNELS: dict[str, Kernel] = {**RADIAL, "periodic": Periodic()}
"""Kernels by the name that a campaign file gives them; `composed.named` knows sums."""
