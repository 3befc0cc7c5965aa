# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node recorded while a simulated robot walked gives the same commands when replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from std_srvs.srv import Trigger

from model_tools.prove.replaying.replay import Judgement, ReplayedFlight, replay
from testkit.recordings import whole_recordings

from .rig import Rig

pytestmark = pytest.mark.ros


def replayed(rig: Rig, before: set[Path]) -> ReplayedFlight:
    """Wait for a new recording and replay it."""
    rig.wait_until(lambda: whole_recordings() - before, "a recording")
    (path,) = whole_recordings() - before
    found = replay(path, None, "", {})
    assert found, found.first
    assert found.judgement is Judgement.EXACT
    assert not [name for name, stage in found.replayer.stages.items() if stage.differing]
    assert found.replayer.coverage.lost == 0
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("nan:joint_states.velocity+0.02", "not_finite: joint_vel"), ("drop:imu", "imu/data: ")],
)
def test_a_fault_of_a_node_is_replayed(walker: Rig, fault: str, reason: str) -> None:
    before = whole_recordings()
    walker.fail(fault)
    walker.wait_for_latched_damp()
    found = replayed(walker, before)
    assert found.flight.trip is not None
    assert reason in found.flight.trip.reason
    assert found.flight.trip is [edge for edge in found.flight.edges if edge.trip][-1]
    stages = found.replayer.stages
    assert stages["target"].judged > 50
    assert stages["state"].judged > 50


@pytest.mark.slow
def test_a_recording_on_request_begins_in_the_middle_of_a_walk(walker: Rig) -> None:
    before = whole_recordings()
    walker.operator.wait(2.0)
    client = walker.operator.node.create_client(Trigger, "joint_policy_node/record")
    walker.wait_until(client.service_is_ready, "the service")
    future = client.call_async(Trigger.Request())
    walker.wait_until(future.done, "an answer")
    assert future.result().success
    found = replayed(walker, before)
    assert found.recording.info.reason.startswith("asked for")
    assert found.replayer.stages["command"].judged > 100
