"""Ctrl-C on a run: once to end after the measurement under way, twice to end now.

Either way the run can be resumed; a clean stop only spares the step that was under way
from being looked up again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """What Ctrl-C means at the moment; set it up with `listening`."""

    def __init__(self) -> None:
        self.asked = False  # to stop after this measurement
        self.measuring = False  # whether there is a measurement to wait for

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self.measuring:
            raise KeyboardInterrupt
        self.asked = True
        sys.stderr.write("\nStopping after this measurement; Ctrl-C again: now.\n")

    def begin(self) -> None:
        """From now on there is a frame or a measurement to wait for."""
        self.measuring = True

    def step_done(self, *, more: bool) -> None:
        """End here if that was asked for; `more` says whether another step follows.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed during the step.
        """
        self.measuring = more
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[Interrupts]:
        """Take Ctrl-C for this, where the thread may; others go on as before."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = signal.signal(signal.SIGINT, self._heard)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)
