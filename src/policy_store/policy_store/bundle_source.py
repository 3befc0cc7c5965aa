# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Source of an installation: the folder of a bundle, or an archive of one, which is unpacked first.

The installing user may have more rights than the author of the bundle, so sources are untrusted.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from policy_core.bundle.bundle import HOSTED_FILES
from policy_core.bundle.store import RECORD_FILE
from policy_core.errors import PolicyError
from policy_core.safe_files import open_regular
from policy_store.durable import errors_renamed

_FIRST = (*HOSTED_FILES, *(f"{name}.sig" for name in HOSTED_FILES))
"""Files that are read and checked before anything else."""
MOST_FILES, DEEPEST = 10_000, 16
"""Maximum depth of nested folders in a bundle."""
_LARGEST_HEADER_BYTES = 1 << 13
"""Maximum size of a name or a comment in an archive: tarfile reads the whole into memory."""
_YEAR_10000_S = 253_402_300_800
"""Latest valid modification time."""
_COPY_LINKED = "copy the bundle with `cp -rL`, which replaces links by files, and install the copy"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Nested headers are parsed recursively, and their numbers may be invalid.
_BROKEN = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(OSError, OverflowError, RecursionError, ValueError),
)


@contextmanager
def opened(path: Path, room: int) -> Iterator[BundleFolder]:
    """Open the folder or the archive at `path`.

    Hidden files and the record of a former installation are left out. Links are refused.

    Args:
        path: The folder, or the archive.
        room: Space for its files, bytes.
    """
    if path.is_dir():
        with closing(BundleFolder(path, room)) as folder:
            yield folder
        return
    if not path.is_file():
        raise PolicyError(
            f"{path}: expected the folder of a bundle or an archive of it, found "
            f"{'something else' if path.exists() else 'nothing'}"
        )
    with tempfile.TemporaryDirectory(prefix="policy_store_") as private:
        place = _unpacked(path, Path(private), min(room, shutil.disk_usage(private).free))
        with (
            errors_renamed(lambda text: text.replace(str(place), str(path))),
            closing(BundleFolder(place, room)) as folder,
        ):
            yield folder


def _unpacked(path: Path, private: Path, room: int) -> Path:
    """Unpack an archive; return the bundle's folder, which is `private` or the folder in it."""
    size = 0
    try:
        with tarfile.open(path, tarinfo=_BoundedHeader) as archive:
            for count, member in enumerate(archive):
                size += max(member.size, 0)
                if count >= MOST_FILES:
                    raise PolicyError(
                        f"{path}: expected at most {MOST_FILES} files and folders, found more"
                    )
                if problem := _member_problem(member, private):
                    raise PolicyError(
                        f"{path}: {member.name!r}: expected a file of the bundle, found {problem}; "
                        "make the archive again with `tar -chzf` from the bundle's folder"
                    )
                _require_room(path, size, room)
                _write(archive, member, private / member.name)
    except _BROKEN as error:
        raise PolicyError(
            f"{path}: expected a complete archive (tar, compressed or not) or the folder of a "
            "bundle, found an archive that cannot be read; copy it again"
        ) from error
    inside = [one for one in private.iterdir() if not one.name.startswith(".")]
    names = {one.name for one in inside}
    if names.isdisjoint(HOSTED_FILES) and inside and inside[0].is_dir():
        if len(inside) > 1:
            raise PolicyError(
                f"{path}: expected one bundle and nothing else, found "
                f"{' and '.join(sorted(names)[:2])}"
            )
        return inside[0]
    return private


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> None:
    """Write a new file, with only its content and its time from the archive.

    `tarfile.data_filter` is not used, because the Python 3.11 of Debian 12 lacks it.
    """
    if (content := archive.extractfile(member)) is None:  # a folder
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with content, file.open("xb") as copy:
        shutil.copyfileobj(content, copy)
    os.utime(file, (member.mtime, member.mtime))


def _member_problem(member: tarfile.TarInfo, private: Path) -> str:
    if problem := _problem(member.name, float(member.mtime)):
        return problem
    if member.size < 0:
        return "a size below 0"
    if member.issparse():
        return "a sparse file"
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        return "a path that leaves the bundle"
    if len(name.parts) > DEEPEST + 2:
        return f"more than {DEEPEST} levels of folders"
    if not (member.isdir() or member.isreg()):
        return "a link" if member.issym() or member.islnk() else "a device or a pipe"
    if member.isreg() and os.path.lexists(private / name):
        return "a second file of this name"
    return ""


