# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The leader arm and the simulated arm that it leads, in lockstep."""

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
from robot_sim.nodes.parameters import ARM_LEADER
from testkit.ros_time import ns
from testkit.wording import check_wording, lines_with

from .harness import stamps_ns
from .test_arm_sim_node import ArmStage, arm_message, tick_ns

pytestmark = pytest.mark.ros
_DEEP = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class LedStage(ArmStage):
    def lead(self, **parameters: Any) -> None:
        """Start arm and leader in lockstep; `parameters` may belong to either node."""
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
        client = self.listener.create_client(Trigger, "arm_leader/demonstrate")
        self.until(client.service_is_ready, "the service")
        future = client.call_async(Trigger.Request())
        self.until(future.done, "the answer")
        return future.result()

    def close(self) -> None:
        if hasattr(self, "leader"):
            self.leader.destroy_node()
        super().close()


@pytest.fixture
def led_arms(capfd: pytest.CaptureFixture[str]) -> Iterator[LedStage]:
    """Provide a stage for an arm and its leader; close it after the test."""
    stage = LedStage(lambda: capfd.readouterr().err)
    yield stage
    stage.close()


@pytest.mark.acceptance
def test_a_leader_that_drives_demonstrates_and_marks_it_and_begins_again_elsewhere(
    led_arms: LedStage,
) -> None:
    led_arms.lead(seed=7, drive=True)
    led_arms.until(lambda: len(led_arms.marks) == 6, "two demonstrations")
    start = led_arms.marks[0]
    assert [(mark.kind, mark.episode) for mark in led_arms.marks] == [
        (kind, episode)
        for episode in (0, 1)
        for kind in (EpisodeMark.START, EpisodeMark.SUCCESS, EpisodeMark.STOP)
    ]
    assert (ns(start.stamp), start.task) == (2_000_000_000, ARM_LEADER["task"][0])
    led_arms.until(lambda: led_arms.results == [True, True], "the arm's own opinion")
    first, last = led_arms.cubes[0].data, led_arms.cubes[-1].data
    assert np.linalg.norm(np.subtract(first, last)) > 0.01


@pytest.mark.parametrize("wrong", [{"name": ["pan"]}, {"position": [0.0]}])
def test_leader_outlives_a_pose_of_another_robot(
    led_arms: LedStage, wrong: dict[str, list[Any]]
) -> None:
    led_arms.lead(seed=7, drive=True)
    pose = {"name": list(SO101.joint_names), "position": [0.0] * len(SO101.joint_names)}
    poses = led_arms.listener.create_publisher(JointState, "joint_states", _DEEP)
    led_arms.until(lambda: led_arms.poses, "an answer")

    def is_refused() -> bool:
        poses.publish(JointState(**{**pose, **wrong}))
        return "joint_states refused" in led_arms.log

    led_arms.until(is_refused, "the refusal")
    count = len(led_arms.poses)
    led_arms.until(lambda: len(led_arms.poses) > count + 5, "more answers")


def test_leader_s_pose_is_what_the_arm_is_sent_with_the_stamp_of_the_arm_s_own(
    led_arms: LedStage,
) -> None:
    led_arms.lead(seed=7, drive=True)
    led_arms.until(lambda: len(led_arms.commands) > 20, "commands")
    poses = {ns(pose.header.stamp): pose for pose in led_arms.poses}
    command = led_arms.commands[10]
    assert list(poses[ns(command.stamp)].name) == command.names == list(SO101.joint_names)
    np.testing.assert_array_equal(poses[ns(command.stamp)].position, command.position)
    assert set(poses) <= set(stamps_ns(led_arms.joint_states))
    assert command.mode == JointCommand.MODE_STAND


def _has(values: list[Any], count: int) -> bool:
    return len(values) >= count


def test_each_episode_of_a_recorder_is_a_demonstration_if_it_follows_marks(
    led_arms: LedStage,
) -> None:
    led_arms.lead(seed=7, drive=True, follow_marks=True)
    recorder = led_arms.listener.create_publisher(EpisodeMark, "episode_marks", _LATCHED)
    led_arms.until(lambda: recorder.get_subscription_count() == 2, "the leader's ear")
    led_arms.until(
        lambda: led_arms.times_ns and led_arms.times_ns[-1] > tick_ns(70), "the arm at home"
    )
    assert {command.mode for command in led_arms.commands} == {JointCommand.MODE_STAND}
    for episode in (0, 1):
        seen = len(led_arms.commands)
        recorder.publish(EpisodeMark(kind=EpisodeMark.START, episode=episode))
        led_arms.until(partial(_has, led_arms.results, episode + 1), "a demonstration")
        assert led_arms.results[-1]
        # It stays at the cube until the episode is over, then goes home.
        led_arms.until(lambda: led_arms.commands[-1].mode == JointCommand.MODE_STAND, "its end")
        cube, home = list(led_arms.cubes[-1].data), len(led_arms.times_ns) + 75
        recorder.publish(EpisodeMark(kind=EpisodeMark.STOP, episode=episode))
        led_arms.until(partial(_has, led_arms.times_ns, home), "2.5 seconds, in which it gets home")
        assert np.linalg.norm(np.subtract(led_arms.cubes[-1].data, cube)) > 0.01
        np.testing.assert_allclose(led_arms.joint_states[-1].position, SO101.home_rad, atol=0.03)
        assert JointCommand.MODE_RUN in {command.mode for command in led_arms.commands[seen:]}
    assert [mark.kind for mark in led_arms.marks] == [EpisodeMark.START, EpisodeMark.STOP] * 2
    assert led_arms.listener.count_publishers("episode_marks") == 1  # the test's own
    check_wording(*lines_with(led_arms.log, "episode_marks"))


def test_a_leader_that_does_not_drive_sends_no_commands_and_needs_a_cube(
    led_arms: LedStage,
) -> None:
    led_arms.lead(environment_state=False)
    led_arms.until(lambda: led_arms.poses, "the leader's pose")
    assert led_arms.listener.count_publishers("joint_command") == 1  # the test's own
    answer = led_arms.demonstrate()
    assert not answer.success
    check_wording(answer.message)


def test_a_guided_leader_goes_where_it_is_commanded_and_reaches_for_the_cube_when_it_is_limp(
    led_arms: LedStage,
) -> None:
    led_arms.lead(guided=True, seed=7)
    guides = led_arms.listener.create_publisher(JointCommand, "leader/joint_command", 1)
    guide = JointCommand(
        names=list(reversed(SO101.joint_names)), position=[0.1] * 6, stiffness=[1.0] * 6
    )

    def drive(pose: JointState) -> None:
        guides.publish(guide)
        stamp_ns = ns(pose.header.stamp)
        led_arms.send(arm_message(stamp_ns, np.array(pose.position), JointCommand.MODE_RUN))

    led_arms.listener.create_subscription(JointState, "leader/joint_states", drive, _DEEP)
    led_arms.until(
        lambda: led_arms.poses and list(led_arms.poses[-1].position) == [0.1] * 6, "the pose"
    )
    guide.stiffness = [0.0] * 6
    led_arms.until(lambda: "has reached the cube" in led_arms.log, "a leader at the cube")
    assert not led_arms.marks
