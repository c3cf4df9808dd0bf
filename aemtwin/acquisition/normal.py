"""Functions of the standard normal, to nearly full precision in both tails.

Scores of acquisitions differ by hundreds of nats where little can be gained, and what
is left of a difference of two nearly equal numbers there is no order. `analytic`,
`information` and `hypervolume` are sums of these functions. Plain JAX, any shape.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

DEPTH = 32  # terms of the continued fraction; full precision for z < −4
NEAR = 4.0  # standard deviations from which on the continued fraction is used


def mills(t: Array) -> Array:
    """Return A(t), where Φ(−t) = φ(t)/(t + A), for t ≥ 4.

    It is the continued fraction 1/(t + 2/(t + 3/(t + ...))), all terms positive. Of
    t beyond 1e77 in float64 the value is that at 1e77, so that t² stays finite.

    Source: Abramowitz and Stegun (1964), 26.2.14.
    """
    t = far(t)
    A: Array = jax.lax.fori_loop(
        0, DEPTH, lambda k, tail: (DEPTH - k) / (t + tail), 0.0 * t
    )
    return A


def far(t: Array) -> Array:
    """Return t, at least 4 and so small that t² is finite."""
    return jnp.clip(t, NEAR, float(np.finfo(t.dtype).max) ** 0.25)


def cdf(z: Array) -> Array:
    """Return Φ(z), the standard normal distribution; `ndtr` takes eight times as long.

    >>> float(cdf(jnp.array(0.0)))
    0.5
    """
    return 0.5 * jax.lax.erfc(-z / np.sqrt(2.0).astype(z.dtype))


def log_phi(t: Array) -> Array:
    """Return the logarithm of the standard normal density φ(t)."""
    return -0.5 * t**2 - 0.5 * jnp.log(2.0 * jnp.pi)


def log_cdf(z: Array) -> Array:
    """Return log Φ(z), to nearly full precision for any z, as `log_h`.

    >>> round(float(log_cdf(jnp.array(-10.0))), 4)
    -53.2313
    """
    near = jnp.maximum(z, -NEAR)  # each branch sees only what it can do
    t = far(-z)
    above = jnp.log1p(-cdf(-near))  # keeps what is missing to 1
    below = log_phi(t) - jnp.log(t + mills(t))
    direct = jnp.where(z > 0, above, jnp.log(cdf(near)))
    return jnp.where(z >= -NEAR, direct, below)


def log_h(z: Array) -> Array:
    """Return log(φ(z) + z Φ(z)), to nearly full precision for any z.

    For z < −4 the two terms cancel. There φ + zΦ = φ · A/(t + A) with t = −z and A of
    `mills`: nothing is subtracted. In float64, z below −1e77 counts as −1e77.

    Args:
        z: Gap to the best in standard deviations, any shape.

    Source: Ament, Daulton, Eriksson, Balandat and Bakshy (2023), arXiv:2310.20708,
    for the function; the form for z < −4 derived here.

    >>> round(float(log_h(jnp.array(0.0))), 6)
    -0.918939
    """
    near = jnp.maximum(z, -NEAR)
    t = far(-z)
    phi = jnp.exp(-0.5 * near**2) / jnp.sqrt(2.0 * jnp.pi)
    direct, A = phi + near * cdf(near), mills(t)
    tail = jnp.where(z >= -NEAR, 0.0, log_phi(t))
    return tail + jnp.log(jnp.where(z >= -NEAR, direct, A / (t + A)))


def log_gain(gamma: Array) -> Array:
    """Return log of γφ(γ)/(2Φ(γ)) − log Φ(γ), to nearly full precision for any γ.

    That is by how many nats the entropy of a normal value falls once it is known to
    lie below its mean + γ standard deviations. With t = |γ| > 3 and A of
    `analytic.mills` it is, on the left, log(t + A) + ½ log 2π − tA/2, and on the right
    φ(t) · (t/(2Φ(t)) + l/(t + A)), where l → 1 is −log(1 − Q)/Q of Q = Φ(−t): neither
    subtracts what nearly cancels.

    Source: Wang and Jegelka (2017), ICML, eq. 6; the forms for |γ| > 4 derived here.

    >>> round(float(log_gain(jnp.array(0.0))), 6)  # log log 2
    -0.366513
    """
    near = jnp.clip(gamma, -NEAR, NEAR)
    below = cdf(near)
    half = 0.5 * near * jnp.exp(log_phi(near)) / below
    middle = jnp.log(half - jnp.log1p(-cdf(-near)))
    t = far(jnp.abs(gamma))
    A = mills(t)
    left = jnp.log(jnp.log(t + A) + 0.5 * jnp.log(2.0 * jnp.pi) - 0.5 * t * A)
    Q = cdf(-t)
    some = jnp.where(Q > 0, Q, 1.0)
    slope = jnp.where(Q > 0, -jnp.log1p(-jnp.where(Q > 0, Q, 0.5)) / some, 1.0)
    right = log_phi(t) + jnp.log(0.5 * t / (1.0 - Q) + slope / (t + A))
    return jnp.where(gamma < -NEAR, left, jnp.where(gamma > NEAR, right, middle))
