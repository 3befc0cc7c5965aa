# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the clock of a log was set back, which only the order of writing tells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from model_tools.bags.blocks import RESTART_NS, Times


def in_rows(reader: AnyReader, topic: str) -> list[Times]:
    """Return the times of a topic's messages in each SQLite file, as they were written."""
    (whole,) = reader.readers
    if not isinstance(whole, Reader):
        return []
    storage = whole.storage
    files = storage.storages if isinstance(storage, DirectoryReader) else [storage]
    return [np.array([time_ns for (time_ns,) in file.dbconn.cursor().execute(
                "SELECT timestamp FROM messages JOIN topics ON topics.id = messages.topic_id "
                "WHERE topics.name = ? ORDER BY messages.id", (topic,))], np.int64)
            for file in files if isinstance(file, Sqlite3Reader) and file.dbconn]  # fmt: skip


def set_back(stored_ns: Times) -> int | None:
    """Return the place of the first message after a clock was set back; None if it never was.

    Parts that were put together in any order, none in the time of another, are no such thing.

    Args:
        stored_ns: [messages] times in the order of writing.
    """
    back = 1 + np.flatnonzero(np.diff(stored_ns) < -RESTART_NS)
    if not len(back):
        return None
    runs = sorted((int(run.min()), int(run.max())) for run in np.split(stored_ns, back))
    apart = all(end < begin for (_, end), (begin, _) in pairwise(runs))
    return None if apart else int(back[0])
