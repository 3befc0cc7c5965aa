# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A person takes over from a chunk policy node with a leader arm, in lockstep over topics."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from policy_core.interfaces import Mode
from policy_inference.nodes.act_policy_node import ActPolicyNode
from testkit.ros_time import stamp
from testkit.wording import check_wording

from .arm import Arm, seen_positions
from .colour_bundle import JOINTS, RATE_HZ, write_colours
from .harness import Activate
from .kinds import Kind

pytestmark = pytest.mark.ros

Start = Callable[..., "LedArm"]
SPEED = 2.0
"""What `velocity_limit` allows, rad/s."""


class LedArm(Arm):
    """An arm that goes where it is commanded, and a leader where a test puts it."""

    def __init__(self, executor: SingleThreadedExecutor, new_log: Callable[[], str]) -> None:
        super().__init__(executor, new_log)
        self.leader: Sequence[float] | None = None
        self._leader = self.node.create_publisher(JointState, "leader/joint_states", 10)
        self.started: ActPolicyNode
        self.interventions: list[Bool] = []
        self._listen(Bool, "intervention", self.interventions, QoSProfile(depth=1000))

    def send(self) -> None:
        super().send()
        if self.leader is not None:
            message = JointState(name=list(JOINTS), position=array("d", map(float, self.leader)))
            message.header.stamp = stamp(self.now_ns)
            self._leader.publish(message)

    def tick(self, step_ns: int | None = None) -> JointCommand:
        """Let simulated time pass, after which the arm is where it was commanded to be."""
        command = super().tick(step_ns)
        self.position = list(command.position)
        return command

    def runs(self) -> LedArm:
        super().runs()
        return self

    def hands_over(self) -> LedArm:
        """Let the policy run, and a person take over whose leader is where the arm is."""
        if not self.commands or self.commands[-1].mode != Mode.RUN:
            self.runs()
        self.leader = list(self.tick().position)
        self.tick()
        self.request("take_over")
        self.until(lambda: self.tick() and self.person_drives, "a person who drives")
        return self

    @property
    def person_drives(self) -> bool:
        return bool(self.interventions) and self.interventions[-1].data


@pytest.fixture
def kind() -> Kind:
    return Kind(
        "led",
        LedArm,
        ActPolicyNode,
        lambda folder, _: write_colours(folder, {"joints.velocity_limit": SPEED}),
    )


@pytest.fixture
def start_led(activate: Activate, partner: LedArm) -> Start:
    """Activate a node in lockstep from which a person may take over; return the arm."""

    def start_one(**parameters: object) -> LedArm:
        given = {"use_sim_time": True, "status_rate_hz": 50.0, "takeover": True, "handover_s": 0.5}
        partner.started = activate(**{**given, **parameters})
        return partner

    return start_one


def test_the_arm_follows_the_leader_and_then_the_policy_again_without_a_jump(
    start_led: Start,
) -> None:
    arm = start_led().hands_over()
    first = len(arm.commands)
    arm.leader = [0.1] * len(JOINTS)
    arm.until(
        lambda: arm.tick().position == pytest.approx(arm.leader, abs=1e-9), "the leader's pose"
    )
    assert arm.commands[-1].mode == Mode.RUN
    arm.request("hand_back")
    arm.until(
        lambda: arm.tick().position == pytest.approx(seen_positions(), abs=0.2),
        "what the policy asks for",
    )
    arm.until(lambda: not arm.person_drives, "an end of the intervention")
    steps = np.abs(np.diff([command.position for command in arm.commands[first:]], axis=0))
    assert steps.max() <= SPEED / RATE_HZ + 1e-9
    arm.until(lambda: arm.tick() and arm.told()["takeover.driver"] == "policy", "the policy")
    status = arm.newest()
    assert status.mode == Mode.RUN
    check_wording(status.reason)


def test_a_second_leader_holds_the_arm(start_led: Start) -> None:
    arm = start_led().hands_over()
    arm.node.create_publisher(JointState, "leader/joint_states", 10)
    arm.until(lambda: arm.tick().mode == Mode.HOLD, "HOLD")
    arm.until(lambda: not arm.person_drives, "an end of the intervention in that tick")
    status = arm.reported(lambda status: status.mode == Mode.HOLD, "HOLD in the status")
    check_wording(status.reason)
    assert list(arm.commands[-1].position) == list(arm.commands[-2].position)


@pytest.mark.slow
def test_no_person_drives_after_the_end_of_a_node(start_led: Start) -> None:
    arm = start_led().hands_over()
    arm.started.trigger_deactivate()
    arm.until(lambda: not arm.person_drives, "an end of the intervention")


class TestRefusals:
    def test_of_two_leaders(self, start_led: Start) -> None:
        arm = start_led().runs()
        arm.leader = list(arm.tick().position)
        arm.tick()
        other = arm.node.create_publisher(JointState, "leader/joint_states", 10)
        arm.until(lambda: arm.node.count_publishers("leader/joint_states") == 2, "two publishers")
        arm.until(lambda: not arm.ask("take_over").success, "a refusal")
        arm.refusal("take_over")
        arm.node.destroy_publisher(other)

    def test_where_no_person_may_take_over(self, start_led: Start) -> None:
        arm = start_led(takeover=False).runs()
        arm.refusal("take_over")
        assert "leader/joint_states" not in {entry.name for entry in arm.statuses[-1].inputs}
