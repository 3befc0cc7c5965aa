# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 recording: its topics, and the messages of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rosbags.highlevel import AnyReader
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
from model_tools.files.bags.limits import Reader, problem_of_types
from policy_core.bundle.bounded_yaml import DEEPEST
from policy_core.interfaces import Times
from policy_core.safe_files import read_at_most
from policy_inference.messages.wire import Decode, make_decoder

METADATA = "metadata.yaml"
_STORAGES = {".mcap": "mcap", ".db3": "sqlite3"}
_LARGEST_METADATA_BYTES = 1 << 23
_COMPRESSED = ".zstd"
_STAMPED = ("std_msgs/msg/Header", "builtin_interfaces/msg/Time")


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTopic:
    """What a recording states about a topic: the name of its message type, and their number."""

    type: str
    count: int


def is_bag(path: Path) -> bool:
    """Return whether it is a storage file of a recording, or a folder that holds one."""
    if path.is_dir():
        return (path / METADATA).is_file() or bool(storage_files(path))
    return path.is_file() and path.suffix in _STORAGES


def storage_files(path: Path) -> list[Path]:
    """Return the files with messages, of a recording or a single one of its files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if Path(file.name.removesuffix(_COMPRESSED)).suffix in _STORAGES]


class Bag:
    """A recording, in mcap or sqlite3, compressed or not, in one file or several.

    Attributes:
        path: Its folder, or its only file.
        storage: Kind of its files.
        start_ns, duration_ns: First time in the log, and the time from there to the last.
        topics: What was recorded, by full name.
    """

    def __init__(self, path: Path) -> None:
        """Read what is in the recording, and no message yet."""
        if not path.exists():
            raise ToolError(f"{path}: expected a recording, found nothing")
        if path.is_dir() and not (path / METADATA).is_file():
            raise ToolError(
                f"{path}: expected a recording, a folder with {METADATA} and its .mcap or .db3 "
                f"files, found no {METADATA}; `ros2 bag reindex {path}` writes it"
            )
        _require_harmless(path)
        self.path = path
        self._require_bounded_types()
        with self._opened() as reader:
            self.start_ns, self.duration_ns = reader.start_time, reader.duration
            self._types = reader.typestore
            self.topics = {
                name: BagTopic(type=topic.msgtype or "several types", count=topic.msgcount)
                for name, topic in reader.topics.items()
            }
        kinds = {Path(file.name.removesuffix(_COMPRESSED)).suffix for file in storage_files(path)}
        self.storage = ", ".join(_STORAGES[suffix] for suffix in sorted(kinds))

    def messages(self, topic: str) -> Iterator[tuple[int, Any]]:
        """Yield time in the log (ns) and message, in the order of the log.

        Each call reads the files by itself, so that several topics may be read side by side.
        """
        self._fields(topic)
        for log_ns, _, message in self.all_messages([topic]):
            yield log_ns, message

    def all_messages(
        self, topics: Sequence[str], undecoded: Collection[str] = ()
    ) -> Iterator[tuple[int, str, Any]]:
        """Yield time in the log (ns), topic and message of several topics, in one pass by time.

        Args:
            topics: Full names.
            undecoded: Those of them whose messages are wanted as bytes.
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
        """Return the names of the fields of a topic's messages, as the recording defines them."""
        return {name for name, _ in self._fields(topic)}

    def is_stamped(self, topic: str) -> bool:
        """Return whether a topic's messages begin with a header or a stamp."""
        return any(what in _STAMPED for _, (_, what) in self._fields(topic)[:1])

    def _fields(self, topic: str) -> Sequence[Any]:
        kind = self.topics[topic].type
        if kind not in self._types.fielddefs:
            raise ToolError(
                f"{self.path}: {topic}: expected a definition of {kind} in the "
                "recording, found none, as in those of Humble and before in sqlite3; "
                "`ros2 bag convert` to mcap, where the type is installed, writes it"
            )
        _, fields = self._types.fielddefs[kind]
        return fields

    @contextmanager
    def blocks(self) -> Iterator[BlocksOf]:
        """Give what yields the messages of a topic, as long as the context is open.

        Several topics may be read side by side.
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
        """Return when the messages of a topic were logged [messages], as they were written.

        Readers put them into the order of time, so that a clock that was set back shows here
        alone. Where a storage does not tell, there are none.
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
        # A reader of its own: one that looks at each message in turn has one place in the file.
        with self._opened() as reader:
            yield from read_blocks(reader, topic, begin_ns, end_ns)

    def decoder(self, topic: str, *, whole: bool = False) -> Decode:
        """Return what reads the messages of a topic, all of one type, from their bytes.

        It raises a ValueError or a struct.error for bytes that are not such a message.

        Args:
            topic: Full name.
            whole: Whether all fields are wanted, and not only those that a policy looks at.
        """
        kind = self.topics[topic].type

        def with_rosbags(data: bytes) -> Any:
            try:
                return self._types.deserialize_cdr(data, kind)
            # Which exception depends on the byte that is wrong.
            except Exception as error:
                raise ValueError(str(error) or type(error).__name__) from error

        return (None if whole else make_decoder(kind, with_rosbags)) or with_rosbags

    def problem(self, what: str, time_ns: int, text: object) -> ToolError:
        """Return the error about something at a time."""
        return ToolError(f"{self.path}: {what} at {time_ns * 1e-9:.3f} s: {text}")

    def _require_bounded_types(self) -> None:
        """Check the types that the recording defines before the reader makes code of them."""
        with self._errors_of_reader(), Reader(self.path) as reader:
            found = problem_of_types(reader.connections)
        if found:
            raise ToolError(
                f"{self.path}: expected types of messages within the limits of this reader, found "
                f"{found}; record or convert it without the topics of such types"
            )

    @contextmanager
    def _opened(self) -> Iterator[AnyReader]:
        """Give an open reader; what it raises becomes an error of ours."""
        # Recordings of Humble and before do not say what their types are.
        types = get_typestore(Stores.ROS2_HUMBLE)
        with (
            self._errors_of_reader(),
            AnyReader([self.path], default_typestore=types) as reader,
        ):
            yield reader

    @contextmanager
    def _errors_of_reader(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ToolError):
            raise
        # A broken file makes the reader raise what it likes: struct.error, KeyError, TypeError.
        except Exception as error:
            raise _broken(self.path, str(error) or type(error).__name__) from error


