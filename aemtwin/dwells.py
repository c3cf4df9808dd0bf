"""How long to measure where, and how uncertain each value is for having been short.

A campaign with `[search] dwell_s` has a ladder of dwells. The noise of a value falls as
1/√dwell, so values differ in what they are worth, and the surrogate is told by how much
each is noisier than one of the longest dwell; what noise that one has the surrogate
learns by itself. `aemtwin.acquisition.dwell` has the choice for one spot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.acquisition.dwell import best_dwell_s
from aemtwin.acquisition.registry import Acquisition, Policy
from aemtwin.config import CampaignConfig
from aemtwin.errors import BadConfig, MeasurementFailed
from aemtwin.instruments.protocol import Instrument
from aemtwin.specs import Mode
from aemtwin.surrogates.base import Data, Posterior, Surrogate

Array = NDArray[np.float64]
NOISE = "noise_sd"  # in the info of a fit: sd of one measurement
ROUGH = "noise_1s"  # in the info of a decision: sd of a measurement of one second
STEP = 2.0  # by which that may change from one belief to the next


class Dwells(NamedTuple):
    """What is known when a dwell is to be decided."""

    levels: tuple[float, ...]  # the ladder, s, upwards
    spent_s: Array  # (n,), dwell of each measurement so far
    rough: float  # sd of a value after one second, as last believed; 0: not known yet
    overhead_s: Array  # (m,), s, that a measurement of each candidate takes besides

    @property
    def longest_s(self) -> float:
        """The longest dwell of all; its noise is the surrogate's to learn."""
        return float(max((*self.levels, *self.spent_s)))

    def sd(self) -> Array:
        """Return by how much each value is noisier than one of the longest dwell, (n,).

        In quadrature: the variance of a value is a/t, that of the longest dwell a/T.
        """
        more = 1.0 / self.spent_s - 1.0 / self.longest_s
        return self.rough * np.sqrt(np.maximum(more, 0.0))


class Decided(NamedTuple):
    """How long each candidate would be measured, and on what grounds."""

    dwell_s: Array  # (m,)
    seconds: Array  # (m,), the overhead with it
    rough: float  # sd of a value after one second

    def info(self, index: int | None) -> dict[str, float]:
        """Return what the journal keeps of it, for the candidate decided on."""
        told = {ROUGH: self.rough}
        if index is None:
            return told
        dwell, all_s = float(self.dwell_s[index]), float(self.seconds[index])
        return {**told, "dwell_s": dwell, "overhead_s": round(all_s - dwell, 9)}


def known_noise(said: Sequence[float], dwells: Dwells | None) -> Array | None:
    """Return what is known of the sd of each value, (n,); None where nothing is.

    Args:
        said: By the scalarizer, (n,), unit of the value; NaN where it says nothing.
        dwells: How long each was measured, where that is decided.
    """
    sd = np.array(said, np.float64)
    if dwells is None:
        return np.where(np.isfinite(sd), sd, 0.0) if np.isfinite(sd).any() else None
    return np.where(np.isfinite(sd), sd, dwells.sd()) if sd.size else dwells.sd()


