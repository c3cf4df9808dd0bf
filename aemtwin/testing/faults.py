"""Faults of a network, as a plan: what happens to which frame on its way.

A plan is a list of `Fault`s: by hand, from a seed (`seeded`), or from Hypothesis
(`plans`), which shrinks one that does harm to the fault that matters.
`aemtwin.testing.network` carries it out.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aemtwin.errors import MissingExtra, OutOfRange, unknown

KINDS = {
    "cut": "the connection ends before the frame",
    "tear": "the connection ends within the frame, after its share `size`",
    "delay": "the frame, and what follows it, comes `size` times LATE_S later",
    "drip": "the frame comes byte by byte, for `size` times LATE_S in all",
    "duplicate": "the frame comes twice",
    "reorder": "the frame comes after the next one, if that comes within LATE_S",
    "corrupt": "a bit of the frame is another, in the byte at its share `size`",
    "slow": "from here on the connection carries RATE_BYTES_S",
}
WAYS = ("server", "client")
LATE_S = 0.5
RATE_BYTES_S = 200_000


@dataclass(frozen=True, order=True)
class Fault:
    """What happens to one frame.

    Raises:
        UnknownName: If there is no such way or kind.
        OutOfRange: If there can be no such frame or size.
    """

    toward: str  # "server" or "client"
    frame: int  # the how-manieth that way, from 0, over all connections
    kind: str  # of KINDS
    size: float = 0.5  # 0 to 1

    def __post_init__(self) -> None:
        if self.toward not in WAYS:
            raise unknown("way", self.toward, WAYS, "Frames go toward one of them.")
        if self.kind not in KINDS:
            raise unknown("fault", self.kind, KINDS, "See aemtwin.testing.network.")
        if self.frame < 0 or not 0.0 <= self.size <= 1.0:
            raise OutOfRange(
                f"A fault got frame {self.frame} and size {self.size}; frames are "
                "counted from 0, sizes go from 0 to 1."
            )


def seeded(
    seed: int, count: int, *, frames: int, kinds: Iterable[str] = KINDS
) -> list[Fault]:
    """Return `count` faults among the first `frames` each way; equal for equal seeds.

    >>> seeded(1, 2, frames=100) == seeded(1, 2, frames=100)
    True
    """
    dice, listed = random.Random(seed), tuple(kinds)
    return [
        Fault(
            dice.choice(WAYS),
            dice.randrange(frames),
            dice.choice(listed),
            dice.random(),
        )
        for _ in range(count)
    ]


def plans(frames: int, most: int = 8, kinds: Iterable[str] = KINDS) -> Any:
    """Return a Hypothesis strategy of lists of faults, at most `most`.

    Raises:
        MissingExtra: If Hypothesis is not installed.
    """
    try:
        from hypothesis import strategies
    except ImportError:
        raise MissingExtra(
            "plans needs Hypothesis, which is not installed: pip install "
            "'aemtwin[test]'. seeded() needs nothing."
        ) from None

    fault = strategies.builds(
        Fault,
        toward=strategies.sampled_from(WAYS),
        frame=strategies.integers(0, frames - 1),
        kind=strategies.sampled_from(tuple(kinds)),
        size=strategies.floats(0.0, 1.0),
    )
    return strategies.lists(fault, max_size=most)
