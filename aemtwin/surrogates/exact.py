"""The algebra of an exact Gaussian process: hyperparameters in, posterior out.

Pure functions over padded data, plain JAX, nothing remembered: `condition` factorises
K, `read` solves against that factor in chunks of candidates, so that memory grows with
n · 4096 at most and never with m², and `objective` says how probable hyperparameters
are. A mean with unknown coefficients (a constant, a slope) is part of K: what is not
known of it counts in the variance. `composed` has the kernels, `search` looks for the
best hyperparameters and `nuts` samples them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates.base import Posterior
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.kernels import Prior

CHUNK = 4096  # candidates that are read at once
JITTERS = (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)  # parts of scale², tried in turn
MEAN_SD = 1.0  # prior of the constant mean, in standard deviations of y
SLOPE_SD = 3.5  # of a slope across the unit box: it alone gives y its own, 1/√12
SCALE_SD, NOISE_SD = 1.0, 1.5  # priors of the logarithms of scale and noise
NOISE = 0.1  # median of the noise, in standard deviations of y


class Hyper(NamedTuple):
    """Hyperparameters of a Gaussian process; scale, shape and noise are positive."""

    scale: Array  # (), prior standard deviation of f about its mean, unit of y
    length: Array  # (k,), shape of the kernel, such as lengths, unit of X
    noise: Array  # (), standard deviation of one measurement, unit of y
    mean: Array | float = 0.0  # (), prior mean of f, unit of y
    trend: Array | NDArray[np.float64] = np.zeros(0)  # (q,), sd of `basis`, unit of y


def basis(X: Array, q: int) -> Array:
    """Return the functions of the unknown mean: 1, then each x from the middle, (n, q).

    >>> basis(jnp.array([[0.5, 0.75]]), 3)
    Array([[1.  , 0.  , 0.25]], dtype=float32)
    """
    ones = jnp.ones((X.shape[0], 1), X.dtype)
    return jnp.concatenate([ones, X - 0.5], axis=1)[:, :q]


def trend_sd(mean: str, d: int) -> NDArray[np.float64]:
    """Return the prior sd of each coefficient of the mean, (q,), where y has sd 1.

    Args:
        mean: "zero", "constant" or "linear".
        d: Dimensions of X.
    """
    every = np.array([MEAN_SD, *[SLOPE_SD] * d])
    return every[: {"zero": 0, "constant": 1, "linear": 1 + d}[mean]]


def posterior(
    hyper: Hyper, X: Array, y: Array, X_new: Array, *, kernel: str = "matern52"
) -> Posterior:
    """Condition a Gaussian process on (X, y) and read it at X_new.

    Args:
        hyper: Hyperparameters, held as they are.
        X: Measured points, (n, d).
        y: Measured values, (n,).
        X_new: Where to read, (m, d).
        kernel: As `composed.named` takes it.

    Returns:
        Mean and variance of the latent f, (m,) each. NaN if no jitter up to 1e-4 of
        the prior variance makes K positive definite.

    Source: Rasmussen and Williams (2006), Algorithm 2.1.

    >>> hyper = Hyper(jnp.array(1.0), jnp.array([0.5]), jnp.array(0.0))
    >>> at = posterior(hyper, jnp.zeros((1, 1)), jnp.ones(1), jnp.zeros((1, 1)))
    >>> float(at.mean[0]), float(at.variance[0])
    (1.0, 0.0)
    """
    mask = jnp.ones(X.shape[0], bool)
    L, alpha, _ = condition(hyper, X, y, mask, kernel=kernel)
    return read(hyper, X, mask, L, alpha, X_new, kernel=kernel)


def condition(
    hyper: Hyper,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array | float = 0.0,
    *,
    kernel: str = "matern52",
) -> tuple[Array, Array, Array]:
    """Factorise K of padded data with the least jitter that works.

    Args:
        hyper: Hyperparameters.
        X: Points, (N, d); rows outside `mask` count for nothing.
        y: Values, (N,).
        mask: True where measured, (N,).
        noise: What is known of each measurement's sd, (N,) or (), unit of y; the sd
            that was learned comes on top.
        kernel: As `composed.named` takes it.

    Returns:
        L (N, N), α = K⁻¹(y − mean) (N,), and the jitter used, (), unit of y squared;
        L is NaN if none worked.
    """
    K = covariance(kernel, hyper, X, mask, noise)
    jitters = jnp.asarray(JITTERS, K.dtype) * hyper.scale**2

    def again(found: tuple[Array, Array]) -> Array:
        tried, L = found
        return (tried < len(JITTERS)) & ~jnp.all(jnp.isfinite(L))

    def factorise(found: tuple[Array, Array]) -> tuple[Array, Array]:
        tried, _ = found
        return tried + 1, _cholesky(K + jnp.diag(jnp.where(mask, jitters[tried], 0.0)))

    tried, L = lax.while_loop(
        again, factorise, (jnp.zeros((), jnp.int32), jnp.full_like(K, jnp.nan))
    )
    return L, weights(L, y, mask, hyper.mean), jitters[tried - 1]


def tries(jitter: Any, scale: Any) -> Any:
    """Return how many factorisations failed before those with this jitter, in all.

    Of arrays of NumPy or of JAX, alike.

    >>> int(tries(np.array([0.0, 4e-12]), np.array([1.0, 2.0])))
    2
    """
    share = (jitter / scale**2)[..., None]
    return (share > 1.5 * np.array(JITTERS)).sum()  # half a step more, for rounding


def weights(L: Array, y: Array, mask: Array, mean: Array | float) -> Array:
    """Return α = K⁻¹(y − mean), (N,), 0 where padded."""
    residual = jnp.where(mask, y - mean, 0.0)
    half = solve_triangular(L, residual, lower=True)
    return solve_triangular(L, half, lower=True, trans="T")


def read(
    hyper: Hyper,
    X: Array,
    mask: Array,
    L: Array,
    alpha: Array,
    X_new: Array,
    *,
    kernel: str = "matern52",
) -> Posterior:
    """Read the latent f at X_new, (m, d), from what `condition` returned.

    L is inverted once, for a product with L⁻¹ takes half the time of solving against L,
    though it has twice the operations; in float64 either is exact enough.

    Source: Rasmussen and Williams (2006), eqs. 2.25 and 2.26.
    """
    m, d = X_new.shape
    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)  # as even as can be, so that little is padded
    L_inv = solve_triangular(L, jnp.eye(L.shape[0], dtype=L.dtype), lower=True)

    def piece(at: Array) -> tuple[Array, Array]:
        K_new = jnp.where(mask[:, None], between(kernel, hyper, X, at), 0.0)
        V = L_inv @ K_new  # (N, rows)
        variance = before(hyper, at) - jnp.sum(V**2, axis=0)
        return hyper.mean + alpha @ K_new, jnp.maximum(variance, 0.0)

    if chunks == 1:
        return Posterior(*piece(X_new))
    padded = jnp.pad(X_new, ((0, chunks * rows - m), (0, 0)))
    mean, variance = lax.map(piece, padded.reshape(chunks, rows, d))
    return Posterior(mean.reshape(-1)[:m], variance.reshape(-1)[:m])


def between(kernel: str, hyper: Hyper, A: Array, B: Array) -> Array:
    """Return the prior covariance of f between rows of A and B, (n, m), unit of y²."""
    K = hyper.scale**2 * named(kernel).correlation(hyper.length, A, B)
    trend, q = jnp.asarray(hyper.trend), len(hyper.trend)
    return K + (basis(A, q) * trend**2) @ basis(B, q).T if q else K


def before(hyper: Hyper, A: Array) -> Array:
    """Return the prior variance of f at the rows of A, (n,), unit of y squared."""
    square = jnp.full(A.shape[0], hyper.scale**2, A.dtype)
    trend, q = jnp.asarray(hyper.trend), len(hyper.trend)
    return square + jnp.sum((basis(A, q) * trend) ** 2, axis=1) if q else square


def covariance(
    kernel: str,
    hyper: Hyper,
    X: Array,
    mask: Array,
    noise: Array | float = 0.0,
    jitter: float = 0.0,
) -> Array:
    """Return K with noise, (N, N); rows and columns outside the mask are I's."""
    both = mask[:, None] & mask[None, :]
    nugget = hyper.noise**2 + noise**2 + jitter * hyper.scale**2
    K = jnp.where(both, between(kernel, hyper, X, X), 0.0)
    return K + jnp.diag(jnp.where(mask, nugget, 1.0))


