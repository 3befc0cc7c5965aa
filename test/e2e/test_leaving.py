# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""How the robot is left when the policy node goes, whichever way it goes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from policy_msgs.msg import JointCommand

from .rig import Rig

pytestmark = pytest.mark.ros

STANDING_M, LYING_M = 0.2, 0.15


@pytest.fixture
def mortal_stander(tmp_path: Path) -> Iterator[Rig]:
    """A robot under its policy, whose nodes may end."""
    with Rig(tmp_path, sim={"answer_timeout_s": 1.0}) as rig:
        rig.operator.stand_up()
        rig.operator.wait(0.5)
        rig.wait_for_commanded(JointCommand.MODE_RUN)
        assert rig.height_m > STANDING_M
        rig.expect_deaths()
        yield rig


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_that_is_asked_to_end_leaves_the_robot_damped(
    mortal_stander: Rig, number: signal.Signals
) -> None:
    mortal_stander.policy.send(number)
    assert mortal_stander.policy.wait() == 0
    mortal_stander.wait_for_commanded(JointCommand.MODE_DAMP)
    last = mortal_stander.commands[-1]
    assert not any(last.stiffness)
    assert all(value > 0.0 for value in last.damping)
    mortal_stander.wait_until(lambda: mortal_stander.height_m < LYING_M, "the robot to lie")


@pytest.mark.slow
def test_a_node_that_is_killed_leaves_the_robot_to_the_expiry_of_its_command(
    mortal_stander: Rig,
) -> None:
    mortal_stander.policy.send(signal.SIGKILL)
    assert mortal_stander.policy.wait() == -signal.SIGKILL
    assert mortal_stander.commands[-1].mode == JointCommand.MODE_RUN
    mortal_stander.wait_until(lambda: mortal_stander.height_m < LYING_M, "the robot to lie")
    assert "drives damp" in mortal_stander.sim.output()
