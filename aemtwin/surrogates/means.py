"""Mean models: what physics says of f before any data, with priors on what is unknown.

A mean model is a NumPyro model of a few lines: a function of X (n, d), points scaled to
the unit box, that draws its parameters with `numpyro.sample` and returns f(X), (n,):

    def edge(X):
        place = numpyro.sample("place", dist.Uniform(0.0, 1.0))
        height = numpyro.sample("height", dist.Normal(0.0, 2.0))
        return height * jax.nn.sigmoid((X[:, 0] - place) / 0.05)

Each value depends on its own row alone. **Priors are in standardised units**: f is the
mean of (y − average)/(standard deviation), as in all of ours, unless `structured_gp` is
told `standardise = false`; then f and its priors are in the unit of y. `load` finds a
model by name, and `Mean` makes of it a plain function of a flat, unconstrained vector,
as `structured_gp` samples it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpy.typing import NDArray
from numpyro.distributions import biject_to
from numpyro.handlers import seed, trace
from numpyro.infer.util import constrain_fn, potential_energy

from aemtwin.errors import AemtwinError, BadConfig, ShapeMismatch, unknown
from aemtwin.surrogates.base import float64
from aemtwin.surrogates.exact import MEAN_SD, SLOPE_SD

Model: TypeAlias = Callable[[Any], Any]
"""X (n, d) -> f (n,), with `numpyro.sample` for every parameter."""

HEIGHT_SD = 2.0  # of steps and peaks, in standard deviations of y
CURVE_SD = 9.5  # of x² across the unit box: its spread there is 1/√180, a line's 1/√12
SHARP_SD = 20.0  # inverse width of a step in each dimension: some 0.05 of the box
WHERE = "f(X)"  # the site under which a trace keeps what the model returned


def constant(X: Array) -> Array:
    """Return one level everywhere: no structure but the kernel's."""
    return jnp.full(X.shape[0], numpyro.sample("level", dist.Normal(0.0, MEAN_SD)))


def linear(X: Array) -> Array:
    """Return a plane: a level in the middle of the box and a slope along each axis."""
    slope = _each("slope", X, dist.Normal(0.0, SLOPE_SD))
    f: Array = constant(X) + (X - 0.5) @ slope
    return f


def quadratic(X: Array) -> Array:
    """Return a bowl, a peak or a saddle along the axes, with a slope and a level."""
    curve = _each("curve", X, dist.Normal(0.0, CURVE_SD))
    f: Array = linear(X) + ((X - 0.5) ** 2 - 1.0 / 12.0) @ curve
    return f


def step(X: Array) -> Array:
    """Return two levels on either side of a straight boundary, a phase boundary.

    It lies where normal · (x − middle) = offset, as far as `offset` from the middle of
    the box; `sharp` = normal/width points to the higher side.
    """
    sharp = _each("sharp", X, dist.Normal(0.0, SHARP_SD))
    offset = numpyro.sample("offset", dist.Normal(0.0, 0.3))
    height = numpyro.sample("height", dist.HalfNormal(HEIGHT_SD))
    inverse = jnp.sqrt(jnp.sum(sharp**2) + 1e-12)  # of the width; smooth at 0
    side = jax.nn.sigmoid((X - 0.5) @ sharp - offset * inverse)
    f: Array = constant(X) + height * (side - 0.5)
    return f


def gaussian_peak(X: Array) -> Array:
    """Return a Gaussian peak (or, with a negative height, a dip) over a level."""
    centre = _each("centre", X, dist.Uniform(0.0, 1.0))
    width = _each("width", X, dist.LogNormal(np.log(0.2), 0.5))
    height = numpyro.sample("height", dist.Normal(0.0, HEIGHT_SD))
    r2 = jnp.sum(((X - centre) / width) ** 2, axis=1)
    f: Array = constant(X) + height * jnp.exp(-0.5 * r2)
    return f


def saturation(X: Array) -> Array:
    """Return a level that settles along the axes, 1 − exp(−rate · x): dose, time."""
    rate = _each("rate", X, dist.LogNormal(np.log(2.0), 1.0))
    height = numpyro.sample("height", dist.Normal(0.0, HEIGHT_SD))
    f: Array = constant(X) - height * jnp.expm1(-X @ rate)
    return f


