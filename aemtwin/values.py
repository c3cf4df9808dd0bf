"""From measurements to the numbers sought, also where the number itself is learned.

A scalarizer that learns (`Scalarizer.learns`) is fitted to all that was measured so
far, and earlier values are computed again with what it has become. The measurements are
those of the run folder, so that a resumed run has the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from aemtwin.decisions import State
from aemtwin.errors import AemtwinError, MeasurementFailed
from aemtwin.journal import load_spectrum, spectrum_path
from aemtwin.measurement import Measurement
from aemtwin.scalarizers import Scalarizer

NONE = float("nan")  # the value of a spot where the instrument failed

Found: TypeAlias = tuple[Scalarizer, tuple[float, ...]]
"""The scalarizer as learned, and the value of every measurement, in order."""


class Values:
    """The numbers of one run, from its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[Measurement | None] = []

    def after(
        self, state: State, scalarizer: Scalarizer, measured: Measurement | None
    ) -> Found:
        """Return the scalarizer and all values, with one more measurement.

        Args:
            state: Before it.
            scalarizer: As it came, not yet fitted to anything.
            measured: The measurement; None where the instrument failed.

        Raises:
            MeasurementFailed: If the scalarizer does, with its name and the spot.
        """
        if not scalarizer.learns:
            value = self._value(scalarizer, measured, state.seq_num)
            return scalarizer, (*state.values, value)
        found = [*self._first(len(state.indices)), measured]
        self._kept = found
        return self._learned(scalarizer, found)

    def of(self, scalarizer: Scalarizer, n: int) -> Found:
        """Return the scalarizer and the values of the first n measurements."""
        return self._learned(scalarizer, self._first(n))

    def _first(self, n: int) -> list[Measurement | None]:
        """Return the first n measurements; those that failed are None."""
        for number in range(len(self._kept) + 1, n + 1):
            there = spectrum_path(self._folder, number).exists()
            self._kept.append(load_spectrum(self._folder, number) if there else None)
        return self._kept[:n]

    def _learned(
        self, scalarizer: Scalarizer, found: list[Measurement | None]
    ) -> Found:
        there = [one for one in found if one is not None]
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
        if measured is None:
            return NONE
        try:
            return scalarizer(measured)
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
