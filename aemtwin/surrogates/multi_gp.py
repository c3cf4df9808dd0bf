"""Several outputs over the same points: Gaussian processes that share one kernel.

Each output is standardised by itself; in units of its own spread all have the same
scale, shape and noise, so that one search and one Cholesky factor serve all of them.
`pad_several` makes data of (N, p). `several` has the algebra, `gp` is the surrogate of
one output, and `aemtwin.acquisition.hypervolume` and `novelty` read several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import BadConfig, OutOfRange, ShapeMismatch
from aemtwin.surrogates.base import (
    Cross,
    Data,
    Info,
    Posterior,
    bucket,
    float64,
    pad,
    without_data,
)
from aemtwin.surrogates.composed import named
from aemtwin.surrogates.exact import prior, trend_sd, tries
from aemtwin.surrogates.mixture import known
from aemtwin.surrogates.programs import fitting
from aemtwin.surrogates.search import Modes, modes
from aemtwin.surrogates.settings import require_process, require_whole
from aemtwin.surrogates.several import (
    Shared,
    conditioned,
    counted,
    drawn,
    joint,
    moments,
    objective,
    standardise,
)


class MultiState(NamedTuple):
    """Fitted outputs; all but `shared` is what the next fit needs."""

    theta: NDArray[np.float64]  # (k + 2,), logarithms of scale, shape and noise
    level: NDArray[np.float64]  # (2, p), shift and spread at the last search
    fitted: int  # number of points at the last search; 0: never
    shared: Shared | None = None
    flat: bool = False  # True where y was (N,)


def pad_several(X: ArrayLike, Y: ArrayLike) -> Data:
    """Pad points with several outputs each to their bucket.

    Args:
        X: Inputs, (n, d).
        Y: What was measured at each, (n, p), a unit for each output.

    Returns:
        Data of capacity `bucket(n)` with y of shape (N, p), float64.

    Raises:
        ShapeMismatch: If X is not (n, d) or Y is not (n, p) with p ≥ 1.
        OutOfRange: If a number is not finite.

    >>> data = pad_several([[0.0, 0.5], [1.0, 0.5]], [[3.0, 30.0], [4.0, 40.0]])
    >>> data.y.shape, data.y[1], int(data.mask.sum())
    ((16, 2), array([ 4., 40.]), 2)
    """
    points, values = np.asarray(X, np.float64), np.asarray(Y, np.float64)
    right = points.ndim == values.ndim == 2 and len(values) == len(points)
    if not right or values.shape[1] == 0:
        raise ShapeMismatch(
            f"pad_several got X of shape {points.shape} and Y of shape {values.shape}; "
            "it takes (n, d) and (n, p). Give every measured point a row of each."
        )
    if not np.all(np.isfinite(values)):
        row, column = (int(k) for k in np.argwhere(~np.isfinite(values))[0])
        raise OutOfRange(
            f"pad_several got Y[{row}, {column}] = {values[row, column]}, which is not "
            "finite; a surrogate learns from finite numbers only. Leave that point out."
        )
    padded = pad(points, values[:, 0])
    y = np.zeros((bucket(len(points)), values.shape[1]))
    y[: len(points)] = values
    return padded._replace(y=y)


@fitting(static_argnames=("kernel", "trend", "starts", "limit"))
def _search(
    key: Array,
    theta: Array,
    X: Array,
    Y: Array,
    mask: Array,
    noise: Array,
    *,
    kernel: str,
    trend: tuple[float, ...],
    starts: int,
    limit: int,
) -> tuple[Modes, Array, Array]:
    """Search for theta; return its mode, the levels, and the best likelihood."""
    U, level = standardise(Y, mask)
    _, counts = counted(U, mask)
    given = X, U, mask, counts, noise / level[1, 0]

    def evaluate(t: Array) -> tuple[Array, Array]:
        return objective(t, *given, kernel=kernel, trend=trend)[:2]

    median, sd = prior(kernel, X.shape[1])
    found = modes(
        key,
        theta[None],
        np.array([True]),
        evaluate,
        whole=True,
        median=median,
        sd=sd,
        starts=starts,
        limit=limit,
        kept=1,
    )
    nll = objective(found.theta[0], *given, kernel=kernel, trend=trend)[2]
    return found, level, nll


@dataclass(frozen=True)
class MultiGP:
    """Gaussian processes of several outputs that share their hyperparameters.

    Kernels, priors and mean are those of `gp`, for each output standardised by itself;
    theta is the mode of the product of all outputs' likelihoods. A free covariance Σ
    between outputs, and noise that has the same, would change no mean: in
    (K_new ⊗ Σ)(K ⊗ Σ)⁻¹ it cancels, and an output is told by its own values alone. Its
    estimate is singular where p > n. So outputs are independent here, as expected
    hypervolume improvement takes them to be.

    Outputs that differ in smoothness or in noise do not belong together:
    `info["misfit_least"]` and `info["misfit_most"]` are about 1 where they do. An
    output that is constant while others vary says nothing of the hyperparameters, and
    its variance shrinks with n.

    Source: Bonilla, Chai and Williams (2008), NIPS 20, "Multi-task Gaussian process
    prediction", for the cancellation without noise; with noise in proportion it is
    derived here.

    Attributes:
        kernel: As of `gp`.
        mean: "constant", "linear" or "zero", about the mean of each output.
        starts: Searches a fit, the warm one included.
        limit: Evaluations after which a search begins no other step.
        refit_every: New points after which hyperparameters are sought again; between,
            only the posterior is updated.
    """

    name: ClassVar[str] = "multi_gp"  # under which the registry knows it
    reads_noise: ClassVar[bool] = True  # `Data.noise`; tells noise_sd
    several: ClassVar[bool] = True  # outputs, if y is (N, p)

    kernel: str = "matern52"
    mean: str = "constant"
    starts: int = 4
    limit: int = 50
    refit_every: int = 1

    def __post_init__(self) -> None:
        require_process(self)
        require_whole(self, dict.fromkeys(("starts", "limit", "refit_every"), 1))

    def init(self, d: int) -> MultiState:
        median, _ = prior(self.kernel, d)
        return MultiState(median, np.zeros((2, 0)), 0)

    def fit(self, key: Array, state: MultiState, data: Data) -> tuple[MultiState, Info]:
        """Learn from all data; y may be (N, p), as `pad_several` makes it."""
        Y = data.y if data.y.ndim == 2 else data.y[:, None]
        n, d, p = int(np.sum(data.mask)), data.X.shape[1], Y.shape[1]
        self._require(state, n, d, p)
        if p > 1 and data.noise is not None:
            raise BadConfig(
                f"multi_gp.fit got known noise and {p} outputs, which share one noise "
                "in units of their spread. Leave the noise out, or fit each output "
                "with gp."
            )
        due = state.fitted == 0 or not 0 <= n - state.fitted < self.refit_every
        told: Info = {"evaluations": 0, "start": 0}
        given = data.X, Y, data.mask, known(data)
        trend = tuple(trend_sd(self.mean, d).tolist())
        with float64():
            theta, level, fitted = state.theta, state.level, state.fitted
            if due:
                found, level, nll = jax.device_get(
                    _search(
                        key,
                        theta,
                        *given,
                        kernel=self.kernel,
                        trend=trend,
                        starts=self.starts,
                        limit=self.limit,
                    )
                )
                theta, fitted = found.theta[0], n
                told = {
                    "objective": float(found.value[0]),
                    "nll": float(nll),
                    "evaluations": int(found.evaluations),
                    "start": int(found.start),
                }
            shared = conditioned(theta, level, *given, kernel=self.kernel, trend=trend)
            after = MultiState(theta, level, fitted, shared, data.y.ndim == 1)
            info = told | self._told(after, d)
        return after, info | {"n": n, "searched": int(due)}

    def _require(self, state: MultiState, n: int, d: int, p: int) -> None:
        """Require a state that fits the data."""
        k = len(named(self.kernel).labels(d)) + 2
        if state.theta.shape != (k,) or n == 0:
            raise ShapeMismatch(
                f"multi_gp.fit got {n} points of {d} dimensions and a state with theta "
                f"of shape {state.theta.shape}; it takes one point or more, and theta "
                f"of shape {(k,)}. Make the state with init({d})."
            )
        if state.fitted and state.level.shape != (2, p):
            raise ShapeMismatch(
                f"multi_gp.fit got {p} outputs and a state of {state.level.shape[1]}; "
                "a state goes on with the outputs that it was fitted to. Begin with "
                f"init({d})."
            )

    def _told(self, state: MultiState, d: int) -> Info:
        """Return what a fit says of itself; of several outputs in their spreads."""
        shared = state.shared
        assert shared is not None
        unit = float(state.level[1, 0]) if state.flat else 1.0
        hyper, misfit = shared.hyper, np.asarray(shared.misfit)
        labels = named(self.kernel).labels(d)
        shape = np.asarray(hyper.length).tolist()
        return {
            "scale": unit * float(hyper.scale),
            "noise_sd": unit * float(hyper.noise),
            **dict(zip(labels, shape, strict=True)),
            "jitter": float(shared.jitter),
            "jitter_tries": int(tries(*map(np.asarray, (shared.jitter, hyper.scale)))),
            "misfit_least": float(np.min(misfit)),
            "misfit_most": float(np.max(misfit)),
            "outputs": len(misfit),
            "finite": int(np.all(np.isfinite(shared.alpha))),
            "capacity": int(shared.mask.shape[0]),
        }

    def predict(
        self, key: Array, state: MultiState, candidates: ArrayLike
    ) -> Posterior:
        """Read the posterior at `candidates`, (m, d): (p, m), or (m,) if y was (N,)."""
        del key  # nothing is drawn
        shared, at = self._read("predict", state), np.asarray(candidates, np.float64)
        with float64():
            found = moments(shared, at, kernel=self.kernel)
        mean, variance = (_as_given(state, one) for one in found)
        return Posterior(mean, variance)

    def draw(
        self, key: Array, state: MultiState, candidates: ArrayLike
    ) -> NDArray[np.float64]:
        """Draw every output once, jointly over all candidates: (p, m), or (m,)."""
        shared, at = self._read("draw", state), np.asarray(candidates, np.float64)
        with float64():
            return _as_given(state, drawn(key, shared, at, kernel=self.kernel))

    def covariance(
        self, state: MultiState, points: ArrayLike, candidates: ArrayLike
    ) -> Cross:
        """Return how each output varies here and there: (p, k, m), or (k, m)."""
        at, to = (np.asarray(one, np.float64) for one in (points, candidates))
        shared = self._read("covariance", state)
        with float64():
            found = joint(shared, at, to, kernel=self.kernel)
        return Cross(*(_as_given(state, one) for one in found))

    def _read(self, call: str, state: MultiState) -> Shared:
        if state.shared is None:
            raise without_data(f"{self.name}.{call}")
        return state.shared

    def carry(self, state: MultiState) -> dict[str, NDArray[Any]]:
        return {
            "theta": np.asarray(state.theta, np.float64),
            "level": np.asarray(state.level, np.float64),
            "fitted": np.asarray(state.fitted, np.int64),
        }

    def restore(self, carried: Mapping[str, ArrayLike], d: int) -> MultiState:
        expected = self.init(d).theta.shape
        theta, level = (
            np.asarray(carried[name], np.float64) for name in ("theta", "level")
        )
        if theta.shape != expected or level.ndim != 2 or len(level) != 2:
            raise ShapeMismatch(
                f"multi_gp.restore got theta of shape {theta.shape} and level of shape "
                f"{level.shape}; {d} dimensions and the kernel {self.kernel} take "
                f"{expected} and (2, p). Restore with the settings of the run that "
                "carried it."
            )
        return MultiState(theta, level, int(np.asarray(carried["fitted"])))


def _as_given(state: MultiState, found: Any) -> NDArray[np.float64]:
    """Return an array with its axis of outputs first, or without it if y had none."""
    array = np.asarray(found)
    return array[..., 0] if state.flat else np.moveaxis(array, -1, 0).copy()
