"""No path that a client says is opened, whatever it says and wherever it says it.

Links inside data files, soft and external: tests/formats/test_nsid.py.
"""

from __future__ import annotations

import sys

import pytest

import aemtwin
from aemtwin.errors import AemtwinError
from aemtwin.remote.answering import NEEDS
from tests.remote import raw
from tests.small import small_twin

OPENED: list[str] = []
LISTENING = [False]
EVENTS = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rename")


def hook(event, args):
    if LISTENING[0] and event in (*EVENTS, "subprocess.Popen", "os.system"):
        OPENED.append(f"{event} {args[:1]}")


sys.addaudithook(hook)  # there is no way to take one back
PATHS = [
    "../secret.h5",
    "/etc/passwd",
    "file:///etc/passwd",
    "..\\secret",
    "C:\\x",
    "~/x",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_of_a_client_is_opened(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path.parent / "secret.h5").write_text("secret")
    with aemtwin.serve(small_twin(), truth=True) as server:
        with raw.connected(server.uri) as sock:
            sock.sendall(raw.ask("measure"))  # what is loaded once, is now
            raw.answer(sock)
            sock.sendall(raw.ask("measure", path))
            raw.answer(sock)
            OPENED.clear()
            LISTENING[0] = True
            try:
                for call in sorted(NEEDS):
                    for given in (
                        {"args": [path]},
                        {"args": [], "named": {"rid": path}},
                        {"args": [], "named": {"mode": path, "channels": [path]}},
                        {"args": [{"call": path, "rid": "r/1/x", "arguments": {}}]},
                        {"args": [{"call": "scan", "rid": path, "arguments": path}]},
                        {"args": [], "named": {path: path, "encoding": path}},
                    ):
                        named = given.get("named", {})
                        sock.sendall(raw.ask(call, *given["args"], named=named))
                        raw.answer(sock)
            finally:
                LISTENING[0] = False
    assert OPENED == []


def test_a_request_id_is_no_path():
    twin = small_twin()
    for rid in ("../1/x", "a/../x", "a/1/../../x", "/etc/1/x", "a/1/b/c"):
        try:
            twin.measure(rid=rid)
        except AemtwinError:
            continue
        assert rid == "../1/x"  # a word like any other: nothing is named after it
