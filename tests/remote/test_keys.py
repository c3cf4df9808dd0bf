"""Certificates: each that is not right is a named error, and nothing was called."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import Pyro4
import pytest

import aemtwin
from aemtwin import errors
from aemtwin.remote import keys as using
from aemtwin.remote.keys import Caller, caller_of, keys_folder, validity
from aemtwin.testing.sources import check_source
from tests.small import small_twin

authority = pytest.importorskip("aemtwin.remote.authority")
pytest.importorskip("cryptography")
CLIENTS = {"watcher": "observe", "loop": "operate", "keeper": "admin"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two authorities, each with a server and clients."""
    folders = []
    for name in ("ours", "foreign"):
        folders.append(tmp_path_factory.mktemp(name))
        authority.make_keys(folders[-1], clients=CLIENTS)
    return folders


@pytest.fixture(scope="module")
def ours(made):
    return made[0]


@pytest.fixture(scope="module")
def served(ours):
    twin = small_twin(ideal=True)
    with aemtwin.serve(twin, keys=ours / "server") as server:
        server.twin = twin
        yield server


def at_another_time(monkeypatch, days):
    """Make certificates as if it were so many days from now."""
    now = datetime.now(UTC) + timedelta(days=days)

    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return now

    monkeypatch.setattr(authority, "datetime", Then)


def refused(uri, **how):
    begin = time.perf_counter()
    with pytest.raises((errors.AccessRefused, errors.Unreachable)) as caught:
        aemtwin.connect(uri, **how)
    assert time.perf_counter() - begin < 1.0
    return caught.value


def test_a_folder_of_keys_has_its_files_and_secrets_are_its_owners(ours):
    server, client = ours / "server", ours / "clients" / "loop"
    assert {p.name for p in server.iterdir()} == set(using.FILES)
    assert {p.name for p in client.iterdir()} == {*using.FILES, "data.key"}
    if os.name == "posix":
        secret = ours / "authority" / "ca.key", server / "key.pem", client / "data.key"
        for key in secret:
            assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_what_is_there_is_kept_unless_it_is_renewed(tmp_path):
    first = authority.make_keys(tmp_path, clients={"one": "operate"})
    assert first == [tmp_path / "server", tmp_path / "clients" / "one"]
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.*")}
    more = {"one": "operate", "two": "observe"}
    assert authority.make_keys(tmp_path, clients=more) == [tmp_path / "clients" / "two"]
    for path, data in before.items():
        assert path.read_bytes() == data
    authority.make_keys(tmp_path, clients={"one": "admin"}, renew=True)
    changed = {p for p, data in before.items() if p.read_bytes() != data}
    assert {p.name for p in changed} == {"cert.pem", "key.pem", "data.key"}
    uri = "PYRO:Instrument_Server@127.0.0.1:1"
    with aemtwin.serve(small_twin(), keys=tmp_path / "server") as server:
        scope = aemtwin.connect(server.uri, keys=tmp_path / "clients" / "one")
        assert scope.evict() == ""
        scope.close()
    assert isinstance(using.explain(OSError("so"), uri), errors.Unreachable)


def test_the_strictest_verification_accepts_them(ours):
    strict = getattr(ssl, "VERIFY_X509_STRICT", 0)
    for context in (
        using.server_context(ours / "server"),
        using.client_context(ours / "clients" / "loop"),
    ):
        context.verify_flags |= strict
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
    server, client = socket.socketpair()
    context = using.server_context(ours / "server")
    context.verify_flags |= strict
    mine = using.client_context(ours / "clients" / "loop")
    mine.verify_flags |= strict
    found = []

    def accept():
        secured = context.wrap_socket(server, server_side=True)
        found.append(caller_of(secured.getpeercert()))
        secured.close()

    thread = threading.Thread(target=accept)
    thread.start()
    secured = mine.wrap_socket(client, server_hostname="localhost")
    secured.recv(1)
    thread.join(timeout=5)
    secured.close()
    assert found == [Caller("loop", "operate")]