def objective(
    theta: Array,
    X: Array,
    u: Array,
    mask: Array,
    noise: Array | float = 0.0,
    *,
    kernel: str = "matern52",
    trend: tuple[float, ...] = (MEAN_SD,),
) -> tuple[Array, Array, Array]:
    """Return the negative log posterior of theta and its gradient.

    Padded rows contribute exactly 0.

    Args:
        theta: Logarithms of scale, shape and noise, (k + 2,).
        X: Points, (N, d).
        u: Standardised values, (N,), 0 where padded.
        mask: True where measured, (N,).
        noise: Known sd of each, (N,) or (), standardised.
        kernel: As `composed.named` takes it.
        trend: Of the mean, as `trend_sd` returns it.

    Returns:
        Value (), gradient (k + 2,), and the negative log likelihood ().

    Source: Rasmussen and Williams (2006), eqs. 2.30 and 5.9; eq. 2.40 for the mean.
    """

    def K_of(t: Array) -> Array:
        unit = natural(t)._replace(trend=np.array(trend))
        return covariance(kernel, unit, X, mask, noise, 1e-10)

    K, pull = jax.vjp(K_of, theta)
    L, count = _cholesky(K), jnp.sum(mask)
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    w = L_inv @ u
    alpha = w @ L_inv
    nll = 0.5 * w @ w + jnp.sum(jnp.log(jnp.diag(L)))
    nll = nll + 0.5 * jnp.log(2.0 * jnp.pi) * count
    (slope,) = pull(0.5 * (L_inv.T @ L_inv - jnp.outer(alpha, alpha)))
    median, sd = prior(kernel, X.shape[1])
    z = (theta - median) / sd
    return nll + 0.5 * z @ z, slope + z / sd, nll


