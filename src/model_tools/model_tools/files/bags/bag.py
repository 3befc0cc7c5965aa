# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 recording: its topics and their messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from model_tools.errors import ToolError
from model_tools.files.bags.blocks import (
    LAST_NS,
    Block,
    BlocksOf,
    in_rows,
    indexed_files,
    read_blocks,
    set_back,
)
from policy_core.interfaces import Times
from policy_core.safe_files import read_at_most
from policy_inference.messages.wire import Decode, make_decoder

METADATA = "metadata.yaml"
_LARGEST_METADATA_BYTES = 1 << 23
_STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
_COMPRESSED = ".zstd"
_NO_STORAGE = re.compile(r"^\s+storage_identifier:\s*(''|\"\"|)\s*$", re.MULTILINE)
_STAMPED = ("std_msgs/msg/Header", "builtin_interfaces/msg/Time")


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTopic:
    """A recorded topic: its message type and number of messages."""

    type: str
    count: int


def is_bag(path: Path) -> bool:
    """Return whether a path is a recording's storage file, or a folder that contains one."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return path.is_file() and path.suffix in _STORAGES


def storage_files(path: Path) -> list[Path]:
    """Return the storage files of a recording, given its folder or its only file."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if Path(file.name.removesuffix(_COMPRESSED)).suffix in _STORAGES]


class Bag:
    """A recording, in mcap or sqlite3, compressed or not, in one file or several.

    Attributes:
        path: Folder of the recording, or its only file.
        storage: Format of the recording's files.
        start_ns, duration_ns: Log time of the first message, and time from it to the last one.
        topics: Recorded topics, by full name.
    """

    def __init__(self, path: Path) -> None:
        """Read the recording's index, but no messages."""
        if not path.exists():
            raise ToolError(f"{path}: expected a recording, found nothing")
        if path.is_dir() and not (path / METADATA).is_file():
            raise ToolError(
                f"{path}: expected a recording (a folder with {METADATA} and its .mcap or .db3 "
                f"files), found no {METADATA}; `ros2 bag reindex -s {_storage_of(path)} {path}` "
                "writes it"
            )
        _require_harmless(path)
        _require_storage(path)
        self.path = path
        # Recordings from Humble and earlier releases do not contain their type definitions.
        known = get_typestore(Stores.ROS2_HUMBLE)
        with _errors_named(path), AnyReader([path], default_typestore=known) as reader:
            self._types = reader.typestore
            self.start_ns, self.duration_ns = reader.start_time, reader.duration
            self.topics = {
                name: BagTopic(type=topic.msgtype or "several types", count=topic.msgcount)
                for name, topic in reader.topics.items()
            }
        self.storage = ", ".join(_storages(path))

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield each message on a topic with its log time (ns), in log order, as (time, message).

        Each call opens the files again, so several topics can be read in parallel.
        """
        self._fields(topic)
        for log_ns, _, message in self.all_messages([topic]):
            yield log_ns, message

    def all_messages(
        self, topics: Sequence[str], undecoded: Collection[str] = ()
    ) -> Iterator[tuple[int, str, Any]]:
        """Yield each message on several topics as (log time in ns, topic, message), in time order.

        Args:
            topics: Full names of the topics.
            undecoded: Topics whose messages are yielded as bytes.
        """
        with self._opened() as reader:
            chosen = [each for each in reader.connections if each.topic in topics]
            for connection, log_ns, data in reader.messages(connections=chosen):
                topic, kind = connection.topic, connection.msgtype
                as_bytes = topic in undecoded
                yield (
                    log_ns,
                    topic,
                    bytes(data) if as_bytes else self._types.deserialize_cdr(data, kind),
                )

    def fields(self, topic: str) -> set[str]:
        """Return the field names of a topic's messages, from the recording's type definition."""
        return {name for name, _ in self._fields(topic)}

    def is_stamped(self, topic: str) -> bool:
        """Return whether a topic's messages begin with a header or a stamp."""
        return any(what in _STAMPED for _, (_, what) in self._fields(topic)[:1])

    def _fields(self, topic: str) -> Sequence[Any]:
        kind = self.topics[topic].type
        if kind not in self._types.fielddefs:
            raise ToolError(
                f"{self.path}: {topic}: expected a definition of {kind} in the recording, found "
                "none (sqlite3 recordings from Humble and earlier lack it); `ros2 bag convert` to "
                "mcap, on a machine with this type installed, adds it"
            )
        _, fields = self._types.fielddefs[kind]
        return fields

    @contextmanager
    def blocks(self) -> Iterator[BlocksOf]:
        """Yield a function that reads a topic's messages while the context is open.

        Several topics can be read in parallel.
        """
        with self._opened() as reader:
            files = indexed_files(reader)

            def of_topic(topic: str, begin_ns: int = 0, end_ns: int = LAST_NS) -> Iterator[Block]:
                if files and all(file.in_order(topic) for file in files):
                    return chain.from_iterable(
                        file.blocks(topic, begin_ns, end_ns) for file in files
                    )
                return self._blocks_in_turn(topic, begin_ns, end_ns)

            yield of_topic

    def stored_ns(self, topic: str) -> Times:
        """Return the log times of a topic's messages [messages], in the order they were written.

        Readers sort messages by time, so only the order in which they were written reveals a clock
        reset. The result is empty for storage formats that do not preserve that order.
        """
        with self._opened() as reader:
            files = indexed_files(reader)
            parts = (
                [part for file in files for part in file.stored_ns(topic)]
                if files
                else in_rows(reader, topic)
            )
            return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)

    def _blocks_in_turn(self, topic: str, begin_ns: int, end_ns: int) -> Iterator[Block]:
        # A separate reader, since a reader that visits every message has one position in the file.
        with self._opened() as reader:
            yield from read_blocks(reader, topic, begin_ns, end_ns)

    def decoder(self, topic: str, *, whole: bool = False) -> Decode:
        """Return the function that decodes a topic's messages, which must all have one type.

        The function raises ValueError or struct.error for invalid bytes.

        Args:
            topic: Full name.
            whole: Decode all fields, not only those that a policy uses.
        """
        kind = self.topics[topic].type

        def with_rosbags(data: bytes) -> Any:
            try:
                return self._types.deserialize_cdr(data, kind)
            # The exception depends on the invalid byte.
            except Exception as error:
                raise ValueError(str(error) or type(error).__name__) from error

        return (None if whole else make_decoder(kind, with_rosbags)) or with_rosbags

    def problem(self, what: str, time_ns: int, text: object) -> ToolError:
        """Return an error about a message, with the message's time."""
        return ToolError(f"{self.path}: {what} at {time_ns * 1e-9:.3f} s: {text}")

    @contextmanager
    def _opened(self) -> Iterator[Reader]:
        with _errors_named(self.path), Reader(self.path) as reader:
            yield reader


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """Convert errors raised while reading a recording to ToolError."""
    try:
        yield
    except (OSError, ToolError):
        raise
    # For a damaged file the reader raises various errors: struct.error, KeyError, TypeError.
    except Exception as error:
        raise _broken(path, " ".join(str(error).split()) or type(error).__name__) from error


