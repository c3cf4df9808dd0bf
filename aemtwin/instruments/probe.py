"""The probe over the sample: where it is, how it is set, and what it reads there.

Its state is the fold of the requests performed: the same requests in the same order
give the same state, and noise is addressed by the request, so that every answer can be
had again. The specimen with its effects is `aemtwin.instruments.scene`, the detector
`aemtwin.instruments.detector`; `aemtwin.instruments.twin` adds the clock, the ledger
and the lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.instruments import checks, paths, planning
from aemtwin.instruments.answers import Answers, Window, read_only
from aemtwin.instruments.budget import Budget
from aemtwin.instruments.detector import Detector
from aemtwin.instruments.effects import noise
from aemtwin.instruments.effects.base import Scene, Shot, hashed
from aemtwin.instruments.effects.counts import rounded
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.protocol import Request
from aemtwin.instruments.recording import Make
from aemtwin.instruments.scene import Stage
from aemtwin.instruments.visits import Visits
from aemtwin.measurement import Measurement
from aemtwin.sample import Field, Grid, Sample
from aemtwin.specs import Axis, InstrumentSpec


class Probe:
    """A probe over a sample; requests come checked."""

    def __init__(
        self, sample: Sample, kind: Kind, spec: InstrumentSpec, seed: int, make: Make
    ) -> None:
        self._sample, self._kind, self._spec, self._seed = sample, kind, spec, seed
        self._readers = make.readers
        self._box = np.array(spec.bounds).T  # lowest and highest (x, y)
        self._stage = Stage(Scene(sample, spec, seed), make.effects)
        self._answers, self._budget = Answers(spec, sample), Budget(spec)
        self._detector = Detector(
            seed, make.noise, make.counts, make.dealt, ideal=make.ideal
        )
        self.start()

    def start(self) -> None:
        """Stand as at time zero: at the middle, with the default settings."""
        self.position = read_only(np.mean(self._spec.bounds, axis=1))  # (2,) m
        self.settings = {p.name: p.default for p in self._spec.settings}
        self.dose = 0.0
        self._visits = Visits()
        self._stage.start()
        self._detector.start()
        self._budget.start()

    def digest(self) -> str:
        """Return a hash of how probe and specimen stand."""
        at, settings = self.position.tolist(), sorted(self.settings.items())
        kept = self._stage, self._detector, self._budget
        return hashed(at, settings, self.dose, *(one.digest() for one in kept))

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

    def require_possible(self, call: str, arguments: Mapping[str, Any]) -> None:
        """Refuse what a computed mode cannot do, as it and the probe are set.

        Raises:
            OutOfRange: If it cannot; nothing has changed.
        """
        if call == "configure":
            settings = {**self.settings, **arguments}
            for reader in self._readers.values():
                reader.require_settings(settings)
        elif call == "measure":
            self._readers[arguments["mode"]].require(self.settings, arguments)

    def require_dose(self, request: Request) -> None:
        """Refuse what would go beyond the budgets of `describe().limits`.

        Raises:
            DoseRefused: If it would; nothing has changed.
        """
        dose = self.dose_of(request)
        if self._budget.on and dose > 0.0:
            at = self._path(request, (0.0, 0.0))
            self._budget.require(request.call, at, dose, self.dose)

    def abandon(self, request: Request, time_s: Window, share: float) -> float:
        """Leave behind what a request that failed did in its share of time.

        Args:
            request: What was asked.
            time_s: Begin and end that it would have had.
            share: Of that time, in which it was under way.

        Returns:
            The dose that it added.
        """
        if request.call in ("configure", "move_to"):
            return 0.0
        shot = self._shot(request, self._path(request, time_s), time_s[0])
        self._stage.done(replace(shot, share=share))
        self.position = read_only(np.clip(shot.path.reached(share), *self._box))
        return self._add(shot.path, share * self.dose_of(request))

    def _leave(self, request: Request, shot: Shot) -> float:
        """Count the dose of an operation; there is none where the beam was blanked."""
        return self._add(shot.path, self.dose_of(request) if shot.dose else 0.0)

    def _add(self, path: paths.Path, dose: float) -> float:
        self.dose += dose
        if self._budget.on:
            self._budget.add(path, dose)
        return dose

    def _raster(self, given: Mapping[str, Any]) -> Grid:
        if given["native"]:
            return self._sample.field(given["channels"][0]).grid
        return Grid(*planning.frame_axes(given))

    def _path(self, request: Request, time_s: Window) -> paths.Path:
        call, given = request.call, request.arguments
        if call == "scan":
            return paths.frame(self._kind, given, self._raster(given), time_s)
        if call == "trace":
            return paths.trace(self._kind, self.settings, given, time_s)
        if call == "move_to":
            return paths.spot(self._kind, given["position"], (time_s[1],) * 2)
        return paths.spot(self._kind, self.position, time_s)

    def truth(
        self,
        mode: str | None,
        points: ArrayLike | None,
        dwell_s: float | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> Measurement:
        """Return what `mode` gives at `points` (k, 2) or at every pixel; no noise."""
        known = self._spec.mode(mode)
        usual, reader = known.dwell_s, self._readers[known.name]
        dwell = usual.default
        if dwell_s is not None:
            dwell = checks.number(
                "truth", "dwell_s", dwell_s, usual.low, usual.high, "s"
            )
        asked = {} if parameters is None else parameters
        given = checks.parameters("truth", asked, known.parameters)
        if points is None:
            at = reader.grid.points()
        else:
            at = checks.points("truth", points)
            checks.require_inside("truth", at, self._spec.bounds)
        exposure = planning.exposure_of(self._spec, self.settings, dwell, usual.default)
        arrays = {
            name: rounded(
                reader.dtype(name), self._detector.expected(name, values, exposure)
            )
            for name, values in reader.read(at, self.settings, given).items()
        }
        index = Axis("point", "", np.arange(len(at)), "Index", "unknown")
        arguments = {"mode": known.name, "dwell_s": dwell, **given}
        request = Request("truth", "", arguments)
        axes = (index, *reader.axes(given))
        return self._answers.answer(request, arrays, axes, at, (0.0, 0.0), 0.0)

    def _do_configure(self, request: Request, time_s: Window) -> dict[str, float]:
        self.settings = {**self.settings, **request.arguments}
        return dict(self.settings)

    def _do_move_to(self, request: Request, time_s: Window) -> NDArray[np.float64]:
        shot = self._shot(request, self._path(request, time_s), time_s[0])
        self._stage.faults(shot)
        self._stage.done(shot)
        self.position = read_only(shot.path.last)
        return self.position

    def _do_scan(self, request: Request, time_s: Window) -> Measurement:
        path, raster = self._path(request, time_s), self._raster(request.arguments)
        arrays, notices, dose = self._along(request, path, time_s, raster)
        axes = tuple(
            Axis(name, "m", values, "Length", "spatial")
            for name, values in (("y", raster.y), ("x", raster.x))
        )
        region = request.arguments["region"]
        centre = np.array([(low + high) / 2 for low, high in region])
        told = centre, time_s, dose, notices
        answer = self._answers.answer(request, arrays, axes, *told)
        self.position = read_only(np.clip(path.last, *self._box))  # turning rounds
        return answer

    def _do_trace(self, request: Request, time_s: Window) -> Measurement:
        path = self._path(request, time_s)
        arrays, notices, dose = self._along(request, path, time_s)
        steps = np.diff(path.points, axis=0, prepend=path.points[:1])  # (k, 2) m
        along = np.cumsum(np.linalg.norm(steps, axis=1))
        axis = Axis("distance", "m", along, "Length", "spatial")
        told = path.points, time_s, dose, notices
        answer = self._answers.answer(request, arrays, (axis,), *told)
        self.position = read_only(path.last)
        return answer

    def ahead(self, request: Request, time_s: Window) -> dict[str, NDArray[Any]]:
        """Return the frame that a scan is about to give; nothing is left behind."""
        path, raster = self._path(request, time_s), self._raster(request.arguments)
        with self._detector.looking():
            shot = self._shot(request, path, time_s[0])
            return self._read(request, shot, raster, [])

    def _along(
        self,
        request: Request,
        path: paths.Path,
        time_s: Window,
        raster: Grid | None = None,
    ) -> tuple[dict[str, NDArray[Any]], list[str], float]:
        """Read channels along a path, in its shape; with notices and the dose."""
        shot = self._shot(request, path, time_s[0])
        self._stage.faults(shot)
        notices: list[str] = []
        arrays = self._read(request, shot, raster, notices)
        notices += self._visits.beyond(shot, self._spec.bounds)
        return arrays, [*notices, *self._stage.done(shot)], self._leave(request, shot)

    def _read(
        self, request: Request, shot: Shot, raster: Grid | None, notices: list[str]
    ) -> dict[str, NDArray[Any]]:
        usual, arrays = self._kind.pixel_dwell_s, {}
        for name in request.arguments["channels"]:
            channel, image = self._spec.channel(name), self._sample.field(name)
            if self._detector.deals(name):
                values = self._dealt(request, image, shot, usual, notices)
            else:
                own = raster is not None and raster.same(image.grid)
                own = own and request.arguments["native"]
                values = self._stage.frame(shot, image, channel, own)
                values = self._counted(request, name, values, usual)
            values = self._stage.detected(shot, channel, values)
            arrays[name] = rounded(image.dtype, values).reshape(shot.path.shape)
        return arrays

    def _do_measure(self, request: Request, time_s: Window) -> Measurement:
        given = request.arguments
        mode = self._spec.mode(given["mode"])
        reader, usual = self._readers[mode.name], mode.dwell_s.default
        shot = self._shot(request, self._path(request, time_s), time_s[0])
        self._stage.faults(shot)
        stored = {one.name: one for one in reader.fields}
        dealt = {name for name in stored if self._detector.deals(name)}
        notices = self._visits.notices(
            reader, mode.name, request.rid, self.position, dealt
        )
        arriving = self._stage.spot(shot, reader, mode, given)
        found = {
            name: self._dealt(request, stored[name], shot, usual, notices)
            if name in dealt
            else self._counted(request, name, values, usual)
            for name, values in arriving.items()
        }
        arrays, axes = {}, reader.axes(given)
        for name, values in found.items():
            what = replace(mode, name=name, axes=axes)
            values = self._stage.detected(shot, what, values)
            arrays[name] = rounded(reader.dtype(name), values)[0]
        notices += self._visits.beyond(shot, self._spec.bounds)
        notices += self._stage.done(shot)
        dose = self._leave(request, shot)
        told = self.position, time_s, dose, notices
        return self._answers.answer(request, arrays, axes, *told)

    def _do_pulse(self, request: Request, time_s: Window) -> dict[str, Any]:
        shot = self._shot(request, self._path(request, time_s), time_s[0])
        self._stage.faults(shot)
        self._stage.done(shot)
        return {
            "pulse": request.arguments["name"],
            "position": self.position.tolist(),
            "dwell_s": request.arguments["dwell_s"],
            "dose": self._leave(request, shot),
            "time_s": list(time_s),
            "rid": request.rid,
        }

    def _shot(self, request: Request, path: paths.Path, begin_s: float) -> Shot:
        def random(word: str) -> np.random.Generator:
            return noise.generator(self._seed, *request.address, word)

        dose = self.dose_of(request) / len(path)
        given = request.arguments
        return self._stage.shot(
            request.call, given, path, begin_s, self.settings, dose, random
        )

    def _exposure(self, request: Request, usual_s: float) -> float:
        dwell = float(request.arguments["dwell_s"])
        return planning.exposure_of(self._spec, self.settings, dwell, usual_s)

    def _counted(
        self, request: Request, name: str, values: NDArray[Any], usual_s: float
    ) -> NDArray[Any]:
        exposure = self._exposure(request, usual_s)
        return self._detector.read(request, name, values, exposure, usual_s)

    def _dealt(
        self,
        request: Request,
        one: Field,
        shot: Shot,
        usual_s: float,
        notices: list[str],
    ) -> NDArray[Any]:
        """Give out recorded counts; say so where there were too few left."""
        if self._stage.dark(shot):  # what did not arrive is still to be given out
            return np.zeros((len(shot.path), *one.shape), one.dtype)
        exposure = self._exposure(request, usual_s)
        values, least = self._detector.deal(request, one, shot.where, exposure)
        if least < 1.0:
            notices.append(
                f"the recording of {one.name!r} had {least:.3g} of the dose asked for "
                "left here: each recorded count is given out once"
            )
        return values
