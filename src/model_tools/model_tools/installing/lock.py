# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One installer at a time for each bundle; a lock that a killed one leaves is open."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.durable import FILE_MODE
from policy_inference.regular_file import open_regular

LOCK = ".lock"


@contextmanager
def locked(model: Path) -> Iterator[None]:
    """Keep other installers away from the folder of a bundle meanwhile.

    Raises:
        ToolError: Another one is at work; says which. Or the lock is no file of ours.
        OSError: The lock cannot be written.
    """
    handle = _opened(model / LOCK, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 100).decode("utf-8", "replace").strip() or "another process"
            raise ToolError(f"{model}: expected nobody else at work there, found {holder}; wait "
                            "until it is done") from None
        if stat.S_IMODE(os.fstat(handle).st_mode) != FILE_MODE:  # new, under a stricter umask
            os.fchmod(handle, FILE_MODE)
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def is_locked(model: Path) -> bool:
    """Return whether an installer is at work.

    Raises:
        ToolError: The lock is no file of ours.
    """
    try:
        handle = _opened(model / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _opened(lock: Path, flags: int) -> int:
    """Open the lock, never what it leads to: who installs may be root."""
    try:
        handle = open_regular(lock, flags | os.O_NOFOLLOW)
        if os.fstat(handle).st_nlink == 1:
            return handle
        os.close(handle)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.EISDIR):
            raise
    raise ToolError(f"{lock}: expected a file that installers lock, found a link, a folder, or a "
                    "pipe; nobody of us made it: remove it")
