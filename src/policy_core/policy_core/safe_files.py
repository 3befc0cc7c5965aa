# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Safe reads from untrusted paths, atomic file writes, and file locks.

Only regular files of limited size are read: a pipe could block the reader forever, and a device may
have no end.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

BOUNDED_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compression methods that NumPy and this suite use in zip archives. zipfile unpacks other methods
in one step, regardless of the declared size: 750 bytes of bzip2 expand to 400 MB.
"""
_LOOK_AGAIN_S = 0.01
PREFIX = ".policy_inference."
"""Prefix of an incomplete file's name, which omits the final name, since that may be too long."""
MOST_MEMBERS = 4096
"""Maximum number of members in an array archive, since NumPy searches all of them for each array.
"""


def arrays_problem(archive: zipfile.ZipFile) -> str:
    """Return why the arrays in an archive (.npz) must not be read; "" if they may be read."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        return f"{len(members)} members, more than {MOST_MEMBERS}"
    if not {member.compress_type for member in members} <= BOUNDED_COMPRESSIONS:
        return "a compression method that numpy does not use"
    return ""


def open_regular(path: Path | str, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open a regular file; return its descriptor.

    Args:
        path: The file.
        flags: Flags for open(2); the umask decides who can read a created file.
        dir_fd: Descriptor of the folder for a relative path; None for the working directory.

    Raises:
        OSError: The file cannot be opened, or is not a regular file.
    """
    # Opening a pipe would wait for a writer; for regular files the flag has no effect.
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=dir_fd)
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return handle
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "a pipe, socket or device", str(path))


def reading(path: Path) -> IO[bytes]:
    """Open a regular file for reading.

    Raises:
        OSError: Same as `open_regular`.
    """
    return os.fdopen(open_regular(path), "rb")


def read_at_most(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a regular file of at most `limit_bytes`.

    Raises:
        OSError: Same as `open_regular`, or the file is larger.
    """
    with reading(path) as stream:
        # First read the stated size only, since a buffer of the requested size is allocated.
        stated = min(os.fstat(stream.fileno()).st_size, limit_bytes)
        content = stream.read(stated + 1)
        if len(content) == stated + 1:  # the file has grown, or states no size, as in /proc
            content += stream.read(limit_bytes - stated)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"more than {limit_bytes} bytes", str(path))
    return content


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Yield a temporary file that replaces `path` on success and is removed otherwise.

    Args:
        path: The final file; an existing file is replaced.
        mode: Permissions of the final file.

    Raises:
        OSError: The file cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)  # robots are switched off without being shut down
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def lock_within(handle: int, timeout_s: float) -> None:
    """Lock an open file or folder exclusively; closing `handle` releases the lock.

    Args:
        handle: Descriptor of the open file or folder.
        timeout_s: Maximum wait for another process that holds the lock.

    Raises:
        BlockingIOError: Another process held the lock for longer than `timeout_s`.
    """
    ends_s = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > ends_s:
                raise
            time.sleep(_LOOK_AGAIN_S)
        else:
            return
