"""The first frame of a run, kept fresh: a strip of it is taken anew before a decision.

A specimen drifts, and changes where it is written to or burnt; patches of a frame that
is an hour old show what was there. With `[inputs] refresh` each decision begins with a
scan of the next so many lines of the frame's own raster, which take the place of the
old ones. What was measured is seen as it was when it was measured, so that what was
learned from it stays valid. Each strip is a request of its own and is kept in the run
folder before the decision is made: a run that was cut off sees what it saw.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from aemtwin.errors import BudgetSpent, DoseRefused, Indeterminate, InstrumentFault
from aemtwin.inputs import View
from aemtwin.instruments.protocol import Instrument
from aemtwin.journal import Journal, ended_by, load_spectrum, spectrum_path
from aemtwin.measurement import Measurement
from aemtwin.measuring import NO_FRAME, scan_first

log = logging.getLogger(__name__)

FAILED = (InstrumentFault, Indeterminate, DoseRefused, BudgetSpent)


def first_frame(
    instrument: Instrument,
    journal: Journal,
    uid: str,
    channels: Sequence[str],
    reads: str,
) -> Measurement | None:
    """Take the first frame of a run and keep it, or read it again.

    Args:
        instrument: What takes it.
        journal: Where it is kept.
        uid: Of the run.
        channels: Of the frame.
        reads: The surrogate that cannot do without it; "" where it is a picture.

    Returns:
        The frame; None where it failed twice and is not needed.
    """
    if not spectrum_path(journal.folder, 0).exists():
        before = ended_by(journal.folder, NO_FRAME)
        frame = scan_first(instrument, uid, channels, before, reads)
        if frame is None:
            return None
        journal.save_spectrum(0, frame)
    return load_spectrum(journal.folder, 0)


class Overview:
    """A frame, of which strips are taken anew.

    Args:
        instrument: What takes them.
        journal: Where they are kept.
        uid: Of the run.
        frame: As it was taken first.
        lines: Of a strip; 0: none is taken.
        first: How many measurements are made before anything is decided.
        see: Gives the view of the candidates that a frame shows.
    """

    def __init__(
        self,
        instrument: Instrument,
        journal: Journal,
        uid: str,
        frame: Measurement,
        lines: int,
        first: int,
        see: Callable[[Measurement], View],
    ) -> None:
        self._instrument, self._journal, self._uid = instrument, journal, uid
        self._see, self._first, self.frame = see, first, frame
        self._lines = min(lines, len(frame.axis("y")))
        self._next = 0  # the first row of the next strip
        self.notice = ""  # of the last strip

    def refreshed(self, view: View, measured: Sequence[int]) -> View:
        """Take a strip if one is due; return the candidates as they are seen with it.

        A strip that fails is told, and the old lines stay.

        Args:
            view: The candidates as they were seen so far.
            measured: Those that were measured, by index.
        """
        self.notice = ""
        if not self._lines or len(measured) < self._first:
            return view
        seq_num, rows = len(measured) + 1, self._rows()
        kept = self._journal.load_strip(seq_num)
        if kept is None:
            strip = self._taken(rows, seq_num)
            self._journal.save_strip(seq_num, strip, self.notice)
        else:
            strip, self.notice = kept
        return view if strip is None else self._with(view, rows, strip, measured)

    def again(self, view: View, measured: Sequence[int]) -> View:
        """Return the candidates as they were seen when a run was cut off.

        Args:
            view: As the first frame shows them.
            measured: The candidates that were measured.
        """
        for k in range(len(measured)):
            view = self.refreshed(view, measured[:k])
        return view

    def _rows(self) -> slice:
        """Return the rows of the next strip; the last one reaches back."""
        count = len(self.frame.axis("y"))
        begin = min(self._next, count - self._lines)
        self._next = begin + self._lines if begin + self._lines < count else 0
        return slice(begin, begin + self._lines)

    def _taken(self, rows: slice, seq_num: int) -> Measurement | None:
        x, y = (self.frame.axis(name).values for name in "xy")
        try:
            return self._instrument.scan(
                region=((x[0], x[-1]), (y[rows][0], y[rows][-1])),
                shape=(self._lines, len(x)),
                channels=list(self.frame.arrays),
                rid=f"{self._uid}/{seq_num}/strip",
            )
        except FAILED as error:
            log.warning("a strip of the frame was not taken: %s", error)
            self.notice = f"a strip of the overview was not taken: {error}"
            return None

    def _with(
        self, view: View, rows: slice, strip: Measurement, measured: Sequence[int]
    ) -> View:
        arrays = {}
        for name, values in self.frame.arrays.items():
            arrays[name] = np.array(values)
            arrays[name][rows] = strip.arrays[name]
        self.frame = replace(self.frame, arrays=arrays)
        seen = self._see(self.frame)
        X, done = np.array(seen.X), list(measured)
        X[done] = view.X[done]
        return View(X, view.allowed)