def _each(name: str, X: Array, prior: dist.Distribution) -> Array:
    """Draw one number for each dimension, independently, (d,)."""
    each: Array = numpyro.sample(name, prior.expand([X.shape[1]]).to_event(1))
    return each


MODELS: dict[str, Model] = {
    "constant": constant,
    "linear": linear,
    "quadratic": quadratic,
    "step": step,
    "gaussian_peak": gaussian_peak,
    "saturation": saturation,
}
"""Mean models by the name that a campaign file gives them."""


def load(name: str) -> Model:
    """Return the mean model of a name: ours, or your own as "my_module:my_model".

    Args:
        name: One of `MODELS`, or a module that can be imported and a function in it,
            also as "my_module.my_model": text with parameters has a colon of its own.

    Raises:
        UnknownName: If there is none.
        BadConfig: If it is not a function.

    >>> load("linear") is linear, load("aemtwin.surrogates.means:step") is step
    (True, True)
    """
    if name in MODELS:
        return MODELS[name]
    hint = "Any NumPyro model of X serves too, as 'my_module:my_model'."
    module, mark, path = str(name).partition(":")
    if not mark:
        module, mark, path = module.rpartition(".")
    if not mark:
        raise unknown("mean", name, MODELS, hint)
    try:
        found: Any = importlib.import_module(module)
        for word in path.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError, ValueError) as error:
        where = unknown("mean", name, MODELS, hint)
        raise type(where)(f"{where} ({error})") from error
    if not callable(found):
        raise BadConfig(
            f"The mean {name} is {found!r:.60}; it must be a function of X (n, d) that "
            "samples its parameters with numpyro.sample and returns f, (n,)."
        )
    model: Model = found
    return model


Sites: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
"""Name and shape of each, in the order in which the model comes to them."""


class Layout(NamedTuple):
    """How the parameters of a mean model lie in one flat vector."""

    sites: Sites  # what is sampled, with its unconstrained shape
    kept: Sites  # what is told of it, with the shape in its own units

    @property
    def size(self) -> int:
        """How many unconstrained numbers there are, p."""
        return sum(_count(shape) for _, shape in self.sites)

    @property
    def labels(self) -> tuple[str, ...]:
        """What `Mean.told` returns, a name for each number, q of them."""
        return tuple(
            f"{name}_{k}" if shape else name
            for name, shape in self.kept
            for k in range(_count(shape))
        )


@dataclass(frozen=True)
class Mean:
    """A mean model over d dimensions as a function of a flat vector v (p,).

    The vector has no bounds: NumPyro's own transforms lead to the parameters. Equal
    ones hash alike, so that compiled programs may have them as static arguments.

    >>> Mean("linear", linear, 2).layout.labels
    ('slope_0', 'slope_1', 'level')
    """

    name: str
    model: Model
    d: int

    @property
    def layout(self) -> Layout:
        """Which parameters there are.

        Raises:
            BadConfig: If the model cannot be run, or samples what is not continuous or
                is observed.
            ShapeMismatch: If it does not return one number for each row of X, or has
                parameters for each row.
        """
        return _layout(self)

    def at(self, v: Array, X: Array) -> tuple[Array, Array]:
        """Return f(X), (n,), and minus the log of the prior density of v, ()."""
        energy = jnp.asarray(potential_energy(self.model, (X,), {}, self._sites(v)))
        return self._traced(v, X)[WHERE].astype(v.dtype), energy.astype(v.dtype)

    def told(self, v: Array, X: Array) -> Array:
        """Return the parameters in their own units, (q,), as the labels name them.

        What the model keeps with `numpyro.deterministic` is among them, unless its
        shape depends on the number of rows.
        """
        found = self._traced(v, X)
        parts = [jnp.ravel(found[name]).astype(v.dtype) for name, _ in self.layout.kept]
        return jnp.concatenate([jnp.zeros(0, v.dtype), *parts])

    def draws(self, count: int) -> NDArray[np.float64]:
        """Return draws of v from its prior, (count, p), the same at every call."""
        with float64():
            return np.asarray(_drawn(self, self.layout, count), np.float64)

    def _sites(self, v: Array) -> dict[str, Array]:
        sites, ends = (
            self.layout.sites,
            np.cumsum([_count(s) for _, s in self.layout.sites]),
        )
        parts = jnp.split(v, ends[:-1]) if sites else []
        named = zip(sites, parts, strict=True)
        return {name: part.reshape(shape) for (name, shape), part in named}

    def _traced(self, v: Array, X: Array) -> dict[str, Array]:
        """Return every parameter and f(X), under `WHERE`."""
        model, given = partial(_whole, self.model), self._sites(v)
        found: dict[str, Array] = constrain_fn(
            model, (X,), {}, given, return_deterministic=True
        )
        return found


