"""What the benchmarks of learners share: one problem, one step, and what it cost.

The problem is the shipped twin `pfm_loops`: the area of every true loop, standardised
over the map, with noise of the twin's own size added to what is measured; and the
amplitude image, of which a candidate has a window of 8 × 8 pixels.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin import acquisition, designs, open_twin, patches
from aemtwin.acquisition.analytic import Context
from aemtwin.scalarizers.hysteresis import loop_area
from aemtwin.surrogates.base import Posterior, Surrogate, pad, step_keys

NOISE = 0.1  # of the spread of the map; the twin's own gives 0.107
INNER = slice(3, 46)  # rows and columns with whole patches in an image of 50 × 50: 43


class Problem(NamedTuple):
    """A pool of candidates, what is true there and what would be measured."""

    X: NDArray[np.float64]  # (m, 2 or 66), position in the unit box, pixels behind it
    f: NDArray[np.float64]  # (m,), true values, mean 0 and sd 1 over the whole map
    y: NDArray[np.float64]  # (m,), f with noise
    order: NDArray[np.int64]  # (m,), the order in which the points are measured


def problem(*, images: bool, inner: bool = True, seed: int = 0) -> Problem:
    """Return the map: 43 × 43 candidates, or all 50 × 50, with patches or without."""
    twin = open_twin("pfm_loops", ideal=True)
    mode = twin.describe().modes[0]
    positions = designs.candidate_grid(mode.extent, mode.shape)
    told = twin.truth(mode.name, positions)
    area = loop_area(told.axes[-1].values, told.values.astype(np.float64))
    f = (area - area.mean()) / area.std()
    X = designs.scale_to_box(positions, mode.extent)
    if images:
        frame = twin.scan(channels=["amplitude"])
        at = frame.axis("x").values, frame.axis("y").values
        pixels, _ = patches.cut([frame.arrays["amplitude"]], *at, positions, size=8)
        X = np.hstack([X, pixels])
    rng = np.random.default_rng(seed)
    y = f + NOISE * rng.normal(size=f.size)
    cells = np.arange(f.size).reshape(mode.shape)
    pool = (cells[INNER, INNER] if inner else cells).ravel()
    return Problem(X[pool], f[pool], y[pool], rng.permutation(len(pool)))


def step(
    surrogate: Surrogate, acquire: Any, state: Any, at: Problem, measured: Any
) -> tuple[int, Posterior, Any, dict[str, float | int]]:
    """Fit to what was measured, read the pool, score, choose: one decision."""
    fit, read, _ = step_keys(0, len(measured))
    state, info = surrogate.fit(fit, state, pad(at.X[measured], at.y[measured]))
    posterior = surrogate.predict(read, state, at.X)
    done = np.isin(np.arange(len(at.X)), measured)
    best = float(posterior.mean[done].max())
    scores = acquire(posterior, Context(best, done))
    return int(np.argmax(scores)), posterior, state, info


def acquisition_of(name: str) -> Any:
    return acquisition.get(name)


def rmse(at: Problem, posterior: Posterior) -> float:
    """Return the error of the map, in standard deviations of the map."""
    return float(np.sqrt(np.mean((np.asarray(posterior.mean) - at.f) ** 2)))


def top_found(at: Problem, measured: Any) -> float:
    """Return the share of the best 1 % of the pool that was measured."""
    best = np.argsort(at.f)[-max(1, len(at.f) // 100) :]
    return float(np.isin(best, measured).mean())


def peak_mb() -> float:
    """Return the most memory that this process ever held, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3 / 1.024)


@dataclass
class spent:  # read as a verb in a `with`
    """Wall time, CPU time of the process, growth of the peak of its memory."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_growth_mb: float = 0.0

    def __enter__(self) -> spent:
        self._begin = time.perf_counter(), time.process_time(), peak_mb()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu, peak = self._begin
        self.wall_s = time.perf_counter() - wall
        self.cpu_s = time.process_time() - cpu
        self.peak_growth_mb = peak_mb() - peak
