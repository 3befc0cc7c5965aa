# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Atomic outputs: written completely or not at all, and replaced only on request."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from model_tools.errors import ToolError
from policy_core.bundle.bundle import CONTRACT_FILE, SIGNATURE_FILE
from policy_store.durable import errors_renamed

BUNDLE_FILES = (
    CONTRACT_FILE,
    SIGNATURE_FILE,
    "*.onnx",
    "*.npz",
    "*.rknn",
    "*.rknn_sim.zip",
    "*.layers.txt",
    "*.engine",
    "*.plan",
    "*.engine.json",
    "*.plan.json",
    "*.bin",
    "*.hbm",
    "reports/*",
)
"""Patterns for a bundle's files, which are replaced along with the bundle."""
_SHOWN = 6
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path`; the result is moved into place at the end.

    Args:
        path: File to write.
        force: Replace an existing file.
    """
    path = path.resolve()
    if path.is_dir():
        raise ToolError(f"{path}: expected a file to write, found a folder")
    _refuse_existing(path, force)
    with _scratch(path) as scratch, _not_written(scratch / path.name, path):
        growing = scratch / path.name
        yield growing
        _refuse_existing(path, force)
        growing.replace(path)


@contextmanager
def new_folder(
    path: Path,
    *,
    marker: str,
    force: bool = False,
    owned: Sequence[str] = BUNDLE_FILES,
    kept: Path | None = None,
) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; it is moved into place at the end.

    Args:
        path: Folder to write.
        marker: File that identifies a folder as replaceable.
        force: Replace such a folder.
        owned: Patterns for the files in such a folder, relative to the folder; `name/**` matches
            everything below a folder.
        kept: Folder from which the new folder is made; files with the same names may be replaced.
    """
    path = path.resolve()

    def refuse() -> None:
        _refuse_existing(path, force)
        if path.exists():
            _refuse_foreign(path, marker, owned, kept)

    refuse()
    with _scratch(path) as scratch, _not_written(scratch / path.name, path, kept):
        growing = scratch / path.name
        growing.mkdir()
        yield growing
        refuse()
        _exchange(path, growing, scratch / f"{path.name}.replaced")


@contextmanager
def _not_written(growing: Path, path: Path, source: Path | None = None) -> Iterator[None]:
    """Make errors about an unfinished output refer to `source`, or say that nothing was written.

    Args:
        growing: Temporary path of the output, removed after an error.
        path: Final path of the output.
        source: Folder from which the output is made.
    """

    def known_as(found: re.Match[str]) -> str:
        if source is not None and Path(f"{source}{found[1]}").exists():
            return f"{source}{found[1]}"
        return f"{path}{found[1]} (not written)"

    file = re.compile(rf"{re.escape(str(growing))}((?:/[\w.-]*\w)?)")
    with errors_renamed(lambda text: file.sub(known_as, text)):
        yield


def copy_folder(source: Path, target: Path) -> None:
    """Copy all files below a folder; the copies of read-only files are writable.

    Links to files are followed; links to folders are not. A bundle's signature is not copied, since
    the copy becomes a different bundle.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise ToolError(
            f"{source}: expected an output outside this folder (its files are copied "
            "to the output), found an output inside it; choose another --output"
        )
    signature = source / SIGNATURE_FILE
    for file in (file for file in source.rglob("*") if file.is_file() and file != signature):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _exchange(path: Path, new: Path, old: Path) -> None:
    """Move `path` to `old` and `new` to `path`; if that fails, nothing changes."""
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


def _refuse_foreign(path: Path, marker: str, owned: Sequence[str], kept: Path | None) -> None:
    if not (path / marker).is_file():
        raise ToolError(
            f"{path}: expected a folder that contains {marker}, found a folder without this file; "
            "--force does not replace such a folder"
        )
    entries = [entry for entry in path.rglob("*") if entry.is_symlink() or not entry.is_dir()]
    names = sorted(entry.relative_to(path) for entry in entries)
    foreign = [
        name
        for name in names
        if not any(_matches(name, pattern) for pattern in owned)
        and (kept is None or not (kept / name).is_file())
    ]
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise ToolError(
            f"{path}: expected only this command's files in the folder that --force replaces, "
            f"found {', '.join(map(str, foreign[:_SHOWN]))}{more}; move them away, or choose "
            "another folder"
        )


def _matches(name: PurePath, pattern: str) -> bool:
    folder, below, _ = pattern.partition("/**")
    if below:
        return folder in map(str, name.parents)
    return len(name.parts) == len(PurePath(pattern).parts) and name.match(pattern)


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise ToolError(
            f"{path}: expected a path that does not exist yet, found "
            f"{'a folder' if path.is_dir() else 'a file'}; --force replaces it"
        )


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Yield a folder on the same file system as `path`, where a move is atomic."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise ToolError(
            f"{path.parent}: expected a writable folder, found: "
            f"{error.strerror}; choose another --output"
        ) from error
    try:
        yield folder
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ToolError(
            f"{path}: expected enough free disk space, found: {error.strerror}; free some, "
            "or choose another --output"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
