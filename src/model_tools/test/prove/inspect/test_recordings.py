# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection says of a recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path
from testkit.numbers import numbers_in
from testkit.wording import check_wording

from ...small_bag import MS, S, Said, command, every, imus, joint_states, scan, write_bag

SECOND = every(10, 1000, 2000)
Inspect = Callable[..., InspectionReport]


@pytest.fixture
def inspected_bag(tmp_path: Path) -> Inspect:
    """Inspect a recording of messages, beside healthy ones of every input that they lack."""

    def write(*said: Said) -> InspectionReport:
        healthy = (joint_states(SECOND), imus(SECOND))
        topics = {topic for topic, _, _ in said}
        rest = [entry for stream in healthy for entry in stream if entry[0] not in topics]
        return inspect_path(write_bag(tmp_path / "bag", [*said, *rest]))

    return write


def test_a_healthy_recording_shows_topics_rates_frames_and_joints(inspected_bag: Inspect) -> None:
    report = inspected_bag(command(S, 0.5))

    rows = dict(report.rows)
    assert str(rows["storage"]).startswith("mcap, ")
    assert numbers_in(rows["recorded"]) == [1.0, 1.0]
    assert numbers_in(rows["/joint_states"]) == [101, 100.0]
    assert rows["/imu/data frame"] == "imu_link"
    assert "knee, hip" in rows.values()
    check_wording(rows["recorded"], rows["/joint_states"])
    assert report.suspicions == []


ODD_MESSAGES: dict[str, Sequence[Said]] = {
    "no velocities": joint_states(SECOND, velocity=np.empty(0)),
    "NaN": joint_states(SECOND, position=np.array([math.nan, 0.0])),
    "no orientation": imus(SECOND, quat=(0, 0, 0, 0)),
    "stamp goes back": [*joint_states(SECOND), *joint_states([1995 * MS], log_ns=10 * MS)],
    "no stamp": joint_states([0, 0]),
    "gap": joint_states([*SECOND, 4 * S]),
    "log is ahead": joint_states(SECOND, log_ns=3 * S),
    "two lists of joints": [*joint_states([S]), *joint_states([2 * S], name=["hip", "knee"])],
    "two publishers": sorted(
        [*joint_states(SECOND), *joint_states([t + MS for t in SECOND])],
        key=lambda said: said[1],
    ),
    "infinite scan": [scan(S, [math.inf])],
    "NaN command": [command(S, math.nan, stamped=True)],
    "other topic": [command(S, 0.0, "/teleop")],
}


@pytest.mark.parametrize("case", ODD_MESSAGES)
def test_what_could_not_be_fed_to_a_policy_is_suspicious(inspected_bag: Inspect, case: str) -> None:
    said = ODD_MESSAGES[case]
    (found,) = inspected_bag(*said).suspicions
    check_wording(found)