def test_validity_is_that_of_the_certificate(ours):
    from cryptography import x509

    for path in ours.rglob("*.pem"):
        if path.name == "key.pem":
            continue
        whole = x509.load_pem_x509_certificate(path.read_bytes())
        wanted = whole.not_valid_before_utc, whole.not_valid_after_utc
        assert validity(path.read_text()) == wanted
    for wrong in ("", "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----"):
        with pytest.raises((ValueError, IndexError)):
            validity(wrong)


# Who comes in


@pytest.mark.parametrize("name", CLIENTS)
def test_each_does_what_its_role_may(ours, served, name):
    scope = aemtwin.connect(served.uri, keys=ours / "clients" / name)
    before = served.twin.state().operations
    role = CLIENTS[name]
    assert scope.state().operations == scope.stop().operations == before
    if role == "observe":
        for call in (
            scope.measure,
            lambda: scope.measure(rid="r/1/measure"),
            lambda: scope.move_to((0.0, 0.0)),
            scope.configure,
            scope.lease,
        ):
            with pytest.raises(errors.AccessRefused, match="for the role 'operate'"):
                call()
        told = served.twin.refusals()[0]
        assert (told["call"], "watcher at 127.0.0.1" in told["who"]) == ("lease", True)
        assert served.twin.state().operations == before
    else:
        assert scope.measure().rid
        assert "loop at" in served.twin.state().lease or role == "admin"
    if role == "admin":
        assert "keeper" in scope.evict()
    else:
        with pytest.raises(errors.AccessRefused, match="for the role 'admin'"):
            scope.evict()
    scope.close()
    end = time.monotonic() + 5
    while served.twin.state().lease:  # the server sees that it is gone
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_plain_client_of_pyro4_comes_in_with_a_certificate(ours, served, monkeypatch):
    mine = ours / "clients" / "loop"
    for name, value in {
        "SSL": True,
        "SSL_CACERTS": str(mine / "ca.pem"),
        "SSL_CLIENTCERT": str(mine / "cert.pem"),
        "SSL_CLIENTKEY": str(mine / "key.pem"),
        "SERIALIZER": "msgpack",
    }.items():
        monkeypatch.setattr(Pyro4.config, name, value)
    with Pyro4.Proxy(served.uri) as plain:
        assert plain.describe()["name"] == "small"
        with pytest.raises(PermissionError, match="AccessRefused: evict is for"):
            plain.evict()


# Who does not


def test_without_a_certificate_nobody_comes_in(served):
    error = refused(served.uri)
    assert isinstance(error, errors.AccessRefused)
    assert "speaks TLS" in str(error)


def test_a_foreign_certificate_is_refused(made, served):
    ours, foreign = made
    error = refused(served.uri, keys=foreign / "clients" / "loop")
    assert "its certificate is of another authority than ours" in str(error)
    mixed = foreign / "mixed"  # it believes our server, and is not of our authority
    mixed.mkdir()
    for name, source in (("ca.pem", ours), ("cert.pem", foreign), ("key.pem", foreign)):
        (mixed / name).write_bytes((source / "clients" / "loop" / name).read_bytes())
    error = refused(served.uri, keys=mixed)
    assert isinstance(error, errors.AccessRefused)
    assert "our certificate is of another authority" in str(error)


