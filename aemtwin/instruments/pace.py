"""How many operations may come in a short time: a burst, and then a steady rate.

A token bucket: it holds `at_once` tokens at most and gains `rate_hz` of them a second;
each operation takes one. In any T seconds no more than at_once + rate_hz T begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from aemtwin.errors import TooFast

NEAR = 1e-9  # of a token: who waits as long as was said is not refused by rounding


class Pace:
    """The operations that may begin now.

    Args:
        rate_hz: Operations a second in the long run, above 0.
        at_once: How many may come one right after the other, at least 1.
        clock: Seconds that never go back.
    """

    def __init__(
        self, rate_hz: float, at_once: int, clock: Callable[[], float]
    ) -> None:
        self._rate_hz, self._at_once, self._clock = rate_hz, at_once, clock
        self._left, self._at_s = float(at_once), clock()

    def require(self, call: str) -> None:
        """Refuse a call that comes too early; take nothing.

        Raises:
            TooFast: If it does; it says how long to wait.
        """
        lacking = 1.0 - self._now()
        if lacking > NEAR:
            wait_s = math.ceil(1e3 * lacking / self._rate_hz) / 1e3
            raise TooFast(
                f"{call} comes too early: this server takes {self._rate_hz:g} "
                f"operations a second, and {self._at_once} at once after a rest. Wait "
                f"{wait_s:g} s and ask again; nothing was done."
            )

    def count(self) -> None:
        """Take one token, for an operation that begins."""
        self._left, self._at_s = self._now() - 1.0, self._clock()

    def empty(self) -> None:
        """Go on as after a burst."""
        self._left, self._at_s = 0.0, self._clock()

    def _now(self) -> float:
        gained = self._rate_hz * max(self._clock() - self._at_s, 0.0)
        return min(self._left + gained, float(self._at_once))
