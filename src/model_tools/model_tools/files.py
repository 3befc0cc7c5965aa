# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs that are there once, whole, or not at all; nothing is replaced unless asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_tools.errors import ToolError


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there is moved into place at the end.

    Args:
        path: The file to be.
        force: Whether a file that is there may be replaced.

    Raises:
        ToolError: It is there already, or is no file.
        OSError: It cannot be written.
    """
    if path.is_dir():
        raise ToolError(f"{path}: expected a file to write, found a folder")
    _refuse_existing(path, force)
    with _scratch(path) as scratch:
        growing = scratch / path.name
        yield growing
        growing.replace(path)


@contextmanager
def new_folder(path: Path, *, marker: str, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it is moved into place at the end.

    Args:
        path: The folder to be.
        marker: File that a folder must hold to be one that may be replaced.
        force: Whether such a folder may be replaced.

    Raises:
        ToolError: It is there already, or is another kind of folder than this command makes.
        OSError: It cannot be written.
    """
    _refuse_existing(path, force)
    if path.exists() and not (path / marker).is_file():
        raise ToolError(f"{path}: expected a folder with {marker} to replace, found something "
                        "else, which --force does not touch")
    with _scratch(path) as scratch:
        growing = scratch / path.name
        growing.mkdir()
        yield growing
        if path.exists():
            path.rename(scratch / f"{path.name}.replaced")
        growing.rename(path)


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ToolError(f"{path}: expected nothing there yet, found "
                        f"{'a folder' if path.is_dir() else 'a file'}; --force replaces it")


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Give a folder on the file system of `path`, where moving is at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
