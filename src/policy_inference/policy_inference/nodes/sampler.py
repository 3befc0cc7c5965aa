# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All inputs of a contract: subscribe, and bring the newest messages into the controller."""

import math
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float32MultiArray

from policy_inference.core.controller import Controller
from policy_inference.core.freshness import Input
from policy_inference.core.messages import (
    COMMAND,
    TWIST,
    TWIST_STAMPED,
    MessageReader,
    stamp_ns,
    state_reader,
    velocity_of,
)
from policy_inference.errors import RobotError
from policy_inference.nodes.pacing import Tick
from policy_inference.nodes.sampling import Sampled, SampleGroup

_TYPES = {
    TWIST: Twist,
    TWIST_STAMPED: TwistStamped,
    "nav_msgs/msg/Odometry": Odometry,
    "sensor_msgs/msg/Imu": Imu,
    "sensor_msgs/msg/JointState": JointState,
    "std_msgs/msg/Float32MultiArray": Float32MultiArray,
}


class Sampler:
    """The subscriptions of a contract's inputs, sampled at each tick.

    Topics: `joint_states`, `imu/data`, `odom`, `cmd_vel` and external vectors, as far as the
    contract needs them; best effort, depth 1.
    """

    def __init__(
        self, node: Node, group: SampleGroup, controller: Controller, names: tuple[str, ...],
        *, stamped_command: bool,
    ) -> None:  # fmt: skip
        """Subscribe to what the contract needs; `names` are its joints."""
        self._controller = controller
        command_type = _TYPES[TWIST_STAMPED if stamped_command else TWIST]
        self._states: list[tuple[Input, Sampled[Any], MessageReader]] = []
        self._command: tuple[Input, Sampled[Any]] | None = None
        for name, entry in controller.inputs.items():
            if name == COMMAND:
                self._command = entry, Sampled(node, group, command_type, name)
            else:
                reader = state_reader(name, names, controller.state)
                sampled = Sampled(node, group, _TYPES[reader.message], name)
                self._states.append((entry, sampled, reader))

    @property
    def topics(self) -> dict[str, Sampled[Any]]:
        """Return the subscriptions by name of the input."""
        found = {entry.name: sampled for entry, sampled, _ in self._states}
        if self._command:
            found[COMMAND] = self._command[1]
        return found

    def sample(self, tick: Tick) -> None:
        """Take the newest message of each input into the controller's state."""
        for entry, sampled, reader in self._states:
            message = sampled.take()
            if message is None:
                continue
            stamp = stamp_ns(message)
            if entry.is_new(stamp):
                self._read(entry, reader, message, stamp, tick)
        if self._command:
            self._sample_command(*self._command, tick)

    def _read(
        self, entry: Input, reader: MessageReader, message: Any, stamp: int | None, tick: Tick
    ) -> None:
        try:
            reader.read(message)
        except RobotError as error:
            entry.reject(str(error))
        else:
            entry.accept(tick.now_ns, stamp, tick.ros_now_ns)

    def _sample_command(self, entry: Input, sampled: Sampled[Any], tick: Tick) -> None:
        message = sampled.take()
        if message is None or not entry.is_new(stamp := stamp_ns(message)):
            return
        velocity = velocity_of(message)
        if all(map(math.isfinite, velocity)):
            entry.accept(tick.now_ns, stamp, tick.ros_now_ns)
            self._controller.command.set(velocity, tick.now_ns - (entry.age_ns(tick.now_ns) or 0))
        else:
            entry.reject("expected finite numbers, found NaN or infinite ones")
            self._controller.reject_command()

    def restart(self) -> None:
        """Forget ages and stamps, after the clock began anew."""
        for entry in self._controller.inputs.values():
            entry.reset()

    def close(self) -> None:
        """Unsubscribe."""
        for sampled in self.topics.values():
            sampled.close()
