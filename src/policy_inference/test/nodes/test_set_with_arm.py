# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node of a policy set with a joint policy for legs and a chunk policy for an arm."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from policy_msgs.srv import SwitchState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn

from policy_inference.interfaces import Mode
from policy_inference.nodes.policy_set_node import PolicySetNode

from .arm import Arm, seen
from .bundles import JOINTS as LEGS
from .bundles import PERIOD_NS, STAND, write_version
from .colour_bundle import JOINTS as ARM
from .colour_bundle import write_colours
from .harness import Robot, StageOf

pytestmark = pytest.mark.ros
STATES = {
    "both": {
        "members": ["legs", "arm"],
        "stand": True,
        "to": {"alone": {"blend_s": 0.1}},
        "fallback": "alone",
    },
    "alone": {
        "members": ["legs"],
        "held": [*ARM],
        "stand": True,
        "to": {"both": {"blend_s": 0.1}},
    },
}


class LegsAndArm(Arm):
    """A robot on legs with an arm and cameras on its back."""

    policy_node = "policy_set_node"
    period_ns = PERIOD_NS
    stand = (*STAND, *(0.0,) * len(ARM))

    def __init__(self, executor: SingleThreadedExecutor, new_log: Callable[[], str]) -> None:
        super().__init__(executor, new_log)
        self.names, self.velocity = (*LEGS, *ARM), (0.0,) * len(self.stand)
        self.holds = False

    def send(self) -> None:
        """Publish the sensors that are not silent."""
        super().send()
        if "imu/data" not in self.silent:
            self.send_imu()

    def walks(self) -> "LegsAndArm":
        """Tick until both policies command."""
        Robot.runs(self)
        self.until(lambda: any(self.tick().position[len(LEGS) :]), "the arm's first step")
        return self


Stage = StageOf[LegsAndArm, PolicySetNode]


def write_set(folder: Path, *, wrong_by: float = 0.0) -> Path:
    """Write the set, whose arm may be wrong on its golden rows; return its folder."""

    write_version(folder / "legs", "1.0.0")
    write_colours(folder / "arm", offset_rad=0.0)
    if wrong_by:
        contract = yaml.safe_load((folder / "arm" / "policy.yaml").read_text("utf-8"))
        contract["action"]["normalisation"]["mean"] = [wrong_by] * len(ARM)
        (folder / "arm" / "policy.yaml").write_text(yaml.safe_dump(contract, sort_keys=False))
    stated = {
        "schema_version": 1,
        "kind": "set",
        "name": "legs_and_arm",
        "version": "1.0.0",
        "members": {
            name: {
                "bundle": f"../{name}",
                "sha256": hashlib.sha256((folder / name / "policy.yaml").read_bytes()).hexdigest(),
            }
            for name in ("legs", "arm")
        },
        "initial": "both",
        "states": STATES,
        "on_fault": "damp",
    }
    (folder / "set").mkdir()
    (folder / "set" / "set.yaml").write_text(yaml.safe_dump(stated, sort_keys=False), "utf-8")
    return folder / "set"


@pytest.fixture
def stage(new_log: Callable[[], str]) -> Iterator[Stage]:
    """Nodes of sets and a robot; all ends with the test."""
    rclpy.init(args=[])
    stage = StageOf(LegsAndArm, PolicySetNode, new_log)
    yield stage
    stage.close()
    rclpy.shutdown()


@pytest.fixture
def robot(stage: Stage, tmp_path: Path) -> LegsAndArm:
    """A robot that walks and reaches."""
    node = stage.node(bundle=str(write_set(tmp_path)), use_sim_time=True, status_rate_hz=50.0)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return stage.robot.walks()


def test_legs_and_arm_are_commanded_by_their_policies(robot: LegsAndArm) -> None:
    command = robot.tick()
    assert [*command.names] == [*LEGS, *ARM]
    assert [*command.stiffness] == [30.0] * len(LEGS) + [20.0] * len(ARM)
    np.testing.assert_allclose(command.position[len(LEGS) :], seen(), atol=0.1)


def test_a_silent_camera_holds_the_arm_and_the_legs_walk_on(robot: LegsAndArm) -> None:
    robot.silent.add("front")
    for _ in range(15):
        held = robot.tick()
    assert held.mode == Mode.RUN
    assert robot.hears("arm: its joints are held: ")
    assert robot.tick().position[len(LEGS) :] == held.position[len(LEGS) :]
    robot.until(lambda: robot.tick().position[len(LEGS)] == 0.0, "the arm's stand pose")
    status = robot.reported(lambda status: status.policy_set[0].fallbacks == 1, "the fallback")
    assert status.policy_set[0].state == "alone"
    assert status.mode == Mode.RUN


def test_the_arm_can_be_left_and_commands_again(robot: LegsAndArm) -> None:
    for state, expected in (("alone", [0.0] * len(ARM)), ("both", seen())):
        request = SwitchState.Request(state=state)
        response = robot.call(SwitchState, f"{robot.policy_node}/switch", request)
        assert response.success, response.message
        for _ in range(12):
            command = robot.tick()
        np.testing.assert_allclose(command.position[len(LEGS) :], expected, atol=0.1)


def test_an_arm_that_computes_something_else_here_is_refused_at_configure(
    stage: Stage, tmp_path: Path
) -> None:
    node = stage.node(bundle=str(write_set(tmp_path, wrong_by=0.2)))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    stage.robot.hears("the policy is not the same function here")
