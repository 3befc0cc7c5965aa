# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Limits for reading untrusted recordings with rosbags: types, YAML, compression, SQLite features.

Importing this module installs them where rosbags looks up its YAML loader, storage readers and
decompressors. Types are limited before rosbags generates code, which has lines for each field and
element: 100 bytes of a definition can demand gigabytes. Types and metadata are parsed once, since
each pass over a recording opens it again.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml
from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]  # untyped
from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat, Nodetype
from rosbags.rosbag2 import Reader as Reader  # re-exported with limits in force
from rosbags.rosbag2 import metadata, reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from ruamel.yaml import YAML

from policy_core.bundle.bounded_yaml import DEEPEST

if TYPE_CHECKING:
    from rosbags.interfaces.typing import Typesdict
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LONGEST_TEXT = 1 << 18
"""Characters of a definition with all types it needs; MoveIt's have 100,000."""
MOST_FIELDS = 2000
"""Fields of a message including nested ones, and elements of arrays of texts or messages."""
MOST_FIELDS_IN_ALL = 20_000
_IDL_PART = "=" * 80 + "\n"
_Fields = Sequence[tuple[str, Any]]


class TypeLimitError(ValueError):
    """Types of messages beyond the limits; states what was found."""


def typestore_of(connections: Iterable[Connection]) -> Typestore:
    """Return the types that a recording defines, else those of Humble.

    Recordings of Humble and before do not contain definitions.

    Raises:
        TypeLimitError: The types exceed a limit.
    """
    defined = [one for one in connections if one.msgdef.format is not MessageDefinitionFormat.NONE]
    if not defined:
        return get_typestore(Stores.ROS2_HUMBLE)
    return _typestore(tuple((one.msgtype, one.msgdef, one.digest) for one in defined))


@lru_cache(maxsize=16)
def _typestore(definitions: Sequence[tuple[str, MessageDefinition, str]]) -> Typestore:
    types: Typesdict = {}
    for kind, (form, text), _ in dict.fromkeys(definitions):
        if len(text) > LONGEST_TEXT:
            raise TypeLimitError(
                f"a definition of {len(text)} characters, more than {LONGEST_TEXT}"
            )
        is_msg = form is MessageDefinitionFormat.MSG
        types.update(get_types_from_msg(text, kind) if is_msg else _from_idl(text))
        if sum(len(fields) for _, fields in types.values()) > MOST_FIELDS_IN_ALL:
            raise TypeLimitError(f"types with more than {MOST_FIELDS_IN_ALL} fields in all")
    _require_bounded(types)
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    for kind, _, digest in definitions:
        if digest and store.hash_rihs01(kind) != digest:
            raise ReaderError(f"a definition of {kind} with another hash than stated")
    return store


def _from_idl(text: str) -> Typesdict:
    parts = [text]
    if text.startswith(f"{_IDL_PART}IDL: "):
        parts = [part.partition("\n")[2] for part in text.split(_IDL_PART)[1:]]
    found: Typesdict = {}
    for part in parts:
        found.update(get_types_from_idl(part))
    return found


def _require_bounded(types: Mapping[str, tuple[Any, _Fields]]) -> None:
    @cache
    def minimum_size(name: str) -> int:
        """Return a lower bound of the fields and elements of a message."""
        return sum(elements(what) for _, what in types.get(name, ((), ()))[1])

    def elements(what: Any) -> int:
        node, of = what
        if node is Nodetype.BASE:
            return 1
        if node is Nodetype.NAME:
            return minimum_size(of)
        part, size = of
        each = elements(part)
        if part[0] is Nodetype.NAME and not each:
            raise TypeLimitError(f"a sequence of {part[1]}, which has no fields")
        # An array of numbers counts as one; so does a sequence, whose size is limited by its bytes.
        is_one = node is Nodetype.SEQUENCE or (part[0] is Nodetype.BASE and part[1][0] != "string")
        return 1 if is_one else each * size

    try:
        for name in types:
            if (found := minimum_size(name)) > MOST_FIELDS:
                raise TypeLimitError(
                    f"{name} with {found} fields and elements, more than {MOST_FIELDS}"
                )
    except RecursionError as error:
        raise TypeLimitError("a message that contains itself") from error


class PlainYaml(YAML):
    """Loads YAML without aliases, which could take forever."""

    def load(self, stream: Any) -> Any:
        """Return the content of a text."""
        return _load_plain(stream)


