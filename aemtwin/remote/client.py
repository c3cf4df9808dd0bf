"""The proxy of an instrument behind a URI; to a campaign it is the instrument itself.

An operation with a request id is submitted and waited for in short calls, so that none
of them is long. Where a connection breaks, or the server says nothing, it is asked by
that id what became of it: whatever happened, it is done once. Calls that do not act are
simply asked again.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from aemtwin.codec import answer_from_wire, from_wire
from aemtwin.errors import (
    AemtwinError,
    LeaseRefused,
    NotReady,
    ProtocolMismatch,
    UnknownName,
    Unreachable,
    unknown,
)
from aemtwin.instruments.calls import Calls
from aemtwin.instruments.protocol import Lease, State, split_rid
from aemtwin.measurement import Measurement
from aemtwin.remote.arguments import plain
from aemtwin.remote.channel import Address, Channel
from aemtwin.remote.holding import Holding
from aemtwin.remote.keys import client_context, explain, keys_folder
from aemtwin.remote.server import is_loopback
from aemtwin.specs import PROTOCOL, InstrumentSpec

log = logging.getLogger(__name__)

PATIENCE_S = 30.0  # for a server that says nothing, unless the caller says otherwise
GREETING_S = 10.0  # for the first answer of all, at most
WAIT_S = 2.0  # that one call waits for the end of an operation
PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # before asking again; then always the last


def connect(
    uri: str, *, keys: str | Path | None = None, timeout_s: float = PATIENCE_S
) -> RemoteInstrument:
    """Connect to a twin or an instrument.

    Args:
        uri: Such as "PYRO:Instrument_Server@127.0.0.1:9090", as the server prints it.
        keys: The folder of our certificate (`aemtwin keys`); default: the one that the
            variable AEMTWIN_KEYS of the environment names. Beyond this machine
            everything is encrypted, and nobody is let in without one.
        timeout_s: How long the server may say nothing, or be gone, until
            `Unreachable` is raised. How long an operation takes does not count.

    Raises:
        Unreachable: If nothing answers there.
        AccessRefused: If we are not let in.
        ProtocolMismatch: If it speaks another major version of the protocol.
    """
    return RemoteInstrument(uri, keys=keys, timeout_s=timeout_s)


class RemoteInstrument(Calls):
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
    ) -> None:
        self.uri, self._timeout_s = uri, timeout_s
        address = Address(uri)
        folder = keys if keys is not None else None
        if folder is None and not is_loopback(address.host):
            folder = keys_folder(None)
            if folder is None:
                raise Unreachable(
                    f"{uri} is beyond this machine, where nobody is let in without a "
                    "certificate. Name the folder of yours: keys=FOLDER, --keys FOLDER "
                    "or AEMTWIN_KEYS=FOLDER; whoever serves makes it with `aemtwin "
                    "keys`. Or tunnel: ssh -L."
                )
        context = None if folder is None else client_context(folder)
        self._acting, self._asking, self._renewing = (
            Channel(address, client, context, lambda error: explain(error, uri))
            for client in [secrets.token_hex(16)]
            for _ in range(3)
        )
        self._holding: Holding | None = None
        packed = self._once("describe", timeout_s=min(timeout_s, GREETING_S))
        major, _, minor = str(packed.get("protocol", "")).partition(".")
        if major != PROTOCOL.split(".")[0]:
            self.close()
            raise ProtocolMismatch(
                f"{uri} speaks version {packed.get('protocol')!r} of the instrument "
                f"protocol, this client {PROTOCOL}. Use matching versions of aemtwin."
            )
        self._submits = int(minor or 0) >= 3  # what came with 1.3
        self._spec = from_wire(InstrumentSpec, packed)

    # What never waits for an operation

    def describe(self) -> InstrumentSpec:
        return self._spec

    def state(self) -> State:
        return from_wire(State, self._ask("state"))

    def duration(self, operation: Mapping[str, Any]) -> float:
        return float(self._ask("duration", [operation]))

    def stop(self) -> State:
        return from_wire(State, self._ask("stop"))

    def events(self, after: int = 0, most: int | None = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while most is None or len(found) < most:
            more = [] if most is None else [most - len(found)]
            block = list(self._ask("events", [after, *more]))
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
        return from_wire(Measurement, self._ask("truth", asked))

    def submit(
        self,
        operation: Mapping[str, Any],
        *,
        token: str | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        said = {"token": self._token(token), "wait_s": wait_s}
        told = dict(self._ask("submit", [operation], said))
        if "answer" in told:
            told["answer"] = answer_from_wire(told["answer"])
        return told

    def status(self, rid: str) -> dict[str, Any]:
        return dict(self._ask("status", [rid]))

    def fetch(self, rid: str, wait_s: float = 0.0) -> Any:
        return answer_from_wire(self._ask("fetch", [rid, wait_s]))

    # The right to act

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
        self._holding = Holding(lease, holder, self._take, self._renew)
        return lease

    def renew(self, token: str) -> Lease:
        return from_wire(Lease, self._ask("renew", [token]))

    def release(self, token: str | None = None) -> None:
        """Give the right to act back; without a token that which `lease` took."""
        holding = self._holding
        if holding is not None and token in (None, holding.lease.token):
            self._holding = None
            holding.end()
            token = holding.lease.token
        if token is not None:
            self._ask("release", [token])

    def evict(self) -> str:
        """Take the right to act from whoever has it: for an admin."""
        return str(self._ask("evict"))

    def close(self) -> None:
        """Give back what was taken and close the connections.

        The next call opens them again.
        """
        if self._holding is not None:
            try:
                self._timeout_s, timeout_s = 1.0, self._timeout_s
                self.release()
            except Exception as error:  # it ends by itself
                log.debug("the lease was not released: %s", error)
            finally:
                self._timeout_s = timeout_s
        for channel in (self._acting, self._asking, self._renewing):
            channel.close()

    def _take(self, ttl_s: float, holder: str) -> Lease:
        return from_wire(Lease, self._ask("lease", [ttl_s, holder]))

    def _renew(self, token: str, timeout_s: float) -> None:
        self._renewing.call("renew", [token], timeout_s=timeout_s)

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
                return self._submitted(call, rid, said, shown)
            more = {"rid": rid, "token": shown}
            return self._waited_for(call, {**said, **more})

        try:
            return answer_from_wire(once())
        except LeaseRefused:
            if not own or self._holding is None or not self._holding.regained():
                raise
            return answer_from_wire(once())  # nobody had it in between

    def _submitted(
        self, call: str, rid: str, given: Mapping[str, Any], token: str | None
    ) -> Any:
        """Have an operation done and wait for it, whatever happens to the channel."""
        operation = {"call": call, "rid": rid, "arguments": given}
        more = {"token": token, "wait_s": WAIT_S}
        submit = self._call(self._acting, "submit", [operation], more)
        told = self._with_patience(submit, call)
        if "answer" in told:
            return told["answer"]
        fetch = self._call(self._acting, "fetch", [rid], {"wait_s": WAIT_S})
        while "answer" not in told:
            try:
                return self._with_patience(fetch, call)
            except NotReady:
                continue
            except UnknownName:  # the server was restarted before it began
                told = self._with_patience(submit, call)
        return told["answer"]

    def _waited_for(self, call: str, said: Mapping[str, Any]) -> Any:
        """Do an operation in one call, however long it takes.

        Without an id nobody can ask what became of it: it is not asked for again.
        """
        try:
            return self._acting.call(
                call,
                (),
                plain(call, said),
                timeout_s=self._timeout_s,
                meanwhile=lambda: self._asking.call("state", timeout_s=self._timeout_s),
            )
        except OSError as error:
            if isinstance(error, AemtwinError):
                raise
            raise self._unreachable(call, error) from None

    def _ask(
        self,
        call: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        asked = self._call(self._asking, call, args, kwargs)
        return self._with_patience(asked, call)

    def _once(self, call: str, *, timeout_s: float) -> Any:
        try:
            return self._asking.call(call, timeout_s=timeout_s)
        except OSError as error:
            raise self._unreachable(call, error) from None

    def _call(
        self,
        channel: Channel,
        call: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callable[[float], Any]:
        """Return a question that can be asked more than once, with a time for each."""
        listed = [plain(call, value) for value in args]
        named = plain(call, kwargs or {})
        return lambda timeout_s: channel.call(call, listed, named, timeout_s=timeout_s)

    def _with_patience(self, asked: Callable[[float], Any], call: str) -> Any:
        """Ask until there is an answer, for as long as the server may be silent."""
        until = time.monotonic() + self._timeout_s
        each = max(self._timeout_s / 3, WAIT_S + 1.0)
        pauses = iter(PAUSES_S)
        while True:
            left = until - time.monotonic()
            try:
                return asked(max(min(each, left), 1e-3))
            except OSError as error:
                if isinstance(error, AemtwinError):  # an answer, and no good one
                    raise
                pause = next(pauses, PAUSES_S[-1])
                if time.monotonic() + pause >= until:
                    raise self._unreachable(call, error) from None
                log.info("%s: %s; asking again", call, error)
                time.sleep(pause)

    def _unreachable(self, call: str, error: OSError) -> Unreachable:
        return Unreachable(
            f"No instrument answers {call} at {self.uri} ({error}). Check that the "
            "server runs (`aemtwin serve` prints its URI)."
        )
