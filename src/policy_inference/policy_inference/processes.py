# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Private folders that are removed with their process, and the environment of child processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from policy_store.signals import before_end_now

_folders: set[tempfile.TemporaryDirectory[str]] = set()


class PrivateFolder:
    """A temporary folder that only this user can enter, and that its process removes.

    It is removed by `remove`, at the end of a `with` block, or at the end of the process.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="policy_inference_", ignore_cleanup_errors=True
        )
        _folders.add(self._folder)

    @property
    def path(self) -> Path:
        return Path(self._folder.name)

    def remove(self) -> None:
        self._folder.cleanup()
        _folders.discard(self._folder)

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_folders() -> None:
    """Remove all private folders, in a process that ends without closing them."""
    for folder in _folders.copy():
        folder.cleanup()


before_end_now(remove_folders)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for child processes that start meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
