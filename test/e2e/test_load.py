# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot gets another version of its policy while it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import JointCommand
from policy_msgs.srv import LoadBundle
from std_srvs.srv import SetBool

from testkit.recordings import whole_recordings

from .conftest import WALKING_MPS
from .limping import SHIPPED, renumbered_bundle
from .recorded import asked_to_record, replayed_exactly
from .rig import Rig

pytestmark = pytest.mark.ros

NEWEST = "9.8.7"
STANDING_M = 0.2
FIELDS = ("mode", "position", "velocity", "effort", "stiffness", "damping", "effort_limit")


def asked_to_load(rig: Rig, bundle: Path) -> Any:
    """Return the answer."""
    node = rig.operator.node
    client = node.create_client(LoadBundle, "joint_policy_node/load")
    rig.wait_until(client.service_is_ready, "the service load")
    answer = client.call_async(LoadBundle.Request(bundle=str(bundle)))
    rig.wait_until(answer.done, "the answer to load")
    node.destroy_client(client)
    return answer.result()


def assert_it_walks(rig: Rig, version: str) -> None:
    """Check that the robot, whose policy runs, walks with a version."""
    rig.operator.move(WALKING_MPS)
    rig.wait_until(lambda: rig.forward_mps > WALKING_MPS / 2, "a robot that walks")
    rig.operator.wait(1.0)
    assert (rig.operator.mode, rig.operator.status.bundle_version) == ("RUN", version)
    assert rig.height_m > STANDING_M


@pytest.mark.acceptance
def test_standing_robot_gets_another_version_and_does_not_move(walker: Rig, tmp_path: Path) -> None:
    walker.operator.demand("stand")
    walker.operator.wait_for_mode("READY")
    walker.wait_for_commanded(JointCommand.MODE_READY)
    walker.operator.wait(0.5)
    height_m, before = walker.height_m, walker.commands[-1]
    seen = len(walker.commands) - 1
    before_load = whole_recordings()
    asked_to_record(walker, SetBool, "record_run", SetBool.Request(data=True))
    response = asked_to_load(walker, renumbered_bundle(SHIPPED, tmp_path / "newer", NEWEST))
    assert response.success, response.message
    walker.wait_until(
        lambda: walker.commands[-1].sequence >= before.sequence + 50, "commands of a second"
    )
    commands = walker.commands[seen:]
    sequence = [command.sequence for command in commands]
    # One who listens beside the robot may lose some; they are numbered on.
    assert sequence == sorted(set(sequence))
    assert all(getattr(c, name) == getattr(before, name) for c in commands for name in FIELDS)
    # It may still settle by a millimetre or two after standing up.
    assert walker.height_m == pytest.approx(height_m, abs=4e-3)
    assert walker.operator.status.ticks_missed == 0
    assert before.mode == JointCommand.MODE_READY
    walker.operator.demand("run")
    assert_it_walks(walker, NEWEST)
    # The recorder of the version before ends with it.
    assert replayed_exactly(walker, before_load).recording.info.bundle_version != NEWEST
