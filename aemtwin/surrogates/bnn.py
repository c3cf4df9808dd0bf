"""A Bayesian neural network: a small net with a distribution over its weights.

Where a Gaussian process has one length for the whole box, a net may be flat here and
steep there, and reads patches beside the position without a kernel over them. Three
inferences share the net, its prior and its noise, and all leave draws of the weights,
of which mean and variance are those of the mixture. `bayes_nets` has the net,
`bnn_inference` the inferences, `base` the contract.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray
from numpyro.diagnostics import effective_sample_size

from aemtwin.errors import BadConfig, ShapeMismatch
from aemtwin.surrogates import bnn_inference
from aemtwin.surrogates.base import Data, Info, Posterior, float64, without_data
from aemtwin.surrogates.bayes_nets import ACTIVATIONS, Design
from aemtwin.surrogates.bnn_inference import INFERENCES, first_point
from aemtwin.surrogates.dkl import roomy
from aemtwin.surrogates.settings import require_known, suit

SUITS: dict[str, dict[str, Any]] = {  # what is left to the inference
    "nuts": {"hidden": (16, 16), "chains": 4, "steps": 0, "cold_steps": 0},
    "svi": {"hidden": (16,), "chains": 2, "steps": 1000, "cold_steps": 3000},
    "partial": {"hidden": (32, 64), "chains": 8, "steps": 0, "cold_steps": 100},
}
FIRST = 3  # rounds of a first fit by nuts, if `rounds` allows
LEAST = {  # whole numbers from here on
    "hidden": 1,
    "chains": 1,
    "warmup": 0,
    "samples": 4,
    "depth": 1,
    "rounds": 1,
    "steps": 0,
    "cold_steps": 0,
    "refit_every": 1,
    "coordinates": 1,
    "size": 0,
}
HIGHEST = 1e6  # r-hat of chains that never moved, or of which it is undefined


class BNNState(NamedTuple):
    """Draws of the weights; `point` and `fitted` are what the next fit needs."""

    point: dict[str, Any]  # where the inference goes on, and shift and spread of y
    fitted: int  # number of points at the last inference; 0: never
    theta: Array | None = None  # (s, p) float32, draws


@dataclass(frozen=True)
class BNN:
    """A small net over position and patches, with a distribution over its weights.

    The first `coordinates` columns of X are the position in the unit box; the others,
    if any, are patches of `size` × `size` pixels, of which the net reads the rings
    (`networks.summarise`) beside the position. Values are standardised. Weights have
    the prior N(0, 1) over the root of a layer's inputs; log noise a wide one, as have
    the scales of the first layer and of the last, in place of the length and scale of a
    kernel.

    `inference` is one of three; the figures are those of `benchmarks/bnn_fields.py`: 12
    fields with sd 1, 50 points of each, all at once, or grown as in a campaign. There
    the right `gp` has a root mean square error of 0.43, and 85 % of f inside its
    intervals of 90 %.

    - "partial" takes the mode of all layers but the last, `chains` times from draws of
      the prior, and draws last layer and noise from their posterior exactly. Take it
      for few points, or where a fit shall take a twentieth of a second: error 0.47 and
      89 % inside, 0.49 and 88 % grown. One mode is too sure (76 %), and modes that are
      trained on and on far more (51 % grown), so that each fit begins anew.
    - "nuts" samples all weights, in rounds, from where the chains stood, until they
      agree on what the net says at a few measured points: weights are exchangeable, so
      that `info["r_hat"]` is not of them. First fits have error 0.51 and 84 % inside.
      With two chains and three rounds they had 0.55 and 75 %, one first fit of 12
      accepted no path, and what was grown had 0.46 and 84 %; r-hat was 1.8 after a
      first fit and 1.3 grown (medians). It does not converge in its budget: where
      `info["divergences"]` or r-hat say so, do not trust it.
    - "svi" moves a normal guide to the weights. It underfits, the more the wider the
      net is, and is too sure besides: error 0.79 and 65 % inside, 0.86 and 56 % grown.
      It is here to be compared with.

    Attributes:
        inference: "nuts", "svi" or "partial".
        hidden: Widths of the hidden layers; () makes a linear regression, None takes
            what suits the inference (`SUITS`).
        activation: "tanh", "silu", "gelu" or "sin", all of them smooth.
        chains: Chains of nuts, one after the other, or modes of "partial"; None takes
            what suits the inference (`SUITS`).
        samples: Draws a chain or mode, even; `chains · samples` draws are kept.
        warmup: Draws of nuts at the head of each chain and round that are left out.
        depth: Doublings of a path of nuts at most; 2^depth − 1 evaluations a draw.
        rounds: Rounds of nuts at most. A first fit has three before it asks for
            agreement, a later one has one; each after these takes twice as long.
        agree: r-hat below which a fit by nuts ends.
        steps: Of Adam, from where the guide of "svi" was; None as above.
        cold_steps: Of Adam, from draws of the prior: at the first fit of "svi", and at
            each of "partial"; None as above.
        learning_rate: Of Adam, at the first step.
        refit_every: New points after which weights are inferred again; between, the
            last layer of "partial" is, and draws of the others stay as they are.
        coordinates: Leading columns of X that are the position.
        size: Pixels along a side of a patch; 0 takes all columns as they are.

    Source: Neal (1996), Bayesian Learning for Neural Networks, chapter 3, for sampling
    weights; Sharma et al. (2023), AISTATS, for networks of which a part is stochastic;
    Wilson and Izmailov (2020), NeurIPS, for a mixture over modes; Coker et al. (2022),
    AISTATS, for what guides without correlations miss.
    """

    name: ClassVar[str] = "bnn"  # under which the registry knows it

    inference: str = "nuts"
    hidden: tuple[int, ...] | None = None
    activation: str = "tanh"
    chains: int | None = None
    samples: int = 32
    warmup: int = 10
    depth: int = 7
    rounds: int = 4
    agree: float = 1.1
    steps: int | None = None
    cold_steps: int | None = None
    learning_rate: float = 0.02
    refit_every: int = 1
    coordinates: int = 2
    size: int = 8

    patches: ClassVar[bool] = True  # a campaign gives it those of the first frame

    def __post_init__(self) -> None:
        require_known(self, inference=INFERENCES, activation=ACTIVATIONS)
        suit(self, SUITS[self.inference])
        hidden = self.hidden if isinstance(self.hidden, list | tuple) else [self.hidden]
        object.__setattr__(self, "hidden", tuple(hidden))  # from a file it is a list
        for field, least in LEAST.items():
            got = getattr(self, field)
            for value in got if isinstance(got, tuple) else (got,):
                whole = isinstance(value, int) and not isinstance(value, bool)
                if not whole or value < least:
                    raise self._refused(field, f"whole numbers from {least} on")
        if self.samples % 2:
            raise self._refused("samples", "an even number: draws come in pairs")
        for field, above in (("agree", 1.0), ("learning_rate", 0.0)):
            got = getattr(self, field)
            number = isinstance(got, int | float) and not isinstance(got, bool)
            if not number or not above < got < float("inf"):  # also catches NaN
                raise self._refused(field, f"a finite number above {above:g}")

    def _refused(self, field: str, allowed: str) -> BadConfig:
        default = inspect.signature(BNN).parameters[field].default
        return BadConfig(
            f"The surrogate bnn got {field} = {getattr(self, field)!r}; it takes "
            f"{allowed}. Leave it out for the default {default}."
        )

    def _design(self, d: int) -> Design:
        coordinates = min(self.coordinates, d)
        if self.size and (d - coordinates) % self.size**2:
            raise ShapeMismatch(
                f"bnn got {d} columns, {d - coordinates} of them behind the position; "
                f"patches of {self.size} × {self.size} pixels take a multiple of "
                f"{self.size**2}. Set size in [surrogate] to that of [inputs], or 0 "
                "for columns that are no patches."
            )
        fields = {name: getattr(self, name) for name in Design._fields}
        return Design(**(fields | {"coordinates": coordinates}))

    def init(self, d: int) -> BNNState:
        return BNNState(first_point(self._design(d), d), fitted=0)

    def fit(self, key: Array, state: BNNState, data: Data) -> tuple[BNNState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        self._require_point("fit", state.point, d)
        if n == 0:
            raise ShapeMismatch(
                "bnn.fit got no point; it takes one or more. Measure one first."
            )
        first = state.fitted == 0
        due = first or not 0 <= n - state.fitted < self.refit_every
        cold = first or (due and self.inference == "partial")
        steps = self.cold_steps if cold else self.steps
        if self.inference == "nuts":
            steps = FIRST if first else 1
        room = roomy(data)
        with float64():
            point, theta, told = bnn_inference.fit(
                key,
                state.point,
                np.asarray(cold),
                np.asarray(steps if due else 0),
                *room[:3],
                design=self._design(d),
            )
            point, told = jax.device_get((point, told))
        info = _plain(told, len(theta))
        info |= {"n": n, "capacity": len(room.y), "searched": int(due)}
        return BNNState(point, n if due else state.fitted, theta), info

    def predict(self, key: Array, state: BNNState, candidates: ArrayLike) -> Posterior:
        del key  # every draw is read
        read, X, design = self._read("predict", state, candidates)
        with float64():
            found = bnn_inference.predict(*read, X, design=design)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def draw(
        self, key: Array, state: BNNState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        read, X, design = self._read("draw", state, candidates)
        with float64():
            return np.asarray(bnn_inference.draw(key, *read, X, design=design))

    def _read(
        self, call: str, state: BNNState, candidates: ArrayLike
    ) -> tuple[tuple[Any, ...], NDArray[np.float64], Design]:
        if state.theta is None:
            raise without_data(f"bnn.{call}")
        X = np.asarray(candidates, np.float64)
        unit = state.point["shift"], state.point["spread"]
        return (state.theta, *unit), X, self._design(X.shape[1])

    def carry(self, state: BNNState) -> dict[str, NDArray[Any]]:
        carried = {name: np.asarray(value) for name, value in state.point.items()}
        return {**carried, "fitted": np.asarray(state.fitted, np.int64)}

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> BNNState:
        blank = self.init(d).point
        point = {
            name: np.asarray(carried[name], value.dtype)
            for name, value in blank.items()
            if name in carried
        }
        self._require_point("restore", point, d)
        return BNNState(point, int(np.asarray(carried["fitted"])))

    def _require_point(self, call: str, point: Mapping[str, Any], d: int) -> None:
        """Refuse a point of other shapes than `init` makes."""
        blank = self.init(d).point
        got, wanted = (
            {name: np.shape(value) for name, value in one.items()}
            for one in (point, blank)
        )
        if got != wanted:
            raise ShapeMismatch(
                f"bnn.{call} got a state of shapes {got}; {d} columns take {wanted}. "
                f"Make the state with init({d}), and restore with the settings of the "
                "run that carried it."
            )


def _plain(told: dict[str, Any], count: int) -> Info:
    """Return plain numbers for people, of `count` draws."""
    watched = told.pop("watched", None)
    info: Info = {name: value.item() for name, value in told.items()}
    info["finite"] = int(info["finite"])
    if watched is None:  # draws are independent
        return {"r_hat": 1.0, "ess": float(count), "divergences": 0} | info
    with np.errstate(divide="ignore", invalid="ignore"):  # draws without spread
        size = effective_sample_size(watched).min()
    for name, value, undefined in (("r_hat", info["r_hat"], HIGHEST), ("ess", size, 0)):
        number = np.nan_to_num(value, nan=undefined, posinf=HIGHEST)
        info[name] = float(number.clip(0.0, HIGHEST))
    return info
