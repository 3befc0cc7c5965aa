# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Write command output files atomically; replace existing files only if forced."""

from __future__ import annotations

import json
import re
import stat
import tempfile
from pathlib import Path
from typing import Any

from policy_core.errors import PolicyError
from policy_core.safe_files import PREFIX, whole_file


def write_new(path: Path, data: Any, force: bool) -> None:
    """Write data as JSON under a temporary name, and move it into place.

    Args:
        path: The final file.
        data: Plain values; ``~`` replaces the home folder, whose path contains the user's name.
        force: True to replace an existing file.
    """
    text = json.dumps(sendable(data), indent=1, ensure_ascii=False, allow_nan=False)
    write_new_bytes(path, f"{text}\n".encode(), force)


def write_new_bytes(path: Path, content: bytes, force: bool) -> None:
    """Write bytes; see `write_new`."""
    _refuse_existing(path, force)
    with whole_file(path, 0o644) as file:
        file.write(content)


def refuse_unwritable(path: Path, force: bool) -> None:
    """Raise an error unless `write_new` can write the file; call before work that could be lost."""
    _refuse_existing(path, force)
    try:
        with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=path.parent):
            pass
    except OSError as error:
        raise PolicyError(
            f"{path.parent}: expected a writable folder, found: {error.strerror}"
        ) from error


def _refuse_existing(path: Path, force: bool) -> None:
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not is_file:
        raise PolicyError(
            f"{path}: expected a file to write, found something that is not a regular file; choose "
            "a different path"
        )
    if not force:
        raise PolicyError(
            f"{path}: expected a path that does not exist yet, found a file; choose a different "
            "path, or replace the file with --force"
        )


def sendable(value: Any) -> Any:
    """Return values without the home folder's path, and with strings that UTF-8 can encode.

    The report can then be written even if paths are not UTF-8 or values from other packages are not
    JSON.
    """
    if isinstance(value, dict):
        return {sendable(name): sendable(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [sendable(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else str(value)
    text, home = text.encode("utf-8", "backslashreplace").decode("utf-8"), str(Path.home())
    return text if home == "/" else re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
