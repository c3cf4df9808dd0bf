"""The exact Gaussian process as a surrogate: hyperparameters at their likeliest.

A fit standardises y, searches for scale, shape and noise from several starts
(`search`), spreads what it found (`laplace`) and conditions all of it (`mixture`).
Between two searches a new point is a new row of each factor. Each program is compiled
once for each capacity of `base.bucket`. `base` says what a surrogate promises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import ShapeMismatch
from aemtwin.surrogates.base import Data, Info, bucket, float64
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.exact import (
    objective,
    prior,
    standardise,
    trend_sd,
    tries,
)
from aemtwin.surrogates.laplace import DIRECTIONS
from aemtwin.surrogates.mixture import (
    Mixture,
    Reader,
    advanced,
    hyper_of,
    known,
)
from aemtwin.surrogates.programs import fitting
from aemtwin.surrogates.search import Modes, modes
from aemtwin.surrogates.settings import refused, require_process, require_whole

GROWTH = 0.1  # of the number of points, after which all is sought anew


class GPState(NamedTuple):
    """A fitted Gaussian process; all but `mixture` is what the next fit needs."""

    theta: NDArray[np.float64]  # (s, k + 2), log of scale/sd(y), shape, noise/sd(y)
    weight: NDArray[np.float64]  # (s,); the modes first, then points about them
    level: NDArray[np.float64]  # (2,), shift and spread of y at the last search
    fitted: int  # number of points at the last search for theta; 0: never
    whole: int  # the same, of the last search from all starts
    mixture: Mixture | None = None


@fitting(
    static_argnames=("kernel", "trend", "starts", "limit", "kept", "directions"),
)
def _search(
    key: Array,
    theta: Array,
    used: Array,
    whole: Array,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    trend: tuple[float, ...],
    starts: int,
    limit: int,
    kept: int,
    directions: int,
) -> tuple[Modes, Array, Array]:
    """Search for theta; return the modes, the level of y, and the best likelihood."""
    u, shift, spread = standardise(y, mask)

    def evaluate(t: Array) -> tuple[Array, Array]:
        return objective(t, X, u, mask, noise / spread, kernel=kernel, trend=trend)[:2]

    median, sd = prior(kernel, X.shape[1])
    found = modes(
        key,
        theta,
        used,
        evaluate,
        whole=whole,
        median=median,
        sd=sd,
        starts=starts,
        limit=limit,
        kept=kept,
        directions=directions,
    )
    z = (found.theta[0] - median) / sd
    return found, jnp.stack([shift, spread]), found.value[0] - 0.5 * z @ z


@dataclass(frozen=True)
class GP(Reader):
    """An exact Gaussian process with its mean, its noise and its shape learned.

    Hyperparameters are modes of the posterior density of their logarithms under weak
    log-normal priors, for y with sd 1 and X in a unit box: scale, median 1 and log-sd
    1; each length, median 0.25·√d and log-sd 1; noise, median 0.1 and log-sd 1.5. The
    coefficients of the mean are normal with sd 1 (and 3.5 for a slope), and what is not
    known of them counts in the variance.

    Marginal likelihoods of few points have several modes (all is noise and trend, or
    all is structure). A search starts from the modes of the last one and, where the
    points have become a tenth more since, also from `starts - 1` points on a ladder of
    lengths, shaken by the key. The posterior is the mixture of the modes found, each
    with its share of the probability, and of points about them that stand for what the
    data leave open of the hyperparameters.

    Attributes:
        kernel: "matern52" (rough, the default), "matern32", "matern12", "rbf"
            (smooth), "periodic", or their sums and products: "matern52 + rbf*periodic".
        mean: "constant", "linear" or "zero", about the mean of y.
        starts: Searches where all is sought anew, the one from the likeliest mode
            included.
        modes: Modes that are kept, at most.
        spread: Capacity (padded number of points) up to which each mode is spread; of
            more points a mode is nearly all that there is. 0: never.
        limit: Evaluations after which a search begins no other step;
            `info["evaluations"]` sums those of all searches, line searches included.
        refit_every: New points after which hyperparameters are sought again; between,
            only the posterior is updated.
        drift: Nats by which all new points may be less likely than expected; where
            they are, hyperparameters are sought at once.
    """

    name: ClassVar[str] = "gp"  # under which the registry knows it
    reads_noise: ClassVar[bool] = True  # `Data.noise`; tells noise_sd

    kernel: str = "matern52"
    mean: str = "constant"
    starts: int = 4
    modes: int = 2
    spread: int = 128
    limit: int = 50
    refit_every: int = 1
    drift: float = 3.0

    def __post_init__(self) -> None:
        require_process(self)
        whole = ("starts", "modes", "limit", "refit_every")
        require_whole(self, dict.fromkeys(whole, 1) | {"spread": 0})
        if isinstance(self.drift, bool) or not self.drift > 0:  # also catches NaN
            raise refused(self, "drift", "a number above 0; inf never seeks early")

    def init(self, d: int) -> GPState:
        median, _ = prior(self.kernel, d)
        weight = np.zeros(self.modes + 2 * self._directions(len(median)))
        weight[0] = 1.0
        theta = np.tile(median, (len(weight), 1))
        return GPState(theta, weight, np.array([0.0, 1.0]), 0, 0)

    def _directions(self, p: int, capacity: int = 0) -> int:
        """Return the axes along which modes of p hyperparameters are spread."""
        return min(p, DIRECTIONS) if 0 <= capacity <= self.spread > 0 else 0

    def fit(self, key: Array, state: GPState, data: Data) -> tuple[GPState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        expected = self._shape(d)
        if state.theta.shape != expected or n == 0:
            raise ShapeMismatch(
                f"gp.fit got {n} points of {d} dimensions and a state with theta of "
                f"shape {state.theta.shape}; it takes one point or more, and theta of "
                f"shape {expected}. Make the state with init({d})."
            )
        due = state.fitted == 0 or not 0 <= n - state.fitted < self.refit_every
        told: Info = {"evaluations": 0, "start": 0}
        with float64():
            if not due:
                state = self._settled(state, data)
                told["surprise"] = _surprise(self.mixture("fit", state), state.fitted)
                due = told["surprise"] > self.drift
            if due:
                state, told = self._sought(key, state, data)
            info = told | self._told(state, d)
        return state, info | {"n": n, "searched": int(due)}

    def _sought(self, key: Array, state: GPState, data: Data) -> tuple[GPState, Info]:
        """Search for hyperparameters, and condition on all points."""
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        whole = not state.whole <= n < (1.0 + GROWTH) * state.whole
        found, level, nll = jax.device_get(
            _search(
                key,
                state.theta[: self.modes],
                state.weight[: self.modes] > 0,
                np.asarray(whole),
                *(data.X, data.y, data.mask, known(data)),
                kernel=self.kernel,
                trend=tuple(trend_sd(self.mean, d).tolist()),
                starts=self.starts,
                limit=self.limit,
                kept=self.modes,
                directions=self._directions(state.theta.shape[1], len(data.mask)),
            )
        )
        more = len(state.weight) - len(found.weight)
        theta = np.concatenate([found.theta, np.tile(found.theta[:1], (more, 1))])
        weight = np.pad(found.weight, (0, more))
        told: Info = {
            "objective": float(found.value[0]),
            "nll": float(nll),
            "evaluations": int(found.evaluations),
            "start": int(found.start),
        }
        after = GPState(theta, weight, level, n, n if whole else state.whole)
        return self._settled(after, data), told

    def _shape(self, d: int) -> tuple[int, int]:
        k = len(named(self.kernel).labels(d)) + 2
        return self.modes + 2 * self._directions(k), k

    def _settled(self, state: GPState, data: Data) -> GPState:
        """Return the state with its mixture over all points.

        Where modes are not spread, there is no process but theirs: the rest of theta
        only keeps its shape.
        """
        capacity = bucket(max(state.fitted, 1))
        k = self.modes + 2 * self._directions(state.theta.shape[1], capacity)
        trend = trend_sd(self.mean, data.X.shape[1])
        hyper = hyper_of(state.theta[:k], state.level, trend)
        mixture = advanced(
            state.mixture,
            state.weight[:k],
            hyper,
            state.fitted,
            data,
            kernel=self.kernel,
        )
        return state._replace(mixture=mixture)

    def _told(self, state: GPState, d: int) -> Info:
        """Return what a fit says of itself; a number is the highest mode's."""
        mixture = state.mixture
        assert mixture is not None
        hyper = jax.tree.map(lambda a: np.asarray(a)[0], mixture.hyper)
        jitter, alpha = np.asarray(mixture.jitter), np.asarray(mixture.alpha)
        weight, scale = np.asarray(mixture.weight), np.asarray(mixture.hyper.scale)
        used = weight > 0
        share = weight[used]
        return {
            "scale": float(hyper.scale),
            "noise_sd": float(hyper.noise),
            "mean": float(hyper.mean),
            **{
                label: float(value)
                for label, value in zip(
                    named(self.kernel).labels(d), hyper.length, strict=True
                )
            },
            "jitter": float(np.max(jitter[used])),
            "jitter_tries": int(tries(jitter[used], scale[used])),
            "members": math.exp(-float(share @ np.log(share))),  # as many alike
            "finite": int(np.all(np.isfinite(alpha[used]))),
            "capacity": int(mixture.mask.shape[0]),
        }

    def carry(self, state: GPState) -> dict[str, NDArray[Any]]:
        return {
            "theta": np.asarray(state.theta, np.float64),
            "weight": np.asarray(state.weight, np.float64),
            "level": np.asarray(state.level, np.float64),
            "fitted": np.asarray(state.fitted, np.int64),
            "whole": np.asarray(state.whole, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> GPState:
        begin = self.init(d)
        if missing := [one for one in self.carry(begin) if one not in carried]:
            raise ShapeMismatch(
                f"gp.restore got no {' and no '.join(missing)}; another version of "
                "aemtwin carried it. Resume the run with that version, or begin anew."
            )
        theta, weight, level = (
            np.asarray(carried[name], np.float64)
            for name in ("theta", "weight", "level")
        )
        if theta.shape != begin.theta.shape or weight.shape != begin.weight.shape:
            raise ShapeMismatch(
                f"gp.restore got theta of shape {theta.shape}; {d} dimensions, the "
                f"kernel {self.kernel} and {self.modes} modes take "
                f"{begin.theta.shape}. Restore with the settings of the run that "
                "carried it."
            )
        fitted, whole = (int(np.asarray(carried[name])) for name in ("fitted", "whole"))
        return GPState(theta, weight, level, fitted, whole)


def _surprise(mix: Mixture, fitted: int) -> float:
    """Return by how much points after the first `fitted` were less likely than thought.

    Each is looked at from those before it; what is summed is half of its squared error
    in predicted variances, less the half that is expected. Of the likeliest process.
    """
    best, n = int(np.argmax(mix.weight)), int(np.sum(mix.mask))
    L, alpha = np.asarray(mix.L)[best], np.asarray(mix.alpha)[best]
    error = L.T @ alpha  # L⁻¹(y − mean)
    return float(0.5 * np.sum(error[fitted:n] ** 2 - 1.0))
