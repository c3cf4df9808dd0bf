"""An instrument behind a Pyro4 URI: one object, `Instrument_Server`, for all clients.

Our own client speaks msgpack, a plain `Pyro4.Proxy` serpent; each call is answered in
the serializer in which it came (`aemtwin.remote.answering`). Beside it a data channel
has what is large (`aemtwin.remote.offering`). Who comes in at all is up to
`aemtwin.remote.door`; `aemtwin.remote.client` is the other side.
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from types import TracebackType

from aemtwin.errors import NotSupported, OutOfRange
from aemtwin.instruments.acting import Acting
from aemtwin.instruments.allowed import Allowed, read_allowed
from aemtwin.instruments.protocol import Instrument
from aemtwin.remote.answering import NEEDS, InstrumentServer
from aemtwin.remote.connection import is_loopback
from aemtwin.remote.curve import Admitted
from aemtwin.remote.door import Door
from aemtwin.remote.keys import server_context
from aemtwin.remote.offering import Offered
from aemtwin.remote.speaking import Speaker

log = logging.getLogger(__name__)

OBJECT_ID = "Instrument_Server"
BACKLOG = 1024  # connections that wait in the system: none is dropped and tries later


class Server:
    """A running server; leaving the `with` block, or `close`, ends it.

    Attributes:
        uri: What a client connects to.
    """

    def __init__(self, door: Door, uri: str, offered: Offered) -> None:
        self._door, self.uri, self._offered = door, uri, offered

    def close(self) -> None:
        """Stop answering, connected clients too. Safe to call twice."""
        self._door.close()
        self._offered.close()

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
    data_port: int | None = 0,
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
        data_port: Of the data channel, for large results; 0 for a free one, None for
            no data channel: then they come in the control channel.

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
    for one in (port, data_port or 0):
        if not 0 <= one < 2**16:
            raise OutOfRange(
                f"serve got port {one}; ports go from 1 to 65535. Choose another port, "
                "or 0 for a free one."
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
    admitted = None if context is None else Admitted()
    offered = Offered(instrument, truth=truth)
    if data_port is not None:
        try:
            offered.open(host, data_port, admitted)
        except OutOfRange:
            listener.close()
            raise
    answers = InstrumentServer(instrument, truth=truth, offered=offered)
    speaker = Speaker(
        OBJECT_ID,
        sorted(NEEDS),
        answers.answer,
        answers.answered,
        context=context,
        met=None if admitted is None else admitted.admit,
        serpent=local if serpent is None else serpent,
    )
    door = Door(listener, speaker, came=answers.came, left=answers.left)
    shown = f"[{host}]" if ":" in host else host
    uri = f"PYRO:{OBJECT_ID}@{shown}:{listener.getsockname()[1]}"
    log.info("serving %s at %s", instrument.describe().name, uri)
    return Server(door, uri, offered)


def _limit(instrument: Instrument, limits: Allowed | str | Path) -> None:
    if not isinstance(instrument, Acting):
        raise NotSupported(
            f"{instrument.describe().name} cannot be limited: it keeps no ledger of "
            "its own. Serve it without limits, or as an aemtwin driver."
        )
    allowed = limits if isinstance(limits, Allowed) else read_allowed(Path(limits))
    for name in instrument.limit(allowed):
        log.warning("the limit %s finds nothing to limit in this instrument", name)
