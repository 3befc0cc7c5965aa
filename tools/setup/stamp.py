# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps: a folder stores a key for its inputs, so that completed steps are not repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_NAME = ".workspace-stamp"


def digest(files: Iterable[Path], extra: str = "") -> str:
    """Return a hash of the names and contents of `files`, in any order, and of `extra`."""
    state = hashlib.sha256(extra.encode())
    for file in sorted(files):
        state.update(f"\0{file.name}\0".encode())
        state.update(file.read_bytes())
    return state.hexdigest()


def matches(folder: Path, key: str) -> bool:
    """Return whether `folder` was completed with `key`."""
    file = folder / _NAME
    return file.is_file() and file.read_text(encoding="utf-8") == key


def write(folder: Path, key: str) -> None:
    """Record that `folder` is complete with `key`."""
    (folder / _NAME).write_text(key, encoding="utf-8")
