# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""OUTPUT.parts: the finished parts of a dataset, kept for the next run of the same command.

A folder that contains LOCK belongs to this program, which removes only files and folders with names
that it assigned.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lerobot_bridge.dataset_form import DatasetForm
from lerobot_bridge.episode import Episode
from lerobot_bridge.mapping import RobotMapping
from model_tools.errors import ToolError
from policy_inference.bag_file import sync

LOG, LOCK = "log.txt", ".lock"
_MADE = "made.json"
"""File in a finished folder that describes its parts."""
_VERSION = 2
"""Version of the format of a folder of parts. Parts with a different version are made again."""
_NAME = r".+_\d{4,}_[0-9a-f]{16}"
_FINISHED, _UNFINISHED = re.compile(_NAME), re.compile(rf"\.{_NAME}\.\d+")


def parts_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def parts_name(
    episode: Episode,
    mapping: RobotMapping,
    topics: Mapping[str, str],
    split: bool,
    form: DatasetForm,
) -> str:
    """Return a name derived from everything that the parts of an episode depend on."""
    bag = episode.bag.resolve()
    files = sorted(bag.iterdir()) if bag.is_dir() else [bag]
    identity = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    # in the file's order: joints and fields give the order of the columns
    said = [
        _VERSION,
        identity,
        asdict(replace(episode, tags=())),
        asdict(mapping),
        asdict(replace(form, encoder_threads=None)),
        sorted(topics.items()),
        split,
    ]
    digest = hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:16]
    return f"{episode.bag.stem}_{episode.number:04}_{digest}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder of parts, locked against other commands; remove it if it stays empty."""
    file = folder / LOCK
    if folder.exists() and not file.is_file():
        raise ToolError(
            f"{folder}: expected a new path, or the folder from an earlier run of this command, "
            f"found a folder without {LOCK}; move it away, or choose another --output"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError(
                f"{folder}: expected no other command converting into the same "
                "folder, found one; wait until it ends, or choose another --output"
            ) from None
        try:
            yield
        finally:
            if {each.name for each in folder.iterdir()} <= {LOCK}:
                shutil.rmtree(folder)


def finish(growing: Path, folder: Path, made: Mapping[str, Any]) -> None:
    """Flush a folder of parts to the disk, and rename it to its final name.

    Args:
        growing: Folder in which the parts were written: a name from `unfinished`.
        folder: Final folder.
        made: Description of the parts, as JSON-compatible data.
    """
    (growing / _MADE).write_text(json.dumps(made), "utf-8")
    sync_all(growing)
    growing.rename(folder)
    sync(folder.parent)


def read_parts(folder: Path) -> dict[str, Any] | None:
    """Return the description of a folder of parts; None if the folder does not exist."""
    file = folder / _MADE
    made: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.is_file() else None
    return made


def sync_all(folder: Path) -> None:
    """Flush a folder and all its content to the disk."""
    sync(*folder.rglob("*"), folder)


def unfinished(folder: Path, process: int) -> Path:
    """Return the temporary name of a folder to which a process is writing parts."""
    return folder.with_name(f".{folder.name}.{process}")


def remove_unfinished(folder: Path) -> None:
    for each in folder.iterdir():
        if _UNFINISHED.fullmatch(each.name):
            shutil.rmtree(each)


def remove_parts(folder: Path) -> None:
    """Remove everything that this or an earlier attempt made, except the lock."""
    for each in folder.iterdir():
        if _FINISHED.fullmatch(each.name) and (each / _MADE).is_file():
            shutil.rmtree(each)
    (folder / LOG).unlink(missing_ok=True)
