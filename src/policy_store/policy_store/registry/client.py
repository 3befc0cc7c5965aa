# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Client for a repository in an OCI registry (distribution specification 1.1)."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from policy_core.safe_files import open_regular
from policy_store.registry.access import RegistryAccess, RegistryError, UnavailableError
from policy_store.registry.connection import RegistryConnection
from policy_store.registry.manifest import (
    ALGORITHM,
    LARGEST_MANIFEST_BYTES,
    MANIFEST_TYPE,
    Layer,
    RegistryReference,
    make_digest,
)

ATTEMPTS = 4
_BLOCK = 1 << 20
_log = logging.getLogger("policy_store")
T = TypeVar("T")
Progress = Callable[[int, int | None], None]
"""Callback that receives the number of bytes transferred, and the total (None if unknown)."""


class RegistryRepository:
    """Reads a repository's manifests and blobs.

    It retries after network errors, with increasing delays.
    """

    def __init__(self, reference: RegistryReference, access: RegistryAccess) -> None:
        """Prepare requests to the repository; nothing is sent yet."""
        self.reference = reference
        self._at = f"/v2/{reference.repository}"
        self._backoff_s = access.backoff_s
        self._connection = RegistryConnection(reference.host, access, is_secure=reference.is_secure)

    def manifest(self, tag_or_digest: str) -> bytes | None:
        """Return a manifest's raw bytes, checked against a requested digest; None if not found."""
        url, headers = f"manifests/{tag_or_digest}", {"Accept": MANIFEST_TYPE}
        content = self._body(url, LARGEST_MANIFEST_BYTES, (200, 404), headers)
        if content is not None and ":" in tag_or_digest and make_digest(content) != tag_or_digest:
            raise RegistryError(
                f"{self._connection.base}{self._at}: expected the manifest {tag_or_digest}, found "
                f"{make_digest(content)}; the registry is damaged or hostile"
            )
        return content

    def blob(self, layer: Layer) -> bytes:
        """Return the content of a small layer, checked against its digest."""
        content = self._body(f"blobs/{layer.digest}", layer.size_bytes, (200,), {})
        if content is None or make_digest(content) != layer.digest:
            raise self._other_content(layer)
        return content

    def _body(
        self, path: str, limit_bytes: int, expected: tuple[int, ...], headers: Mapping[str, str]
    ) -> bytes | None:
        url = f"{self._at}/{path}"

        def fetch() -> bytes | None:
            with self._connection.request("GET", url, expected, headers=headers) as answer:
                return None if answer.status == 404 else answer.body(limit_bytes)

        return self._retried(fetch)

    def download(self, layer: Layer, part: Path, progress: Progress) -> None:
        """Download a layer to a file, resuming an interrupted download, and check its digest.

        Args:
            layer: The layer.
            part: File path, which may contain the beginning of the layer from an interrupted
                attempt.
            progress: Receives the number of bytes present, and the layer's size.
        """
        self._retried(lambda: self._continue(layer, part, progress))

    def _continue(self, layer: Layer, part: Path, progress: Progress) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        with os.fdopen(open_regular(part, flags), "r+b") as file:
            digest, there = hashlib.sha256(), 0
            while block := file.read(_BLOCK):
                digest.update(block)
                there += len(block)
            continued = there > 0
            if there < layer.size_bytes:
                headers = {"Range": f"bytes={there}-"} if there else {}
                url, expected = f"{self._at}/blobs/{layer.digest}", (200, 206, 416)
                with self._connection.request("GET", url, expected, headers=headers) as answer:
                    if not _continues(answer.status, answer.headers.get("Content-Range"), there):
                        # the whole file, or a range that was not requested: start from the
                        # beginning
                        digest, there = hashlib.sha256(), 0
                        file.seek(0)
                        file.truncate()
                    if answer.status != 200 and there == 0:
                        raise UnavailableError(f"{answer.url}: expected the requested bytes")
                    for block in answer.blocks(layer.size_bytes - there):
                        digest.update(block)
                        file.write(block)
                        there += len(block)
                        progress(there, layer.size_bytes)
            file.flush()
            os.fsync(file.fileno())
        if there < layer.size_bytes:
            raise UnavailableError(
                f"{layer.title}: expected {layer.size_bytes} bytes, found {there}; try again"
            )
        if ALGORITHM + digest.hexdigest() != layer.digest:
            part.unlink()
            if continued:  # the earlier part may be damaged
                raise UnavailableError(
                    f"{layer.title}: expected {layer.digest}, found different content"
                )
            raise self._other_content(layer)

    def _retried(self, act: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return act()
            except UnavailableError as error:
                wait_s = self._backoff_s * 2 ** (attempt - 1)
                _log.warning("%s; retrying in %g s", error, wait_s)
                time.sleep(wait_s)
        return act()

    def _other_content(self, layer: Layer) -> RegistryError:
        return RegistryError(
            f"{self._connection.base}{self._at}: {layer.title}: expected content with "
            f"{layer.digest}, found different content; the registry is damaged or hostile"
        )


def _continues(status: int, content_range: str | None, there: int) -> bool:
    if status == 206:
        match = re.match(r"bytes (\d{1,18})-", content_range or "")
        return match is not None and int(match[1]) == there > 0
    return there == 0
