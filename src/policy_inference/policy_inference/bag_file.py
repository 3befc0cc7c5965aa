# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 folder with a single file, written message by message."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.typesys.store import Typestore

Storage = Literal["mcap", "sqlite3"]


class BagFile:
    """A bag that is being written; its folder is readable only after `finish`."""

    def __init__(
        self, folder: Path, types: Typestore, *, storage: Storage = "mcap", compressed: bool = True
    ) -> None:
        """Create the bag's folder.

        Args:
            folder: The new folder, which must not exist.
            types: Typestore with the types of all messages to be written.
            storage: Storage format of the file.
            compressed: True to compress chunks of messages; in sqlite3, which has no chunks, single
                messages.
        """
        self.folder = folder
        self._types = types
        self._connections: dict[str, Connection] = {}
        plugin = StoragePlugin[storage.upper()]
        self._writer = Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=plugin)
        if compressed:
            # By chunk or message: `ros2 bag` and Foxglove read these without unpacking the file.
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()

    def write(self, topic: str, kind: str, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message.

        Args:
            topic: Full topic name.
            kind: Message type.
            log_ns: Log time.
            data: The serialized message (CDR).
        """
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(topic, kind, typestore=self._types)
            self._connections[topic] = connection
        self._writer.write(connection, log_ns, data)

    def finish(self) -> None:
        """Complete the recording, and sync its files to disk."""
        self._writer.close()
        sync(*self.folder.iterdir(), self.folder)

    def abort(self) -> None:
        """Close the incomplete file; the caller removes the folder."""
        with suppress(OSError):  # on a full disk the rest of its buffer is lost
            self._writer.abort()


def sync(*paths: Path) -> None:
    """Sync files and folders to disk, since robots are often switched off without a shutdown."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