@lru_cache(maxsize=16)
def _load_plain(text: str) -> Any:
    depth = 0
    try:
        for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise ReaderError("metadata.yaml with aliases, or too many values in each other")
    except yaml.YAMLError as error:
        raise ReaderError(f"metadata.yaml: {' '.join(str(error).split())}") from error
    return YAML(typ="safe").load(text)


_LARGEST_PART_BYTES = 1 << 27
"""Of a chunk, or of a compressed message; recorders write a few MB, and several chunks are kept in
memory."""
_FILE_RATIO, _FILE_BYTES = 100, 1 << 28
"""Limit of a decompressed file: this ratio to its size, or this size if larger."""


class PlainSqliteReader(Sqlite3Reader):
    """Reads a database whose tables and indexes contain only stored values."""

    def open(self) -> None:
        if set("?#%") & set(str(self.path)):  # in SQLite's URI these characters end the path
            raise ReaderError(f"{self.path}: expected a path without ?, # and %")
        _require_plain_tables(Path(str(self.path)))
        super().open()


def _require_plain_tables(file: Path) -> None:
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            # From SQLite's own parser, since the text of a schema may contain comments anywhere.
            odd = database.execute(
                "SELECT type, name FROM pragma_table_list WHERE schema = 'main' AND type <> 'table'"
                " UNION ALL"
                " SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"
                " UNION ALL SELECT 'computed column', tables.name || '.' || columns.name"
                " FROM pragma_table_list AS tables, pragma_table_xinfo(tables.name) AS columns"
                " WHERE tables.schema = 'main' AND columns.hidden"
            ).fetchone()
    except sqlite3.Error as error:
        raise ReaderError(str(error)) from error
    if odd:
        raise ReaderError(f"the {odd[0]} {odd[1]!r}")


class BoundedZstd:
    """The zstd functions that the reader of a folder uses, with limits."""

    @staticmethod
    def decompress(data: bytes) -> bytes:
        """Return a decompressed message."""
        found = _unpack(zstd.ZstdDecompressor, data, _LARGEST_PART_BYTES + 1)
        if len(found) > _LARGEST_PART_BYTES:
            raise ReaderError(f"a message of more than {_LARGEST_PART_BYTES} bytes")
        return found

    @staticmethod
    @contextmanager
    def open(file: IO[bytes], _mode: str) -> Iterator[_BoundedStream]:
        """Yield a stream that decompresses a file."""
        size = os.fstat(file.fileno()).st_size
        with zstd.open(file, "rb") as stream:
            yield _BoundedStream(stream, max(_FILE_BYTES, _FILE_RATIO * size))


class _BoundedStream:
    """Reads up to a limit of bytes; raises beyond it."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most, self._left = stream, most, most

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ReaderError(
                f"a compressed file that unpacks to more than {self._most} bytes: unpack it with "
                "`zstd -d`, then `ros2 bag reindex`"
            )
        return data


def _chunks_by(make: Callable[[], Any]) -> Callable[[bytes, int], bytes]:
    """Return a function that decompresses a chunk to its stated size at most."""

    def unpack(data: bytes, size: int) -> bytes:
        if size > _LARGEST_PART_BYTES:
            raise ReaderError(
                f"a chunk of {size} bytes, more than {_LARGEST_PART_BYTES}: `mcap recover` writes "
                "smaller ones"
            )
        return _unpack(make, data, size)

    return unpack


def _unpack(make: Callable[[], Any], data: bytes, most: int) -> bytes:
    found = bytearray()
    while data and len(found) < most:
        one = make()
        found += one.decompress(data, most - len(found))
        data = one.unused_data if one.eof else b""
    return bytes(found)


# rosbags' own decompress everything before they check the size: 20 kB may become gigabytes.
DECOMPRESSORS["zstd"] = _chunks_by(zstd.ZstdDecompressor)
DECOMPRESSORS["lz4"] = _chunks_by(LZ4FrameDecompressor)
metadata.YAML = reader.YAML = PlainYaml  # type: ignore[attr-defined]  # not exported
reader.zstd = BoundedZstd  # type: ignore[attr-defined,assignment]  # not exported
DirectoryReader.STORAGE_PLUGINS = {**DirectoryReader.STORAGE_PLUGINS, "sqlite3": PlainSqliteReader}
Reader.STORAGE_PLUGINS = {**Reader.STORAGE_PLUGINS, ".db3": PlainSqliteReader}
