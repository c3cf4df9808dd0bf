"""The algebra of an exact Gaussian process: hyperparameters in, posterior out.

Pure functions over padded data, plain JAX, nothing remembered: `condition` factorises
K, `read` solves against that factor in chunks of candidates, so that memory grows with
n · 4096 at most and never with m², and `objective` says how probable hyperparameters
are. `kernels` has the covariances, `search` looks for the best hyperparameters and
`nuts` samples them; `gp` and `bayes_gp` make surrogates of it all.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates.base import Posterior
from aemtwin.surrogates.kernels import KERNELS

CHUNK = 4096  # candidates that are read at once
JITTERS = (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4)  # parts of scale², tried in turn
MEAN_SD = 1.0  # prior of the constant mean, in standard deviations of y
PRIOR_SD = 1.0, 1.0, 1.5  # of the logarithms of scale, length, noise


class Hyper(NamedTuple):
    """Hyperparameters of a Gaussian process; scale, length and noise are positive."""

    scale: Array  # (), prior standard deviation of f, unit of y
    length: Array  # (d,), unit of X
    noise: Array  # (), standard deviation of one measurement, unit of y
    mean: Array | float = 0.0  # (), constant prior mean of f, unit of y


def posterior(
    hyper: Hyper, X: Array, y: Array, X_new: Array, *, kernel: str = "matern52"
) -> Posterior:
    """Condition a Gaussian process on (X, y) and read it at X_new.

    Args:
        hyper: Hyperparameters, held as they are.
        X: Measured points, (n, d).
        y: Measured values, (n,).
        X_new: Where to read, (m, d).
        kernel: "matern52" or "rbf".

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
    hyper: Hyper, X: Array, y: Array, mask: Array, *, kernel: str = "matern52"
) -> tuple[Array, Array, Array]:
    """Factorise K of padded data with the least jitter that works.

    Args:
        hyper: Hyperparameters.
        X: Points, (N, d); rows outside `mask` count for nothing.
        y: Values, (N,).
        mask: True where measured, (N,).
        kernel: "matern52" or "rbf".

    Returns:
        L (N, N), α = K⁻¹(y − mean) (N,), and the jitter used, (), unit of y squared;
        L is NaN if none worked.
    """
    K = covariance(kernel, hyper, X, mask)
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
    residual = jnp.where(mask, y - hyper.mean, 0.0)
    half = solve_triangular(L, residual, lower=True)
    return L, solve_triangular(L, half, lower=True, trans="T"), jitters[tried - 1]


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

    Source: Rasmussen and Williams (2006), eqs. 2.25 and 2.26.
    """
    m, d = X_new.shape
    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)  # as even as can be, so that little is padded

    def piece(at: Array) -> tuple[Array, Array]:
        K_new = KERNELS[kernel](hyper.scale, hyper.length, X, at)
        K_new = jnp.where(mask[:, None], K_new, 0.0)  # (N, rows)
        V = solve_triangular(L, K_new, lower=True)
        variance = hyper.scale**2 - jnp.sum(V**2, axis=0)
        return hyper.mean + alpha @ K_new, jnp.maximum(variance, 0.0)

    if chunks == 1:
        return Posterior(*piece(X_new))
    padded = jnp.pad(X_new, ((0, chunks * rows - m), (0, 0)))
    mean, variance = lax.map(piece, padded.reshape(chunks, rows, d))
    return Posterior(mean.reshape(-1)[:m], variance.reshape(-1)[:m])


def objective(
    theta: Array, X: Array, u: Array, mask: Array, *, kernel: str = "matern52"
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Return the negative log posterior of theta and its gradient.

    The constant mean has the prior N(0, `MEAN_SD`²) and is set to its best value for
    this theta, so its own derivative drops out. Padded rows contribute exactly 0.

    Args:
        theta: Logarithms of scale, length and noise, (d + 2,).
        X: Points, (N, d).
        u: Standardised values, (N,), 0 where padded.
        mask: True where measured, (N,).
        kernel: "matern52" or "rbf".

    Returns:
        Value (), gradient (d + 2,), and (negative log likelihood, mean), () each.

    Source: Rasmussen and Williams (2006), eqs. 2.30 and 5.9.
    """
    K, pull = jax.vjp(lambda t: covariance(kernel, natural(t), X, mask, 1e-10), theta)
    L, ones = _cholesky(K), mask.astype(K.dtype)
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    w, w1 = solve_triangular(L, jnp.stack([u, ones], axis=1), lower=True).T
    mean = (w1 @ w) / (w1 @ w1 + MEAN_SD**-2)
    e = w - mean * w1
    alpha = e @ L_inv
    nll = 0.5 * e @ e + jnp.sum(jnp.log(jnp.diag(L)))
    nll = nll + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(ones)
    (slope,) = pull(0.5 * (L_inv.T @ L_inv - jnp.outer(alpha, alpha)))
    middle, sd = prior(X.shape[1])
    z = (theta - middle) / sd
    value = nll + 0.5 * (mean / MEAN_SD) ** 2 + 0.5 * z @ z
    return value, slope + z / sd, (nll, mean)