def test_an_expired_certificate_is_refused_on_both_sides(tmp_path, monkeypatch):
    authority.make_keys(tmp_path, clients={"loop": "operate"})
    at_another_time(monkeypatch, -400)
    for folder in (tmp_path / "authority", tmp_path / "server", tmp_path / "clients"):
        assert folder.exists()
    authority.make_keys(tmp_path, clients={"loop": "operate"}, renew=True)
    for use, folder in (
        (using.client_context, tmp_path / "clients" / "loop"),
        (using.server_context, tmp_path / "server"),
    ):
        with pytest.raises(errors.BadFile, match=r"is valid from .* and now it is"):
            use(folder)
    # as if nobody had looked at home: the other side does
    always = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(using, "validity", lambda pem: always)
    monkeypatch.setattr(authority, "datetime", datetime)
    authority.make_keys(tmp_path / "b", clients={"loop": "operate"})
    for name in ("ca.pem", "ca.key"):
        target = tmp_path / "b" / "authority" / name
        target.write_bytes((tmp_path / "authority" / name).read_bytes())
    authority.make_keys(tmp_path / "b", clients={"loop": "operate"}, renew=True)
    with aemtwin.serve(small_twin(), keys=tmp_path / "b" / "server") as server:
        error = refused(server.uri, keys=tmp_path / "clients" / "loop")
        assert "our certificate has expired" in str(error)
    with aemtwin.serve(small_twin(), keys=tmp_path / "server") as server:
        error = refused(server.uri, keys=tmp_path / "b" / "clients" / "loop")
        assert "its certificate has expired" in str(error)


def test_a_certificate_of_a_server_is_none_of_a_client_and_the_other_way(
    ours, served, monkeypatch
):
    error = refused(served.uri, keys=ours / "server")
    assert isinstance(error, errors.AccessRefused)
    monkeypatch.setattr(using, "_unbelieved", lambda *told: "")  # a server of others
    with aemtwin.serve(small_twin(), keys=ours / "clients" / "loop") as server:
        error = refused(server.uri, keys=ours / "clients" / "loop")
        assert "is not" in str(error)


def test_another_host_than_the_certificates_is_not_believed(tmp_path):
    authority.make_keys(tmp_path, hosts=["scope.invalid"], clients={"loop": "operate"})
    with aemtwin.serve(small_twin(), keys=tmp_path / "server") as server:
        error = refused(server.uri, keys=tmp_path / "clients" / "loop")
        assert "not for that address" in str(error)


def test_keys_do_not_speak_with_a_server_without(ours):
    with aemtwin.serve(small_twin()) as server:
        error = refused(server.uri, keys=ours / "clients" / "loop")
        assert "served without keys" in str(error)


def test_a_certificate_without_a_role_is_refused():
    subject = ((("commonName", "x"),),)
    for others in (
        (),
        (("URI", "aemtwin:role:king"),),
        (("DNS", "aemtwin:role:admin"),),
    ):
        with pytest.raises(errors.AccessRefused, match="it needs one of"):
            caller_of({"subject": subject, "subjectAltName": others})
    named = (("URI", "aemtwin:role:admin"), ("DNS", "x"))
    found = caller_of({"subject": subject, "subjectAltName": named})
    assert found == Caller("x", "admin")


# What is said of it, by sockets alone


@pytest.fixture(scope="module")
def aged(ours, tmp_path_factory):
    """Certificates of our authority: expired, and not valid yet."""
    folders = {}
    for name, days in {"expired": -400, "young": 30}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        shutil.copytree(ours / "authority", folders[name] / "authority")
        with pytest.MonkeyPatch.context() as patch:
            at_another_time(patch, days)
            authority.make_keys(folders[name], clients=CLIENTS)
    return folders


def shaken(server, client, host="localhost"):
    """Greet over loopback; return what the client is told, and it read nothing."""

    def answer():
        sock, _ = listening.accept()
        sock.settimeout(5)
        with contextlib.suppress(OSError):
            if server is None:
                sock.sendall(b"PYRO" + bytes(40))
            else:
                how = {"server_side": True, "do_handshake_on_connect": False}
                sock = server.wrap_socket(sock, **how)
                sock.do_handshake()
            sock.recv(1)
        sock.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        worker = threading.Thread(target=answer)
        worker.start()
        sock = socket.create_connection(listening.getsockname(), 5)
        begin = time.perf_counter()
        with pytest.raises(OSError) as caught:  # noqa: PT012, the alert comes late
            if client is None:
                sock.sendall(b"PYRO" + bytes(40))
            else:
                sock = client.wrap_socket(sock, server_hostname=host)
            if sock.recv(1) == b"":
                raise ConnectionResetError("ended")
        took = time.perf_counter() - begin
        sock.close()
        worker.join(timeout=5)
    assert took < 1.0
    return using.explain(caught.value, "PYRO:x@h:1")


