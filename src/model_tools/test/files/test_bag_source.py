# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording's rows: as many as it says, those that are asked for, however they are stored."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.blocks import indexed_files
from model_tools.files.row_files import BagSource
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64
from testkit.wording import refusal

from ..small_bag import MS, Said, every, joint_states, scan, write_bag
from ..tiny_bundle import make_bundle

PLAIN = "{term: joint_pos}, {term: joint_vel}, {term: last_action}"
SEEN = "{term: joint_pos}, {term: joint_vel}, {term: external, topic: scan, size: 2}"
Made = Callable[..., JointBundle]


@pytest.fixture
def policy_of_terms(tmp_path: Path) -> Made:
    """Make a policy with other terms."""

    def make(terms: str = PLAIN, more: str = "") -> JointBundle:
        folder = make_bundle(tmp_path / "tiny", limits=more)
        file = folder / "policy.yaml"
        file.write_text(file.read_text("utf-8").replace(PLAIN, terms), "utf-8")
        return load_bundle(folder, kind=JointBundle)

    return make


def patchy(seed: int) -> list[Said]:
    """Say joints and a vector, each with gaps of its own, repetitions and steps back."""
    random = np.random.default_rng(seed)
    times = [
        np.cumsum(random.choice([2, 7, 30, 60, -3, 0], 300, p=[0.3, 0.4, 0.14, 0.06, 0.05, 0.05]))
        for _ in range(2)
    ]
    said = [
        *joint_states([1000 * MS + int(ms) * MS for ms in times[0]]),
        *(scan(1000 * MS + int(ms) * MS, [float(ms), 1.0]) for ms in np.sort(times[1])),
    ]
    return sorted(said, key=lambda entry: entry[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("terms", [PLAIN, SEEN])
def test_it_has_as_many_rows_as_it_says(
    policy_of_terms: Made, tmp_path: Path, seed: int, terms: str
) -> None:
    source = BagSource(policy_of_terms(terms), write_bag(tmp_path / "bag", patchy(seed)))

    numbers = [row.number for row in source.rows()]

    assert numbers == list(range(source.count or 0))
    assert len(numbers) > 20


@pytest.mark.parametrize("terms", [PLAIN, SEEN])
def test_wanted_rows_are_those_of_the_whole(
    policy_of_terms: Made, tmp_path: Path, terms: str
) -> None:
    source = BagSource(policy_of_terms(terms), write_bag(tmp_path / "bag", patchy(1)))
    wanted = [0, 3, 4, 17, (source.count or 0) - 1]

    whole = [(row.number, row.time_s, row.tensors["obs"].copy()) for row in source.rows()]
    found = [(row.number, row.time_s, row.tensors["obs"].copy()) for row in source.rows(wanted)]

    assert [number for number, _, _ in found] == wanted
    for number, time_s, obs in found:
        assert time_s == whole[number][1]
        assert np.array_equal(obs, whole[number][2])
    assert list(source.rows([])) == []


def is_indexed(bag: Path) -> bool:
    with AnyReader([bag]) as reader:
        return indexed_files(reader) is not None


def joint_positions(bundle: JointBundle, bag: Path) -> F64:
    return np.stack([row.sensed["joint_pos"].copy() for row in BagSource(bundle, bag).rows()])


def test_the_index_of_a_file_gives_what_looking_at_each_message_gives(
    policy_of_terms: Made, tmp_path: Path
) -> None:
    said, bundle = patchy(3), policy_of_terms(SEEN)
    indexed = write_bag(tmp_path / "mcap", said)
    plain = write_bag(tmp_path / "sqlite3", said, StoragePlugin.SQLITE3)
    assert is_indexed(indexed)
    assert not is_indexed(plain)

    assert np.array_equal(joint_positions(bundle, indexed), joint_positions(bundle, plain))


@pytest.mark.parametrize(
    ("compression", "by_index"),
    [
        (CompressionMode.NONE, True),
        (CompressionMode.STORAGE, True),
        (CompressionMode.FILE, True),
        (CompressionMode.MESSAGE, False),
    ],
)
def test_many_chunks_are_read_by_their_index_unless_each_message_is_compressed(
    policy_of_terms: Made, tmp_path: Path, compression: CompressionMode, by_index: bool
) -> None:
    said, bundle = joint_states(every(1, 1000, 10000)), policy_of_terms()

    bag = write_bag(tmp_path / "bag", said, compression=compression)

    assert is_indexed(bag) == by_index
    np.testing.assert_allclose(joint_positions(bundle, bag)[:, 0], np.arange(1.0, 10.001, 0.02))


def test_chunks_that_overlap_are_put_in_order(policy_of_terms: Made, tmp_path: Path) -> None:
    """Writers with several threads may be half a second behind themselves."""
    said, bundle = joint_states(every(1, 1000, 10000)), policy_of_terms()
    order = [
        entry
        for first in range(0, len(said), 500)
        for odd in (0, 1)
        for entry in said[first : first + 500][odd::2]
    ]

    bag = write_bag(tmp_path / "bag", order)

    assert is_indexed(bag)
    np.testing.assert_allclose(joint_positions(bundle, bag)[:, 0], np.arange(1.0, 10.001, 0.02))


def test_an_index_that_leads_elsewhere_is_a_broken_recording(
    policy_of_terms: Made, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 2000)))
    (file,) = bag.glob("*.mcap")
    content = file.read_bytes()
    # An index record is opcode 7, length, channel 1, bytes of entries, entries: a time, a place.
    size = 16 * 101
    place = content.index(struct.pack("<BQHI", 7, size + 6, 1, size)) + 15 + 8
    file.write_bytes(content[:place] + bytes([content[place] + 1]) + content[place + 1 :])

    with refusal(ToolError):
        list(BagSource(policy_of_terms(), bag).rows())
