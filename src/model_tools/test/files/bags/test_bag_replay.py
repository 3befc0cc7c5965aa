# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording becomes the rows that the policy would have seen on the robot."""

import json
import math
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.bags.bag_replay import tick_timeouts_ns
from model_tools.files.bags.blocks import indexed_files
from model_tools.files.row_files import BagSource, read_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32, F64
from policy_inference.comparison.rows import Rows
from testkit.bags import MS, S, Said, in_log, write_bag
from testkit.edits import reword
from testkit.numbers import numbers_in
from testkit.wire_messages import SCAN as SCAN_OF_TWO
from testkit.wording import check_wording, lines_with, refusal

from ...small_bag import command, every, imus, joint_states, perceived, scan
from ...tiny_bundle import forward, make_bundle, weights

PLAIN = "{term: joint_pos}, {term: joint_vel}, {term: last_action}"
WALKER = "{term: base_ang_vel}, {term: velocity_command}"
SCAN = "{term: external, topic: scan, size: 6}"
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
MakePolicy = Callable[..., JointBundle]


@pytest.fixture
def observing(tmp_path: Path) -> MakePolicy:
    """Make a policy that sees other terms."""

    def make(terms: str = PLAIN, more: str = "") -> JointBundle:
        folder = make_bundle(tmp_path / "other", limits=more)
        reword(folder / "policy.yaml", (PLAIN, terms))
        return load_bundle(folder, kind=JointBundle)

    return make


@pytest.fixture
def bag_rows(tmp_path: Path) -> Callable[..., Rows]:
    def read(tiny: JointBundle, *said: Said, **topics: str) -> Rows:
        return read_rows(write_bag(tmp_path / "bag", in_log(said)), tiny, topics)

    return read


Read = Callable[..., Rows]


def observed_values(rows: Rows) -> F32:
    return np.asarray(rows.inputs["obs"], np.float32)


def observed_commands(rows: Rows) -> list[float]:
    return [round(float(value), 6) for value in observed_values(rows)[:, 3]]


def test_the_newest_joint_state_of_each_tick_is_taken_by_name(
    tiny: JointBundle, bag_rows: Read
) -> None:
    rows = bag_rows(tiny, *joint_states(every(7, 1001, 1106)))

    # Newest at or before 1.02, 1.04, ..., 1.10 s, of 1.001, 1.008, ... s.
    hip = [1.015, 1.036, 1.057, 1.078, 1.099]
    np.testing.assert_allclose(rows.sensed["joint_pos"], [[t, 10 * t] for t in hip])
    np.testing.assert_allclose(rows.sensed["joint_vel"], [[t + 100, 10 * t + 100] for t in hip])
    measured = np.hstack([rows.sensed["joint_pos"], rows.sensed["joint_vel"]])
    np.testing.assert_allclose(observed_values(rows)[:, :4], measured, rtol=1e-6)


def test_a_message_counts_from_its_stamp_on_not_from_when_it_was_logged(
    tiny: JointBundle, bag_rows: Read
) -> None:
    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1100), log_ns=35 * MS))

    np.testing.assert_allclose(rows.sensed["joint_pos"][:, 0], [1.0, 1.02, 1.04, 1.06, 1.08, 1.1])


def test_the_last_action_is_the_policy_s_own_and_zero_at_first(
    tiny: JointBundle, bag_rows: Read
) -> None:
    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1100)))

    obs, actions = observed_values(rows), np.asarray(rows.outputs["actions"], np.float32)
    assert not obs[0, 4:].any()
    assert np.array_equal(obs[1:, 4:], actions[:-1])
    np.testing.assert_allclose(actions, forward(obs, weights()), rtol=1e-5)


@pytest.mark.parametrize("recurrent", [False, True])
def test_gaps_are_left_out_said_and_started_clean_after(
    tmp_path: Path, bag_rows: Read, caplog: pytest.LogCaptureFixture, recurrent: bool
) -> None:
    tiny = load_bundle(make_bundle(tmp_path / "tiny", recurrent=recurrent), kind=JointBundle)

    rows = bag_rows(tiny, *joint_states([*every(10, 1000, 1100), *every(10, 1300, 1360)]))

    # Two periods after 1.10 s the state is too old, until it comes again.
    np.testing.assert_allclose(
        rows.sensed["joint_pos"][:, 0],
        [1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.1, 1.1, 1.3, 1.32, 1.34, 1.36],
    )
    for name in rows.inputs.keys() - {"obs"}:
        assert rows.inputs[name][7].any()
        assert not rows.inputs[name][8].any()
    assert rows.inputs["obs"][7, 4:].any()
    assert not rows.inputs["obs"][8, 4:].any()
    check_wording(caplog.messages[-1])


