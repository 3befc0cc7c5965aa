# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is installed from: the folder of a bundle, or an archive of one, which is never unpacked."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from model_tools.errors import ToolError
from policy_inference.bundle.load import CONTRACT_FILE, SIGNATURE_FILE
from policy_inference.bundle.record import RECORD_FILE
from policy_inference.regular_file import reading

_IN_MEMORY = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
              tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_LARGEST_HEADER_BYTES = 1 << 20
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


class Source(Protocol):
    """The files of a bundle, by their names inside it."""

    names: list[str]

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read it."""

    def modified_s(self, name: str) -> float:
        """Return when a file was changed last, in seconds since 1970."""


@contextmanager
def opened(path: Path, room: int) -> Iterator[Source]:
    """Open the folder or the archive at `path`.

    Hidden files are left out, and so is the record of a former installation.

    Args:
        path: The folder, or the archive.
        room: Bytes that there are for its files.

    Raises:
        ToolError: It is neither, or no bundle, or larger than the room, or an archive that is
            broken or wants to write elsewhere.
    """
    if path.is_dir():
        yield _Folder(path, room)
        return
    if not path.is_file():
        raise ToolError(f"{path}: expected the folder of a bundle or an archive of it, found "
                        f"{'something else' if path.exists() else 'nothing'}")
    try:
        with tarfile.open(path, tarinfo=_Header) as archive:
            yield _Archive(path, archive, room)
    except _BROKEN as error:
        raise ToolError(f"{path}: expected a whole archive (tar, compressed or not), found one "
                        f"that cannot be read: {error}; copy it again") from error


class _Folder:
    def __init__(self, path: Path, room: int) -> None:
        self._path = path
        _require_contract(path, (path / CONTRACT_FILE).is_file())  # before the whole tree is read
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*")
                 if file.is_file()}  # fmt: skip
        self.names = _bundle_names(set(files))
        _require_room(path, sum(files[name].stat().st_size for name in self.names), room)

    def open(self, name: str) -> IO[bytes]:
        file = self._path / name
        try:
            return reading(file)
        except OSError as error:
            raise ToolError(f"{file}: expected a file that can be read, found: "
                            f"{error.strerror}") from error

    def modified_s(self, name: str) -> float:
        return (self._path / name).stat().st_mtime


class _Archive:
    def __init__(self, path: Path, archive: tarfile.TarFile, room: int) -> None:
        self._archive = archive
        members = _members(path, archive, room)
        folder = _bundle_in(path, members)
        self._members = {name.relative_to(folder).as_posix(): member
                         for name, member in members.items()}  # fmt: skip
        self.names = _bundle_names(set(self._members))

    def open(self, name: str) -> IO[bytes]:
        stream = self._archive.extractfile(self._members[name])
        assert stream is not None  # for files it is there
        return stream

    def modified_s(self, name: str) -> float:
        return float(self._members[name].mtime)


def _require_contract(path: Path, is_there: bool) -> None:
    if not is_there:
        raise ToolError(f"{path}: expected a bundle, which has a {CONTRACT_FILE}, found none")


def _bundle_names(names: set[str]) -> list[str]:
    shown = {name for name in names if not any(part.startswith(".") for part in name.split("/"))}
    # The contract first: an archive is read from its beginning.
    first = [CONTRACT_FILE, SIGNATURE_FILE]
    return sorted(shown - {RECORD_FILE}, key=lambda name: (name not in first, name))


class _Header(tarfile.TarInfo):
    """Refuses names and comments of a size that only an attack has: they are read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _IN_MEMORY and header.size > _LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def _require_room(path: Path, size: int, room: int) -> None:
    if size > room:
        raise ToolError(f"{path}: expected a bundle for which there is room, {room / 1e6:.1f} "
                        f"MB, found one of {size / 1e6:.1f} MB or more; `model_tools prune` "
                        "removes old versions")


def _members(
    path: Path, archive: tarfile.TarFile, room: int
) -> dict[PurePosixPath, tarfile.TarInfo]:
    """Return the files of an archive, all of which may be written below a folder."""
    found, size = dict[PurePosixPath, tarfile.TarInfo](), 0
    for member in archive:
        size += member.size  # before it is unpacked to find the next one
        _require_room(path, size, room)
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts:
            raise _refused(path, member, "a path that leaves the bundle")
        if member.isdir():
            continue
        if not member.isreg():
            kind = "a link" if member.issym() or member.islnk() else "a device or a pipe"
            raise _refused(path, member, kind)
        if name in found:
            raise _refused(path, member, "a second file of this name")
        found[name] = member
    return found


def _refused(path: Path, member: tarfile.TarInfo, found: str) -> ToolError:
    return ToolError(f"{path}: {member.name!r}: expected a file of the bundle, found {found}; make "
                     "the archive anew with `tar -chzf` from the bundle's folder")


def _bundle_in(path: Path, members: Mapping[PurePosixPath, tarfile.TarInfo]) -> PurePosixPath:
    """Return the one folder in which all files of an archive lie, its top or one in it."""
    folders = [name.parent for name in members
               if name.name == CONTRACT_FILE and len(name.parts) < 3]  # fmt: skip
    _require_contract(path, bool(folders))
    folder = min(folders, key=lambda folder: len(folder.parts))
    stray = next((name for name in members if not name.is_relative_to(folder)), None)
    if stray:
        raise ToolError(f"{path}: expected one bundle and nothing else, found {folder} and {stray}")
    return folder
