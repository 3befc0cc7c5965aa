# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle signatures: Ed25519 (RFC 8032) over the bytes of `policy.yaml` or `set.yaml`.

`policy.yaml` contains the hashes of all files that a policy uses, and `set.yaml` contains the
hashes of its members' `policy.yaml`, so the signature covers all of them. The signature is base64
text in a file next to the signed file, with `.sig` appended to its name. Keys are PEM files from
`openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policy_core.errors import BundleError, PolicyError, Problem
from policy_core.safe_files import reading

if TYPE_CHECKING:  # only configured keys need the library, whose import adds 10 ms to a start
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_LARGEST_BYTES = 1 << 12
"""Maximum size of a signature file; a signature has 88 bytes."""
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The trusted public keys, one of which must have signed a bundle."""

    keys: Mapping[str, Ed25519PublicKey]
    """Keys by fingerprint."""
    source: str
    """Where the keys were configured, for messages."""

    def signer(self, file: Path, content: bytes, remedy: str = "") -> str:
        """Return the fingerprint of the key that signed a contract.

        Args:
            file: The `policy.yaml` or `set.yaml`, with its signature file next to it.
            content: The bytes that will be used; the file is not read again.
            remedy: Remedy for the error message; "" for the default.

        Raises:
            BundleError: The signature is missing, or was not made over these bytes with one of
                these keys.
        """
        place = signature_path(file)
        try:
            with reading(place) as stream:
                return self.find_signer(file, content, stream.read(_LARGEST_BYTES + 1), remedy)
        except FileNotFoundError:
            found = "nothing"
        except OSError as error:
            found = error.strerror or type(error).__name__
        raise self._no_signature(place, found, remedy)

    def find_signer(self, file: Path, content: bytes, text: bytes | None, remedy: str = "") -> str:
        """Return the fingerprint of the key that signed a contract, given the signature's text.

        Args:
            file: Same as for `signer`; used in messages only.
            content: Same as for `signer`.
            text: Content of the signature file; None if there is no such file.
            remedy: Same as for `signer`.

        Raises:
            BundleError: Same as `signer`.
        """
        from cryptography.exceptions import InvalidSignature

        place = signature_path(file)
        if text is None:
            raise self._no_signature(place, "nothing", remedy)
        try:
            if len(text) > _LARGEST_BYTES:
                raise self._no_signature(place, f"more than {_LARGEST_BYTES} bytes", remedy)
            signature = base64.b64decode(b"".join(text.split()), validate=True)
        except binascii.Error:
            raise self._no_signature(place, "text that is not base64", remedy) from None
        for fingerprint, key in self.keys.items():
            try:
                key.verify(signature, content)
            except InvalidSignature:
                continue
            return fingerprint
        known = ", ".join(f"{fingerprint[:12]}..." for fingerprint in self.keys)
        raise BundleError(
            Problem(
                file=str(place),
                expected=f"a signature of this {file.name} by a key in {self.source} ({known})",
                found="an invalid signature",
                remedy="the file was altered or another key signed it: "
                + (
                    remedy
                    or "get the bundle again from its source, or have it signed with one of these "
                    "keys (`model_tools sign`)"
                ),
            )
        )

    def _no_signature(self, place: Path, found: str, remedy: str) -> BundleError:
        return BundleError(
            Problem(
                file=str(place),
                expected=f"a base64 signature (public keys are configured: {self.source})",
                found=found,
                remedy=remedy or "have the bundle signed (`model_tools sign`)",
            )
        )


def signature_path(file: Path) -> Path:
    """Return the path of the signature file that belongs to a file."""
    return file.with_name(f"{file.name}.sig")


def read_public_keys(place: Path) -> dict[str, Ed25519PublicKey]:
    """Return the public keys from a PEM file, or from a folder's `*.pem` files, by fingerprint.

    Raises:
        PolicyError: No key was found, or a key is unreadable or not Ed25519.
    """
    try:
        files = sorted(place.glob("*.pem")) if place.is_dir() else [place]
        blocks = [(file, match) for file in files for match in _PEM.finditer(file.read_bytes())]
    except OSError as error:
        raise _key_error(
            error.filename or place, f"none that can be read ({error.strerror or error})"
        ) from error
    keys = [_public_key(file, match[0]) for file, match in blocks]
    if not keys:
        raise _key_error(place, "none")
    return {fingerprint(key): key for key in keys}


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a key's DER encoding as 64 hex digits.

    Same as `openssl pkey -pubin -in public.pem -outform DER | sha256sum`.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _public_key(file: Path, pem: bytes) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        kind = pem.partition(b"-----BEGIN ")[2].partition(b"-----")[0].decode("ascii", "replace")
        raise _key_error(file, f"an unreadable {kind.lower()}: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _key_error(file, "a key of another kind")
    return key


def _key_error(place: object, found: str) -> PolicyError:
    return PolicyError(
        f"{place}: expected Ed25519 public keys in PEM, found {found}; "
        "`openssl pkey -in private.pem -pubout -out public.pem` writes one"
    )
