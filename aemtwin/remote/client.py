"""The proxy of an instrument behind a URI; to a campaign it is the instrument itself.

An operation with a request id is submitted and waited for in short calls, so that none
of them is long. Where a connection breaks, or the server says nothing, it is asked by
that id what became of it: whatever happened, it is done once. Calls that do not act are
simply asked again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from aemtwin.codec import from_wire
from aemtwin.errors import (
    AccessRefused,
    LeaseRefused,
    ProtocolMismatch,
    TooFast,
    unknown,
)
from aemtwin.instruments.protocol import Lease, State, split_rid
from aemtwin.measurement import Measurement
from aemtwin.remote.holding import Holding
from aemtwin.remote.keys import keys_folder
from aemtwin.remote.large import Large
from aemtwin.remote.line import PATIENCE_S, Line
from aemtwin.specs import PROTOCOL, InstrumentSpec

log = logging.getLogger(__name__)

GREETING_S = 10.0  # for the first answer of all, at most


def connect(
    uri: str,
    *,
    keys: str | Path | None = None,
    timeout_s: float = PATIENCE_S,
    data: bool | str = True,
) -> RemoteInstrument:
    """Connect to a twin or an instrument.

    Args:
        uri: Such as "PYRO:Instrument_Server@127.0.0.1:9090", as the server prints it.
        keys: The folder of our certificate (`aemtwin keys`); default: the one that the
            variable AEMTWIN_KEYS of the environment names. Beyond this machine
            everything is encrypted, and nobody is let in without one.
        timeout_s: How long the server may say nothing, or be gone, until
            `Unreachable` is raised. How long an operation takes does not count.
        data: Whether large results come by the data channel, if the server has one;
            or where it is, "tcp://host:port", if that is not what the server says.

    Raises:
        Unreachable: If nothing answers there.
        AccessRefused: If we are not let in.
        ProtocolMismatch: If it speaks another major version of the protocol.
    """
    return RemoteInstrument(uri, keys=keys, timeout_s=timeout_s, data=data)


class RemoteInstrument(Large):
    """An instrument elsewhere; see `aemtwin.instruments.protocol.Instrument`.

    Calls that never wait have a connection of their own, so that `stop` and `state`
    pass while a scan is under way in another thread.
    """

    def __init__(
        self,
        uri: str,
        *,
        keys: str | Path | None = None,
        timeout_s: float = PATIENCE_S,
        data: bool | str = True,
    ) -> None:
        self.uri = uri
        self._line = Line(uri, keys=keys, timeout_s=timeout_s)
        self._holding: Holding | None = None
        first_s = min(timeout_s, GREETING_S)
        try:
            packed = self._line.first("describe", timeout_s=first_s)
        except AccessRefused:  # on this machine most speak without TLS, and some do not
            ours = keys_folder(None)
            if keys is not None or ours is None:
                raise
            self._line = Line(uri, keys=ours, timeout_s=timeout_s)
            packed = self._line.first("describe", timeout_s=first_s)
        self._puller = self._pulling(data, timeout_s)
        major, _, minor = str(packed.get("protocol", "")).partition(".")
        if major != PROTOCOL.split(".")[0]:
            self.close()
            raise ProtocolMismatch(
                f"{uri} speaks version {packed.get('protocol')!r} of the instrument "
                f"protocol, this client {PROTOCOL}. Use matching versions of aemtwin."
            )
        self._submits = int(minor or 0) >= 3  # what came with 1.3
        self._has_lines = int(minor or 0) >= 4  # and with 1.4
        endpoints = packed.pop("endpoints", None) or {}  # they are not the instrument
        self._spec = from_wire(InstrumentSpec, packed)
        self._puller.told(endpoints)
        self._line.refers = self._puller.on

    def __repr__(self) -> str:
        return f"<{self._spec.name}, {self._spec.kind}, at {self.uri}>"

    # What never waits for an operation

    def describe(self) -> InstrumentSpec:
        return self._spec

    def state(self) -> State:
        return from_wire(State, self._line.ask("state"))

    def duration(self, operation: Mapping[str, Any]) -> float:
        return float(self._line.ask("duration", [operation]))

    def stop(self) -> State:
        return from_wire(State, self._line.ask("stop"))

    def events(self, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while most is None or len(found) < most:
            more = [] if most is None else [most - len(found)]
            block = list(self._line.ask("events", [after, *more]))
            found += block
            if not block or not self._submits:  # before 1.3 all came at once
                break
            after = block[-1]["n"]
        return found

    def truth(
        self,
        mode: str | None = None,
        points: ArrayLike | None = None,
        dwell_s: float | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> Measurement:
        """Return what `mode` would measure without noise; see `Twin.truth`.

        Raises:
            TruthRefused: If the twin is served without it.
        """
        asked = [mode, points, dwell_s, parameters]
        while asked and asked[-1] is None:  # older servers take fewer
            asked.pop()
        return from_wire(Measurement, self._line.ask("truth", asked))

    def submit(
        self,
        operation: Mapping[str, Any],
        *,
        token: str | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        said = {"token": self._token(token), "wait_s": wait_s}
        told = dict(self._line.ask("submit", [operation], said))
        if "answer" in told:
            told["answer"] = self._answer(told["answer"])
        return told

    def status(self, rid: str) -> dict[str, Any]:
        return dict(self._line.ask("status", [rid]))

    def fetch(self, rid: str, wait_s: float = 0.0) -> Any:
        return self._answer(self._line.follow("fetch", [rid, wait_s]))

    # The right to act

    @property
    def may_be_leased(self) -> bool:
        """Whether the server knows leases at all: an older one does not."""
        return self._submits

    @property
    def holds(self) -> bool:
        """Whether `lease` was taken here and not released."""
        return self._holding is not None

    def lease(
        self, ttl_s: float = 10.0, holder: str = "", *, wait_s: float = 0.0
    ) -> Lease:
        """Take the right to act, and keep it until `release` or `close`.

        It is renewed in the background, and its token goes with every call that acts.
        If the time ran out all the same, because this process or the server had been
        paused or the server restarted, it is taken again, but only where nobody has
        held it in between.

        Args:
            ttl_s: How long it lasts without a sign of life from this process.
            holder: Who is to be named to others.
            wait_s: How long to wait for another to let go.

        Raises:
            LeaseRefused: If another has it.
        """
        until = time.monotonic() + wait_s
        while True:
            try:
                lease = self._take(ttl_s, holder)
                break
            except LeaseRefused as error:
                if time.monotonic() >= until:
                    raise
                log.info("waiting: %s", error)
                time.sleep(0.2)
        if self._holding is not None:
            self._holding.end()
        self._holding = Holding(lease, holder, self._take, self._renew, self._give_back)
        return lease

    def renew(self, token: str) -> Lease:
        return from_wire(Lease, self._line.ask("renew", [token]))

    def release(self, token: str | None = None) -> None:
        """Give the right to act back; without a token that which `lease` took."""
        holding = self._holding
        if holding is not None and token in (None, holding.lease.token):
            self._holding = None
            holding.end()
            token = holding.lease.token
        if token is not None:
            self._give_back(token)

    def evict(self) -> str:
        """Take the right to act from whoever has it: for an admin."""
        return str(self._line.ask("evict"))

    def close(self) -> None:
        """Give back what was taken and close the connections.

        The next call opens them again.
        """
        if self._holding is not None:
            self._holding.end()
            self._line.quickly("release", self._holding.lease.token)
            self._holding = None
        self._line.close()
        self._puller.close()

    def _take(self, ttl_s: float, holder: str) -> Lease:
        return from_wire(Lease, self._line.ask("lease", [ttl_s, holder]))

    def _give_back(self, token: str) -> None:
        self._line.ask("release", [token])

    def _renew(self, token: str, timeout_s: float) -> None:
        self._line.renew(token, timeout_s)

    def _token(self, token: str | None) -> str | None:
        if token is None and self._holding is not None:
            return self._holding.lease.token
        return token

    # How it acts

    def _act(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Any:
        if rid is not None:
            split_rid(rid)
        writes = call != "pulse" or self._spec.pulses  # else it says that it cannot
        if "encoding" in given and writes:  # the server would take it for its own
            raise unknown(f"{call} parameter", "encoding", [], "See describe().")
        said = dict(given)
        if said.get("backward") is False:  # 1.1 does not know it
            del said["backward"]
        own = token is None and self._holding is not None

        def once() -> Any:
            shown = self._token(token)
            if rid is not None and self._submits:
                return self._line.submitted(call, rid, said, shown)
            return self._line.waited_for(call, {**said, "rid": rid, "token": shown})

        while True:
            try:
                return self._answer(once())
            except LeaseRefused:
                if not own or self._holding is None or not self._holding.regained():
                    raise
                own = False  # nobody had it in between: once more
            except TooFast as error:
                log.info("%s", error)
                rate_hz = self._spec.limits.allowed.get("rate_hz")
                if not rate_hz:
                    raise
                time.sleep(1.0 / rate_hz)
