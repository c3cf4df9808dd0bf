"""The digital twin: a stored sample under a probe that answers like an instrument.

It joins a probe over the sample (`aemtwin.instruments.probe`) with a clock, limits and
a ledger. All acting calls go one way: checked (nothing has changed so far), looked up
in the ledger, begun, done, ended. `aemtwin.instruments.opening` makes one from a name
or a file; `aemtwin.remote.server` puts it behind a URI.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aemtwin.errors import (
    AemtwinError,
    BadFile,
    BadRequest,
    InstrumentFault,
    LeaseRefused,
    OperationStopped,
    by_code,
)
from aemtwin.instruments import checks, dose, planning
from aemtwin.instruments.clock import Clock
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.ledger import Entry, Ledger, summary
from aemtwin.instruments.probe import Probe
from aemtwin.instruments.protocol import Instrument, Request, State, split_rid
from aemtwin.instruments.recording import describe
from aemtwin.measurement import Measurement
from aemtwin.sample import Sample
from aemtwin.specs import Bounds, InstrumentSpec

PLAIN = "server/"  # what the ids of calls without one begin with


class Twin(Instrument):
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
        identity: Mapping[str, Any] | None = None,
        real_time: bool = False,
        ledger: Path | None = None,
        release: Callable[[], None] | None = None,
    ) -> None:
        seed = checks.whole("open_twin", "seed", seed, 0, 2**63 - 1)
        self._kind, self._release = kind, release
        told = {**(identity or {}), "twin": True, "seed": seed, "ideal": ideal}
        self._spec = describe(sample, kind, name, told, counts)
        self._probe = Probe(
            sample,
            kind,
            self._spec,
            seed=seed,
            noise=dict(noise or {}),
            counts=counts,
            ideal=ideal,
        )
        self._acting = threading.RLock()  # one operation at a time
        self._clock = Clock(real_time=real_time)
        self._ledger = Ledger(ledger, self._spec.identity)
        self._start()
        self._rebuild()

    def _start(self) -> None:
        """Stand as at time zero."""
        self._probe.start()
        self._clock.now_s = 0.0
        self._plain = 0  # calls without a request id
        self._busy = self._last = ""

    # What never waits for an operation

    def describe(self) -> InstrumentSpec:
        return self._spec

    def state(self) -> State:
        return State(
            position=self._probe.position,
            settings=dict(self._probe.settings),
            time_s=self._clock.now_s,
            dose=self._probe.dose,
            operations=len(self._ledger),
            busy=self._busy,
            last=self._last,
        )

    def duration(self, operation: Mapping[str, Any]) -> float:
        call, given = planning.operation(operation)
        arguments = planning.complete(self._spec, self._kind, call, given)
        return self._probe.duration_s(call, arguments)

    def stop(self) -> State:
        self._clock.stop()
        return self.state()

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        return self._ledger.events(checks.whole("events", "after", after, 0, 2**62))

    def truth(
        self,
        mode: str | None = None,
        points: ArrayLike | None = None,
        dwell_s: float | None = None,
    ) -> Measurement:
        """Return what `mode` would measure without noise, as at time zero.

        For scoring when a run is over. A campaign's decisions have no way to call it.

        Args:
            mode: Default: the first.
            points: Positions (k, 2), metres; default: every pixel of the recording,
                row by row, ascending in y and x.
            dwell_s: How long at each, which changes counts alone; default: the usual
                time of the mode. The current is the one that is set.

        Returns:
            Arrays (k, *spectral) with `actual` (k, 2).
        """
        return self._probe.truth(mode, points, dwell_s)

    # What acts

    def configure(
        self, *, rid: str | None = None, token: str | None = None, **settings: float
    ) -> dict[str, float]:
        answer: dict[str, float] = self._act("configure", settings, rid, token)
        return dict(answer)

    def move_to(
        self,
        position: ArrayLike,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> NDArray[np.float64]:
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
        return copy.deepcopy(answer)

    # What only a twin in this process answers

    def dose_map(self, shape: tuple[int, int] | None = None) -> NDArray[np.float64]:
        """Return the dose so far per square metre, (rows, columns) over the bounds.

        The default `shape` is that of the recording; see `instruments.dose`.
        """
        shape = dose.raster(self._spec) if shape is None else shape
        return dose.dose_map(self._ledger.events(), self._spec.bounds, shape)

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
        self._ledger.close()
        if self._release is not None:
            self._release()

    # How it acts

    def _act(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Any:
        if token is not None:
            raise LeaseRefused(
                f"{call} got the token {token!r}, but no lease is held. Leave token "
                "out: the instrument takes one caller after the other."
            )
        if rid is not None:
            split_rid(rid)
            if rid.startswith(PLAIN):
                raise BadRequest(
                    f"{call} got the id {rid!r}; ids of {PLAIN!r} are those that the "
                    "instrument gives. Begin yours with the run's own uid."
                )
        arguments = planning.complete(self._spec, self._kind, call, given)
        with self._acting:
            if rid is None:
                rid = f"{PLAIN}{self._plain}/plain-{call}"
                self._plain += 1
            request = Request(call, rid, arguments)
            entry = self._ledger.find(request)
            if entry is None:
                entry = self._ledger.begin(request, self._clock.now_s)
                self._perform(entry)
            if entry.error is not None:
                raise type(entry.error)(str(entry.error))  # its own traceback
            return entry.answer

    def _perform(self, entry: Entry, *, asleep: bool = True) -> None:
        """Do what the entry says and end it; a stop ends it too."""
        request = entry.request
        self._clock.begin()
        self._busy = request.rid
        duration = self._probe.duration_s(request.call, request.arguments)
        try:
            self._clock.spend(duration, asleep=asleep)
            answer = self._probe.perform(request, (entry.begin_s, self._clock.now_s))
            self._ledger.end(entry, self._clock.now_s, answer=answer)
        except AemtwinError as error:
            if not isinstance(error, OperationStopped | InstrumentFault):
                error = InstrumentFault(f"{request.call} failed: {error}")
            # What was stopped halfway has been on the specimen for half the time.
            gone = (self._clock.now_s - entry.begin_s) / max(duration, 1e-300)
            share = min(gone, 1.0) * self._probe.dose_of(request)
            self._probe.dose += share
            told = {"dose": share, "position": self._probe.position.tolist()}
            self._ledger.end(entry, self._clock.now_s, error=error, **told)
        finally:
            self._busy, self._last = "", request.rid

    def _rebuild(self) -> None:
        """Perform once more what the ledger's file holds.

        Raises:
            BadFile: If an answer comes out other than it was.
        """
        records = self._ledger.stored()
        ends = {r["n"]: r for r in records if r["event"] == "end"}
        for record in records:
            if record["event"] != "begin":
                continue
            request = Request(record["call"], record["rid"], record["arguments"])
            entry = Entry(record["n"], request, record["begin_s"])
            if request.rid.startswith(PLAIN):
                self._plain = max(self._plain, request.address[0] + 1)
            self._ledger.restore(entry)
            end = ends.get(entry.number)
            if end is None:  # begun, and then the process died: done now
                self._perform(entry, asleep=False)
                continue
            self._repeat(entry, end)

    def _repeat(self, entry: Entry, end: Mapping[str, Any]) -> None:
        request = entry.request
        self._clock.now_s = float(end["end_s"])
        entry.end_s, entry.record = end["end_s"], dict(end)
        self._last = request.rid
        if "error" in end:
            kind = by_code().get(end["error"][0], OperationStopped)
            entry.error = kind(end["error"][1])
            self._probe.dose += end.get("dose", 0.0)
            return
        entry.answer = self._probe.perform(request, (entry.begin_s, end["end_s"]))
        if summary(entry.answer).get("sha256") != end.get("sha256"):
            raise BadFile(
                f"The ledger says that {request.rid} gave other values than this twin "
                "gives now: the data or the software changed. Start a new ledger."
            )
