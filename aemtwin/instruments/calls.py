"""The acting calls of an instrument, all handed on one way; and a frame line by line.

A scan is followed by `stream`, which begins it, or by `follow`, which watches one that
somebody else began.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import WrongType
from aemtwin.instruments.protocol import Instrument
from aemtwin.instruments.streams import Line
from aemtwin.measurement import Measurement
from aemtwin.specs import Bounds

FOLLOW_S = 2.0  # that one question waits for the next line


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

    # Line by line

    def stream(
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
    ) -> Iterator[Line]:
        """Begin a `scan`, and yield its lines as they come, the first one first.

        Who is slow to take them slows nobody. The frame is kept as that of any scan:
        `fetch(rid)` gives it; leaving the loop does not end the scan, `stop` does.

        Raises:
            AemtwinError: As `scan`; what ended the scan after the lines that came.
        """
        given = {
            "region": region,
            "shape": shape,
            "channels": channels,
            "dwell_s": dwell_s,
            "rotation": rotation,
            "backward": backward,
        }
        rid = f"stream-{secrets.token_hex(8)}/0/scan" if rid is None else rid
        self.submit({"call": "scan", "rid": rid, "arguments": given}, token=token)
        return self.follow(rid)

    def follow(self, rid: str, after: int = 0) -> Iterator[Line]:
        """Yield the lines of a scan as they come, whoever began it, and when.

        Args:
            rid: Of the scan: under way, waiting for its turn, or over.
            after: How many lines are known already; 0: from the first.

        Raises:
            UnknownName: If there was no such request.
            AemtwinError: What ended the scan, after the lines that came before.
        """
        while True:
            told = self.lines(rid, after, FOLLOW_S)
            for k in range(after, told["lines"]):
                arrays = {n: values[k - after] for n, values in told["arrays"].items()}
                yield Line(rid, k, told["of"], arrays, told["units"])
            after = max(after, told["lines"])
            if told["status"] not in ("queued", "running"):
                break
        frame = self.fetch(rid)  # raises what ended it
        lines = len(frame.values) if frame.call == "scan" else 0
        for k in range(after, lines):
            arrays = {name: values[k] for name, values in frame.arrays.items()}
            yield Line(rid, k, lines, arrays, frame.units)
