# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Listening Unix sockets: one service per path, and no file left behind when it ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import socket
import stat
from pathlib import Path

from policy_core.errors import PolicyError

LONGEST_PATH_BYTES = 107
"""Maximum path length: in unix(7), sun_path has 108 bytes, including a terminating 0."""
PASSES_RIGHTS = 83
"""SO_PASSRIGHTS of Linux 6.16 (asm-generic/socket.h), which Python does not define yet."""
_MODE = 0o660
_log = logging.getLogger(__name__)


def listen(path: Path, backlog: int, group: str = "") -> socket.socket:
    """Listen at a path; replace a socket file that a dead process left there.

    Args:
        path: Path of the socket file; only its owner and its group may connect.
        backlog: See listen(2).
        group: Group of the file; the process's group if empty.
    """
    size = len(os.fsencode(path))
    if size > LONGEST_PATH_BYTES:
        raise PolicyError(
            f"{path}: expected a socket path of at most {LONGEST_PATH_BYTES} bytes, found {size}"
        )
    listening = socket.socket(socket.AF_UNIX)
    try:
        _make_room(path)
        _bind(listening, path, group)
        # No client may pass descriptors. Older kernels do not have this option.
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, PASSES_RIGHTS, 0)
        listening.listen(backlog)
    except FileNotFoundError as error:
        listening.close()
        raise PolicyError(
            f"{path}: expected the folder {path.parent}, found none; make it, or choose another "
            "path"
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


def _make_room(path: Path) -> None:
    """Remove the socket of a process that has ended; reject anything else at the path."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise PolicyError(
            f"{path}: expected a free path or a socket that is no longer in use, found a file that "
            "is not a socket; remove it or choose another path"
        )
    with socket.socket(socket.AF_UNIX) as asking:
        asking.setblocking(False)
        answer = asking.connect_ex(str(path))
    if answer == errno.ECONNREFUSED:
        _log.warning("%s: replacing the socket of a process that has ended", path)
        path.unlink()
    elif answer in (errno.EACCES, errno.EPERM):
        raise PolicyError(
            f"{path}: expected this user's socket, found one owned by user "
            f"{found.st_uid}, to which this user may not connect"
        )
    elif answer != errno.ENOENT:
        raise PolicyError(
            f"{path}: expected a socket that no process uses, found one in use by another "
            "process; stop that process, or choose another path"
        )


def _bind(listening: socket.socket, path: Path, group: str) -> None:
    # The file gets the mode of the descriptor, minus the umask: never too permissive.
    os.fchmod(listening.fileno(), 0o600)
    listening.bind(str(path))
    try:
        if group:
            shutil.chown(path, group=group)
        path.chmod(_MODE)
    except (LookupError, PermissionError) as error:
        path.unlink()
        raise PolicyError(
            "--socket-group: expected an existing group that this user belongs to, found "
            f"{group!r}: {error}"
        ) from None
