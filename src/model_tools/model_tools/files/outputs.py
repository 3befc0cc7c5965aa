# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs that are there once, whole, or not at all; nothing is replaced unless asked for."""

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
"""Patterns of what is in a bundle, and may be replaced with it."""
_SHOWN = 6
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there is moved into place at the end.

    Args:
        path: The file to be.
        force: Whether a file that is there may be replaced.
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
    """Give a temporary folder beside `path`; it is moved into place at the end.

    Args:
        path: The folder to be.
        marker: File that a folder must hold to be one that may be replaced.
        force: Whether such a folder may be replaced.
        owned: Patterns of the files that such a folder holds, from its top; `name/**` stands for
            all below a folder.
        kept: Folder whose files will be in the new one, too.
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
    """Let errors about what is in the making name the file of `source`, or say that none is left.

    Args:
        growing: What is in the making, and is gone when an error is read.
        path: What it would have become.
        source: Folder that it is made from.
    """

    def known_as(found: re.Match[str]) -> str:
        if source is not None and Path(f"{source}{found[1]}").exists():
            return f"{source}{found[1]}"
        return f"{path}{found[1]} (not written)"

    file = re.compile(rf"{re.escape(str(growing))}((?:/[\w.-]*\w)?)")
    with errors_renamed(lambda text: file.sub(known_as, text)):
        yield


def copy_folder(source: Path, target: Path) -> None:
    """Copy all files below a folder, their contents only: a read-only file becomes a usual one.

    Links to files are followed, those to folders are not. The signature of a bundle stays behind:
    what is made from a bundle is another one.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise ToolError(
            f"{source}: expected an output outside this folder, since its files are "
            "copied there, found one inside; name another --output"
        )
    signature = source / SIGNATURE_FILE
    for file in (file for file in source.rglob("*") if file.is_file() and file != signature):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def _exchange(path: Path, new: Path, old: Path) -> None:
    """Move what is at `path` to `old` and `new` to `path`; all stays as it was where that fails."""
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
            f"{path}: expected a folder with {marker} to replace, found something "
            "else, which --force does not touch"
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
            f"{path}: expected only files of this command in a folder to replace, found "
            f"{', '.join(map(str, foreign[:_SHOWN]))}{more}; move them away, or name "
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
            f"{path}: expected nothing there yet, found "
            f"{'a folder' if path.is_dir() else 'a file'}; --force replaces it"
        )


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Give a folder on the file system of `path`, where moving is at once or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise ToolError(
            f"{path.parent}: expected a folder that can be written, found: "
            f"{error.strerror}; name another --output"
        ) from error
    try:
        yield folder
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise ToolError(
            f"{path}: expected room to write it, found: {error.strerror}; free some, "
            "or name another --output"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
