# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The leader arm beside the simulated one, in lockstep."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import EpisodeMark, JointCommand
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from robot_sim.arm_figures import SO101
from robot_sim.nodes.arm_leader_node import ArmLeaderNode

from .harness import ns, stamps_ns
from .test_arm_sim_node import ArmStage, arm_message, at

pytestmark = pytest.mark.ros
_DEEP = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class LedStage(ArmStage):
    """An arm and its leader."""

    def lead(self, **parameters: Any) -> None:
        """Start both in lockstep; parameters of either."""
        self.make(lockstep=True, camera_rate_hz=1.0, **parameters)
        self.leader = ArmLeaderNode()
        self.executor.add_node(self.leader)
        self.poses: list[JointState] = []
        self.commands: list[JointCommand] = []
        self.marks: list[EpisodeMark] = []
        listen = self.listener.create_subscription
        listen(JointState, "leader/joint_states", self.poses.append, _DEEP)
        listen(JointCommand, "joint_command", self.commands.append, _DEEP)
        listen(EpisodeMark, "episode_marks", self.marks.append, _LATCHED)
        self.listen()
        self.begin()

    def demonstrate(self) -> Any:
        """Ask for a demonstration."""
        client = self.listener.create_client(Trigger, "arm_leader/demonstrate")
        self.until(client.service_is_ready, "the service")
        future = client.call_async(Trigger.Request())
        self.until(future.done, "the answer")
        return future.result()

    def close(self) -> None:
        """End both."""
        if hasattr(self, "leader"):
            self.leader.destroy_node()
        super().close()


@pytest.fixture
def arm(capfd: pytest.CaptureFixture[str]) -> Iterator[LedStage]:
    """Start an arm with its leader; all ends with the test."""
    stage = LedStage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()


@pytest.mark.slow
def test_a_leader_that_drives_demonstrates_and_marks_it_and_begins_again_elsewhere(
    arm: LedStage,
) -> None:
    arm.lead(seed=7, drive=True)
    arm.until(lambda: len(arm.marks) == 6, "two demonstrations")

    start = arm.marks[0]
    assert [(mark.kind, mark.episode) for mark in arm.marks] == [
        (kind, episode)
        for episode in (0, 1)
        for kind in (EpisodeMark.START, EpisodeMark.SUCCESS, EpisodeMark.STOP)
    ]
    assert (ns(start.stamp), start.task) == (2_000_000_000, "Reach the cube.")
    arm.until(lambda: arm.results == [True, True], "the arm's own opinion")
    first, last = arm.cubes[0].data, arm.cubes[-1].data
    assert np.linalg.norm(np.subtract(first, last)) > 0.01


def test_leader_s_pose_is_what_the_arm_is_sent_with_the_stamp_of_the_arm_s_own(
    arm: LedStage,
) -> None:
    arm.lead(seed=7, drive=True)
    arm.until(lambda: len(arm.commands) > 20, "commands")

    poses = {ns(pose.header.stamp): pose for pose in arm.poses}
    command = arm.commands[10]
    assert list(poses[ns(command.stamp)].name) == command.names == list(SO101.joint_names)
    np.testing.assert_array_equal(poses[ns(command.stamp)].position, command.position)
    assert set(poses) <= set(stamps_ns(arm.joint_states))
    assert command.mode == JointCommand.MODE_STAND


def test_a_leader_that_does_not_drive_sends_no_commands(arm: LedStage) -> None:
    arm.lead()
    arm.until(lambda: arm.poses, "the leader's pose")

    assert arm.listener.count_publishers("joint_command") == 1  # the test's own


def test_demonstrations_can_be_asked_for_one_by_one(arm: LedStage) -> None:
    arm.lead(seed=7, drive=True, repeat=False)
    arm.until(lambda: arm.times_ns and arm.times_ns[-1] > at(90), "the arm at home")
    assert arm.marks == []

    assert arm.demonstrate().success
    arm.until(lambda: len(arm.marks) == 3, "a demonstration")

    arm.until(lambda: arm.times_ns[-1] > ns(arm.marks[-1].stamp) + 3_000_000_000, "three seconds")
    assert len(arm.marks) == 3


def _has(values: list[Any], count: int) -> bool:
    return len(values) >= count


def test_each_episode_of_a_recorder_is_a_demonstration_if_it_follows_marks(arm: LedStage) -> None:
    arm.lead(seed=7, drive=True, follow_marks=True)
    recorder = arm.listener.create_publisher(EpisodeMark, "episode_marks", _LATCHED)
    arm.until(lambda: recorder.get_subscription_count() == 2, "the leader's ear")
    arm.until(lambda: arm.times_ns and arm.times_ns[-1] > at(70), "the arm at home")
    assert {command.mode for command in arm.commands} == {JointCommand.MODE_STAND}

    for episode in (0, 1):
        seen = len(arm.commands)
        recorder.publish(EpisodeMark(kind=EpisodeMark.START, episode=episode))
        arm.until(partial(_has, arm.results, episode + 1), "a demonstration")
        assert arm.results[-1]
        # It stays at the cube until the episode is over, and goes home then.
        arm.until(lambda: arm.commands[-1].mode == JointCommand.MODE_STAND, "its end")
        cube, home = list(arm.cubes[-1].data), len(arm.times_ns) + 75
        recorder.publish(EpisodeMark(kind=EpisodeMark.STOP, episode=episode))
        arm.until(partial(_has, arm.times_ns, home), "2.5 seconds, in which it gets home")
        assert np.linalg.norm(np.subtract(arm.cubes[-1].data, cube)) > 0.01
        np.testing.assert_allclose(arm.joint_states[-1].position, SO101.home_rad, atol=0.03)
        assert JointCommand.MODE_RUN in {command.mode for command in arm.commands[seen:]}

    assert [mark.kind for mark in arm.marks] == [EpisodeMark.START, EpisodeMark.STOP] * 2
    assert arm.listener.count_publishers("episode_marks") == 1  # the test's own
    assert "it waits for each START on episode_marks" in arm.log


def test_demonstration_without_a_cube_is_refused(arm: LedStage) -> None:
    arm.lead(environment_state=False)
    arm.until(lambda: arm.poses, "the leader's pose")

    answer = arm.demonstrate()

    assert (answer.success, "expected the position of the cube" in answer.message) == (False, True)


def test_a_guided_leader_goes_where_it_is_commanded_and_reaches_for_the_cube_when_it_is_limp(
    arm: LedStage,
) -> None:
    arm.lead(guided=True, seed=7)
    guides = arm.listener.create_publisher(JointCommand, "leader/joint_command", 1)
    guide = JointCommand(
        names=list(reversed(SO101.joint_names)), position=[0.1] * 6, stiffness=[1.0] * 6
    )

    def drive(pose: JointState) -> None:
        guides.publish(guide)
        stamp_ns = ns(pose.header.stamp)
        arm.send(arm_message(stamp_ns, np.array(pose.position), JointCommand.MODE_RUN))

    arm.listener.create_subscription(JointState, "leader/joint_states", drive, _DEEP)
    arm.until(lambda: arm.poses and list(arm.poses[-1].position) == [0.1] * 6, "the pose")
    guide.stiffness = [0.0] * 6
    arm.until(lambda: "has reached the cube" in arm.log, "a leader at the cube")
    assert not arm.marks
