# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""OCI manifests for bundles and signed statements: one layer per file, named by its title."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.contract import NAME
from policy_core.errors import shown
from policy_store.registry.access import RegistryError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
BUNDLE_TYPE = "application/vnd.policy-inference.bundle.v1"
STATEMENT_TYPE = "application/vnd.policy-inference.statement.v1"
TITLE = "org.opencontainers.image.title"
ALGORITHM = "sha256:"
LARGEST_MANIFEST_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_REFERENCE = re.compile(
    rf"(https://)?({_HOST})/({_PART}(?:/{_PART})*)(?::({_TAG})|@(sha256:[0-9a-f]{{64}}))?"
)
_LONGEST_REFERENCE, _MOST_BYTES = 1000, 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryReference:
    """Location of a bundle: `HOST/REPOSITORY`, with a tag or a digest.

    Attributes:
        host: Host of the registry, with its port if stated.
        repository: Name of the repository; its last part is the bundle's name.
        tag: Tag of a version or statement; empty if a digest or neither is given.
        digest: Digest of the manifest, `sha256:` and 64 hex digits; empty if a tag is given.
        is_secure: True if TLS is required even on the loopback interface, where plain HTTP is the
            default.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""
    is_secure: bool = False

    @property
    def name(self) -> str:
        """Bundle name."""
        return self.repository.rpartition("/")[2]

    @property
    def place(self) -> str:
        """Registry and repository, as named in messages."""
        return f"{self.host}/{self.repository}"

    def __str__(self) -> str:
        """Return the text from which the reference was parsed."""
        end = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"{'https://' if self.is_secure else ''}{self.host}/{self.repository}{end}"


def parse_reference(text: str) -> RegistryReference:
    """Return the reference in a text such as `robots.lan:5000/fleet/lite3_walk:1.3.0`."""
    match = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST_REFERENCE else None
    if match is None or not re.fullmatch(NAME, match[3].rpartition("/")[2]):
        raise RegistryError(
            "expected REGISTRY/NAME, REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST with the "
            f"bundle's name last, such as robots.lan:5000/fleet/lite3_walk:1.3.0, found "
            f"{text[:200]!r}"
        )
    return RegistryReference(
        host=match[2],
        repository=match[3],
        tag=match[4] or "",
        digest=match[5] or "",
        is_secure=bool(match[1]),
    )


def version_tag(version: str) -> str:
    """Return the tag for a bundle version; `_` replaces `+`, which tags cannot contain."""
    return version.replace("+", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A file that a manifest lists.

    Attributes:
        title: Path inside the bundle.
        digest: `sha256:` and 64 hex digits.
        size_bytes: Size of the file.
    """

    title: str
    digest: str
    size_bytes: int


def make_digest(content: bytes) -> str:
    """Return the digest of some content: `sha256:` and 64 hex digits."""
    return ALGORITHM + hashlib.sha256(content).hexdigest()


def parse_manifest(content: bytes, artifact_type: str, place: str) -> dict[str, Layer]:
    """Return the layers of a manifest, by title.

    Titles are not checked, since only layers that a contract names are downloaded.

    Args:
        content: Raw bytes of the manifest.
        artifact_type: Required type.
        place: Source of the manifest, used in messages.
    """
    try:
        document = json.loads(content)
        found = document.get("artifactType") or document.get("mediaType")
        layers = document["layers"] if found == artifact_type else None
    except (ValueError, KeyError, AttributeError, RecursionError):
        found, layers = "no manifest", None
    if not isinstance(layers, list) or document.get("schemaVersion") != 2:
        raise RegistryError(
            f"{place}: expected a manifest of the type {artifact_type} with schemaVersion 2 and "
            f"layers, found {shown(str(found))}{' without them' * (found == artifact_type)}"
        )
    return {layer.title: layer for layer in (_layer(entry, place) for entry in layers)}


def _layer(entry: Any, place: str) -> Layer:
    try:
        digest, size, title = entry["digest"], entry["size"], entry["annotations"][TITLE]
    except (KeyError, TypeError):
        digest, size, title = None, None, None
    if (
        not isinstance(title, str)
        or not isinstance(digest, str)
        or not _DIGEST.fullmatch(digest)
        or type(size) is not int
        or not 0 <= size <= _MOST_BYTES
    ):
        raise RegistryError(
            f"{place}: expected layers with a title, a SHA-256 and a size of at most {_MOST_BYTES} "
            f"bytes, found {shown(str(entry))}"
        )
    return Layer(title=title, digest=digest, size_bytes=size)
