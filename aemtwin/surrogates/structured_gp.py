"""Gaussian processes about physical models: hypotheses that data weigh as they arrive.

A hypothesis is a mean model with priors on its parameters (`means`); what it leaves
over is a Gaussian process, with the kernel and priors of `gp`. Where the model is right
few points are enough, and where it is wrong the kernel makes up for it, at a price. The
price is the evidence: it weighs the hypotheses against one another. `hypotheses`
samples each, `evidence` weighs it, and `predictive` is the mixture over all.

Source: Ziatdinov et al. (2022), Advanced Materials 34, 2201345 (arXiv:2112.06649), for
the idea; there a policy picks one hypothesis at a time, here all count by their weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray
from numpyro.diagnostics import split_gelman_rubin

from aemtwin.errors import BadConfig, ShapeMismatch
from aemtwin.surrogates.base import (
    Cross,
    Data,
    Info,
    Posterior,
    float64,
    without_data,
)
from aemtwin.surrogates.bayes_gp import (
    FIRST,
    HIGHEST,
    STEP,
    plain,
    require_settings,
    warn_apart,
)
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.exact import tries
from aemtwin.surrogates.hypotheses import Hypotheses, sample
from aemtwin.surrogates.means import Mean, load
from aemtwin.surrogates.mixture import known
from aemtwin.surrogates.nuts import Chains
from aemtwin.surrogates.predictive import (
    Predictive,
    conditioned,
    drawn,
    joint,
    moments,
)

BEHIND = 7.0  # log evidence by which a hypothesis may trail to have further rounds
COUNTS = 0.01  # weight from which on the chains of a hypothesis shall agree
CARRIED = ("draws", "step", "level", "evidence", "error")  # besides `fitted`


class StructuredGPState(NamedTuple):
    """Sampled hypotheses; all but `read` is what the next fit needs."""

    chains: Chains  # draws (h, c, s, p) and step (h,)
    level: NDArray[np.float64]  # (2,), shift and spread of y at the last sampling
    evidence: NDArray[np.float64]  # (h,), log, of standardised y, at the last sampling
    error: NDArray[np.float64]  # (h,), half of the gap between its two estimates
    fitted: int  # number of points at the last sampling; 0: never
    read: Predictive | None = None


@dataclass(frozen=True)
class StructuredGP:
    """Gaussian processes about physical models, weighed by the evidence of each.

    Kernel, priors of its hyperparameters and standardisation are those of `gp`, chains
    those of `bayes_gp`. All hypotheses are as likely before the data. `info` tells the
    weight of each (`weight_step`), the log of its evidence (`evidence_step`), its r-hat
    and the median of its parameters (`step.height`), in the units of its priors.

    Attributes:
        means: Hypotheses: names of `means.MODELS`, or "my_module.my_model"; a list, or
            one string with "+" between them.
        standardise: Whether means and their priors are those of standardised y; False:
            they are in the unit of y. Hyperparameters of the kernel always are of
            standardised y.
        kernel: As of `gp`, the same for all hypotheses.
        chains: Chains of the sampler for each hypothesis, one after the other.
        warmup: Draws at the head of each chain and round that are not kept.
        samples: Draws of each chain and round that are kept for the next fit.
        kept: Draws of each hypothesis that the posterior is the mixture of.
        depth: Doublings of a path at most; 2^depth − 1 evaluations a draw.
        rounds: Rounds of a fit at most, as of `bayes_gp`.
        agree: r-hat below which a fit ends. A hypothesis that trailed by far has one
            round, whether its chains agree or not.
        refit_every: New points after which parameters are sampled again; between, draws
            and hypotheses are weighed by how well they foretold the new points.
    """

    name: ClassVar[str] = "structured_gp"  # under which the registry knows it
    reads_noise: ClassVar[bool] = True  # `Data.noise`; tells noise_sd

    means: str | Sequence[str] = "constant+linear"
    standardise: bool = True
    kernel: str = "matern52"
    chains: int = 4
    warmup: int = 10
    samples: int = 64
    kept: int = 32
    depth: int = 6
    rounds: int = 4
    agree: float = 1.1
    refit_every: int = 1

    def __post_init__(self) -> None:
        named(self.kernel)
        given = self.means
        split = given.split("+") if isinstance(given, str) else tuple(given)
        object.__setattr__(self, "means", tuple(split))  # a list has no hash
        if not self.means or len(set(self.means)) < len(self.means):
            raise BadConfig(
                f"The surrogate structured_gp got means = {given!r}; it takes one name "
                'or more, each once, such as means = ["linear", "step"] or '
                '"linear+step". Leave out what is there twice.'
            )
        for name in self.means:
            load(name)
        if not isinstance(self.standardise, bool):
            raise BadConfig(
                f"The surrogate structured_gp got standardise = {self.standardise!r}; "
                "it takes true or false. Leave it out for true."
            )
        require_settings(self)

    def init(self, d: int) -> StructuredGPState:
        h = len(self.means)
        draws = self._hypotheses(d).prior_draws(self.chains, self.samples)
        chains = Chains(draws, np.full(h, STEP))
        return StructuredGPState(
            chains, np.array([0.0, 1.0]), np.zeros(h), np.zeros(h), 0
        )

    def fit(
        self, key: Array, state: StructuredGPState, data: Data
    ) -> tuple[StructuredGPState, Info]:
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        expected, found = self._shape(d), np.shape(state.chains.draws)
        if found != expected or n == 0:
            raise ShapeMismatch(
                f"structured_gp.fit got {n} points of {d} dimensions and a state with "
                f"draws of shape {found}; it takes one point or more, and draws of "
                f"shape {expected}. Make the state with init({d})."
            )
        due = state.fitted == 0 or not 0 <= n - state.fitted < self.refit_every
        told: Info = {"accept_prob": 0.0, "divergences": 0, "evaluations": 0}
        told |= {"rounds": 0, "lost": 0}
        points = data.X, data.y, data.mask, known(data)
        with float64():
            if due:
                state, told = self._sampled(key, state, n, points)
            read = conditioned(
                np.asarray(state.evidence, np.float64),
                self._kept(state),
                np.asarray(state.fitted),
                np.asarray(state.level, np.float64),
                *points,
                hypotheses=self._hypotheses(d),
            )
            state = state._replace(read=read)
            info = told | self._told(state, d)
        if due:
            warn_apart(self, info, n)
        return state, info | {"n": n, "searched": int(due)}

    def _hypotheses(self, d: int) -> Hypotheses:
        means = tuple(Mean(name, load(name), d) for name in self.means)
        return Hypotheses(means, self.kernel, self.standardise)

    def _shape(self, d: int) -> tuple[int, ...]:
        p = max(self._hypotheses(d).sizes)
        return len(self.means), self.chains, self.samples, p

    def _sampled(
        self, key: Array, state: StructuredGPState, n: int, points: tuple[Any, ...]
    ) -> tuple[StructuredGPState, Info]:
        """Sample every hypothesis, going on from the draws of the last time."""
        first = state.fitted == 0
        behind = np.max(state.evidence) - np.asarray(state.evidence)
        agree = np.where(first | (behind < BEHIND), self.agree, np.inf)
        found, level = jax.device_get(
            sample(
                key,
                Chains(*(np.asarray(part, np.float64) for part in state.chains)),
                np.asarray(FIRST if first else 1),
                agree,
                *points,
                hypotheses=self._hypotheses(points[0].shape[1]),
                warmup=self.warmup,
                depth=self.depth,
                most=self.rounds,
            )
        )
        told, evidence, error = found.told, found.evidence, found.error
        return StructuredGPState(found.chains, level, evidence, error, n), {
            "divergences": int(np.sum(told.divergences)),
            "accept_prob": float(np.mean(told.accept)),
            "rounds": int(np.max(told.rounds)),
            "evaluations": int(np.sum(told.evaluations)),
            "lost": int(np.sum(found.lost)),
        }

    def _kept(self, state: StructuredGPState) -> NDArray[np.float64]:
        """Return the draws that are kept, evenly from all chains, (h, kept, p)."""
        draws = np.asarray(state.chains.draws, np.float64)
        every = draws.reshape(len(draws), -1, draws.shape[-1])
        return every[:, np.arange(self.kept) * every.shape[1] // self.kept]

    def _told(self, state: StructuredGPState, d: int) -> Info:
        """Return what a fit says of itself; hyperparameters are of the likeliest."""
        read, hypotheses = jax.device_get(state.read), self._hypotheses(d)
        assert read is not None
        mix, h, told, apart = read.mixture, len(self.means), Info(), []
        best = int(np.argmax(read.share))
        values = np.median(read.told.reshape(h, self.kept, -1), axis=1)  # (h, r)
        for k, mean in enumerate(hypotheses.means):
            draws = np.asarray(state.chains.draws)[k, ..., : hypotheses.sizes[k]]
            with np.errstate(divide="ignore", invalid="ignore"):  # without spread
                apart.append(plain(split_gelman_rubin(draws).max(), HIGHEST))
            told |= {
                f"weight_{mean.name}": float(read.share[k]),
                f"evidence_{mean.name}": float(state.evidence[k]),
                f"evidence_error_{mean.name}": float(state.error[k]),
                f"r_hat_{mean.name}": apart[k],
            }
            for label, value in zip(mean.layout.labels, values[k], strict=False):
                told[f"{mean.name}.{label}"] = float(value)
        scale, shape, noise = (
            np.median(part.reshape(h, self.kept, -1)[best], axis=0).tolist()
            for part in mix.hyper[:3]
        )
        counts = ~(np.array(read.share) < COUNTS)  # NaN counts as well
        finite = np.all(np.isfinite(mix.alpha)) and np.all(np.isfinite(state.evidence))
        return told | {
            "r_hat": float(np.max(np.array(apart)[counts])),
            "ess": float(1.0 / np.sum(mix.weight**2)),
            "scale": scale[0],
            "noise_sd": noise[0],
            **dict(zip(hypotheses.labels, shape, strict=True)),
            "jitter": float(np.max(mix.jitter)),
            "jitter_tries": int(tries(*map(np.asarray, (mix.jitter, mix.hyper.scale)))),
            "finite": int(finite),
            "capacity": int(mix.mask.shape[0]),
        }

    def predict(
        self, key: Array, state: StructuredGPState, candidates: ArrayLike
    ) -> Posterior:
        del key  # nothing is drawn
        at = np.asarray(candidates, np.float64)
        with float64():
            read, level, hypotheses = self._of("predict", state)
            found = moments(read, level, at, hypotheses=hypotheses)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def covariance(
        self, state: StructuredGPState, points: ArrayLike, candidates: ArrayLike
    ) -> Cross:
        """Return how f at `points`, (k, d), and at `candidates`, (m, d), vary."""
        at, to = (np.asarray(one, np.float64) for one in (points, candidates))
        with float64():
            read, level, hypotheses = self._of("covariance", state)
            found = joint(read, level, at, to, hypotheses=hypotheses)
        return Cross(*map(np.asarray, found))

    def draw(
        self, key: Array, state: StructuredGPState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        """Draw f once, jointly over all candidates, (m,)."""
        at = np.asarray(candidates, np.float64)
        with float64():
            read, level, hypotheses = self._of("draw", state)
            return np.asarray(drawn(key, read, level, at, hypotheses=hypotheses))

    def _of(
        self, call: str, state: StructuredGPState
    ) -> tuple[Predictive, Any, Hypotheses]:
        """Return what is read, and by what; without data there is none."""
        if state.read is None:
            raise without_data(f"structured_gp.{call}")
        level, d = np.asarray(state.level, np.float64), state.read.mixture.X.shape[1]
        return state.read, level, self._hypotheses(d)

    def carry(self, state: StructuredGPState) -> dict[str, NDArray[Any]]:
        parts = *state.chains, state.level, state.evidence, state.error
        carried: dict[str, NDArray[Any]] = {
            name: np.asarray(part, np.float64)
            for name, part in zip(CARRIED, parts, strict=True)
        }
        return carried | {"fitted": np.asarray(state.fitted, np.int64)}

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> StructuredGPState:
        draws, step, level, evidence, error = (
            np.asarray(carried[name], np.float64) for name in CARRIED
        )
        if draws.shape != self._shape(d):
            raise ShapeMismatch(
                f"structured_gp.restore got draws of shape {draws.shape}; {d} "
                f"dimensions, these means, {self.chains} chains and {self.samples} "
                f"samples take {self._shape(d)}. Restore with the settings of the run "
                "that carried it."
            )
        fitted = int(np.asarray(carried["fitted"]))
        chains = Chains(draws, step)
        return StructuredGPState(chains, level, evidence, error, fitted)
