# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of a topic found by the index of an MCAP file, instead of by looking at each of them.

An MCAP file (https://mcap.dev/spec) has its messages in chunks, and behind each chunk an index of
where those of each topic are in it. A robot says far more than a policy looks at: numpy reads all
stamps of a chunk at once, and what is not looked at costs nothing else. rosbags parses everything
but the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, decompress

from model_tools.bags.blocks import HEAD, LAST_NS, Block

Places = npt.NDArray[np.intp]

_CHUNKS_KEPT = 4
"""Topics are read side by side and are rarely more than a chunk apart."""
_MESSAGE = 0x05
_LENGTH_AT, _COUNTED_FROM, _DATA_AT = 1, 9, 31
"""In a message's record: opcode 1, length 8, channel 2, sequence 4, times 16, data."""
_ENTRIES_AT = 15
"""In an index record: opcode 1, length 8, channel 2, size of the entries 4, entries."""
_CRC_AT, _COMPRESSION_AT, _SIZE = 33, 37, 12
"""In a chunk's record: opcode 1, length 8, times 16, size 8, CRC 4, compression 4 + its length,
compressed size 8, messages."""


def indexed_files(reader: AnyReader) -> list[IndexedFile] | None:
    """Return the files of an opened recording; None where they have no such index."""
    (whole,) = reader.readers
    if not isinstance(whole, Reader) or whole.compression_mode == "message":
        return None
    storage = whole.storage
    files = storage.storages if isinstance(storage, DirectoryReader) else [storage]
    found = [IndexedFile(file) for file in files
             if isinstance(file, McapReader) and _is_indexed(file.chunks)]
    return found if len(found) == len(files) else None


def _is_indexed(chunks: Sequence[ChunkInfo]) -> bool:
    return bool(chunks) and all(chunk.message_index_length for chunk in chunks)


class IndexedFile:
    """An opened MCAP file."""

    def __init__(self, file: McapReader) -> None:
        """Keep what rosbags knows of it."""
        self._file = file
        self._chunks = sorted(file.chunks, key=lambda chunk: chunk.message_start_time)
        self._data: Callable[[int], bytes] = lru_cache(_CHUNKS_KEPT)(self._read_chunk)

    def in_order(self, topic: str) -> bool:
        """Return whether each chunk's messages of a topic are later than those of the one before.

        They need not be: recordings may have been put together from others.
        """
        ends = [entries[[0, -1], 0] for _, entries in self._index(topic)]
        times = np.array(ends, np.uint64).reshape(-1)
        return bool((times[1:] >= times[:-1]).all())

    def blocks(self, topic: str, begin_ns: int = 0, end_ns: int = LAST_NS) -> Iterator[Block]:
        """Yield the messages of a topic that were logged in this time, a chunk at a time."""
        for place, found in self._index(topic):
            first, end = np.searchsorted(found[:, 0], np.array((begin_ns, end_ns), np.uint64))
            entries = found[first:end]
            if not len(entries):
                continue
            chunk, at = self._data(place), entries[:, 1].astype(np.intp)
            content: npt.NDArray[np.uint8] = np.frombuffer(chunk, np.uint8)
            if not (content[at] == _MESSAGE).all():
                raise ReaderError("the index of a chunk leads to other things than messages")
            yield Block(log_ns=entries[:, 0].astype(np.int64), data=_Data(chunk, content, at),
                        heads=content[at[:, None] + np.arange(_DATA_AT, _DATA_AT + HEAD)])

    def stored_ns(self, topic: str) -> Iterator[npt.NDArray[np.uint64]]:
        """Yield the times of a topic's messages in the order in which they were written."""
        written = sorted((self._chunks[place].chunk_start_offset, place, entries)
                         for place, entries in self._index(topic))
        for _, _, entries in written:
            yield entries[np.argsort(entries[:, 1]), 0]

    def _index(self, topic: str) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """Yield the number of each chunk and its entries [messages, time and place], in order."""
        channels = [each.id for each in self._file.connections if each.topic == topic]
        for number, chunk in enumerate(self._chunks):
            lists = [self._entries(chunk, channel) for channel in channels
                     if chunk.channel_count.get(channel)]
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
        return decompress(self._read(begin, chunk.compressed_size), chunk.compression,
                          chunk.uncompressed_size, crc)

    def _read(self, begin: int, size: int) -> bytes:
        assert self._file.bio
        self._file.bio.seek(begin)
        content = self._file.bio.read(size)
        if len(content) < size:
            raise ReaderError(f"expected {size} bytes at {begin}, found {len(content)}")
        return content


class _Data:
    """Gives the bytes of messages whose records begin at some places of a chunk."""

    def __init__(self, chunk: bytes, content: npt.NDArray[np.uint8], at: Places) -> None:
        lengths = content[at[:, None] + np.arange(_LENGTH_AT, _COUNTED_FROM)].view("<u8")[:, 0]
        self._chunk, self._begins = chunk, (at + _DATA_AT).tolist()
        self._ends = (at + _COUNTED_FROM + lengths.astype(np.intp)).tolist()

    def __call__(self, number: int) -> bytes:
        return self._chunk[self._begins[number] : self._ends[number]]
