# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drivers as processes, a motion host for each, and a node that talks to them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Duration
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from lite3_driver.wire import JOINT_NAMES

from .host import FOLDED_RAD, Host

DEADLINE_S = 30.0
"""Far beyond what anything here takes; only a test that fails waits so long."""
DEEP = QoSProfile(depth=1000)
_LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Driver:
    """The command `lite3_driver`, in a namespace of its own, and its host."""

    def __init__(
        self, stage: "Stage", name: str, host: Host, folder: Path, **parameters: object
    ) -> None:
        """Start it."""
        self.name, self.host, self._stage = name, host, stage
        self.statuses: list[RobotStatus] = []
        stage.listen(RobotStatus, f"/{name}/lite3_driver/status", self.statuses, _LATCHED)
        self._commands = stage.node.create_publisher(JointCommand, f"/{name}/joint_command", DEEP)
        self._sequence = 0
        # From the beginning: an answer is lost where DDS has matched only one direction yet.
        self._clients = {
            request: stage.node.create_client(kind, f"/{name}/lite3_driver/{request}")
            for kind, request in (
                (Trigger, "take_control"),
                (Trigger, "release_control"),
                (Trigger, "damp"),
                (Trigger, "reset"),
                (ChangeState, "change_state"),
            )
        }
        self._log = folder / f"{name}.log"
        words = [
            word
            for key, value in {**host.parameters, **parameters}.items()
            for word in ("-p", f"{key}:={json.dumps(value)}")
        ]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                ["lite3_driver", "--ros-args", "-r", f"__ns:=/{name}", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        self._stage.until(condition, f"{self.name}: {what}; log:\n{self.log}", lambda: self.log)

    def reports(self, condition: Callable[[RobotStatus], object], what: str) -> RobotStatus:
        """Spin until the newest status fulfils a condition; return it."""
        self.until(lambda: self.statuses and condition(self.statuses[-1]), what)
        return self.statuses[-1]

    def is_in(self, state: int) -> RobotStatus:
        """Spin until it says that it is in this state."""
        return self.reports(lambda status: status.state == state, f"state {state}")

    def may_be_taken(self) -> RobotStatus:
        """Spin until nothing speaks against taking control."""
        return self.reports(
            lambda status: status.state == RobotStatus.LISTENING and not status.obstacles,
            "no obstacles",
        )

    def asked(self, name: str, request: Any = None) -> Any:
        """Ask for something; return the future of the answer."""
        client = self._clients[name]
        self.until(client.service_is_ready, f"the service {name}")
        return client.call_async(request or client.srv_type.Request())

    def ask(self, request: str) -> Trigger.Response:
        """Ask for something and wait for the answer."""
        future = self.asked(request)
        self.until(future.done, f"an answer to {request}")
        response: Trigger.Response = future.result()
        return response

    def takes_control(self) -> None:
        """Take control."""
        self._stage.take_control(self)

    def changes(self, transition: int) -> None:
        """Let its lifecycle go on."""
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self.asked("change_state", request)
        self.until(future.done, f"transition {transition}")
        assert future.result().success

    def send(self, **changes: Any) -> None:
        """Publish a command that holds the folded pose, with fields changed."""
        self.until(lambda: self._commands.get_subscription_count() > 0, "a listener")
        self._commands.publish(command(sequence=self._sequence, **changes))
        self._sequence += 1

    def sends_until(self, condition: Callable[[], object], what: str, **changes: Any) -> None:
        """Publish this command again and again until a condition holds."""

        def act() -> object:
            self.send(**changes)
            return condition()

        self.until(act, what)

    def follows(self, valid_for_s: float = 0.5) -> None:
        """Let a policy begin: damping first, then the pose that the robot has."""
        since = len(self.host.received)

        def act() -> bool:
            if self.statuses[-1].state == RobotStatus.FOLLOWING:
                self.send(valid_for_s=valid_for_s)
            else:
                # Again, where a busy machine let one expire.
                self.send(mode=JointCommand.MODE_DAMP, stiffness=[0.0] * 12, valid_for_s=1.0)
            return any(each.follows for each in self.host.received[since:])

        self.until(act, "a frame with stiffness")

    def damps(self, reason: str) -> None:
        """Spin until the robot is braked for this reason."""
        self.reports(
            lambda status: status.state == RobotStatus.DAMPING and reason in status.reason,
            f"DAMPING, {reason}",
        )
        self.until(lambda: self.host.received[-1].damps, "a frame that damps")

    def ended(self) -> int:
        """Spin until the process has ended; return its exit status."""
        self.until(lambda: self.process.poll() is not None, "the end of the process")
        return int(self.process.returncode)

    def kill_link(self) -> None:
        """Kill the process that owns the sockets."""
        threads = Path("/proc", str(self.process.pid), "task").glob("*/children")
        (link,) = " ".join(thread.read_text() for thread in threads).split()
        os.kill(int(link), signal.SIGKILL)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.host.close()


class Stage:
    """Whatever a test starts and hears; all ends with the test."""

    def __init__(self, folder: Path) -> None:
        rclpy.init(args=[])
        self._folder = folder
        self.node = Node("listener")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.drivers: list[Driver] = []

    def driver(self, name: str = "robot", host: Host | None = None, **parameters: object) -> Driver:
        """Start a driver, for a new host unless one is given.

        The unit of the rates is known, and a host that a busy machine holds up is waited for.
        """
        parameters = {"angular_velocity_checked": True, "state_timeout_s": 0.5, **parameters}
        driver = Driver(self, name, host or Host().start(), self._folder, **parameters)
        self.drivers.append(driver)
        return driver

    def take_control(self, *drivers: Driver) -> None:
        """Let all of them take control at the same time, since it takes so long."""
        for driver in drivers:
            driver.may_be_taken()
        answers = [driver.asked("take_control") for driver in drivers]
        for driver, answer in zip(drivers, answers, strict=True):
            driver.until(answer.done, "an answer to take_control")
            assert answer.result().success, answer.result().message

    def listen(
        self, message: type[Any], topic: str, into: list[Any], qos: QoSProfile = DEEP
    ) -> None:
        self.node.create_subscription(message, topic, into.append, qos)

    def until(
        self, condition: Callable[[], object], what: str, log: Callable[[], str] = lambda: ""
    ) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}\n{log()}"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        for driver in self.drivers:
            driver.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()


def command(
    names: Sequence[str] = JOINT_NAMES, valid_for_s: float = 0.1, **changes: Any
) -> JointCommand:
    """Return a command that holds the folded pose, with fields changed."""
    fields = {
        "position": FOLDED_RAD.tolist(),
        "velocity": [0.0] * 12,
        "effort": [0.0] * 12,
        "stiffness": [30.0] * 12,
        "damping": [1.0] * 12,
        "effort_limit": [24.0] * 12,
        "mode": JointCommand.MODE_STAND,
        **changes,
    }
    sec, nanosec = divmod(round(valid_for_s * 1e9), 1_000_000_000)
    return JointCommand(names=list(names), valid_for=Duration(sec=sec, nanosec=nanosec), **fields)
