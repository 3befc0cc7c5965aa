# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A temporary folder that only this user may enter, and that goes with its process."""

from __future__ import annotations

import tempfile
from pathlib import Path

_folders: set[tempfile.TemporaryDirectory[str]] = set()


class PrivateFolder:
    """Made at once; gone after `remove`, at the end of a `with`, or of the process."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: There is no place for it.
        """
        self._folder = tempfile.TemporaryDirectory(
            prefix="policy_inference_", ignore_cleanup_errors=True
        )
        _folders.add(self._folder)

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._folder.name)

    def remove(self) -> None:
        """Remove it with all that it holds."""
        self._folder.cleanup()
        _folders.discard(self._folder)

    def __enter__(self) -> PrivateFolder:
        """Return this folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()


def remove_folders() -> None:
    """Remove all of them, for a process that ends without closing anything."""
    for folder in _folders.copy():
        folder.cleanup()
