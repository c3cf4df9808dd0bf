"""What a deep kernel reads: patches folded by their symmetry, and a net over them.

`summarise` replaces the pixels of a patch by what no turn or mirroring changes, and
`Features` is the Flax network that maps them to a few numbers. `ensemble` trains many
such nets at once, `dkl` makes a surrogate of them.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import NDArray


class Features(nn.Module):
    """A multilayer perceptron from one row of inputs to its latent features.

    Weights are of unit size and divided by the root of the layer's inputs, so that one
    prior suits layers of any width (the parametrisation of neural tangents).

    Source: Jacot, Gabriel and Hongler (2018), NeurIPS, section 2.
    """

    widths: tuple[int, ...]  # of the hidden layers
    features: int  # of the last, which is linear

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Map rows (n, p) float32 to features (n, features) float32."""
        for k, width in enumerate((*self.widths, self.features)):
            shape = h.shape[-1], width
            normal, zeros = nn.initializers.normal(1.0), nn.initializers.zeros
            kernel = self.param(f"kernel_{k}", normal, shape, jnp.float32)
            bias = self.param(f"bias_{k}", zeros, (width,), jnp.float32)
            h = h @ kernel / np.sqrt(shape[0]).astype(np.float32) + bias
            if k < len(self.widths):
                h = jnp.maximum(h, 0.0)
        return h


def parameter_shapes(network: Features, p: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of a net over p inputs, by name."""
    found: dict[str, tuple[int, ...]] = {}
    for k, width in enumerate((*network.widths, network.features)):
        found |= {f"kernel_{k}": (p, width), f"bias_{k}": (width,)}
        p = width
    return found


def summarise(X: Array, *, coordinates: int, size: int) -> Array:
    """Return what the net reads of X, float32.

    Pixels of a patch which a quarter turn or a mirror image exchanges form a ring of
    up to eight, and enter as their mean and their standard deviation: a patch of 8 × 8
    as 10 rings. So the net need not learn from few points that the specimen has no
    preferred direction.

    Args:
        X: Positions in the unit box, then patches, (n, coordinates + patches · size²);
            without patches the net reads the positions.
        coordinates: How many columns are positions.
        size: Pixels along a side of each patch; 0 takes the columns as they are.

    Returns:
        Inputs, (n, p) float32, of about unit size.
    """
    if X.shape[1] == coordinates:
        return jnp.asarray((X - 0.5) * np.sqrt(12.0), jnp.float32)
    pixels = X[:, coordinates:]
    if size == 0:
        return pixels.astype(jnp.float32)
    patches = pixels.reshape(len(X), -1, size * size)
    average = rings(size)
    mean = patches @ average
    spread = jnp.sqrt(jnp.maximum((patches**2) @ average - mean**2, 0.0))
    both = jnp.concatenate([mean, spread], axis=-1).astype(jnp.float32)
    return both.reshape(len(X), -1)


def inputs(d: int, *, coordinates: int, size: int) -> int:
    """Return how many inputs `summarise` makes of d columns."""
    if d == coordinates or size == 0:
        return max(d - coordinates, 0) or d
    return 2 * int(rings(size).shape[1]) * (d - coordinates) // size**2


def rings(size: int) -> NDArray[np.float64]:
    """Return the average over each ring of a size × size patch, (size², rings).

    >>> rings(3).shape, rings(3)[:, 0].tolist()
    ((9, 3), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    """
    off = np.abs(2 * np.arange(size) - (size - 1))
    near, far = np.minimum.outer(off, off), np.maximum.outer(off, off)
    _, ring = np.unique((far * 2 * size + near).ravel(), return_inverse=True)
    belongs = (ring[:, None] == np.arange(ring.max() + 1)).astype(np.float64)
    average: NDArray[Any] = belongs / belongs.sum(axis=0)
    return average
