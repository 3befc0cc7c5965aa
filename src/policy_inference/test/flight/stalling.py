# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A disk that stops answering, as an SD card or a file server that is gone."""

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OPERATIONS = (
    *((os, name) for name in ("access", "lstat", "mkdir", "open", "rename", "stat", "statvfs")),
    *((os.path, "lexists"), (shutil, "disk_usage"), (tempfile, "mkdtemp")),
    *((Path, name) for name in ("is_dir", "mkdir", "rename", "stat")),
)
"""Whatever may ask the disk, by where it is called from."""
_AT_MOST_S = 30.0
"""So that a test that fails does so, rather than hang itself."""
RECORDERS = {"flight recorder"}
"""Who may wait for a disk."""


class StalledDisk:
    """Everything below a folder waits until the disk answers again.

    Attributes:
        threads: Names of the threads that have waited.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = str(folder), patch
        self._answers = threading.Event()
        self.waits = threading.Event()
        self.threads = set[str]()

    def stall(self) -> None:
        for owner, name in OPERATIONS:
            self._stall(owner, name, getattr(owner, name))

    def answer(self) -> None:
        self._answers.set()
        self._patch.undo()

    def _stall(self, owner: Any, name: str, real: Any) -> None:
        def stalled(*given: Any, **named: Any) -> Any:
            if any(self._folder in str(part) for part in (*given, *named.values())):
                self.threads.add(threading.current_thread().name)
                self.waits.set()
                self._answers.wait(_AT_MOST_S)
            return real(*given, **named)

        self._patch.setattr(owner, name, stalled)


@contextmanager
def stalled_disk(folder: Path) -> Iterator[StalledDisk]:
    """Give a disk below `folder` that can be stalled, and answers at the end."""
    with pytest.MonkeyPatch.context() as patch:
        disk = StalledDisk(folder, patch)
        yield disk
        disk.answer()
