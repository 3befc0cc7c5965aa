# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes episodes in a separate thread, so that no other thread waits for the disk."""

from __future__ import annotations

import dataclasses
import os
import queue
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from lerobot_bridge.episode import EpisodeSidecar, read_sidecar, write_sidecar
from policy_core.errors import PolicyError
from policy_inference.bag_file import BagFile, sync

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_PREFIXES = "AMENT_PREFIX_PATH"


class Definitions:
    """Reads message definitions on demand.

    Attributes:
        types: The definitions read so far.
    """

    def __init__(self) -> None:
        self.types: Typestore = get_typestore(Stores.EMPTY)

    def require(self, kind: str) -> None:
        if kind in self.types.types:
            return
        package, _, name = kind.split("/")
        found = get_types_from_msg(_definition(package, name).read_text("utf-8"), kind)
        for field in (field for _, fields in found.values() for _, field in fields):
            for part in _parts(field):
                self.require(part)
        self.types.register(found)


def _parts(field: Any) -> Iterator[str]:
    node, value = field
    if node is Nodetype.NAME:
        yield value
    elif node is not Nodetype.BASE:
        yield from _parts(value[0])


def _definition(package: str, name: str) -> Path:
    prefixes = [prefix for prefix in os.environ.get(_PREFIXES, "").split(os.pathsep) if prefix]
    files = (Path(prefix, "share", package, "msg", f"{name}.msg") for prefix in prefixes)
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise PolicyError(
            f"{_PREFIXES}: expected a prefix with share/{package}/msg/{name}.msg, "
            f"found {os.pathsep.join(prefixes) or 'nothing'}; install {package} and "
            "source its setup.bash"
        )
    return found


_AT_END_S = 30.0
"""Maximum time for writing the waiting messages when the process ends, s."""


class News(NamedTuple):
    """A line for the log.

    Attributes:
        text: The line.
        failed: True if the line reports an error.
        episode: Number of the episode that was kept or lost; None if the line reports neither.
    """

    text: str
    failed: bool = False
    episode: int | None = None


class Disk:
    """Accepts requests and messages from any thread, keeps their order, and never blocks.

    Attributes:
        news: Events for the log.
        lost: Number of messages of the newest episode that were lost because they arrived faster
            than the disk could write.
        waiting_bytes: Total size of the messages waiting for the disk.
        last: The last finished episode.
        unknown: Message types that cannot be written, with the reason for each.
    """

    def __init__(self, buffer_bytes: int) -> None:
        """Start the thread.

        Args:
            buffer_bytes: Memory for waiting messages; messages that do not fit are lost and
                counted.
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
        """True while the thread is alive; a disk error does not end it."""
        return self._thread.is_alive()

    def learn(self, kind: str) -> None:
        """Read a type's definition in advance; later, the delay could cause message loss."""
        self._orders.put(lambda: self._learn(kind))

    def begin(self, number: int, growing: Path, place: Path) -> None:
        """Begin an episode; see `EpisodeFile`."""
        self.lost = 0
        self._orders.put(lambda: self._begin(number, growing, place))

    def write(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        """Write a message of the episode if the memory for waiting messages has room."""
        with self._counting:
            if self.waiting_bytes + len(data) > self._room:
                self.lost += 1
                return
            self.waiting_bytes += len(data)
        self._orders.put(lambda: self._write(topic, kind, log_ns, data))

    def end(self, sidecar: EpisodeSidecar) -> None:
        self._orders.put(lambda: self._finish(sidecar))

    def discard(self) -> None:
        self._orders.put(self._discard)

    def judge(self, place: Path, success: bool) -> None:
        self._orders.put(lambda: self._judge(place, success))

    def close(self) -> bool:
        """Write the waiting messages; return whether all were written in time."""
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
            except Exception as error:  # noqa: BLE001  the thread must continue
                self._fail(f"{type(error).__name__}: {error}")
        self._all_done = True

    def _fail(self, text: str) -> None:
        """Log an error, and abandon the current episode, if any; the thread continues."""
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
        self._discard()  # an episode that the session has abandoned
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

    def _finish(self, sidecar: EpisodeSidecar) -> None:
        if self._file is None:
            return
        file = self._file
        self.last = file.finish(sidecar)
        self._file = None
        lost = f"; {sidecar.lost} messages arrived too fast for the disk" if sidecar.lost else ""
        self.news.append(
            News(f"{self.last}: kept, {file.size_bytes * 1e-6:.1f} MB{lost}", episode=self._number)
        )

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.discard()

    def _judge(self, place: Path, success: bool) -> None:
        write_sidecar(place, dataclasses.replace(read_sidecar(place), success=success))


class EpisodeFile:
    """A rosbag2 folder with the sidecar file, written in a hidden folder and moved when complete.

    Attributes:
        size_bytes: Total size of the messages in the folder.
    """

    def __init__(self, growing: Path, place: Path, types: Typestore) -> None:
        """Begin the recording.

        Args:
            growing: Folder in which the recording is written; it must not exist yet.
            place: The final folder, on the same disk.
            types: Types of the messages.
        """
        self._growing, self._place = growing, place
        # Not compressed: large images should be sent compressed, and a robot's processors are busy.
        try:
            self._bag = BagFile(growing, types, compressed=False)
        except OSError:
            shutil.rmtree(growing, ignore_errors=True)
            raise
        self.size_bytes = 0

    def write(self, topic: str, kind: str, log_ns: int, data: bytes) -> None:
        self._bag.write(topic, kind, log_ns, data)
        self.size_bytes += len(data)

    def finish(self, sidecar: EpisodeSidecar) -> Path:
        """End the recording and move it to its final folder; return that folder."""
        write_sidecar(self._growing, sidecar)
        self._bag.finish()
        # this never replaces an episode: it fails if the folder contains files
        self._growing.rename(self._place)
        sync(self._place.parent, self._growing.parent)
        return self._place

    def discard(self) -> None:
        """Delete the recording; disk errors are ignored."""
        self._bag.abort()
        shutil.rmtree(self._growing, ignore_errors=True)
