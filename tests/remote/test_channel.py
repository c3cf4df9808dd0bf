"""A connection to a server: what can be at its other end, besides the server."""

from __future__ import annotations

import socket

import pytest

from aemtwin.remote.channel import Address, Channel
from aemtwin.remote.connection import Closed


def test_a_client_that_was_connected_to_itself_finds_nobody(monkeypatch):
    """A port for clients may be that of a server which is just gone."""

    def itself(address, timeout_s):
        sock = socket.socket()
        sock.settimeout(timeout_s)
        sock.bind(("127.0.0.1", 0))
        try:
            sock.connect(sock.getsockname())
        except OSError as error:
            sock.close()
            pytest.skip(f"not on this system: {error}")
        return sock

    monkeypatch.setattr(socket, "create_connection", itself)
    channel = Channel(Address("PYRO:Instrument_Server@127.0.0.1:9090"), "client")
    with pytest.raises(Closed, match="nobody listens there"):
        channel.call("state", timeout_s=2.0)
    channel.close()
