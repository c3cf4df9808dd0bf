"""The exact Gaussian process with its hyperparameters sampled rather than optimised.

Few points allow many maps: all is structure, or all is noise and trend. `gp` keeps the
likeliest; here every one counts by its probability, so that the variance also tells
what the length scales and the noise leave open. Kernels, priors and objective are those
of `gp`; `nuts` samples them, and the posterior is the mixture over draws (`mixture`).
Each program is compiled once for each capacity of `base.bucket`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from aemtwin.errors import BadConfig, ShapeMismatch
from aemtwin.surrogates.base import Data, Info, float64
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.coordinates import prior_draws, straight
from aemtwin.surrogates.exact import Hyper, objective, standardise, trend_sd, tries
from aemtwin.surrogates.mixture import Mixture, Reader, advanced, hyper_of, known
from aemtwin.surrogates.nuts import Chains, Told, rounds
from aemtwin.surrogates.programs import fitting
from aemtwin.surrogates.settings import require_process, require_whole

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
    """A sampled Gaussian process; all but `mixture` is what the next fit needs."""

    chains: Chains  # of phi, (k + 2,), as `straight` takes it
    level: NDArray[np.float64]  # (2,), shift and spread of y at the last sampling
    fitted: int  # number of points at the last sampling; 0: never
    mixture: Mixture | None = None


def require_settings(surrogate: Any) -> None:
    """Require the settings of a surrogate that samples to be such as it can use.

    Raises:
        BadConfig: If they are not.
    """
    told, chains = f"The surrogate {surrogate.name} got", surrogate.chains
    require_whole(surrogate, LEAST)
    most = chains * surrogate.samples
    if surrogate.kept > most:
        raise BadConfig(
            f"{told} kept = {surrogate.kept}; {chains} chains of {surrogate.samples} "
            f"samples have {most} draws. Keep fewer, or raise samples."
        )
    if not surrogate.agree > 1.0:  # also catches NaN
        raise BadConfig(
            f"{told} agree = {surrogate.agree!r}; r-hat is about 1 where chains agree, "
            f"so it takes a number above 1. {type(surrogate).agree:g} is usual."
        )


def warn_apart(surrogate: Any, info: Info, n: int) -> None:
    """Tell where chains that had all their rounds still disagree."""
    rounds, agree = surrogate.rounds, surrogate.agree
    if info["rounds"] < rounds or info["r_hat"] <= max(agree, APART):
        return
    log.warning(
        "%s still has chains that disagree on %d points after all of its rounds = %d: "
        "r-hat is %.3g, where agree = %g was asked for. Mean and variance depend on "
        "the seed; raise rounds in [surrogate].",
        *(surrogate.name, n, rounds, info["r_hat"], agree),
    )


@fitting(static_argnames=("kernel", "trend", "warmup", "depth", "most", "agree"))
def _sample(
    key: Array,
    chains: Chains,
    least: Array,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    trend: tuple[float, ...],
    warmup: int,
    depth: int,
    most: int,
    agree: float,
) -> tuple[Chains, Array, Told]:
    """Sample phi; return the chains, the level of y, and how it went."""
    u, shift, spread = standardise(y, mask)

    def evaluate(phi: Array) -> tuple[Array, Array]:
        theta, pull = jax.vjp(straight, phi)
        value, slope, _ = objective(
            theta, X, u, mask, noise / spread, kernel=kernel, trend=trend
        )
        return value, pull(slope)[0]

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
    return chains, jnp.stack([shift, spread]), told


@dataclass(frozen=True)
class BayesGP(Reader):
    """An exact Gaussian process, averaged over its hyperparameters.

    Kernels, priors, standardisation and mean are those of `gp`. Chains of the no-U-turn
    sampler go on from the draws of the last fit, in rounds, until they agree
    (`info["r_hat"]`); the first fit begins with draws of the prior.

    Attributes:
        kernel: As of `gp`.
        mean: "constant", "linear" or "zero", about the mean of y.
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

    name: ClassVar[str] = "bayes_gp"  # under which the registry knows it
    reads_noise: ClassVar[bool] = True  # `Data.noise`; tells noise_sd

    kernel: str = "matern52"
    mean: str = "constant"
    chains: int = 4
    warmup: int = 10
    samples: int = 64
    kept: int = 64
    depth: int = 6
    rounds: int = 4
    agree: float = 1.05
    refit_every: int = 1

    def __post_init__(self) -> None:
        require_process(self)
        require_settings(self)

    def init(self, d: int) -> BayesGPState:
        draws = prior_draws(self.chains, self.samples, self.kernel, d)
        return BayesGPState(Chains(draws, np.array(STEP)), np.array([0.0, 1.0]), 0)

    def fit(
        self, key: Array, state: BayesGPState, data: Data
    ) -> tuple[BayesGPState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        expected = self._shape(d)
        if state.chains.draws.shape != expected or n == 0:
            raise ShapeMismatch(
                f"bayes_gp.fit got {n} points of {d} dimensions and a state with draws "
                f"of shape {state.chains.draws.shape}; it takes one point or more, and "
                f"draws of shape {expected}. Make the state with init({d})."
            )
        due = state.fitted == 0 or not 0 <= n - state.fitted < self.refit_every
        told: Info = {"accept_prob": 0.0, "divergences": 0, "evaluations": 0}
        told |= {"rounds": 0}
        with float64():
            if due:
                state, told = self._sampled(key, state, data)
            hyper = self._hyper(state, d)
            kept = np.full(self.kept, 1.0 / self.kept)
            mixture = advanced(
                state.mixture, kept, hyper, state.fitted, data, kernel=self.kernel
            )
            state = state._replace(mixture=mixture)
            info = told | self._told(state, d)
        if due:
            warn_apart(self, info, n)
        return state, info | {"n": n, "searched": int(due)}

    def _shape(self, d: int) -> tuple[int, int, int]:
        return self.chains, self.samples, len(named(self.kernel).labels(d)) + 2

    def _sampled(
        self, key: Array, state: BayesGPState, data: Data
    ) -> tuple[BayesGPState, Info]:
        """Sample hyperparameters, going on from the draws of the last time."""
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        chains, level, told = jax.device_get(
            _sample(
                key,
                Chains(*(np.asarray(part, np.float64) for part in state.chains)),
                np.asarray(FIRST if state.fitted == 0 else 1),
                *(data.X, data.y, data.mask, known(data)),
                kernel=self.kernel,
                trend=tuple(trend_sd(self.mean, d).tolist()),
                warmup=self.warmup,
                depth=self.depth,
                most=self.rounds,
                agree=self.agree,
            )
        )
        return BayesGPState(chains, level, n), {
            "divergences": int(told.divergences),
            "accept_prob": float(told.accept),
            "rounds": int(told.rounds),
            "evaluations": int(told.evaluations),
        }

    def _hyper(self, state: BayesGPState, d: int) -> Hyper:
        """Return the draws that are kept, evenly from all chains, in the unit of y."""
        every = np.asarray(state.chains.draws).reshape(-1, self._shape(d)[-1])
        phi = every[np.arange(self.kept) * len(every) // self.kept]
        return hyper_of(straight(phi), state.level, trend_sd(self.mean, d))

    def _told(self, state: BayesGPState, d: int) -> Info:
        """Return what a fit says of itself; a hyperparameter is the median draw."""
        mixture, draws = state.mixture, np.asarray(state.chains.draws)
        assert mixture is not None
        every = jax.device_get(mixture.hyper)
        middle = jax.tree.map(lambda part: np.median(part, axis=0), every)
        with np.errstate(divide="ignore", invalid="ignore"):  # draws without spread
            size, apart = (
                effective_sample_size(draws).min(),
                split_gelman_rubin(draws).max(),
            )
        labels = named(self.kernel).labels(d)
        return {
            "r_hat": plain(apart, HIGHEST),
            "ess": plain(size, 0.0),
            "step_size": float(state.chains.step),
            "scale": float(middle.scale),
            "noise_sd": float(middle.noise),
            "mean": float(middle.mean),
            **{k: float(v) for k, v in zip(labels, middle.length, strict=True)},
            "jitter": float(np.max(mixture.jitter)),
            "jitter_tries": int(tries(np.asarray(mixture.jitter), every.scale)),
            "finite": int(np.all(np.isfinite(mixture.alpha))),
            "capacity": int(mixture.mask.shape[0]),
        }

    def carry(self, state: BayesGPState) -> dict[str, NDArray[Any]]:
        return {
            "draws": np.asarray(state.chains.draws, np.float64),
            "step": np.asarray(state.chains.step, np.float64),
            "level": np.asarray(state.level, np.float64),
            "fitted": np.asarray(state.fitted, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> BayesGPState:
        draws, step, level = (
            np.asarray(carried[name], np.float64) for name in ("draws", "step", "level")
        )
        if draws.shape != self._shape(d):
            raise ShapeMismatch(
                f"bayes_gp.restore got draws of shape {draws.shape}; {d} dimensions, "
                f"{self.chains} chains and {self.samples} samples take "
                f"{self._shape(d)}. Restore with the settings of the run that carried "
                "it."
            )
        fitted = int(np.asarray(carried["fitted"]))
        return BayesGPState(Chains(draws, step), level, fitted)


def plain(value: Any, undefined: float) -> float:
    """Return a number for people, `undefined` where it is none, at most `HIGHEST`."""
    return float(np.nan_to_num(value, nan=undefined, posinf=HIGHEST).clip(0.0, HIGHEST))
