"""Covariance functions with a length scale per dimension, for `gp` and its kin.

Distances come from direct differences, not from |a|² + |b|² − 2a·b: the latter loses
half the digits between near points, and the Cholesky factor of K with them. Gradients
are finite at distance zero, where every measured point meets itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Kernel = Callable[[Array, Array, Array, Array], Array]
"""(scale (), length (d,), A (n, d), B (m, d)) -> covariance (n, m)."""

UNROLLED = 8  # up to so many dimensions are summed one by one, which vectorises better


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
    d = A.shape[1]
    if d > UNROLLED:
        return jnp.sum((A[:, None, :] - B[None, :, :]) ** 2 * per, axis=-1)
    r2 = jnp.zeros((A.shape[0], B.shape[0]), A.dtype)
    for k in range(d):
        r2 = r2 + (A[:, k, None] - B[None, :, k]) ** 2 * per[k]
    return r2


def rbf(scale: Array, length: Array, A: Array, B: Array) -> Array:
    """Return the squared-exponential covariance scale² · exp(−r²/2).

    Args:
        scale: Prior standard deviation of f, (), unit of y.
        length: Length scales, (d,), unit of X.
        A: Points, (n, d).
        B: Points, (m, d).

    Returns:
        Covariance of f between the rows of A and B, (n, m), unit of y squared.

    Source: Rasmussen and Williams (2006), eq. 4.9 with a length per dimension, eq. 5.1.
    """
    return scale**2 * jnp.exp(-0.5 * squared_distance(length, A, B))


def matern52(scale: Array, length: Array, A: Array, B: Array) -> Array:
    """Return the Matérn-5/2 covariance scale² · (1 + √5 r + 5r²/3) · exp(−√5 r).

    Args:
        scale: Prior standard deviation of f, (), unit of y.
        length: Length scales, (d,), unit of X.
        A: Points, (n, d).
        B: Points, (m, d).

    Returns:
        Covariance of f between the rows of A and B, (n, m), unit of y squared.

    Source: Rasmussen and Williams (2006), eq. 4.17, with a length per dimension.

    >>> ones = jnp.ones((1, 1))
    >>> round(float(matern52(jnp.array(2.0), ones[0], ones, ones)[0, 0]), 6)
    4.0
    """
    return scale**2 * _matern52(squared_distance(length, A, B))


def _root(r2: Array) -> Array:
    """Return √5·r, at least 1e-18, so that its own derivative is finite at r = 0.

    No `where(r2 > 0, ...)` here: XLA may compute r² anew in each fused loop, with
    multiply-adds in one and not in the other, and two branches taken apart, on 0 here
    and on 1e-33 there, would disagree.
    """
    return jnp.sqrt(5.0 * r2 + 1e-36)


@jax.custom_jvp
def _matern52(r2: Array) -> Array:
    """Return the Matérn-5/2 correlation as a function of r², smooth in it at 0."""
    s = _root(r2)
    return (1.0 + s + s**2 / 3.0) * jnp.exp(-s)


@_matern52.defjvp
def _matern52_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (r2,), (dr2,) = primals, tangents
    s = _root(r2)
    e = jnp.exp(-s)
    return (1.0 + s + s**2 / 3.0) * e, -(5.0 / 6.0) * (1.0 + s) * e * dr2


KERNELS: dict[str, Kernel] = {"matern52": matern52, "rbf": rbf}
"""The kernels by the name that a campaign file gives them."""
