# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set with a joint policy for legs and a chunk policy for an arm."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor

from policy_inference.nodes.policy_set_node import PolicySetNode

from .arm import Arm, seen_positions
from .bundles import JOINTS as LEGS
from .bundles import PERIOD_NS, STAND, write_version
from .colour_bundle import JOINTS as ARM
from .colour_bundle import write_colours
from .harness import Activate, Robot
from .kinds import Kind, write_set

pytestmark = pytest.mark.ros
STATES = {
    "both": {
        "members": ["legs", "arm"],
        "stand": True,
        "to": {"alone": {"blend_s": 0.1}},
        "fallback": "alone",
    },
    "alone": {"members": ["legs"], "held": [*ARM], "stand": True, "to": {"both": {"blend_s": 0.1}}},
}


class LegsAndArm(Arm):
    policy_node = "policy_set_node"
    period_ns = PERIOD_NS
    stand = (*STAND, *(0.0,) * len(ARM))

    def __init__(self, executor: SingleThreadedExecutor, new_log: Callable[[], str]) -> None:
        super().__init__(executor, new_log)
        self.names, self.velocity = (*LEGS, *ARM), (0.0,) * len(self.stand)
        self.holds = False

    def send(self) -> None:
        super().send()
        if "imu/data" not in self.silent:
            self.send_imu()

    def walks(self) -> "LegsAndArm":
        Robot.runs(self)
        self.until(lambda: any(self.tick().position[len(LEGS) :]), "the arm's first step")
        return self


def write_legs_and_arm(folder: Path) -> Path:
    write_version(folder / "legs", "1.0.0")
    write_colours(folder / "arm", offset_rad=0.0)
    stated = {
        "name": "legs_and_arm",
        "version": "1.0.0",
        "initial": "both",
        "states": STATES,
        "on_fault": "damp",
    }
    return write_set(folder, ("legs", "arm"), stated)


@pytest.fixture
def kind() -> Kind:
    return Kind(
        "legs_and_arm", LegsAndArm, PolicySetNode, lambda folder, _: write_legs_and_arm(folder)
    )


@pytest.fixture
def walking_arm(activate: Activate, partner: LegsAndArm) -> LegsAndArm:
    activate(use_sim_time=True, status_rate_hz=50.0)
    return partner.walks()


def test_legs_and_arm_are_commanded_by_their_policies(walking_arm: LegsAndArm) -> None:
    command = walking_arm.tick()
    assert [*command.names] == [*LEGS, *ARM]
    assert [*command.stiffness] == [30.0] * len(LEGS) + [20.0] * len(ARM)
    np.testing.assert_allclose(command.position[len(LEGS) :], seen_positions(), atol=0.1)
