"""A small authority of one's own: makes the certificates that both sides show.

For an instrument and the few who use it, where no other authority would know them. The
key of the authority makes everything else: it stays where it is made.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aemtwin.errors import BadFile, MissingExtra, OutOfRange, WrongType, unknown
from aemtwin.remote import curve
from aemtwin.remote.keys import FILES, ROLE, ROLES

# A client's name becomes a folder's, on Windows too, where some names are devices
NAME = re.compile(
    r"(?!(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$))"
    r"(?!.*\.$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
)
HOST = re.compile(  # a last part of digits would be an address that is none
    r"(?=.{1,253}$)(?!-)(?!(.*\.)?[0-9]+$)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*"
)
MOST_COMMON_NAME = 64  # letters, by RFC 5280
HERE = ("localhost", "127.0.0.1", "::1")
DAYS, MOST_DAYS = 397, 3650
AUTHORITY, SERVER, CLIENTS = "authority", "server", "clients"
CA, CERTIFICATE, KEY = FILES
BEFORE = timedelta(minutes=10)  # the clock of the other side may be behind


def make_keys(
    folder: str | Path,
    *,
    hosts: Sequence[str] = HERE,
    clients: Mapping[str, str] | None = None,
    days: int = DAYS,
    renew: bool = False,
) -> list[Path]:
    """Make an authority, the keys of a server and of its clients; keep what is there.

    Args:
        folder: For all of it: authority/, server/ and clients/NAME/.
        hosts: Names and addresses that clients reach the server by. A server whose
            keys are made anew keeps those that it had.
        clients: Role by name: observe, operate or admin.
        days: How long the certificates are valid; the authority is for ten years, and
            no certificate is valid longer than it.
        renew: Whether certificates that are there are made anew.

    Returns:
        The folders of keys that were made; `made_for` tells what the others are for.

    Raises:
        MissingExtra: If the package cryptography is not installed.
        WrongType: If a name is none.
        OutOfRange: If the days are too few or too many.
        UnknownName: If there is no such role.
        BadFile: If the authority cannot be used, or nothing be written there.
    """
    clients, folder = dict(clients or {}), Path(folder)
    _check(hosts, clients, days)
    hosts = [_written(host) for host in hosts]
    try:
        authority = _Authority(folder / AUTHORITY)
        server = folder / SERVER
        if renew and (server / CERTIFICATE).exists():
            hosts = list(dict.fromkeys([*made_for(server), *hosts]))
        called = hosts[0] if len(hosts[0]) <= MOST_COMMON_NAME else "server"
        wanted = [(server, called, hosts, True)]
        for name, role in clients.items():
            wanted.append((folder / CLIENTS / name, name, [f"{ROLE}{role}"], False))
        made = []
        for where, name, others, serves in wanted:
            if renew or not (where / CERTIFICATE).exists():
                authority.sign(where, name, others, serves=serves, days=days)
                made.append(where)
        return made
    except BadFile:
        raise
    except OSError as error:
        raise BadFile(
            f"Keys cannot be read or written in {folder} ({error.strerror}). Name a "
            "folder of your own, or one that is not there yet."
        ) from None


def made_for(folder: str | Path) -> list[str]:
    """Return what a certificate is for, as it was asked for: hosts, or one role.

    Args:
        folder: Of keys.

    Raises:
        MissingExtra: If the package cryptography is not installed.
        BadFile: If the certificate cannot be read.
    """
    x509 = _x509()
    try:
        found = x509.load_pem_x509_certificate(
            (Path(folder) / CERTIFICATE).read_bytes()
        )
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise BadFile(
            f"The certificate in {folder} cannot be read ({error}). Remove that "
            "folder, and make its keys again."
        ) from None
    told = [str(name.value).removeprefix(ROLE) for name in names.value]
    return [name for name in told if not name.startswith(curve.KEY)]


def lacking(
    folder: str | Path, *, hosts: Sequence[str], clients: Mapping[str, str]
) -> dict[Path, list[str]]:
    """Return which of the asked-for hosts and roles the certificates do not have.

    Args:
        folder: As `make_keys` has it, and after that.
        hosts: Names and addresses of the server.
        clients: Role by name.

    Returns:
        By folder of keys, the server's first; empty where nothing is lacking.
    """
    folder = Path(folder)
    wanted = {folder / SERVER: [_written(host) for host in hosts]}
    wanted |= {folder / CLIENTS / name: [role] for name, role in clients.items()}
    there = {place: made_for(place) for place in wanted}
    return {
        place: [one for one in names if one not in there[place]]
        for place, names in wanted.items()
    }


def _check(hosts: Sequence[str], clients: Mapping[str, str], days: int) -> None:
    if isinstance(hosts, str) or not hosts:
        raise WrongType(
            f"keys got the hosts {hosts!r}; they are a list of one or more, such as "
            "['localhost', '192.0.2.7']."
        )
    for host in hosts:
        _address(host)
    if isinstance(days, bool) or not isinstance(days, int):
        raise WrongType(f"keys got {days!r} days; it is a whole number.")
    if not 1 <= days <= MOST_DAYS:
        raise OutOfRange(f"keys got {days} days; 1 to {MOST_DAYS} are allowed.")
    for name, role in clients.items():
        if not NAME.fullmatch(name):
            raise WrongType(
                f"keys got the client {name!r}; a name is letters, digits, -, _ and "
                ". inside, 64 at most, and none of Windows' devices, as con."
            )
        if role not in ROLES:
            raise unknown("role", role, ROLES, "See docs/channels.md.")
    if len({name.lower() for name in clients}) < len(clients):
        raise WrongType(
            f"keys got the clients {', '.join(clients)}; two differ in capitals alone, "
            "and would be one folder on some machines. Name one of them otherwise."
        )


def _address(host: str) -> Any:
    """Return a host as an address if it is one, else None."""
    with suppress(ValueError):
        if "%" not in host:  # the zone of an address is no part of a certificate
            return ipaddress.ip_address(host)
    if not HOST.fullmatch(host):
        raise WrongType(f"keys got the host {host!r}; it is a name or an IP address.")
    return None


def _written(host: str) -> str:
    """Return a host as it is written in a certificate."""
    return str(_address(host) or host.lower())


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError:
        raise MissingExtra(
            "Making keys needs the package cryptography: pip install "
            "'aemtwin[keys]'. To use keys that are there, it is not needed."
        ) from None
    return x509


class _Authority:
    """Signs certificates with a key in a folder, made if it is not there."""

    def __init__(self, folder: Path) -> None:
        x509 = _x509()
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self._x509, self._hash = x509, hashes.SHA256()
        self._ec, self._files = ec, serialization
        certificate, key = folder / "ca.pem", folder / "ca.key"
        if certificate.exists() != key.exists():
            raise BadFile(
                f"{folder} has one of ca.pem and ca.key and not the other. Bring it "
                "back from a copy, or begin in another folder."
            )
        if not key.exists():
            self._key: Any = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._authority()
            _write(key, self._private(self._key), secret=True)
            _write(certificate, self._public(self._certificate))
        try:
            self._key = serialization.load_pem_private_key(key.read_bytes(), None)
            self._certificate = x509.load_pem_x509_certificate(certificate.read_bytes())
            self._known_by = self._certificate.extensions.get_extension_for_class(
                x509.SubjectKeyIdentifier
            ).value
            if self._key.public_key() != self._certificate.public_key():
                raise ValueError("ca.key is not the key of ca.pem")
            # TypeError: the key is locked by a passphrase
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise BadFile(
                f"The authority in {folder} cannot be read ({error}). Bring it back "
                "from a copy, or begin in another folder."
            ) from None
        self._end = self._certificate.not_valid_after_utc
        if datetime.now(UTC) >= self._end:
            raise BadFile(
                f"The authority in {folder} was valid until {self._end:%Y-%m-%d}. "
                "Begin in another folder, and hand out all keys anew."
            )

    def sign(
        self, folder: Path, name: str, others: list[str], *, serves: bool, days: int
    ) -> None:
        """Make a key and its certificate in a folder of keys."""
        x509 = self._x509
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        uses = x509.oid.ExtendedKeyUsageOID
        use = uses.SERVER_AUTH if serves else uses.CLIENT_AUTH
        name_of = self._host if serves else x509.UniformResourceIdentifier
        if not serves:  # a server's key of the data channel is new each time it starts
            public, secret = curve.new_pair()
            _write(folder / curve.FILE, secret.encode("ascii"), secret=True)
            others = [*others, f"{curve.KEY}{public}"]
        names = [name_of(one) for one in others]
        signed = (
            self._begun(name, key.public_key(), timedelta(days=days))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    self._known_by
                ),
                critical=False,
            )
            .sign(self._key, self._hash)
        )
        _write(folder / KEY, self._private(key), secret=True)
        _write(folder / CA, self._public(self._certificate))
        _write(folder / CERTIFICATE, self._public(signed))  # last: it is whole now

    def _host(self, host: str) -> Any:
        address, x509 = _address(host), self._x509
        return x509.DNSName(host) if address is None else x509.IPAddress(address)

    def _authority(self) -> Any:
        x509 = self._x509
        return (
            self._begun(
                "aemtwin authority", self._key.public_key(), timedelta(days=MOST_DAYS)
            )
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(self._key, self._hash)
        )

    def _begun(self, name: str, public: Any, time: timedelta) -> Any:
        x509 = self._x509
        now = datetime.now(UTC)
        called = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
        issuer = getattr(self, "_certificate", None)
        return (
            x509.CertificateBuilder()
            .subject_name(called)
            .issuer_name(called if issuer is None else issuer.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BEFORE)
            .not_valid_after(min(now + time, getattr(self, "_end", now + time)))
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(public), critical=False
            )
        )

    def _private(self, key: Any) -> bytes:
        files = self._files
        pem: bytes = key.private_bytes(
            files.Encoding.PEM, files.PrivateFormat.PKCS8, files.NoEncryption()
        )
        return pem

    def _public(self, certificate: Any) -> bytes:
        pem: bytes = certificate.public_bytes(self._files.Encoding.PEM)
        return pem


def _usage(**uses: bool) -> Any:
    from cryptography import x509

    names = (
        *("digital_signature", "content_commitment", "key_encipherment"),
        *("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"),
        *("encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})


def _write(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write a file whole or not at all; a secret one is for its owner alone."""
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)  # one that was left has the mode that it has
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    file = os.open(scratch, flags, 0o600 if secret else 0o644)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(scratch, path)
