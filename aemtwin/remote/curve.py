"""Keys of the data channel: who is let in to it, and whom we believe to be there.

ZeroMQ's CURVE. A client's public key stands in its certificate, so whoever came in to
the control channel by mutual TLS is let in here, and nobody else; the server's key is
new each time and told over the same TLS. `aemtwin keys` makes those of clients.

Source:
    CurveZMQ, RFC 26/CurveZMQ of ZeroMQ (rfc.zeromq.org/spec/26).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from aemtwin.errors import AccessRefused, BadFile, Unreachable

log = logging.getLogger(__name__)

FILE = "data.key"  # the secret half, in a client's folder of keys
KEY = "aemtwin:data:"  # what the public half is written after in its certificate
DOMAIN = "data"
REMEMBERED = 10_000  # keys that are let in
KNOWS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CONNECTED
)
GREETED_S = 0.8  # for a greeting, where a connection was made


def new_pair() -> tuple[str, str]:
    """Return a public key as a certificate has it, and the secret one as a file has."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public).hex(), secret.decode("ascii")


class Admitted:
    """Whose keys are let in.

    Attributes:
        key: Our own public key, as `describe()` tells it.
    """

    def __init__(self) -> None:
        public, self._secret = zmq.curve_keypair()
        self.key = public.decode("ascii")
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._guard: ThreadAuthenticator | None = None

    def admit(self, certificate: Any, name: str) -> None:
        """Let in the key of a certificate, as `SSLSocket.getpeercert` tells it."""
        for kind, value in certificate.get("subjectAltName", ()):
            if kind == "URI" and value.startswith(KEY):
                with suppress(ValueError):
                    key = z85.encode(bytes.fromhex(value.removeprefix(KEY)))
                    self._known[key] = name
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def guard(self, context: zmq.Context[Any], socket: zmq.Socket[Any]) -> None:
        """Have a socket let in nobody else; before it is bound."""
        self._guard = ThreadAuthenticator(context)
        self._guard.start()
        self._guard.configure_curve_callback(DOMAIN, credentials_provider=self)
        socket.curve_server = True
        socket.curve_secretkey = self._secret
        socket.zap_domain = DOMAIN.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a key is let in; asked by the authenticator."""
        name = self._known.get(key)
        if name is None:
            log.warning("data: a key that is in no certificate of ours is refused")
        return name is not None

    def close(self) -> None:
        """Let nobody in any more."""
        if self._guard is not None:
            self._guard.stop()
            self._guard = None


def secure(socket: zmq.Socket[Any], server_key: str, folder: Path | None) -> None:
    """Have a client's socket speak CURVE, with the keys of a folder.

    Raises:
        BadFile: If there is no key there, or none that can be used.
    """
    path = None if folder is None else folder / FILE
    try:
        if path is None:
            raise OSError("no folder of keys was named")
        secret = path.read_text("ascii").strip().encode("ascii")
        socket.curve_publickey = zmq.curve_public(secret)
        socket.curve_secretkey = secret
    except (OSError, ValueError, zmq.ZMQError) as error:
        raise BadFile(
            f"The key of the data channel, {path}, cannot be used ({error}). Whoever "
            "serves makes one with `aemtwin keys ... --renew`; without it, large "
            "results come by the control channel: connect(..., data=False)."
        ) from None
    socket.curve_serverkey = server_key.encode("ascii")


def let_in(socket: zmq.Socket[Any], where: str, within_s: float) -> bool:
    """Connect a socket, and wait until it is let in.

    Returns:
        Whether it is; False if the connection was made, and ended.

    Raises:
        AccessRefused: If the other side says that it does not know our key: CURVE
            itself would try for ever.
        Unreachable: If nobody answers.
    """
    monitor = socket.get_monitor_socket(KNOWS)
    wait_s, there = within_s, False
    try:
        socket.connect(where)
        while monitor.poll(int(wait_s * 1000)):
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return True
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise refused(where)
            if event != zmq.EVENT_CONNECTED:
                return False
            wait_s, there = min(GREETED_S, within_s), True
    finally:
        socket.disable_monitor()
        monitor.close(0)
    said = "says nothing of what we can read" if there else "answers nobody"
    raise Unreachable(
        f"The data channel at {where} {said}. Open its port to us (--data-port), or "
        "connect(..., data=False)."
    )


def refused(where: str) -> AccessRefused:
    """Return the error of who is not let in."""
    return AccessRefused(
        f"The data channel at {where} does not let us in: our key is in no certificate "
        "that its server has seen, or its server has another key than we were told. "
        "Use the keys that belong together (`aemtwin keys`), or connect(..., "
        "data=False)."
    )
