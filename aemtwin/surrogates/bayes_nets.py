"""A small net whose weights are uncertain: its prior, its output, its last layer.

Pure functions, plain JAX. All parameters of a net stand in one vector theta (p,) whose
prior is N(0, I): what scales and noise are is a function of it. The net is float32,
densities and the last layer have the dtype of the data. `bnn_inference` infers theta,
`bnn` makes a surrogate of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aemtwin.surrogates import networks
from aemtwin.surrogates.networks import summarise

NOISE = math.log(0.1), 1.5  # median and sd of the prior of log noise, y having sd 1
FLOOR = 1e-3  # of the noise, in sd of y: less is not told from rounding
SCALE_IN = math.log(4.0), 0.5  # of the log scale of the first layer: 1 / length
SCALE_OUT = math.log(4.0), 0.5  # of the log scale of the last layer: sd of f
GAIN = 3.0  # of weights between hidden layers, over their biases
GRID = np.linspace(-5.0, 5.0, 401)  # of the noise, in sd of its prior
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "sin": jnp.sin,
}


class Design(NamedTuple):
    """What is settled when a program is compiled; fields as of `bnn.BNN`."""

    inference: str
    hidden: tuple[int, ...]
    activation: str
    coordinates: int
    size: int
    chains: int
    samples: int
    warmup: int
    depth: int
    rounds: int
    agree: float
    learning_rate: float


def inputs(X: Array, design: Design) -> Array:
    """Return what the net reads of X, (n, p) float32: position and patches alike.

    Each of the two parts has the same share in the size of a row.
    """
    c = design.coordinates
    parts = [summarise(X[:, :c], coordinates=c, size=design.size)]
    if X.shape[1] > c:
        parts.append(summarise(X, coordinates=c, size=design.size))
    p = sum(part.shape[1] for part in parts)
    share = [math.sqrt(p / (len(parts) * part.shape[1])) for part in parts]
    return jnp.concatenate(
        [part * np.float32(s) for part, s in zip(parts, share, strict=True)], axis=1
    )


def shapes(design: Design, p: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters of a net over p inputs, as in theta."""
    widths = p, *design.hidden
    found: dict[str, tuple[int, ...]] = {"noise": (), "last": (widths[-1] + 1,)}
    if design.hidden:
        found |= {"scale_in": (), "scale_out": ()}
    for k, (before, width) in enumerate(pairwise(widths)):
        found |= {f"kernel_{k}": (before, width), f"bias_{k}": (width,)}
    return found


def dimensions(design: Design, d: int) -> int:
    """Return how many numbers theta has for X of d columns."""
    c = design.coordinates
    p = networks.inputs(d, coordinates=c, size=design.size) + (c if d > c else 0)
    return sum(math.prod(shape) for shape in shapes(design, p).values())


def unpacked(theta: Array, design: Design, p: int) -> dict[str, Array]:
    """Return the parameters by name, float32."""
    found, at = {}, 0
    for name, shape in shapes(design, p).items():
        after = at + math.prod(shape)
        found[name] = theta[at:after].reshape(shape).astype(jnp.float32)
        at = after
    return found


def features(theta: Array, x: Array, design: Design) -> Array:
    """Return what the last layer weighs at rows x (n, p), (n, w + 1); the last is 1.

    Source: Jacot, Gabriel and Hongler (2018), NeurIPS, section 2, for weights of unit
    size over the root of the inputs; Neal (1996), Bayesian Learning for Neural
    Networks, section 2.1, for a scale of the first layer with a prior of its own.
    """
    own, h = unpacked(theta, design, x.shape[1]), x

    def scale(name: str, median: float, sd: float) -> Array:
        return jnp.exp(median + sd * own[name])

    for k in range(len(design.hidden)):
        gain = np.float32((GAIN if k else 1.0) / math.sqrt(h.shape[1]))
        h = gain * (h @ own[f"kernel_{k}"]) + own[f"bias_{k}"]
        h = h if k else scale("scale_in", *SCALE_IN) * h
        h = ACTIVATIONS[design.activation](h)
    out = scale("scale_out", *SCALE_OUT) if design.hidden else 1.0
    h = out * h / np.float32(math.sqrt(h.shape[1]))
    return jnp.concatenate([h, jnp.ones_like(h[:, :1])], axis=1)


