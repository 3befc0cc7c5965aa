# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Who may connect from other machines: the token, the service's certificate, its clients' CA."""

from __future__ import annotations

import re
import ssl
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from policy_core.errors import PolicyError
from policy_core.safe_files import read_at_most
from policy_inference.service.protocol import LONGEST_TOKEN

if TYPE_CHECKING:  # only TLS needs it, and it takes 30 ms to import
    from cryptography import x509

SHORTEST_TOKEN = 16
_LARGEST_BYTES = 1 << 20
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_WARNED_BEFORE = timedelta(days=30)


def read_token(file: Path, client_group: int | None = None) -> bytes:
    """Return the token in a file, less spaces and line ends around it.

    Args:
        file: Of the token.
        client_group: Id of the group that may connect to a Unix socket of the service, and must
            not be able to read the file; None where there is no such socket.

    Raises:
        PolicyError: Others may read it too, or it is too short or too long.
        OSError: It cannot be read.
    """
    token = _read_private(file, client_group).strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise PolicyError(
            f"{file}: expected a token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} bytes, "
            f"found {len(token)}; make one: openssl rand -hex 32"
        )
    return token


def server_context(
    certificate: Path, key: Path, client_ca: Path | None = None, client_group: int | None = None
) -> tuple[ssl.SSLContext, tuple[str, ...]]:
    """Return what TLS connections are made from, and what to warn of.

    Args:
        certificate: PEM file of the service's certificate, and the chain above it.
        key: PEM file of its key, without a passphrase.
        client_ca: PEM file of the CA that signs clients' certificates, or of several, of which
            one at least must be valid; None asks for none.
        client_group: Must not be able to read the key, as for `read_token`.

    Raises:
        PolicyError: One is not what it shall be, has expired, or others may read the key.
        OSError: One cannot be read.
    """
    warnings = _check_dates(certificate)
    _read_private(key, client_group)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # OpenSSL would ask for a passphrase on the terminal, and wait for ever.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise PolicyError(
            f"{key}: expected the key of {certificate}, PEM without a passphrase, "
            f"found: {_words(error)}"
        ) from None
    if client_ca is not None:
        warnings += _check_dates(client_ca, one_is_enough=True)
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise PolicyError(
                f"{client_ca}: expected certificates, PEM, found: {_words(error)}"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context, tuple(warnings)


def _read_private(file: Path, client_group: int | None) -> bytes:
    content = read_at_most(file, _LARGEST_BYTES)
    found = file.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IRWXO:
        raise PolicyError(
            f"{file}: expected a file that others than owner and group cannot read "
            f"or change, found mode {mode:04o}; chmod o= {file}"
        )
    if mode & stat.S_IRWXG and found.st_gid == client_group:
        raise PolicyError(
            f"{file}: expected a file that clients cannot read or change, found mode "
            f"{mode:04o} for the group {client_group}, which may connect to the "
            f"Unix socket; chmod g= {file}, or use another --socket-group"
        )
    return content


def _check_dates(file: Path, *, one_is_enough: bool = False) -> list[str]:
    """Refuse certificates that are not valid now; return warnings of those that end soon."""
    now = datetime.now(timezone.utc)
    found = _certificates(file)
    invalid = [text for one in found if (text := _out_of_time(file, one, now))]
    if invalid and not (one_is_enough and len(invalid) < len(found)):
        raise PolicyError(invalid[0])
    soon = [
        (one, ends)
        for one in found
        if now <= (ends := _date(one, "not_valid_after")) < now + _WARNED_BEFORE
    ]
    return invalid + [
        f"{file}: expires at {ends:%Y-%m-%d %H:%M} UTC, in {(ends - now).days} days "
        f"({one.subject.rfc4514_string()})"
        for one, ends in soon
    ]


def _certificates(file: Path) -> list[x509.Certificate]:
    from cryptography import x509

    # One by one: the cryptography of Ubuntu 22.04 has no function for several.
    try:
        found = [
            x509.load_pem_x509_certificate(text)
            for text in _PEM.findall(read_at_most(file, _LARGEST_BYTES))
        ]
    except ValueError:
        found = []
    if not found:
        raise PolicyError(f"{file}: expected a certificate, PEM, found a file of another format")
    return found


def _out_of_time(file: Path, found: x509.Certificate, now: datetime) -> str:
    """Return why a certificate is not valid now; empty where it is."""
    begins, ends = _date(found, "not_valid_before"), _date(found, "not_valid_after")
    name = found.subject.rfc4514_string()
    if now < begins:
        return (
            f"{file}: expected a certificate that is valid now, found one that is from "
            f"{begins:%Y-%m-%d %H:%M} UTC on; is the clock right "
            f"({now:%Y-%m-%d %H:%M} UTC)? ({name})"
        )
    if now > ends:
        return (
            f"{file}: expected a certificate that is valid now, found one that expired at "
            f"{ends:%Y-%m-%d %H:%M} UTC ({name}); renew it"
        )
    return ""


def _date(certificate: x509.Certificate, name: str) -> datetime:
    """Return a date; the cryptography of Ubuntu 22.04 has them without a time zone."""
    aware = getattr(certificate, f"{name}_utc", None)
    found: datetime = aware or getattr(certificate, name).replace(tzinfo=timezone.utc)
    return found


def _words(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
