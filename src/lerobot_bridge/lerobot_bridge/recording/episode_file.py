# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An episode on disk: it grows where nobody looks, and is moved to its place when it is whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lerobot_bridge.sidecar import Sidecar, write_sidecar
from policy_inference.bag_file import BagFile, sync

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore


class EpisodeFile:
    """A rosbag2 folder with the sidecar.

    Attributes:
        size_bytes: Of the messages in it.
    """

    def __init__(self, growing: Path, place: Path, types: Typestore) -> None:
        """Begin.

        Args:
            growing: The folder in which it grows, which is not there yet.
            place: The folder to be, on the same disk.
            types: Of the messages that will be written.

        Raises:
            OSError: It cannot be written.
        """
        self._growing, self._place = growing, place
        # Not compressed: pictures that profit are better sent compressed, and a robot's
        # processors have other things to do.
        try:
            self._bag = BagFile(growing, types, compressed=False)
        except OSError:
            shutil.rmtree(growing, ignore_errors=True)
            raise
        self.size_bytes = 0

    def write(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        """Write a message.

        Raises:
            OSError: The disk is full, or fails.
        """
        self._bag.write(topic, kind, log_ns, data)
        self.size_bytes += len(data)

    def finish(self, sidecar: Sidecar) -> Path:
        """End it and move it to its place, which is returned.

        Raises:
            OSError: The disk is full, or fails.
        """
        write_sidecar(self._growing, sidecar)
        self._bag.finish()
        # Never replaces what is there: a folder with files in it makes it fail.
        self._growing.rename(self._place)
        sync(self._place.parent, self._growing.parent)
        return self._place

    def discard(self) -> None:
        """Leave nothing of it; raises nothing, whatever the disk says."""
        self._bag.abort()
        shutil.rmtree(self._growing, ignore_errors=True)
