# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The thread that writes episodes: nobody else waits for the disk."""

from __future__ import annotations

import dataclasses
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rosbags.rosbag2 import WriterError

from lerobot_bridge.recording.definitions import Definitions
from lerobot_bridge.recording.episode_file import EpisodeFile
from lerobot_bridge.sidecar import Sidecar, read_sidecar, write_sidecar
from policy_inference.errors import PolicyError

_AT_END_S = 30.0
"""So long what is still to be written may take when the process ends."""


class News(NamedTuple):
    """A line for a log.

    Attributes:
        text: The line.
        failed: Whether something went wrong.
        episode: Number of the episode that is lost thereby or, where nothing went wrong, is kept;
            None where that is not yet known of any.
        warns: Whether something may go wrong.
    """

    text: str
    failed: bool = False
    episode: int | None = None
    warns: bool = False


class Disk:
    """Takes orders and messages from any thread, in their order, and waits for nothing.

    Attributes:
        news: What happened, for a log.
        lost: Messages of the newest episode that came faster than they could be written.
        waiting_bytes: Size of the messages that are still to be written.
        last: The last episode that was finished.
        unknown: Why messages of a type cannot be written, by type.
    """

    def __init__(self, buffer_bytes: int) -> None:
        """Start the thread.

        Args:
            buffer_bytes: So much may wait for the disk; what comes then is lost, and counted.
        """
        self.news = deque[News]()
        self.lost, self.waiting_bytes = 0, 0
        self.last: Path | None = None
        self.unknown: dict[str, str] = {}
        self._room = buffer_bytes
        self._counting = threading.Lock()
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._definitions = Definitions()
        self._file: EpisodeFile | None = None
        self._number = -1
        self._all_done = False
        self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
        self._thread.start()

    @property
    def works(self) -> bool:
        """Whether the thread is at work; no disk ends that, but Python can."""
        return self._thread.is_alive()

    def learn(self, kind: str) -> None:
        """Read the definition of a type, which takes long enough for messages to be lost."""
        self._orders.put(lambda: self._learn(kind))

    def begin(self, number: int, growing: Path, place: Path) -> None:
        """Begin an episode; see `EpisodeFile`."""
        self.lost = 0
        self._orders.put(lambda: self._begin(number, growing, place))

    def write(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        """Write a message of the episode, if there is room for it to wait in."""
        with self._counting:
            if self.waiting_bytes + len(data) > self._room:
                self.lost += 1
                return
            self.waiting_bytes += len(data)
        self._orders.put(lambda: self._write(topic, kind, log_ns, data))

    def end(self, sidecar: Sidecar) -> None:
        """End the episode and keep it."""
        self._orders.put(lambda: self._finish(sidecar))

    def discard(self) -> None:
        """End the episode and leave nothing of it."""
        self._orders.put(self._discard)

    def judge(self, place: Path, success: bool) -> None:
        """Note in an episode that is over how it ended."""
        self._orders.put(lambda: self._judge(place, success))

    def close(self) -> bool:
        """Write what is still to be written; return whether that came to its end."""
        self._orders.put(None)
        self._thread.join(_AT_END_S)
        return self._all_done

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                order()
            except OSError as error:
                self._fail(error.strerror or str(error))
            except PolicyError as error:
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001  nobody else would hear of it
                self._fail(f"{type(error).__name__}: {error}")
        self._all_done = True

    def _fail(self, text: str) -> None:
        """Give the episode up; those that are finished, and later ones, do not suffer."""
        if self._file is None:
            self.news.append(News(text, True))
            return
        self._discard()
        self.news.append(News(f"episode {self._number} is lost: {text}", True, self._number))

    def _learn(self, kind: str) -> None:
        try:
            self._definitions.require(kind)
        except PolicyError as error:
            self.unknown[kind] = str(error)

    def _begin(self, number: int, growing: Path, place: Path) -> None:
        self._discard()  # one that the session gave up for lost
        self._number = number
        try:
            self._file = EpisodeFile(growing, place, self._definitions.types)
        except (OSError, WriterError) as error:
            self.news.append(News(f"episode {number} is lost: {growing}: {error}", True, number))

    def _write(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        try:
            if self._file is not None and kind not in self.unknown:
                self._file.write(topic, kind, log_ns, data)
        finally:
            with self._counting:
                self.waiting_bytes -= len(data)

    def _finish(self, sidecar: Sidecar) -> None:
        if self._file is None:
            return
        file = self._file
        self.last = file.finish(sidecar)
        self._file = None
        lost = f"; {sidecar.lost} messages came too fast for the disk" if sidecar.lost else ""
        self.news.append(
            News(f"{self.last}: kept, {file.size_bytes * 1e-6:.1f} MB{lost}", episode=self._number)
        )

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.discard()

    def _judge(self, place: Path, success: bool) -> None:
        write_sidecar(place, dataclasses.replace(read_sidecar(place), success=success))
