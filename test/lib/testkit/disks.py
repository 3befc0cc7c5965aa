# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Disks that are soon full, and disks that lose their power between any two changes."""

import builtins
import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

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


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """Mount a file system with room for so many KiB; skip the test where this user may not.

    Args:
        folder: Where; it is made. What it held otherwise is hidden meanwhile.
        kib: Its size.
    """
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(file: Path, leave_bytes: int = 0) -> None:
    """Write a file until its disk is full, then leave so much room."""
    with suppress(OSError), file.open("wb", buffering=0) as growing:
        while growing.write(bytes(512)):
            pass
    with file.open("r+b") as shrinking:
        shrinking.truncate(max(0, file.stat().st_size - leave_bytes))


class DyingDisk:
    """A disk below a folder, of which one change is not made: the power is gone, or it is full.

    Changes are files opened to be written, writes (in their middle: half of it is on the disk),
    fsync, renames, links, folders, permissions and removals.
    """

    def __init__(self, root: Path, at: int, *, full: bool = False) -> None:
        """Die before the `at`-th change.

        Args:
            root: The folder.
            at: From 1.
            full: Whether nothing fits from then on; otherwise this process is killed, and files
                that were not synced lose half of their content.
        """
        self._root, self._left, self._full = root, at, full
        self._unsynced = set[int]()

    def change(self, *, grows: bool = True) -> None:
        """Act before a change; `grows`: it needs room."""
        self._left -= 1
        if self._left > 0 or (self._full and not grows):
            return
        if self._full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with _resting():
            for path in self._root.rglob("*"):
                found = path.lstat()
                if found.st_ino in self._unsynced:
                    os.truncate(path, found.st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def wrote(self, handle: int) -> None:
        """Note that a file has content that is not synced."""
        self._unsynced.add(os.fstat(handle).st_ino)

    def synced(self, handle: int) -> None:
        """Note that the content of a file is on the disk for certain."""
        self._unsynced.discard(os.fstat(handle).st_ino)


class _File:
    """A file of which each write is cut in two."""

    def __init__(self, file: Any, disk: DyingDisk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> None:
        self._disk.wrote(self._file.fileno())
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._disk.change()
        self._file.write(data[len(data) // 2 :])

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_at_work: DyingDisk | None = None


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


@contextmanager
def _resting() -> Iterator[None]:
    """Let changes be no changes of the disk."""
    global _at_work
    before, _at_work = _at_work, None
    yield
    _at_work = before


@cache
def _hooked() -> None:
    sys.addaudithook(_hook)  # never taken away, and idle without a disk


@contextmanager
def working(disk: DyingDisk) -> Iterator[None]:
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
