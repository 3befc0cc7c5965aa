# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of strangers: no pipe that is waited for, no device without an end, nothing too large."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO


def open_regular(path: Path | str, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open a regular file, and nothing else; return its descriptor.

    Args:
        path: The file.
        flags: Of open(2); a file that is made is readable for all whom the umask lets.
        dir_fd: Folder that a relative path begins at, as a descriptor; None for the working one.

    Raises:
        OSError: It cannot be opened, or is something else.
    """
    # Not to wait for somebody who writes into a pipe; regular files take no notice.
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "no regular file", str(path))


def reading(path: Path) -> IO[bytes]:
    """Open a regular file to read it.

    Raises:
        OSError: As `open_regular`.
    """
    return os.fdopen(open_regular(path), "rb")


def read_at_most(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: As `open_regular`, or it is larger than that.
    """
    with reading(path) as stream:
        # No more room than is needed: a buffer is made as large as what is asked for.
        stated = min(os.fstat(stream.fileno()).st_size, limit_bytes)
        content = stream.read(stated + 1)
        if len(content) == stated + 1:  # it grows, or its size is none, as below /proc
            content += stream.read(limit_bytes - stated)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"more than {limit_bytes} bytes", str(path))
    return content
