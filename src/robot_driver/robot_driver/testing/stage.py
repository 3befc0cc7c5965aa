# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver processes, each with a robot double, and the test node that communicates with them."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from policy_msgs.msg import JointCommand, RobotStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_inference.fast_dds import fast_dds_without_shared_memory
from policy_inference.processes import environment
from policy_inference.worker_process import WorkerProcess
from robot_driver.interfaces import COMMAND_FIELDS, F64, MODE_DAMP, POSITION, DriveFigures
from robot_driver.link_process import MODULE as LINK_MODULE
from robot_driver.testing.case import DriverCase, Heard, RobotDouble
from robot_driver.testing.invariants import HeardWatch

DEEP = QoSProfile(depth=1000)
LATCHED = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LONGEST_VALID_S = 1.0
_LOOK_S = 0.01
FOLLOWED_RAD = 0.05
"""Distance between the robot's pose and the positions that `DriverProcess.send` commands."""


def what_was_heard(robot: RobotDouble, followed_pose: F64) -> str:
    """Return a summary of the frames that a robot received, for the author of a failing driver.

    Args:
        robot: Double that received the frames.
        followed_pose: Positions that the tests command: `DriverProcess.followed_pose`.
    """
    counts = Counter(frame.what for frame in robot.heard)
    lines = [
        "the robot received "
        + (", ".join(f"{n} x {what}" for what, n in counts.items()) or "nothing")
    ]
    commands = [frame for frame in robot.heard if frame.values is not None]
    moving = [frame for frame in commands if not frame.rests]
    for frame in (moving or commands)[-1:]:
        assert frame.values is not None
        lines.append(
            f"its newest command{'' if moving else ', which brings it to rest'} "
            f"({', '.join(COMMAND_FIELDS)}; the position with which the tests move it):"
        )
        rows = zip(robot.joint_names, frame.values, followed_pose, strict=True)
        for name, values, position in rows:
            lines.append(f"  {name}: {' '.join(f'{each:.4g}' for each in values)}; {position:.4g}")
    return "\n".join(lines)


