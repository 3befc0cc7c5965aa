# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Baselines in Python: each does the same job in the code that one would write in an hour.

`python -m bench.baselines <name>` runs one until SIGINT: a node (`echo`, `callbacks` or
`lifecycle`) or `load`, which keeps a core and the disk busy. `join <participants> <at once>
<interval>` ends by itself, and prints how many participants received a command.
"""

import os
import sys
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping

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


def join() -> None:
    """Make participants join one after another, and leave in this order; print how many listened.

    They use ROS's default transport, shared memory included, as other people's programs do. The
    arguments are the number of participants, how many are present at once, and the interval
    between two of them, s.
    """
    count, present_count, interval_s = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    for name in [name for name in os.environ if name.startswith(("FASTRTPS_", "FASTDDS_"))]:
        del os.environ[name]
    present: deque[tuple[Node, Subscription[JointCommand]]] = deque()
    listeners, began_s = 0, time.monotonic()
    for number in range(count + present_count):
        time.sleep(max(0.0, began_s + number * interval_s - time.monotonic()))
        if number < count:
            context = rclpy.Context()
            rclpy.init(context=context, args=sys.argv[5:])
            node = Node(f"participant_{number}", context=context, enable_rosout=False)
            subscription = node.create_subscription(
                JointCommand, "joint_command", lambda _: None, qos.COMMAND
            )
            present.append((node, subscription))
        if number >= present_count:
            node, subscription = present.popleft()
            listeners += take_message(subscription.handle, JointCommand) is not None
            node.destroy_node()
            rclpy.shutdown(context=node.context)
    sys.stdout.write(str(listeners))


NODES: Mapping[str, Callable[[], Node]] = {
    "echo": echo,
    "callbacks": callbacks,
    "lifecycle": lifecycle,
}
PROGRAMS: Mapping[str, Callable[[], None]] = {"load": load, "join": join}
"""Baselines that are not a node."""


def main() -> None:
    """Run the baseline that the first argument names."""
    name, *arguments = sys.argv[1:]
    if name in PROGRAMS:
        PROGRAMS[name]()
        return
    rclpy.init(args=arguments)
    try:
        rclpy.spin(NODES[name]())
    except (KeyboardInterrupt, ExternalShutdownException):
        return


if __name__ == "__main__":
    main()
