# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording becomes the rows that the policy would have seen on the robot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from model_tools.files.row_files import read_rows
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F32
from policy_inference.comparison.rows import Rows
from testkit.wording import check_wording, refusal

from ...small_bag import MS, S, Said, command, every, imus, joint_states, scan, write_bag
from ...tiny_bundle import forward, make_bundle, weights

WALKER = "{term: base_ang_vel}, {term: velocity_command}"
SCAN = "{term: external, topic: scan, size: 6}"
RANGE = "velocity_command: {min: [-1, -1, -1], max: [1, 1, 1]}"
DistributionWatch = Callable[..., JointBundle]


@pytest.fixture
def observing(tmp_path: Path) -> DistributionWatch:
    """Make a policy that sees six values of other terms."""

    def make(terms: str, more: str = "") -> JointBundle:
        folder = make_bundle(tmp_path / "other", limits=more)
        file = folder / "policy.yaml"
        plain = "{term: joint_pos}, {term: joint_vel}, {term: last_action}"
        file.write_text(file.read_text("utf-8").replace(plain, terms), "utf-8")
        return load_bundle(folder, kind=JointBundle)

    return make


@pytest.fixture
def bag_rows(tmp_path: Path) -> Callable[..., Rows]:
    def read(tiny: JointBundle, *said: Said, **topics: str) -> Rows:
        folder = write_bag(tmp_path / "bag", sorted(said, key=lambda entry: entry[1]))
        return read_rows(folder, tiny, topics)

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
    observing: DistributionWatch, bag_rows: Read, said: Sequence[Said], expected: list[float]
) -> None:
    times = every(10, 1000, 1100)

    rows = bag_rows(observing(WALKER, RANGE), *joint_states(times), *imus(times), *said)

    assert observed_commands(rows) == expected
    np.testing.assert_allclose(observed_values(rows)[:, 0], [1.0, 1.02, 1.04, 1.06, 1.08, 1.1])


def test_a_stale_command_fades_as_on_the_robot(
    observing: DistributionWatch, bag_rows: Read
) -> None:
    tiny = observing(WALKER, RANGE)
    times = every(10, 1000, 2200)

    rows = bag_rows(tiny, *joint_states(times), *imus(times), command(S, 1.0))

    # Time-out and ramp are half a second each.
    assert observed_commands(rows)[:26] == [1.0] * 26
    assert observed_commands(rows)[26:51] == pytest.approx(np.linspace(0.96, 0.0, 25))
    assert observed_commands(rows)[51:] == [0.0] * 10


def test_without_commands_the_robot_stands_and_the_log_says_so(
    observing: DistributionWatch, bag_rows: Read, caplog: pytest.LogCaptureFixture
) -> None:
    tiny = observing(WALKER, RANGE)

    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1060)), *imus(every(10, 1000, 1060)))

    assert observed_commands(rows) == [0.0] * 4
    check_wording(caplog.messages[-1])


def test_external_vectors_are_taken_by_their_time_in_the_log(
    observing: DistributionWatch, bag_rows: Read
) -> None:
    tiny, first, late = observing(SCAN), scan(S, range(6)), scan(1030 * MS, range(1, 7))

    rows = bag_rows(tiny, *joint_states(every(10, 1000, 1060)), first, late)
    assert rows.inputs["obs"][:, 0].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_ticks_begin_when_every_input_is_there(
    observing: DistributionWatch, tmp_path: Path
) -> None:
    tiny = observing(SCAN)
    said = [*joint_states(every(10, 1000, 1100)), scan(1050 * MS, [0] * 6)]
    bag = write_bag(tmp_path / "bag", sorted(said, key=lambda entry: entry[1]))
    np.testing.assert_allclose(read_rows(bag, tiny).sensed["joint_pos"][:, 0], [1.06, 1.08])
    never = [*joint_states(every(10, 1000, 1100)), scan(2 * S, [0] * 6)]
    with refusal(ToolError):
        read_rows(write_bag(tmp_path / "never", never), tiny)


def test_a_log_of_another_clock_than_the_stamps_is_refused(
    observing: DistributionWatch, bag_rows: Read
) -> None:
    tiny, wall_ns = observing(WALKER, RANGE), 1_700_000_000 * S
    said = [*joint_states(every(10, 1000, 1100)), *imus(every(10, 1000, 1100)), command(S, 0.5)]

    with refusal(ToolError):
        bag_rows(tiny, *[(topic, log_ns + wall_ns, message) for topic, log_ns, message in said])


def test_messages_without_a_stamp_go_by_the_log(tiny: JointBundle, bag_rows: Read) -> None:
    unstamped = [(topic, log_ns + S, message) for topic, log_ns, message in joint_states([0] * 4)]
    said = [
        (topic, log_ns + i * 20 * MS, message)
        for i, (topic, log_ns, message) in enumerate(unstamped)
    ]

    assert len(bag_rows(tiny, *said)) == 4


def test_repeated_and_earlier_stamps_are_not_new(tiny: JointBundle, bag_rows: Read) -> None:
    said = joint_states([1000 * MS, 1020 * MS, 1020 * MS, 1010 * MS, 1040 * MS])
    in_log = [(topic, S + i * MS, message) for i, (topic, _, message) in enumerate(said)]

    rows = bag_rows(tiny, *in_log)

    np.testing.assert_allclose(rows.sensed["joint_pos"][:, 0], [1.0, 1.02, 1.04])


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
@pytest.mark.parametrize("share", [0.0, 0.1, 0.999])
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
