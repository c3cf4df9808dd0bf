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
from numpy.typing import ArrayLike, NDArray

from aemtwin.codec import array_from_wire, from_wire
from aemtwin.errors import ProtocolMismatch, Unreachable, WrongType, unknown
from aemtwin.instruments.protocol import Instrument, State, split_rid
from aemtwin.measurement import Measurement
from aemtwin.remote.wire import register_errors
from aemtwin.specs import PROTOCOL, Bounds, InstrumentSpec

log = logging.getLogger(__name__)

PATIENCE_S = 10.0  # for the first answer
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


class RemoteInstrument(Instrument):
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

    def truth(
        self,
        mode: str | None = None,
        points: ArrayLike | None = None,
        dwell_s: float | None = None,
    ) -> Measurement:
        """Return what `mode` would measure without noise; see `Twin.truth`.

        Raises:
            TruthRefused: If the twin is served without it.
        """
        asked = [mode, points] if dwell_s is None else [mode, points, dwell_s]
        packed = self._call(self._asking, "truth", asked)  # 1.0 took two
        return from_wire(Measurement, packed)

    def configure(
        self, *, rid: str | None = None, token: str | None = None, **settings: float
    ) -> dict[str, float]:
        return dict(self._act("configure", rid, token, dict(settings)))

    def move_to(
        self,
        position: ArrayLike,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> NDArray[np.float64]:
        return array_from_wire(self._act("move_to", rid, token, {"position": position}))

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
        packed = self._act(
            "scan",
            rid,
            token,
            {
                "region": region,
                "shape": shape,
                "channels": channels,
                "dwell_s": dwell_s,
                "rotation": rotation,
            },
        )
        return from_wire(Measurement, packed)

    def trace(
        self,
        points: ArrayLike,
        channels: Sequence[str] | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
    ) -> Measurement:
        packed = self._act(
            "trace",
            rid,
            token,
            {"points": points, "channels": channels, "dwell_s": dwell_s},
        )
        return from_wire(Measurement, packed)

    def measure(
        self,
        mode: str | None = None,
        dwell_s: float | None = None,
        *,
        rid: str | None = None,
        token: str | None = None,
        **parameters: float,
    ) -> Measurement:
        if "encoding" in parameters:  # the server would take it for its own
            raise unknown("measure parameter", "encoding", [], "See describe().modes.")
        given = {"mode": mode, "dwell_s": dwell_s, **parameters}
        packed = self._act("measure", rid, token, given)
        return from_wire(Measurement, packed)

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
        return dict(self._act("pulse", rid, token, given))

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        for proxy in (self._acting, self._asking):
            proxy._pyroRelease()

    def _act(
        self, call: str, rid: str | None, token: str | None, arguments: dict[str, Any]
    ) -> Any:
        if rid is not None:
            split_rid(rid)
        again = rid is not None  # without an id, the answer could be another operation
        given = {**arguments, "rid": rid, "token": token}
        return self._call(self._acting, call, (), given, again=again)

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
        kwargs = {name: _plain(call, value) for name, value in (kwargs or {}).items()}
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
    if isinstance(value, np.ndarray):
        return _plain(call, value.tolist())
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(call, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(call, item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return math.inf if value > 0 else -math.inf  # beyond every limit
    if isinstance(value, str):
        return value.encode(errors="replace").decode()  # no half characters
    if value is None or isinstance(value, bool | int | float | complex):
        return value
    raise WrongType(
        f"{call} got {str(value)[:60]!r} of type {type(value).__name__}. Give numbers, "
        "strings, lists and arrays of numbers."
    )
