# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines in Python: each does the minimum for the same job, as one would write it in an hour.

`python -m bench.baselines <name>` runs one until SIGINT: `echo`, `callbacks` or `lifecycle`, which
are nodes, or `load`, which keeps a core and the disk busy. `join <participants> <seconds>` ends
on its own, and prints how many received a command.
"""

import os
import sys
import tempfile
import time
from array import array
from collections import deque

import numpy as np
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import Imu, JointState

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import take_message

PERIOD_NS = 20_000_000
JOINTS = 12
_PRESENT = 10
_MEMORY_BYTES, _READS_PER_WRITE = 1 << 26, 100


def _prebuilt_command() -> JointCommand:
    command = JointCommand(mode=JointCommand.MODE_RUN, names=[f"joint_{i}" for i in range(JOINTS)])
    for field in ("position", "velocity", "effort", "stiffness", "damping", "effort_limit"):
        setattr(command, field, array("d", bytes(8 * JOINTS)))
    return command


def echo() -> Node:
    """Answer each JointState with the same command."""
    node, command = Node("echo"), _prebuilt_command()
    publisher = node.create_publisher(JointCommand, "joint_command", qos.COMMAND)
    node.create_subscription(
        JointState, "joint_states", lambda _: publisher.publish(command), qos_profile_sensor_data
    )
    return node


def callbacks() -> Node:
    """Do nothing with each sensor message, and publish the same command at 50 Hz."""
    node, command = Node("callbacks"), _prebuilt_command()
    publisher = node.create_publisher(JointCommand, "joint_command", qos.COMMAND)
    for message, topic in ((JointState, "joint_states"), (Imu, "imu/data")):
        node.create_subscription(message, topic, lambda _: None, qos_profile_sensor_data)
    node.create_timer(PERIOD_NS * 1e-9, lambda: publisher.publish(command))
    return node


def lifecycle() -> Node:
    """Configure at once, without any setup, and report it."""
    node = LifecycleNode("empty")
    node.trigger_configure()
    node.get_logger().info("configured")
    return node


def load() -> None:
    """Keep memory and disk busy: read more than the caches hold, write a file and sync it."""
    memory = np.ones(_MEMORY_BYTES // 8)
    with tempfile.TemporaryFile() as file:
        while True:
            for _ in range(_READS_PER_WRITE):
                memory.sum()
            file.seek(0)
            file.write(memory.data)
            os.fsync(file.fileno())


def join(participants: int, seconds: float, args: list[str]) -> None:
    """Make participants with ROS' default settings join one after the other, and leave after 4 s.

    Print how many received a command.
    """
    usual = [name for name in os.environ if name.startswith(("FASTRTPS_", "FASTDDS_"))]
    for name in usual:
        del os.environ[name]
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    present: deque[tuple[Node, Subscription[JointCommand]]] = deque()
    heard = 0
    began_s = time.monotonic()
    for number in range(participants + _PRESENT):
        time.sleep(max(0.0, began_s + number * seconds / participants - time.monotonic()))
        if number < participants:
            context = rclpy.Context()
            rclpy.init(context=context, args=args)
            node = Node(f"participant_{number}", context=context, enable_rosout=False)
            present.append(
                (
                    node,
                    node.create_subscription(
                        JointCommand, "joint_command", lambda _: None, qos.COMMAND
                    ),
                )
            )
        if number >= _PRESENT:
            node, subscription = present.popleft()
            heard += take_message(subscription.handle, JointCommand) is not None
            node.destroy_node()
            rclpy.shutdown(context=node.context)
    sys.stdout.write(str(heard))


def main() -> None:
    """Run the baseline that the first argument names."""
    name, *arguments = sys.argv[1:]
    if name == "load":
        load()
    if name == "join":
        join(int(arguments[0]), float(arguments[1]), arguments[2:])
        return
    rclpy.init(args=arguments)
    try:
        rclpy.spin({"echo": echo, "callbacks": callbacks, "lifecycle": lifecycle}[name]())
    except (KeyboardInterrupt, ExternalShutdownException):
        return


if __name__ == "__main__":
    main()
