"""A pool of candidates that is followed: what one more point costs is one row.

With V = L⁻¹ K(X, pool) at hand, a new point adds one row v to V, its error times v to
the mean, and takes v² off the variance: V is read once, n · m numbers, where a new read
of the posterior takes n² · m operations. V stays in memory as float32; the algebra of
the n points is float64.

Whether a pool was followed from one point to the next or is made anew, as when a run is
resumed, changes no bit: it begins at the last search, or where the capacity last grew,
and goes on by the same program row by row.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates.base import Posterior, bucket
from aemtwin.surrogates.exact import CHUNK, Hyper, before, between
from aemtwin.surrogates.mixture import Mixture

MOST = 2**31  # bytes of V, of all processes together


class Seat(NamedTuple):
    """What one process believes of the pool."""

    V: Array  # (N, m) float32, rows of zeros where there is no point yet
    mean: Array  # (m,) float64
    variance: Array  # (m,) float64


class Pool(NamedTuple):
    """A pool, followed to the first n points of a mixture."""

    seats: tuple[Seat, ...]  # of the processes that have weight
    at: NDArray[np.float32]  # (m, d)
    n: int
    stamp: tuple[Any, ...]  # what it was made of, but for the points followed
    points: NDArray[np.float64]  # (n, d + 2), those points, values and noise


def look(
    mix: Mixture, fitted: int, pool: Pool | None, candidates: Any, *, kernel: str
) -> tuple[Pool | None, Posterior | None]:
    """Follow the pool to all points of the mixture, and return what is believed there.

    Call it in float64. The pool that is given is used up.

    Args:
        mix: Over n points.
        fitted: How many points its hyperparameters were settled on.
        pool: Of an earlier look; None: there is none.
        candidates: (m, d).
        kernel: As `composed.named` takes it.

    Returns:
        The pool and the posterior, (m,); None and None where V would exceed `MOST`.
    """
    used, N = np.flatnonzero(np.asarray(mix.weight) > 0), mix.mask.shape[0]
    if used.size * N * len(candidates) * 4 > MOST:
        return None, None
    n = int(np.sum(mix.mask))
    points = np.column_stack([mix.X, mix.y, mix.noise])[:n]
    hyper = jax.device_get(mix.hyper)
    each = [jax.tree.map(lambda a, k=k: np.asarray(a)[k], hyper) for k in used]
    stamp = kernel, N, fitted, *(leaf.tobytes() for leaf in jax.tree.leaves(hyper))
    parts = [np.asarray(mix.L)[k] for k in used]
    if pool is None or pool.stamp != stamp or not _begins(pool, points, candidates):
        c = max(fitted, _before(N))
        seats = tuple(
            _watched(h, *_arrays(mix), L, candidates, c, kernel=kernel)
            for h, L in zip(each, parts, strict=True)
        )
        at = np.asarray(candidates, np.float32)
        pool = Pool(seats, at, min(c, n), stamp, points)
    seats = pool.seats
    for i in range(pool.n, n):
        seats = tuple(
            _followed(seat, h, *_arrays(mix), L, pool.at, i, kernel=kernel)
            for seat, h, L in zip(seats, each, parts, strict=True)
        )
    found = _mixed(seats, np.asarray(mix.weight)[used])
    return pool._replace(seats=seats, n=n, points=points), found


def _mixed(seats: tuple[Seat, ...], weight: NDArray[np.float64]) -> Posterior:
    """Return mean and variance of the mixture."""
    means = [np.asarray(seat.mean) for seat in seats]
    within = [np.maximum(seat.variance, 0.0) for seat in seats]
    if len(seats) == 1:
        return Posterior(means[0].copy(), within[0])  # the seat will be used up
    mean = weight @ np.array(means)
    apart = np.array([one - mean for one in means])
    return Posterior(mean, weight @ (np.array(within) + apart**2))


def _arrays(mix: Mixture) -> tuple[Any, Any, Any]:
    return mix.X, mix.y, mix.mask


def _before(N: int) -> int:
    """Return the capacity before N, 0 before the first."""
    n = N
    while n > 0 and bucket(n) == N:
        n -= 1
    return n


def _begins(pool: Pool, points: NDArray[np.float64], candidates: Any) -> bool:
    """Say whether a pool was followed along the first of these points."""
    return (
        pool.n <= len(points)
        and np.array_equal(pool.points[: pool.n], points[: pool.n])
        and pool.at.shape == np.shape(candidates)
    )


def _errors(L: Array, y: Array, mask: Array, mean: Array | float) -> Array:
    """Return L⁻¹(y − mean), (N,): each error as seen from the points before it."""
    return solve_triangular(L, jnp.where(mask, y - mean, 0.0), lower=True)


@partial(jax.jit, static_argnames="kernel")
def _watched(
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    L: Array,
    candidates: Array,
    c: Array,
    *,
    kernel: str,
) -> Seat:
    """Solve for the first c rows of V, in chunks of candidates."""
    m, d = candidates.shape
    first = mask & (jnp.arange(mask.shape[0]) < c)
    error = jnp.where(first, _errors(L, y, mask, hyper.mean), 0.0)
    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)

    def piece(at: Array) -> Seat:
        K = jnp.where(first[:, None], between(kernel, hyper, X, at), 0.0)
        V = jnp.where(first[:, None], solve_triangular(L, K, lower=True), 0.0)
        variance = before(hyper, at) - jnp.sum(V**2, axis=0)
        return Seat(V.astype(jnp.float32), hyper.mean + error @ V, variance)

    padded = jnp.pad(candidates, ((0, chunks * rows - m), (0, 0)))
    V, mean, variance = lax.map(piece, padded.reshape(chunks, rows, d))
    V = V.swapaxes(0, 1).reshape(V.shape[1], -1)
    return Seat(V[:, :m], mean.reshape(-1)[:m], variance.reshape(-1)[:m])


@partial(jax.jit, static_argnames="kernel", donate_argnums=0)
def _followed(
    seat: Seat,
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    L: Array,
    at: Array,
    i: Array,
    *,
    kernel: str,
) -> Seat:
    """Add row i of V; the seat that is given is used up."""
    error = _errors(L, y, mask, hyper.mean)[i]
    here = lax.dynamic_slice_in_dim(X, i, 1).astype(jnp.float32)
    single = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), hyper)
    k = between(kernel, single, here, at)[0]
    row = jnp.where(jnp.arange(mask.shape[0]) < i, L[i], 0.0).astype(jnp.float32)
    v = (k - row @ seat.V) / L[i, i].astype(jnp.float32)
    wide = v.astype(seat.mean.dtype)
    return Seat(
        lax.dynamic_update_slice(seat.V, v[None], (i, 0)),
        seat.mean + error * wide,
        seat.variance - wide**2,
    )
