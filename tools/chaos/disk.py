# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A disk that sees each change of the file system that this process makes, and may end it."""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any
from unittest.mock import patch

_CHANGES = {
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.symlink",
    "os.chmod",
    "os.link",
    "os.truncate",
}


class WatchedDisk:
    """A disk on which everything succeeds."""

    def change(self, *, grows: bool = True) -> None:
        """Act before a change.

        Files opened to be written, writes (in their middle: half of it is on the disk), fsync,
        renames, links, folders, permissions and removals; `grows`: it needs room.
        """

    def wrote(self, file: Any) -> None:
        """Note that a file has content that is not synced."""

    def synced(self, handle: int) -> None:
        """Note that the content of a file is on the disk for certain."""


class _File:
    """A file of which each write is cut in two."""

    def __init__(self, file: Any, disk: WatchedDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> None:
        self._disk.wrote(self._file)
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._disk.change()
        self._file.write(data[len(data) // 2 :])

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_at_work: WatchedDisk | None = None


def _hook(event: str, args: tuple[Any, ...]) -> None:
    disk = _at_work
    if disk is None:
        return
    is_opened = (
        event == "open"
        and isinstance(args[2], int)
        and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    )
    if event in _CHANGES or is_opened:
        disk.change(grows=event not in ("os.remove", "os.rmdir"))


@cache
def _hooked() -> None:
    sys.addaudithook(_hook)  # never taken away, and idle without a disk


@contextmanager
def working(disk: WatchedDisk) -> Iterator[None]:
    """Let all changes of files in this process go to a disk."""
    global _at_work
    _hooked()

    def opened(
        real: Callable[..., Any], file: Any, mode: str = "r", *more: Any, **named: Any
    ) -> Any:
        found = real(file, mode, *more, **named)
        return found if mode in ("r", "rb", "rt") else _File(found, disk)

    def fsync(real: Callable[[int], None], handle: int) -> None:
        disk.change(grows=False)
        real(handle)
        disk.synced(handle)

    def counted(real: Callable[..., Any], *given: Any) -> Any:
        disk.change()
        return real(*given)

    with ExitStack() as stack:
        for module, name in ((os, "fdopen"), (io, "open"), (builtins, "open")):
            stack.enter_context(patch.object(module, name, partial(opened, getattr(module, name))))
        stack.enter_context(patch.object(os, "fsync", partial(fsync, os.fsync)))
        for name in ("write", "ftruncate"):
            stack.enter_context(patch.object(os, name, partial(counted, getattr(os, name))))
        _at_work = disk
        try:
            yield
        finally:
            _at_work = None