def output(theta: Array, x: Array, design: Design) -> Array:
    """Return the net at rows x (n, p), (n,) float32, in standard deviations of y."""
    last = unpacked(theta, design, x.shape[1])["last"]
    return features(theta, x, design) @ last


def noise(z: Array) -> Array:
    """Return the noise for its number in theta, the first, in standard deviations of y.

    >>> float(noise(jnp.zeros(())))  # doctest: +ELLIPSIS
    0.10...
    """
    median, sd = NOISE
    return FLOOR + jnp.exp(median + sd * z)


def negative_log_density(
    theta: Array, x: Array, u: Array, mask: Array, design: Design
) -> Array:
    """Return that of theta and the data together, up to a constant.

    Args:
        theta: All parameters, (p,), N(0, I) a priori.
        x: Inputs, (N, p).
        u: Standardised values, (N,).
        mask: True where measured, (N,).
        design: Settled when compiled.
    """
    sd = noise(theta[0])
    gap = jnp.where(mask, u - output(theta, x, design), 0.0) / sd
    fit = 0.5 * jnp.sum(gap**2) + jnp.sum(mask) * jnp.log(sd)
    return (fit + 0.5 * jnp.sum(theta**2)).astype(theta.dtype)


def last_layer(
    key: Array, phi: Array, u: Array, mask: Array, count: int
) -> tuple[Array, Array]:
    """Draw noise and last layer from their exact posterior, the features being given.

    Given the noise, the weights are normal, so that they integrate out; what is left is
    a density of one number, which a grid holds. So draws are independent, and none is
    spent on finding the way.

    Args:
        key: A JAX key, used here and nowhere else.
        phi: Features, (N, k).
        u: Standardised values, (N,).
        mask: True where measured, (N,).
        count: Draws, even.

    Returns:
        Noise as in theta, (count,), and weights, (count, k).

    Source: Bishop (2006), Pattern Recognition and Machine Learning, eqs. 3.50 to 3.54
    and 3.86; the eigenvectors make each noise of the grid cheap.
    """
    phi = jnp.where(mask[:, None], phi, 0.0).astype(u.dtype)
    n, half = jnp.sum(mask), count // 2
    value, V = jnp.linalg.eigh(phi.T @ phi)
    value = jnp.maximum(value, 0.0)
    q = V.T @ (phi.T @ u)  # (k,)
    grid = jnp.asarray(GRID, u.dtype)
    variance = noise(grid)[:, None] ** 2  # (g, 1)
    explained = jnp.sum(q**2 / (variance + value), axis=1)
    square = jnp.maximum(u @ u - explained, 0.0) / variance[:, 0]
    volume = jnp.sum(jnp.log1p(value / variance), axis=1)
    volume += n * jnp.log(variance[:, 0])
    weight = jax.nn.softmax(-0.5 * (square + volume + grid**2))
    key_noise, key_weights, key_order = jax.random.split(key, 3)
    level = (jnp.arange(half) + jax.random.uniform(key_noise, (half,))) / half
    z = jnp.interp(level, jnp.cumsum(weight) - 0.5 * weight, grid)
    z = jax.random.permutation(key_order, z)[:, None]
    spread = noise(z) / jnp.sqrt(noise(z) ** 2 + value)  # (half, k)
    shake = spread * jax.random.normal(key_weights, spread.shape, u.dtype)
    middle = q / (noise(z) ** 2 + value)
    both = jnp.stack([middle + shake, middle - shake], axis=1).reshape(-1, len(q))
    return jnp.repeat(z[:, 0], 2), both @ V.T
