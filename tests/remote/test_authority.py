"""Making certificates: what is in them, what is kept, and what is refused.

`test_keys.py` has what they are good for at a door.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from aemtwin import cli, errors
from aemtwin.remote.keys import FILES

authority = pytest.importorskip("aemtwin.remote.authority")
x509 = pytest.importorskip("cryptography.x509")


def certificate(folder, name="cert.pem"):
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def of(found, kind):
    return found.extensions.get_extension_for_class(kind).value


def test_a_certificate_has_what_it_is_for_and_nothing_else(tmp_path):
    hosts = ["scope.example.org", "192.0.2.7", "2001:db8::1"]
    authority.make_keys(tmp_path, hosts=hosts, clients={"a.loop": "operate"})
    server, client = (
        certificate(tmp_path / place) for place in ("server", "clients/a.loop")
    )
    ca = certificate(tmp_path / "authority", "ca.pem")
    use = x509.oid.ExtendedKeyUsageOID
    assert list(of(server, x509.ExtendedKeyUsage)) == [use.SERVER_AUTH]
    assert list(of(client, x509.ExtendedKeyUsage)) == [use.CLIENT_AUTH]
    names = of(server, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == hosts[:1]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(host) for host in hosts[1:]
    ]
    roles = of(client, x509.SubjectAlternativeName)
    role, data = (name.value for name in roles)
    assert role == "aemtwin:role:operate"
    assert re.fullmatch("aemtwin:data:[0-9a-f]{64}", data)
    assert authority.made_for(tmp_path / "clients" / "a.loop") == ["operate"]
    (called,) = client.subject
    assert called.value == "a.loop"
    for one in (server, client):
        one.verify_directly_issued_by(ca)
        assert not of(one, x509.BasicConstraints).ca
        assert (
            of(one, x509.AuthorityKeyIdentifier).key_identifier
            == of(ca, x509.SubjectKeyIdentifier).digest
        )
        age = one.not_valid_after_utc - datetime.now(UTC)
        assert timedelta(days=396) < age <= timedelta(days=397)
        assert one.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)
    assert of(ca, x509.BasicConstraints).ca
    assert of(ca, x509.BasicConstraints).path_length == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_finds_no_fault_in_them(tmp_path):
    authority.make_keys(tmp_path, clients={"loop": "operate"})
    for place, purpose in (("server", "sslserver"), ("clients/loop", "sslclient")):
        done = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-purpose", purpose),
                *("-CAfile", "ca.pem", "cert.pem"),
            ],
            cwd=tmp_path / place,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_secrets_are_their_owners_whatever_was_left_behind(tmp_path):
    left = tmp_path / "ours" / "server" / "key.pem.new"
    left.parent.mkdir(parents=True, mode=0o700)
    left.write_text("of a command that was cut off")
    left.chmod(0o666)
    authority.make_keys(tmp_path / "ours", clients={"loop": "operate"})
    authority.make_keys(tmp_path / "new", clients={"loop": "operate"})
    for path in (tmp_path / "ours").rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = [*tmp_path.rglob("key.pem"), *tmp_path.rglob("ca.key")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    folders = [tmp_path / "new", *(p for p in (tmp_path / "new").rglob("*"))]
    modes = {stat.S_IMODE(p.stat().st_mode) for p in folders if p.is_dir()}
    assert modes == {0o700}


def test_a_server_keeps_its_hosts_when_its_keys_are_made_anew(tmp_path):
    authority.make_keys(tmp_path, hosts=["localhost", "Scope", "0:0::1"])
    assert authority.made_for(tmp_path / "server") == ["localhost", "scope", "::1"]
    asked = {"hosts": ["scope", "192.0.2.7"], "clients": {}}
    assert authority.make_keys(tmp_path, **asked) == []
    assert authority.lacking(tmp_path, **asked) == {tmp_path / "server": ["192.0.2.7"]}
    assert authority.make_keys(tmp_path, **asked, renew=True) == [tmp_path / "server"]
    assert authority.lacking(tmp_path, **asked) == {tmp_path / "server": []}
    named = ["localhost", "scope", "::1", "192.0.2.7"]
    assert authority.made_for(tmp_path / "server") == named


@pytest.mark.parametrize("last", ["key.pem", "ca.pem", "cert.pem"])
def test_keys_that_were_cut_off_half_way_are_made_at_the_next_call(
    tmp_path, monkeypatch, last
):
    authority.make_keys(tmp_path)
    write = authority._write

    def cut_off(path, *args, **kwargs):
        if path.name == last:
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(authority, "_write", cut_off)
        with pytest.raises(KeyboardInterrupt):
            authority.make_keys(tmp_path, clients={"loop": "operate"})
    place = tmp_path / "clients" / "loop"
    assert authority.make_keys(tmp_path, clients={"loop": "operate"}) == [place]
    assert {p.name for p in place.iterdir()} == {*FILES, "data.key"}


def test_no_certificate_outlives_its_authority(tmp_path, monkeypatch):
    early = datetime.now(UTC) - timedelta(days=3600)

    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return early

    with monkeypatch.context() as patch:
        patch.setattr(authority, "datetime", Then)
        authority.make_keys(tmp_path)
    authority.make_keys(tmp_path, clients={"loop": "operate"})
    ends = {
        certificate(tmp_path / place, name).not_valid_after_utc
        for place, name in (("authority", "ca.pem"), ("clients/loop", "cert.pem"))
    }
    assert len(ends) == 1
    early -= timedelta(days=100)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "datetime", Then)
        authority.make_keys(tmp_path / "old")
    with pytest.raises(errors.BadFile, match=r"was valid until .* another folder"):
        authority.make_keys(tmp_path / "old", renew=True)


def test_an_authority_signs_with_its_own_key_alone(tmp_path):
    for name in ("one", "two"):
        authority.make_keys(tmp_path / name)
    key = (tmp_path / "two" / "authority" / "ca.key").read_bytes()
    (tmp_path / "one" / "authority" / "ca.key").write_bytes(key)
    with pytest.raises(errors.BadFile, match="is not the key of"):
        authority.make_keys(tmp_path / "one", renew=True)


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"hosts": "scope"}, errors.WrongType, "a list of one or more"),
        ({"hosts": []}, errors.WrongType, "a list of one or more"),
        ({"hosts": ["192.0.2.300"]}, errors.WrongType, "a name or an IP address"),
        ({"hosts": ["fe80::1%eth0"]}, errors.WrongType, "a name or an IP address"),
        ({"hosts": ["a." * 127 + "aa"]}, errors.WrongType, "a name or an IP address"),
        ({"days": True}, errors.WrongType, "a whole number"),
        ({"days": 1.5}, errors.WrongType, "a whole number"),
        ({"clients": {"con": "admin"}}, errors.WrongType, "Windows"),
        ({"clients": {"..": "admin"}}, errors.WrongType, "a name is letters"),
        ({"clients": {"a.": "admin"}}, errors.WrongType, "a name is letters"),
        ({"clients": {"a/b": "admin"}}, errors.WrongType, "a name is letters"),
        ({"clients": {"a\n": "admin"}}, errors.WrongType, "a name is letters"),
        (
            {"clients": {"Loop": "admin", "loop": "observe"}},
            errors.WrongType,
            "capitals alone",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path, wrong, kind, said
):
    with pytest.raises(kind, match=said):
        authority.make_keys(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_host_may_be_as_long_as_names_are(tmp_path):
    host = ".".join(["a" * 60] * 4)
    authority.make_keys(tmp_path, hosts=[host])
    assert authority.made_for(tmp_path / "server") == [host]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.BadFile, match="Name a folder of your own"):
        authority.make_keys(tmp_path / "file")


def test_without_the_package_it_is_said_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(errors.MissingExtra, match=r"pip install 'aemtwin\[keys\]'"):
        authority.make_keys(tmp_path / "new")
    assert not (tmp_path / "new").exists()


# The command


def told(capsys, *arguments):
    cli.app(["keys", *arguments], exit_on_error=False, result_action="return_value")
    return capsys.readouterr().out


def test_the_command_says_who_gets_which_and_what_was_there(tmp_path, capsys):
    folder = str(tmp_path / "lab")
    said = told(capsys, folder, "--host", "scope.example.org", "--client", "a=operate")
    for line in (
        f"made {tmp_path / 'lab' / 'server'}",
        f"made {tmp_path / 'lab' / 'clients' / 'a'}",
        f"--host scope.example.org --keys {tmp_path / 'lab' / 'server'}",
        f"--uri URI --keys {tmp_path / 'lab' / 'clients' / 'a'}",
        "ca.key",
    ):
        assert line in said
    said = told(capsys, folder, "--client", "a=operate", "--client", "b=observe")
    assert f"made {tmp_path / 'lab' / 'clients' / 'b'}" in said
    assert f"kept {tmp_path / 'lab' / 'server'}, which was there" in said
    assert f"kept {tmp_path / 'lab' / 'clients' / 'a'}, which was there" in said
    assert "--host scope.example.org" in said  # not that of somebody's default
    said = told(capsys, folder, "--host", "192.0.2.7", "--client", "a=admin")
    assert "server, which is not for 192.0.2.7: with --renew" in said
    assert "a, which is not for admin: with --renew" in said
    assert "--host 192.0.2.7" not in said
    said = told(capsys, folder, "--host", "192.0.2.7", "--client", "a=admin", "--renew")
    assert "kept" not in said
    assert authority.made_for(tmp_path / "lab" / "clients" / "a") == ["admin"]


def test_a_client_with_two_roles_is_refused(tmp_path):
    with pytest.raises(errors.BadConfig, match="a twice, with two roles"):
        cli.app(
            ["keys", str(tmp_path), "--client", "a=observe", "--client", "a=admin"],
            exit_on_error=False,
        )
