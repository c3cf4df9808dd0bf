"""An instrument behind a Pyro4 URI: one object, `Instrument_Server`, for all clients.

Our own client speaks msgpack, a plain `Pyro4.Proxy` serpent; the daemon accepts these
two and nothing else, and tells them apart call by call. Semantics (ids, ledger, order)
are the instrument's own; here is only the door.
`aemtwin.remote.client` is the other side.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import Pyro4
from Pyro4.util import SerpentSerializer

from aemtwin.codec import require_encoding, to_wire
from aemtwin.errors import AemtwinError, NotSupported, OutOfRange, TruthRefused
from aemtwin.instruments.protocol import Instrument
from aemtwin.remote.wire import error_for_plain, register_errors

log = logging.getLogger(__name__)

OBJECT_ID = "Instrument_Server"
SERIALIZERS = frozenset({"msgpack", "serpent"})


@Pyro4.expose
@Pyro4.behavior(instance_mode="single")
class InstrumentServer:
    """What a client may call; every answer is made of builtins.

    Arrays are `{"shape", "dtype", "data", "units"}` with `data` as bytes; a plain
    client that prefers nested lists says `encoding="list"`.
    """

    def __init__(self, instrument: Instrument, *, truth: bool) -> None:
        self._instrument, self._truth = instrument, truth

    def describe(self, encoding: str = "bytes") -> Any:
        """See `Instrument.describe`."""
        return self._answer(encoding, self._instrument.describe)

    def state(self, encoding: str = "bytes") -> Any:
        """See `Instrument.state`."""
        return self._answer(encoding, self._instrument.state)

    def configure(self, *args: Any, **kwargs: Any) -> Any:
        """See `Instrument.configure`."""
        return self._answer("bytes", self._instrument.configure, *args, **kwargs)

    def move_to(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.move_to`."""
        return self._answer(encoding, self._instrument.move_to, *args, **kwargs)

    def scan(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.scan`."""
        return self._answer(encoding, self._instrument.scan, *args, **kwargs)

    def trace(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.trace`."""
        return self._answer(encoding, self._instrument.trace, *args, **kwargs)

    def measure(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.measure`."""
        return self._answer(encoding, self._instrument.measure, *args, **kwargs)

    def pulse(self, *args: Any, **kwargs: Any) -> Any:
        """See `Instrument.pulse`."""
        return self._answer("bytes", self._instrument.pulse, *args, **kwargs)

    def duration(self, operation: Any) -> Any:
        """See `Instrument.duration`."""
        return self._answer("bytes", self._instrument.duration, operation)

    def stop(self, encoding: str = "bytes") -> Any:
        """See `Instrument.stop`."""
        return self._answer(encoding, self._instrument.stop)

    def events(self, after: int = 0) -> Any:
        """See `Instrument.events`."""
        return self._answer("bytes", self._instrument.events, after)

    def submit(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.submit`."""
        return self._answer(encoding, self._instrument.submit, *args, **kwargs)

    def status(self, rid: str) -> Any:
        """See `Instrument.status`."""
        return self._answer("bytes", self._instrument.status, rid)

    def fetch(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """See `Instrument.fetch`."""
        return self._answer(encoding, self._instrument.fetch, *args, **kwargs)

    def lease(self, *args: Any, **kwargs: Any) -> Any:
        """See `Instrument.lease`."""
        return self._answer("bytes", self._instrument.lease, *args, **kwargs)

    def renew(self, token: str) -> Any:
        """See `Instrument.renew`."""
        return self._answer("bytes", self._instrument.renew, token)

    def release(self, token: str) -> Any:
        """See `Instrument.release`."""
        return self._answer("bytes", self._instrument.release, token)

    def truth(self, *args: Any, encoding: str = "bytes", **kwargs: Any) -> Any:
        """Return the stored data, where the server was told to give it."""
        return self._answer(encoding, self._tell_truth, *args, **kwargs)

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

    def _answer(
        self, encoding: str, call: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        try:
            return to_wire(call(*args, **kwargs), require_encoding(encoding))
        except AemtwinError as error:
            plain = (
                Pyro4.current_context.serializer_id == SerpentSerializer.serializer_id
            )
            if plain:
                raise error_for_plain(error) from None
            raise


class _Daemon(Pyro4.Daemon):  # type: ignore[misc]
    """A daemon that knows its connections, so that closing it closes them."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host=host, port=port)
        self.open: set[Any] = set()

    def validateHandshake(self, conn: Any, data: Any) -> Any:
        self.open.add(conn)
        return super().validateHandshake(conn, data)

    def clientDisconnect(self, conn: Any) -> None:
        self.open.discard(conn)

    def hang_up(self) -> None:
        """End all connections; whoever waits for an answer asks again elsewhere."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)


class Server:
    """A running server; leaving the `with` block, or `close`, ends it.

    Attributes:
        uri: What a client connects to.
    """

    def __init__(self, daemon: Any, uri: str) -> None:
        self._daemon, self.uri = daemon, uri
        self._thread = threading.Thread(
            target=daemon.requestLoop, name=f"aemtwin {uri}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering, connected clients too. Safe to call twice."""
        if self._thread.is_alive():
            self._daemon.shutdown()
            self._daemon.hang_up()
            self._thread.join(timeout=5)

    def wait(self) -> None:
        """Block until the server is closed."""
        while self._thread.is_alive():
            self._thread.join(timeout=0.5)

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
) -> Server:
    """Put an instrument behind a URI, in a thread of this process.

    Args:
        instrument: A twin, or whatever else satisfies the protocol.
        host: A loopback address. Beyond this machine the channel would need
            encryption and credentials, which it does not have: tunnel it instead.
        port: 0 for a free one.
        truth: Whether clients may ask for the noise-free data, to score runs.

    Raises:
        NotSupported: If `host` is not a loopback address.
        OutOfRange: If the port cannot be had.

    >>> import aemtwin
    >>> with serve(aemtwin.open_twin("pfm_loops")) as server:
    ...     aemtwin.connect(server.uri).describe().kind
    'afm'
    """
    if not _is_loopback(host):
        raise NotSupported(
            f"serve got host {host!r}; only a loopback address (127.0.0.1, localhost, "
            "::1) is allowed, since the channel is not encrypted or authenticated. "
            "Reach it from elsewhere through a tunnel, such as ssh -L."
        )
    if not 0 <= port < 2**16:  # before there is a socket that nobody would close
        raise OutOfRange(
            f"serve got port {port}; ports go from 1 to 65535. Choose another port, or "
            "0 for a free one."
        )
    register_errors()
    before = Pyro4.config.SERIALIZERS_ACCEPTED
    Pyro4.config.SERIALIZERS_ACCEPTED = set(SERIALIZERS)  # read by Daemon when made
    try:
        daemon = _Daemon(host, port)
    except OSError as error:
        raise OutOfRange(
            f"serve cannot listen on {host}:{port} ({error}). Choose another port, or "
            "0 for a free one."
        ) from None
    finally:
        Pyro4.config.SERIALIZERS_ACCEPTED = before
    uri = str(daemon.register(InstrumentServer(instrument, truth=truth), OBJECT_ID))
    log.info("serving %s at %s", instrument.describe().name, uri)
    return Server(daemon, uri)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
