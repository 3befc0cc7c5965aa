# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files with a known SHA-256: the bytes used are the bytes that were hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from policy_core.bundle.contract import Artifact, File, Normalisation
from policy_core.errors import BackendError, BundleError, Problem
from policy_core.safe_files import reading

LARGEST_BYTES = 1 << 28
"""Maximum size of a file kept in memory: golden rows, statistics, a report."""
_BLOCK = 1 << 20
_FOR_OTHERS = (
    "get the complete bundle; a bundle that was made or pulled for some back ends has no models "
    "for others"
)


def sha256_file(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises:
        OSError: The file cannot be read, or is not a regular file.
    """
    digest = hashlib.sha256()
    with reading(file) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verified(folder: Path, entry: Artifact | File | Normalisation) -> Path:
    """Check the hash of a file in a bundle folder, and return the file's path.

    Raises:
        BundleError: The file is missing or has a wrong hash.
    """
    for _ in _blocks(folder, entry):
        pass
    return folder / entry.file


def verified_bytes(
    folder: Path, entry: Artifact | File | Normalisation, largest: int = LARGEST_BYTES
) -> bytes:
    """Check the hash of a file in a bundle folder, and return its content, up to a maximum size.

    Raises:
        BundleError: Same as `verified`, or the file is too large to keep in memory.
    """
    blocks, size = list[bytes](), 0
    for block in _blocks(folder, entry):
        blocks.append(block)
        size += len(block)
        if size > largest:
            raise BundleError(
                Problem(
                    file=str(folder / entry.file),
                    found="a larger one",
                    expected=f"a file of at most {largest >> 20} MiB",
                )
            )
    return b"".join(blocks)


def verified_copy(folder: Path, entry: Artifact, place: Path) -> Path:
    """Copy a file to `place` (a folder only this user can change), check it and return its path.

    Raises:
        BackendError: There is no space left.
        BundleError: Same as `verified`.
    """
    copy = place / Path(entry.file).name
    blocks = _blocks(folder, entry)
    try:
        with copy.open("wb") as stream:
            stream.writelines(blocks)
    except OSError as error:
        raise BackendError(
            f"{folder / entry.file}: expected room for a copy in {place.parent}, "
            f"found: {error.strerror}; choose another folder with TMPDIR"
        ) from error
    return copy


def _blocks(folder: Path, entry: Artifact | File | Normalisation) -> Iterator[bytes]:
    """Yield the content of a file in blocks; if its hash is wrong, raise an error at the end."""
    file, digest = folder / entry.file, hashlib.sha256()
    remedy = ""
    if isinstance(entry, Artifact):
        remedy = f"get it from {entry.url}" if entry.url else _FOR_OTHERS
    try:
        with reading(file) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
                yield block
    except OSError as error:
        found = "a folder" if file.is_dir() else error.strerror or str(error)
        raise BundleError(
            Problem(
                file=str(file),
                expected="the file that policy.yaml names",
                found="nothing" if isinstance(error, FileNotFoundError) else found,
                remedy=remedy,
            )
        ) from error
    if digest.hexdigest() != entry.sha256:
        raise BundleError(
            Problem(
                file=str(file),
                expected=f"sha256 {entry.sha256}",
                found=digest.hexdigest(),
                remedy="restore the file, or make the bundle again",
            )
        )
