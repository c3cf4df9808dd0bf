"""Certificates in use: who may come in, and as what; whom we believe to be there.

A folder of keys has three files: `ca.pem`, the authority that both sides believe,
`cert.pem` and `key.pem`, who we are. `aemtwin.remote.authority` makes them. Everything
here is the `ssl` of the standard library.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from aemtwin.errors import AccessRefused, AemtwinError, BadFile, Unreachable

log = logging.getLogger(__name__)

ANY = ("0.0.0.0", "::")  # every address of this machine
ROLES = ("observe", "operate", "admin")  # each may do what those before it may
ROLE = "aemtwin:role:"  # what the role of a certificate is written after
FOLDER = "AEMTWIN_KEYS"  # names the folder of our keys
FILES = ("ca.pem", "cert.pem", "key.pem")
MAKE = "Whoever serves makes them with `aemtwin keys`."


class Caller(NamedTuple):
    """Who is on the other side, by its certificate."""

    name: str
    role: str


def keys_folder(given: str | Path | None) -> Path | None:
    """Return the folder of our keys: `given`, or that of the environment, if any."""
    said = given if given is not None else os.environ.get(FOLDER) or None
    return None if said is None else Path(said)


def server_context(folder: str | Path, host: str | None = None) -> ssl.SSLContext:
    """Return what a server shows, and demands of everybody who comes.

    Args:
        folder: Of its keys.
        host: Where it listens: that clients will not believe it there is logged.

    Raises:
        BadFile: If the keys cannot be read, are not valid today, or not a server's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a session is not resumed: each shows its certificate
    loaded, why = _loaded(context, Path(folder)), ""
    if host is not None:
        why = _unbelieved(loaded, Path(folder), host)
    if why == NO_SERVER:
        raise BadFile(
            f"{folder} cannot serve: {why}. Name the folder that `aemtwin keys` calls "
            "server."
        )
    if why and host not in ANY:
        log.warning(
            "who reaches this server as %s does not believe it: %s. For one more name "
            "or address: aemtwin keys FOLDER --host %s --renew",
            host,
            why,
            host,
        )
    return loaded