def decide(
    dwells: Dwells,
    at: Posterior,
    info: Mapping[str, Any],
    data: Data,
    measured: NDArray[np.int64],
    valid: NDArray[np.bool_],
    said: Sequence[float],
) -> Decided:
    """Return how long each candidate would be measured, (m,).

    Args:
        dwells: Of the run so far, n measurements.
        at: What is believed of every candidate, (m,).
        info: What the fit said of itself.
        data: What it was fitted to: the valid ones, with their `known_noise`.
        measured: The candidate of each measurement, (n,).
        valid: Which of them have a value, (n,).
        said: What is said of the sd of each value, (n,); NaN: nothing.

    Raises:
        MeasurementFailed: If the fit does not tell its noise.
    """
    learned = info.get(NOISE)
    if learned is None or not math.isfinite(learned) or data.noise is None:
        raise MeasurementFailed(
            f"A dwell is decided by the noise, and the fit told {NOISE} = {learned!r}. "
            "Choose gp, or leave dwell_s out of [search]."
        )
    t, sd, k = dwells.spent_s[valid], np.array(said)[valid], int(valid.sum())
    floor = 0.0
    if np.isfinite(sd).all():  # then what the fit finds besides is no dwell's to lower
        rough, floor = math.sqrt(float(np.mean(t * sd**2))), float(learned) ** 2
    else:
        i = measured[valid]
        missed = data.y[:k] - np.asarray(at.mean)[i]
        nugget = float(learned) ** 2 + data.noise[:k] ** 2
        rough = rough_of(t, missed, np.asarray(at.variance)[i], nugget)
        if dwells.rough > 0:
            rough = float(np.clip(rough, dwells.rough / STEP, dwells.rough * STEP))
    dwell = best_dwell_s(
        at.variance,
        rough**2,
        1.0,
        dwells.overhead_s,
        low_s=dwells.levels[0],
        high_s=dwells.levels[-1],
        levels=dwells.levels,
        floor=floor,
    )
    return Decided(dwell, dwells.overhead_s + dwell, rough)


def rough_of(t: Array, missed: Array, variance: Array, nugget: Array) -> float:
    """Return the sd of a value after one second, from how far a fit misses its values.

    With noise of variance a/t the likelihood is highest where a is the sum of t times
    what is missed squared, over the number of values that the fit leaves free, that is
    Σ (1 − variance/nugget). So a is found in a few fits, each with the last a.

    Args:
        t: Dwell of each value, (n,), seconds.
        missed: Value less posterior mean there, (n,), unit of the value.
        variance: Posterior variance of f there, (n,).
        nugget: Variance of the noise that the fit counted with, (n,).

    Source: MacKay (1992), Neural Computation 4, 415, for one noise of all values; with
    a/t it follows from the derivative of Rasmussen and Williams (2006), eq. 5.9.
    """
    free = np.clip(1.0 - variance / np.maximum(nugget, 1e-300), 0.0, 1.0).sum()
    return math.sqrt(float(np.sum(t * missed**2)) / max(float(free), 1.0))


def usual_s(config: CampaignConfig, mode: Mode) -> float:
    """Return the dwell of the first points: what was asked for, or the mode's own."""
    return mode.dwell_s.default if config.dwell_s is None else config.dwell_s


def require_decidable(
    config: CampaignConfig,
    instrument: Instrument,
    mode: Mode,
    surrogate: Surrogate,
    acquire: Acquisition | Policy,
) -> None:
    """Refuse to decide a dwell where that is not possible, before anything happens.

    Raises:
        BadConfig: If the mode has one dwell, or what learns cannot use several.
        OutOfRange: If the instrument does not take one of them.
    """
    levels = config.search.dwell_s
    if levels is None:
        return
    if not mode.dwell_s.low < mode.dwell_s.high:
        raise BadConfig(
            f"The dwell of {mode.name} is {mode.dwell_s.low:g} s and no other, and "
            f"search.dwell_s got {list(levels)}. Leave it out, or choose another mode."
        )
    if isinstance(acquire, Policy):
        raise BadConfig(
            f"search.dwell_s is decided by what is believed, and {acquire.name} "
            "believes nothing. Leave it out, or choose an acquisition such as log_ei."
        )
    if not getattr(surrogate, "reads_noise", False):
        raise BadConfig(
            f"The surrogate {surrogate.name} takes all values for equally noisy, and "
            "those of search.dwell_s are not. Choose gp, bayes_gp, structured_gp or "
            "sparse_gp, or leave it out."
        )
    if config.search.batch > 1:
        raise BadConfig(
            f"search.dwell_s is decided spot by spot, and search.batch is "
            f"{config.search.batch}. Leave out one of them."
        )
    for level in (usual_s(config, mode), *levels):
        arguments = {"mode": mode.name, **config.parameters, "dwell_s": level}
        instrument.duration({"call": "measure", "arguments": arguments})
