"""The digital twin: a stored sample under a probe that answers like an instrument.

It joins a probe over the sample (`aemtwin.instruments.probe`) with a clock and a
ledger; how it acts, each request once, is `aemtwin.instruments.acting`.
`aemtwin.instruments.opening` makes one from a name or a file; `aemtwin.remote.server`
puts it behind a URI.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import AemtwinError, BadFile, OperationStopped
from aemtwin.instruments import checks, dose, planning
from aemtwin.instruments.acting import PLAIN, Acting
from aemtwin.instruments.clock import Clock
from aemtwin.instruments.effects.base import Effect, Scene, hashed
from aemtwin.instruments.entries import Entry
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.probe import Probe
from aemtwin.instruments.protocol import Request, State
from aemtwin.instruments.recording import Make, Stated, describe, readers_of, remarks
from aemtwin.instruments.summaries import fingerprint
from aemtwin.measurement import Measurement
from aemtwin.sample import Sample


class Twin(Acting):
    """An instrument over a sample; see `aemtwin.instruments.protocol.Instrument`.

    Args:
        sample: The ground truth.
        kind: Names, times and limits of this kind of instrument.
        name: What to call it.
        seed: Of all chance.
        ideal: No effect at all: at a grid point the stored values, bit for bit.
        noise: Standard deviation of the read-out of channels and modes by name, in
            their unit, at the usual dwell; it falls as 1/sqrt(dwell). Of counts it is
            that of each reading, however long.
        counts: Channels and modes that hold expected counts at the usual dwell and
            current: what is measured is Poisson's, in proportion to both.
        dealt: Channels and modes that hold recorded counts: each is given out once.
        effects: What else the instrument does to the truth; none where it is ideal.
        modes: Modes that are computed from maps of the sample.
        identity: What else `describe().identity` should tell, such as a data hash.
        real_time: Sleep as long as each operation takes, rather than jump ahead.
        ledger: A file for the ledger. One that exists is performed again first.
        release: What `close` calls to let go of the sample's file.
    """

    def __init__(
        self,
        sample: Sample,
        kind: Kind,
        *,
        name: str,
        seed: int = 0,
        ideal: bool = False,
        noise: Mapping[str, float] | None = None,
        counts: Collection[str] = (),
        dealt: Collection[str] = (),
        effects: Sequence[Effect] = (),
        modes: Sequence[Stated] = (),
        identity: Mapping[str, Any] | None = None,
        real_time: bool = False,
        ledger: Path | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        seed = checks.whole("open_twin", "seed", seed, 0, 2**63 - 1)
        self._kind, self._release = kind, release
        told = {**(identity or {}), "twin": True, "seed": seed, "ideal": ideal}
        make = Make(
            noise=dict(noise or {}),
            counts=frozenset(counts) | {m.name for m in modes if m.model.counts},
            dealt=frozenset(dealt),
            effects=() if ideal else tuple(effects),
            readers=readers_of(sample, kind, modes),
            models=tuple(one.model for one in modes),
            ideal=ideal,
        )
        spec = describe(sample, kind, name, told, make)
        notices = [*told.get("notices", ()), *remarks(Scene(sample, spec, seed), make)]
        identity = {**spec.identity, "notices": notices}
        spec = replace(spec, identity=identity)
        self._probe = Probe(sample, kind, spec, seed, make)
        self._clock = Clock(real_time=real_time)
        stored = [one.stored for one in sample.fields]
        super().__init__(spec, Ledger(ledger, spec.identity), stored)
        self._start()
        self.recover()

    def _start(self) -> None:
        """Stand as at time zero."""
        self._probe.start()
        self._clock.now_s = 0.0
        self._plain = self._ledger.plain(PLAIN)
        self._busy = self._last = ""

    # What never waits for an operation

    def state(self) -> State:
        return State(
            position=self._probe.position,
            settings=dict(self._probe.settings),
            time_s=self._clock.now_s,
            dose=self._probe.dose,
            operations=len(self._ledger),
            busy=self._busy,
            last=self._last,
            lease=self._desk.holder,
        )

    def duration(self, operation: Mapping[str, Any]) -> float:
        call, _, given = checks.operation(operation)
        arguments = self.complete(call, given)
        self._probe.require_possible(call, arguments)
        return self._probe.duration_s(call, arguments)

    def stop(self) -> State:
        self.stop_waiting()
        self._clock.stop()
        return self.state()

    def truth(
        self,
        mode: str | None = None,
        points: ArrayLike | None = None,
        dwell_s: float | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> Measurement:
        """Return what `mode` would measure without noise, as at time zero.

        For scoring when a run is over. A campaign's decisions have no way to call it.

        Args:
            mode: Default: the first.
            points: Positions (k, 2), metres; default: every pixel of the recording,
                row by row, ascending in y and x.
            dwell_s: How long at each, which changes counts alone; default: the usual
                time of the mode. The current is the one that is set.
            parameters: Of the mode, by name; default: its usual ones.

        Returns:
            Arrays (k, *spectral) with `actual` (k, 2).
        """
        return self._probe.truth(mode, points, dwell_s, parameters)

    # What only a twin in this process answers

    def dose_map(self, shape: tuple[int, int] | None = None) -> NDArray[np.float64]:
        """Return the dose so far per square metre, (rows, columns) over the bounds.

        The default `shape` is that of the recording; see `instruments.dose`.
        """
        shape = dose.raster(self._spec) if shape is None else shape
        return dose.dose_map(self._ledger.events(), self._spec.bounds, shape)

    def state_hash(self) -> str:
        """Return what tells one state of instrument and specimen from another.

        Equal requests in equal order lead to equal hashes; `reset` leads back to the
        first, and a twin opened on the ledger of another to that one's last.
        """
        return hashed(self._probe.digest(), self._clock.now_s, len(self._ledger))

    def reset(self) -> None:
        """Stand as at time zero, and forget what was done."""
        with self._acting:
            self._ledger.clear()
            self._start()

    def ledger(self) -> list[dict[str, Any]]:
        """Return all that was done, as `events(0)`."""
        return self._ledger.events()

    def close(self) -> None:
        """Close the files of the ledger and of the sample."""
        self._jobs.close()
        self._ledger.close()
        if self._release is not None:
            self._release()

    # How it acts

    def complete(self, call: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return planning.complete(self._spec, self._kind, call, given)

    def refuse(self, request: Request) -> None:
        self._probe.require_possible(request.call, request.arguments)
        self._probe.require_dose(request)

    def now_s(self) -> float:
        return self._clock.now_s

    def soon(self, request: Request, within_s: float) -> bool:
        if not self._clock.real_time:
            return True
        return self._probe.duration_s(request.call, request.arguments) < within_s

    def perform(self, request: Request, begin_s: float) -> Any:
        self._clock.begin()
        duration_s = self._probe.duration_s(request.call, request.arguments)
        if request.call == "scan" and self._clock.real_time:
            with self._streaming(request, begin_s, duration_s) as watch:
                self._clock.spend(duration_s, watch)
        else:
            self._clock.spend(duration_s)
        return self._probe.perform(request, (begin_s, self._clock.now_s))

    @contextmanager
    def _streaming(
        self, request: Request, begin_s: float, duration_s: float
    ) -> Iterator[Callable[[float], float]]:
        """Have the lines of a frame told while it is taken, each at its end."""
        arrays = self._probe.ahead(request, (begin_s, begin_s + duration_s))
        units = {c.name: c.units for c in self._spec.channels if c.name in arrays}
        stream = self.parts.streams.open(request.rid, arrays, units)
        line_s = planning.line_s(self._kind, request.arguments)
        first_s = duration_s - stream.lines * line_s  # until then it travels

        def watch(gone_s: float) -> float:
            done = int((gone_s - first_s) / line_s * (1 + 1e-12))
            if done > stream.done:
                stream.advance(min(done, stream.lines))
            return first_s + (stream.done + 1) * line_s

        try:
            yield watch
            stream.advance(stream.lines)
        finally:
            stream.close()

    def left(
        self, request: Request, begin_s: float, error: AemtwinError
    ) -> dict[str, Any]:
        """Leave in the specimen what an operation did that was not ended.

        What was stopped halfway has been on the specimen for half the time.
        """
        duration_s = self._probe.duration_s(request.call, request.arguments)
        share = 1.0
        if isinstance(error, OperationStopped):
            gone = self._clock.now_s - begin_s
            share = min(gone / max(duration_s, 1e-300), 1.0)
        window = begin_s, begin_s + duration_s
        dose = self._probe.abandon(request, window, share)
        return {"dose": dose, "position": self._probe.position.tolist()}

    def dose_of(self, request: Request) -> float:
        return self._probe.dose_of(request)

    def recover(self) -> None:
        """Perform once more what the ledger's file holds.

        What was begun and not ended, because the process died, is done now: it adds the
        dose that it would have added, and nobody has to ask what became of it.

        Raises:
            BadFile: If an answer comes out other than it was.
        """
        real_time, self._clock.real_time = self._clock.real_time, False
        for entry in self._ledger:
            if entry.end_s is None:
                self._bring_about(entry)
            else:
                self._repeat(entry, entry.end_s)
        self._clock.real_time = real_time

    def _repeat(self, entry: Entry, end_s: float) -> None:
        request = entry.request
        self._clock.now_s = end_s
        self._last = request.rid
        if entry.error is not None:
            if not isinstance(entry.error, OperationStopped):
                with suppress(AemtwinError):  # it fails again, and leaves what it left
                    self._probe.perform(request, (entry.begin_s, end_s))
            self.left(request, entry.begin_s, entry.error)
            return
        answer = self._probe.perform(request, (entry.begin_s, end_s))
        if fingerprint(answer).get("sha256") != entry.record.get("sha256"):
            raise BadFile(
                f"The ledger says that {request.rid} gave other values than this twin "
                "gives now: the data or the software changed. Start a new ledger."
            )
