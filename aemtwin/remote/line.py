"""Questions to a server that may be gone for a while, and what is asked again.

Whatever happens to the connections, an operation with an id is done once: it is asked
for by that id until its end is known. `aemtwin.remote.client` makes an instrument of
it, `aemtwin.remote.channel` is one connection.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aemtwin.errors import AemtwinError, NotReady, UnknownName, Unreachable
from aemtwin.remote.arguments import plain
from aemtwin.remote.channel import Address, Channel, Nobody
from aemtwin.remote.connection import Closed, is_loopback
from aemtwin.remote.keys import client_context, explain, keys_folder

log = logging.getLogger(__name__)

PATIENCE_S = 30.0  # for a server that says nothing, unless the caller says otherwise
WAIT_S = 2.0  # that one call waits for the end of an operation
PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4)  # before asking again; then always the last


class Line:
    """Four connections to one server: to act, to ask, to follow, to renew a lease.

    Args:
        uri: Of the instrument.
        keys: See `aemtwin.connect`.
        timeout_s: How long the server may say nothing.

    Attributes:
        host: Of the server.
        folder: Of our keys, if they are used.
        refers: Whether large arrays may come by reference.
    """

    def __init__(self, uri: str, *, keys: str | Path | None, timeout_s: float) -> None:
        self._uri, self._timeout_s = uri, timeout_s
        address = Address(uri)
        folder = keys_folder(keys)
        if is_loopback(address.host):
            folder = None if keys is None else folder
        elif folder is None:
            raise Unreachable(
                f"{uri} is beyond this machine, where nobody is let in without a "
                "certificate. Name the folder of yours: keys=FOLDER, --keys FOLDER or "
                "AEMTWIN_KEYS=FOLDER; whoever serves makes it with `aemtwin keys`. Or "
                "tunnel: ssh -L."
            )
        context = None if folder is None else client_context(folder)
        client = secrets.token_hex(16)  # by which the server knows them as one
        self._acting, self._asking, self._following, self._renewing = (
            Channel(address, client, context, lambda error: explain(error, uri))
            for _ in range(4)
        )
        self.host, self.folder, self.refers = address.host, folder, False

    def ask(
        self,
        call: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask what may be asked twice, and beside an operation that is under way."""
        return self._patiently(self._call(self._asking, call, args, kwargs), call)

    def follow(self, call: str, args: Sequence[Any]) -> Any:
        """Ask what may be asked twice and waits for an answer; by reference, if so."""
        return self._patiently(self._call(self._following, call, args, self._how), call)

    @property
    def _how(self) -> dict[str, Any]:
        return {"encoding": "reference"} if self.refers else {}

    def first(self, call: str, *, timeout_s: float) -> Any:
        """Ask who may be nobody: again only where a connection was made, and broke."""
        for pause_s in (*PAUSES_S, None):
            try:
                return self._asking.call(call, timeout_s=timeout_s)
            except OSError as error:
                broke = isinstance(error, Closed) and not isinstance(error, Nobody)
                if pause_s is None or not broke:
                    raise self._told(call, error) from None
                time.sleep(pause_s)

    def quickly(self, call: str, *args: Any) -> None:
        """Say something that does no harm if it is not heard."""
        try:
            self._asking.call(call, args, timeout_s=1.0)
        except (AemtwinError, OSError) as error:
            log.debug("%s was not heard: %s", call, error)

    def renew(self, token: str, timeout_s: float) -> None:
        """Renew a lease, on a connection of its own."""
        self._renewing.call("renew", [token], timeout_s=timeout_s)

    def submitted(
        self, call: str, rid: str, given: Mapping[str, Any], token: str | None
    ) -> Any:
        """Have an operation done and wait for it, whatever happens to the channel."""
        operation = {"call": call, "rid": rid, "arguments": given}
        more = {"token": token, "wait_s": WAIT_S, **self._how}
        submit = self._call(self._acting, "submit", [operation], more)
        told = self._patiently(submit, call)
        while "answer" not in told:
            fetch = self._call(
                self._acting, "fetch", [rid], {"wait_s": WAIT_S, **self._how}
            )
            try:
                return self._patiently(fetch, call)
            except NotReady:
                continue
            except UnknownName:  # the server was restarted before it began
                told = self._patiently(submit, call)
        return told["answer"]

    def waited_for(self, call: str, said: Mapping[str, Any]) -> Any:
        """Do an operation in one call, however long it takes.

        Without an id nobody can ask what became of it: it is not asked for again.
        """

        def is_there() -> None:
            self._asking.call("state", timeout_s=self._timeout_s)

        how = self._how if call in ("scan", "trace", "measure") else {}
        given, timeout_s = {**plain(call, said), **how}, self._timeout_s
        try:
            return self._acting.call(
                call, (), given, timeout_s=timeout_s, meanwhile=is_there
            )
        except OSError as error:
            raise self._told(call, error) from None

    def close(self) -> None:
        """Close the connections; the next question opens them again."""
        for channel in (self._acting, self._asking, self._following, self._renewing):
            channel.close()

    def _call(
        self,
        channel: Channel,
        call: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callable[[float], Any]:
        """Return a question that can be asked more than once, with a time for each."""
        listed = [plain(call, value) for value in args]
        named = plain(call, kwargs) if kwargs else {}
        return lambda timeout_s: channel.call(call, listed, named, timeout_s=timeout_s)

    def _patiently(self, asked: Callable[[float], Any], call: str) -> Any:
        """Ask until there is an answer, for as long as the server may be silent."""
        until = time.monotonic() + self._timeout_s
        each = max(self._timeout_s / 3, WAIT_S + 1.0)
        pauses = iter(PAUSES_S)
        while True:
            left = until - time.monotonic()
            try:
                return asked(max(min(each, left), 1e-3))
            except OSError as error:
                told = self._told(call, error)
                final = told is error and not isinstance(error, Unreachable)
                pause = next(pauses, PAUSES_S[-1])
                if final or time.monotonic() + pause >= until:
                    raise told from None
                log.info("%s: %s; asking again", call, error)
                time.sleep(pause)

    def _told(self, call: str, error: OSError) -> OSError:
        """Return what a caller is told of an error: an answer is told as it is."""
        if isinstance(error, AemtwinError):
            return error
        return Unreachable(
            f"No instrument answers {call} at {self._uri} ({error}). Check that the "
            "server runs (`aemtwin serve` prints its URI)."
        )
