# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Figures in a file: there whole or not at all, and never in the place of another unasked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy_inference.errors import PolicyError


def check_new(path: Path, *, force: bool) -> None:
    """Raise where `write_new` would refuse, before anything takes its time.

    Raises:
        PolicyError: Something is there already, or no folder to write to.
    """
    if path.is_dir() or (path.exists() and not force):
        kind, remedy = ("a folder", "") if path.is_dir() else ("a file", "; --force replaces it")
        raise PolicyError(f"{path}: expected nothing there yet, found {kind}{remedy}")
    if not path.parent.is_dir():
        raise PolicyError(f"{path.parent}: expected a folder to write to, found none")


def write_new(path: Path, data: Mapping[str, Any], *, force: bool) -> None:
    """Write a mapping as JSON.

    Args:
        path: The file to be.
        data: In the types of JSON.
        force: Whether a file that is there is replaced.

    Raises:
        PolicyError: As `check_new`.
        OSError: It cannot be written.
    """
    check_new(path, force=force)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        growing = Path(scratch, path.name)
        growing.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", "utf-8")
        growing.replace(path)
