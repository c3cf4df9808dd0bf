"""The probe over the sample: where it is, how it is set, and what it reads there.

Its state is the fold of the requests performed: the same requests in the same order
give the same state, and noise is addressed by the request, so that every answer can be
had again.
`aemtwin.instruments.twin` adds the clock, the ledger and the lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.instruments import checks, planning
from aemtwin.instruments.effects import counts as counting
from aemtwin.instruments.effects import noise
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.protocol import Request
from aemtwin.measurement import Measurement
from aemtwin.sample import Field, Sample
from aemtwin.specs import Axis, InstrumentSpec

Window = tuple[float, float]
"""Begin and end of an operation on the instrument's clock, seconds."""


class Probe:
    """A probe over a sample; requests come checked.

    Args:
        sample: The ground truth.
        kind: Its usual times.
        spec: What the instrument says of itself.
        seed: Of all chance.
        noise: Read-out noise of channels and modes by name, standard deviation in
            their unit at the usual dwell; it is added after counting.
        counts: The channels and modes that hold expected counts.
        ideal: Without any chance: counts too are what is expected.
    """

    def __init__(
        self,
        sample: Sample,
        kind: Kind,
        spec: InstrumentSpec,
        *,
        seed: int,
        noise: Mapping[str, float],
        counts: Collection[str] = (),
        ideal: bool = False,
    ) -> None:
        self._sample, self._kind, self._spec = sample, kind, spec
        self._seed, self._noise = seed, noise
        self._counts, self._ideal = frozenset(counts), ideal
        self.start()

    def start(self) -> None:
        """Stand as at time zero: at the middle, with the default settings."""
        self.position = _read_only(np.mean(self._spec.bounds, axis=1))  # (2,) m
        self.settings = {p.name: p.default for p in self._spec.settings}
        self.dose = 0.0
        self._seen: dict[tuple[str, str, float, float], str] = {}  # spot -> rid

    def duration_s(self, call: str, arguments: Mapping[str, Any]) -> float:
        """Return how long a checked call takes from here, seconds."""
        return planning.duration_s(
            self._kind, self.settings, self.position, call, arguments
        )

    def dose_of(self, request: Request) -> float:
        """Return what a whole request adds to the dose at the settings in effect."""
        return planning.dose_of(
            self._kind, self.settings, request.call, request.arguments
        )

    def perform(self, request: Request, time_s: Window) -> Any:
        """Do what a checked request asks, and return its answer."""
        do = {
            "configure": self._do_configure,
            "move_to": self._do_move_to,
            "scan": self._do_scan,
            "trace": self._do_trace,
            "measure": self._do_measure,
            "pulse": self._do_pulse,
        }[request.call]
        return do(request, time_s)

    def truth(
        self,
        mode: str | None,
        points: ArrayLike | None,
        dwell_s: float | None = None,
    ) -> Measurement:
        """Return what `mode` gives at `points` (k, 2) or at every pixel; no noise."""
        known = self._spec.mode(mode)
        name, usual = known.name, known.dwell_s
        field = self._sample.field(name)
        dwell = usual.default
        if dwell_s is not None:
            dwell = checks.number(
                "truth", "dwell_s", dwell_s, usual.low, usual.high, "s"
            )
        at = field.grid.points()
        if points is not None:
            at = checks.points("truth", points)
            checks.require_inside("truth", at, self._spec.bounds)
        arrays = {f.name: f.at(at) for f in self._sample.beside(field)}
        index = Axis("point", "", np.arange(len(at)), "Index", "unknown")
        request = Request("truth", "", {"mode": name, "dwell_s": dwell})
        return self._answer(request, arrays, (index, *field.axes), at, (0.0, 0.0))

    def _do_configure(self, request: Request, time_s: Window) -> dict[str, float]:
        self.settings = {**self.settings, **request.arguments}
        return dict(self.settings)

    def _do_move_to(self, request: Request, time_s: Window) -> NDArray[np.float64]:
        self.position = _read_only(np.array(request.arguments["position"]))
        return self.position

    def _do_scan(self, request: Request, time_s: Window) -> Measurement:
        arguments = request.arguments
        fields = [self._sample.field(name) for name in arguments["channels"]]
        x, y = planning.frame_axes(arguments)
        if arguments["native"]:
            x, y = fields[0].grid.x, fields[0].grid.y
        points = planning.frame_points(x, y, arguments)
        arrays = {f.name: f.at(points).reshape(len(y), len(x)) for f in fields}
        axes = tuple(
            Axis(name, "m", values, "Length", "spatial")
            for name, values in (("y", y), ("x", x))
        )
        (x_low, x_high), (y_low, y_high) = arguments["region"]
        centre = np.array([(x_low + x_high) / 2, (y_low + y_high) / 2])
        answer = self._answer(request, arrays, axes, centre, time_s)
        low, high = np.array(self._spec.bounds).T
        self.position = _read_only(np.clip(points[-1], low, high))  # turning rounds
        return answer

    def _do_trace(self, request: Request, time_s: Window) -> Measurement:
        points = np.array(request.arguments["points"])
        fields = [self._sample.field(name) for name in request.arguments["channels"]]
        arrays = {f.name: f.at(points) for f in fields}
        along = np.linalg.norm(np.diff(points, axis=0, prepend=points[:1]), axis=1)
        axis = Axis("distance", "m", np.cumsum(along), "Length", "spatial")
        answer = self._answer(request, arrays, (axis,), points, time_s)
        self.position = _read_only(points[-1])
        return answer

    def _do_measure(self, request: Request, time_s: Window) -> Measurement:
        field = self._sample.field(request.arguments["mode"])
        at = self.position[None, :]
        arrays = {f.name: f.at(at)[0] for f in self._sample.beside(field)}
        notices = self._notices(field, request)
        return self._answer(request, arrays, field.axes, self.position, time_s, notices)

    def _do_pulse(self, request: Request, time_s: Window) -> dict[str, Any]:
        """Add the dose; what it does to the specimen is not emulated yet."""
        dose = self.dose_of(request)
        self.dose += dose
        return {
            "pulse": request.arguments["name"],
            "position": self.position.tolist(),
            "dwell_s": request.arguments["dwell_s"],
            "dose": dose,
            "time_s": list(time_s),
            "rid": request.rid,
        }

    def _notices(self, field: Field, request: Request) -> list[str]:
        """Say what a loop should know: a spot measured twice, or off the grid."""
        notices = []
        index, fraction = field.grid.locate(self.position[None, :])
        row, column = (float(v) for v in (index + fraction)[0])
        if fraction.any():
            notices.append(
                f"between grid points, at row {row:.3f} and column {column:.3f}: "
                "values are interpolated"
            )
        inside = [
            low <= value <= high
            for value, (low, high) in zip(self.position, field.grid.bounds, strict=True)
        ]
        if not all(inside):
            notices.append("beyond the outermost pixel: the value at the edge is given")
        run = request.rid.partition("/")[0]  # another run may well come here too
        at = (run, field.name, float(self.position[0]), float(self.position[1]))
        earlier = self._seen.setdefault(at, request.rid)
        if earlier != request.rid:
            notices.append(f"measured here before, by {earlier}")
        return notices

    def _answer(
        self,
        request: Request,
        arrays: Mapping[str, NDArray[Any]],
        axes: tuple[Axis, ...],
        positions: NDArray[np.float64],
        time_s: Window,
        notices: Sequence[str] = (),
    ) -> Measurement:
        """Add noise and dose, and put the record together."""
        arguments = request.arguments
        dwell = float(arguments["dwell_s"])
        arrays = {
            name: self._read(request, name, values) for name, values in arrays.items()
        }
        dose = self.dose_of(request)
        self.dose += dose
        fields = [self._sample.field(name).stored for name in arrays]
        shown = {k: v for k, v in arguments.items() if k not in ("points", "native")}
        return Measurement(
            call=request.call,
            mode=str(arguments.get("mode", "")),
            arrays={name: _read_only(values) for name, values in arrays.items()},
            units={f.name: f.units for f in fields},
            quantities={f.name: f.quantity for f in fields},
            axes=axes,
            asked=_read_only(positions),
            actual=_read_only(positions),
            time_s=time_s,
            dwell_s=dwell,
            dose=dose,
            rid=request.rid,
            info={**shown, "notices": list(notices)},
        )

    def _read(self, request: Request, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return what the detector tells, from what the sample holds."""
        arguments = request.arguments
        dwell, usual = float(arguments["dwell_s"]), self._kind.pixel_dwell_s
        if request.call in ("measure", "truth"):
            usual = self._spec.mode(arguments["mode"]).dwell_s.default
        exposure = planning.exposure_of(self._spec, self.settings, dwell, usual)
        if request.call == "truth" or self._ideal:
            if name in self._counts:
                return counting.expected(values, exposure)
            return values
        random = noise.generator(self._seed, *request.address, name)
        sd = self._noise.get(name, 0.0)
        if name in self._counts:
            values = counting.counted(values, exposure, random)
            return noise.readout(values, sd, random) if sd else values
        return noise.readout(values, noise.averaged(sd, usual, dwell), random)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that a caller cannot write through."""
    view = array.view()
    view.flags.writeable = False
    return view
