"""Draws of the latent f, jointly over all candidates, without a matrix of m × m.

A draw of the prior is a sum of random waves, and Matheron's rule turns it into a draw
of the posterior: add what the measured points correct of it. `path` is the arithmetic,
plain JAX, and knows no surrogate; `gp`, `bayes_gp` and `dkl` call it on their own
inputs after `exact.condition`. Thompson sampling in `aemtwin.acquisition` reads draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from aemtwin.surrogates.composed import named
from aemtwin.surrogates.exact import CHUNK, Hyper, basis, between

WAVES = 1024  # of a draw of the prior; each counts for two random Fourier features


def path(
    key: Array,
    hyper: Hyper,
    X: Array,
    mask: Array,
    L: Array,
    alpha: Array,
    candidates: Array,
    known: Array | float = 0.0,
    *,
    kernel: str = "matern52",
    waves: int = WAVES,
) -> Array:
    """Draw the latent f once, jointly over all candidates.

    Over many draws, mean and variance at each candidate are those of `exact.read`,
    whatever the number of waves; more waves make each single draw more nearly Gaussian.

    Args:
        key: A JAX key, used here and nowhere else.
        hyper: Hyperparameters, held as they are.
        X: Measured points, (N, d); rows outside `mask` count for nothing.
        mask: True where measured, (N,).
        L: Cholesky factor of K with noise, (N, N), as `exact.condition` returns it.
        alpha: K⁻¹(y − mean), (N,), likewise.
        candidates: Where to draw, (m, d).
        known: What is known of each measurement's sd, (N,) or (), as `condition` took.
        kernel: As `composed.named` takes it.
        waves: Random waves of which the draw of the prior is the sum.

    Returns:
        The draw, (m,), unit of y, without measurement noise.

    Source: Wilson et al. (2020), ICML, "Efficiently sampling functions from Gaussian
    process posteriors", eq. 13, for the rule; `prior` for the waves.
    """
    key_prior, key_noise = jax.random.split(key)
    m, d = candidates.shape
    wave = prior(key_prior, hyper, d, kernel=kernel, waves=waves, dtype=L.dtype)
    noise = jax.random.normal(key_noise, alpha.shape, L.dtype)
    noise = noise * jnp.sqrt(hyper.noise**2 + known**2)
    seen = jnp.where(mask, wave(X) + noise, 0.0)  # what the prior would have measured
    half = solve_triangular(L, seen, lower=True)
    weight = alpha - solve_triangular(L, half, lower=True, trans="T")
    weight = jnp.where(mask, weight, 0.0)

    def piece(at: Array) -> Array:
        K_new = between(kernel, hyper, X, at)  # (N, rows)
        return hyper.mean + wave(at) + weight @ K_new

    chunks = max(1, -(-m // CHUNK))
    rows = -(-m // chunks)
    if chunks == 1:
        return piece(candidates)
    padded = jnp.pad(candidates, ((0, chunks * rows - m), (0, 0)))
    drawn: Array = lax.map(piece, padded.reshape(chunks, rows, d))
    return drawn.reshape(-1)[:m]


def prior(
    key: Array,
    hyper: Hyper,
    d: int,
    *,
    kernel: str,
    waves: int,
    dtype: np.dtype[Any],
) -> Callable[[Array], Array]:
    """Draw a function of the prior, less its mean: a sum of random waves.

    Each wave r·cos(ω·x + φ) is a·cos(ω·x) + b·sin(ω·x) with a and b normal; its
    frequency is drawn from the spectrum of the kernel. What is open of the mean is
    drawn too.

    Args:
        key: A JAX key, used here and nowhere else.
        hyper: Scale, shape and trend.
        d: Dimensions.
        kernel: As `composed.named` takes it.
        waves: How many.
        dtype: Of the draw.

    Returns:
        The function drawn, from points (m, d) to values (m,), unit of y.

    Source: Rahimi and Recht (2007), NIPS, Theorem 1 and eq. 1 for the waves.
    """
    key_omega, key_wave, key_trend = jax.random.split(key, 3)
    omega = named(kernel).frequencies(
        key_omega, jnp.asarray(hyper.length, dtype), waves, d
    )
    a, b = jax.random.normal(key_wave, (2, waves), dtype)
    height, phase = jnp.hypot(a, b), jnp.arctan2(b, a)
    trend, q = jnp.asarray(hyper.trend), len(hyper.trend)
    slopes = trend * jax.random.normal(key_trend, (q,), dtype)

    def wave(at: Array) -> Array:
        angle = at @ omega.T + phase  # (m, waves)
        rough = hyper.scale / jnp.sqrt(1.0 * waves) * (jnp.cos(angle) @ height)
        return rough + basis(at, q) @ slopes if q else rough

    return wave
