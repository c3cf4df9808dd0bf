"""Several exact Gaussian processes over the same points, each with its weight.

Hyperparameters are never known for sure: `gp` keeps the modes of their posterior,
`bayes_gp` draws from it, and both believe the weighted mixture. Between two searches
hyperparameters stay, and a new point is a new row of each Cholesky factor: O(n²), by
`advanced`. How a mixture came to be does not matter to the bit: it is conditioned on
the points of its last search and then grows one row at a time, whether step by step in
a run or at once when that run is resumed.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import ArrayLike, NDArray

from aemtwin.surrogates.base import (
    Cross,
    Data,
    Posterior,
    bucket,
    float64,
    without_data,
)
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import Hyper, before, between, condition, read, weights

LEAST = 1e-12  # of scale², by which a new point is known to differ from the others


class Mixture(NamedTuple):
    """s Gaussian processes over the same N padded points."""

    weight: Any  # (s,), sum 1
    hyper: Hyper  # each field with a leading axis of s
    X: Any  # (N, d)
    y: Any  # (N,)
    mask: Any  # (N,), True where measured
    noise: Any  # (N,), known sd of each measurement, unit of y
    L: Any  # (s, N, N), Cholesky factors of K, identity where padded
    alpha: Any  # (s, N), K⁻¹(y − mean), 0 where padded
    jitter: Any  # (s,), unit of y squared


@partial(jax.jit, static_argnames="kernel")
def conditioned(
    weight: Array,
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
) -> Mixture:
    """Condition each process that has weight on all points."""

    def one(given: tuple[Array, Hyper]) -> tuple[Array, Array, Array]:
        share, h = given
        none = jnp.eye(len(y), dtype=y.dtype), jnp.zeros_like(y), jnp.zeros((), y.dtype)
        there = partial(condition, h, X, y, mask, noise, kernel=kernel)
        found: tuple[Array, Array, Array] = lax.cond(share > 0, there, lambda: none)
        return found

    each = lax.map(one, (jnp.asarray(weight), hyper))
    return Mixture(weight, hyper, X, y, mask, noise, *each)


@partial(jax.jit, static_argnames="kernel")
def _grown(
    mix: Mixture, X: Array, y: Array, mask: Array, noise: Array, *, kernel: str
) -> Mixture:
    """Add the rows in which `mask` is more than that of the mixture, one by one."""
    begin, end, N = jnp.sum(mix.mask), jnp.sum(mask), mask.shape[0]

    def one(given: tuple[Array, Hyper, Array, Array]) -> tuple[Array, Array]:
        share, hyper, L, jitter = given

        def add(i: Array, L: Array) -> Array:
            x = lax.dynamic_slice_in_dim(X, i, 1)
            k = jnp.where(jnp.arange(N) < i, between(kernel, hyper, X, x)[:, 0], 0.0)
            row = solve_triangular(L, k, lower=True)
            own = before(hyper, x)[0] + hyper.noise**2 + noise[i] ** 2 + jitter
            left = jnp.maximum(own - row @ row, LEAST * hyper.scale**2)
            return L.at[i].set(row.at[i].set(jnp.sqrt(left)))

        L = lax.fori_loop(begin, jnp.where(share > 0, end, begin), add, L)
        return L, weights(L, y, mask, hyper.mean)

    L, alpha = lax.map(one, (jnp.asarray(mix.weight), mix.hyper, mix.L, mix.jitter))
    return mix._replace(X=X, y=y, mask=mask, noise=noise, L=L, alpha=alpha)


def advanced(
    mix: Mixture | None,
    weight: NDArray[np.float64],
    hyper: Hyper,
    fitted: int,
    data: Data,
    *,
    kernel: str,
) -> Mixture:
    """Return the mixture over all points that `fitted` points and growth lead to.

    Call it in float64.

    Args:
        mix: The mixture over the first of these points, if there is one at hand.
        weight: Of each process, (s,).
        hyper: Of each, as they were settled on the first `fitted` points.
        fitted: How many points that were; all: then it is conditioned on all.
        data: All points by now, padded.
        kernel: As `composed.named` takes it.
    """
    n = int(np.sum(data.mask))
    if mix is None or n == fitted or not _begins(mix, data, n):
        mix = conditioned(weight, hyper, *_first(data, fitted), kernel=kernel)
    while n > fitted:
        size = mix.mask.shape[0]
        mix = _grown(mix, *_first(data, min(n, size), size), kernel=kernel)
        if n <= size:
            break
        mix = _widened(mix, bucket(size + 1))
    return mix


def known(data: Data) -> NDArray[np.float64]:
    """Return what is known of the sd of each measurement, (N,); 0 where nothing is."""
    return np.zeros(len(data.y)) if data.noise is None else np.asarray(data.noise)


def _first(data: Data, n: int, size: int | None = None) -> tuple[NDArray[Any], ...]:
    """Return the first n points, padded to a size: X, y, mask and noise."""
    size = bucket(n) if size is None else size
    padded = []
    for array in (data.X, data.y, np.ones(n, bool), known(data)):
        whole = np.zeros((size, *array.shape[1:]), array.dtype)
        whole[:n] = array[:n]
        padded.append(whole)
    return tuple(padded)


def _begins(mix: Mixture, data: Data, n: int) -> bool:
    """Say whether a mixture is over the first of these points."""
    c = int(np.sum(mix.mask))
    return (
        c <= n
        and np.array_equal(np.asarray(mix.X)[:c], data.X[:c])
        and np.array_equal(np.asarray(mix.noise)[:c], known(data)[:c])
    )


def _widened(mix: Mixture, size: int) -> Mixture:
    """Return the mixture with room for more points."""
    s, N = mix.alpha.shape
    more = size - N
    L = np.tile(np.eye(size), (s, 1, 1))
    L[:, :N, :N] = mix.L
    return mix._replace(
        X=np.pad(mix.X, ((0, more), (0, 0))),
        y=np.pad(mix.y, (0, more)),
        mask=np.pad(mix.mask, (0, more)),
        noise=np.pad(mix.noise, (0, more)),
        L=L,
        alpha=np.pad(mix.alpha, ((0, 0), (0, more))),
    )


@partial(jax.jit, static_argnames="kernel")
def moments(mix: Mixture, candidates: Array, *, kernel: str) -> Posterior:
    """Return mean and variance of the mixture at m candidates.

    Processes are read one after the other, those without weight not at all.

    Source: West (1979), Communications of the ACM 22, 532, for the running moments.
    """

    def add(sums: Any, one: Any) -> tuple[Any, None]:
        weight, hyper, L, alpha = one

        def count(sums: Any) -> Any:
            total, mean, within, between = sums
            at = read(hyper, mix.X, mix.mask, L, alpha, candidates, kernel=kernel)
            share = weight / (total + weight)
            gap = jnp.asarray(at.mean) - mean
            return (
                total + weight,
                mean + share * gap,
                within + share * (at.variance - within),
                (1.0 - share) * (between + share * gap**2),
            )

        return lax.cond(weight > 0.0, count, lambda sums: sums, sums), None

    zero = jnp.zeros(candidates.shape[0], mix.alpha.dtype)
    begin = jnp.zeros((), mix.alpha.dtype), zero, zero, zero
    each = mix.weight, mix.hyper, mix.L, mix.alpha
    (_, mean, within, between), _ = lax.scan(add, begin, each)
    return Posterior(mean, within + between)


@partial(jax.jit, static_argnames="kernel")
def joint(mix: Mixture, points: Array, candidates: Array, *, kernel: str) -> Cross:
    """Return the covariance of f at k points with f at m candidates, and the noise."""
    at = points, candidates
    middle = tuple(jnp.asarray(moments(mix, X, kernel=kernel).mean) for X in at)
    own = jnp.asarray(mix.hyper.mean)[:, None]
    return covaried(mix, at, (own, own), middle, kernel=kernel)


def covaried(
    mix: Mixture,
    at: tuple[Array, ...],
    own: tuple[Array, ...],
    middle: tuple[Array, ...],
    *,
    kernel: str,
) -> Cross:
    """Return the covariance of f at k points with f at m candidates, and the noise.

    Args:
        mix: The mixture; means of its hyperparameters do not count here.
        at: Points, (k, d), and candidates, (m, d).
        own: Prior mean of each process there, (s, k) and (s, m), or (s, 1).
        middle: Posterior mean of all together there, (k,) and (m,).
        kernel: As `composed.named` takes it.

    Source: Rasmussen and Williams (2006), eq. 2.24, and the law of total covariance.
    """
    points, candidates = at

    def add(sums: tuple[Array, Array], one: Any) -> tuple[tuple[Array, Array], None]:
        weight, hyper, L, alpha, near, far = one

        def half(at: Array, mean: Array) -> tuple[Array, Array]:
            K = between(kernel, hyper, mix.X, at)
            K = jnp.where(mix.mask[:, None], K, 0.0)
            return solve_triangular(L, K, lower=True), mean + alpha @ K

        def count(sums: tuple[Array, Array]) -> tuple[Array, Array]:
            (V, mean), (W, other) = half(points, near), half(candidates, far)
            own = between(kernel, hyper, points, candidates) - V.T @ W
            apart = jnp.outer(mean - middle[0], other - middle[1])
            return sums[0] + weight * (own + apart), sums[1] + weight * hyper.noise**2

        return lax.cond(weight > 0.0, count, lambda sums: sums, sums), None

    k, m, dtype = len(points), len(candidates), mix.alpha.dtype
    begin = jnp.zeros((k, m), dtype), jnp.zeros(k, dtype)
    each = mix.weight, mix.hyper, mix.L, mix.alpha, *own
    found, _ = lax.scan(add, begin, each)
    return Cross(*found)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames="kernel")
def drawn(key: Array, mix: Mixture, candidates: Array, *, kernel: str) -> Array:
    """Draw f once, jointly over all candidates: of one process, itself drawn."""
    key_choice, key_path = jax.random.split(key)
    k = jax.random.categorical(key_choice, jnp.log(mix.weight))
    stacked = mix.hyper, mix.L, mix.alpha
    hyper, L, alpha = jax.tree.map(lambda a: jnp.asarray(a)[k], stacked)
    X, mask, noise = mix.X, mix.mask, mix.noise
    return path(key_path, hyper, X, mask, L, alpha, candidates, noise, kernel=kernel)


def hyper_of(
    theta: NDArray[np.float64], level: NDArray[np.float64], trend: NDArray[np.float64]
) -> Hyper:
    """Return the hyperparameters of s processes in the unit of y.

    Args:
        theta: Logarithms of scale, shape and noise, (s, k + 2), for y with sd 1.
        level: Shift and spread of y, (2,).
        trend: As `exact.trend_sd`, (q,).
    """
    (shift, spread), s, e = level, len(theta), np.exp(theta)
    return Hyper(
        scale=spread * e[:, 0],
        length=e[:, 1:-1],  # type: ignore[arg-type]
        noise=spread * e[:, -1],
        mean=np.full(s, shift),  # type: ignore[arg-type]
        trend=np.tile(spread * trend, (s, 1)),
    )


class Reader:
    """What surrogates that keep a mixture in their state have in common."""

    name: ClassVar[str]
    kernel: str

    def predict(self, key: Array, state: Any, candidates: ArrayLike) -> Posterior:
        """Read the posterior at `candidates`, (m, d), as NumPy arrays, (m,)."""
        del key  # nothing is drawn
        at = np.asarray(candidates, np.float64)
        with float64():
            found = moments(self.mixture("predict", state), at, kernel=self.kernel)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def covariance(self, state: Any, points: ArrayLike, candidates: ArrayLike) -> Cross:
        """Return how f at `points`, (k, d), and at `candidates`, (m, d), vary."""
        at, to = (np.asarray(one, np.float64) for one in (points, candidates))
        with float64():
            mixture = self.mixture("covariance", state)
            found = joint(mixture, at, to, kernel=self.kernel)
        return Cross(*map(np.asarray, found))

    def draw(
        self, key: Array, state: Any, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        """Draw f once, jointly over all candidates, (m,)."""
        at = np.asarray(candidates, np.float64)
        with float64():
            mixture = self.mixture("draw", state)
            return np.asarray(drawn(key, mixture, at, kernel=self.kernel))

    def look(
        self, state: Any, pool: Any, candidates: ArrayLike
    ) -> tuple[Any, Posterior | None]:
        """Follow a pool to all points; `base.Resident` says how."""
        from aemtwin.surrogates.pools import look

        at, mixture = np.asarray(candidates, np.float64), self.mixture("look", state)
        with float64():
            return look(mixture, state.fitted, pool, at, kernel=self.kernel)

    def mixture(self, call: str, state: Any) -> Mixture:
        """Return the mixture of a state; without data there is none."""
        if state.mixture is None:
            raise without_data(f"{self.name}.{call}")
        found: Mixture = state.mixture
        return found
