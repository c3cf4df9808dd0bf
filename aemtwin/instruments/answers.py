"""What an operation answers: a `Measurement` put together from what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aemtwin.instruments.protocol import Request
from aemtwin.measurement import Measurement
from aemtwin.sample import Sample
from aemtwin.specs import Axis, Channel, InstrumentSpec, Mode

Window = tuple[float, float]
"""Begin and end of an operation on the instrument's clock, seconds."""


class Answers:
    """Knows unit and quantity of every array of an instrument."""

    def __init__(self, spec: InstrumentSpec, sample: Sample) -> None:
        stored = {f.name: (f.stored.units, f.stored.quantity) for f in sample.fields}
        known: list[Mode | Channel] = [*spec.channels, *spec.modes]
        self._about = stored | {one.name: (one.units, one.quantity) for one in known}

    def answer(
        self,
        request: Request,
        arrays: Mapping[str, NDArray[Any]],
        axes: tuple[Axis, ...],
        positions: NDArray[np.float64],
        time_s: Window,
        dose: float,
        notices: Sequence[str] = (),
    ) -> Measurement:
        """Return the record of an operation; its arrays cannot be written to."""
        arguments = request.arguments
        left_out = ("points", "native") if request.call == "trace" else ("native",)
        shown = {k: v for k, v in arguments.items() if k not in left_out}
        return Measurement(
            call=request.call,
            mode=str(arguments.get("mode", "")),
            arrays={name: read_only(values) for name, values in arrays.items()},
            units={name: self._about[name][0] for name in arrays},
            quantities={name: self._about[name][1] for name in arrays},
            axes=axes,
            asked=read_only(positions),
            actual=read_only(positions),
            time_s=time_s,
            dwell_s=float(arguments["dwell_s"]),
            dose=dose,
            rid=request.rid,
            info={**shown, "notices": list(notices)},
        )


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that a caller cannot write through."""
    view = array.view()
    view.flags.writeable = False
    return view
