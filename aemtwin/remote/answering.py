"""Who may call what of an instrument: the calls of sessions, each answered in builtins.

What the calls mean (ids, ledger, leases, order) is the instrument's own. Who comes in
at all is up to `aemtwin.remote.door`; `aemtwin.remote.server` opens it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from aemtwin.codec import require_encoding, to_wire
from aemtwin.errors import AccessRefused, LeaseRefused, NotSupported, TruthRefused
from aemtwin.instruments.acting import Acting
from aemtwin.instruments.protocol import Instrument, Lease
from aemtwin.remote.keys import ROLES
from aemtwin.remote.offering import NO_TRUTH, Offered
from aemtwin.remote.speaking import Session

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

LOOKING = (
    *("describe", "state", "duration", "events", "status", "fetch", "truth"),
    *("lines", "piece", "recordings"),
)
MOVING = ("configure", "move_to", "scan", "trace", "measure", "pulse", "submit")
HOLDING = ("lease", "renew", "release")
NEEDS = {  # the least role of each call; anybody may stop
    **dict.fromkeys((*LOOKING, "stop"), "observe"),
    **dict.fromkeys((*MOVING, *HOLDING), "operate"),
    "evict": "admin",
}
RANK = {role: rank for rank, role in enumerate(ROLES)}
ENCODED = (*LOOKING, "stop", "move_to", "scan", "trace", "measure", "submit")
REFERRED = ("scan", "trace", "measure", "submit", "fetch", "lines")  # may be large
GIVEN = 1000  # of the last who asked for a lease it is known which
EVENTS = 500  # at most in one answer
WAIT_S = 10.0  # a call does not wait longer for what was submitted
LEAVING_S = 0.5  # until a connection that was closed is surely seen to be
BOUND_S = 30.0  # a lease of a connection ends so long after its last call that acts


class InstrumentServer:
    """Answers the calls of sessions; every answer is made of builtins.

    Arrays are `{"shape", "dtype", "data", "units"}` with `data` as bytes; a plain
    client that prefers nested lists says `encoding="list"`.
    """

    def __init__(
        self, instrument: Instrument, *, truth: bool, offered: Offered
    ) -> None:
        self._instrument, self._truth, self._offered = instrument, truth, offered
        self._leases = hasattr(instrument, "lease")
        self._lock = threading.Lock()
        self._bound: dict[str, Lease] = {}  # whose connections -> their lease
        self._given: dict[str, Lease] = {}  # the same, of those that asked for one
        self._there: dict[str, int] = {}  # whose -> how many connections
        if isinstance(instrument, Acting):
            instrument.answer_first()

    def answer(
        self, session: Session, call: str, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Answer one call of a session.

        Raises:
            AccessRefused: If it is not for the session's role.
            AemtwinError: Whatever the instrument raises.
        """
        self._require_role(session, call)
        encoding = kwargs.pop("encoding", "bytes") if call in ENCODED else "bytes"
        refer = encoding == "reference" and call in REFERRED and not session.plain
        encoding = require_encoding("bytes" if refer else encoding)
        if encoding == "bytes" and not session.plain:
            encoding = "view"  # it is packed before anything else happens
        if call == "describe":
            return self._offered.describe(
                to_wire(self._instrument.describe(), encoding)
            )
        elif call == "lease":
            lease = self._soon(lambda: self._lease(session, *args, **kwargs))
            return to_wire(lease)
        elif call == "events":
            return self._events(*args, **kwargs)
        elif call == "truth":
            return to_wire(self._tell_truth(*args, **kwargs), encoding)
        elif call == "piece":
            return self._offered.piece(*args, **kwargs)
        elif call == "recordings":
            return self._offered.recordings(session.peer)
        if call in ("submit", "fetch", "lines"):
            if (wait_s := kwargs.get("wait_s")) is not None:
                kwargs["wait_s"] = min(wait_s, WAIT_S)
        do = getattr(self._instrument, call)
        if call in MOVING and kwargs.get("token") is None and self._leases:
            found = self._soon(lambda: self._bound_to(session, do, args, kwargs))
        else:
            found = do(*args, **kwargs)
        if call == "lines":
            return self._offered.lines(found, "reference" if refer else encoding)
        if refer:
            return self._offered.by_reference(found, session.peer)
        return to_wire(found, encoding)

    def answered(self, call: str) -> None:
        """Do what can wait until an answer has been sent."""
        if call in MOVING and isinstance(self._instrument, Acting):
            self._instrument.settle()

    def left(self, session: Session) -> None:
        """Free what was bound to a connection that ended."""
        with self._lock:
            mine = _key(session)
            self._there[mine] = self._there.get(mine, 0) - 1
            if self._there[mine] > 0:
                return
            del self._there[mine]
            if not session.client:  # it lasts as long as it is renewed
                self._given.pop(mine, None)
            lease = self._bound.pop(mine, None)
        if lease is not None:
            self._instrument.release(lease.token)

    def came(self, session: Session) -> None:
        """Count a connection that came in."""
        with self._lock:
            self._there[_key(session)] = self._there.get(_key(session), 0) + 1

    def _require_role(self, session: Session, call: str) -> None:
        needed, role = NEEDS[call], session.caller.role
        if RANK[role] >= RANK[needed]:
            return
        error = AccessRefused(
            f"{call} is for the role {needed!r}, and {session.caller.name!r} has "
            f"{role!r}. Ask whoever keeps the keys for a certificate with that role."
        )
        log.warning("%s: %s", session.who, error)
        if isinstance(self._instrument, Acting):
            self._instrument.refused(session.who, call, str(error))
        raise error

    @staticmethod
    def _soon(ask: Callable[[], Answer]) -> Answer:
        """Ask for what another may hold, who may just be gone and not be missed yet."""
        until = time.monotonic() + LEAVING_S
        while True:
            try:
                return ask()
            except LeaseRefused:
                if time.monotonic() >= until:
                    raise
            time.sleep(LEAVING_S / 20)

    def _bound_to(
        self,
        session: Session,
        do: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """Act by the lease of a connection, taken if nobody has one.

        Where another has, the instrument decides: what was done already is told to
        everybody.
        """
        key, taken = _key(session), False
        with self._lock:
            lease = self._bound.get(key)
            if lease is None:
                with suppress(LeaseRefused):
                    lease = self._instrument.lease(BOUND_S, session.who)
                    self._bound[key], taken = lease, True
        try:
            return do(*args, **{**kwargs, "token": lease and lease.token})
        except Exception as error:
            ended = isinstance(error, LeaseRefused)  # it was silent for too long
            with self._lock:
                if (taken or ended) and self._bound.get(key) is lease:
                    self._bound.pop(key, None)
            if taken and lease is not None:  # bad input changes nothing
                self._instrument.release(lease.token)
            raise

    def _lease(self, session: Session, ttl_s: float = 10.0, holder: str = "") -> Lease:
        """Give a lease; what the same client has already makes way for it.

        So it may ask again where the answer was lost.
        """
        who = f"{holder[:80]} ({session.who})" if holder else session.who
        with self._lock:
            for held in (self._bound, self._given):
                if (lease := held.pop(_key(session), None)) is not None:
                    self._instrument.release(lease.token)
            lease = self._instrument.lease(ttl_s, who)
            # also when its connections are gone: the answer may have been lost
            self._given[_key(session)] = lease
            while len(self._given) > GIVEN:
                del self._given[next(iter(self._given))]
            return lease

    def _events(self, after: int = 0, most: int | None = None) -> Any:
        most = EVENTS if most is None else min(most, EVENTS)
        return to_wire(self._instrument.events(after, most))

    def _tell_truth(self, *args: Any, **kwargs: Any) -> Any:
        tell = getattr(self._instrument, "truth", None)
        if tell is None:
            raise NotSupported("truth is known of a twin only; this is an instrument.")
        if not self._truth:
            raise TruthRefused(NO_TRUTH)
        return tell(*args, **kwargs)


def _key(session: Session) -> str:
    return session.client or f"connection {session.number}"
