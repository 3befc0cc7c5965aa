# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Steps on the file system of which each is there whole after a power cut, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from model_tools.errors import ToolError
from policy_inference.whole_file import PREFIX, whole_file

FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""Whatever the umask: the node runs as another user than the one who installs."""
_BLOCK = 1 << 20
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Say what to do where the root cannot be written.

    Raises:
        ToolError: This user may not write there, or there is no room.
        OSError: Something else is wrong with a file there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            raise ToolError(
                f"{error.filename or root}: expected a place that this user can write, found: "
                f"{error.strerror}; run it with sudo, or give the root to this user once "
                f"(`sudo chown -R USER {root}`)") from error
        if error.errno in NO_ROOM:
            raise ToolError(
                f"{root}: expected room to write, found: {error.strerror}; nothing was changed; "
                "`model_tools prune` removes old versions") from error
        raise


def room_bytes(folder: Path) -> int:
    """Return the room for files in a folder, which may be missing yet."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def make_folders(folder: Path) -> None:
    """Make a folder and those around it, as far as they are missing."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(FOLDER_MODE)
    sync_folder(folder.parent)


def copy_synced(stream: IO[bytes], file: Path) -> str:
    """Write a new file; return its SHA-256, 64 hex digits."""
    digest = hashlib.sha256()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with os.fdopen(handle, "wb") as out:
        while block := stream.read(_BLOCK):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fchmod(handle, FILE_MODE)
        os.fsync(handle)
    return digest.hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write a file, in the place of one that may be there."""
    with whole_file(file, FILE_MODE) as growing:
        growing.write(text.encode())
    sync_folder(file.parent)


def switch_link(link: Path, target: str) -> None:
    """Let a link point to `target`; whoever follows it meanwhile finds the old or the new one."""
    growing = link.with_name(hidden(link.name))
    growing.symlink_to(target)
    growing.replace(link)
    sync_folder(link.parent)


def move_folder(folder: Path, place: Path) -> None:
    """Give a folder, or a file, another name on its file system, where nothing is yet."""
    folder.rename(place)
    sync_folder(place.parent)


def remove(leftover: Path) -> None:
    """Remove a file, a link or a folder with all that it holds."""
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hidden(name: str) -> str:
    """Return a name of something in the making or on its way out, which nobody else uses."""
    return f".{name}.{secrets.token_hex(4)}"


def is_hidden(name: str) -> bool:
    """Return whether this is such a name; other hidden files are somebody else's."""
    return name.startswith(PREFIX) or bool(re.fullmatch(r"\..+\.[0-9a-f]{8}", name))
