# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""OCI manifests of bundles and of signed statements: a layer for each file, named by its title.

A manifest does not depend on the time or place of its creation, so that the same files always have
the same digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.contract import NAME, VERSION
from policy_store.bundle_source import DEEPEST
from policy_store.registry.access import RegistryError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
BUNDLE_TYPE = "application/vnd.policy-inference.bundle.v1"
STATEMENT_TYPE = "application/vnd.policy-inference.statement.v1"
EMPTY_TYPE, EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
FILE_TYPE = "application/octet-stream"
TITLE = "org.opencontainers.image.title"
ALGORITHM = "sha256:"
LARGEST_MANIFEST_BYTES, MOST_LAYERS = 1 << 20, 1000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_REFERENCE = re.compile(
    rf"(https://)?({_HOST})/({_PART}(?:/{_PART})*)(?::({_TAG})|@(sha256:[0-9a-f]{{64}}))?"
)
_LONGEST_REFERENCE, _LONGEST_PART, _MOST_BYTES = 1000, 255, 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryReference:
    """Location of a bundle: `HOST/REPOSITORY`, with a tag or a digest.

    Attributes:
        host: Of the registry, with its port.
        repository: Name at the registry; its last part is the bundle's name.
        tag: Tag of a version or statement; empty if a digest is given, or nothing.
        digest: Of the manifest, `sha256:` and 64 hex digits; empty if a tag is given.
        is_secure: Whether TLS is required where plain HTTP is the default: on the loopback
            interface.
    """

    host: str
    repository: str
    tag: str = ""
    digest: str = ""
    is_secure: bool = False

    @property
    def name(self) -> str:
        """Of the bundle."""
        return self.repository.rpartition("/")[2]

    def __str__(self) -> str:
        """Return the text from which it was parsed."""
        end = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"{'https://' if self.is_secure else ''}{self.host}/{self.repository}{end}"


def parse_reference(text: str) -> RegistryReference:
    """Parse a reference such as `robots.lan:5000/fleet/lite3_walk:1.3.0`."""
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
    """Return the tag of a bundle's version; `_` replaces `+`, which tags cannot contain."""
    return version.replace("+", "_")


def is_version_tag(tag: str) -> bool:
    """Return whether a tag is that of a version."""
    return re.fullmatch(VERSION, tag.replace("_", "+")) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A file of a manifest.

    Attributes:
        title: Path inside the bundle.
        digest: `sha256:` and 64 hex digits.
        size_bytes: Of the file.
    """

    title: str
    digest: str
    size_bytes: int


def make_layer(title: str, content: bytes) -> Layer:
    """Return the layer of a file that is in memory."""
    return Layer(title=title, digest=make_digest(content), size_bytes=len(content))


def make_digest(content: bytes) -> str:
    """Return the digest of bytes."""
    return ALGORITHM + hashlib.sha256(content).hexdigest()


def manifest_bytes(artifact_type: str, layers: Sequence[Layer]) -> bytes:
    """Return a manifest; the same layers give the same bytes."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": artifact_type,
        "config": {"mediaType": EMPTY_TYPE, "digest": make_digest(EMPTY), "size": len(EMPTY)},
        "layers": [
            {
                "mediaType": FILE_TYPE,
                "digest": layer.digest,
                "size": layer.size_bytes,
                "annotations": {TITLE: layer.title},
            }
            for layer in layers
        ],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def parse_manifest(content: bytes, artifact_type: str, place: str) -> dict[str, Layer]:
    """Return the layers of a manifest by title.

    Args:
        content: Raw bytes, whose digest was checked if one was requested.
        artifact_type: Required type.
        place: Its source, for messages.
    """
    try:
        document = json.loads(content)
        found = document.get("artifactType") or document.get("mediaType")
        layers = document["layers"] if found == artifact_type else None
    except (ValueError, KeyError, AttributeError, RecursionError):
        found, layers = "no manifest", None
    if not isinstance(layers, list) or document.get("schemaVersion") != 2:
        raise _invalid(place, f"a manifest of the type {artifact_type}", str(found)[:100])
    if len(layers) > MOST_LAYERS:
        raise _invalid(place, f"at most {MOST_LAYERS} layers", f"{len(layers)}")
    parsed = [_layer(entry, place) for entry in layers]
    _refuse_collisions([layer.title for layer in parsed], place)
    return {layer.title: layer for layer in parsed}


def _layer(entry: Any, place: str) -> Layer:
    try:
        digest, size, title = entry["digest"], entry["size"], entry["annotations"][TITLE]
    except (KeyError, TypeError):
        digest, size, title = None, None, None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _invalid(place, "layers with a title and a SHA-256", str(entry)[:200])
    if type(size) is not int or not 0 <= size <= _MOST_BYTES:
        raise _invalid(place, f"layers of 0 to {_MOST_BYTES} bytes", f"{str(size)[:40]}")
    if not isinstance(title, str) or not _is_plain_path(title):
        raise _invalid(
            place,
            "titles that are paths inside the bundle, without hidden files",
            repr(title)[:200],
        )
    return Layer(title=title, digest=digest, size_bytes=size)


def _is_plain_path(title: str) -> bool:
    parts = title.split("/")
    return (
        title.isprintable()
        and "\\" not in title
        and len(parts) <= DEEPEST
        and all(
            part and not part.startswith(".") and len(part.encode()) <= _LONGEST_PART
            for part in parts
        )
    )


def _refuse_collisions(titles: Sequence[str], place: str) -> None:
    """Refuse titles that collide on some file system, or use a file as a folder, too."""
    files, folders = set[str](), set[str]()
    for title in titles:
        plain = unicodedata.normalize("NFC", title).casefold()
        if plain in files:
            raise _invalid(place, "file names that no file system confuses", repr(title))
        files.add(plain)
        parts = plain.split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
    if both := sorted(files & folders):
        raise _invalid(place, "each path to be a file or a folder", f"{both[0]!r} as both")


def _invalid(place: str, expected: str, found: str) -> RegistryError:
    shown = found if found.isprintable() else found.encode("unicode_escape").decode()
    return RegistryError(f"{place}: expected {expected}, found {shown}")
