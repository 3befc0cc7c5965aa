# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection says of a recording."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path
from testkit.wording import refusal

from ...small_bag import MS, S, Said, command, every, imus, joint_states, scan, write_bag

SECOND = every(10, 1000, 2000)
Inspect = Callable[..., InspectionReport]


@pytest.fixture
def inspected(tmp_path: Path) -> Inspect:
    """Inspect a recording of messages, beside healthy ones of every input that they lack."""

    def write(*said: Said) -> InspectionReport:
        healthy = (joint_states(SECOND), imus(SECOND))
        topics = {topic for topic, _, _ in said}
        rest = [entry for stream in healthy for entry in stream if entry[0] not in topics]
        return inspect_path(write_bag(tmp_path / "bag", [*said, *rest]))

    return write


def test_a_healthy_recording_shows_topics_rates_frames_and_joints(inspected: Inspect) -> None:
    report = inspected(command(S, 0.5))

    rows = dict(report.rows)
    assert rows["storage"].startswith("mcap, ")
    assert rows["recorded"] == "1.000 s from 1.000 s"
    assert rows["/joint_states"] == "sensor_msgs/msg/JointState, 101 messages, 100.0 Hz"
    assert rows["/imu/data frame"] == "imu_link"
    assert rows["/joint_states 2 joints"] == "knee, hip"
    assert report.suspicions == []


@pytest.mark.parametrize(
    ("said", "suspicion"),
    [
        (joint_states(SECOND, velocity=np.empty(0)), "no velocities, .* in 101 of 101 messages"),
        (
            joint_states(SECOND, position=np.array([math.nan, 0.0])),
            "NaN or infinite values in 101 of",
        ),
        (imus(SECOND, quat=(0, 0, 0, 0)), "/imu/data: no orientation in 101 of 101"),
        (
            [*joint_states(SECOND), *joint_states([1995 * MS], log_ns=10 * MS)],
            "a stamp before the last one in 1 of 102",
        ),
        (joint_states([0, 0]), "no stamp in 2 of 2"),
        (
            joint_states([*SECOND, 4 * S]),
            r"no message for 2\.000 s after 2\.000 s, where 0\.010 s are",
        ),
        (joint_states(SECOND, log_ns=3 * S), r"the log is 3\.000 s ahead of the stamps"),
        ([*joint_states([S]), *joint_states([2 * S], name=["hip", "knee"])], "2 lists of joints"),
        (
            sorted(
                [*joint_states(SECOND), *joint_states([t + MS for t in SECOND])],
                key=lambda said: said[1],
            ),
            "50% of the messages come right after another, as from two",
        ),
        ([scan(S, [math.inf])], "/scan: NaN or infinite values in 1 of 1"),
        ([command(S, math.nan, stamped=True)], "/cmd_vel: NaN or infinite values"),
        ([command(S, 0.0, "/teleop")], "no cmd_vel; it may be --topic cmd_vel=/teleop"),
    ],
)
def test_what_could_not_be_fed_to_a_policy_is_suspicious(
    inspected: Inspect, said: Sequence[Said], suspicion: str
) -> None:
    (found,) = inspected(*said).suspicions
    assert re.search(suspicion, found)


def test_a_recording_of_today_says_its_date(tmp_path: Path) -> None:
    report = inspect_path(write_bag(tmp_path / "bag", joint_states([1_700_000_000 * S])))

    assert ("recorded", "0.000 s from 2023-11-14 22:13:20+00:00") in report.rows


def test_a_recording_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    (file,) = write_bag(tmp_path / "bag", joint_states(SECOND)).glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-100])

    with refusal(ToolError):
        inspect_path(file)


def test_messages_that_are_lost_are_suspicious(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "bag", joint_states(SECOND))
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text("utf-8").replace("count: 101", "count: 150"), "utf-8")

    assert "/joint_states: 101 messages, where the recording says 150" in (
        inspect_path(folder).suspicions
    )


def test_an_empty_recording_has_no_topics(tmp_path: Path) -> None:
    report = inspect_path(write_bag(tmp_path / "bag", []))

    assert [name for name, _ in report.rows] == ["storage", "recorded"]