REFUSED = {  # server, client, kind, what is said
    "none": ("ours", "none", "AccessRefused", "it wants a certificate"),
    "foreign": ("ours", "mixed", "AccessRefused", "our .* of another authority"),
    "expired": ("ours", "expired", "AccessRefused", "our certificate has expired"),
    "young": ("ours", "young", "AccessRefused", "not valid yet by its clock"),
    "a server's": ("ours", "server", "AccessRefused", "not made for a client"),
    "plain": ("ours", "plain", "Unreachable", "ended the connection"),
    "old": ("old", "loop", "Unreachable", "older TLS than 1.3"),
    "foreign server": ("foreign", "loop", "AccessRefused", "of another authority"),
    "expired server": ("expired", "loop", "AccessRefused", "its .* has expired"),
    "young server": ("young", "loop", "AccessRefused", "its .* not valid yet"),
    "a client's": ("client", "loop", "AccessRefused", "not made for a server"),
    "plain server": ("plain", "loop", "Unreachable", "without keys"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_greeting_is_explained(made, aged, monkeypatch, case):
    always = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(using, "validity", lambda pem: always)
    ours, foreign = made
    served, came, kind, said = REFUSED[case]
    loop = Path("clients") / "loop"
    if served == "plain":
        server = None
    else:
        where = {"old": ours, "ours": ours, "foreign": foreign, "client": ours, **aged}
        part = loop if served == "client" else "server"
        server = using.server_context(where[served] / part)
    if served == "old":
        server.minimum_version = ssl.TLSVersion.TLSv1_2
        server.maximum_version = ssl.TLSVersion.TLSv1_2
    if came == "plain":
        client = None
    elif came == "none":
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(ours / "server" / "ca.pem")
    else:
        where = {"loop": ours, "server": ours, "mixed": ours, **aged}
        part = "server" if came == "server" else loop
        client = using.client_context(where[came] / part)
    if came == "mixed":
        theirs = foreign / loop
        client.load_cert_chain(theirs / "cert.pem", theirs / "key.pem")
    error = shaken(server, client)
    assert error.code == kind
    assert re.search(said, str(error))


@pytest.mark.parametrize(
    ("host", "said"),
    [("other.example", "not for that host"), ("127.0.0.9", "not for that address")],
)
def test_who_is_not_called_so_is_not_believed(ours, host, said):
    server = using.server_context(ours / "server")
    client = using.client_context(ours / "clients" / "loop")
    error = shaken(server, client, host)
    assert isinstance(error, errors.AccessRefused)
    assert said in str(error)


# Files


def test_a_key_with_a_passphrase_is_an_error_and_not_a_question(tmp_path, ours):
    from cryptography.hazmat.primitives import serialization as s

    shutil.copytree(ours / "server", tmp_path / "server")
    path = tmp_path / "server" / "key.pem"
    key = s.load_pem_private_key(path.read_bytes(), None)
    locked = s.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, locked))
    code = (
        "import sys; from aemtwin.remote import keys\n"
        "try: keys.server_context(sys.argv[1])\n"
        "except keys.BadFile as error: sys.exit(str(error))"
    )
    asked = subprocess.run(  # with nobody at a terminal who would be asked
        [sys.executable, "-c", code, str(path.parent)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "has a passphrase" in asked.stderr
    assert "pass phrase" not in asked.stdout + asked.stderr


def test_keys_of_another_account_are_said_to_be(ours, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(using, "validity", denied)
    with pytest.raises(errors.BadFile, match="may not be read by this account"):
        using.client_context(ours / "clients" / "loop")


def test_an_authority_that_has_expired_is_said(ours, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        at_another_time(patch, -3660)
        authority.make_keys(tmp_path)
    shutil.copytree(ours / "server", tmp_path / "mixed")
    old = (tmp_path / "authority" / "ca.pem").read_bytes()
    (tmp_path / "mixed" / "ca.pem").write_bytes(old)
    with pytest.raises(errors.BadFile, match=r"ca\.pem is valid from .*another folder"):
        using.client_context(tmp_path / "mixed")


def test_keys_that_cannot_be_read_are_said_before_anything_is_tried(tmp_path, ours):
    with pytest.raises(errors.BadFile, match=r"there is no ca\.pem"):
        using.client_context(tmp_path)
    for name in using.FILES:
        (tmp_path / name).write_bytes((ours / "clients" / "loop" / name).read_bytes())
    other = (ours / "clients" / "keeper" / "key.pem").read_bytes()
    for data in (b"", b"nothing", other):
        (tmp_path / "key.pem").write_bytes(data)
        with pytest.raises(errors.BadFile, match="cannot be used"):
            using.client_context(tmp_path)
    with pytest.raises(errors.BadFile, match="there is no ca"):
        aemtwin.serve(small_twin(), keys=tmp_path / "nowhere")


def test_the_folder_of_keys_is_given_or_of_the_environment(
    monkeypatch, tmp_path, ours, served
):
    monkeypatch.delenv("AEMTWIN_KEYS", raising=False)
    assert keys_folder(None) is None
    monkeypatch.setenv("AEMTWIN_KEYS", str(tmp_path))
    assert keys_folder(None) == tmp_path
    assert keys_folder("here").name == "here"
    monkeypatch.setenv("AEMTWIN_KEYS", str(ours / "clients" / "loop"))
    aemtwin.connect(served.uri).close()  # on this machine: where it is needed
    with aemtwin.serve(small_twin()) as plain:
        aemtwin.connect(plain.uri).close()
    monkeypatch.delenv("AEMTWIN_KEYS")
    with pytest.raises(errors.Unreachable, match="nobody is let in without a"):
        aemtwin.connect("PYRO:Instrument_Server@192.0.2.1:9")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clients": {"../x": "admin"}}, "a name is letters"),
        ({"clients": {"": "admin"}}, "a name is letters"),
        ({"clients": {"x": "king"}}, "There is no role 'king'"),
        ({"hosts": ["a b"]}, "a name or an IP address"),
        ({"days": 0}, "1 to 3650"),
    ],
)
def test_what_is_asked_of_the_authority_is_checked(tmp_path, wrong, said):
    with pytest.raises(errors.AemtwinError, match=said):
        authority.make_keys(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_half_an_authority_is_said(tmp_path):
    authority.make_keys(tmp_path)
    (tmp_path / "authority" / "ca.key").unlink()
    with pytest.raises(errors.BadFile, match="one of"):
        authority.make_keys(tmp_path)
    (tmp_path / "authority" / "ca.key").write_text("no key")
    with pytest.raises(errors.BadFile, match="cannot be read"):
        authority.make_keys(tmp_path)


def test_a_server_that_nobody_would_believe_says_so_when_it_starts(ours, caplog):
    twin = small_twin()
    with pytest.raises(errors.BadFile, match="is not made for a server"):
        aemtwin.serve(twin, keys=ours / "clients" / "loop")
    with aemtwin.serve(twin, keys=ours / "server"):
        assert not caplog.text
    with aemtwin.serve(twin, keys=ours / "server", host="127.0.0.5"):
        assert "as 127.0.0.5 does not believe it: its certificate is not" in caplog.text


def test_a_check_by_who_may_only_look_says_so_once(ours, served):
    with pytest.raises(errors.AccessRefused, match="Or look only: --no-dose"):
        next(check_source(served.uri, keys=ours / "clients" / "watcher"))
    told = check_source(served.uri, keys=ours / "clients" / "watcher", acting=False)
    assert "failed" not in {result.outcome for _, result in told}
