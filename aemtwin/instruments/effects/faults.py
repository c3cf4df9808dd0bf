"""Faults: what goes wrong now and then, drawn by the seed and the request alone.

Each parameter is the chance that one operation fails in this way. A stuck stage and a
lost frame are errors; a blanked beam and a saturated detector give data that the
instrument flags. The tip's own faults are in `aemtwin.instruments.effects.probing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from aemtwin.errors import FrameDropped, StageStuck
from aemtwin.instruments.effects.base import Effect, Scene, Shot, number
from aemtwin.specs import Channel, Mode

Array = NDArray[np.float64]
ROOM = 0.6  # of the range of a reading that is left when the detector saturates


@dataclass
class Faults(Effect):
    """A stage that sticks, a frame lost, a beam that is off, a detector too full."""

    name: ClassVar[str] = "faults"
    says: ClassVar[str] = "Now and then a move, a frame, the beam or a detector fails."
    source: ClassVar[str] = "chances, each a choice; no physics"

    stuck: float = number(0.0, "", "chance that a move does not happen", 0.0, 1.0)
    dropped: float = number(0.0, "", "chance that a frame's data is lost", 0.0, 1.0)
    blanked: float = number(
        0.0, "", "chance that the source is off meanwhile", 0.0, 1.0
    )
    saturated: float = number(0.0, "", "chance that the detector is too full", 0.0, 1.0)

    def start(self, scene: Scene) -> None:
        self._told: list[str] = []

    def idle(self, scene: Scene) -> str:
        if any((self.stuck, self.dropped, self.blanked, self.saturated)):
            return ""
        return (
            "its chances stuck, dropped, blanked and saturated are all 0. Give one "
            "of them, as effects={'faults': {'dropped': 0.01}}"
        )

    def fault(self, shot: Shot) -> None:
        self._told = []
        if shot.call == "move_to" and self._happens(shot, "stuck", self.stuck):
            raise StageStuck(
                "move_to did not move: the stage is stuck, and the probe is where it "
                "was. Ask for the move again, under another request id."
            )
        if shot.call == "scan" and self._happens(shot, "dropped", self.dropped):
            raise FrameDropped(
                "The frame was taken and its data was lost on the way; the specimen "
                "got the dose. Take it again, under another request id."
            )

    def dark(self, shot: Shot) -> bool:
        if not self._happens(shot, "blanked", self.blanked):
            return False
        self._tell("the beam was blanked: nothing of the specimen is in this")
        return True

    def arriving(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        return np.zeros_like(values) if self.dark(shot) else values

    def detected(self, shot: Shot, what: Channel | Mode, values: Array) -> Array:
        if values.dtype.kind not in "iuf":
            return values
        if not self._happens(shot, "saturated", self.saturated):
            return values
        finite = values[np.isfinite(values)]
        if not finite.size:
            return values
        low, high = float(finite.min()), float(finite.max())
        self._tell("the detector was saturated: high readings are cut")
        top = low + ROOM * (high - low)
        return np.asarray(np.minimum(values, np.asarray(top, values.dtype)))

    def notices(self, shot: Shot) -> list[str]:
        told, self._told = self._told, []
        return told

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.append(text)

    def _happens(self, shot: Shot, word: str, chance: float) -> bool:
        return bool(chance and shot.random(f"faults/{word}").random() < chance)
