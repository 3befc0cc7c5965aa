# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed from: the folder of a bundle, or an archive of one, which is never unpacked."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn, Protocol

from policy_core.bundle.bundle import HOSTED_FILES
from policy_core.bundle.record import RECORD_FILE
from policy_core.errors import PolicyError
from policy_core.safe_files import open_regular

_FIRST = (*HOSTED_FILES, *(f"{name}.sig" for name in HOSTED_FILES))
"""Is read before anything else, and checked."""
_IN_MEMORY = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_LARGEST_HEADER_BYTES, _ALL_HEADERS_BYTES = 1 << 13, 1 << 21
MOST_FILES, DEEPEST = 10_000, 16
"""Of a bundle; folders in folders."""
_YEAR_10000_S = 253_402_300_800
"""What is later has no date."""
_COPY_LINKED = "copy what links lead to with `cp -rL`, and install that"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class BundleSource(Protocol):
    """The files of a bundle, by their names inside it."""

    names: list[str]

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read it."""

    def modified_s(self, name: str) -> float:
        """Return when a file was changed last, in seconds since 1970."""


@contextmanager
def opened(path: Path, room: int) -> Iterator[BundleSource]:
    """Open the folder or the archive at `path`.

    Hidden files are left out, and so is the record of a former installation. Links are refused:
    who installs may read more than who made the folder.

    Args:
        path: The folder, or the archive.
        room: Bytes that there are for its files.

    Raises:
        PolicyError: It is neither, or no bundle, or larger than the room, or an archive that is
            broken or wants to write elsewhere, or a folder with links.
    """
    if path.is_dir():
        with closing(_Folder(path, room)) as folder:
            yield folder
        return
    if not path.is_file():
        raise PolicyError(
            f"{path}: expected the folder of a bundle or an archive of it, found "
            f"{'something else' if path.exists() else 'nothing'}"
        )
    try:
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(tarfile.open(path, tarinfo=_bounded_headers()))
                source = _Archive(path, archive, room)
            # Headers after headers are read in each other, and numbers in them may be none.
            except (OverflowError, RecursionError, ValueError) as error:
                raise tarfile.ReadError(str(error)) from error
            yield source
    except _BROKEN as error:
        # tarfile lists a reason for each compression; only that of none is of use.
        plain = re.search(r"^- method tar: \w+\((['\"])(.*)\1\)$", str(error), re.MULTILINE)
        reason = plain[2] if plain else str(error)
        raise PolicyError(
            f"{path}: expected a whole archive (tar, compressed or not) or the folder of a bundle, "
            f"found one that cannot be read: {reason}; copy it again"
        ) from error


class _Folder:
    """Files of a folder that its owner may change meanwhile: no link is followed at any time."""

    def __init__(self, path: Path, room: int) -> None:
        self._path = path
        # Everything is looked up from here, so that what is looked at is what is read.
        self._root = os.open(path, _FOLDER)
        try:
            with os.scandir(self._root) as entries:  # before the whole tree is read
                _require_contract(path, any(entry.name in HOSTED_FILES for entry in entries))
            self._seen = 0
            self._stats = dict(self._files(self._root, PurePosixPath()))
        except BaseException:
            self.close()
            raise
        self.names = _bundle_names(set(self._stats))
        _require_room(path, sum(self._stats[name].st_size for name in self.names), room)

    def close(self) -> None:
        os.close(self._root)

    def open(self, name: str) -> IO[bytes]:
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


class _Archive:
    def __init__(self, path: Path, archive: tarfile.TarFile, room: int) -> None:
        self._archive = archive
        members = _members(path, archive, room)
        folder = _bundle_in(path, members)
        self._members = {
            name.relative_to(folder).as_posix(): member for name, member in members.items()
        }
        # In their order: each step back unpacks an archive from its beginning again.
        self.names = sorted(
            _bundle_names(set(self._members)),
            key=lambda name: (name not in _FIRST, self._members[name].offset),
        )

    def open(self, name: str) -> IO[bytes]:
        stream = self._archive.extractfile(self._members[name])
        assert stream is not None  # for files it is there
        return stream

    def modified_s(self, name: str) -> float:
        return float(self._members[name].mtime)


def _require_contract(path: Path, is_there: bool) -> None:
    if not is_there:
        raise PolicyError(
            f"{path}: expected a bundle, which has a {' or a '.join(HOSTED_FILES)}, found none"
        )


def _bundle_names(names: set[str]) -> list[str]:
    shown = {name for name in names if not any(part.startswith(".") for part in name.split("/"))}
    return sorted(shown - {RECORD_FILE}, key=lambda name: (name not in _FIRST, name))


def _problem(name: str, modified_s: float) -> str:
    """Return what is wrong with name or time of a file; empty where nothing is.

    Names get into messages, records and paths, so that none has a line end, an escape, a zero or
    bytes that are no text.
    """
    if not name.isprintable():
        return "a name with characters that cannot be printed"
    return "" if 0 <= modified_s < _YEAR_10000_S else f"a time of {modified_s:g} s since 1970"


def _bounded_headers() -> type[tarfile.TarInfo]:
    """Return what refuses names and comments of a size that only an attack has, and sparse files.

    Names and comments are read into memory, and Python's search in them takes a time that grows
    with the square of their size. Of a sparse file all parts are listed, however many there are:
    80 kB are 70 MB.
    """
    total = 0

    class LimitedHeader(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> LimitedHeader:
            nonlocal total
            header = super().frombuf(buf, encoding, errors)
            if header.type in _IN_MEMORY:
                total += header.size
                if header.size > _LARGEST_HEADER_BYTES or total > _ALL_HEADERS_BYTES:
                    raise tarfile.ReadError(f"a header of {header.size} bytes, of {total} so far")
            if header.type == tarfile.GNUTYPE_SPARSE:
                refuse_sparse()
            return header

        # What tarfile calls for a sparse file of a PAX archive, to read the list of its parts.
        def _proc_gnusparse_10(self, *_: object) -> None:
            refuse_sparse()

    def refuse_sparse() -> NoReturn:
        raise tarfile.ReadError("a sparse file")

    return LimitedHeader


def _require_room(path: Path, size: int, room: int) -> None:
    if size > room:
        raise PolicyError(
            f"{path}: expected a bundle for which there is room, {room / 1e6:.1f} "
            f"MB, found one of {size / 1e6:.1f} MB or more; `policy_store prune` "
            "removes old versions"
        )


def _members(
    path: Path, archive: tarfile.TarFile, room: int
) -> dict[PurePosixPath, tarfile.TarInfo]:
    """Return the files of an archive, all of which may be written below a folder."""
    found, size = dict[PurePosixPath, tarfile.TarInfo](), 0
    for count, member in enumerate(archive):
        if count >= MOST_FILES:
            raise PolicyError(
                f"{path}: expected at most {MOST_FILES} files and folders, found more"
            )
        if problem := _problem(member.name, float(member.mtime)):
            raise _refused(path, member, problem)
        if member.size < 0 or member.issparse():
            raise _refused(path, member, "a size below 0" if member.size < 0 else "a sparse file")
        size += member.size  # before it is unpacked to find the next one
        _require_room(path, size, room)
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise _refused(path, member, "a path that leaves the bundle")
        if len(name.parts) > DEEPEST + 2:
            raise _refused(path, member, f"more than {DEEPEST} folders in each other")
        if member.isdir():
            continue
        if not member.isreg():
            kind = "a link" if member.issym() or member.islnk() else "a device or a pipe"
            raise _refused(path, member, kind)
        if name in found:
            raise _refused(path, member, "a second file of this name")
        found[name] = member
    return found


def _refused(path: Path, member: tarfile.TarInfo, found: str) -> PolicyError:
    return PolicyError(
        f"{path}: {member.name!r}: expected a file of the bundle, found {found}; make "
        "the archive again with `tar -chzf` from the bundle's folder"
    )


def _bundle_in(path: Path, members: Mapping[PurePosixPath, tarfile.TarInfo]) -> PurePosixPath:
    """Return the one folder in which all files of an archive lie, its top or one in it."""
    folders = [name.parent for name in members if name.name in HOSTED_FILES and len(name.parts) < 3]
    _require_contract(path, bool(folders))
    folder = min(folders, key=lambda folder: len(folder.parts))
    stray = next((name for name in members if not name.is_relative_to(folder)), None)
    if stray:
        raise PolicyError(
            f"{path}: expected one bundle and nothing else, found {folder} and {stray}"
        )
    return folder