def prior(d: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and sd of theta's normal prior: y has sd 1, X fills a unit box.

    Medians: scale 1, length 0.25·√d (distances in a box grow so), noise 0.1.
    """
    scale_sd, length_sd, noise_sd = PRIOR_SD
    median = [0.0, *[np.log(0.25 * np.sqrt(d))] * d, np.log(0.1)]
    return np.array(median), np.array([scale_sd, *[length_sd] * d, noise_sd])


def natural(theta: Array) -> Hyper:
    """Return the hyperparameters of which theta (d + 2,) is the logarithm."""
    e = jnp.exp(theta)
    return Hyper(scale=e[0], length=e[1:-1], noise=e[-1])


def straight(phi: Array) -> Array:
    """Return theta for the coordinates phi in which it is sampled, (d + 2,) each.

    Where the data are explained by signal, the noise is open towards 0, and where they
    are explained by noise, the signal is: in theta the posterior bends around a corner.
    In phi = (log √(scale² + noise²), log lengths, log(scale/noise)) it lies along a
    line. The map keeps volume, so that densities need no correction.
    """
    total, ratio = phi[0], phi[-1]
    scale = total + 0.5 * jax.nn.log_sigmoid(2.0 * ratio)
    noise = total + 0.5 * jax.nn.log_sigmoid(-2.0 * ratio)
    return jnp.concatenate([scale[None], phi[1:-1], noise[None]])


def prior_draws(chains: int, samples: int, d: int) -> NDArray[np.float64]:
    """Return draws of phi from its prior, (chains, samples, d + 2), without chance.

    They are the points of a lattice that fills the unit cube evenly, sent through the
    quantiles of theta's prior.

    Source: Martin Roberts (2018), "The unreasonable effectiveness of quasirandom
    sequences", for the lattice, whose generator solves g^(p+1) = g + 1.
    """
    p, g = d + 2, 2.0
    for _ in range(64):  # a contraction towards the root
        g = (1.0 + g) ** (1.0 / (p + 1))
    count = np.arange(1, chains * samples + 1)[:, None]
    cube = (0.5 + count * g ** -np.arange(1.0, p + 1)) % 1.0
    normal = np.vectorize(NormalDist().inv_cdf)(np.clip(cube, 1e-6, 1.0 - 1e-6))
    middle, sd = prior(d)
    theta = (middle + sd * normal).reshape(samples, chains, p).swapaxes(0, 1)
    scale, noise = theta[..., :1], theta[..., -1:]
    total = 0.5 * np.logaddexp(2.0 * scale, 2.0 * noise)
    return np.concatenate([total, theta[..., 1:-1], scale - noise], axis=-1)


def _cholesky(K: Array) -> Array:
    """Return the lower factor; NaN where K is not positive definite."""
    L: Array = lax.linalg.cholesky(K, symmetrize_input=False)
    return L


def covariance(
    kernel: str, hyper: Hyper, X: Array, mask: Array, jitter: float = 0.0
) -> Array:
    """Return K with noise, (N, N); rows and columns outside the mask are I's."""
    K = KERNELS[kernel](hyper.scale, hyper.length, X, X)
    both = mask[:, None] & mask[None, :]
    nugget = hyper.noise**2 + jitter * hyper.scale**2
    return jnp.where(both, K, 0.0) + jnp.diag(jnp.where(mask, nugget, 1.0))


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
