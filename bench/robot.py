# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot without physics: publishes sensors; its joints are at their commanded positions."""

import os
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import rclpy
from policy_msgs.msg import JointCommand, PolicyStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Imu, JointState
from std_srvs.srv import Trigger

from bench.processes import BUNDLE, BenchError, Child, UnsupportedError
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.machine.scheduling import list_threads, set_realtime_priority
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import Arrivals, Sampled, SampleGroup

_PERIOD_S = 0.005
_PATIENCE_S = 20.0
_PRIORITY, _OPTION = 30, "real-time priority"
"""Of a real-time robot; higher than that of any measured process."""
_FOLLOWED = (JointCommand.MODE_STAND, JointCommand.MODE_READY, JointCommand.MODE_RUN)


class SeenCommand(NamedTuple):
    """The evaluated part of a command."""

    stamp_ns: int
    sequence: int
    mode: int


class UprightRobot:
    """A robot that is upright and at rest, with its joints at the newest command.

    Following the command satisfies the guard: a robot that resists would soon exceed its torque
    limits.
    """

    def __init__(self, node: Node) -> None:
        """Create publishers, the subscription and the clients on a node."""
        contract = load_bundle(BUNDLE, kind=JointBundle).contract
        names = contract.joints.on_robot()
        self._joint_states = JointState(
            name=list(names),
            position=contract.stand.position.tolist(),
            velocity=[0.0] * len(names),
            effort=[0.0] * len(names),
        )
        self._imu = Imu()
        self._imu.orientation.w = 1.0
        self._imu.linear_acceleration.z = 9.81
        self._node = node
        self._joints: Publisher = node.create_publisher(
            JointState, "joint_states", qos_profile_sensor_data
        )
        self._inertia: Publisher = node.create_publisher(Imu, "imu/data", qos_profile_sensor_data)
        group = SampleGroup()
        self._commands = Sampled(node, group, JointCommand, "joint_command", qos.COMMANDS)
        self._arrivals = Arrivals(node, [self._commands])
        self._status = Sampled(node, group, PolicyStatus, "joint_policy_node/status", qos.STATUS)
        self._clients = {
            name: node.create_client(Trigger, f"joint_policy_node/{name}")
            for name in ("stand", "run")
        }
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def joint_states(self) -> bytes:
        """Return a new JointState, already serialized, so that publishing it costs little."""
        self._joint_states.header.stamp = self._node.get_clock().now().to_msg()
        return bytes(serialize_message(self._joint_states))

    def imu(self) -> bytes:
        """Return a new Imu, already serialized."""
        self._imu.header.stamp = self._node.get_clock().now().to_msg()
        return bytes(serialize_message(self._imu))

    def publish_joint_states(self, message: bytes) -> None:
        self._joints.publish(message)

    def publish_imu(self, message: bytes) -> None:
        self._inertia.publish(message)

    def take(self) -> SeenCommand | None:
        """Return the newest command that has not been taken yet, and follow it."""
        return next(reversed(self.take_all()), None)

    def take_all(self) -> list[SeenCommand]:
        """Return the commands that have not been taken yet, oldest first, and follow the newest."""
        commands, newest = list[SeenCommand](), None
        while (message := self._commands.take()) is not None:
            stamp, newest = message.stamp, message
            stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            commands.append(SeenCommand(stamp_ns, message.sequence, message.mode))
        if newest is not None and newest.mode in _FOLLOWED:
            self._joint_states.position = array("d", newest.position)
        return commands

    def await_status(self, child: Child | None = None) -> PolicyStatus:
        """Publish sensors until a new status arrives."""
        self._status.take()
        found = list[PolicyStatus]()

        def has_come() -> bool:
            found.extend(filter(None, [self._status.take()]))
            return bool(found)

        self._publish_until(has_come, "a status", child)
        return found[0]

    def wait_for_command(self, timeout_ns: int) -> bool:
        """Wait at most this long for a command; return whether one has arrived."""
        return bool(self._arrivals.wait(timeout_ns))

    def await_commands(self, child: Child | None = None) -> None:
        """Publish sensors until commands arrive."""
        self._publish_until(lambda: self.take() is not None, "a command", child)

    def bring_to_run(self, child: Child | None = None) -> None:
        """Stand up and start the policy, through the node's services."""
        self.await_commands(child)
        self._bring_to(JointCommand.MODE_READY, "stand", child)
        self._bring_to(JointCommand.MODE_RUN, "run", child)

    def _bring_to(self, mode: int, service: str, child: Child | None) -> None:
        """Repeat the request until the node accepts it, which needs sensor data."""
        client = self._clients[service]
        self._publish_until(client.service_is_ready, f"service {service}", child)
        agreed = False
        give_up_s = time.monotonic() + _PATIENCE_S
        while not agreed:
            future = client.call_async(Trigger.Request())
            self._publish_until(future.done, f"an answer of {service}", child)
            agreed = future.result().success
            if time.monotonic() > give_up_s:
                raise BenchError(future.result().message)
        self._publish_until(lambda: self._mode() == mode, f"mode {mode}", child)

    def _mode(self) -> int | None:
        command = self.take()
        return None if command is None else command.mode

    def _publish_until(self, condition: Callable[[], bool], what: str, child: Child | None) -> None:
        give_up_s = time.monotonic() + _PATIENCE_S
        while not condition():
            if child is not None:
                child.check()
            if time.monotonic() > give_up_s:
                raise BenchError(f"waited {_PATIENCE_S} s for {what}")
            self.publish_imu(self.imu())
            self.publish_joint_states(self.joint_states())
            self._executor.spin_once(timeout_sec=0)
            time.sleep(_PERIOD_S)

    def close(self) -> None:
        self._executor.shutdown()


@contextmanager
def upright_robot(namespace: str) -> Iterator[UprightRobot]:
    """Make a robot in a namespace, with its own ROS context."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("bench_robot", namespace=namespace, context=context, enable_rosout=False)
    robot = UprightRobot(node)
    try:
        yield robot
    finally:
        robot.close()
        node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def real_time_robot() -> Iterator[None]:
    """Keep the measured processes and other work from delaying the robots of this process."""
    threads = list_threads(os.getpid())
    if refused := set_realtime_priority(_PRIORITY, _OPTION, threads):
        raise UnsupportedError(refused[0])
    try:
        yield
    finally:
        set_realtime_priority(0, _OPTION, threads)