def client_context(folder: str | Path) -> ssl.SSLContext:
    """Return what a client shows, and demands of the server; the name included.

    Raises:
        BadFile: If the keys cannot be read, or are not valid today.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), Path(folder))


def _loaded(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    # Both sides are ours or young: no older version has to be spoken
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    authority, certificate, key = (folder / name for name in FILES)
    try:
        for name in FILES:
            if not (folder / name).is_file():
                raise BadFile(
                    f"{folder} is no folder of keys: there is no {name} in it, and "
                    f"there should be {', '.join(FILES)}. {MAKE}"
                )
        context.load_verify_locations(authority)
        # A passphrase is never asked for: a server has nobody who would type it
        context.load_cert_chain(certificate, key, password="")
        valid = {p: validity(p.read_text("ascii")) for p in (authority, certificate)}
    except BadFile:
        raise
    except PermissionError:
        raise BadFile(
            f"The keys in {folder} may not be read by this account. They are for the "
            "one who serves or calls: make that one their owner."
        ) from None
    except (OSError, ValueError, IndexError) as error:  # SSLError is an OSError
        said = getattr(error, "reason", None) or error
        raise BadFile(
            f"The keys in {folder} cannot be used ({said}): a file is damaged, or the "
            f"key has a passphrase or is of another certificate. {MAKE}"
        ) from None
    now = datetime.now(UTC)
    for path, (begin, end) in valid.items():
        if not begin <= now <= end:
            how = "in another folder" if path == authority else "with --renew"
            raise BadFile(
                f"The certificate {path} is valid from {begin:%Y-%m-%d %H:%M} to "
                f"{end:%Y-%m-%d %H:%M} UTC, and now it is {now:%Y-%m-%d %H:%M}. Have "
                f"it made anew (`aemtwin keys`, {how}), or set the clock."
            )
    return context


def validity(pem: str) -> tuple[datetime, datetime]:
    """Return from when to when a certificate is valid, the first one of a text.

    Raises:
        ValueError: If the text is no certificate.

    Source:
        RFC 5280 (2008), section 4.1: a certificate begins with version, serial number,
        signature, issuer and validity.
    """
    begin_of, end_of = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER)
    der = ssl.PEM_cert_to_DER_cert(pem[begin_of:end_of] + ssl.PEM_FOOTER)
    _, whole, _ = _element(der)
    _, body, _ = _element(whole)
    tag, _, rest = _element(body)
    if tag == 0xA0:  # the version, which may be left out
        _, _, rest = _element(rest)
    for _ in range(2):  # signature, issuer
        _, _, rest = _element(rest)
    _, times, _ = _element(rest)
    found = []
    for _ in range(2):
        tag, value, times = _element(times)
        form = "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ"
        found.append(datetime.strptime(value.decode("ascii"), form))
    begin, end = (one.replace(tzinfo=UTC) for one in found)
    return begin, end


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first element of DER, and what follows it."""
    tag, size, at = der[0], der[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    if at + size > len(der):
        raise ValueError("an element is cut off")
    return tag, der[at : at + size], der[at + size :]


def caller_of(certificate: Mapping[str, Any]) -> Caller:
    """Return whose certificate this is, as `SSLSocket.getpeercert` tells it.

    Raises:
        AccessRefused: If it has no role, or one that there is not.
    """
    subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
    name = subject.get("commonName", "somebody")
    others = certificate.get("subjectAltName", ())
    roles = [
        value.removeprefix(ROLE)
        for kind, value in others
        if kind == "URI" and value.startswith(ROLE)
    ]
    if len(roles) != 1 or roles[0] not in ROLES:
        raise AccessRefused(
            f"The certificate of {name!r} has the roles {roles}; it needs one of "
            f"{', '.join(ROLES)}. {MAKE}"
        )
    return Caller(name, roles[0])


WHY = {  # words of OpenSSL -> what they mean to whoever asked
    "CERTIFICATE_REQUIRED": "it wants a certificate, and none was shown",
    "CERTIFICATE_EXPIRED": "our certificate has expired",
    "UNKNOWN_CA": "our certificate is of another authority than the server's",
    "BAD_CERTIFICATE": "our certificate is damaged, or not valid yet by its clock",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not made for a client",
    "ACCESS_DENIED": "our certificate has no role",
}
FOREIGN = "its certificate is of another authority than ours"
NO_SERVER = "its certificate is not made for a server"
BELIEF = {
    "has expired": "its certificate has expired",
    "Hostname mismatch": "its certificate is not for that host",
    "IP address mismatch": "its certificate is not for that address",
    "self-signed": FOREIGN,
    "unable to get local issuer": FOREIGN,
    "unsuitable certificate purpose": NO_SERVER,
    "unsupported certificate purpose": NO_SERVER,
    "certificate signature failure": FOREIGN,
    "not yet valid": "its certificate is not valid yet",
}


def _unbelieved(context: ssl.SSLContext, folder: Path, host: str) -> str:
    """Return why clients that reach a server as `host` would not believe it, or "".

    The first steps of a greeting are made in memory, from both sides.

    Args:
        context: Of `server_context`.
        folder: Of the same keys.
        host: As clients say it.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(folder / FILES[0])
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(back, there, server_hostname=host)
    answers = context.wrap_bio(there, back, server_side=True)
    with suppress(ssl.SSLWantReadError):
        asks.do_handshake()
    with suppress(ssl.SSLWantReadError):
        answers.do_handshake()
    try:
        asks.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return _why_not(error)
    return ""


def _why_not(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message or str(error)
    return next((why for words, why in BELIEF.items() if words in said), said)


def explain(error: OSError, uri: str) -> AemtwinError:
    """Return a greeting over TLS that failed as an error that says why.

    Args:
        error: Of the socket.
        uri: Whom we wanted.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return AccessRefused(
            f"{uri} is not believed: {_why_not(error)}. Nothing was sent. Check the "
            "address, and that both sides have keys of the same authority (`aemtwin "
            "keys`)."
        )
    reason = str(getattr(error, "reason", "") or error)
    why = next((w for words, w in WHY.items() if words in reason.upper()), "")
    if why:
        return AccessRefused(
            f"{uri} does not let us in: {why}. Ask whoever serves it for keys that "
            "are valid, and name their folder (keys=, --keys, AEMTWIN_KEYS)."
        )
    if "PROTOCOL_VERSION" in reason.upper():
        return Unreachable(
            f"{uri} speaks an older TLS than 1.3 ({reason}), the oldest that we do. "
            "Renew what it is served with, or tunnel: ssh -L."
        )
    if isinstance(error, ssl.SSLError):
        return Unreachable(
            f"{uri} cannot be spoken with over TLS ({reason}): it is served without "
            "keys, or is no instrument. Leave the keys out only on this machine."
        )
    return Unreachable(
        f"{uri} ended the connection while it was made ({error}): it does not let us "
        "in, or is no instrument."
    )
