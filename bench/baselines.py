# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines in Python: each does the same job in the code that one would write in an hour.

`python -m bench.baselines <name>` runs one until SIGINT: a node (`echo`, `callbacks` or
`lifecycle`) or `load`, which keeps a core and the disk busy.
"""

import os
import sys
import tempfile
from array import array

import numpy as np
import rclpy
from policy_msgs.msg import JointCommand
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Imu, JointState

from policy_inference.nodes import qos

PERIOD_NS = 20_000_000
JOINTS = 12
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
    """Configure immediately, without any setup, and report it."""
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


def main() -> None:
    """Run the baseline that the first argument names."""
    name, *arguments = sys.argv[1:]
    if name == "load":
        load()
    rclpy.init(args=arguments)
    try:
        rclpy.spin({"echo": echo, "callbacks": callbacks, "lifecycle": lifecycle}[name]())
    except (KeyboardInterrupt, ExternalShutdownException):
        return


if __name__ == "__main__":
    main()
