"""An instrument behind a Pyro4 URI: one object, `Instrument_Server`, for all clients.

Our own client speaks msgpack, a plain `Pyro4.Proxy` serpent; each call is answered in
the serializer in which it came. What the calls mean (ids, ledger, leases, order) is the
instrument's own; here is who may call what. Who comes in at all is up to
`aemtwin.remote.door`; `aemtwin.remote.client` is the other side.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aemtwin.codec import require_encoding, to_wire
from aemtwin.errors import (
    AccessRefused,
    LeaseRefused,
    NotSupported,
    OutOfRange,
    TruthRefused,
)
from aemtwin.instruments.acting import Acting
from aemtwin.instruments.allowed import Allowed, read_allowed
from aemtwin.instruments.protocol import Instrument, Lease
from aemtwin.remote.connection import is_loopback
from aemtwin.remote.door import Door
from aemtwin.remote.keys import ROLES, server_context
from aemtwin.remote.speaking import Session, Speaker

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

OBJECT_ID = "Instrument_Server"
LOOKING = ("describe", "state", "duration", "events", "status", "fetch", "truth")
MOVING = ("configure", "move_to", "scan", "trace", "measure", "pulse", "submit")
HOLDING = ("lease", "renew", "release")
NEEDS = {  # the least role of each call; anybody may stop
    **dict.fromkeys((*LOOKING, "stop"), "observe"),
    **dict.fromkeys((*MOVING, *HOLDING), "operate"),
    "evict": "admin",
}
RANK = {role: rank for rank, role in enumerate(ROLES)}
ENCODED = (*LOOKING, "stop", "move_to", "scan", "trace", "measure", "submit")
EVENTS = 500  # at most in one answer
BACKLOG = 1024  # connections that wait in the system: none is dropped and tries later
WAIT_S = 10.0  # a call does not wait longer for what was submitted
LEAVING_S = 0.5  # until a connection that was closed is surely seen to be
BOUND_S = 30.0  # a lease of a connection ends so long after its last call that acts


class InstrumentServer:
    """Answers the calls of sessions; every answer is made of builtins.

    Arrays are `{"shape", "dtype", "data", "units"}` with `data` as bytes; a plain
    client that prefers nested lists says `encoding="list"`.
    """

    def __init__(self, instrument: Instrument, *, truth: bool) -> None:
        self._instrument, self._truth = instrument, truth
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
        encoding = require_encoding(encoding)
        if encoding == "bytes" and not session.plain:
            encoding = "view"  # it is packed before anything else happens
        if call == "lease":
            lease = self._soon(lambda: self._lease(session, *args, **kwargs))
            return to_wire(lease)
        elif call == "events":
            return self._events(*args, **kwargs)
        elif call == "truth":
            return to_wire(self._tell_truth(*args, **kwargs), encoding)
        if call in ("submit", "fetch"):
            if (wait_s := kwargs.get("wait_s")) is not None:
                kwargs["wait_s"] = min(wait_s, WAIT_S)
        do = getattr(self._instrument, call)
        if call in MOVING and kwargs.get("token") is None and self._leases:
            found = self._soon(lambda: self._bound_to(session, do, args, kwargs))
        else:
            found = do(*args, **kwargs)
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
            self._given.pop(mine, None)  # it lasts as long as it is renewed
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
            self._given[_key(session)] = lease
            return lease

    def _events(self, after: int = 0, most: int | None = None) -> Any:
        most = EVENTS if most is None else min(most, EVENTS)
        return to_wire(self._instrument.events(after, most))

    def _tell_truth(self, *args: Any, **kwargs: Any) -> Any:
        tell = getattr(self._instrument, "truth", None)
        if tell is None:
            raise NotSupported("truth is known of a twin only; this is an instrument.")
        if not self._truth:
            raise TruthRefused(
                "This twin is served without its truth. Serve it with --truth "
                "(serve(twin, truth=True)) to score a run against it."
            )
        return tell(*args, **kwargs)


def _key(session: Session) -> str:
    return session.client or f"connection {session.number}"


class Server:
    """A running server; leaving the `with` block, or `close`, ends it.

    Attributes:
        uri: What a client connects to.
    """

    def __init__(self, door: Door, uri: str) -> None:
        self._door, self.uri = door, uri

    def close(self) -> None:
        """Stop answering, connected clients too. Safe to call twice."""
        self._door.close()

    def wait(self) -> None:
        """Block until the server is closed."""
        while self._door.open:
            self._door.wait(0.5)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def serve(
    instrument: Instrument,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    truth: bool = False,
    keys: str | Path | None = None,
    serpent: bool | None = None,
    limits: Allowed | str | Path | None = None,
) -> Server:
    """Put an instrument behind a URI, in threads of this process.

    Args:
        instrument: A twin, or whatever else satisfies the protocol.
        host: Where to listen; beyond a loopback address only with `keys`.
        port: 0 for a free one.
        truth: Whether clients may ask for the noise-free data, to score runs.
        keys: The folder of the server's certificate (`aemtwin keys`): everybody must
            then show one of the same authority, and may do what its role says.
        serpent: Whether plain Pyro4 clients, which speak it, are served. Default: on
            a loopback address.
        limits: What clients are allowed to do with it, or the file that says so
            (docs/channels.md).

    Raises:
        NotSupported: If `host` is not a loopback address and there are no keys, or the
            instrument cannot be limited.
        BadFile: If the keys cannot be read, or are not those of a server.
        OutOfRange: If the port cannot be had.

    >>> import aemtwin
    >>> with serve(aemtwin.open_twin("pfm_loops")) as server:
    ...     aemtwin.connect(server.uri).describe().kind
    'afm'
    """
    local = is_loopback(host)
    if not local and keys is None:
        raise NotSupported(
            f"serve got host {host!r}, which others can reach, and no keys. Make some "
            "with `aemtwin keys FOLDER` and serve with --keys FOLDER/server, stay on a "
            "loopback address (127.0.0.1, localhost, ::1), or reach it through a "
            "tunnel, such as ssh -L."
        )
    if not 0 <= port < 2**16:
        raise OutOfRange(
            f"serve got port {port}; ports go from 1 to 65535. Choose another port, or "
            "0 for a free one."
        )
    context = None if keys is None else server_context(keys, host)
    if limits is not None:
        _limit(instrument, limits)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise OutOfRange(
            f"serve cannot listen on {host}:{port} ({error}). Choose another port, or "
            "0 for a free one."
        ) from None
    answers = InstrumentServer(instrument, truth=truth)
    speaker = Speaker(
        OBJECT_ID,
        sorted(NEEDS),
        answers.answer,
        answers.answered,
        context=context,
        serpent=local if serpent is None else serpent,
    )
    door = Door(listener, speaker, came=answers.came, left=answers.left)
    shown = f"[{host}]" if ":" in host else host
    uri = f"PYRO:{OBJECT_ID}@{shown}:{listener.getsockname()[1]}"
    log.info("serving %s at %s", instrument.describe().name, uri)
    return Server(door, uri)


def _limit(instrument: Instrument, limits: Allowed | str | Path) -> None:
    if not isinstance(instrument, Acting):
        raise NotSupported(
            f"{instrument.describe().name} cannot be limited: it keeps no ledger of "
            "its own. Serve it without limits, or as an aemtwin driver."
        )
    allowed = limits if isinstance(limits, Allowed) else read_allowed(Path(limits))
    for name in instrument.limit(allowed):
        log.warning("the limit %s finds nothing to limit in this instrument", name)
