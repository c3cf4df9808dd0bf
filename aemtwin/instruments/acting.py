"""How an instrument acts: checked, looked up, allowed, begun, done, ended; one by one.

What a twin and a real controller have in common. All acting calls go one way: nothing
has changed until the request is begun in the ledger, durably; the same request again
gets the answer that the ledger has. `aemtwin.instruments.twin` performs operations on a
sample; `aemtwin.instruments.jobs` lets callers wait elsewhere.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aemtwin.errors import (
    AemtwinError,
    BadRequest,
    Indeterminate,
    InstrumentFault,
    LeaseRefused,
    OperationStopped,
)
from aemtwin.instruments import checks
from aemtwin.instruments.allowed import Allowed
from aemtwin.instruments.calls import Calls
from aemtwin.instruments.entries import Entry
from aemtwin.instruments.envelope import Envelope, Spent
from aemtwin.instruments.jobs import Jobs, done
from aemtwin.instruments.lease import USUAL_S, Desk
from aemtwin.instruments.ledger import Ledger
from aemtwin.instruments.parts import Parts
from aemtwin.instruments.protocol import Lease, Request, split_rid
from aemtwin.sample import StoredArray
from aemtwin.specs import InstrumentSpec

PLAIN = "server/"  # what the ids of calls without one begin with
FENCE = "fence"  # what the ledger remembers the number of leases under
TOTALS = "totals"  # what it remembers budgets under, with each entry


@dataclass(frozen=True)
class Asked:
    """A request on its way: checked, and not yet begun."""

    call: str
    rid: str | None  # None: it gets one when it is begun
    arguments: Mapping[str, Any]
    token: str | None
    stops: int  # how often somebody had called stop when it came


class Acting(Calls):
    """An instrument that does one operation at a time, and each request once.

    What a subclass says: `complete` and `refuse` check, `perform` acts, `left` tells
    what a failure left behind, `now_s` the time; and `recover`, called when it can act,
    what becomes of an operation that was begun and not ended because the process died.
    One that has a frame line by line opens a stream of `parts` meanwhile.

    Args:
        spec: What it can do.
        ledger: Of what it did.
        recorded: Arrays that it plays back, if it is a twin.
    """

    def __init__(
        self,
        spec: InstrumentSpec,
        ledger: Ledger,
        recorded: Sequence[StoredArray] = (),
    ) -> None:
        self._spec, self._ledger = spec, ledger
        self._envelope: Envelope | None = None
        self._acting = threading.RLock()  # one operation at a time
        self._desk = Desk(
            ledger.about(FENCE) or 0, lambda fence: ledger.note(FENCE, fence)
        )
        self._jobs = Jobs(self._do, lambda: self._busy, ledger)
        self.parts = Parts(ledger.store, self._jobs.status, recorded)
        self._stops = 0
        self._plain = ledger.plain(PLAIN)  # calls without a request id
        self._busy = self._last = ""

    def describe(self) -> InstrumentSpec:
        return self._spec

    def events(self, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        after = checks.whole("events", "after", after, 0, 2**62)
        if most is not None:
            most = checks.whole("events", "most", most, 1, 2**62)
        return self._ledger.events(after, most)

    def limit(self, allowed: Allowed) -> tuple[str, ...]:
        """Refuse from now on what is beyond `allowed`; call it before serving.

        Budgets go on where the ledger's last entry left them.

        Returns:
            The names of limits that find nothing to limit here.
        """
        with self._acting:
            envelope = Envelope(self._spec, allowed)
            envelope.restore(self._ledger.told(TOTALS) or {})
            self._envelope, self._spec = envelope, envelope.spec
        return envelope.idle

    # What a subclass says

    def complete(self, call: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments of a call as JSON values, checked.

        Raises:
            AemtwinError: The kind that fits, if anything is not as it should be.
        """
        raise NotImplementedError

    def refuse(self, request: Request) -> None:
        """Raise where a request cannot or may not be done as the instrument stands."""

    def perform(self, request: Request, begin_s: float) -> Any:
        """Do what a request asks, and return its answer.

        Raises:
            OperationStopped: If somebody called `stop` meanwhile.
            AemtwinError: If it failed; what is no `InstrumentFault` is told as one.
        """
        raise NotImplementedError

    def left(
        self, request: Request, begin_s: float, error: AemtwinError
    ) -> dict[str, Any]:
        """Return "dose" and "position" that an operation left which was not ended."""
        raise NotImplementedError

    def now_s(self) -> float:
        """Return the time on the instrument's clock, seconds."""
        raise NotImplementedError

    def dose_of(self, request: Request) -> float:
        """Return what a whole operation adds to the dose."""
        return 0.0

    def recover(self) -> None:
        """End what was begun before this process came, and what nobody knows about.

        It is not repeated: a real instrument may have done it. A twin, which has lost
        its specimen with the process, does it instead.
        """
        for entry in self._ledger.unended():
            call, rid = entry.request.call, entry.request.rid
            error = Indeterminate(
                f"{call} was begun as {rid}, and then the instrument's server died: "
                "nobody knows whether it was done. Its whole dose is counted, and it "
                "is not repeated. Look at the specimen; ask under another id if it is "
                "needed."
            )
            dose = self.dose_of(entry.request)
            self._ledger.end(entry, entry.begin_s, error=error, dose=dose)

    def soon(self, request: Request, within_s: float) -> bool:
        """Say whether an operation is sure to be over in so many seconds."""
        return False

    # Acting

    def _act(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Any:
        return answer_of(self._do(self._asked(call, given, rid, token)))

    def _asked(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Asked:
        """Check what can be without waiting for a turn."""
        stops = self._stops
        if rid is not None:
            split_rid(rid)
            if rid.startswith(PLAIN):
                raise BadRequest(
                    f"{call} got the id {rid!r}; ids of {PLAIN!r} are those that the "
                    "instrument gives. Begin yours with the run's own uid."
                )
        return Asked(call, rid, self.complete(call, given), token, stops)

    def _do(self, asked: Asked) -> Entry:
        """Do a request when its turn comes, unless it was done; return its entry."""
        self._require_right(asked)
        with self._acting:
            rid = asked.rid or f"{PLAIN}{self._plain}/plain-{asked.call}"
            request = Request(asked.call, rid, asked.arguments)
            entry = self._ledger.find(request)
            if entry is not None:
                return entry
            if asked.stops != self._stops:
                raise OperationStopped(
                    f"{asked.call} was not begun: somebody called stop while it waited "
                    "for its turn. Nothing was done; ask again."
                )
            self.refuse(request)
            spent = self._require_allowed(request)
            lease = self._desk.begin(asked.call, asked.token)
            try:
                told: dict[str, Any] = {} if lease is None else {"holder": lease.holder}
                if self._envelope is not None:
                    told[TOTALS] = self._envelope.totals(spent)
                entry = self._ledger.begin(request, self.now_s(), told)
                if self._envelope is not None and spent is not None:
                    self._envelope.count(spent)
                self._plain += asked.rid is None
                self._bring_about(entry)
            finally:
                self._desk.end(lease)
            return entry

    def _require_right(self, asked: Asked) -> None:
        """Refuse who may not act before he waits; what was begun is told to all."""
        try:
            self._desk.require(asked.call, asked.token)
        except LeaseRefused:
            if asked.rid is None or self._ledger.last(asked.rid) is None:
                raise

    def _require_allowed(self, request: Request) -> Spent | None:
        """Refuse what the server's operator does not allow; change nothing."""
        if self._envelope is None:
            return None
        state, dose = self.state(), self.dose_of(request)
        return self._envelope.require(request, state.settings, state.position, dose)

    def _bring_about(self, entry: Entry) -> None:
        """Do what an entry says and end it; a stop ends it too."""
        request = entry.request
        self._busy = request.rid
        try:
            answer = self.perform(request, entry.begin_s)
            self._ledger.end(entry, self.now_s(), answer=answer)
        except AemtwinError as error:
            if not isinstance(error, OperationStopped | InstrumentFault):
                error = InstrumentFault(f"{request.call} failed: {error}")
            told = self.left(request, entry.begin_s, error)
            self._ledger.end(entry, self.now_s(), error=error, **told)
        finally:
            self._busy, self._last = "", request.rid

    # The same without waiting in the call

    def submit(
        self,
        operation: Mapping[str, Any],
        *,
        token: str | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        call, rid, given = checks.operation(operation)
        if rid is None:
            raise BadRequest(
                "submit needs an id, under which it can be asked for: "
                "{'call': ..., 'rid': '<run uid>/<step>/<part>', 'arguments': {...}}."
            )
        wait_s = checks.number("submit", "wait_s", wait_s, 0.0, 3600.0, "s")
        asked = self._asked(call, given, rid, token)
        request = Request(call, rid, asked.arguments)
        entry = self._at_once(asked, request, wait_s)
        if entry is None:
            self._require_right(asked)
            entry = self._jobs.add(asked, request, wait_s)
        if entry is None:
            return self.status(rid)
        return {**done(entry), "answer": answer_of(entry)}

    def _at_once(self, asked: Asked, request: Request, wait_s: float) -> Entry | None:
        """Do what takes no longer than the caller waits, if it is nobody's turn."""
        if not wait_s or self._jobs or not self._acting.acquire(blocking=False):
            return None
        try:
            return self._do(asked) if self.soon(request, wait_s) else None
        finally:
            self._acting.release()

    def status(self, rid: str) -> dict[str, Any]:
        split_rid(rid)
        return self._jobs.status(rid)

    def fetch(self, rid: str, wait_s: float = 0.0) -> Any:
        split_rid(rid)
        wait_s = checks.number("fetch", "wait_s", wait_s, 0.0, 3600.0, "s")
        return answer_of(self._jobs.result(rid, wait_s))

    def lines(self, rid: str, after: int = 0, wait_s: float = 0.0) -> dict[str, Any]:
        return self.parts.lines(rid, after, wait_s)

    # The right to act

    def lease(self, ttl_s: float = USUAL_S, holder: str = "") -> Lease:
        return self._desk.take(ttl_s, holder)

    def renew(self, token: str) -> Lease:
        return self._desk.renew(token)

    def release(self, token: str) -> None:
        self._desk.release(token)

    def refused(self, who: str, call: str, why: str) -> None:
        """Note that somebody was refused for who he is; `refusals` tells the last."""
        self._ledger.refused(who, call, why)

    def refusals(self) -> list[dict[str, str]]:
        """Return who was refused lately, what and why, the last one first."""
        return self._ledger.refusals()

    def evict(self) -> str:
        """Take the right to act from whoever has it, and return who that was."""
        return self._desk.evict()

    def answer_first(self) -> None:
        """From now on whoever answers calls `settle` when an answer is on its way."""
        self._ledger.later = True

    def settle(self) -> None:
        """Have the ledger write how operations ended that were answered."""
        self._ledger.settle()

    def stop_waiting(self) -> None:
        """Begin nothing of what waits for its turn: part of every `stop`."""
        self._stops += 1


def answer_of(entry: Entry) -> Any:
    """Return the answer of an entry, or raise what ended it."""
    if entry.error is not None:
        raise type(entry.error)(str(entry.error))  # its own traceback
    # a dictionary is the caller's to change, an array is read-only
    return (
        copy.deepcopy(entry.answer) if isinstance(entry.answer, dict) else entry.answer
    )
