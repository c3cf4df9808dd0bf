"""What a detector makes of what arrives: counts, noise, or the recorded electrons.

It knows which arrays of a twin are counts and how noisy the others are; the laws are
pure functions of `aemtwin.instruments.effects`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.effects import counts as counting
from aemtwin.instruments.effects import noise
from aemtwin.instruments.effects.dealing import Deck
from aemtwin.instruments.protocol import Request
from aemtwin.sample import Field

Array = NDArray[np.float64]
ROUNDING = 1e-6  # of a share of the dose: less is missing by rounding alone


class Detector:
    """Reads what arrives, by what each array is.

    Args:
        seed: Of all chance.
        noise: Standard deviation of channels and modes by name, in their unit, at the
            usual dwell; of counts that of each reading.
        counts: Those that hold expected counts: they are counted anew each time.
        dealt: Those that hold recorded counts of which each is given out once.
        ideal: Without any chance: counts are what is expected.
    """

    def __init__(
        self,
        seed: int,
        noise: Mapping[str, float],
        counts: Collection[str],
        dealt: Collection[str],
        *,
        ideal: bool,
    ) -> None:
        self._seed, self._noise, self._ideal = seed, noise, ideal
        self._counts = frozenset(counts) | frozenset(dealt)
        self._dealt = frozenset(dealt)
        self.start()

    def start(self) -> None:
        """Have all recorded counts still to give."""
        self._deck = Deck()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Have what is read meanwhile leave no trace: it will be read in earnest."""
        kept, self._deck = self._deck, self._deck.copy()
        try:
            yield
        finally:
            self._deck = kept

    def digest(self) -> str:
        """Return what tells one state of the recorded counts from another."""
        return self._deck.digest() if self._dealt else ""

    def deals(self, name: str) -> bool:
        """Say whether this array gives out each recorded count once."""
        return name in self._dealt and not self._ideal

    def expected(self, name: str, values: NDArray[Any], exposure: float) -> Any:
        """Return what would be read on average; counts alone depend on exposure."""
        if name in self._counts:
            return counting.expected(values, exposure)
        return values

    def read(
        self,
        request: Request,
        name: str,
        values: NDArray[Any],
        exposure: float,
        usual_s: float,
    ) -> NDArray[Any]:
        """Return one reading of what arrives, in the dtype of `values`.

        Args:
            request: Whose address chance is drawn by.
            name: Of the array.
            values: What arrives at the usual dose, any shape.
            exposure: Dwell times flux, over the usual ones.
            usual_s: The usual dwell, seconds.
        """
        if self._ideal:
            return np.asarray(self.expected(name, values, exposure))
        random = noise.generator(self._seed, *request.address, name)
        sd = self._noise.get(name, 0.0)
        if name in self._counts:
            values = counting.counted(values, exposure, random)
            return noise.readout(values, sd, random) if sd else values
        dwell = float(request.arguments["dwell_s"])
        return noise.readout(values, noise.averaged(sd, usual_s, dwell), random)

    def deal(
        self, request: Request, field: Field, points: Array, exposure: float
    ) -> tuple[NDArray[Any], float]:
        """Give out recorded counts of the pixels nearest to points (k, 2).

        Returns:
            Counts (k, *spectral), and the least share of the dose asked for that any
            of the pixels still had to give.
        """
        index, fraction = field.grid.locate(points)
        index = index + (fraction >= 0.5)
        random = noise.generator(self._seed, *request.address, field.name)
        out = np.empty((len(points), *field.shape), field.dtype)
        least = 1.0
        for i, (row, column) in enumerate(index.tolist()):
            pixel = (field.name, row, column)
            recorded = field.pixel(row, column)
            out[i], share = self._deck.take(pixel, recorded, exposure, random)
            least = min(least, share / exposure)
        return out, 1.0 if least > 1.0 - ROUNDING else least
