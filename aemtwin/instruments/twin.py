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
from contextlib import suppress
from dataclasses import replace
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
from aemtwin.instruments.effects.base import Effect, Scene, hashed
from aemtwin.instruments.kinds import Kind
from aemtwin.instruments.ledger import Entry, Ledger, fingerprint
from aemtwin.instruments.probe import Probe
from aemtwin.instruments.protocol import Calls, Request, State, split_rid
from aemtwin.instruments.recording import Make, Stated, describe, readers_of, remarks
from aemtwin.measurement import Measurement
from aemtwin.sample import Sample
from aemtwin.specs import InstrumentSpec

PLAIN = "server/"  # what the ids of calls without one begin with


class Twin(Calls):
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
        self._spec = replace(spec, identity=identity)
        self._probe = Probe(sample, kind, self._spec, seed, make)
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
        self._probe.require_possible(call, arguments)
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
            plain = rid is None
            if rid is None:
                rid = f"{PLAIN}{self._plain}/plain-{call}"
            request = Request(call, rid, arguments)
            entry = self._ledger.find(request)
            if entry is None:
                self._probe.require_possible(call, arguments)
                self._probe.require_dose(request)
                self._plain += plain
                entry = self._ledger.begin(request, self._clock.now_s)
                self._perform(entry)
            if entry.error is not None:
                raise type(entry.error)(str(entry.error))  # its own traceback
            # a dictionary is the caller's to change, an array is read-only
            table = isinstance(entry.answer, dict)
            return copy.deepcopy(entry.answer) if table else entry.answer

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
            told = self._failed(entry, duration, error)
            self._ledger.end(entry, self._clock.now_s, error=error, **told)
        finally:
            self._busy, self._last = "", request.rid

    def _failed(
        self, entry: Entry, duration_s: float, error: AemtwinError
    ) -> dict[str, Any]:
        """Leave in the specimen what an operation did that was not ended.

        What was stopped halfway has been on the specimen for half the time.
        """
        share = 1.0
        if isinstance(error, OperationStopped):
            gone = self._clock.now_s - entry.begin_s
            share = min(gone / max(duration_s, 1e-300), 1.0)
        window = entry.begin_s, entry.begin_s + duration_s
        dose = self._probe.abandon(entry.request, window, share)
        return {"dose": dose, "position": self._probe.position.tolist()}

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
            duration = self._probe.duration_s(request.call, request.arguments)
            if not isinstance(entry.error, OperationStopped):
                with suppress(AemtwinError):  # it fails again, and leaves what it left
                    self._probe.perform(request, (entry.begin_s, end["end_s"]))
            self._failed(entry, duration, entry.error)
            return
        entry.answer = self._probe.perform(request, (entry.begin_s, end["end_s"]))
        if fingerprint(entry.answer).get("sha256") != end.get("sha256"):
            raise BadFile(
                f"The ledger says that {request.rid} gave other values than this twin "
                "gives now: the data or the software changed. Start a new ledger."
            )
