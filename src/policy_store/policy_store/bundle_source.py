# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed from: the folder of a bundle, or an archive of one, which is unpacked first.

Who installs may read and write more than who made the bundle.
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
"""Is read before anything else, and checked."""
MOST_FILES, DEEPEST = 10_000, 16
"""Of a bundle; folders in folders."""
_LARGEST_HEADER_BYTES = 1 << 13
"""Of a name or a comment in an archive: tarfile reads it into memory, whatever size it states."""
_YEAR_10000_S = 253_402_300_800
"""What is later has no date."""
_COPY_LINKED = "copy what links lead to with `cp -rL`, and install that"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Headers after headers are read in each other, and numbers in them may be none.
_BROKEN = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(OSError, OverflowError, RecursionError, ValueError),
)


@contextmanager
def opened(path: Path, room: int) -> Iterator[BundleFolder]:
    """Open the folder or the archive at `path`.

    Hidden files are left out, and so is the record of a former installation. Links are refused.

    Args:
        path: The folder, or the archive.
        room: Bytes that there are for its files.
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
    """Unpack an archive; return the folder of the bundle, which is `private` or the one in it."""
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
            f"{path}: expected a whole archive (tar, compressed or not) or the folder of a bundle, "
            f"found one that cannot be read; copy it again"
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
    """Write a new file; only its content and its time are taken from the archive.

    Not with `tarfile.data_filter`, which the Python 3.11 of Debian 12 lacks.
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
        return f"more than {DEEPEST} folders in each other"
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
    """Files of a folder that its owner may change meanwhile: no link is followed at any time."""

    def __init__(self, path: Path, room: int) -> None:
        """Look at all files; arguments and errors as `opened`."""
        self._path = path
        # Everything is looked up from here, so that what is looked at is what is read.
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
        """Open a file to read it, by its name inside the bundle."""
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
        """Return when a file was changed last, in seconds since 1970."""
        return self._stats[name].st_mtime

    def _files(self, handle: int, inside: PurePosixPath) -> Iterator[tuple[str, os.stat_result]]:
        """Yield name and state of each file; hidden ones are left out."""
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
                    f"{self._path}: expected at most {MOST_FILES} files and folders, "
                    f"at most {DEEPEST} in each other, found more, {place} among them"
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
    """Return what is wrong with name or time of a file; empty where nothing is.

    Names get into messages, records and paths, so that none has a line end, an escape, a zero or
    bytes that are no text.
    """
    if not name.isprintable():
        return "a name with characters that cannot be printed"
    return "" if 0 <= modified_s < _YEAR_10000_S else f"a time of {modified_s:g} s since 1970"


def _require_room(path: Path, size: int, room: int) -> None:
    if size > room:
        raise PolicyError(
            f"{path}: expected a bundle for which there is room, {room / 1e6:.1f} "
            f"MB, found one of {size / 1e6:.1f} MB or more; `policy_store prune` "
            "removes old versions"
        )
