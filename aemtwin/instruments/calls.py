"""The acting calls of an instrument, all handed on one way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import WrongType
from aemtwin.instruments.protocol import Instrument
from aemtwin.measurement import Measurement
from aemtwin.specs import Bounds


class Calls(Instrument):
    """The acting calls of an instrument, each handed on as its name and arguments.

    What does them says so in `_act`: a twin here, the proxy of one elsewhere.
    """

    def _act(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Any:
        """Do a call with the arguments as they were given; None is a default."""
        raise NotImplementedError

    def configure(
        self, *, rid: str | None = None, token: str | None = None, **settings: float
    ) -> dict[str, float]:
        answer: dict[str, float] = self._act("configure", settings, rid, token)
        return answer

    def move_to(
        self,
        position: ArrayLike,
        *more: object,
        rid: str | None = None,
        token: str | None = None,
    ) -> NDArray[np.float64]:
        if more:
            raise WrongType(
                f"move_to got {1 + len(more)} arguments; it takes one position (x, y) "
                f"in metres, as move_to({(position, *more)!r})."
            )
        given = {"position": position}
        answer: NDArray[np.float64] = self._act("move_to", given, rid, token)
        return answer

    def scan(
        self,
        region: Bounds | None = None,
        shape: tuple[int, int] | None = None,
        channels: Sequence[str] | None = None,
        dwell_s: float | None = None,
        rotation: float = 0.0,
        backward: bool = False,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> Measurement:
        given = {
            "region": region,
            "shape": shape,
            "channels": channels,
            "dwell_s": dwell_s,
            "rotation": rotation,
            "backward": backward,
        }
        answer: Measurement = self._act("scan", given, rid, token)
        return answer

    def trace(
        self,
        points: ArrayLike,
        channels: Sequence[str] | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> Measurement:
        given = {"points": points, "channels": channels, "dwell_s": dwell_s}
        answer: Measurement = self._act("trace", given, rid, token)
        return answer

    def measure(
        self,
        mode: str | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
        **parameters: float,
    ) -> Measurement:
        given = {"mode": mode, "dwell_s": dwell_s, **parameters}
        answer: Measurement = self._act("measure", given, rid, token)
        return answer

    def pulse(
        self,
        name: str | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
        **parameters: float,
    ) -> dict[str, Any]:
        given = {"name": name, "dwell_s": dwell_s, **parameters}
        answer: dict[str, Any] = self._act("pulse", given, rid, token)
        return answer
