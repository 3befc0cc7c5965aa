# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 folder with one file, written message by message."""

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
    """A recording in the making; its folder can be read once it is finished, not before."""

    def __init__(
        self, folder: Path, types: Typestore, *, storage: Storage = "mcap", compressed: bool = True
    ) -> None:
        """Begin.

        Args:
            folder: The folder to be, which is not there yet.
            types: Knows the type of each message that will be written.
            storage: Kind of the file.
            compressed: Whether chunks of messages are, or each message in sqlite3, which has none.
        """
        self.folder = folder
        self._types = types
        self._connections: dict[str, Connection] = {}
        plugin = StoragePlugin[storage.upper()]
        self._writer = Writer(folder, version=Writer.VERSION_LATEST, storage_plugin=plugin)
        if compressed:
            # By the chunk: `ros2 bag` and Foxglove read that without unpacking a file first.
            mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()

    def write(self, topic: str, kind: str, log_ns: int, data: bytes | memoryview) -> None:
        """Write a message.

        Args:
            topic: Its full name.
            kind: Type of the message.
            log_ns: Time in the log.
            data: The message as it goes over the wire (CDR).
        """
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._writer.add_connection(topic, kind, typestore=self._types)
            self._connections[topic] = connection
        self._writer.write(connection, log_ns, data)

    def finish(self) -> None:
        """End it, and see that its files are on the disk."""
        self._writer.close()
        sync(*self.folder.iterdir(), self.folder)

    def abort(self) -> None:
        """Close the file as it is; the caller made the folder, and removes it."""
        with suppress(OSError):  # what is still in its buffer goes nowhere on a full disk
            self._writer.abort()


def sync(*paths: Path) -> None:
    """See that files and folders are on the disk: a robot is switched off, not shut down."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
