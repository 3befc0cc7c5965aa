# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Run a SimNode in a thread and talk to it over its topics."""

import json
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from nav_msgs.msg import Odometry
from policy_msgs.msg import ContactForces, JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from robot_sim.figures import LITE3
from robot_sim.nodes.sim_node import SimNode
from testkit.ros_time import ns, stamp

DEADLINE_S = 60.0
"""Far beyond what anything here takes; only a test that fails waits so long."""
PERIOD_NS = 20_000_000
_DEEP = QoSProfile(depth=1000)


class RunningNode:
    """A node that runs in a thread, and a listener node that the test spins."""

    node: Any
    listener: Node
    new_node: Callable[[], Any]

    def __init__(self) -> None:
        self._running: threading.Thread | None = None

    def make(self, **parameters: object) -> Any:
        """Create the node without running it."""
        given = [f"{name}:={json.dumps(value)}" for name, value in parameters.items()]
        words = [word for each in given for word in ("-p", each)]
        rclpy.init(args=["--ros-args", *words])
        self.listener = Node("listener", use_global_arguments=False)
        self.node = self.new_node()
        self.executor = SingleThreadedExecutor()
        for node in (self.listener, self.node):
            self.executor.add_node(node)
        return self.node

    def start(self) -> None:
        self._running = threading.Thread(target=self.node.run)
        self._running.start()

    def spin_until(self, condition: Callable[[], object], what: str) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.02)

    def ends(self) -> None:
        self.spin_until(lambda: self._running is not None and not self._running.is_alive(), "end")

    def close(self) -> None:
        if not hasattr(self, "node"):
            rclpy.try_shutdown()
            return
        self.node.stop()
        if self._running is not None:
            self._running.join()
        self.executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        rclpy.shutdown()


class Stage(RunningNode):
    """A running simulated robot, and everything that it has published."""

    new_node: Callable[[], Any] = SimNode

    def __init__(self, new_log: Callable[[], str]) -> None:
        super().__init__()
        self._new_log, self._log = new_log, ""
        self.joint_states: list[JointState] = []
        self.imus: list[Imu] = []
        self.odometry: list[Odometry] = []
        self.contacts: list[ContactForces] = []
        self.times_ns: list[int] = []

    def make(self, **parameters: object) -> Any:
        super().make(**parameters)
        self._commands = self.listener.create_publisher(JointCommand, "joint_command", _DEEP)
        for message, topic, into in (
            (JointState, "joint_states", self.joint_states.append),
            (Imu, "imu/data", self.imus.append),
            (Odometry, "odom", self.odometry.append),
            (ContactForces, "contact_forces", self.contacts.append),
            (Clock, "/clock", lambda message: self.times_ns.append(ns(message.clock))),
        ):
            self.listener.create_subscription(message, topic, into, _DEEP)
        return self.node

    def run(self, **parameters: object) -> Any:
        node = self.make(**parameters)
        self.begin()
        return node

    def begin(self) -> None:
        """Wait until the node listens for commands, then run it."""
        self.until(lambda: self._commands.get_subscription_count() >= 1, "the robot's listener")
        self.start()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Spin until the condition holds; show the log if it never does."""
        try:
            self.spin_until(condition, what)
        except AssertionError as error:
            raise AssertionError(self.log) from error

    def shows(self, time_ns: int) -> None:
        self.until(lambda: self.times_ns[-1:] == [time_ns], f"/clock {time_ns}")

    def command(self, time_ns: int, **changes: Any) -> None:
        self.send(standing_command(time_ns, **changes))

    def send(self, message: JointCommand) -> None:
        self._commands.publish(message)

    def ticks(self, count: int, first: int = 0, **changes: Any) -> None:
        """Answer each tick with a command; return once the tick after the last is published."""
        for tick in range(first, first + count):
            self.shows(tick * PERIOD_NS)
            self.command(tick * PERIOD_NS, **changes)
        self.shows((first + count) * PERIOD_NS)

    def set(self, name: str, value: object) -> str:
        """Set a parameter; return the reason if it is refused, otherwise an empty string."""
        result = self.node.set_parameters([Parameter(name, value=value)])[0]
        return "" if result.successful else str(result.reason)

    @property
    def log(self) -> str:
        """Everything logged since the stage was created."""
        self._log += self._new_log()
        return self._log


def standing_command(
    time_ns: int,
    names: Sequence[str] = LITE3.joint_names,
    valid_for_ns: int = 100_000_000,
    **changes: Sequence[float],
) -> JointCommand:
    every = {"velocity": 0.0, "effort": 0.0, "stiffness": 100.0, "damping": 2.5}
    every["effort_limit"] = 24.0
    fields: dict[str, Sequence[float]] = {name: [value] * 12 for name, value in every.items()}
    fields["position"] = LITE3.standing_rad.tolist()
    return JointCommand(
        stamp=stamp(time_ns),
        names=list(names),
        valid_for=Duration(nanosec=valid_for_ns % 10**9, sec=valid_for_ns // 10**9),
        **{name: array("d", values) for name, values in {**fields, **changes}.items()},
    )


def stamps_ns(messages: Sequence[Any]) -> list[int]:
    return [ns(message.header.stamp) for message in messages]
