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
from aemtwin.remote.keys import FILES, ROLE, ROLES

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # it becomes a folder's name
HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
HERE = ("localhost", "127.0.0.1", "::1")
DAYS, MOST_DAYS = 397, 3650
AUTHORITY, SERVER, CLIENTS = "authority", "server", "clients"
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
        hosts: Names and addresses that clients reach the server by.
        clients: Role by name: observe, operate or admin.
        days: How long the certificates are valid; the authority is for ten years.
        renew: Whether certificates that are there are made anew.

    Returns:
        The folders of keys that were made.

    Raises:
        MissingExtra: If the package cryptography is not installed.
        WrongType: If a name is none.
        UnknownName: If there is no such role.
        BadFile: If the authority cannot be read.
    """
    clients, folder = dict(clients or {}), Path(folder)
    if not 1 <= days <= MOST_DAYS:
        raise OutOfRange(f"keys got {days} days; 1 to {MOST_DAYS} are allowed.")
    for host in hosts:
        _named(host)
    for name, role in clients.items():
        if not NAME.fullmatch(name):
            raise WrongType(
                f"keys got the client {name!r}; a name is letters, digits, - and _, 64 "
                "at most."
            )
        if role not in ROLES:
            raise unknown("role", role, ROLES, "See docs/channels.md.")
    authority = _Authority(folder / AUTHORITY)
    made = []
    wanted: list[tuple[Path, str, list[Any], bool]] = [
        (folder / SERVER, hosts[0] if hosts else "server", list(hosts), True)
    ]
    for name, role in clients.items():
        wanted.append((folder / CLIENTS / name, name, [f"{ROLE}{role}"], False))
    for where, name, others, serves in wanted:
        if renew or not (where / FILES[1]).exists():
            authority.sign(where, name, others, serves=serves, days=days)
            made.append(where)
    return made


def _named(host: str) -> Any:
    """Return a host as a certificate names it."""
    from cryptography import x509

    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if not HOST.fullmatch(host):
        raise WrongType(f"keys got the host {host!r}; it is a name or an IP address.")
    return x509.DNSName(host)


class _Authority:
    """Signs certificates with a key in a folder, made if it is not there."""

    def __init__(self, folder: Path) -> None:
        try:
            from cryptography import x509
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError:
            raise MissingExtra(
                "Making keys needs the package cryptography: pip install "
                "'aemtwin[keys]'. To use keys that are there, it is not needed."
            ) from None
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
        except ValueError as error:
            raise BadFile(
                f"The authority in {folder} cannot be read ({error}). Bring it back "
                "from a copy, or begin in another folder."
            ) from None

    def sign(
        self, folder: Path, name: str, others: list[str], *, serves: bool, days: int
    ) -> None:
        """Make a key and its certificate in a folder of keys."""
        x509 = self._x509
        key = self._ec.generate_private_key(self._ec.SECP256R1())
        uses = x509.oid.ExtendedKeyUsageOID
        use = uses.SERVER_AUTH if serves else uses.CLIENT_AUTH
        names = [
            _named(one) if serves else x509.UniformResourceIdentifier(one)
            for one in others
        ]
        authority = self._certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value
        signed = (
            self._begun(name, key.public_key(), timedelta(days=days))
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    authority
                ),
                critical=False,
            )
            .sign(self._key, self._hash)
        )
        _write(folder / FILES[2], self._private(key), secret=True)
        _write(folder / FILES[1], self._public(signed))
        _write(folder / FILES[0], self._public(self._certificate))

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
            .not_valid_after(now + time)
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
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    file = os.open(scratch, flags, 0o600 if secret else 0o644)
    try:
        os.write(file, data)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(scratch, path)