class DriverProcess:
    """A running driver in its own namespace, with its robot double.

    Attributes:
        robot: Double to which the driver is connected.
        process: Process of the driver's node.
        statuses: All statuses received from the driver.
    """

    def __init__(
        self,
        stage: "Stage",
        case: DriverCase,
        name: str,
        robot: RobotDouble,
        parameters: Mapping[str, object],
    ) -> None:
        self.robot, self._case, self._stage, self.name = robot, case, stage, name
        self.statuses: list[RobotStatus] = []
        place = f"/{name}/{case.node}"
        stage.listen(RobotStatus, f"{place}/status", self.statuses, LATCHED)
        self._commands: Publisher = stage.node.create_publisher(
            JointCommand, f"/{name}/joint_command", DEEP
        )
        self._estop = stage.node.create_publisher(Bool, f"/{name}/estop", DEEP)
        self._sequence = self._seen = 0
        self._answers: list[tuple[str, Any]] = []
        self.watch = stage.watch(robot, lambda: self.figures)
        """Checks the frames that the robot received, whichever driver sent them."""
        # an answer may be lost while DDS has matched only one direction
        self._clients = {
            request: stage.node.create_client(kind, f"{place}/{request}")
            for kind, request in (
                (Trigger, "take_control"),
                (Trigger, "release_control"),
                (Trigger, "damp"),
                (Trigger, "reset"),
                (ChangeState, "change_state"),
            )
        }
        self._log = stage.folder / f"{name}.log"
        words = [
            word
            for key, value in {**case.parameters, **robot.parameters, **parameters}.items()
            for word in ("-p", f"{key}:={json.dumps(value)}")
        ]
        with self._log.open("wb") as log:
            # in the robot double's session, so that they share the processor fairly (autogroup)
            self.process = WorkerProcess(
                [*case.command, "--ros-args", "-r", f"__ns:=/{name}", *words],
                output=log,
                own_session=False,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def status(self) -> RobotStatus:
        return self.statuses[-1]

    @property
    def details(self) -> dict[str, str]:
        return {entry.key: entry.value for entry in self.status.details}

    def until(self, condition: Callable[[], object], what: str) -> None:
        self._stage.until(
            condition,
            f"{self.name}: {what}",
            lambda: "\n".join(
                [
                    *([self.status.reason, *self.status.obstacles] if self.statuses else []),
                    what_was_heard(self.robot, self.followed_pose),
                    f"log:\n{self.log}",
                ]
            ),
        )

    def reports(self, condition: Callable[[RobotStatus], object], what: str) -> RobotStatus:
        self.until(lambda: self.statuses and condition(self.status), what)
        return self.status

    def is_in(self, state: int) -> RobotStatus:
        return self.reports(lambda status: status.state == state, f"state {state}")

    def may_be_taken(self) -> RobotStatus:
        """Wait until the driver has no reason to refuse control; return its status."""
        return self.reports(
            lambda status: status.state == RobotStatus.LISTENING and not status.obstacles,
            "no obstacles",
        )

    def has_obstacle(self, text: str) -> RobotStatus:
        return self.reports(
            lambda status: any(text in each for each in status.obstacles), f"an obstacle: {text}"
        )

    def asked(self, name: str, request: Any = None) -> Any:
        """Send a request, and return a future for the answer."""
        client = self._clients[name]
        self.until(client.service_is_ready, f"the service {name}")
        if name == "take_control":
            self.watch.sent(None)
        answer = client.call_async(request or client.srv_type.Request())
        self._answers.append((name, answer))
        return answer

    def ask(self, request: str) -> Trigger.Response:
        future = self.asked(request)
        self.until(future.done, f"an answer to {request}")
        response: Trigger.Response = future.result()
        return response

    def takes_control(self) -> None:
        """Take control, retrying if it is refused, since a busy machine may delay the double."""
        ends_s = time.monotonic() + self._case.deadline_s
        while True:
            self.may_be_taken()
            place = len(self.statuses)
            answer = self.ask("take_control")
            if answer.success:
                break
            assert time.monotonic() < ends_s, f"control was not given: {answer.message}"
        self.until(
            lambda: any(
                status.state in (RobotStatus.DAMPING, RobotStatus.FOLLOWING)
                for status in self.statuses[place:]
            ),
            "a status in control",
        )

    def refuses_control(self, reason: str) -> None:
        """Request control, and check that it is refused with a reason containing this text."""
        response = self.ask("take_control")
        assert not response.success
        assert reason in response.message

    def gives_back_control(self) -> None:
        """Give control back if the driver has it, and wait until it no longer does."""
        if self.status.state != RobotStatus.LISTENING:
            response = self.ask("release_control")
            assert response.success, response.message
        self.is_in(RobotStatus.LISTENING)

    def changes(self, transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self.asked("change_state", request)
        self.until(future.done, f"transition {transition}")
        assert future.result().success

    def presses_estop(self, pressed: bool = True) -> None:
        self.until(lambda: self._estop.get_subscription_count() > 0, "a listener to estop")
        self._estop.publish(Bool(data=pressed))

    def send(self, **changes: Any) -> None:
        """Publish the next command near the robot's pose, with the given fields changed."""
        self.until(lambda: self._commands.get_subscription_count() > 0, "a listener")
        self._commands.publish(self.command(**{"sequence": self._sequence, **changes}))
        self._sequence += 1

    def send_rest(self, **changes: Any) -> None:
        """Publish the next command in the robot's rest mode, with the given fields changed."""
        self.send(**{**self._rest_fields(), **changes})

    def rest_command(self, sequence: int) -> JointCommand:
        return self.command(sequence=sequence, **self._rest_fields())

    def sends_until(self, condition: Callable[[], object], what: str, **changes: Any) -> None:
        def act() -> object:
            self.send(**changes)
            return condition()

        self.until(act, what)

    def refuses(self, counter: str, **changes: Any) -> None:
        """Check that an invalid command is counted and the preceding valid one stays in force."""
        self.follows()
        place, before = len(self.robot.heard), int(self.details[counter])
        self.sends_until(lambda: int(self.details[counter]) > before, counter, **changes)
        for each in list(self.robot.heard[place:]):
            assert each.rests or self.is_followed(each)

    def follows(self) -> None:
        """Send commands as a starting policy does, rest mode first, until one is followed."""
        since = len(self.robot.heard)

        def act() -> bool:
            if self.status.state == RobotStatus.LISTENING:
                # control was given back: a busy machine delayed the robot's state too much
                self.takes_control()
            elif self.status.state == RobotStatus.FOLLOWING:
                self.send()
            else:
                # also again, after a command has expired on a busy machine
                self.send_rest()
            return any(self.is_followed(each) for each in self.robot.heard[since:])

        self.until(act, "a frame that follows a command")

    def is_at(self, frame: Heard, position: Any) -> bool:
        """Return True if a frame commands these positions [n], rad."""
        found, tolerance = frame.values, self._case.tolerance_rad
        return found is not None and np.allclose(found[:, POSITION], position, atol=tolerance)

    def is_followed(self, frame: Heard) -> bool:
        """Return True if a frame follows the unmodified command from `send`."""
        # a command in the rest mode may have the same positions, without stiffness
        return not frame.rests and self.is_at(frame, self.followed_pose)

    def rests(self, reason: str) -> None:
        """Wait until the driver brings the robot to rest with a reason containing this text."""
        self.reports(
            lambda status: status.state == RobotStatus.DAMPING and reason in status.reason,
            f"DAMPING, {reason}",
        )
        self.until(lambda: self.robot.heard[-1].rests, "a frame that brings the robot to rest")

    def ended(self) -> int:
        self.until(lambda: self.process.status is not None, "the end of the process")
        assert self.process.status is not None
        return self.process.status

    @property
    def link(self) -> int:
        """Process ID of the link process; the driver must be running."""
        threads = Path("/proc", str(self.process.pid), "task").glob("*/children")
        children = " ".join(thread.read_text() for thread in threads).split()
        # a driver may have other child processes
        (link,) = (
            int(child)
            for child in children
            if LINK_MODULE.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        )
        return link

    def kill_link(self) -> None:
        os.kill(self.link, signal.SIGKILL)

    @cached_property
    def figures(self) -> DriveFigures:
        """The driver's drive figures, rearranged into the robot's joint order."""
        figures, names = self._case.figures, self.robot.joint_names
        if set(names) != set(figures.joint_names):
            raise AssertionError(
                f"joint names: the robot has {names}, the driver's figures {figures.joint_names}"
            )
        rows = [figures.joint_names.index(name) for name in names]
        arrays = ("lowest_rad", "highest_rad", "fastest_rad_s", "largest_torque_nm")
        ordered = {name: getattr(figures, name)[rows] for name in arrays}
        return replace(figures, joint_names=names, **ordered)

    @property
    def followed_pose(self) -> Any:
        """Positions [n], rad, that `send` commands: near the robot's pose, within the range."""
        figures, pose = self.figures, self.robot.pose
        below = pose + FOLLOWED_RAD > figures.highest_rad
        return np.where(below, pose - FOLLOWED_RAD, pose + FOLLOWED_RAD)

    def command(self, valid_for_s: float = LONGEST_VALID_S, **changes: Any) -> JointCommand:
        """Return a command near the robot's pose, with the given fields changed."""
        figures = self.figures
        count = len(figures.joint_names)
        # A quarter of the torque above which drives are checked, since the double exerts none.
        stiffness = min(figures.largest_stiffness, 0.25 * figures.demand_nm / FOLLOWED_RAD)
        fields = {
            "names": list(figures.joint_names),
            "position": self.followed_pose.tolist(),
            "velocity": [0.0] * count,
            "effort": [0.0] * count,
            "stiffness": [stiffness] * count,
            "damping": [min(figures.largest_damping, 1.0)] * count,
            "effort_limit": figures.largest_torque_nm.tolist(),
            "mode": JointCommand.MODE_STAND,
            **changes,
        }
        sec, nanosec = divmod(round(valid_for_s * 1e9), 1_000_000_000)
        command = JointCommand(valid_for=Duration(sec=sec, nanosec=nanosec), **fields)
        self.watch.sent(command)
        return command

    def violations(self) -> list[str]:
        """Return the invariants violated since the last call, each with what was found."""
        statuses, self._seen = self.statuses[self._seen :], len(self.statuses)
        violated = self.watch.see(self.robot.heard, self.name, statuses)
        found = [f"{name}: {what}" for name, what in violated]
        if self.process.status is None:
            found += [f"driver_answers: {name}" for name, each in self._answers if not each.done()]
        self._answers.clear()
        return found

    def close(self) -> None:
        """Kill any driver processes that still run, and switch the robot off."""
        self.process.kill()
        self.process.end()
        self.robot.close()

    def _rest_fields(self) -> dict[str, Any]:
        if self.figures.rest_mode == MODE_DAMP:
            count = len(self.figures.joint_names)
            return {"mode": JointCommand.MODE_DAMP, "stiffness": [0.0] * count}
        return {"mode": JointCommand.MODE_HOLD_MEASURED, "position": self.robot.pose.tolist()}


class Stage:
    """Owns the test node and all driver processes of a test class; `close` ends them.

    Attributes:
        node: The test node, named `listener`.
        folder: Folder for log files.
    """

    def __init__(self, case: DriverCase, folder: Path) -> None:
        self._case, self.folder = case, folder
        with environment(fast_dds_without_shared_memory(os.environ)):
            rclpy.init(args=[])
            self.node = Node("listener")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._drivers: list[DriverProcess] = []
        self._watches: dict[RobotDouble, HeardWatch] = {}

    def watch(self, robot: RobotDouble, figures: Callable[[], DriveFigures]) -> HeardWatch:
        """Return the watch on a robot's frames; all drivers of this robot share it."""
        return self._watches.setdefault(robot, HeardWatch(figures))

    def require_invariants(self) -> None:
        """Raise AssertionError if any driver violated an invariant since the last call."""
        found = [f"{each.name}: {one}" for each in self._drivers for one in each.violations()]
        assert not found, f"see docs/invariants.md: {found[:5]}"

    def driver(
        self,
        robot: RobotDouble | None = None,
        name: str = "",
        parameters: Mapping[str, object] | None = None,
    ) -> DriverProcess:
        """Start a driver, and its robot double unless a started one is given.

        Args:
            robot: Double for the driver, already started; by default, a new one.
            name: Name of the driver's namespace; by default, a new one.
            parameters: Node parameters, which override those of the case.
        """
        if robot is None:
            robot = self._case.robot()
            robot.start()
        name = name or f"robot_{len(self._drivers)}"
        driver = DriverProcess(self, self._case, name, robot, parameters or {})
        self._drivers.append(driver)
        return driver

    def listen(
        self, message: type[Any], topic: str, into: list[Any], qos: QoSProfile = DEEP
    ) -> None:
        self.node.create_subscription(message, topic, into.append, qos)

    def collected(self, message: type[Any], topic: str, count: int) -> list[Any]:
        """Wait for at least this many new messages on a topic, and return them."""
        found: list[Any] = []
        subscription = self.node.create_subscription(message, topic, found.append, DEEP)
        self.until(lambda: len(found) >= count, f"{count} messages of {topic}")
        self.node.destroy_subscription(subscription)
        return found

    def until(
        self, condition: Callable[[], object], what: str, more: Callable[[], str] = lambda: ""
    ) -> None:
        ends_s = time.monotonic() + self._case.deadline_s
        while not condition():
            assert time.monotonic() < ends_s, f"waited in vain for {what}\n{more()}"
            looks_s = time.monotonic() + _LOOK_S
            # Always the same timeout: rclpy starts over at the first subscription if it changes,
            # and does not serve the others as long as the first one has messages.
            while time.monotonic() < looks_s:
                self._executor.spin_once(timeout_sec=_LOOK_S)

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()
