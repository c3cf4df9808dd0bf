"""The Gaussian process of many points: 2,000 to 10⁵, seen through a few of them.

Up to `inducing` points it is `gp` with one mode. Beyond, what all points say is kept as
a belief at that many of them (`inducing`), which costs O(n·M²) instead of O(n³). Which
they are, no chance decides. Each program is compiled once for each capacity of
`base.bucket`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig
from aemtwin.surrogates.base import (
    Cross,
    Data,
    Info,
    Posterior,
    float64,
    pad,
    without_data,
)
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.exact import natural, standardise, trend_sd
from aemtwin.surrogates.gp import GP, GPState
from aemtwin.surrogates.inducing import (
    Induced,
    chosen,
    condition,
    drawn,
    joint,
    moments,
    objective,
)
from aemtwin.surrogates.mixture import hyper_of, known
from aemtwin.surrogates.programs import fitting
from aemtwin.surrogates.search import minimise

SHARE = 16  # hyperparameters are sought again where n has grown by 1/16 since
ROUNDS = 2  # of a search: choose points, then search with them held
STRIDE = 0.1  # of its first step, in the logarithms: many points have narrow modes
SHUFFLE = 0  # seed of the shuffle that takes points for the first look


class SparseState(NamedTuple):
    """A fitted process; `gp` without its mixture is what the next fit needs."""

    gp: GPState  # one mode; with its mixture up to `inducing` points
    induced: Induced | None = None  # beyond


class Sought(NamedTuple):
    """Where a search with inducing points ended."""

    theta: Any  # (k + 2,)
    level: Any  # (2,), shift and spread of y
    value: Any  # (), negative log prior and bound
    evaluations: Any  # ()
    start: Any  # (), which start was the better


@fitting(static_argnames=("kernel", "trend", "count", "limit"))
def _search(
    starts: Array,
    X: Array,
    y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    trend: tuple[float, ...],
    count: int,
    limit: int,
) -> Sought:
    """Search for theta from the best of several starts, (s, k + 2)."""
    u, shift, spread = standardise(y, mask)

    def chosen_at(theta: Array) -> tuple[Array, Array]:
        hyper = natural(theta)._replace(trend=np.array(trend))
        of = chosen(kernel, hyper, X, mask, count)
        return X[of.rows], of.used

    def evaluate(theta: Array, Z: Array, used: Array) -> tuple[Array, Array]:
        return objective(
            theta, X, u, mask, noise / spread, Z, used, kernel=kernel, trend=trend
        )

    at = lax.map(lambda t: evaluate(t, *chosen_at(t))[0], starts)
    start = jnp.argmin(jnp.where(jnp.isfinite(at), at, jnp.inf))

    def again(_: Array, so_far: tuple[Array, Array, Array]) -> Any:
        theta, _, evaluations = so_far
        Z, used = chosen_at(theta)

        def strides(phi: Array) -> tuple[Array, Array]:
            value, slope = evaluate(theta + STRIDE * phi, Z, used)
            return value, STRIDE * slope

        found = minimise(strides, jnp.zeros_like(theta), limit=limit)
        after = theta + STRIDE * found.theta
        return after, found.value, evaluations + found.evaluations

    begin = starts[start], at[start], jnp.full((), len(starts))
    theta, value, evaluations = lax.fori_loop(0, ROUNDS, again, begin)
    return Sought(theta, jnp.stack([shift, spread]), value, evaluations, start)


@dataclass(frozen=True)
class SparseGP:
    """A Gaussian process of many points, with variational inducing points.

    Kernels, priors and mean are those of `gp`. Hyperparameters maximise a lower bound
    of the likelihood; inducing points are measured points, each the one of which the
    others tell least, chosen anew for the hyperparameters of every fit, so that they
    follow where is measured. The bound is tight, and the posterior exact, where the
    inducing points tell of all others (`info["unexplained"]`, the share of the variance
    that they leave, is small beside that of the noise); where they do not, part of the
    structure counts as noise.

    A search looks first at `inducing` points taken by a fixed shuffle, as `gp` does,
    and goes on from there or from the last optimum, whichever is the better.

    Source: Titsias (2009), AISTATS, PMLR 5, 567; Burt, Rasmussen and van der Wilk
    (2020), JMLR 21 (131), for the choice of points and the search in rounds.

    Attributes:
        kernel: As of `gp`.
        mean: "constant", "linear" or "zero", about the mean of y.
        inducing: Points through which it sees more of them.
        starts: Searches of the first look.
        limit: Evaluations after which a search begins no other step.
        refit_every: New points after which hyperparameters are sought again; None:
            after a sixteenth of those there were. A search over 10⁴ points takes a
            hundred times as long as one update, and few new points change it little.
    """

    name: ClassVar[str] = "sparse_gp"  # under which the registry knows it
    reads_noise: ClassVar[bool] = True  # `Data.noise`; tells noise_sd

    kernel: str = "matern52"
    mean: str = "constant"
    inducing: int = 256
    starts: int = 4
    limit: int = 50
    refit_every: int | None = None

    def __post_init__(self) -> None:
        for field in ("inducing", "starts", "limit", "refit_every"):
            value = getattr(self, field)
            if value is None and field == "refit_every":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                default = inspect.signature(SparseGP).parameters[field].default
                raise BadConfig(
                    f"The surrogate sparse_gp got {field} = {value!r}; it takes a "
                    "whole number from 1 on. Leave it out for the default "
                    f"{f'1/{SHARE} of the points' if default is None else default}."
                )
        self._exact(1)  # refuses an unknown kernel or mean

    def _exact(self, refit_every: int) -> GP:
        """Return the process of few points."""
        return GP(
            kernel=self.kernel,
            mean=self.mean,
            starts=self.starts,
            modes=1,
            spread=0,
            limit=self.limit,
            refit_every=refit_every,
            drift=np.inf,
        )

    @property
    def _few(self) -> GP:
        return self._exact(1)

    def init(self, d: int) -> SparseState:
        return SparseState(self._few.init(d))

    def fit(
        self, key: Array, state: SparseState, data: Data
    ) -> tuple[SparseState, Info]:
        n, fitted = int(np.sum(data.mask)), state.gp.fitted
        every = self.refit_every or max(1, fitted // SHARE)
        if n <= self.inducing:
            gp, info = self._exact(every).fit(key, state.gp, data)
            return SparseState(gp), info | {"inducing": n, "unexplained": 0.0}
        gp, told = state.gp._replace(mixture=None), Info(evaluations=0, start=0)
        data = _sorted(data)
        due = fitted == 0 or not 0 <= n - fitted < every
        with float64():
            if due:
                gp, told = self._sought(key, gp, data)
            hyper = self._hyper(gp, data.X.shape[1])
            given = data.X, data.y, data.mask, known(data)
            induced = jax.device_get(
                condition(hyper, *given, kernel=self.kernel, count=self.inducing)
            )
        info = told | self._told(induced, len(data.mask))
        return SparseState(gp, induced), info | {"n": n, "searched": int(due)}

    def _sought(self, key: Array, gp: GPState, data: Data) -> tuple[GPState, Info]:
        """Search for hyperparameters: at a few points, then by the bound of all."""
        n, d = int(np.sum(data.mask)), data.X.shape[1]
        rows = np.random.default_rng(SHUFFLE).permutation(n)[: self.inducing]
        noise = None if data.noise is None else data.noise[rows]
        part = pad(data.X[rows], data.y[rows], noise)
        look, first = self._few.fit(key, gp._replace(fitted=0, whole=0), part)
        found = jax.device_get(
            _search(
                np.concatenate([gp.theta, look.theta]),
                data.X,
                data.y,
                data.mask,
                known(data),
                kernel=self.kernel,
                trend=tuple(trend_sd(self.mean, d).tolist()),
                count=self.inducing,
                limit=self.limit,
            )
        )
        told: Info = {
            "objective": float(found.value),
            "evaluations": int(found.evaluations),
            "evaluations_first": int(first["evaluations"]),
            "start": int(found.start),
        }
        after = GPState(found.theta[None], np.ones(1), np.asarray(found.level), n, n)
        return after, told

    def _hyper(self, gp: GPState, d: int) -> Any:
        """Return the hyperparameters in the unit of y."""
        one = hyper_of(gp.theta, gp.level, trend_sd(self.mean, d))
        return jax.tree.map(lambda a: np.asarray(a)[0], one)

    def _told(self, induced: Induced, capacity: int) -> Info:
        """Return what a fit says of itself."""
        hyper, labels = induced.hyper, named(self.kernel).labels(induced.Z.shape[1])
        shape = np.asarray(hyper.length).tolist()
        return {
            "scale": float(hyper.scale),
            "noise_sd": float(hyper.noise),
            "mean": float(hyper.mean),
            **dict(zip(labels, shape, strict=True)),
            "inducing": int(np.sum(induced.used)),
            "unexplained": float(induced.left),
            "finite": int(np.all(np.isfinite(induced.c))),
            "capacity": capacity,
        }

    def predict(
        self, key: Array, state: SparseState, candidates: ArrayLike
    ) -> Posterior:
        if state.induced is None:
            return self._few.predict(key, self._read("predict", state), candidates)
        at = np.asarray(candidates, np.float64)
        with float64():
            found = moments(state.induced, at, kernel=self.kernel)
        return Posterior(np.asarray(found.mean), np.asarray(found.variance))

    def draw(
        self, key: Array, state: SparseState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        """Draw f once, jointly over all candidates, (m,)."""
        if state.induced is None:
            return self._few.draw(key, self._read("draw", state), candidates)
        at = np.asarray(candidates, np.float64)
        with float64():
            return np.asarray(drawn(key, state.induced, at, kernel=self.kernel))

    def covariance(
        self, state: SparseState, points: ArrayLike, candidates: ArrayLike
    ) -> Cross:
        """Return how f at `points`, (k, d), and at `candidates`, (m, d), vary."""
        if state.induced is None:
            few = self._read("covariance", state)
            return self._few.covariance(few, points, candidates)
        at, to = (np.asarray(one, np.float64) for one in (points, candidates))
        with float64():
            found = joint(state.induced, at, to, kernel=self.kernel)
        return Cross(*map(np.asarray, found))

    def _read(self, call: str, state: SparseState) -> GPState:
        if state.gp.mixture is None:
            raise without_data(f"{self.name}.{call}")
        return state.gp

    def carry(self, state: SparseState) -> dict[str, NDArray[Any]]:
        return self._few.carry(state.gp)

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> SparseState:
        return SparseState(self._few.restore(carried, d))


def _sorted(data: Data) -> Data:
    """Return the same points sorted, so that nothing depends on their order."""
    measured = np.flatnonzero(data.mask)
    last = () if data.noise is None else (data.noise[measured],)
    order = np.lexsort((*last, data.y[measured], *data.X[measured].T))
    rows = np.append(measured[order], np.flatnonzero(~data.mask))
    return Data(
        data.X[rows],
        data.y[rows],
        data.mask[rows],
        None if data.noise is None else data.noise[rows],
    )