def _require_harmless(path: Path) -> None:
    """Refuse what no recorder writes, and what rosbags could work on or wait for without end."""
    if path.is_dir():
        _require_plain_metadata(path)
    for file in path.iterdir() if path.is_dir() else [path]:
        if not file.is_file() and not file.is_dir():  # a pipe is waited for without end
            raise _broken(file, "no regular file")


def _require_plain_metadata(path: Path) -> None:
    text, depth = read_at_most(path / METADATA, _LARGEST_METADATA_BYTES), 0
    try:
        for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise _broken(path, f"{METADATA} with aliases, or too many values in each other")
    except yaml.YAMLError as error:
        raise _broken(path, f"{METADATA}: {' '.join(str(error).split())}") from error


def _broken(path: Path, found: str) -> ToolError:
    return ToolError(
        f"{path}: expected a whole rosbag2 recording, found a broken one ({found}); `ros2 bag "
        "reindex` or `mcap recover` may save what is left"
    )


def refuse_set_back(bag: Bag, topics: Mapping[str, str]) -> None:
    """Check that the clock of the log was not set back."""
    for topic in topics.values():
        stored_ns = bag.stored_ns(topic)
        if (place := set_back(stored_ns)) is not None:
            back_s = float(stored_ns[place - 1] - stored_ns[place]) * 1e-9
            raise bag.problem(
                topic,
                int(stored_ns[place]),
                "expected times in the log that go on, found one "
                f"{back_s:.3f} s before the last; the clock was reset: cut the recording there",
            )
