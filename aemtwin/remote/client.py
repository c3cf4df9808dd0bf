"""The proxy of an instrument behind a URI; to a campaign it is the instrument itself.

It repeats a call over a broken connection only where that is safe: a call that does not
act, or one with a request id, which the other side's ledger answers once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import Pyro4
import Pyro4.errors
from numpy.typing import ArrayLike

from aemtwin.codec import answer_from_wire, from_wire
from aemtwin.errors import ProtocolMismatch, Unreachable, WrongType, unknown
from aemtwin.instruments.calls import Calls
from aemtwin.instruments.protocol import Lease, State, split_rid
from aemtwin.measurement import Measurement
from aemtwin.remote.wire import register_errors
from aemtwin.specs import PROTOCOL, InstrumentSpec

log = logging.getLogger(__name__)

PATIENCE_S = 10.0  # for the first answer
SENT = "biufcUS"  # kinds of dtype that travel as numbers or text; not dates or records
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # between attempts at a lost connection


def connect(uri: str) -> RemoteInstrument:
    """Connect to a twin or an instrument.

    Args:
        uri: Such as "PYRO:Instrument_Server@127.0.0.1:9090", as the server prints it.

    Raises:
        Unreachable: If nothing answers there.
        ProtocolMismatch: If it speaks another major version of the protocol.
    """
    return RemoteInstrument(uri)


class RemoteInstrument(Calls):
    """An instrument elsewhere; see `aemtwin.instruments.protocol.Instrument`.

    Calls that never wait have a connection of their own, so that `stop` and `state`
    pass while a scan is under way in another thread.
    """

    def __init__(self, uri: str) -> None:
        register_errors()
        self.uri = uri
        try:
            self._acting, self._asking = Pyro4.Proxy(uri), Pyro4.Proxy(uri)
        except (Pyro4.errors.PyroError, TypeError, AttributeError) as error:
            raise Unreachable(
                f"{uri!r} is not the address of an instrument ({error}). It looks like "
                "PYRO:Instrument_Server@127.0.0.1:9090; `aemtwin serve` prints it."
            ) from None
        for proxy in (self._acting, self._asking):
            proxy._pyroSerializer = "msgpack"
        self._asking._pyroTimeout = PATIENCE_S  # somebody may listen and say nothing
        packed = self._call(self._asking, "describe", again=False)
        self._asking._pyroTimeout = None  # the timeout is of the greeting alone
        major = str(packed.get("protocol", "")).split(".")[0]
        if major != PROTOCOL.split(".")[0]:
            raise ProtocolMismatch(
                f"{uri} speaks version {packed.get('protocol')!r} of the instrument "
                f"protocol, this client {PROTOCOL}. Use matching versions of aemtwin."
            )
        self._spec = from_wire(InstrumentSpec, packed)

    def describe(self) -> InstrumentSpec:
        return self._spec

    def state(self) -> State:
        return from_wire(State, self._call(self._asking, "state"))

    def duration(self, operation: Mapping[str, Any]) -> float:
        return float(self._call(self._asking, "duration", [operation]))

    def stop(self) -> State:
        return from_wire(State, self._call(self._asking, "stop"))

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        return list(self._call(self._asking, "events", [after]))

    def submit(
        self,
        operation: Mapping[str, Any],
        *,
        token: str | None = None,
        wait_s: float = 0.0,
    ) -> dict[str, Any]:
        said = {"token": token, "wait_s": wait_s}
        told = dict(self._call(self._asking, "submit", [operation], said))
        if "answer" in told:
            told["answer"] = answer_from_wire(told["answer"])
        return told

    def status(self, rid: str) -> dict[str, Any]:
        return dict(self._call(self._asking, "status", [rid]))

    def fetch(self, rid: str, wait_s: float = 0.0) -> Any:
        return answer_from_wire(self._call(self._asking, "fetch", [rid, wait_s]))

    def lease(self, ttl_s: float = 10.0, holder: str = "") -> Lease:
        packed = self._call(self._asking, "lease", [ttl_s, holder], again=False)
        return from_wire(Lease, packed)

    def renew(self, token: str) -> Lease:
        return from_wire(Lease, self._call(self._asking, "renew", [token]))

    def release(self, token: str) -> None:
        self._call(self._asking, "release", [token])

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
        packed = self._call(self._asking, "truth", asked)
        return from_wire(Measurement, packed)

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        for proxy in (self._acting, self._asking):
            proxy._pyroRelease()

    def _act(
        self, call: str, given: Mapping[str, Any], rid: str | None, token: str | None
    ) -> Any:
        if rid is not None:
            split_rid(rid)
        writes = call != "pulse" or self._spec.pulses  # else it says that it cannot
        if "encoding" in given and writes:  # the server would take it for its own
            raise unknown(f"{call} parameter", "encoding", [], "See describe().")
        again = rid is not None  # without an id, the answer could be another operation
        said = {**given, "rid": rid, "token": token}
        if said.get("backward") is False:  # 1.1 does not know it
            del said["backward"]
        packed = self._call(self._acting, call, (), said, again=again)
        return answer_from_wire(packed)

    def _call(
        self,
        proxy: Any,
        call: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        again: bool = True,
    ) -> Any:
        args = [_plain(call, value) for value in args]
        kwargs = _plain(call, kwargs or {})
        waits = iter(WAITS_S if again else ())
        while True:
            try:
                return getattr(proxy, call)(*args, **kwargs)
            except Pyro4.errors.SerializeError as error:
                raise WrongType(
                    f"{call} got something that cannot be sent ({error}). Give "
                    "numbers, strings, lists and arrays of numbers."
                ) from None
            except Pyro4.errors.PyroError as error:
                proxy._pyroRelease()
                wait = next(waits, None)
                if wait is None:
                    raise Unreachable(
                        f"No instrument answers {call} at {self.uri} ({error}). Check "
                        "that the server runs (`aemtwin serve` prints its URI)."
                    ) from None
                log.warning("%s: %s; trying again in %g s", call, error, wait)
                time.sleep(wait)


def _plain(call: str, value: Any) -> Any:
    """Turn arrays and NumPy numbers into builtins that msgpack carries.

    Raises:
        WrongType: If it is something that an instrument would not take either.
    """
    plain = not isinstance(value, np.ndarray | np.generic) or value.dtype.kind in SENT
    if isinstance(value, np.ndarray) and plain:
        return _plain(call, value.tolist())
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.generic) and plain:
        return value.item()
    if isinstance(value, Mapping):
        return {_text(str(key)): _plain(call, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(call, item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return math.inf if value > 0 else -math.inf  # beyond every limit
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float | complex):
        return value
    raise WrongType(
        f"{call} got {str(value)[:60]!r} of type {type(value).__name__}. Give numbers, "
        "strings, lists and arrays of numbers."
    )


def _text(value: str) -> str:
    """Return text without the half characters that no wire carries."""
    return value.encode(errors="replace").decode()
