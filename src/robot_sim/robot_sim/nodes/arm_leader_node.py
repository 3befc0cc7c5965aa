# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated leader arm that moves on its own and leads the simulated SO-101.

It goes home, reaches for the cube, stays above it, has the cube moved, and starts over. Both in
lockstep and in real time, it keeps pace with the arm that it leads: it answers each message from
that arm with the leader's pose and the same stamp.

Subscribes: `joint_states` (sensor_msgs/JointState) and `environment_state`
(std_msgs/Float32MultiArray: the cube's position, m) of `arm_sim_node`; with `guided` also
`leader/joint_command` (policy_msgs/JointCommand) from a policy node.
Publishes (reliable, depth 1): `leader/joint_states` (sensor_msgs/JointState); with `drive` also
`joint_command` (policy_msgs/JointCommand), which the arm follows directly.
Publishes (reliable, transient local): `episode_marks` (policy_msgs/EpisodeMark): start, outcome and
end of each demonstration. With `follow_marks`, it subscribes to this topic instead: each of a
recorder's episodes is one demonstration that starts at home.
The service `~/demonstrate` (std_srvs/Trigger) starts a demonstration from home. The node moves the
cube by calling `arm_sim_node/next_episode` (std_srvs/Trigger).
"""

import time
from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from policy_msgs.msg import EpisodeMark, JointCommand
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger

from policy_inference.nodes.lifecycle import PeerGuard
from robot_sim.arm_figures import SO101
from robot_sim.arm_leader import Leader, LeaderMoment
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.nodes.messages import nanoseconds
from robot_sim.nodes.parameters import ARM_LEADER, declared
from robot_sim.nodes.robot_node import NEWEST, run_node

_MARKS = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_VALID_FOR = Duration(nanosec=200_000_000)
_SAYS = {
    LeaderMoment.BEGAN: (EpisodeMark.START,),
    LeaderMoment.SUCCEEDED: (EpisodeMark.SUCCESS, EpisodeMark.STOP),
    LeaderMoment.FAILED: (EpisodeMark.FAILURE, EpisodeMark.STOP),
}
_HAPPENED = {
    LeaderMoment.BEGAN: "begins",
    LeaderMoment.SUCCEEDED: "has reached the cube",
    LeaderMoment.FAILED: "has not reached the cube",
}
_CUBE_SIZE = 3
_REPEAT_S = 0.05
_REST_NS = NS_PER_S // 2
"""Pause after a demonstration, during which other nodes end their episodes."""


class ArmLeaderNode(PeerGuard, Node):
    """A leader arm on its topics."""

    def __init__(self) -> None:
        super().__init__("arm_leader", automatically_declare_parameters_from_overrides=True)
        self.stopped = False
        self._get = declared(self, ARM_LEADER)
        self._leader, self._episode = Leader(), 0
        self._cube: Array | None = None
        self._rests_until_ns: int | None = None
        self._pose = JointState(name=list(SO101.joint_names))
        self._poses = self.create_publisher(JointState, "leader/joint_states", NEWEST)
        self._sequence = 0
        self._commands = (
            self.create_publisher(JointCommand, "joint_command", NEWEST)
            if self._get("drive")
            else None
        )
        guided = self._get("guided")
        self._marks = (
            self.create_publisher(EpisodeMark, "episode_marks", _MARKS)
            if self._get("marks") and not self._get("follow_marks") and not guided
            else None
        )
        self._repeats = self._get("repeat") and not self._get("follow_marks") and not guided
        self._guide: JointCommand | None = None
        self._guide_rad: Array = SO101.home_rad.copy()
        self._guided_rad: Array = SO101.home_rad.copy()
        self._in_hand = False
        self._next = self.create_client(Trigger, "arm_sim_node/next_episode")
        if guided:
            self.create_subscription(JointCommand, "leader/joint_command", self._on_guide, NEWEST)
        self.create_subscription(
            JointState, "joint_states", self._on_arm_guided if guided else self._on_arm, NEWEST
        )
        self.create_subscription(Float32MultiArray, "environment_state", self._on_cube, NEWEST)
        self.create_service(Trigger, "~/demonstrate", self._on_demonstrate)
        if self._get("follow_marks"):
            self.create_subscription(EpisodeMark, "episode_marks", self._on_mark, 10)
        if self._repeats:
            self._leader.demonstrate()
        then = "each START on episode_marks" if self._get("follow_marks") else "~/demonstrate"
        if guided:
            then = "a person who takes over"
        self.get_logger().info(
            "waiting for joint_states and environment_state from arm_sim_node; then the leader "
            + ("repeats its demonstration" if self._repeats else f"waits for {then}")
        )

    def run(self) -> None:
        """Wait for `stop`; all work is done in callbacks."""
        while not self.stopped:
            time.sleep(_REPEAT_S)

    def stop(self) -> None:
        self.stopped = True

    def save(self) -> None:
        """Do nothing: the node records nothing."""

    def _on_cube(self, message: Float32MultiArray) -> None:
        if len(message.data) == _CUBE_SIZE and np.isfinite(message.data).all():
            self._cube = np.array(message.data, dtype=np.float64)

    def _read_pose(
        self, topic: str, names: Sequence[str], position: Sequence[float]
    ) -> Array | None:
        """Return a pose in the order of the arm's joints, rad; log and return None if unusable."""
        by_name = dict(zip(names, position, strict=False))
        pose = np.array([by_name.get(name, np.nan) for name in SO101.joint_names])
        if len(names) != len(position) or not np.isfinite(pose).all():
            self.get_logger().error(
                f"{topic} refused: expected a finite position for each of "
                f"{', '.join(SO101.joint_names)}, found {len(position)} positions for "
                f"{', '.join(names) or 'no joint'}",
                throttle_duration_sec=1.0,
            )
            return None
        return pose

    def _on_arm(self, message: JointState) -> None:
        """Answer a pose of the arm with the leader's pose."""
        joint_pos = self._read_pose("joint_states", message.name, message.position)
        if joint_pos is None:
            return
        now_ns = nanoseconds(message.header.stamp)
        try:
            moment = self._leader.look(now_ns, joint_pos, self._cube)
        except SimError as error:
            self.get_logger().error(f"{error}; the leader waits for ~/demonstrate")
            moment = None
        self._say(moment, message)
        target = self._leader.target()
        self._pose.header.stamp, self._pose.position = message.header.stamp, array("d", target)
        self._poses.publish(self._pose)
        if self._commands is not None:
            self._commands.publish(self._command(target, message))
            self._sequence += 1
        if moment in (LeaderMoment.SUCCEEDED, LeaderMoment.FAILED) and self._repeats:
            self._rests_until_ns = now_ns + _REST_NS
        if self._rests_until_ns is not None and now_ns >= self._rests_until_ns:
            self._begin_again()

    def _on_guide(self, message: JointCommand) -> None:
        pose = self._read_pose("leader/joint_command", message.names, message.position)
        if pose is not None:
            self._guide, self._guide_rad = message, pose

    def _on_arm_guided(self, message: JointState) -> None:
        """Answer a pose of the arm with the pose of a leader moved by motors or by hand."""
        joint_pos = self._read_pose("joint_states", message.name, message.position)
        if joint_pos is None:
            return
        now_ns, guide = nanoseconds(message.header.stamp), self._guide
        held, self._in_hand = self._in_hand, guide is not None and not any(guide.stiffness)
        if self._in_hand:
            if not held:
                self._leader.reach_from(now_ns, joint_pos)
            try:
                self._say(self._leader.look(now_ns, joint_pos, self._cube), message)
            except SimError as error:
                self.get_logger().error(f"{error}; the leader stays where it is")
            self._guided_rad = self._leader.target()
        elif guide is not None:
            self._guided_rad = self._guide_rad
        self._pose.header.stamp = message.header.stamp
        self._pose.position = array("d", self._guided_rad)
        self._poses.publish(self._pose)

    def _say(self, moment: LeaderMoment | None, message: JointState) -> None:
        if moment is None:
            return
        self.get_logger().info(f"demonstration {self._episode} {_HAPPENED[moment]}")
        if self._marks is not None:
            for kind in _SAYS[moment]:
                self._marks.publish(
                    EpisodeMark(
                        stamp=message.header.stamp,
                        kind=kind,
                        episode=self._episode,
                        task=self._get("task"),
                    )
                )
        self._episode += moment is not LeaderMoment.BEGAN

    def _command(self, target: Array, message: JointState) -> JointCommand:
        mode = JointCommand.MODE_RUN if self._leader.demonstrating else JointCommand.MODE_STAND
        zeros, count = array("d", bytes(8 * len(target))), len(target)
        return JointCommand(
            stamp=message.header.stamp,
            sequence=self._sequence,
            valid_for=_VALID_FOR,
            mode=mode,
            names=list(SO101.joint_names),
            position=array("d", target),
            velocity=zeros,
            effort=zeros,
            stiffness=array("d", [SO101.servo.stiffness] * count),
            damping=array("d", [SO101.servo.damping] * count),
            effort_limit=array("d", [SO101.servo.stall_nm] * count),
        )

    def _on_mark(self, mark: EpisodeMark) -> None:
        """Follow the episodes of a recorder."""
        if mark.kind == EpisodeMark.START:
            self._leader.reach()
        elif mark.kind in (EpisodeMark.STOP, EpisodeMark.DISCARD):
            self._move_cube()
            self._leader.go_home()

    def _begin_again(self) -> None:
        """Have the cube moved, and start over; going home takes longer than moving the cube."""
        self._rests_until_ns = None
        self._move_cube()
        self._leader.demonstrate()

    def _move_cube(self) -> None:
        if self._next.service_is_ready():
            self._next.call_async(Trigger.Request())
        else:
            self.get_logger().warning(
                "the service arm_sim_node/next_episode is missing: the cube stays", once=True
            )

    def _on_demonstrate(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._cube is not None
        response.message = (
            "it goes home, then reaches for the cube"
            if response.success
            else (
                "expected the position of the cube on environment_state, found none: start "
                "arm_sim_node with environment_state"
            )
        )
        if response.success:
            self._begin_again()
        return response


def main(args: Sequence[str] | None = None) -> None:
    run_node("arm_leader", ArmLeaderNode, ARM_LEADER, __doc__, args)
