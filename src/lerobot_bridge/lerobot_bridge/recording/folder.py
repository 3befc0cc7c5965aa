# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a session: `mapping.yaml` and `episode_0000`, `episode_0001`, ..."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path

from lerobot_bridge.episode import SIDECAR
from lerobot_bridge.mapping import RobotMapping
from lerobot_bridge.mapping_file import load_mapping
from policy_core.errors import PolicyError
from policy_core.safe_files import whole_file

MAPPING = "mapping.yaml"
UNFINISHED = ".unfinished"
"""Folder in which episodes are written; a killed process leaves its episodes there."""
_NAME = re.compile(r"episode_(\d{4,})")


class SessionFolder:
    """The folder of a session, locked against other recorders.

    Attributes:
        path: The folder.
        finished: Number of finished episodes when the session was opened.
        unfinished: Episodes that an earlier process could not finish.
        next_number: First free episode number.
    """

    def __init__(self, path: Path, mapping: RobotMapping, mapping_text: bytes) -> None:
        """Open a session, or start one.

        Args:
            path: The folder; created if missing.
            mapping: The mapping to record with.
            mapping_text: The text of the mapping file.
        """
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(path, os.O_RDONLY)
        try:
            self._claim(mapping, mapping_text)
        except BaseException:
            os.close(self._lock)
            raise
        growing = path / UNFINISHED
        growing.mkdir(exist_ok=True)
        numbers = {number: folder for folder in path.iterdir() if (number := _number(folder))}
        self.finished = sum((folder / SIDECAR).is_file() for folder in numbers.values())
        self.unfinished = sorted(folder for folder in growing.iterdir() if _number(folder))
        taken = [*numbers, *filter(None, map(_number, self.unfinished))]
        self.next_number = max((int(number) + 1 for number in taken), default=0)

    def _claim(self, mapping: RobotMapping, mapping_text: bytes) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PolicyError(
                f"{self.path}: expected a session that no recorder uses, found one "
                "that another recorder has open; stop that recorder, or choose another output"
            ) from None
        file = self.path / MAPPING
        if file.is_file():
            if load_mapping(file) != mapping:
                raise PolicyError(
                    f"{file}: expected the mapping that the recorder uses, found a "
                    "different mapping; choose another output, or use that file as the mapping"
                )
            return
        if foreign := sorted(entry.name for entry in self.path.iterdir()):
            raise PolicyError(
                f"{self.path}: expected an empty folder, or a session with "
                f"{MAPPING}, found {', '.join(foreign[:6])}; choose another output"
            )
        with whole_file(file, mode=0o644) as opened:
            opened.write(mapping_text)

    def place(self, number: int) -> Path:
        return episode_folder(self.path, number)

    def growing(self, number: int) -> Path:
        return self.path / UNFINISHED / self.place(number).name

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path).free

    def close(self) -> None:
        os.close(self._lock)


def episode_folder(session: Path, number: int) -> Path:
    return session / f"episode_{number:04d}"


def _number(folder: Path) -> str:
    """Return the digits in the name of an episode's folder; empty for other folders."""
    found = _NAME.fullmatch(folder.name)
    return found[1] if found else ""