def test_a_leap_of_the_clock_is_one_gap(
    tiny: JointBundle, bag_rows: Read, caplog: pytest.LogCaptureFixture
) -> None:
    now_ns = 1_700_000_000 * S

    rows = bag_rows(tiny, *joint_states([*every(10, 0, 100), now_ns, now_ns + 20 * MS]))

    assert len(rows) == 10
    check_wording(caplog.messages[-1])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([command(1039 * MS, 0.5), command(1061 * MS, 3.0)], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]),
        ([command(1038 * MS, 0.5, stamped=True)], [0.0, 0.0, 0.5, 0.5, 0.5, 0.5]),
    ],
    ids=["log", "stamp"],
)
def test_commands_count_from_their_stamp_or_their_time_in_the_log_and_are_clipped(
    observing: MakePolicy, bag_rows: Read, said: Sequence[Said], expected: list[float]
) -> None:
    times = every(10, 1000, 1100)

    rows = bag_rows(observing(WALKER, RANGE), *joint_states(times), *imus(times), *said)

    assert observed_commands(rows) == expected
    np.testing.assert_allclose(observed_values(rows)[:, 0], [1.0, 1.02, 1.04, 1.06, 1.08, 1.1])


def test_a_stale_command_fades_as_on_the_robot(observing: MakePolicy, bag_rows: Read) -> None:
    tiny = observing(WALKER, RANGE)
    times = every(10, 1000, 2200)

    rows = bag_rows(tiny, *joint_states(times), *imus(times), command(S, 1.0))

    # Time-out and ramp are half a second each.
    assert observed_commands(rows)[:26] == [1.0] * 26
    assert observed_commands(rows)[26:51] == pytest.approx(np.linspace(0.96, 0.0, 25))
    assert observed_commands(rows)[51:] == [0.0] * 10


def test_without_commands_the_robot_stands_and_the_log_says_so(
    observing: MakePolicy, bag_rows: Read, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = observing(WALKER, RANGE)

    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1060)), *imus(every(10, 1000, 1060)))

    assert observed_commands(rows) == [0.0] * 4
    check_wording(caplog.messages[0])


def test_external_vectors_are_taken_by_their_time_in_the_log(
    observing: MakePolicy, bag_rows: Read
) -> None:
    tiny, first, late = observing(SCAN), scan(S, range(6)), scan(1030 * MS, range(1, 7))

    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1060)), first, late)
    assert rows.inputs["obs"][:, 0].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_ticks_begin_when_every_input_is_there(observing: MakePolicy, tmp_path: Path) -> None:
    tiny = observing(SCAN)
    said = [*joint_states(every(10, 1000, 1100)), scan(1050 * MS, [0] * 6)]
    bag = write_bag(tmp_path / "bag", in_log(said))
    np.testing.assert_allclose(read_rows(bag, tiny).sensed["joint_pos"][:, 0], [1.06, 1.08])
    never = [*joint_states(every(10, 1000, 1100)), scan(2 * S, [0] * 6)]
    with refusal(ToolError):
        read_rows(write_bag(tmp_path / "never", never), tiny)


def test_a_log_of_another_clock_than_the_stamps_is_refused(
    observing: MakePolicy, bag_rows: Read
) -> None:
    tiny, wall_ns = observing(WALKER, RANGE), 1_700_000_000 * S
    said = [*joint_states(every(10, 1000, 1100)), *imus(every(10, 1000, 1100)), command(S, 0.5)]

    with refusal(ToolError):
        bag_rows(tiny, *[(topic, log_ns + wall_ns, message) for topic, log_ns, message in said])


@pytest.mark.parametrize(
    "said",
    [
        joint_states(every(10, 1000, 1060), name=["hip", "tail"]),
        joint_states(every(10, 1000, 1060), velocity=np.empty(0)),
        joint_states(every(10, 1000, 1060), position=np.array([math.nan, 0.0])),
        [*joint_states(every(10, 5000, 5060)), *joint_states([3 * S], log_ns=3 * S)],
        joint_states([1005 * MS]),
    ],
)
def test_what_cannot_be_fed_to_the_policy_is_refused(
    tiny: JointBundle, bag_rows: Read, said: Sequence[Said]
) -> None:
    with refusal(ToolError):
        bag_rows(tiny, *said)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("share", [0.0, 0.999])
def test_what_is_cut_off_is_refused(
    tiny: JointBundle, tmp_path: Path, storage: StoragePlugin, share: float
) -> None:
    folder = write_bag(tmp_path / "bag", joint_states(every(1, 1000, 2000)), storage)
    (file,) = folder.glob("bag.*")
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])

    for path in (folder, file):
        with refusal(ToolError):
            read_rows(path, tiny)


@pytest.mark.parametrize("empty", ["''", '""', ""])
def test_metadata_without_the_format_names_the_command_that_writes_it(
    tmp_path: Path, empty: str
) -> None:
    folder = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 1200)))
    storage = Bag(folder).storage
    reword(
        folder / "metadata.yaml", (f"storage_identifier: {storage}", f"storage_identifier: {empty}")
    )
    with refusal(ToolError):
        Bag(folder)


@pytest.mark.parametrize(
    "metadata", [None, "", "rosbag2_bagfile_information: {version: 9}", "a: ["]
)
def test_a_folder_without_its_metadata_is_refused(
    tiny: JointBundle, tmp_path: Path, metadata: str | None
) -> None:
    folder = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 1200)))
    file = folder / "metadata.yaml"
    if metadata is None:
        file.unlink()
    else:
        file.write_text(metadata, "utf-8")

    with refusal(ToolError):
        read_rows(folder, tiny)
    for path in (tmp_path, tmp_path / "nosuch"):
        with refusal(ToolError):
            Bag(path)


