# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Blocks of messages on a topic: log times, stamps, and bytes on demand.

An MCAP file (https://mcap.dev/spec) stores messages in chunks, each followed by an index of its
messages for each topic. Since a robot publishes far more than a policy uses, NumPy reads all of a
topic's stamps in a chunk at once, at the offsets in the index, and skips the other topics'
messages. rosbags parses everything but the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from policy_core.interfaces import Times

Heads = npt.NDArray[np.uint8]

HEAD = 12
"""Number of bytes read at the start of a message: four for the encoding, eight for the stamp."""
_AT_ONCE = 512
RESTART_NS = 1_000_000_000
"""Size of a backward jump in time above which the jump counts as a clock reset."""
LAST_NS = 2**63 - 1
"""Upper bound of log times."""
Places = npt.NDArray[np.intp]
_CHUNKS_KEPT = 4
"""Number of cached chunks. Topics are read in parallel, rarely more than one chunk apart."""
_MESSAGE = 0x05
_LENGTH_AT, _COUNTED_FROM, _DATA_AT = 1, 9, 31
"""In a message record: opcode 1, length 8, channel 2, sequence 4, times 16, data."""
_ENTRIES_AT = 15
"""In an index record: opcode 1, length 8, channel 2, size of entries 4, entries."""
_CRC_AT, _COMPRESSION_AT, _SIZE = 33, 37, 12
"""In a chunk record: opcode 1, length 8, times 16, size 8, CRC 4, compression 4 + its length,
compressed size 8, messages."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Messages of one topic, in log order.

    Attributes:
        log_ns: Log times [messages].
        heads: First bytes of each message [messages, 12].
        data: Function that returns all bytes of the message with a given index.
    """

    log_ns: Times
    heads: Heads
    data: Callable[[int], bytes]


def stamps_ns(heads: Heads) -> Times:
    """Return the header stamps of messages [messages], ns; 0 for a message without a stamp.

    Args:
        heads: First bytes of messages that begin with a header [messages, 12].
    """
    # The last bit of the encoding number is the byte order (OMG DDS-RTPS 2.5, clause 10).
    little = (heads[:, 1] & 1).astype(bool)
    stamps = np.ascontiguousarray(heads[:, 4:])
    sec, nanosec = (
        np.where(little, *(stamps.view(f"{order}{kind}4")[:, place] for order in "<>"))
        for place, kind in enumerate("iu")
    )
    return sec.astype(np.int64) * 1_000_000_000 + nanosec


class BlocksOf(Protocol):
    """Function that reads one topic's messages."""

    def __call__(self, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS) -> Iterator[Block]:
        """Yield the messages with log times of at least `begin_ns` and less than `end_ns`."""


def read_blocks(
    reader: Reader, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS
) -> Iterator[Block]:
    """Yield a topic's messages from an open recording, all of them read by rosbags."""
    chosen = [each for each in reader.connections if each.topic == topic]
    messages = reader.messages(connections=chosen, start=begin_ns, stop=end_ns)
    while found := list(islice(messages, _AT_ONCE)):
        heads = np.frombuffer(b"".join(data[:HEAD] for _, _, data in found), np.uint8)
        yield Block(
            log_ns=np.array([log_ns for _, log_ns, _ in found]),
            heads=heads.reshape(-1, HEAD),
            data=[data for _, _, data in found].__getitem__,
        )


def in_rows(reader: Reader, topic: str) -> list[Times]:
    """Return the log times of a topic's messages in each SQLite file, in the order written."""
    storage = reader.storage
    files = storage.storages if isinstance(storage, DirectoryReader) else [storage]
    return [
        np.array(
            [
                time_ns
                for (time_ns,) in file.dbconn.cursor().execute(
                    "SELECT timestamp FROM messages JOIN topics ON topics.id = messages.topic_id "
                    "WHERE topics.name = ? ORDER BY messages.id",
                    (topic,),
                )
            ],
            np.int64,
        )
        for file in files
        if isinstance(file, Sqlite3Reader) and file.dbconn
    ]


def set_back(stored_ns: Times) -> int | None:
    """Return the index of the first message after a clock reset; None if there was no reset.

    Parts that do not overlap in time may be in any order, as in merged recordings.

    Args:
        stored_ns: Log times [messages] in the order they were written.
    """
    back = 1 + np.flatnonzero(np.diff(stored_ns) < -RESTART_NS)
    if not len(back):
        return None
    runs = sorted((int(run.min()), int(run.max())) for run in np.split(stored_ns, back))
    apart = all(end < begin for (_, end), (begin, _) in pairwise(runs))
    return None if apart else int(back[0])


def indexed_files(reader: Reader) -> list[IndexedFile] | None:
    """Return the files of an open recording, with indexes; None unless every file is indexed."""
    if reader.compression_mode == "message":
        return None
    storage = reader.storage
    files = storage.storages if isinstance(storage, DirectoryReader) else [storage]
    found = [
        IndexedFile(file)
        for file in files
        if isinstance(file, McapReader)
        and file.chunks
        and all(chunk.message_index_length for chunk in file.chunks)
    ]
    return found if len(found) == len(files) else None


class IndexedFile:
    """An open MCAP file with an index."""

    def __init__(self, file: McapReader) -> None:
        """Store the summary that rosbags has read."""
        self._file = file
        self._chunks = sorted(file.chunks, key=lambda chunk: chunk.message_start_time)
        self._data: Callable[[int], bytes] = lru_cache(_CHUNKS_KEPT)(self._read_chunk)

    def in_order(self, topic: str) -> bool:
        """Return whether a topic's messages in each chunk are no older than the previous chunk's.

        Merged recordings may be unsorted.
        """
        ends = [entries[[0, -1], 0] for _, entries in self._index(topic)]
        times = np.array(ends, np.uint64).reshape(-1)
        return bool((times[1:] >= times[:-1]).all())

    def blocks(self, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS) -> Iterator[Block]:
        """Yield a topic's messages in this log time range, one chunk at a time."""
        for place, found in self._index(topic):
            first, end = np.searchsorted(found[:, 0], np.array((begin_ns, end_ns), np.uint64))
            entries = found[first:end]
            if not len(entries):
                continue
            chunk, at = self._data(place), entries[:, 1].astype(np.intp)
            content: npt.NDArray[np.uint8] = np.frombuffer(chunk, np.uint8)
            if not (content[at] == _MESSAGE).all():
                raise ReaderError("the index of a chunk points to something other than messages")
            yield Block(
                log_ns=entries[:, 0].astype(np.int64),
                data=_Data(chunk, content, at),
                heads=content[at[:, None] + np.arange(_DATA_AT, _DATA_AT + HEAD)],
            )

    def stored_ns(self, topic: str) -> Iterator[npt.NDArray[np.uint64]]:
        """Yield the log times of a topic's messages in the order they were written."""
        written = sorted(
            (self._chunks[place].chunk_start_offset, place, entries)
            for place, entries in self._index(topic)
        )
        for _, _, entries in written:
            yield entries[np.argsort(entries[:, 1]), 0]

    def _index(self, topic: str) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Yield each chunk's number and the topic's entries in it [messages, (time, offset)]."""
        channels = [each.id for each in self._file.connections if each.topic == topic]
        for number, chunk in enumerate(self._chunks):
            lists = [
                self._entries(chunk, channel)
                for channel in channels
                if chunk.channel_count.get(channel)
            ]
            if lists:
                entries = np.concatenate(lists)
                yield number, entries[np.argsort(entries[:, 0], kind="stable")]

    def _entries(self, chunk: ChunkInfo, channel: int) -> npt.NDArray[np.uint64]:
        size = 16 * chunk.channel_count[channel]
        content = self._read(chunk.message_index_offsets[channel] + _ENTRIES_AT, size)
        return np.frombuffer(content, "<u8").reshape(-1, 2)

    def _read_chunk(self, number: int) -> bytes:
        chunk = self._chunks[number]
        crc = int.from_bytes(self._read(chunk.chunk_start_offset + _CRC_AT, 4), "little")
        begin = chunk.chunk_start_offset + _COMPRESSION_AT + _SIZE + len(chunk.compression)
        return decompress(
            self._read(begin, chunk.compressed_size),
            chunk.compression,
            chunk.uncompressed_size,
            crc,
        )

    def _read(self, begin: int, size: int) -> bytes:
        assert self._file.bio
        self._file.bio.seek(begin)
        content = self._file.bio.read(size)
        if len(content) < size:
            raise ReaderError(f"expected {size} bytes at offset {begin}, found {len(content)}")
        return content


class _Data:
    """Reads the bytes of messages at given offsets in a chunk."""

    def __init__(self, chunk: bytes, content: npt.NDArray[np.uint8], at: Places) -> None:
        lengths = content[at[:, None] + np.arange(_LENGTH_AT, _COUNTED_FROM)].view("<u8")[:, 0]
        self._chunk, self._begins = chunk, (at + _DATA_AT).tolist()
        self._ends = (at + _COUNTED_FROM + lengths.astype(np.intp)).tolist()

    def __call__(self, number: int) -> bytes:
        return self._chunk[self._begins[number] : self._ends[number]]
