# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One JSON file to be sent to anybody, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from policy_inference.errors import PolicyError


def write_new(path: Path, data: Any, force: bool) -> None:
    """Write data as JSON under a temporary name, and move it into place.

    Args:
        path: The file to be.
        data: Plain values; ``~`` takes the place of the home folder, whose name is its user's.
        force: Whether a file that is there may be replaced.

    Raises:
        PolicyError: It is there already, or is a folder.
        OSError: Its folder cannot be written.
    """
    refuse_existing(path, force)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(_without_home(data), file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
        Path(name).chmod(0o644)
        refuse_existing(path, force)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def refuse_existing(path: Path, force: bool) -> None:
    """Raise where a file must not be written.

    Raises:
        PolicyError: It is there already, or is a folder.
    """
    if path.is_dir():
        raise PolicyError(f"{path}: expected a file to write, found a folder")
    if path.exists() and not force:
        raise PolicyError(f"{path}: expected a file that is not there yet, found one; name "
                          "another, or replace it with --force")


def _without_home(value: Any) -> Any:
    if isinstance(value, dict):
        return {_without_home(name): _without_home(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_without_home(entry) for entry in value]
    home = str(Path.home())
    if isinstance(value, str) and home != "/":
        return re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", value)
    return value
