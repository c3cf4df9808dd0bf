"""Deep kernel learning: a Gaussian process over features that a small net has learned.

Where images show what the number sought depends on, candidates that look alike are
alike, however far apart. The net reads the patch of a candidate (`networks`), the
kernel its features beside the position, so that what no image shows is still learned
from neighbours. Few points leave a net much freedom: an ensemble of them says how much
(`ensemble`). `base` says what a surrogate promises, `aemtwin.patches` cuts patches.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, ShapeMismatch, unknown
from aemtwin.surrogates.base import Data, Info, Posterior, float64, without_data
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.ensemble import Design, Fitted, Members, embed, learn, prior
from aemtwin.surrogates.exact import read
from aemtwin.surrogates.kernels import RADIAL
from aemtwin.surrogates.networks import inputs, parameter_shapes, summarise

DOUBLING = 128  # points up to which capacities double


class DKLState(NamedTuple):
    """A fitted ensemble; all but `at` is what the next fit needs."""

    members: Members
    trained: int  # number of points at the last training; 0: never
    density: NDArray[np.float64]  # (members,), of what it missed since it last began
    at: Fitted | None = None


@partial(jax.jit, static_argnames="design")
def _predict(at: Fitted, candidates: Array, *, design: Design) -> Posterior:
    """Return mean and variance of the mixture of all members."""
    seen = summarise(candidates, coordinates=design.coordinates, size=design.size)

    def one(weights: Any, hyper: Any, Z: Array, L: Array, alpha: Array) -> Posterior:
        Z_new = embed(weights, seen, candidates, design)
        return read(hyper, Z, at.mask, L, alpha, Z_new, kernel=design.kernel)

    found = jax.vmap(one)(at.weights, at.hyper, at.Z, at.L, at.alpha)
    mean = jnp.mean(found.mean, axis=0)
    apart = jnp.mean((found.mean - mean) ** 2, axis=0)
    return Posterior(mean, jnp.mean(found.variance, axis=0) + apart)


@partial(jax.jit, static_argnames="design")
def _draw(key: Array, at: Fitted, candidates: Array, *, design: Design) -> Array:
    """Draw from one member, itself drawn."""
    key_member, key_path = jax.random.split(key)
    k = jax.random.randint(key_member, (), 0, design.members)
    stacked = at.weights, at.hyper, at.Z, at.L, at.alpha
    weights, hyper, Z, L, alpha = jax.tree.map(lambda a: a[k], stacked)
    seen = summarise(candidates, coordinates=design.coordinates, size=design.size)
    Z_new = embed(weights, seen, candidates, design)
    return path(key_path, hyper, Z, at.mask, L, alpha, Z_new, kernel=design.kernel)


@partial(jax.jit, static_argnames="design")
def _latent(at: Fitted, candidates: Array, *, design: Design) -> Array:
    weights, length = jax.tree.map(lambda a: a[at.best], (at.weights, at.hyper.length))
    seen = summarise(candidates, coordinates=design.coordinates, size=design.size)
    scaled: Array = embed(weights, seen, candidates, design) / length
    return scaled[:, : design.features]


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


@dataclass(frozen=True)
class DKL:
    """An ensemble of deep kernels over image patches and the position.

    The first `coordinates` columns of X are the position in the unit box; the others,
    if any, are patches of `size` × `size` pixels. Without patches the net reads the
    position. The kernel of each member takes the features of its net and the position
    together, with a length for each; weights, lengths, scale and noise are trained
    together on the marginal likelihood and their priors, by Adam.

    Each member misses a quarter of the points while it trains, another quarter for each
    (of eight), and is conditioned on all points after. How well these were predicted
    calibrates the variance of the ensemble, and tells drift: a member goes on from
    where it was (`steps`), and begins anew (`cold_steps`) once its mean log density of
    what it missed has fallen by more than `drift` since it last began. The first few
    points leave some members nothing to miss: their fall counts from the first fit in
    which they have a density.

    Nets overfit few points long before the marginal likelihood says so: trained ten
    times as long, they predict no better and are far too sure. So steps are few.

    Attributes:
        hidden: Widths of the hidden layers.
        features: Latent features, the last layer.
        members: Nets in the ensemble.
        steps: Of Adam, from where a member was.
        cold_steps: Of Adam, from a random beginning.
        learning_rate: Of Adam.
        weight_prior: Precision of the normal prior of the weights, which begin with
            variance 1.
        drift: Nats a point that a member may lose before it begins anew.
        refit_every: New points after which the members are trained again; between, they
            are conditioned on the new points alone.
        kernel: "matern52" (the default), "matern32", "matern12" or "rbf" (smooth).
        coordinates: Leading columns of X that are the position.
        size: Pixels along a side of a patch, as it was cut; turned and mirrored patches
            then count as the same. 0 takes all columns as they are.
    """

    hidden: tuple[int, ...] = (64, 32)
    features: int = 2
    members: int = 8
    steps: int = 5
    cold_steps: int = 80
    learning_rate: float = 0.01
    weight_prior: float = 4.0
    drift: float = 0.5
    refit_every: int = 1
    kernel: str = "matern52"
    coordinates: int = 2
    size: int = 8

    patches: ClassVar[bool] = True  # a campaign gives it those of the first frame

    def __post_init__(self) -> None:
        if self.kernel not in RADIAL:
            raise unknown("kernel", self.kernel, RADIAL, "Set it in [surrogate].")
        hidden = self.hidden if isinstance(self.hidden, list | tuple) else [self.hidden]
        object.__setattr__(self, "hidden", tuple(hidden))  # from a file it is a list
        least = {"size": 0, "steps": 0}
        whole = ("features", "members", "steps", "cold_steps", "refit_every")
        for field in (*whole, "coordinates", "size", "hidden"):
            said, low = getattr(self, field), least.get(field, 1)
            for value in said if field == "hidden" else (said,):
                if isinstance(value, bool) or not isinstance(value, int) or value < low:
                    raise self._refused(field, f"whole numbers from {low} on")
        for field in ("learning_rate", "weight_prior", "drift"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._refused(field, "a number")
            if not 0.0 < value < float("inf"):  # also catches NaN
                raise self._refused(field, "a finite number above 0")

    def _refused(self, field: str, allowed: str) -> BadConfig:
        default = inspect.signature(DKL).parameters[field].default
        return BadConfig(
            f"The surrogate dkl got {field} = {getattr(self, field)!r}; it takes "
            f"{allowed}. Leave it out for the default {default}."
        )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "dkl"

    def _design(self, d: int) -> Design:
        coordinates = min(self.coordinates, d)
        if self.size and (d - coordinates) % self.size**2:
            raise ShapeMismatch(
                f"dkl got {d} columns, {d - coordinates} of them behind the position; "
                f"patches of {self.size} × {self.size} pixels take a multiple of "
                f"{self.size**2}. Set size in [surrogate] to that of [inputs], or 0 "
                "for columns that are no patches."
            )
        return Design(
            hidden=self.hidden,
            features=self.features,
            members=self.members,
            coordinates=coordinates,
            size=self.size,
            kernel=self.kernel,
            learning_rate=float(self.learning_rate),
            weight_prior=float(self.weight_prior),
        )

    def init(self, d: int) -> DKLState:
        design = self._design(d)
        p = inputs(d, coordinates=design.coordinates, size=design.size)
        weights = {
            name: np.zeros((self.members, *shape), np.float32)
            for name, shape in parameter_shapes(design.network, p).items()
        }
        median, _ = prior(self.features, design.coordinates)
        members = Members(weights, np.tile(median, (self.members, 1)))
        return DKLState(members, 0, np.full(self.members, np.nan))

    def fit(self, key: Array, state: DKLState, data: Data) -> tuple[DKLState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        design = self._design(d)
        self._require_members("fit", state.members, d)
        if n == 0:
            raise ShapeMismatch(
                "dkl.fit got no point; it takes one or more. Measure one first."
            )
        cold = np.full(self.members, state.trained == 0)
        search = bool(cold.any()) or n - state.trained >= self.refit_every
        steps, room = (
            self.cold_steps if cold.any() else self.steps * search,
            roomy(data),
        )

        def run(members: Members, cold: NDArray[np.bool_], steps: int) -> Any:
            active = cold if cold.any() else np.full(self.members, search)
            count = np.asarray(steps, np.int64)
            found = learn(key, members, cold, active, count, *room[:3], design=design)
            members, at, told = found
            return members, at, jax.device_get(told)

        with float64():
            members, at, told = run(state.members, cold, steps)
            first = cold | ~np.isfinite(state.density)  # density to count a fall from
            reference = np.where(first, told["density"], state.density)
            drifted = np.zeros_like(cold)
            if search:  # one that is NaN, with nothing held back, has not fallen
                fell = told["density"] < reference - self.drift
                drifted = ~cold & (fell | np.isneginf(told["density"]))
            if drifted.any():
                members, at, told = run(members, drifted, self.cold_steps)
                reference = np.where(drifted, told["density"], reference)
            members = jax.device_get(members)
        info = self._info(told, reference)
        info |= {"n": n, "capacity": room.X.shape[0], "searched": int(search)}
        info |= {"restarts": int(drifted.sum()), "best": int(at.best)}
        trained = n if search else state.trained
        return DKLState(members, trained, reference, at), info

    def _info(self, told: dict[str, Any], reference: NDArray[np.float64]) -> Info:
        """Return plain numbers for people, averaged over members."""
        held = told.pop("held")
        density, finite = told.pop("density"), np.isfinite(told["nll"]).all()
        finite &= not np.isneginf(density).any()
        kept = np.where(np.isfinite(density), density, 0.0)
        falls = (reference - kept)[np.isfinite(reference)]
        info: Info = {name: float(np.mean(value)) for name, value in told.items()}
        info["held_back"] = float(kept @ held / max(held.sum(), 1))
        info["drift"] = float(falls.max()) if falls.size else 0.0
        return info | {"finite": int(finite)}

    def predict(self, key: Array, state: DKLState, candidates: ArrayLike) -> Posterior:
        del key  # nothing is drawn
        at, X, design = self._read("predict", state, candidates)
        with float64():
            found = _predict(at, X, design=design)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def draw(
        self, key: Array, state: DKLState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        at, X, design = self._read("draw", state, candidates)
        with float64():
            return np.asarray(_draw(key, at, X, design=design))

    def latent(self, state: DKLState, candidates: ArrayLike) -> NDArray[np.float64]:
        """Return the features of candidates, as the most probable member has them.

        Args:
            state: What `fit` returned.
            candidates: Rows as those of X, (m, d).

        Returns:
            Features, (m, features), in length scales of the kernel: candidates one
            apart are still much alike, those three apart are not.
        """
        at, X, design = self._read("latent", state, candidates)
        with float64():
            return np.asarray(_latent(at, X, design=design))

    def _read(
        self, call: str, state: DKLState, candidates: ArrayLike
    ) -> tuple[Fitted, NDArray[np.float64], Design]:
        if state.at is None:
            raise without_data(f"dkl.{call}")
        X = np.asarray(candidates, np.float64)
        return state.at, X, self._design(X.shape[1])

    def carry(self, state: DKLState) -> dict[str, NDArray[Any]]:
        return {
            **{name: np.asarray(a) for name, a in state.members.weights.items()},
            "theta": np.asarray(state.members.theta, np.float64),
            "density": np.asarray(state.density, np.float64),
            "trained": np.asarray(state.trained, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> DKLState:
        blank = self.init(d)
        weights = {
            name: np.asarray(carried[name], np.float32)
            for name in blank.members.weights
            if name in carried
        }
        members = Members(weights, np.asarray(carried["theta"], np.float64))
        self._require_members("restore", members, d)
        density = np.asarray(carried["density"], np.float64)
        return DKLState(members, int(np.asarray(carried["trained"])), density)

    def _require_members(self, call: str, members: Members, d: int) -> None:
        """Refuse members of another shape than `init` makes."""
        blank = self.init(d).members
        got, wanted = (
            {
                "theta": np.shape(m.theta),
                **{k: np.shape(a) for k, a in m.weights.items()},
            }
            for m in (members, blank)
        )
        if got != wanted:
            raise ShapeMismatch(
                f"dkl.{call} got members of shapes {got}; {d} columns take {wanted}. "
                f"Make the state with init({d}), and restore with the settings of the "
                "run that carried it."
            )
