"""The exact Gaussian process as a surrogate: one program to fit it, one to read it.

A fit standardises y, searches for length scales, scale and noise (`search`), and
factorises K; a read solves against that factor (`exact`). Both are compiled once for
each capacity of `base.bucket`. `base` says what a surrogate promises.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, ShapeMismatch, unknown
from aemtwin.surrogates.base import Data, Info, Posterior, float64, without_data
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import (
    Hyper,
    condition,
    natural,
    objective,
    posterior,
    prior,
    read,
    standardise,
)
from aemtwin.surrogates.kernels import KERNELS
from aemtwin.surrogates.search import lowest

__all__ = ["GP", "GPState", "Hyper", "condition", "objective", "posterior", "read"]


class GPState(NamedTuple):
    """A fitted Gaussian process; `theta` and `fitted` are what the next fit needs."""

    theta: Array | NDArray[np.float64]  # (d + 2,), log of scale/sd(y), length, noise/sd
    fitted: int  # number of points at the last search for theta; 0: never
    hyper: Hyper | None = None
    X: NDArray[np.float64] | None = None  # (N, d), padded
    mask: NDArray[np.bool_] | None = None  # (N,)
    L: Array | None = None  # (N, N), Cholesky factor of K, identity where padded
    alpha: Array | None = None  # (N,), K⁻¹(y − mean), 0 where padded


@partial(jax.jit, static_argnames=("kernel", "starts", "limit"))
def _fit(
    key: Array,
    theta: Array,
    search: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    kernel: str,
    starts: int,
    limit: int,
) -> tuple[Array, Hyper, Array, Array, dict[str, Array]]:
    """Search for theta if `search`, then factorise; the one program of a fit."""
    u, shift, spread = standardise(y, mask)

    def evaluate(t: Array) -> tuple[Array, Array]:
        return objective(t, X, u, mask, kernel=kernel)[:2]

    def find() -> tuple[Array, Array, Array]:
        return lowest(key, theta, evaluate, starts=starts, limit=limit)

    def keep() -> tuple[Array, Array, Array]:
        return theta, jnp.zeros((), int), jnp.zeros((), int)

    theta, evaluations, best = lax.cond(search, find, keep)
    value, _, (nll, mean) = objective(theta, X, u, mask, kernel=kernel)
    unit = natural(theta)
    hyper = Hyper(
        spread * unit.scale, unit.length, spread * unit.noise, shift + spread * mean
    )
    L, alpha, jitter = condition(hyper, X, y, mask, kernel=kernel)
    info = {
        "objective": value,
        "nll": nll,
        "scale": hyper.scale,
        "noise_sd": hyper.noise,
        "mean": hyper.mean,
        "jitter": jitter,
        "evaluations": evaluations,
        "start": best,
        "finite": jnp.all(jnp.isfinite(alpha)) & jnp.isfinite(value),
    }
    return theta, hyper, L, alpha, info


@partial(jax.jit, static_argnames="kernel")
def _predict(
    hyper: Hyper,
    X: Array,
    mask: Array,
    L: Array,
    alpha: Array,
    candidates: Array,
    *,
    kernel: str,
) -> Posterior:
    return read(hyper, X, mask, L, alpha, candidates, kernel=kernel)


@partial(jax.jit, static_argnames="kernel")
def _draw(
    key: Array,
    hyper: Hyper,
    X: Array,
    mask: Array,
    L: Array,
    alpha: Array,
    candidates: Array,
    *,
    kernel: str,
) -> Array:
    return path(key, hyper, X, mask, L, alpha, candidates, kernel=kernel)


@dataclass(frozen=True)
class GP:
    """An exact Gaussian process with a constant mean and one noise level.

    Hyperparameters are the mode of the posterior density of their logarithms under
    weak log-normal priors, for y with sd 1 and X in a unit box: scale, median 1 and
    log-sd 1; each length, median 0.25·√d and log-sd 1; noise, median 0.1 and log-sd
    1.5; mean, N(0, 1).

    Marginal likelihoods of few points have several modes (all is noise and trend, or
    all is structure). Each fit starts from the last optimum and from `starts - 1`
    points on a ladder of lengths, shaken by the key, and keeps the lowest objective;
    `info["start"]` tells which, 0 being the warm one.

    Attributes:
        kernel: "matern52" (rough, the default) or "rbf" (smooth).
        starts: Searches a fit, the warm one included.
        limit: Evaluations after which a search begins no other step;
            `info["evaluations"]` sums those of all searches, line searches included.
        refit_every: New points after which hyperparameters are sought again; between,
            only the posterior is updated.
    """

    kernel: str = "matern52"
    starts: int = 4
    limit: int = 50
    refit_every: int = 1

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS, "Set it in [surrogate].")
        for field in ("starts", "limit", "refit_every"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadConfig(
                    f"The surrogate gp got {field} = {value!r}; it takes a whole "
                    "number from 1 on. Leave it out for the default "
                    f"{inspect.signature(GP).parameters[field].default}."
                )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "gp"

    def init(self, d: int) -> GPState:
        return GPState(theta=prior(d)[0], fitted=0)

    def fit(self, key: Array, state: GPState, data: Data) -> tuple[GPState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        if state.theta.shape != (d + 2,) or n == 0:
            raise ShapeMismatch(
                f"gp.fit got {n} points of {d} dimensions and a state for "
                f"{state.theta.shape[0] - 2}; it takes one point or more, of the "
                f"state's dimensions. Make the state with init({d})."
            )
        search = state.fitted == 0 or n - state.fitted >= self.refit_every
        with float64():
            theta, hyper, L, alpha, told = _fit(
                key,
                np.asarray(state.theta, np.float64),
                np.asarray(search),
                *data,
                kernel=self.kernel,
                starts=self.starts,
                limit=self.limit,
            )
            told = jax.device_get(told)
            lengths = np.asarray(hyper.length)
        info: Info = {name: value.item() for name, value in told.items()}
        info |= {f"length_{k}": float(length) for k, length in enumerate(lengths)}
        info |= {"n": n, "capacity": data.X.shape[0], "searched": int(search)}
        info["finite"] = int(info["finite"])
        fitted = n if search else state.fitted
        return GPState(theta, fitted, hyper, data.X, data.mask, L, alpha), info

    def predict(self, key: Array, state: GPState, candidates: ArrayLike) -> Posterior:
        del key  # nothing is drawn
        if state.hyper is None:
            raise without_data("gp.predict")
        at = np.asarray(candidates, np.float64)
        with float64():
            found = _predict(*state[2:], at, kernel=self.kernel)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def draw(
        self, key: Array, state: GPState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        if state.hyper is None:
            raise without_data("gp.draw")
        at = np.asarray(candidates, np.float64)
        with float64():
            return np.asarray(_draw(key, *state[2:], at, kernel=self.kernel))

    def carry(self, state: GPState) -> dict[str, NDArray[Any]]:
        return {
            "theta": np.asarray(state.theta, np.float64),
            "fitted": np.asarray(state.fitted, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> GPState:
        theta = np.asarray(carried["theta"], np.float64)
        if theta.shape != (d + 2,):
            raise ShapeMismatch(
                f"gp.restore got theta of shape {theta.shape}; {d} dimensions take "
                f"({d + 2},). Restore with the dimensions of the run that carried it."
            )
        return GPState(theta=theta, fitted=int(np.asarray(carried["fitted"])))
