# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signs bundles and statements with an Ed25519 key; `bundle.signature` verifies them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from model_tools.errors import ToolError
from model_tools.files.outputs import new_file
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import read_bytes
from policy_core.bundle.signature import TrustedKeys, fingerprint, signature_path
from policy_core.bundle.statements import Statement, parse_statement, parse_time


def sign(
    bundle: Path, key_file: Path, password: Callable[[], bytes], *, force: bool = False
) -> str:
    """Sign `policy.yaml` or `set.yaml`, which covers all files by their hashes.

    Args:
        bundle: Folder of the bundle or policy set, which must be complete.
        key_file: The private key, PEM.
        password: Function that returns the password of an encrypted key.
        force: Replace an existing signature.

    Returns:
        The key's fingerprint.
    """
    key = read_private_key(key_file, password)
    verified = load_bundle(bundle, kind=Bundle)
    verified.verify()
    with new_file(signature_path(verified.file), force=force) as growing:
        # Sign the verified content: the file may have changed in the meantime.
        growing.write_bytes(base64.b64encode(key.sign(verified.content)) + b"\n")
    public = key.public_key()
    name = fingerprint(public)
    load_bundle(bundle, TrustedKeys({name: public}, str(key_file)), kind=Bundle)
    return name


def sign_statement(
    file: Path, key_file: Path, password: Callable[[], bytes], *, force: bool = False
) -> tuple[Statement, str]:
    """Sign a statement about a bundle; return it, and the key's fingerprint.

    Args:
        file: The statement; its signature becomes `FILE.sig` next to it.
        key_file: See `sign`.
        password: See `sign`.
        force: See `sign`.
    """
    key, content = read_private_key(key_file, password), read_bytes(file)
    statement = parse_statement(content, file)
    require_begun(statement, file)
    with new_file(signature_path(file), force=force) as growing:
        growing.write_bytes(base64.b64encode(key.sign(content)) + b"\n")
    return statement, fingerprint(key.public_key())


def require_begun(statement: Statement, place: Path) -> None:
    """Raise an error if a statement was issued in the future, according to this computer's clock.

    A robot that accepts such a statement takes its time as the current time, and treats channels as
    expired until then.
    """
    now = datetime.now(timezone.utc)
    issued = parse_time(statement.issued)
    assert issued is not None  # `parse_statement` checked it
    if issued - now > timedelta(days=1):
        raise ToolError(
            f"{place}: expected a statement that was not issued in the future (now: "
            f"{now.isoformat(timespec='seconds')}), found `issued` {statement.issued}; correct it, "
            "or the clock of this computer"
        )


def read_private_key(file: Path, password: Callable[[], bytes]) -> Ed25519PrivateKey:
    """Return an Ed25519 key from a PEM file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ToolError(
            f"{file}: expected an Ed25519 private key in PEM, found: {error.strerror or error}; "
            "check the path and its permissions"
        ) from error
    try:
        try:
            key = load_pem_private_key(content, None)
        except TypeError:  # the library's error for an encrypted key
            key = load_pem_private_key(content, password())
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:  # also for an empty password
        raise _key_error(file, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _key_error(file, "a key of another kind")
    return key


def _key_error(file: Path, found: str) -> ToolError:
    return ToolError(
        f"{file}: expected an Ed25519 private key in PEM, found: {found}; "
        "`openssl genpkey -algorithm ed25519 -out private.pem` makes one"
    )
