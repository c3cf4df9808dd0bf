"""Deep kernel learning: a Gaussian process over features that a small net has learned.

Where images show what the number sought depends on, candidates that look alike are
alike, however far apart. The net reads the patch of a candidate (`networks`), the
kernel its features beside the position, so that what no image shows is still learned
from neighbours (`deep`). Few points leave a net much freedom: an ensemble of them says
how much (`ensemble`), or the posterior of one (`posteriors`, `sampled`). `base` says
what a surrogate promises, `aemtwin.patches` cuts patches.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from flax import linen as nn
from jax import Array
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, ShapeMismatch
from aemtwin.surrogates import deep, ensemble, posteriors, sampled
from aemtwin.surrogates.base import Data, Info, Posterior, float64, without_data
from aemtwin.surrogates.deep import Design, Fitted, arrays, rebuilt
from aemtwin.surrogates.deep import roomy as roomy
from aemtwin.surrogates.kernels import RADIAL
from aemtwin.surrogates.modules import build
from aemtwin.surrogates.networks import WIDTHS, reads_images
from aemtwin.surrogates.settings import require_known, suit

SUITS: dict[str, dict[str, Any]] = {  # what is left to the inference
    "ensemble": {"members": 8, "steps": 5, "cold_steps": 80, "learning_rate": 0.01},
    "svi": {"members": 16, "steps": 100, "cold_steps": 500, "learning_rate": 0.02},
    "bayes": {"members": 16, "steps": 0, "cold_steps": 20, "learning_rate": 0.01},
}
CATCH_UP = 2  # new points at most for each of which an ensemble takes its steps
LEAST = {  # whole numbers from here on
    "features": 1,
    "members": 1,
    "steps": 0,
    "cold_steps": 1,
    "refit_every": 1,
    "coordinates": 1,
    "size": 0,
    "hidden": 1,
    "chains": 1,
    "warmup": 0,
    "samples": 4,
    "depth": 1,
    "rounds": 1,
}
ABOVE = {"learning_rate": 0.0, "weight_prior": 0.0, "drift": 0.0, "agree": 1.0}


class DKLState(NamedTuple):
    """Fitted deep kernels; all but `at` is what the next fit needs."""

    members: Any  # what the inference goes on from, a NamedTuple of arrays
    trained: int  # number of points at the last training; 0: never
    density: NDArray[np.float64]  # (members,), of what it missed since it last began
    at: Fitted | None = None


@dataclass(frozen=True)
class DKL:
    """Deep kernels over image patches and the position.

    The first `coordinates` columns of X are the position in the unit box; the others,
    if any, are patches of `size` × `size` pixels. Without patches the net reads the
    position. The kernel of each member takes the features of its net and the position
    together, with a length for each; weights, lengths, scale and noise are learned
    together from the marginal likelihood and their priors.

    `inference` is one of three. "ensemble" trains `members` nets by Adam to a mode
    each, with what follows. "svi" moves a normal guide to the posterior of all weights
    and hyperparameters of one net. "bayes" trains one net towards its mode on all
    points, by few steps, each time from where its first training began, and samples its
    last layer and its hyperparameters by the no-U-turn sampler; trust it as far as
    `info["r_hat"]` and `info["divergences"]` say. Both are the mixture of `members`
    draws.

    Each member of an ensemble misses a quarter of the points while it trains, another
    quarter for each (of eight), and is conditioned on all points after. How well these
    were predicted calibrates the variance of the ensemble, and tells drift: a member
    goes on from where it was (`steps`), and begins anew (`cold_steps`) once its mean
    log density of what it missed has fallen by more than `drift` since it last began.
    The first few points leave some members nothing to miss: their fall counts from the
    first fit in which they have a density.

    Nets overfit few points long before the marginal likelihood says so: trained ten
    times as long, they predict no better and are far too sure. So steps are few.

    Attributes:
        inference: "ensemble", "svi" or "bayes".
        network: "mlp", which reads patches averaged over rings; "cnn", which reads
            their pixels; or a Flax module of one's own, "package.module:Class" or
            made (`modules.build`). The weight prior is that of its parameters as they
            are; "bayes" samples the matrix that it makes last.
        hidden: Widths of the hidden layers of "mlp", or channels of "cnn"; None takes
            what suits it (`networks.WIDTHS`).
        features: Latent features, the last layer.
        members: Nets in the ensemble, or draws of one; None takes what suits the
            inference (`SUITS`), as in the next three.
        steps: Of Adam, from where a member was; an ensemble takes twice as many where
            more than one point is new. "bayes" takes none.
        cold_steps: Of Adam, from a random beginning.
        learning_rate: Of Adam; "svi" lets it fall to nothing.
        weight_prior: Precision of the normal prior of the weights, which begin with
            variance 1.
        drift: Nats a point that a member may lose before it begins anew.
        refit_every: New points after which the members are trained again; between, they
            are conditioned on the new points alone.
        kernel: "matern52" (the default), "matern32", "matern12" or "rbf" (smooth).
        coordinates: Leading columns of X that are the position.
        size: Pixels along a side of a patch, as it was cut; turned and mirrored patches
            then count as the same to "mlp". 0 takes all columns as they are.
        chains: Chains of "bayes", one after the other.
        warmup: Draws at the head of each chain and round that are left out.
        samples: Draws of each chain and round that the next fit goes on from.
        depth: Doublings of a path at most; 2^depth − 1 evaluations a draw.
        rounds: Rounds of a fit at most. A first fit has three before it asks for
            agreement, a later one has one; each after these takes twice as long.
        agree: r-hat below which a fit by "bayes" ends.

    Source: Wilson et al. (2016), AISTATS, "Deep kernel learning"; Ober, Rasmussen and
    van der Wilk (2021), UAI, "The promises and pitfalls of deep kernel learning", for
    how single nets overfit; Lakshminarayanan et al. (2017), NeurIPS, for ensembles.
    """

    inference: str = "ensemble"
    network: str | nn.Module = "mlp"
    hidden: tuple[int, ...] = None  # type: ignore[assignment]
    features: int = 2
    members: int = None  # type: ignore[assignment]
    steps: int = None  # type: ignore[assignment]
    cold_steps: int = None  # type: ignore[assignment]
    learning_rate: float = None  # type: ignore[assignment]
    weight_prior: float = 4.0
    drift: float = 0.5
    refit_every: int = 1
    kernel: str = "matern52"
    coordinates: int = 2
    size: int = 8
    chains: int = 4
    warmup: int = 10
    samples: int = 32
    depth: int = 4
    rounds: int = 3
    agree: float = 1.1

    patches: ClassVar[bool] = True  # a campaign gives it those of the first frame

    def __post_init__(self) -> None:
        require_known(self, kernel=RADIAL, inference=SUITS)
        suit(self, SUITS[self.inference])
        own = not (isinstance(self.network, str) and self.network in WIDTHS)
        if own and self.hidden:
            raise self._refused("hidden", "none with a network that has its own widths")
        hidden = () if own else self.hidden or WIDTHS[str(self.network)]
        hidden = hidden if isinstance(hidden, list | tuple) else [hidden]
        object.__setattr__(self, "hidden", tuple(hidden))  # from a file it is a list
        for field, low in LEAST.items():
            said = getattr(self, field)
            for value in said if field == "hidden" else (said,):
                if isinstance(value, bool) or not isinstance(value, int) or value < low:
                    raise self._refused(field, f"whole numbers from {low} on")
        for field, above in ABOVE.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self._refused(field, "a number")
            if not above < value < float("inf"):  # also catches NaN
                raise self._refused(field, f"a finite number above {above:g}")
        if self.inference == "bayes" and self.members > self.chains * self.samples:
            raise self._refused("members", "at most chains · samples draws")
        build(self.network, self.hidden, self.features)

    def _refused(self, field: str, allowed: str) -> BadConfig:
        default = inspect.signature(DKL).parameters[field].default
        return BadConfig(
            f"The surrogate dkl got {field} = {getattr(self, field)!r}; it takes "
            f"{allowed}. Leave it out for the default"
            f"{'' if default is None else f' {default}'}."
        )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "dkl"

    @property
    def columns(self) -> int:
        """The fewest columns of X that it reads: a net of images needs a patch."""
        images = reads_images(build(self.network, self.hidden, self.features))
        return self.coordinates + self.size**2 * images

    def _design(self, d: int) -> Design:
        coordinates = min(self.coordinates, d)
        if self.size and (d - coordinates) % self.size**2:
            raise ShapeMismatch(
                f"dkl got {d} columns, {d - coordinates} of them behind the position; "
                f"patches of {self.size} × {self.size} pixels take a multiple of "
                f"{self.size**2}. Set size in [surrogate] to that of [inputs], or 0 "
                "for columns that are no patches."
            )
        sampler = self.chains, self.warmup, self.samples, self.depth
        return Design(
            network=build(self.network, self.hidden, self.features),
            features=self.features,
            members=self.members,
            coordinates=coordinates,
            size=self.size,
            kernel=self.kernel,
            learning_rate=float(self.learning_rate),
            weight_prior=float(self.weight_prior),
            apart=self.inference != "ensemble",
            sampler=(*sampler, self.rounds, float(self.agree)),
        )

    def init(self, d: int) -> DKLState:
        design = self._design(d)
        blank = {
            "ensemble": ensemble.blank,
            "svi": posteriors.blank,
            "bayes": sampled.blank,
        }
        members = blank[self.inference](design, d)
        return DKLState(members, 0, np.full(self.members, np.nan))

    def fit(self, key: Array, state: DKLState, data: Data) -> tuple[DKLState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        design = self._design(d)
        self._require("fit", arrays(state.members), d)
        if n == 0:
            raise ShapeMismatch(
                "dkl.fit got no point; it takes one or more. Measure one first."
            )
        first = state.trained == 0
        due = first or n - state.trained >= self.refit_every
        room, density = roomy(data), state.density
        given, seen = (key, state.members), room[:3]
        cold_steps, steps = self.cold_steps, self.steps
        members: Any
        with float64():
            if self.inference == "ensemble":
                members, density, at, info = ensemble.fit(
                    *given,
                    density,
                    seen,
                    first=first,
                    search=due,
                    steps=steps * min(n - state.trained, CATCH_UP),
                    cold_steps=cold_steps,
                    drift=self.drift,
                    design=design,
                )
            elif self.inference == "svi":
                count = (cold_steps if first else steps) * due
                members, at, info = posteriors.fit(
                    *given, seen, first=first, steps=count, design=design
                )
            else:
                count, least = cold_steps * due, (sampled.FIRST if first else 1) * due
                members, at, info = sampled.fit(
                    *given, seen, first=first, steps=count, least=least, design=design
                )
        info |= {"n": n, "capacity": room.X.shape[0], "searched": int(due)}
        info |= {"best": int(at.best)}
        return DKLState(members, n if due else state.trained, density, at), info

    def predict(self, key: Array, state: DKLState, candidates: ArrayLike) -> Posterior:
        del key  # nothing is drawn
        at, X, design = self._read("predict", state, candidates)
        with float64():
            found = deep.predict(at, X, design=design)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def look(
        self, state: DKLState, pool: Any, candidates: ArrayLike
    ) -> tuple[Any, Posterior | None]:
        at, X, design = self._read("look", state, candidates)
        with float64():
            pool, found = deep.look(at, pool, X, design=design)
        return pool, found and Posterior(*(np.asarray(part) for part in found))

    def draw(
        self, key: Array, state: DKLState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        at, X, design = self._read("draw", state, candidates)
        with float64():
            return np.asarray(deep.draw(key, at, X, design=design))

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
            return np.asarray(deep.latent(at, X, design=design))

    def _read(
        self, call: str, state: DKLState, candidates: ArrayLike
    ) -> tuple[Fitted, NDArray[np.float64], Design]:
        if state.at is None:
            raise without_data(f"dkl.{call}")
        X = np.asarray(candidates, np.float64)
        return state.at, X, self._design(X.shape[1])

    def carry(self, state: DKLState) -> dict[str, NDArray[Any]]:
        return {
            **arrays(state.members),
            "density": np.asarray(state.density, np.float64),
            "trained": np.asarray(state.trained, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> DKLState:
        blank = self.init(d).members
        kept = {
            name: np.asarray(carried[name], array.dtype)
            for name, array in arrays(blank).items()
            if name in carried
        }
        self._require("restore", kept, d)
        members = rebuilt(blank, kept)
        density = np.asarray(carried["density"], np.float64)
        return DKLState(members, int(np.asarray(carried["trained"])), density)

    def _require(self, call: str, given: Mapping[str, NDArray[Any]], d: int) -> None:
        """Refuse arrays of other shapes than `init` makes."""
        got, wanted = (
            {name: array.shape for name, array in one.items()}
            for one in (given, arrays(self.init(d).members))
        )
        if got != wanted:
            raise ShapeMismatch(
                f"dkl.{call} got members of shapes {got}; {d} columns take {wanted}. "
                f"Make the state with init({d}), and restore with the settings of the "
                "run that carried it."
            )
