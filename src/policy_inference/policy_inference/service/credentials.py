# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Credentials for connections from other machines: token, server certificate, client CA."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path
from typing import NamedTuple

from policy_core.errors import PolicyError
from policy_core.safe_files import read_at_most

SHORTEST_TOKEN, LONGEST_TOKEN = 16, 256
_LARGEST_BYTES = 1 << 20


class ServerCertificate(NamedTuple):
    """TLS server certificates, all in PEM.

    Attributes:
        chain: The server's certificate, and the chain above it.
        key: The server's key, without a passphrase.
        client_ca: One or more CAs that may sign client certificates; None requires no client
            certificate.
    """

    chain: bytes
    key: bytes
    client_ca: bytes | None


def read_token(file: Path) -> bytes:
    """Return the token in a file, without surrounding whitespace."""
    token = _read_private(file).strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        raise PolicyError(
            f"{file}: expected a token of {SHORTEST_TOKEN} to {LONGEST_TOKEN} bytes, "
            f"found {len(token)}; make one: openssl rand -hex 32"
        )
    return token


def read_certificate(
    certificate: Path, key: Path, client_ca: Path | None = None
) -> ServerCertificate:
    """Read and check a TLS server's certificates."""
    found = ServerCertificate(
        read_at_most(certificate, _LARGEST_BYTES),
        _read_private(key),
        read_at_most(client_ca, _LARGEST_BYTES) if client_ca is not None else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # OpenSSL would ask for a passphrase on the terminal, and wait forever.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise PolicyError(
            f"{key}: expected the key of {certificate} in PEM without a passphrase, "
            f"found: {_words(error)}"
        ) from None
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except ssl.SSLError as error:
        raise PolicyError(
            f"{client_ca}: expected certificates in PEM, found: {_words(error)}"
        ) from None
    return found


def _read_private(file: Path) -> bytes:
    content = read_at_most(file, _LARGEST_BYTES)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & stat.S_IRWXO:
        raise PolicyError(
            f"{file}: expected a file that only its owner and group can read or "
            f"change, found mode {mode:04o}; run `chmod o= {file}`"
        )
    return content


def _words(error: Exception) -> str:
    # Without the line of Python's source, which differs between its versions.
    return getattr(error, "reason", None) or str(error).partition(" (_ssl.c:")[0]
