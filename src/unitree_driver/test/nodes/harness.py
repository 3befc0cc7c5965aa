# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drivers as processes, a robot for each, and a node that talks to them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from policy_inference.nodes import qos

from .robot import RobotThread

DEADLINE_S = 40.0
"""Far beyond what anything here takes; only a test that fails waits so long."""
_DEEP = QoSProfile(depth=1000)


class Driver:
    """A driver's command, and its robot."""

    def __init__(
        self, stage: "Stage", command: str, robot: RobotThread, log: Path, **parameters: object
    ) -> None:
        self.robot, self._stage, self._log = robot, stage, log
        self.statuses: list[RobotStatus] = []
        stage.listen(RobotStatus, f"/{command}/status", self.statuses, qos.STATUS)
        self._commands = stage.node.create_publisher(JointCommand, "/joint_command", qos.COMMAND)
        self._clients = {
            name: stage.node.create_client(Trigger, f"/{command}/{name}")
            for name in ("take_control", "release_control", "damp", "reset")
        }
        self._sequence = 0
        # A machine that is busy with other tests holds the robot's thread up.
        parameters = {"state_timeout_s": 0.5, **robot.parameters, **parameters}
        words = [
            word
            for key, value in parameters.items()
            for word in ("-p", f"{key}:={json.dumps(value)}")
        ]
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [command, "--ros-args", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        self._stage.until(condition, what, lambda: self.log)

    def reports(self, condition: Callable[[RobotStatus], object], what: str) -> RobotStatus:
        """Spin until the newest status fulfils a condition; return it."""
        self.until(lambda: self.statuses and condition(self.statuses[-1]), what)
        return self.statuses[-1]

    def obstacle(self, text: str) -> None:
        """Spin until control is refused for this reason."""
        self.reports(
            lambda status: any(text in each for each in status.obstacles), f"the obstacle {text!r}"
        )

    def ask(self, request: str) -> Trigger.Response:
        """Ask for something and wait for the answer."""
        client = self._clients[request]
        self.until(client.service_is_ready, f"the service {request}")
        future = client.call_async(Trigger.Request())
        self.until(future.done, f"an answer to {request}")
        response: Trigger.Response = future.result()
        return response

    def may_be_taken(self) -> None:
        """Press a key of the remote, and spin until there are no obstacles."""
        self.robot.press("A")
        self.reports(
            lambda status: status.state == RobotStatus.LISTENING and not status.obstacles,
            "no obstacles",
        )
        self.robot.press()

    def takes_control(self) -> None:
        """Take control."""
        self.may_be_taken()
        answer = self.ask("take_control")
        assert answer.success, answer.message

    def follows(self) -> None:
        """Let a policy begin: damping first, then the pose that the robot has."""

        def act() -> bool:
            runs = self.statuses[-1].state == RobotStatus.FOLLOWING
            self.send(stiffness=30.0 if runs else 0.0, valid_for_s=0.9)
            return self.robot.follows()

        self.until(act, "a command with stiffness")

    def send(self, stiffness: float, valid_for_s: float) -> None:
        """Publish a command that holds the present pose, or damps where it has no stiffness."""
        names = self.robot.model.figures.joint_names
        size = len(names)
        sec, nanosec = divmod(round(valid_for_s * 1e9), 1_000_000_000)
        self._sequence += 1
        self._commands.publish(
            JointCommand(
                names=list(names),
                sequence=self._sequence,
                mode=JointCommand.MODE_STAND if stiffness else JointCommand.MODE_DAMP,
                valid_for=Duration(sec=sec, nanosec=nanosec),
                position=np.asarray(self.robot.service.joint_pos).tolist(),
                velocity=[0.0] * size,
                effort=[0.0] * size,
                stiffness=[stiffness] * size,
                damping=[1.0] * size,
                effort_limit=self.robot.model.figures.largest_torque_nm.tolist(),
            )
        )

    def damps(self, reason: str) -> None:
        """Spin until the robot is damped for this reason."""
        self.reports(
            lambda status: status.state == RobotStatus.DAMPING and reason in status.reason,
            f"DAMPING, {reason}",
        )
        self.until(self.robot.damps, "a command that damps")

    def ended(self) -> int:
        """Spin until the process has ended; return its exit status."""
        self.until(lambda: self.process.poll() is not None, "the end of the process")
        return int(self.process.returncode)

    def children(self) -> dict[str, int]:
        """Return the numbers of the processes that the driver has started, by their module."""
        threads = Path("/proc", str(self.process.pid), "task").glob("*/children")
        pids = [int(pid) for thread in threads for pid in thread.read_text().split()]
        words = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in pids}
        return {each[2].decode(): pid for pid, each in words.items() if len(each) > 2}

    def kill(self, module: str) -> None:
        """Kill one of these processes."""
        os.kill(self.children()[module], signal.SIGKILL)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


class Stage:
    """Whatever a test starts and hears; all ends with the test."""

    def __init__(self, folder: Path) -> None:
        rclpy.init(args=[])
        self._folder = folder
        self.node = Node("listener")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self._closed_last: list[Any] = []

    def driver(self, command: str, robot: RobotThread, **parameters: object) -> Driver:
        """Start a driver for a robot."""
        log = self._folder / f"{command}.log"
        driver = Driver(self, command, robot, log, **parameters)
        self._closed_last[:0] = [driver, robot]
        return driver

    def listen(self, message: type[Any], topic: str, into: list[Any], profile: QoSProfile) -> None:
        self.node.create_subscription(message, topic, into.append, profile)

    def until(self, condition: Callable[[], object], what: str, log: Callable[[], str]) -> None:
        """Spin until the condition holds; fail the test with `what` if it never does."""
        ends_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}; log:\n{log()}"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        for each in self._closed_last:
            each.close()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()
