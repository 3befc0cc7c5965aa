# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unix sockets that listen: one service at a path, and nothing left there when it ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from policy_core.errors import PolicyError
from policy_core.safe_files import lock_within

LONGEST_PATH_BYTES = 107
"""unix(7): sun_path has 108, the last one 0."""
PASSES_RIGHTS = 83
"""SO_PASSRIGHTS of Linux 6.16 (asm-generic/socket.h), which Python does not name yet."""
_MODE = 0o660
_LOCKED_WITHIN_S = 2.0
_log = logging.getLogger(__name__)


def listen(path: Path, backlog: int, group: str = "") -> socket.socket:
    """Listen at a path; a socket file that a dead process left there is replaced.

    Args:
        path: Of the socket file; only its owner and its group may connect.
        backlog: As of listen(2).
        group: Of the file; that of the process if empty.
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH_BYTES:
        raise PolicyError(
            f"{path}: expected a path of a socket, at most {LONGEST_PATH_BYTES} bytes, found {size}"
        )
    listening = socket.socket(socket.AF_UNIX)
    try:
        # Two services that begin at once must not both take the same file for a dead one.
        with _locked(path.parent):
            _make_room(path)
            _bind(listening, path, group)
            # No client may pass descriptors. Older kernels do not know it.
            with contextlib.suppress(OSError):
                listening.setsockopt(socket.SOL_SOCKET, PASSES_RIGHTS, 0)
            listening.listen(backlog)
    except FileNotFoundError as error:
        listening.close()
        raise PolicyError(
            f"{path}: expected the folder {path.parent}, found none; make it, or name another place"
        ) from error
    except OSError as error:
        listening.close()
        raise PolicyError(
            f"{path}: expected a path where a socket can be made, found: {error.strerror or error}"
        ) from error
    except BaseException:
        listening.close()
        raise
    return listening


def identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file, which differ if another file replaces it at its path."""
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which leaves no file behind."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            lock_within(handle, _LOCKED_WITHIN_S)
        except BlockingIOError:
            # Services hold it for a moment; any program that can read the folder can, too.
            _log.warning(
                "%s: another process keeps this folder locked: two services that "
                "begin at the same moment may take the same path",
                folder,
            )
        yield
    finally:
        os.close(handle)


def _make_room(path: Path) -> None:
    """Remove the socket of a process that has ended; refuse anything else that is there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise PolicyError(
            f"{path}: expected a free path or a socket that no process uses any more, "
            "found a file that is no socket, which stays"
        )
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        answer = asking.connect_ex(str(path))
    if answer == errno.ECONNREFUSED:
        _log.warning("%s: replaces the socket of a process that has ended", path)
        path.unlink()
    elif answer in (errno.EACCES, errno.EPERM):
        raise PolicyError(
            f"{path}: expected a socket of this user, found one of user "
            f"{found.st_uid}, to which this one may not connect"
        )
    elif answer != errno.ENOENT:
        raise PolicyError(
            f"{path}: expected a socket that no process uses, found one in use by "
            "another process; end that one, or choose another path"
        )


def _bind(listening: socket.socket, path: Path, group: str) -> None:
    # The mode of the file is that of the descriptor, less the umask: never wider than it shall be.
    os.fchmod(listening.fileno(), 0o600)
    listening.bind(str(path))
    try:
        if group:
            _give(path, group)
        path.chmod(_MODE)
    except BaseException:
        path.unlink()
        raise


def _give(path: Path, group: str) -> None:
    try:
        shutil.chown(path, group=group)
    except LookupError:
        raise PolicyError(
            f"--socket-group: expected a group of this machine, found {group!r}"
        ) from None
    except PermissionError as error:
        raise PolicyError(
            f"--socket-group: expected a group that this user is in, found "
            f"{group!r}: {error.strerror}"
        ) from None