class _BoundedHeader(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedHeader:
        header = super().frombuf(buf, encoding, errors)
        is_file = header.type in tarfile.SUPPORTED_TYPES and header.type not in tarfile.GNU_TYPES
        if not is_file and header.size > _LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class BundleFolder:
    """Files of a folder that its owner may change meanwhile: links are never followed."""

    def __init__(self, path: Path, room: int) -> None:
        """List all files; arguments and errors as for `opened`."""
        self._path = path
        # All paths are resolved from this descriptor, so the checked files are the ones that are
        # read.
        self._root = os.open(path, _FOLDER)
        try:
            with os.scandir(self._root) as entries:  # before the whole tree is read
                if not any(entry.name in HOSTED_FILES for entry in entries):
                    raise PolicyError(
                        f"{path}: expected a bundle, which has a {' or a '.join(HOSTED_FILES)}, "
                        "found none"
                    )
            self._seen = 0
            self._stats = dict(self._files(self._root, PurePosixPath()))
        except BaseException:
            self.close()
            raise
        names = self._stats.keys() - {RECORD_FILE}
        self.names = sorted(names, key=lambda name: (name not in _FIRST, name))
        _require_room(path, sum(self._stats[name].st_size for name in self.names), room)

    def close(self) -> None:
        """Forget the folder."""
        os.close(self._root)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, by its name inside the bundle."""
        handle, *folders = self._root, *PurePosixPath(name).parts[:-1]
        try:
            with ExitStack() as stack:
                for folder in folders:
                    handle = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                    stack.callback(os.close, handle)
                last = PurePosixPath(name).name
                file = open_regular(last, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
        except OSError as error:
            raise self._refused(
                name, "a link" if error.errno == errno.ELOOP else error.strerror or str(error)
            ) from error
        return os.fdopen(file, "rb")

    def modified_s(self, name: str) -> float:
        """Return when a file was last changed, in seconds since 1970."""
        return self._stats[name].st_mtime

    def _files(self, handle: int, inside: PurePosixPath) -> Iterator[tuple[str, os.stat_result]]:
        """Yield name and state of each file; leave out hidden files."""
        with os.scandir(handle) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        for name in sorted(names):
            place = (inside / name).as_posix()
            state = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if problem := _problem(name, state.st_mtime):
                raise self._refused(ascii(place), problem, "rename it, or `touch` it")
            self._seen += 1
            if self._seen > MOST_FILES or len(inside.parts) > DEEPEST:
                raise PolicyError(
                    f"{self._path}: expected at most {MOST_FILES} files and folders, in at most "
                    f"{DEEPEST} levels, found more, such as {place}"
                )
            if stat.S_ISDIR(state.st_mode):
                try:
                    folder = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except OSError as error:
                    raise self._refused(place, error.strerror or str(error)) from error
                try:
                    yield from self._files(folder, inside / name)
                finally:
                    os.close(folder)
            elif stat.S_ISREG(state.st_mode):
                yield place, state
            else:
                raise self._refused(
                    place, "a link" if stat.S_ISLNK(state.st_mode) else "a device or a pipe"
                )

    def _refused(self, name: str, found: str, remedy: str = _COPY_LINKED) -> PolicyError:
        return PolicyError(
            f"{self._path / name}: expected a file of the bundle that can be read, "
            f"found {found}; {remedy}"
        )


def _problem(name: str, modified_s: float) -> str:
    """Return the problem with the name or time of a file; empty if there is no problem.

    Names appear in messages, records and paths, so they must not contain line ends, escapes, zeros
    or invalid text.
    """
    if not name.isprintable():
        return "a name with characters that cannot be printed"
    return "" if 0 <= modified_s < _YEAR_10000_S else f"a time of {modified_s:g} s since 1970"


def _require_room(path: Path, size: int, room: int) -> None:
    if size > room:
        raise PolicyError(
            f"{path}: expected a bundle of at most the free space, {room / 1e6:.1f} "
            f"MB, found one of {size / 1e6:.1f} MB or more; `policy_store prune` "
            "removes old versions"
        )
