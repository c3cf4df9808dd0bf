"""A deep kernel: a Gaussian process over the features of a net, and how it is read.

Pure functions, plain JAX. The net is float32, the algebra of the Gaussian process over
its features float64, by `exact`. Whatever infers the parameters (`ensemble` trains
many nets, `posteriors` and `sampled` have the posterior of one) leaves a `Fitted`: deep
kernels conditioned on all points, of which `predict` and `draw` read the mixture with
equal weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import unflatten_dict
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from aemtwin.surrogates import modules, networks
from aemtwin.surrogates.base import Data, Posterior
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import (
    CHUNK,
    MEAN_SD,
    Hyper,
    covariance,
    natural,
    read,
)

CARRIED = "theta", "density", "trained"  # beside weights
MOST = 2**31  # bytes of what is kept of a pool
DOUBLING = 128  # points up to which capacities double
PRIOR_SD = 1.0, 1.0, 1.5  # of the logarithms of scale, lengths, noise


class Design(NamedTuple):
    """What is settled when a program is compiled."""

    network: nn.Module
    features: int
    members: int  # nets of an ensemble, or draws of one
    coordinates: int
    size: int
    kernel: str
    learning_rate: float
    weight_prior: float
    apart: bool = False  # whether members are read one after the other: less memory
    sampler: tuple[Any, ...] = ()  # chains, warmup, samples, depth, rounds, agree

    def shapes(self, d: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the parameters of a net over d columns, by name."""
        return modules.parameter_shapes(self.network, self.row(d), self.features)

    def row(self, d: int) -> tuple[int, ...]:
        """Return the shape of what the net reads of a row of d columns."""
        return networks.input_shape(
            self.network, d, coordinates=self.coordinates, size=self.size
        )

    def seen(self, X: Array) -> Array:
        """Return what the net reads of X, float32."""
        return networks.seen(
            self.network, X, coordinates=self.coordinates, size=self.size
        )


class Fitted(NamedTuple):
    """Members, conditioned on all points; what `exact.read` takes, stacked."""

    weights: dict[str, Array]
    hyper: Hyper  # in the unit of y
    Z: Array  # (members, N, features + coordinates)
    mask: Array  # (N,)
    L: Array  # (members, N, N)
    alpha: Array  # (members, N)
    best: Array  # (), the member with the highest evidence


def prior(features: int, coordinates: int) -> tuple[NDArray[np.float64], ...]:
    """Return median and sd of theta's normal prior: y has sd 1, X fills a unit box.

    Medians: scale 1, length of a feature 1 and of a coordinate 0.25·√c, noise 0.1.
    """
    length = np.log(0.25 * np.sqrt(coordinates))
    median = [0.0, *[0.0] * features, *[length] * coordinates, np.log(0.1)]
    scale_sd, length_sd, noise_sd = PRIOR_SD
    sd = [scale_sd, *[length_sd] * (features + coordinates), noise_sd]
    return np.array(median), np.array(sd)


def embed(weights: dict[str, Array], inputs: Array, X: Array, design: Design) -> Array:
    """Return where the kernel sees the rows of X: features, then coordinates."""
    return beside(features_of(weights, inputs, design), X, design)


def beside(z: Array, X: Array, design: Design) -> Array:
    """Return features (m, features) and then coordinates, in the precision of X."""
    return jnp.concatenate([z.astype(X.dtype), X[:, : design.coordinates]], axis=1)


