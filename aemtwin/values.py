"""From measurements to the numbers sought, also where the number itself is learned.

A scalarizer that learns (`Scalarizer.learns`) is fitted to all that was measured so
far, and earlier values are computed again with what it has become. The measurements are
those of the run folder, so that a resumed run has the same.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.decisions import Decision, Failure, State
from aemtwin.errors import AemtwinError, MeasurementFailed
from aemtwin.gates import Gate
from aemtwin.journal import load_spectrum, spectrum_path
from aemtwin.measurement import Measurement
from aemtwin.scalarizers import Scalarizer
from aemtwin.scalarizers.poisson import per_dwell

FEWEST = 8  # values from which a far one can be told
FAR = 2.0  # ranges of all others that a lone value may lie beyond them
LONE = 2  # values beyond a gap that count as lone
NONE = float("nan")  # the value of a spot where the instrument failed

Found: TypeAlias = tuple[Scalarizer, tuple[float, ...]]
"""The scalarizer as learned, and the value of every measurement, in order."""


class Values:
    """The numbers of one run, from its folder; those that its gate lets pass.

    Args:
        folder: Of the run.
        gate: What a measurement must be worth; None: anything.
        per_s: The dwell to which counts are scaled before anything is made of them;
            None: all are of one dwell.
    """

    def __init__(
        self, folder: Path, gate: Gate | None = None, per_s: float | None = None
    ) -> None:
        self._folder, self._gate, self._per_s = folder, gate, per_s
        self._kept: list[Measurement | None] = []

    def after(
        self,
        state: State,
        scalarizer: Scalarizer,
        measured: Measurement | None,
        *,
        anew: bool = False,
    ) -> Found:
        """Return the scalarizer and all values, with one more measurement.

        Args:
            state: Before it.
            scalarizer: As it came, not yet fitted to anything.
            measured: The measurement; None where the instrument failed.
            anew: Compute earlier values again, although it does not learn.

        Raises:
            MeasurementFailed: If the scalarizer does, with its name and the spot.
        """
        if not (scalarizer.learns or anew):
            value = self._value(scalarizer, measured, state.seq_num)
            return scalarizer, (*state.values, value)
        found = [*self._first(len(state.indices)), measured]
        self._kept = found
        return self._learned(scalarizer, found)

    def of(self, scalarizer: Scalarizer, n: int) -> Found:
        """Return the scalarizer and the values of the first n measurements."""
        return self._learned(scalarizer, self._first(n))

    def sd(
        self, scalarizer: Scalarizer, measured: Measurement | None, *, counts: bool
    ) -> float:
        """Return what is known of the sd of a value; NaN where nothing is.

        Args:
            scalarizer: That of the value.
            measured: The measurement; None where the instrument failed.
            counts: Whether it holds counts.
        """
        spread = scalarizer.spread(counts=counts)
        if measured is None or spread is None or self.refuses(measured):
            return NONE
        try:
            sd = float(spread(self._seen(measured)))
        except Exception as error:
            raise MeasurementFailed(
                f"The sd of the scalarizer {scalarizer.name} failed on {measured.rid} "
                f"({type(error).__name__}: {error}). Mend it, then: "
                f"aemtwin resume {self._folder}"
            ) from error
        return sd if 0 <= sd < math.inf else NONE

    def _seen(self, measured: Measurement) -> Measurement:
        """Return a measurement as scalarizers see it: counts are of one dwell."""
        return measured if self._per_s is None else per_dwell(measured, self._per_s)

    def refuses(self, measured: Measurement) -> str:
        """Return why nothing is learned from a measurement; "" where it passes.

        Raises:
            MeasurementFailed: If what is asked of it fails.
        """
        if self._gate is None:
            return ""
        try:
            return self._gate.refuses(measured)
        except AemtwinError:
            raise
        except Exception as error:
            raise MeasurementFailed(
                f"The quality {self._gate.quality.name} of the gate failed on "
                f"{measured.rid} ({type(error).__name__}: {error}). Mend it, then: "
                f"aemtwin resume {self._folder}"
            ) from error

    def _first(self, n: int) -> list[Measurement | None]:
        """Return the first n measurements; those that failed are None."""
        for number in range(len(self._kept) + 1, n + 1):
            there = spectrum_path(self._folder, number).exists()
            self._kept.append(load_spectrum(self._folder, number) if there else None)
        return self._kept[:n]

    def _learned(
        self, scalarizer: Scalarizer, found: list[Measurement | None]
    ) -> Found:
        passed = (m for m in found if m is not None and not self.refuses(m))
        there = [self._seen(m) for m in passed]
        try:
            fitted = scalarizer.fit(there)
        except AemtwinError:
            raise
        except Exception as error:
            raise self._named(
                scalarizer, "to learn from all up to", len(found), error
            ) from error
        values = (self._value(fitted, m, i + 1) for i, m in enumerate(found))
        return fitted, tuple(values)

    def _value(
        self, scalarizer: Scalarizer, measured: Measurement | None, number: int
    ) -> float:
        """Return the number sought; a function that fails is named, with its place."""
        if measured is None or self.refuses(measured):
            return NONE
        try:
            return scalarizer(self._seen(measured))
        except AemtwinError:
            raise
        except Exception as error:
            raise self._named(scalarizer, "on", number, error) from error

    def _named(
        self, scalarizer: Scalarizer, what: str, number: int, error: Exception
    ) -> MeasurementFailed:
        return MeasurementFailed(
            f"The scalarizer {scalarizer.name} failed {what} measurement {number} "
            f"({type(error).__name__}: {error}). Mend it, then: "
            f"aemtwin resume {self._folder}"
        )


def tamed(values: ArrayLike) -> NDArray[np.float64]:
    """Return values with one or two that lie far beyond all others moved closer.

    A fit scales all values by their spread, so that one spike in one spectrum would
    make the rest of the map look flat. Where at most `LONE` values on a side are
    separated from the others by more than `FAR` times the range of these, the gap is
    shortened to that: they stay the highest, or the lowest, and keep their order. With
    fewer than `FEWEST` values, or where the others are all equal, nothing changes.

    Args:
        values: Finite numbers, (n,).

    >>> float(tamed([0.0, 1, 2, 3, 4, 5, 6, 7, 1e9])[-1])
    21.0
    >>> float(tamed([0.0, 1, 2, 3, 4, 5, 6, 7, 20])[-1])
    20.0
    """
    out = np.array(values, np.float64)
    if out.size < FEWEST:
        return out
    sides = [(n, 0) for n in range(LONE, 0, -1)] + [(0, n) for n in range(LONE, 0, -1)]
    both = [(up, down) for up in range(LONE, 0, -1) for down in range(LONE, 0, -1)]
    for up, down in (*sides, *both):
        order = np.argsort(out, kind="stable")
        core = out[order[down : out.size - up]]
        reach = FAR * float(core[-1] - core[0])
        above = out[order[-up]] - core[-1] if up else np.inf
        below = core[0] - out[order[down - 1]] if down else np.inf
        if 0 < reach < min(above, below):
            out[order[out.size - up :]] -= above - reach if up else 0.0
            out[order[:down]] += below - reach if down else 0.0
    return out


def notices_of(
    decision: Decision,
    measured: Measurement | Failure,
    values: tuple[float, ...],
    reach: NDArray[np.float64],
) -> list[str]:
    """Say what a person should know of a measurement.

    Args:
        decision: Where it was to be made.
        measured: What came of it.
        values: The numbers sought, this one the last.
        reach: How far off it may be and still be of its candidate, (2,), metres.
    """
    if isinstance(measured, Failure):
        what = "refused" if measured.refused else "failed twice"
        return [f"{what}, so it was skipped: {measured.reason}"]
    notices = list(measured.info.get("notices", ()))
    apart = np.abs(measured.actual - decision.position)
    if (apart > reach).any():
        notices.append(
            f"decided on {decision.position.tolist()}, but measured at "
            f"{np.asarray(measured.actual).tolist()}"
        )
    value, finite = values[-1], [v for v in values if math.isfinite(v)]
    if math.isfinite(value) and tamed(finite)[-1] != value:
        notices.append(
            f"{value:g} lies far beyond all other values; fits take it as nearer"
        )
    return notices
