# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Safe reads of untrusted paths, files that are written whole or not at all, and locks of files.

Only regular files of limited size are read: a pipe could block its reader for ever, and a device
has no end.
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
"""Of zip archives, those of numpy and ours. zipfile unpacks a member in another one in one step,
whatever size it states: 750 bytes of bzip2 are 400 MB."""
_LOOK_AGAIN_S = 0.01
PREFIX = ".policy_inference."
"""Of a file that is not whole yet; its own name may be as long as the file system allows."""
MOST_MEMBERS = 4096
"""Of an archive of arrays: numpy looks through all of them for each."""


def arrays_problem(archive: zipfile.ZipFile) -> str:
    """Return why the arrays in an archive are not read (.npz); empty where they are."""
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        return f"{len(members)} members, more than {MOST_MEMBERS}"
    if not {member.compress_type for member in members} <= BOUNDED_COMPRESSIONS:
        return "a compression that numpy does not write"
    return ""


def open_regular(path: Path | str, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open a regular file, and nothing else; return its descriptor.

    Args:
        path: The file.
        flags: Of open(2); a file that is made is readable for all whom the umask lets.
        dir_fd: Folder that a relative path begins at, as a descriptor; None for the working one.

    Raises:
        OSError: It cannot be opened, or is something else.
    """
    # A pipe would wait for a program that writes into it; for regular files the flag does nothing.
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


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Give a temporary file beside `path`, which takes its place at the end, and goes otherwise.

    Args:
        path: The file to be; one that is there is replaced.
        mode: Its permissions.

    Raises:
        OSError: It cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)  # a robot is switched off, not shut down
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def lock_within(handle: int, timeout_s: float) -> None:
    """Lock an open file or folder alone; closing it ends the lock.

    Args:
        handle: Its descriptor.
        timeout_s: How long to wait for another process that has the lock.

    Raises:
        BlockingIOError: Another process has it for longer.
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