def features_of(weights: dict[str, Array], inputs: Array, design: Design) -> Array:
    """Return what the net makes of its inputs (m, ...), (m, features).

    Layers of the perceptron are small; others may hold hundreds of numbers a row, so
    that they read `exact.CHUNK` rows at once.
    """
    tree = unflatten_dict(weights, sep="/")  # type: ignore[no-untyped-call]

    def read_by(rows: Array) -> Array:
        return jnp.asarray(design.network.apply({"params": tree}, rows))

    m, *shape = inputs.shape
    chunks = -(-m // CHUNK)
    if chunks <= 1 or isinstance(design.network, networks.Features):
        return read_by(inputs)
    rows = -(-m // chunks)
    padded = jnp.pad(inputs, ((0, chunks * rows - m), *[(0, 0)] * len(shape)))
    z = lax.map(read_by, padded.reshape(chunks, rows, *shape))
    whole: Array = z.reshape(chunks * rows, -1)[:m]
    return whole


def evidence(
    theta: Array, Z: Array, u: Array, mask: Array, *, kernel: str
) -> tuple[Array, Array, Array]:
    """Return the negative log likelihood and its slopes, in theta and in Z.

    The constant mean has the prior N(0, `exact.MEAN_SD`²), is set to its best value,
    and its share of that prior counts with the value.

    Args:
        theta: Logarithms of scale, lengths and noise, (k + 2,).
        Z: Rows as the kernel sees them, (N, k).
        u: Standardised values, (N,), 0 where padded.
        mask: True where a point counts, (N,).
        kernel: Of `kernels.RADIAL`.

    Returns:
        Value (), slopes (k + 2,) and (N, k).

    Source: Rasmussen and Williams (2006), eqs. 2.30 and 5.9; Wilson et al. (2016),
    AISTATS, eq. 6 for the chain to the net.
    """
    K, pull = jax.vjp(  # derivatives of K alone: those of the factor are known
        lambda t, at: covariance(kernel, natural(t), at, mask, 0.0, 1e-10), theta, Z
    )
    L, ones = lax.linalg.cholesky(K, symmetrize_input=False), mask.astype(K.dtype)
    L_inv = solve_triangular(L, jnp.eye(K.shape[0], dtype=K.dtype), lower=True)
    w, w1 = L_inv @ jnp.where(mask, u, 0.0), L_inv @ ones
    mean = (w1 @ w) / (w1 @ w1 + MEAN_SD**-2)
    e = w - mean * w1
    alpha = e @ L_inv
    value = 0.5 * e @ e + jnp.sum(jnp.log(jnp.diag(L)))
    value = value + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(ones)
    slopes = pull(0.5 * (L_inv.T @ L_inv - jnp.outer(alpha, alpha)))
    return value + 0.5 * (mean / MEAN_SD) ** 2, *slopes


def roomy(data: Data) -> Data:
    """Return data padded to a power of two, 32 to `DOUBLING`: fewer, longer programs.

    A net costs more to compile than a few empty rows cost to factorise.
    """
    N = data.X.shape[0]
    capacity = max(32, 2 ** math.ceil(math.log2(N))) if N <= DOUBLING else N
    more = capacity - N
    return Data(
        np.pad(data.X, ((0, more), (0, 0))),
        np.pad(data.y, (0, more)),
        np.pad(data.mask, (0, more)),
    )


@partial(jax.jit, static_argnames="design")
def predict(at: Fitted, candidates: Array, *, design: Design) -> Posterior:
    """Return mean and variance of the mixture of all members, (m,) each."""
    seen = design.seen(candidates)

    def one(weights: Any, hyper: Any, Z: Array, L: Array, alpha: Array) -> Posterior:
        Z_new = embed(weights, seen, candidates, design)
        return read(hyper, Z, at.mask, L, alpha, Z_new, kernel=design.kernel)

    return _mixed(each(one, design)(at.weights, at.hyper, at.Z, at.L, at.alpha))


def _mixed(found: Posterior) -> Posterior:
    """Return mean and variance of the mixture of members, from (members, m) each."""
    mean = jnp.mean(found.mean, axis=0)
    apart = jnp.mean((found.mean - mean) ** 2, axis=0)
    return Posterior(mean, jnp.mean(found.variance, axis=0) + apart)


class Pool(NamedTuple):
    """What the nets make of candidates that stay; it lasts as long as the weights."""

    weights: dict[str, NDArray[np.float32]]  # by which it was made
    z: Array  # (members, m, features) float32


def look(
    at: Fitted, pool: Pool | None, candidates: Any, *, design: Design
) -> tuple[Pool | None, Posterior | None]:
    """Read the posterior of candidates that stay: nets read them once per training.

    Args:
        at: Conditioned on all points.
        pool: Of an earlier look; None: there is none.
        candidates: (m, d), the same at every look.
        design: Settled when compiled.

    Returns:
        What to keep of them, and the posterior, (m,); None and None where that would
        exceed `MOST`.
    """
    m = len(candidates)
    if 4 * design.members * design.features * m > MOST:
        return None, None
    weights = jax.device_get(at.weights)
    same = pool is not None and pool.z.shape[1] == m
    if pool is None or not same or not _equal(pool.weights, weights):
        pool = Pool(weights, place(at.weights, candidates, design=design))
    return pool, _read_at(at, pool.z, candidates, design=design)


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )


@partial(jax.jit, static_argnames="design")
def place(weights: dict[str, Array], candidates: Array, *, design: Design) -> Array:
    """Return what each net makes of candidates, (members, m, features)."""
    seen = design.seen(candidates)
    found: Array = each(lambda w: features_of(w, seen, design), design)(weights)
    return found


@partial(jax.jit, static_argnames="design")
def _read_at(at: Fitted, z: Array, candidates: Array, *, design: Design) -> Posterior:
    def one(z: Array, hyper: Any, Z: Array, L: Array, alpha: Array) -> Posterior:
        Z_new = beside(z, candidates, design)
        return read(hyper, Z, at.mask, L, alpha, Z_new, kernel=design.kernel)

    return _mixed(each(one, design)(z, at.hyper, at.Z, at.L, at.alpha))


def each(one: Callable[..., Any], design: Design) -> Callable[..., Any]:
    """Return a function of stacked members: at once, or one after the other."""
    if not design.apart:
        return jax.vmap(one)
    return lambda *stacked: lax.map(lambda given: one(*given), stacked)


@partial(jax.jit, static_argnames="design")
def draw(key: Array, at: Fitted, candidates: Array, *, design: Design) -> Array:
    """Draw f once, jointly over all candidates: of one member, itself drawn, (m,)."""
    key_member, key_path = jax.random.split(key)
    k = jax.random.randint(key_member, (), 0, design.members)
    stacked = at.weights, at.hyper, at.Z, at.L, at.alpha
    weights, hyper, Z, L, alpha = jax.tree.map(lambda a: a[k], stacked)
    Z_new = embed(weights, design.seen(candidates), candidates, design)
    return path(key_path, hyper, Z, at.mask, L, alpha, Z_new, kernel=design.kernel)


@partial(jax.jit, static_argnames="design")
def latent(at: Fitted, candidates: Array, *, design: Design) -> Array:
    """Return the features of the best member, in lengths, (m, features)."""
    weights, length = jax.tree.map(lambda a: a[at.best], (at.weights, at.hyper.length))
    scaled: Array = embed(weights, design.seen(candidates), candidates, design) / length
    return scaled[:, : design.features]


def arrays(members: Any) -> dict[str, NDArray[Any]]:
    """Return all arrays of a NamedTuple by name; a dict in it gives its own names."""
    found: dict[str, NDArray[Any]] = {}
    for field, part in zip(members._fields, members, strict=True):
        inner = part.items() if isinstance(part, dict) else [(field, part)]
        found |= {_label(part, name): np.asarray(array) for name, array in inner}
    return found


def rebuilt(blank: Any, found: Mapping[str, NDArray[Any]]) -> Any:
    """Return a NamedTuple like `blank` with arrays of which `arrays` gave the names."""
    parts = {
        field: {name: found[_label(part, name)] for name in part}
        if isinstance(part, dict)
        else found[field]
        for field, part in zip(blank._fields, blank, strict=True)
    }
    return type(blank)(**parts)


def _label(part: Any, name: str) -> str:
    """Return the name of an array; a weight may not be called as what is carried is."""
    taken = isinstance(part, dict) and name in CARRIED
    return f"weights/{name}" if taken else name
