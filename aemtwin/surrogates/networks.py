"""What a deep kernel reads, and the nets of the house: perceptron and convolutions.

`summarise` replaces the pixels of a patch by what no turn or mirroring changes, which
`Features` maps to a few numbers; `Convolutions` reads the pixels themselves. `modules`
makes them by name, and any of the user's. `ensemble` trains many such nets at once,
`dkl` makes a surrogate of them.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import NDArray

from aemtwin.errors import ShapeMismatch

WIDTHS = {"mlp": (64, 32), "cnn": (8, 16)}  # of the hidden layers, unless told
WINDOW = 3  # pixels along a side that a convolution reads at once


class Layer(nn.Module):
    """Layers of weights of unit size, divided by the root of the layer's inputs."""

    def layer(self, h: Array, k: int, width: int) -> Array:
        """Return layer k of h (..., inputs), (..., width), without activation."""
        shape = h.shape[-1], width
        normal, zeros = nn.initializers.normal(1.0), nn.initializers.zeros
        kernel = self.param(f"kernel_{k}", normal, shape, jnp.float32)
        bias = self.param(f"bias_{k}", zeros, (width,), jnp.float32)
        out: Array = h @ kernel / np.sqrt(shape[0]).astype(np.float32) + bias
        return out


class Features(Layer):
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
            h = self.layer(h, k, width)
            if k < len(self.widths):
                h = jnp.maximum(h, 0.0)
        return h


class Convolutions(Layer):
    """A convolutional net from the pixels of patches to latent features.

    Each hidden layer reads windows of 3 × 3 pixels, as far as they lie inside, and an
    even side is then halved by averages of 2 × 2; what is left after the last is
    averaged. So a patch of 8 × 8 goes by 6 × 6, 3 × 3 and 1 × 1. The parametrisation is
    that of `Features`.

    Source: LeCun et al. (1998), Proc. IEEE 86, 2278, section II.
    """

    widths: tuple[int, ...]  # channels of the convolutions
    features: int  # of the last layer, which is linear

    images = True

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Map patches (n, size, size, channels) float32 to (n, features) float32."""
        for k, width in enumerate(self.widths):
            h = jnp.maximum(self.layer(windows(h), k, width), 0.0)
            h = halved(h)
        return self.layer(jnp.mean(h, axis=(1, 2)), len(self.widths), self.features)


def windows(h: Array) -> Array:
    """Return all windows of images (n, a, a, c) along the last axis, (n, b, b, 9c).

    A product of matrices over them is a convolution, which stays fast where each net of
    an ensemble has weights of its own. Images smaller than a window are one window.
    """
    side = min(WINDOW, h.shape[1])
    last = h.shape[1] - side + 1
    shifted = [
        h[:, i : i + last, j : j + last] for i in range(side) for j in range(side)
    ]
    return jnp.concatenate(shifted, axis=-1)


def halved(h: Array) -> Array:
    """Return averages over 2 × 2 pixels of images (n, a, a, c), themselves if a is odd.

    >>> halved(jnp.arange(4.0).reshape(1, 2, 2, 1)).ravel()
    Array([1.5], dtype=float32)
    """
    n, a, _, c = h.shape
    if a % 2:
        return h
    return jnp.mean(h.reshape(n, a // 2, 2, a // 2, 2, c), axis=(2, 4))


def reads_images(network: nn.Module) -> bool:
    """Say whether a net reads patches as images rather than rows."""
    return bool(getattr(network, "images", False))


def input_shape(
    network: nn.Module, d: int, *, coordinates: int, size: int
) -> tuple[int, ...]:
    """Return the shape of one row of what a net reads of d columns.

    Raises:
        ShapeMismatch: If it reads images and there are none.
    """
    if not reads_images(network):
        return (inputs(d, coordinates=coordinates, size=size),)
    if size == 0 or d == coordinates:
        raise ShapeMismatch(
            f"The network {type(network).__name__} got {d} columns, {coordinates} of "
            f"them the position, and size = {size}; it reads patches of size × size "
            "pixels. Name images in [inputs], or take network = 'mlp'."
        )
    return size, size, (d - coordinates) // size**2


def seen(network: nn.Module, X: Array, *, coordinates: int, size: int) -> Array:
    """Return what a net reads of X, float32: rows (n, p), or images (n, a, a, c)."""
    if not reads_images(network):
        return summarise(X, coordinates=coordinates, size=size)
    shape = input_shape(network, X.shape[1], coordinates=coordinates, size=size)
    pixels = X[:, coordinates:].reshape(len(X), shape[-1], size, size)
    return jnp.moveaxis(pixels, 1, -1).astype(jnp.float32)


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
