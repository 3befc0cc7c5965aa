# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Source of an installation: a bundle folder, or an archive of one, which is unpacked first.

Sources are untrusted, since the installing user may have more rights than the bundle's author.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from policy_core.bundle.bounded_yaml import LARGEST_BYTES
from policy_core.bundle.bundle import HOSTED_FILES
from policy_core.errors import PolicyError
from policy_core.safe_files import open_regular

MOST_FILES, DEEPEST = 10_000, 16
"""Maximum number of files and folders in an archive, and maximum folder depth."""
_LARGEST_HEADER_BYTES = 1 << 13
"""Maximum size of a name or comment in an archive; tarfile reads all of it into memory."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Nested headers are parsed recursively, and their numbers may be invalid.
_BROKEN = (
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError),
    *(OSError, OverflowError, RecursionError, ValueError),
)


@contextmanager
def opened(path: Path, room: int) -> Iterator[BundleFolder]:
    """Yield the bundle folder at `path`, or the unpacked archive, opened for reading.

    Args:
        path: The folder, or the archive.
        room: Space available for the files, bytes.
    """
    if path.is_dir():
        with closing(BundleFolder(path, path)) as folder:
            yield folder
        return
    if not path.is_file():
        raise PolicyError(
            f"{path}: expected a bundle folder or an archive of one, found "
            f"{'something else' if path.exists() else 'nothing'}"
        )
    with tempfile.TemporaryDirectory(prefix="policy_store_") as private:
        place = _unpacked(path, Path(private), min(room, shutil.disk_usage(private).free))
        with closing(BundleFolder(place, path)) as folder:
            yield folder


def _unpacked(path: Path, private: Path, room: int) -> Path:
    """Unpack an archive; return the bundle folder, which is `private` or its only subfolder.

    `tarfile.data_filter` is not used, because Python 3.11 in Debian 12 lacks it.
    """
    size, members, names = 0, 0, set[PurePosixPath]()
    try:
        with tarfile.open(path, tarinfo=_BoundedHeader) as archive:
            for members, member in enumerate(archive, 1):
                name = PurePosixPath(member.name)
                names.update((name, *name.parents))  # a file's folders need no member of their own
                if max(members, len(names)) > MOST_FILES:
                    raise PolicyError(
                        f"{path}: expected at most {MOST_FILES} files and folders, found more"
                    )
                if not _is_plain(member):
                    raise PolicyError(
                        f"{path}: {member.name!r}: expected a file or a folder inside the bundle, "
                        f"at most {DEEPEST} folders deep, found neither (a link, for example); "
                        "make the archive again with `tar -chzf` from the bundle's folder"
                    )
                size += member.size
                require_room(path, size, room)
                if (content := archive.extractfile(member)) is not None:
                    file = private / member.name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with content, file.open("xb") as copy:
                        shutil.copyfileobj(content, copy)
    except _BROKEN as error:
        raise PolicyError(
            f"{path}: expected a complete archive (tar, compressed or not) or a bundle folder, "
            "found an archive that cannot be read; copy it again"
        ) from error
    inside = [one for one in private.iterdir() if not one.name.startswith(".")]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else private


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Return True for a folder, or a regular file that is not sparse, inside the bundle."""
    name = PurePosixPath(member.name)
    return (
        (member.isdir() or (member.isreg() and not member.issparse()))
        and member.size >= 0
        and not name.is_absolute()
        and ".." not in name.parts
        and len(name.parts) <= DEEPEST + 2
    )


class _BoundedHeader(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedHeader:
        header = super().frombuf(buf, encoding, errors)
        is_file = header.type in tarfile.SUPPORTED_TYPES and header.type not in tarfile.GNU_TYPES
        if not is_file and header.size > _LARGEST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class BundleFolder:
    """A bundle folder that its owner may change at any time; links in it are never followed."""

    def __init__(self, folder: Path, path: Path) -> None:
        """Open a folder; `path` is its name in messages."""
        self.path = path
        # All files are opened relative to this descriptor, so that none is outside the folder.
        self._root = os.open(folder, _FOLDER)

    def close(self) -> None:
        """Close the folder."""
        os.close(self._root)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, given its name inside the bundle.

        Raises:
            FileNotFoundError: The file does not exist.
            PolicyError: The file is not a regular file, or cannot be read.
        """
        handle, *folders = self._root, *PurePosixPath(name).parts[:-1]
        try:
            with ExitStack() as stack:
                for folder in folders:
                    handle = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                    stack.callback(os.close, handle)
                last = PurePosixPath(name).name
                file = open_regular(last, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
        except FileNotFoundError:
            raise
        except OSError as error:
            found = " a link" if error.errno == errno.ELOOP else f": {error.strerror}"
            raise PolicyError(
                f"{self.path / name}: expected a bundle file that can be read, found"
                f"{found}; copy the bundle with `cp -rL`, which replaces links with files, and "
                "install the copy"
            ) from error
        return os.fdopen(file, "rb")

    def read(self, name: str) -> bytes | None:
        """Return the content of a contract or signature file; None if there is no such file."""
        try:
            with self.open(name) as stream:
                content = stream.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > LARGEST_BYTES:
            raise PolicyError(
                f"{self.path / name}: expected a file of at most {LARGEST_BYTES >> 20} MiB, found "
                "a larger one"
            )
        return content

    def read_contract(self) -> tuple[Path, bytes]:
        """Return the path and the content of the contract file."""
        found = {name: content for name in HOSTED_FILES if (content := self.read(name)) is not None}
        if len(found) != 1:
            raise PolicyError(
                f"{self.path}: expected a bundle, with a {' or a '.join(HOSTED_FILES)}, found "
                f"{'both' if found else 'neither'}"
            )
        ((name, content),) = found.items()
        return self.path / name, content


def require_room(path: Path, size: int, room: int) -> None:
    """Raise PolicyError if files of `size` bytes exceed the free space, `room` bytes."""
    if size > room:
        raise PolicyError(
            f"{path}: expected a bundle that fits into the free space ({room / 1e6:.1f} "
            f"MB), found one of {size / 1e6:.1f} MB or more; `policy_store prune` "
            "removes old versions"
        )