def _require_harmless(path: Path) -> None:
    """Reject files that no recorder writes and that would make rosbags block or exhaust memory."""
    if path.is_dir():
        read_at_most(path / METADATA, _LARGEST_METADATA_BYTES)
    for file in path.iterdir() if path.is_dir() else [path]:
        if not file.is_file() and not file.is_dir():  # opening a pipe blocks forever
            raise _broken(file, "not a regular file")


def _require_storage(path: Path) -> None:
    """Reject a recording whose metadata lacks the format, as `ros2 bag reindex` without -s does."""
    file = path / METADATA
    if path.is_dir() and _NO_STORAGE.search(file.read_text("utf-8", "replace")):
        storage = _storage_of(path)
        raise ToolError(
            f"{file}: storage_identifier: expected {storage}, found ''; `ros2 bag reindex -s "
            f"{storage} {path}` writes it"
        )


def _storages(path: Path) -> list[str]:
    """Return the formats of a recording's files."""
    kinds = {Path(file.name.removesuffix(_COMPRESSED)).suffix for file in storage_files(path)}
    return [_STORAGES[suffix] for suffix in sorted(kinds)]


def _storage_of(path: Path) -> str:
    """Return the format of a recording's files; mcap, the default, if it has none."""
    return next(iter(_storages(path)), "mcap")


def _broken(path: Path, found: str) -> ToolError:
    return ToolError(
        f"{path}: expected a complete rosbag2 recording, found a damaged one ({found}); `ros2 bag "
        f"reindex -s {_storage_of(path)}` or `mcap recover` may save what is left"
    )


def refuse_set_back(bag: Bag, topics: Mapping[str, str]) -> None:
    """Raise an error if log times jump back, which means that the clock was reset."""
    for topic in topics.values():
        stored_ns = bag.stored_ns(topic)
        if (place := set_back(stored_ns)) is not None:
            back_s = float(stored_ns[place - 1] - stored_ns[place]) * 1e-9
            raise bag.problem(
                topic,
                int(stored_ns[place]),
                f"expected increasing times in the log, found a time {back_s:.3f} s earlier than "
                "the previous one; the clock was reset: cut the recording there",
            )
