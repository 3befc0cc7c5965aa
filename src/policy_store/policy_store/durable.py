# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic and durable changes to the file system, and locks against other installers."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from policy_core.errors import BundleError, PolicyError
from policy_core.safe_files import PREFIX, lock_within, whole_file

FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""Modes set despite the umask; the node's user must be able to read what another user installed."""
_BLOCK = 1 << 20
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Add a remedy to errors that the block raises when it writes to the root."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_ALLOWED:
            raise PolicyError(
                f"{root}: expected a place that this user can write to, found: "
                f"{error.strerror}; use sudo, or make this user the owner of the root once (`sudo "
                f"chown -R USER {root}`)"
            ) from error
        if error.errno in _NO_ROOM:
            raise PolicyError(
                f"{root}: expected free space, found: {error.strerror}; nothing was changed; "
                "`policy_store prune` removes old versions"
            ) from error
        raise


@contextmanager
def errors_renamed(renamed: Callable[[str], str]) -> Iterator[None]:
    """Replace the names of temporary files in errors from the block with names the user knows."""
    try:
        yield
    except BundleError as error:
        raise BundleError(
            *(replace(problem, file=renamed(problem.file)) for problem in error.problems)
        ) from error
    except PolicyError as error:
        error.args = tuple(renamed(str(line)) for line in error.args)
        raise


def room_bytes(folder: Path) -> int:
    """Return the free space for files in a folder, which may not exist yet, in bytes."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(there).free


def make_folders(folder: Path) -> Path:
    """Create a folder and its missing parents, and return it."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)
        sync_folder(folder.parent)
    return folder


def require_own(folder: Path) -> Path:
    """Return a folder that this user made and that no other user can change.

    Raises:
        PolicyError: It is a link, or another user can write to it.
    """
    made = folder.lstat()
    is_own = made.st_uid == os.geteuid() and not made.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not (stat.S_ISDIR(made.st_mode) and is_own):
        kind = "a link" if folder.is_symlink() else f"one of user {made.st_uid}"
        raise PolicyError(
            f"{folder}: expected a folder of this user that no one else can write to, found "
            f"{kind}; move it away"
        )
    return folder


@contextmanager
def private_folder(parent: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a new folder that only this user can enter; remove it unless the block renamed it.

    Args:
        parent: Folder in which it is made, which may belong to another user.

    Yields:
        The path at which to read and write, which stays that of this folder even if the owner of
        `parent` puts another one in its place; and the path to rename.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        inside = Path(f"/proc/self/fd/{handle}")
        try:
            yield inside, folder
        except BaseException:
            for entry in inside.iterdir():
                remove(entry)
            with suppress(OSError):  # another one is in its place
                folder.rmdir()
            raise
    finally:
        os.close(handle)


def copy_synced(stream: IO[bytes], file: Path) -> str:
    """Write a stream to a new file; return its SHA-256 as 64 hex digits."""
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
    """Write a file, replacing an existing one."""
    with whole_file(file, FILE_MODE) as growing:
        growing.write(text.encode())
    sync_folder(file.parent)


def switch_link(link: Path, target: str, decide: Callable[[], object]) -> None:
    """Point a link to `target` atomically: readers see either the old or the new target.

    Args:
        link: The link, which may exist already.
        target: New target, relative to the link.
        decide: Records the switch elsewhere. It is called once the new link exists under a
            temporary name, so that a full disk prevents both or neither.
    """
    growing = link.with_name(hidden(link.name))
    try:
        growing.symlink_to(target)
        decide()
        growing.replace(link)
    except OSError:
        growing.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)


def move_folder(folder: Path, place: Path) -> None:
    """Rename a folder or file within its file system; the new name must not exist."""
    folder.rename(place)
    sync_folder(place.parent)


def remove(leftover: Path) -> None:
    """Remove a file, a link, or a folder with its contents."""
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hidden(name: str) -> str:
    """Return a unique temporary name for an item that is being created or removed."""
    return f".{name}.{secrets.token_hex(4)}"


def is_hidden(name: str) -> bool:
    """Return True for the name of a temporary file; other hidden files belong to other programs."""
    return name.startswith(PREFIX) or bool(re.fullmatch(r"\..+\.[0-9a-f]{8}", name))


@contextmanager
def locked(model: Path) -> Iterator[None]:
    """Lock a bundle's or a pull's folder against other installers during the block."""
    handle = os.open(model, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            lock_within(handle, 0.0)
        except BlockingIOError:
            raise PolicyError(
                f"{model}: expected no other process changing this folder, found one; wait until "
                "that process exits"
            ) from None
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Return True if an installer holds the lock of a folder."""
    try:
        with locked(folder):
            return False
    except PolicyError:
        return True
