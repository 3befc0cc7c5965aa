# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings that others made take no more memory or time than their size lets."""

import os
import sqlite3
import struct
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]  # carries no types
import pytest
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from testkit.bags import write_bag
from testkit.fuzzing import bounded
from testkit.wording import refusal

from ...small_bag import imus

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
ENDLESS = (
    "CREATE VIEW schema AS WITH RECURSIVE n(schema_version) AS (SELECT 1 UNION ALL "
    "SELECT schema_version + 1 FROM n) SELECT max(schema_version) schema_version FROM n"
)


def mcap_text(content: str) -> bytes:
    return struct.pack("<I", len(content)) + content.encode()


def mcap_record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def mcap(compression: str, packed: bytes, unpacked_bytes: int) -> bytes:
    """Return a file of one chunk without an index, so that it is unpacked to find what is in it."""
    chunk = (
        struct.pack("<QQQI", 0, 0, unpacked_bytes, 0)
        + mcap_text(compression)
        + struct.pack("<Q", len(packed))
        + packed
    )
    return (
        MAGIC
        + mcap_record(0x01, mcap_text("ros2") + mcap_text(""))
        + mcap_record(0x06, chunk)
        + mcap_record(0x0F, bytes(4))
        + mcap_record(0x02, bytes(20))
        + MAGIC
    )


@pytest.mark.parametrize(
    ("compression", "pack"), [("zstd", zstd.compress), ("lz4", lz4.frame.compress)]
)
@pytest.mark.parametrize("stated_bytes", [100, 1 << 40])
def test_a_chunk_is_unpacked_as_far_as_it_states_to_a_limit(
    tmp_path: Path, compression: str, pack: Callable[[bytes], bytes], stated_bytes: int
) -> None:
    """2 kB of zstd took 64 MB, and as much more as the file was larger."""
    file = tmp_path / "bomb.mcap"
    file.write_bytes(mcap(compression, pack(bytes(1 << 26)), stated_bytes))
    with bounded(largest_bytes=1 << 25), refusal(ToolError):
        Bag(file)


def test_metadata_with_aliases_are_refused(tmp_path: Path) -> None:
    """Merge keys of 375 bytes took 1 s, and nine times as long with each line more."""
    bag = write_bag(tmp_path / "bag", imus([0]))
    file = bag / "metadata.yaml"
    merges = "a0: &a0 {k: 1}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
    )
    file.write_text(merges + file.read_text("utf-8"), "utf-8")
    with bounded(), refusal(ToolError):
        Bag(bag)
    file.write_text("[" * 100_000, "utf-8")
    with bounded(), refusal(ToolError):
        Bag(bag)


@pytest.mark.parametrize(
    "made",
    [
        ENDLESS,
        "CREATE VIRTUAL TABLE schema USING fts5(schema_version)",
        "CREATE TABLE schema(a, schema_version AS (zeroblob(1000000000)))",
    ],
)
def test_a_database_that_computes_is_refused(tmp_path: Path, made: str) -> None:
    """SQLite counted for ever, and no signal ended it."""
    file = tmp_path / "bag.db3"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE messages(id, topic_id, timestamp, data)")
        database.execute("CREATE TABLE topics(id, name, type, serialization_format)")
        database.execute(made)
        database.commit()
    with refusal(ToolError):
        Bag(file)


def let_compute(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE schema")
        database.execute(ENDLESS)
        database.commit()


def test_a_compressed_database_that_computes_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", imus([0]), StoragePlugin.SQLITE3, CompressionMode.FILE)
    (file,) = bag.glob("*.db3.zstd")
    plain = tmp_path / "plain"
    plain.write_bytes(zstd.decompress(file.read_bytes()))
    let_compute(plain)
    file.write_bytes(zstd.compress(plain.read_bytes()))
    with refusal(ToolError):
        Bag(bag)
    # 15 kB of zstd filled the disk with 300 MB, and as much more as the file was larger.
    file.write_bytes(zstd.compress(bytes(1 << 20)) * 300)
    with refusal(ToolError):
        Bag(bag)


@pytest.mark.parametrize("name", ["a.bin", "a.bin?.db3"])
def test_a_database_that_computes_is_refused_under_any_name(tmp_path: Path, name: str) -> None:
    bag = write_bag(tmp_path / "bag", imus([0]), StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text("utf-8").replace(file.name, f'"{name}"'), "utf-8")
    (bag / name).write_bytes(file.read_bytes())
    let_compute(file.rename(bag / "a.bin"))
    with refusal(ToolError):
        Bag(bag)


def test_a_compressed_message_is_unpacked_to_a_limit(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", imus([0]), StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    (file,) = bag.glob("*.db3")
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE messages SET data = ?", (zstd.compress(bytes(1 << 20)) * 200,))
        database.commit()
    with refusal(ToolError):
        list(Bag(bag).messages("/imu/data"))


def defining(definition: str) -> bytes:
    """Return a file with one topic of a type that it defines, and no message."""
    schema = (
        struct.pack("<H", 1) + mcap_text("x/msg/A") + mcap_text("ros2msg") + mcap_text(definition)
    )
    channel = struct.pack("<HH", 1, 1) + mcap_text("/a") + mcap_text("cdr") + struct.pack("<I", 0)
    body = (
        MAGIC + mcap_record(0x01, mcap_text("ros2") + mcap_text("")) + mcap_record(0x0F, bytes(4))
    )
    summary = mcap_record(0x03, schema) + mcap_record(0x04, channel)
    statistics = struct.pack("<QHIIIIQQI", 0, 1, 1, 0, 0, 0, 0, 0, 0)
    return (
        body
        + summary
        + mcap_record(0x0B, statistics)
        + mcap_record(0x02, struct.pack("<QQI", len(body), 0, 0))
        + MAGIC
    )


PART = "=" * 80 + "\nMSG: x/msg/"


@pytest.mark.parametrize(
    "definition",
    [
        "string[4000000000] a",
        f"B[4000000000] a\n{PART}B\nint32 a",
        f"B[50] a\n{PART}B\nC[50] a\n{PART}C\nint32 a",
        f"B[] a\n{PART}B\n",
        f"B[] a\n{PART}B\nC c\n{PART}C\n",
        "A[] a",
        "".join(f"bool f{i}\n" for i in range(2001)),
        "".join(f"bool f{i}\n" for i in range(60_000)),
    ],
    ids=["texts", "messages", "nested", "empty", "empty inside", "itself", "fields", "long"],
)
def test_types_that_need_more_than_any_robot_has_are_refused(
    tmp_path: Path, definition: str
) -> None:
    """`string[4000000000]` took 1.7 GiB in code that was made of it."""
    file = tmp_path / "bag.mcap"
    file.write_bytes(defining(definition))
    with bounded(largest_bytes=1 << 26), refusal(ToolError):
        Bag(file)


def test_types_with_large_arrays_of_numbers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "bag.mcap"
    file.write_bytes(defining("float64[1000000] a\nstring<=4000000000 b\nuint8[<=9000000] c"))
    assert Bag(file).fields("/a") == {"a", "b", "c"}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", imus([0]))
    (file,) = bag.glob("*.mcap")
    file.unlink()
    os.mkfifo(file)
    with refusal(ToolError):
        Bag(bag)


CHECKED = ("0.11.",)


def test_version_of_rosbags_was_checked() -> None:
    found = version("rosbags")
    assert found.startswith(CHECKED), (
        "files/bags/blocks.py and limits.py use inner parts of rosbags, which was checked with "
        f"{CHECKED}, and not with {found}: run the tests of bags with it, then add it"
    )
