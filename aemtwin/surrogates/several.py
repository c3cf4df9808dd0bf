"""The algebra of several outputs over the same points: one kernel, one Cholesky factor.

Outputs are independent given the data; each has its own level and spread, and in units
of that spread all share scale, shape and noise. What one output takes from the points,
K and its factor, serves all of them: p outputs cost one, and O(n²·p) more. `exact` has
the algebra of one output, `multi_gp` the surrogate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from aemtwin.surrogates import exact
from aemtwin.surrogates.base import Cross, Posterior
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.draws import WAVES
from aemtwin.surrogates.exact import Hyper, before, between, prior

VARIES = 0.5  # mean square of a standardised output above which it is no constant


class Shared(NamedTuple):
    """p processes over the same N padded points, standardised, with one factor."""

    hyper: Hyper  # of each output in units of its spread
    X: Any  # (N, d)
    mask: Any  # (N,), True where measured
    noise: Any  # (N,), known sd of each measurement, no unit
    L: Any  # (N, N), Cholesky factor of K with noise, identity where padded
    alpha: Any  # (N, p), K⁻¹ U, 0 where padded
    shift: Any  # (p,), unit of each output
    spread: Any  # (p,), by which means grow, unit of each output
    sd: Any  # (p,), by which standard deviations grow, likewise
    jitter: Any  # (), no unit
    misfit: Any  # (p,), uᵀK⁻¹u/n; about 1 where the shared hyperparameters suit


def objective(
    theta: Array,
    X: Array,
    U: Array,
    mask: Array,
    counts: Array,
    noise: Array | float = 0.0,
    *,
    kernel: str = "matern52",
    trend: tuple[float, ...] = (exact.MEAN_SD,),
) -> tuple[Array, Array, Array]:
    """Return the negative log posterior of theta over p outputs, and its gradient.

    The outputs are a matrix normal variable with covariance K over points and the
    identity over outputs: its log density is that of each output, summed. With one
    output it is `exact.objective`.

    Args:
        theta: Logarithms of scale, shape and noise, (k + 2,).
        X: Points, (N, d).
        U: Standardised values, (N, p), 0 where padded.
        mask: True where measured, (N,).
        counts: How often each output counts, (p,).
        noise: Known sd of each measurement, (N,) or (), standardised.
        kernel: As `composed.named` takes it.
        trend: Of the mean, as `exact.trend_sd` returns it.

    Returns:
        Value (), gradient (k + 2,), and the negative log likelihood ().

    Source: Gupta and Nagar (2000), Matrix Variate Distributions, chapter 2, for the
    density; Rasmussen and Williams (2006), eq. 5.9, for the gradient of each output.
    """

    def K_of(t: Array) -> Array:
        unit = exact.natural(t)._replace(trend=np.array(trend))
        return exact.covariance(kernel, unit, X, mask, noise, 1e-10)

    K, pull = jax.vjp(K_of, theta)
    L = lax.linalg.cholesky(K, symmetrize_input=False)  # NaN where it is not positive
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    W, p = L_inv @ U, jnp.sum(counts)
    alpha = L_inv.T @ W  # (N, p)
    half_log_det = jnp.sum(jnp.log(jnp.diag(L)))
    nll = 0.5 * jnp.sum(counts * W**2) + p * half_log_det
    nll = nll + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(mask) * p
    (slope,) = pull(0.5 * (p * L_inv.T @ L_inv - (counts * alpha) @ alpha.T))
    median, sd = prior(kernel, X.shape[1])
    z = (theta - median) / sd
    return nll + 0.5 * z @ z, slope + z / sd, nll


def standardise(Y: Array, mask: Array) -> tuple[Array, Array]:
    """Return (Y − shift)/spread, (N, p), and the shifts and spreads, (2, p)."""
    U, shift, spread = jax.vmap(exact.standardise, (1, None), (1, 0, 0))(Y, mask)
    return U, jnp.stack([shift, spread])


def counted(U: Array, mask: Array) -> tuple[Array, Array]:
    """Return which standardised outputs vary, (p,), and how often each counts, (p,).

    A constant says nothing of shapes that others have, and would draw their scale to
    nothing; it counts only where all are constant.
    """
    varies = jnp.sum(jnp.where(mask[:, None], U, 0.0) ** 2, 0) > VARIES * jnp.sum(mask)
    counts = jnp.where(jnp.any(varies), varies, True)
    return varies, counts.astype(U.dtype)


@partial(jax.jit, static_argnames=("kernel", "trend"))
def conditioned(
    theta: Array,
    level: Array,
    X: Array,
    Y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    trend: tuple[float, ...],
) -> Shared:
    """Condition all outputs on all points."""
    hyper = exact.natural(theta)._replace(trend=jnp.array(trend))
    shift, spread = level
    U = jnp.where(mask[:, None], (Y - shift) / spread, 0.0)
    known = noise / spread[0]
    L, _, jitter = exact.condition(hyper, X, U[:, 0], mask, known, kernel=kernel)
    half = solve_triangular(L, U, lower=True)
    alpha = solve_triangular(L, half, lower=True, trans="T")
    n = jnp.sum(mask)
    varies, counts = counted(U, mask)
    # A constant beside others has as its scale what one value as large as its spread
    # and n values of 0 have: they say that it varies less.
    sd = jnp.where(varies | (counts == 1.0), spread, spread / jnp.sqrt(1.0 + n))
    misfit = jnp.sum(half**2, axis=0) / n
    return Shared(hyper, X, mask, known, L, alpha, shift, spread, sd, jitter, misfit)


def _half(of: Shared, at: Array, kernel: str) -> tuple[Array, Array]:
    """Return the prior covariance with the points measured, and L⁻¹ of it, (N, m)."""
    K = jnp.where(of.mask[:, None], between(kernel, of.hyper, of.X, at), 0.0)
    return K, solve_triangular(of.L, K, lower=True)


def in_pieces(piece: Callable[[Array], Any], candidates: Array) -> Any:
    """Map candidates (m, d) to arrays with an axis of m first, a chunk at a time."""
    m, d = candidates.shape
    chunks = max(1, -(-m // exact.CHUNK))
    if chunks == 1:
        return piece(candidates)
    rows = -(-m // chunks)
    padded = jnp.pad(candidates, ((0, chunks * rows - m), (0, 0)))
    found = lax.map(piece, padded.reshape(chunks, rows, d))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:m], found)


@partial(jax.jit, static_argnames="kernel")
def moments(of: Shared, candidates: Array, *, kernel: str) -> Posterior:
    """Return means and variances, (m, p) each."""

    def piece(at: Array) -> tuple[Array, Array]:
        K, V = _half(of, at, kernel)
        variance = jnp.maximum(before(of.hyper, at) - jnp.sum(V**2, axis=0), 0.0)
        return of.shift + of.spread * (K.T @ of.alpha), variance[:, None] * of.sd**2

    return Posterior(*in_pieces(piece, candidates))


@partial(jax.jit, static_argnames="kernel")
def joint(of: Shared, points: Array, candidates: Array, *, kernel: str) -> Cross:
    """Return covariances (k, m, p) of each output, and noises (k, p)."""
    (_, V), (_, W) = (_half(of, at, kernel) for at in (points, candidates))
    C = between(kernel, of.hyper, points, candidates) - V.T @ W
    noise = jnp.broadcast_to((of.hyper.noise * of.sd) ** 2, (len(points), len(of.sd)))
    return Cross(C[:, :, None] * of.sd**2, noise)  # type: ignore[arg-type]


@partial(jax.jit, static_argnames="kernel")
def drawn(key: Array, of: Shared, candidates: Array, *, kernel: str) -> Array:
    """Draw every output once, jointly over all candidates, (m, p).

    As `draws.path`, with the frequencies of the waves shared by all outputs: heights
    are drawn for each, so that outputs are uncorrelated, and cosines are taken once.

    Source: Wilson et al. (2020), ICML, eq. 13; Rahimi and Recht (2007), NIPS.
    """
    key_omega, key_wave, key_trend, key_noise = jax.random.split(key, 4)
    hyper, p, d = of.hyper, len(of.sd), candidates.shape[1]
    dtype, q = of.alpha.dtype, len(hyper.trend)
    omega = named(kernel).frequencies(key_omega, jnp.asarray(hyper.length), WAVES, d)
    heights = jax.random.normal(key_wave, (2, WAVES, p), dtype)
    heights = heights * hyper.scale / jnp.sqrt(1.0 * WAVES)
    slopes = jax.random.normal(key_trend, (q, p), dtype)
    slopes = slopes * jnp.asarray(hyper.trend)[:, None]

    def wave(at: Array) -> Array:
        angle = at @ omega.T
        rough = jnp.cos(angle) @ heights[0] + jnp.sin(angle) @ heights[1]
        return rough + exact.basis(at, q) @ slopes if q else rough

    sd = jnp.sqrt(hyper.noise**2 + of.noise**2)
    error = sd[:, None] * jax.random.normal(key_noise, of.alpha.shape, dtype)
    seen = jnp.where(of.mask[:, None], wave(of.X) + error, 0.0)
    half = solve_triangular(of.L, seen, lower=True)
    weight = solve_triangular(of.L, half, lower=True, trans="T")

    def piece(at: Array) -> Array:
        K = jnp.where(of.mask[:, None], between(kernel, hyper, of.X, at), 0.0)
        about = wave(at) - K.T @ weight  # a draw less its mean, in units of sd
        return jnp.asarray(of.shift + of.spread * (K.T @ of.alpha) + of.sd * about)

    found: Array = in_pieces(piece, candidates)
    return found
