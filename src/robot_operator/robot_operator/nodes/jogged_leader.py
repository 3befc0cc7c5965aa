# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A virtual leader arm: the joystick or keys of `operator_node` move three joints at a time.

It copies the arm's pose until a person takes over (`robot_operator take_over`). From then on, the
velocity command moves it: turning moves the first joint of a group, forward the second and sideways
the third, in rad/s instead of m/s. A joystick button selects the next group of three joints.

Subscribes (depth 1): `joint_states` (sensor_msgs/JointState) from the arm, `cmd_vel`
(geometry_msgs/Twist) from `operator_node`, `joy` (sensor_msgs/Joy), `leader/joint_command`
(policy_msgs/JointCommand) from the policy node. Publishes: `leader/joint_states`
(sensor_msgs/JointState): one message, with the same stamp, for each message from the arm that has
finite positions for all joints. A command from the policy node expires after its `valid_for`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist
from policy_msgs.msg import JointCommand
from sensor_msgs.msg import JointState, Joy

from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.parameters import ParameterTable, Spec, refuse_arguments
from policy_inference.nodes.process import run_node
from robot_operator.pilot import NO_BUTTON, STILL, Velocity

PARAMETERS = (
    Spec(
        name="button_joints",
        type=int,
        default=10,
        minimum=NO_BUTTON,
        maximum=63,
        doc="Button that selects the next three joints (right stick, pressed); -1: no such button",
    ),
    Spec(
        name="reach_rad",
        type=float,
        default=0.3,
        minimum=0.01,
        maximum=3.0,
        doc="Largest distance between a leader joint and the arm's joint, rad; it bounds the "
        "command when an object blocks the arm",
    ),
    Spec(
        name="timeout_s",
        type=float,
        default=0.3,
        minimum=0.01,
        maximum=5.0,
        doc="Age of the newest message above which the velocity is zero, s",
    ),
    Spec(
        name="autostart",
        type=bool,
        default=True,
        doc="True: configure and activate at the start",
    ),
)
_GROUP = 3


class JoggedLeader(LifecycleBase):
    """Publishes a pose of the virtual leader in response to each pose of the arm."""

    def __init__(self) -> None:
        super().__init__("jogged_leader")
        self.table = ParameterTable(self, PARAMETERS, lambda: self.configured)
        self._closers = ExitStack()

    def set_up(self) -> None:
        self._values: Mapping[str, Any] = self.table.read()
        self._guide: JointCommand | None = None
        self._guided_until_ns = 0
        self._velocity, self._heard_ns = STILL, 0
        self._pressed, self._group = True, 0
        self._pose: dict[str, float] = {}
        self._now_ns = 0
        self._poses = self.create_publisher(JointState, "leader/joint_states", qos.COMMAND)
        self._closers.callback(self.destroy_publisher, self._poses)
        for kind, topic, act in (
            (JointState, "joint_states", self._on_arm),
            (Twist, "cmd_vel", self._on_velocity),
            (Joy, "joy", self._on_joy),
            (JointCommand, "leader/joint_command", self._on_guide),
        ):
            subscription = self.create_subscription(kind, topic, act, qos.SAMPLE)
            self._closers.callback(self.destroy_subscription, subscription)

    def start(self) -> None:
        """Start handling messages."""

    def stop(self) -> None:
        """Stop publishing, which makes the policy node hold the arm."""

    def tear_down(self) -> None:
        self._closers.close()

    def _on_guide(self, message: JointCommand) -> None:
        pose = _read_pose(message.names, message.position)
        if pose is None or pose.keys() != self._pose.keys():
            return
        valid_for = message.valid_for
        self._guide = message
        self._guided_until_ns = self._now_ns + valid_for.sec * 1_000_000_000 + valid_for.nanosec

    def _on_velocity(self, message: Twist) -> None:
        velocity = message.linear.x, message.linear.y, message.angular.z
        if np.isfinite(velocity).all():
            self._velocity, self._heard_ns = velocity, self._now_ns

    def _on_joy(self, message: Joy) -> None:
        index = self._values["button_joints"]
        pressed = 0 <= index < len(message.buttons) and bool(message.buttons[index])
        if pressed and not self._pressed and self._pose:
            names = [*self._pose]
            self._group = (self._group + _GROUP) % len(names)
            chosen = ", ".join(names[self._group : self._group + _GROUP])
            self.get_logger().info(f"turn, forward, sideways move {chosen}")
        self._pressed = pressed

    def _on_arm(self, message: JointState) -> None:
        arm = _read_pose(message.name, message.position)
        if not self.running or arm is None or not self._pose.keys() <= arm.keys():
            return
        stamp = message.header.stamp
        before_ns, self._now_ns = self._now_ns, stamp.sec * 1_000_000_000 + stamp.nanosec
        guide = self._guide
        if guide is None or self._now_ns > self._guided_until_ns or not self._pose:
            self._guide, self._pose = None, arm
        elif any(guide.stiffness):
            self._pose = dict(zip(guide.names, guide.position, strict=True))
        else:
            self._jog(arm, 1e-9 * max(0, self._now_ns - before_ns))
        self._poses.publish(
            JointState(
                header=message.header,
                name=list(self._pose),
                position=array("d", self._pose.values()),
            )
        )

    def _jog(self, arm: Mapping[str, float], duration_s: float) -> None:
        """Move the joints of the selected group according to the velocity command."""
        vx, vy, wz = self._commanded()
        names = [*self._pose][self._group : self._group + _GROUP]
        reach_rad = self._values["reach_rad"]
        for name, rate_radps in zip(names, (wz, vx, vy), strict=False):
            moved = self._pose[name] + rate_radps * duration_s
            measured = arm[name]
            self._pose[name] = float(np.clip(moved, measured - reach_rad, measured + reach_rad))

    def _commanded(self) -> Velocity:
        silent_ns = self._now_ns - self._heard_ns
        return self._velocity if silent_ns <= self._values["timeout_s"] * 1e9 else STILL


def _read_pose(names: Sequence[str], positions: Sequence[float]) -> dict[str, float] | None:
    """Return the position of each joint, rad; None if one is missing, NaN or infinite."""
    if len(names) != len(positions) or not np.isfinite(positions).all():
        return None
    return dict(zip(names, positions, strict=True))


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("jogged_leader", __doc__, PARAMETERS, args)
    sys.exit(run_node(JoggedLeader, args))
