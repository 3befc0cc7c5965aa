# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Who may connect from other machines: the token, the service's certificate, its clients' CA."""

from __future__ import annotations

import ssl
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509

from policy_inference.errors import PolicyError
from policy_inference.regular_file import read_at_most
from policy_inference.service.protocol import LONGEST_TOKEN

SHORTEST_TOKEN = 16
_LARGEST_BYTES = 1 << 20
_WARNED_BEFORE = timedelta(days=30)


def read_token(file: Path) -> bytes:
    """Return the token in a file, less spaces and line ends around it.

    Raises:
        PolicyError: Others may read it too, or it is too short or too long.
        OSError: It cannot be read.
    """
    token = _read_private(file).strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise PolicyError(f"{file}: expected a token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} bytes, "
                          f"found {len(token)}; make one: openssl rand -hex 32")
    return token


def server_context(
    certificate: Path, key: Path, client_ca: Path | None = None
) -> tuple[ssl.SSLContext, tuple[str, ...]]:
    """Return what TLS connections are made from, and what to warn of.

    Args:
        certificate: PEM file of the service's certificate, and the chain above it.
        key: PEM file of its key, without a passphrase.
        client_ca: PEM file of the CA that signs clients' certificates; None asks for none.

    Raises:
        PolicyError: One is not what it shall be, has expired, or others may read the key.
        OSError: One cannot be read.
    """
    warnings = [_check_dates(certificate)]
    _read_private(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        # Asked for a passphrase, a service has nobody who would type one.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise PolicyError(f"{key}: expected the key of {certificate}, PEM without a passphrase, "
                          f"found: {_words(error)}") from None
    if client_ca is not None:
        warnings.append(_check_dates(client_ca))
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise PolicyError(f"{client_ca}: expected certificates, PEM, found: "
                              f"{_words(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context, tuple(filter(None, warnings))


def _read_private(file: Path) -> bytes:
    content = read_at_most(file, _LARGEST_BYTES)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IRWXO:
        raise PolicyError(f"{file}: expected a file that others than owner and group cannot read "
                          f"or change, found mode {mode:04o}; chmod o= {file}")
    return content


def _check_dates(file: Path) -> str:
    """Refuse a certificate that is not valid now; return a warning where it ends soon."""
    try:
        found = x509.load_pem_x509_certificate(read_at_most(file, _LARGEST_BYTES))
    except ValueError:
        raise PolicyError(f"{file}: expected a certificate, PEM, found something else") from None
    begins, ends = _date(found, "not_valid_before"), _date(found, "not_valid_after")
    now = datetime.now(timezone.utc)
    if now < begins:
        raise PolicyError(f"{file}: expected a certificate that is valid now, found one that is "
                          f"from {begins:%Y-%m-%d %H:%M} UTC on; is the clock right "
                          f"({now:%Y-%m-%d %H:%M} UTC)?")
    if now > ends:
        raise PolicyError(f"{file}: expected a certificate that is valid now, found one that "
                          f"expired at {ends:%Y-%m-%d %H:%M} UTC; renew it")
    if now > ends - _WARNED_BEFORE:
        return f"{file}: expires at {ends:%Y-%m-%d %H:%M} UTC, in {(ends - now).days} days"
    return ""


def _date(certificate: x509.Certificate, name: str) -> datetime:
    """Return a date; the cryptography of Ubuntu 22.04 has them without a time zone."""
    aware = getattr(certificate, f"{name}_utc", None)
    found: datetime = aware or getattr(certificate, name).replace(tzinfo=timezone.utc)
    return found


def _words(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
