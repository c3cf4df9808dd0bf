"""The coordinates in which hyperparameters are sampled, and where sampling begins."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from aemtwin.surrogates.exact import prior


def straight(phi: Any) -> Any:
    """Return theta for the coordinates phi in which it is sampled, (..., k + 2) each.

    Where the data are explained by signal, the noise is open towards 0, and where they
    are explained by noise, the signal is: in theta the posterior bends around a corner.
    In phi = (log √(scale² + noise²), log shape, log(scale/noise)) it lies along a
    line. The map keeps volume, so that densities need no correction.
    """
    xp: Any = np if isinstance(phi, np.ndarray) else jnp
    total, ratio = phi[..., :1], phi[..., -1:]
    scale = total - 0.5 * xp.logaddexp(0.0, -2.0 * ratio)
    noise = total - 0.5 * xp.logaddexp(0.0, 2.0 * ratio)
    return xp.concatenate([scale, phi[..., 1:-1], noise], axis=-1)


def prior_draws(chains: int, samples: int, kernel: str, d: int) -> NDArray[np.float64]:
    """Return draws of phi from its prior, (chains, samples, k + 2), without chance.

    They are the points of a lattice that fills the unit cube evenly, sent through the
    quantiles of theta's prior.

    Source: Martin Roberts (2018), "The unreasonable effectiveness of quasirandom
    sequences", for the lattice, whose generator solves g^(p+1) = g + 1.
    """
    middle, sd = prior(kernel, d)
    p, g = len(middle), 2.0
    for _ in range(64):  # a contraction towards the root
        g = (1.0 + g) ** (1.0 / (p + 1))
    count = np.arange(1, chains * samples + 1)[:, None]
    cube = (0.5 + count * g ** -np.arange(1.0, p + 1)) % 1.0
    normal = np.vectorize(NormalDist().inv_cdf)(np.clip(cube, 1e-6, 1.0 - 1e-6))
    theta = (middle + sd * normal).reshape(samples, chains, p).swapaxes(0, 1)
    scale, noise = theta[..., :1], theta[..., -1:]
    total = 0.5 * np.logaddexp(2.0 * scale, 2.0 * noise)
    return np.concatenate([total, theta[..., 1:-1], scale - noise], axis=-1)
