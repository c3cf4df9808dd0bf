"""The clock of an instrument: virtual, or bound to the wall.

A virtual clock jumps ahead by what an operation takes, so that a day of measuring
passes in seconds. In real time the same durations are slept. Either way the time is the
sum of the durations, so both give the same time stamps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from aemtwin.errors import OperationStopped


class Clock:
    """Instrument time in seconds since it was opened."""

    def __init__(self, *, real_time: bool = False) -> None:
        self.real_time = real_time
        self.now_s = 0.0
        self._stop = threading.Event()

    def begin(self) -> None:
        """Forget earlier stops: an operation is about to be under way."""
        self._stop.clear()

    def spend(
        self, duration_s: float, watch: Callable[[float], float] | None = None
    ) -> None:
        """Let `duration_s` pass.

        Args:
            duration_s: How long.
            watch: In real time told how much of it has passed, and says when to be
                told again, both seconds from the begin.

        Raises:
            OperationStopped: If `stop` was called meanwhile.
        """
        if self.real_time:
            begin, gone = time.monotonic(), 0.0
            while gone < duration_s:
                until = duration_s if watch is None else min(watch(gone), duration_s)
                stopped = self._stop.wait(until - gone)
                now = time.monotonic() - begin
                gone = min(now if stopped else max(now, until), duration_s)
                if stopped:
                    self.now_s += gone
                    raise OperationStopped(
                        f"Stopped after {gone:.3g} of {duration_s:.3g} s, where the "
                        "probe is now. The same id does it anew, from the beginning."
                    )
        self.now_s += duration_s

    def stop(self) -> None:
        """End what is under way: `spend` wakes, or does not fall asleep."""
        self._stop.set()