SEEN = "{term: joint_pos}, {term: joint_vel}, {term: external, topic: scan, size: 2}"


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
    return in_log(said)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("terms", [PLAIN, SEEN])
def test_it_has_as_many_rows_as_it_says_and_wanted_ones_are_those_of_the_whole(
    observing: MakePolicy, tmp_path: Path, seed: int, terms: str
) -> None:
    source = BagSource(observing(terms), write_bag(tmp_path / "bag", patchy(seed)))
    wanted = [0, 3, 4, 17, (source.count or 0) - 1]

    whole = [(row.number, row.time_s, row.tensors["obs"].copy()) for row in source.rows()]
    found = [(row.number, row.time_s, row.tensors["obs"].copy()) for row in source.rows(wanted)]

    assert [number for number, _, _ in whole] == list(range(source.count or 0))
    assert len(whole) > 20
    assert [number for number, _, _ in found] == wanted
    for number, time_s, obs in found:
        assert time_s == whole[number][1]
        assert np.array_equal(obs, whole[number][2])
    assert list(source.rows([])) == []


def is_indexed(bag: Path) -> bool:
    with Reader(bag) as reader:
        return indexed_files(reader) is not None


def joint_positions(bundle: JointBundle, bag: Path) -> F64:
    return np.stack([row.sensed["joint_pos"].copy() for row in BagSource(bundle, bag).rows()])


def test_the_index_of_a_file_gives_what_looking_at_each_message_gives(
    observing: MakePolicy, tmp_path: Path
) -> None:
    said, bundle = patchy(3), observing(SEEN)
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
    observing: MakePolicy, tmp_path: Path, compression: CompressionMode, by_index: bool
) -> None:
    said, bundle = joint_states(every(1, 1000, 10000)), observing()

    bag = write_bag(tmp_path / "bag", said, compression=compression)

    assert is_indexed(bag) == by_index
    np.testing.assert_allclose(joint_positions(bundle, bag)[:, 0], np.arange(1.0, 10.001, 0.02))


def test_chunks_that_overlap_are_put_in_order(observing: MakePolicy, tmp_path: Path) -> None:
    """Writers with several threads may be half a second behind themselves."""
    said, bundle = joint_states(every(1, 1000, 10000)), observing()
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
    observing: MakePolicy, tmp_path: Path
) -> None:
    bag = write_bag(tmp_path / "bag", joint_states(every(10, 1000, 2000)))
    (file,) = bag.glob("*.mcap")
    content = file.read_bytes()
    # An index record is opcode 7, length, channel 1, bytes of entries, entries: a time, a place.
    size = 16 * 101
    place = content.index(struct.pack("<BQHI", 7, size + 6, 1, size)) + 15 + 8
    file.write_bytes(content[:place] + bytes([content[place] + 1]) + content[place + 1 :])

    with refusal(ToolError):
        list(BagSource(observing(), bag).rows())


SEES_GROUND = {"term": "height_scan", "topic": "perception/ground", "scan": SCAN_OF_TWO}
SEES = f"{{term: joint_pos}}, {{term: joint_vel}}, {json.dumps(SEES_GROUND)}"


@pytest.fixture
def seeing(observing: MakePolicy) -> JointBundle:
    return observing(SEES)


def test_what_is_perceived_without_values_is_skipped_and_counted(
    seeing: JointBundle, bag_rows: Read, caplog: pytest.LogCaptureFixture
) -> None:
    times_ns = every(20, 1000, 2000)
    scans = [
        perceived(time_ns, problem="no map") if 10 <= i < 14 else perceived(time_ns, [0.1 * i, 0.0])
        for i, time_ns in enumerate(times_ns)
    ]
    rows = bag_rows(seeing, *joint_states(times_ns), *scans)
    seen = observed_values(rows)[:, 4]
    # The last scan counts while it is not too old, then the ticks are left out.
    limit_ns = tick_timeouts_ns(seeing.contract)["perception/ground"]
    assert limit_ns is not None
    held = min(4, limit_ns // (20 * MS))
    expected = [0.1 * i for i in [*range(10), *[9] * held, *range(14, 51)]]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    assert lines_with(caplog.text, "/perception/ground")
    assert 4 in numbers_in(lines_with(caplog.text, "/perception/ground")[0])


@pytest.mark.parametrize(
    "scan",
    [{"problem": "no map"}, {"values": [0.0, 0.0], "frame": "contract:0"}],
    ids=["never with values", "by another contract"],
)
def test_a_recording_in_which_nothing_perceived_fits_is_refused(
    seeing: JointBundle, bag_rows: Read, scan: dict[str, Any]
) -> None:
    times_ns = every(20, 1000, 2000)
    with refusal(ToolError):
        bag_rows(
            seeing, *joint_states(times_ns), *(perceived(time_ns, **scan) for time_ns in times_ns)
        )
