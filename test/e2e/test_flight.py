# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of a walking robot: whole, and replayed to the same commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from std_srvs.srv import SetBool

from testkit.recordings import whole_recordings

from .conftest import WALKING_MPS
from .recorded import asked_to_record, replayed_exactly
from .rig import Rig

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture
def mortal_walker(tmp_path: Path) -> Iterator[Rig]:
    """A robot that walks in processes of its own, which may end."""
    with Rig(tmp_path) as rig:
        rig.operator.stand_up()
        rig.operator.move(WALKING_MPS)
        rig.operator.wait(0.5)
        rig.expect_deaths()
        yield rig


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("nan:joint_states.velocity+0.02", "not_finite: joint_vel"), ("drop:imu", "imu/data: ")],
)
def test_a_fault_of_a_node_is_replayed(walker: Rig, fault: str, reason: str) -> None:
    before = whole_recordings()
    walker.fail(fault)
    walker.wait_for_latched_damp()
    found = replayed_exactly(walker, before)
    assert found.flight.trip is not None
    assert reason in found.flight.trip.reason
    assert found.flight.trip is [edge for edge in found.flight.edges if edge.trip][-1]
    stages = found.replayer.stages
    assert stages["target"].judged > 50
    assert stages["state"].judged > 50


@pytest.mark.acceptance
def test_node_that_is_killed_leaves_only_a_hidden_folder_that_says_what_it_is(
    mortal_walker: Rig,
) -> None:
    place = asked_to_record(mortal_walker, SetBool, "record_run", SetBool.Request(data=True))
    unfinished = f".unfinished-{place.name}-*"
    mortal_walker.wait_until(lambda: [*place.parent.glob(unfinished)], "the recording to begin")
    mortal_walker.policy.send(signal.SIGKILL)
    assert mortal_walker.policy.wait() == -signal.SIGKILL
    assert not place.exists()
    assert [*place.parent.glob(unfinished)]
