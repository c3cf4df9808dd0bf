"""The clock of an instrument: virtual, or bound to the wall.

A virtual clock jumps ahead by what an operation takes, so that a day of measuring
passes in seconds. In real time the same durations are slept. Either way the time is the
sum of the durations, so both give the same time stamps.
"""

from __future__ import annotations

import threading
import time

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

    def spend(self, duration_s: float, *, asleep: bool = True) -> None:
        """Let `duration_s` pass.

        Raises:
            OperationStopped: If `stop` was called meanwhile.
        """
        if self.real_time and asleep:
            begin = time.monotonic()
            if self._stop.wait(duration_s):
                gone = min(time.monotonic() - begin, duration_s)
                self.now_s += gone
                raise OperationStopped(
                    f"Stopped after {gone:.3g} of {duration_s:.3g} s, where the probe "
                    "is now. The same id does it anew, from the beginning."
                )
        self.now_s += duration_s

    def stop(self) -> None:
        """End what is under way: `spend` wakes, or does not fall asleep."""
        self._stop.set()