def prior(kernel: str, d: int) -> Prior:
    """Return median and sd of theta's normal prior: y has sd 1, X fills a unit box.

    The median of the scale is 1, that of the noise `NOISE`; `kernels` has the shapes'.
    """
    shape, shape_sd = named(kernel).prior(d)
    median = np.concatenate([[0.0], shape, [np.log(NOISE)]])
    return median, np.concatenate([[SCALE_SD], shape_sd, [NOISE_SD]])


def natural(theta: Array) -> Hyper:
    """Return the hyperparameters of which theta (k + 2,) is the logarithm."""
    e = jnp.exp(theta)
    return Hyper(scale=e[0], length=e[1:-1], noise=e[-1])


def _cholesky(K: Array) -> Array:
    """Return the lower factor; NaN where K is not positive definite."""
    L: Array = lax.linalg.cholesky(K, symmetrize_input=False)
    return L


def standardise(y: Array, mask: Array) -> tuple[Array, Array, Array]:
    """Return (y − shift)/spread, 0 where padded, with shift and spread in unit of y.

    Spread is the standard deviation, or |y| itself (or 1) where y is constant.
    """
    n = jnp.sum(mask)
    top = jnp.max(jnp.where(mask, jnp.abs(y), 0.0))
    top = jnp.where(top > 0, top, 1.0)
    v = jnp.where(mask, y / top, 0.0)  # no square under- or overflows
    shift = jnp.sum(v) / n
    sd = jnp.sqrt(jnp.sum(jnp.where(mask, (v - shift) ** 2, 0.0)) / n)
    spread = jnp.where(sd > 1e-10, sd, 1.0)
    return jnp.where(mask, (v - shift) / spread, 0.0), top * shift, top * spread
