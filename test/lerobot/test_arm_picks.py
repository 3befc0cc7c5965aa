# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy of the suite moves an arm through its driver: LeRobot on an emulated servo bus.

All processes are those of a robot: the emulated arm with its cameras, the driver's node with its
link process in this environment, the policy's node; none of them waits for another.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.msg import RobotStatus

from examples.demos.arm_operator import ArmOperator
from examples.demos.runner import Processes

PATIENCE_S = 60.0
EPISODES = 3


@pytest.mark.slow
@pytest.mark.real_time
def test_the_policy_reaches_the_cube_through_the_servo_bus(tmp_path: Path) -> None:
    with Processes() as nodes:
        assert_policy_reaches(tmp_path, nodes)


def assert_policy_reaches(folder: Path, nodes: Processes) -> None:
    arm = folder / "arm"
    nodes.start("so101_emulator", {"folder": str(arm), "seed": 1}, folder / "emulator.log")
    driver = nodes.start(
        "lerobot_arm_driver",
        {
            "robot": "so101",
            "port": str(arm / "port"),
            "calibration_dir": str(arm),
            "lerobot_python": sys.executable,
            "state_timeout_s": 0.5,
        },
        folder / "driver.log",
    )
    policy = {"bundle": "so101_reach", "command_valid_for_s": 0.5}
    nodes.start("act_policy_node", policy, folder / "policy.log")

    both: dict[str, Any] = {"driver_node": "lerobot_arm_driver", "watch": nodes.check}
    with ArmOperator(**both) as operator:
        operator.wait_for_robot(PATIENCE_S)
        operator.wait_until(
            lambda: not operator.status_of_driver().obstacles, "no obstacles", PATIENCE_S
        )
        operator.demand("take_control")
        # The bus is slower while torque is switched on: a state may be too old for DAMP.
        operator.wait_until(lambda: operator.request("damp")[0], "DAMP", PATIENCE_S)
        operator.wait_until(
            lambda: operator.status_of_driver().state == RobotStatus.FOLLOWING,
            "the driver to follow",
            PATIENCE_S,
        )
    reached = []
    # Of the policy's node alone: the driver goes on to follow it.
    with ArmOperator(arm_node="so101_emulator", watch=nodes.check) as operator:
        operator.wait_for_robot(PATIENCE_S)
        for episode in range(EPISODES):
            if episode:
                operator.next_episode()
            reached.append(operator.run_episode(PATIENCE_S))
            operator.demand("reset" if operator.status.latched else "damp")
            operator.wait_for_mode("DAMP")
    with ArmOperator(**both) as operator:
        operator.demand("release_control")

    assert sum(reached) >= EPISODES - 1, f"{reached}; driver: {driver.output()}"