def _count(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _whole(model: Model, X: Array) -> None:
    """Run a model, and keep what it returns as a site of its own."""
    numpyro.deterministic(WHERE, jnp.asarray(model(X)))


@partial(jax.jit, static_argnames=("mean", "layout", "count"))
def _drawn(mean: Mean, layout: Layout, count: int) -> Array:
    X = jnp.full((2, mean.d), 0.5)

    def one(key: Array) -> Array:
        sites = trace(seed(mean.model, key)).get_trace(X)
        parts = [
            jnp.ravel(biject_to(sites[name]["fn"].support).inv(sites[name]["value"]))
            for name, _ in layout.sites
        ]
        return jnp.concatenate([jnp.zeros(0), *parts])

    return jax.vmap(one)(jax.random.split(jax.random.key(0), count))


@cache
def _layout(mean: Mean) -> Layout:
    """Run a model on two rows and on three, without values, and look at its sites."""
    (sites, shapes), (others, more) = _run(mean, 2), _run(mean, 3)
    if sites != others:
        raise ShapeMismatch(
            f"The mean {mean.name} samples {dict(sites)} for 2 rows of X and "
            f"{dict(others)} for 3; its parameters are the same whatever the number of "
            "rows. What varies from point to point is the kernel's part."
        )
    kept = [(name, shape) for name, shape in shapes.items() if more[name] == shape]
    return Layout(sites, tuple(kept))


def _run(mean: Mean, n: int) -> tuple[Sites, dict[str, tuple[int, ...]]]:
    """Return what is sampled, and the shapes of all that is kept but f(X)."""
    told = f"The mean {mean.name}"
    sites: list[tuple[str, tuple[int, ...]]] = []
    shapes: dict[str, tuple[int, ...]] = {}

    def run(X: Array) -> None:
        model = seed(partial(_whole, mean.model), jax.random.key(0))
        for name, site in trace(model).get_trace(X).items():
            if site["type"] in ("sample", "deterministic"):
                shapes[name] = tuple(jnp.shape(site["value"]))
            if site["type"] == "param":
                raise BadConfig(
                    f"{told} has the parameter {name!r} of numpyro.param; here all "
                    "that is unknown has a prior. Draw it with numpyro.sample."
                )
            if site["type"] != "sample":
                continue
            if site["is_observed"]:
                raise BadConfig(
                    f"{told} has the observed site {name!r}; the surrogate itself "
                    "compares f with y. Return f, and leave obs and factor out."
                )
            if isinstance(site["fn"], dist.MaskedDistribution):
                raise BadConfig(
                    f"{told} masks the prior of {name!r}; where a prior does not "
                    "integrate to 1, no evidence can be told. Draw it unmasked, from "
                    "as wide a prior as you need."
                )
            if site["fn"].support.is_discrete:
                raise BadConfig(
                    f"{told} draws {name!r} from a discrete distribution; parameters "
                    "are continuous. Write one model for each case, and name them all."
                )
            shape = biject_to(site["fn"].support).inverse_shape(shapes[name])
            sites.append((name, tuple(shape)))

    with float64():
        try:
            jax.eval_shape(run, jnp.full((n, mean.d), 0.5))
        except AemtwinError:
            raise
        except Exception as error:  # whatever a foreign model does
            raise BadConfig(
                f"{told} could not be run on X of shape ({n}, {mean.d}): "
                f"{type(error).__name__}: {error}. It takes X alone, computes with "
                "jax.numpy and has priors that can be drawn from; see "
                "aemtwin.surrogates.means."
            ) from error
    returned = shapes.pop(WHERE)
    if returned != (n,):
        raise ShapeMismatch(
            f"{told} returned shape {returned} for X of shape ({n}, {mean.d}); it must "
            f"return one number for each row, ({n},). X[:, 0] is one column, and a sum "
            "over axis 1 leaves the rows."
        )
    return tuple(sites), shapes
