"""The exact Gaussian process with its hyperparameters sampled rather than optimised.

Few points allow many maps: all is structure, or all is noise and trend. `gp` keeps the
likeliest; here every one counts by its probability, so that the variance also tells
what the length scales and the noise leave open. Kernels, priors and objective are those
of `gp`; `nuts` samples them, `exact` conditions on each draw, and the posterior is the
mixture over draws. One program fits and one reads, for each capacity of `base.bucket`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray
from numpyro.diagnostics import effective_sample_size

from aemtwin.errors import BadConfig, ShapeMismatch, unknown
from aemtwin.surrogates.base import Data, Info, Posterior, float64, without_data
from aemtwin.surrogates.draws import path
from aemtwin.surrogates.exact import (
    Hyper,
    condition,
    natural,
    objective,
    prior_draws,
    read,
    standardise,
    straight,
)
from aemtwin.surrogates.kernels import KERNELS
from aemtwin.surrogates.nuts import Chains, Told, rounds

log = logging.getLogger(__name__)

FIRST = 3  # rounds that a first fit has if `rounds` allows: settle, spread, sample
STEP = 0.5  # of the first round
LEAST = {  # whole numbers from here on
    "chains": 1,
    "warmup": 0,
    "samples": 4,
    "kept": 1,
    "depth": 1,
    "rounds": 1,
    "refit_every": 1,
}
HIGHEST = 1e6  # r-hat of chains that never moved, or of which it is undefined
APART = 1.1  # r-hat above which chains that had all their rounds are worth a warning


class BayesGPState(NamedTuple):
    """A sampled Gaussian process; `chains` and `fitted` are what the next fit needs."""

    chains: Chains  # of theta, (d + 2,), log of scale/sd(y), length, noise/sd
    fitted: int  # number of points at the last sampling of theta; 0: never
    hyper: Hyper | None = None  # of the s draws that are kept: (s,), (s, d), (s,), (s,)
    X: NDArray[np.float64] | None = None  # (N, d), padded
    mask: NDArray[np.bool_] | None = None  # (N,)
    L: Array | None = None  # (s, N, N), Cholesky factors of K, identity where padded
    alpha: Array | None = None  # (s, N), K⁻¹(y − mean), 0 where padded


@partial(
    jax.jit, static_argnames=("kernel", "warmup", "depth", "most", "agree", "kept")
)
def _fit(
    key: Array,
    chains: Chains,
    least: Array,
    X: Array,
    y: Array,
    mask: Array,
    *,
    kernel: str,
    warmup: int,
    depth: int,
    most: int,
    agree: float,
    kept: int,
) -> tuple[Chains, Hyper, Array, Array, Told, Array]:
    """Sample theta unless `least` is 0, then factorise; the one program of a fit."""
    u, shift, spread = standardise(y, mask)

    def evaluate(phi: Array) -> tuple[Array, Array]:
        theta, pull = jax.vjp(straight, phi)
        value, slope, _ = objective(theta, X, u, mask, kernel=kernel)
        return value, pull(slope)[0]

    def one(phi: Array) -> tuple[Hyper, Array, Array, Array]:
        theta = straight(phi)
        value, _, (_, mean) = objective(theta, X, u, mask, kernel=kernel)
        unit = natural(theta)
        hyper = Hyper(
            spread * unit.scale, unit.length, spread * unit.noise, shift + spread * mean
        )
        L, alpha, _ = condition(hyper, X, y, mask, kernel=kernel)
        return hyper, L, alpha, value

    chains, told = rounds(
        key,
        chains,
        evaluate,
        warmup=warmup,
        depth=depth,
        least=least,
        most=most,
        agree=agree,
    )
    every = chains.draws.reshape(-1, chains.draws.shape[-1])
    pick = np.arange(kept) * len(every) // kept  # evenly, from all chains alike
    hyper, L, alpha, value = lax.map(one, every[pick])
    finite = jnp.all(jnp.isfinite(alpha)) & jnp.all(jnp.isfinite(value))
    return chains, hyper, L, alpha, told, finite


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
    """Read one draw after the other; mean of means, variance within and between."""

    def add(
        sums: tuple[Array, Array, Array, Array], draw: tuple[Hyper, Array, Array]
    ) -> tuple[tuple[Array, Array, Array, Array], None]:
        s, mean, within, between = sums
        one, factor, weight = draw
        at = read(one, X, mask, factor, weight, candidates, kernel=kernel)
        gap = at.mean - mean
        mean = mean + gap / (s + 1)
        return (
            s + 1,
            mean,
            within + at.variance,
            between + gap * (at.mean - mean),
        ), None

    zero = jnp.zeros(candidates.shape[0], alpha.dtype)
    begin = jnp.zeros((), alpha.dtype), zero, zero, zero
    (s, mean, within, between), _ = lax.scan(add, begin, (hyper, L, alpha))
    return Posterior(mean, (within + between) / s)


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
    key_choice, key_path = jax.random.split(key)
    k = jax.random.randint(key_choice, (), 0, alpha.shape[0])
    one = Hyper(*(jnp.asarray(part)[k] for part in hyper))
    return path(key_path, one, X, mask, L[k], alpha[k], candidates, kernel=kernel)


@dataclass(frozen=True)
class BayesGP:
    """An exact Gaussian process, averaged over its hyperparameters.

    Priors, standardisation and constant mean are those of `gp`; the constant mean has
    its best value for each draw. Chains of the no-U-turn sampler go on from the draws
    of the last fit, in rounds, until they agree (`info["r_hat"]`); the first fit
    begins with draws of the prior.

    Attributes:
        kernel: "matern52" (rough, the default) or "rbf" (smooth).
        chains: Chains of the sampler, one after the other.
        warmup: Draws at the head of each chain and round that are not kept.
        samples: Draws of each chain and round that are kept for the next fit.
        kept: Draws of all chains together that the posterior is the mixture of.
        depth: Doublings of a path at most; 2^depth − 1 evaluations a draw.
        rounds: Rounds of a fit at most. A first fit has three alike before it asks for
            agreement, a later one has one; each after these takes twice as long as the
            one before.
        agree: r-hat below which a fit ends.
        refit_every: New points after which hyperparameters are sampled again; between,
            only the posterior is updated.
    """

    kernel: str = "matern52"
    chains: int = 4
    warmup: int = 10
    samples: int = 64
    kept: int = 64
    depth: int = 6
    rounds: int = 4
    agree: float = 1.05
    refit_every: int = 1

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise unknown("kernel", self.kernel, KERNELS, "Set it in [surrogate].")
        for field, least in LEAST.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise BadConfig(
                    f"The surrogate bayes_gp got {field} = {value!r}; it takes a whole "
                    f"number from {least} on. Leave it out for the default "
                    f"{inspect.signature(BayesGP).parameters[field].default}."
                )
        if self.kept > self.chains * self.samples:
            raise BadConfig(
                f"The surrogate bayes_gp got kept = {self.kept}; {self.chains} chains "
                f"of {self.samples} samples have {self.chains * self.samples} draws. "
                "Keep fewer, or raise samples."
            )
        if not self.agree > 1.0:  # also catches NaN
            raise BadConfig(
                f"The surrogate bayes_gp got agree = {self.agree!r}; r-hat is about 1 "
                "where chains agree, so it takes a number above 1. 1.05 is usual."
            )

    @property
    def name(self) -> str:
        """The name under which the registry knows it."""
        return "bayes_gp"

    def init(self, d: int) -> BayesGPState:
        draws = prior_draws(self.chains, self.samples, d)
        return BayesGPState(Chains(draws, np.array(STEP)), fitted=0)

    def fit(
        self, key: Array, state: BayesGPState, data: Data
    ) -> tuple[BayesGPState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        expected = self.chains, self.samples, d + 2
        if state.chains.draws.shape != expected or n == 0:
            raise ShapeMismatch(
                f"bayes_gp.fit got {n} points of {d} dimensions and a state with draws "
                f"of shape {state.chains.draws.shape}; it takes one point or more, and "
                f"draws of shape {expected}. Make the state with init({d})."
            )
        search = state.fitted == 0 or n - state.fitted >= self.refit_every
        least = (FIRST if state.fitted == 0 else 1) if search else 0
        with float64():
            chains, hyper, L, alpha, told, finite = _fit(
                key,
                Chains(*(np.asarray(part, np.float64) for part in state.chains)),
                np.asarray(least),
                *data,
                kernel=self.kernel,
                warmup=self.warmup,
                depth=self.depth,
                most=self.rounds,
                agree=self.agree,
                kept=self.kept,
            )
            chains, told, finite = jax.device_get((chains, told, finite))
            middle = Hyper(*(np.median(part, axis=0) for part in jax.device_get(hyper)))
        r_hat = _plain(told.r_hat, HIGHEST)
        if search and told.rounds >= self.rounds and r_hat > max(self.agree, APART):
            log.warning(
                "bayes_gp still has chains that disagree on %d points after all of its "
                "rounds = %d: r-hat is %.3g, where agree = %g was asked for. Mean and "
                "variance depend on the seed; raise rounds in [surrogate].",
                n,
                self.rounds,
                r_hat,
                self.agree,
            )
        with np.errstate(divide="ignore", invalid="ignore"):  # draws without spread
            size = effective_sample_size(chains.draws).min()
        info: Info = {
            "r_hat": r_hat,
            "ess": _plain(size, 0.0),
            "divergences": int(told.divergences),
            "accept_prob": float(told.accept),
            "step_size": float(chains.step),
            "rounds": int(told.rounds),
            "evaluations": int(told.evaluations),
            "scale": float(middle.scale),
            "noise_sd": float(middle.noise),
            "mean": float(middle.mean),
            **{f"length_{k}": float(one) for k, one in enumerate(middle.length)},
            "finite": int(finite),
            "n": n,
            "capacity": data.X.shape[0],
            "searched": int(search),
        }
        fitted = n if search else state.fitted
        after = BayesGPState(chains, fitted, hyper, data.X, data.mask, L, alpha)
        return after, info

    def predict(
        self, key: Array, state: BayesGPState, candidates: ArrayLike
    ) -> Posterior:
        del key  # every draw that was kept is read
        if state.hyper is None:
            raise without_data("bayes_gp.predict")
        at = np.asarray(candidates, np.float64)
        with float64():
            found = _predict(*state[2:], at, kernel=self.kernel)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def draw(
        self, key: Array, state: BayesGPState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        if state.hyper is None:
            raise without_data("bayes_gp.draw")
        at = np.asarray(candidates, np.float64)
        with float64():
            return np.asarray(_draw(key, *state[2:], at, kernel=self.kernel))

    def carry(self, state: BayesGPState) -> dict[str, NDArray[Any]]:
        return {
            "draws": np.asarray(state.chains.draws, np.float64),
            "step": np.asarray(state.chains.step, np.float64),
            "fitted": np.asarray(state.fitted, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> BayesGPState:
        draws = np.asarray(carried["draws"], np.float64)
        expected = self.chains, self.samples, d + 2
        if draws.shape != expected:
            raise ShapeMismatch(
                f"bayes_gp.restore got draws of shape {draws.shape}; {d} dimensions, "
                f"{self.chains} chains and {self.samples} samples take {expected}. "
                "Restore with the settings of the run that carried it."
            )
        step = np.asarray(carried["step"], np.float64)
        return BayesGPState(Chains(draws, step), int(np.asarray(carried["fitted"])))


def _plain(value: Any, undefined: float) -> float:
    """Return a number for people, `undefined` where it is none, at most `HIGHEST`."""
    return float(np.nan_to_num(value, nan=undefined, posinf=HIGHEST).clip(0.0, HIGHEST))
