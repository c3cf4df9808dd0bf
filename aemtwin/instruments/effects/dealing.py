"""The counted twin: every recorded electron is given out once.

Where a recording holds real counts of unit gain, a measurement at a fraction of its
dose need not invent noise: it deals the recorded counts, each at most once, and what
was dealt in all adds up to the recording. Whether a recording is such is told by
`aemtwin.instruments.effects.countable`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import OutOfRange, ShapeMismatch, WrongType
from aemtwin.instruments.effects.base import hashed

ALL = 1e-9  # of the dose: what is left within this of what is asked is all of it

Counts = NDArray[Any]


def largest_exact(dtype: np.dtype[Any]) -> int:
    """Return up to which count a real dtype holds every whole number.

    >>> largest_exact(np.dtype("f4")) == 2**24
    True
    """
    if dtype.kind == "f":
        return int(min(2 ** (np.finfo(dtype).nmant + 1), 2**63 - 1))
    return min(int(np.iinfo(dtype).max), 2**63 - 1)


def deal(left: Counts, share: float, random: np.random.Generator) -> Counts:
    """Draw each of the counts that are left with the same probability.

    Args:
        left: Whole numbers, 0 or more, any shape, integer or floating dtype.
        share: The probability, 0 to 1.
        random: The source of chance.

    Returns:
        What was drawn, the shape and dtype of `left`, nowhere above it.

    Raises:
        OutOfRange: If `share` is no probability, or `left` holds what are no counts
            or more than its dtype can tell apart.
        WrongType: If `left` holds neither integers nor floating numbers.

    Source:
        Independent choices: the binomial law. Over repeats from a given recording the
        variance is 1 - share times the mean. Over recordings that are Poisson's it is
        the mean, and what is drawn and what stays are independent: Kingman (1993),
        "Poisson Processes", section 5.1, the colouring theorem.

    >>> deal(np.array([3, 0, 5]), 1.0, np.random.default_rng(0)).tolist()
    [3, 0, 5]
    """
    if not 0.0 <= share <= 1.0:
        raise OutOfRange(f"deal got the share {share!r}; it is a probability, 0 to 1.")
    left = np.asarray(left)
    _require_counts(left)
    return _drawn(left, share, random)


class _Rest(NamedTuple):
    """What one pixel has still to give."""

    counts: tuple[Counts, ...]  # () where nothing is left
    dose: float  # of that of the recording
    state: int  # a hash of the above and of the pixel


class Deck:
    """The recorded counts that are still to be given, pixel by pixel.

    Only pixels that were asked for are kept, so memory follows what was measured, and
    those that gave all keep no counts.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Have everything still to give."""
        self._rest: dict[Hashable, _Rest] = {}
        self._state = 0

    def copy(self) -> Deck:
        """Return another that has the same to give."""
        other = Deck()
        other._rest, other._state = dict(self._rest), self._state
        return other

    def take(
        self,
        pixel: Hashable,
        recorded: Counts,
        share: float,
        random: np.random.Generator,
    ) -> tuple[Counts, float]:
        """Give out a share of the recording's dose at one pixel.

        Where a share d was given before, each count that is left is given with the
        probability share / (1 - d).

        Args:
            pixel: What tells it from the others, with a faithful `repr`: the name of
                the array, row and column.
            recorded: Its recorded counts, any shape, as for `deal`; the same each time.
            share: Of the dose of the recording, 0 or more; as much as is left, or more,
                gives all that is left.
            random: The source of chance.

        Returns:
            Counts like `recorded`, and the share of the dose that they are of, which is
            less than `share` where no more was left, and 0 where nothing was.

        Raises:
            OutOfRange: If `share` is negative or no number, or `recorded` no counts.
            ShapeMismatch: If `recorded` is not shaped as it was before.

        >>> deck, random = Deck(), np.random.default_rng(0)
        >>> parts = [deck.take((0, 0), np.array([9, 2]), 0.4, random) for _ in range(4)]
        >>> sum(counts for counts, _ in parts).tolist()
        [9, 2]
        >>> [round(share, 9) for _, share in parts]
        [0.4, 0.4, 0.2, 0.0]
        """
        (given,), dose = self.take_together(pixel, (recorded,), share, random)
        return given, dose

    def take_together(
        self,
        pixel: Hashable,
        recorded: Sequence[Counts],
        share: float,
        random: np.random.Generator,
    ) -> tuple[tuple[Counts, ...], float]:
        """Give out the same share of several arrays that were recorded at once.

        Args and Returns are those of `take`, with one array of counts for each.
        """
        if not share >= 0.0:
            raise OutOfRange(
                f"Deck.take got the share {share!r}; it is 0 or more, of the dose of "
                "the recording."
            )
        rest = self._rest.get(pixel)
        if rest is None:
            recorded = tuple(np.asarray(one) for one in recorded)
            for one in recorded:
                _require_counts(one)
            rest = _Rest(recorded, 1.0, 0)
        elif rest.counts and [x.shape for x in rest.counts] != [
            np.shape(x) for x in recorded
        ]:
            raise ShapeMismatch(
                f"Deck.take got {[np.shape(x) for x in recorded]} at {pixel!r}, which "
                f"was {[x.shape for x in rest.counts]} before; give the same recording."
            )
        if rest.dose <= 0.0 or share == 0.0:
            return tuple(np.zeros_like(one) for one in recorded), 0.0
        if share >= rest.dose - ALL:
            self._keep(pixel, rest, (), 0.0)
            return tuple(one.copy() for one in rest.counts), rest.dose
        given = tuple(_drawn(x, share / rest.dose, random) for x in rest.counts)
        left = tuple(x - y for x, y in zip(rest.counts, given, strict=True))
        self._keep(pixel, rest, left, rest.dose - share)
        return given, share

    def left(self, pixel: Hashable) -> float:
        """Return the share of the recording's dose that a pixel has still to give."""
        rest = self._rest.get(pixel)
        return 1.0 if rest is None else rest.dose

    def digest(self) -> str:
        """Return what tells one state from another, whatever pixel was asked first."""
        return f"{self._state:032x}"

    def _keep(
        self, pixel: Hashable, before: _Rest, counts: tuple[Counts, ...], dose: float
    ) -> None:
        state = int(hashed(pixel, dose, *counts), 16)
        self._rest[pixel] = _Rest(counts, dose, state)
        self._state ^= before.state ^ state  # of all pixels, in any order


def _drawn(left: Counts, share: float, random: np.random.Generator) -> Counts:
    """Draw from what is known to be counts; numbers are drawn only where there are."""
    if share >= 1.0:
        return left.copy()
    given = np.zeros(left.shape, left.dtype)
    there = np.nonzero(left)
    given[there] = random.binomial(left[there].astype(np.int64), share)
    return given


def _require_counts(values: Counts) -> None:
    if values.dtype.kind not in "iuf":
        raise WrongType(
            f"deal got an array of {values.dtype}; counts are integers, or floating "
            "numbers that are whole."
        )
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise OutOfRange("deal got numbers that are not whole; give recorded counts.")
    most = largest_exact(values.dtype)
    if ((values < 0) | (values > most)).any():
        raise OutOfRange(
            f"deal got counts from {values.min()} to {values.max()}; they are 0 to "
            f"{most}, which {values.dtype} tells apart."
        )
