# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An emulated robot, its driver, a policy and an operator, as real processes in real time."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from policy_msgs.msg import RobotStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from examples.demos.runner import LoggedProcess, Processes
from policy_inference.machine.scheduling import list_threads, set_realtime_priority
from robot_operator.nodes.client import Operator
from robot_operator.nodes.words import STATES
from robot_operator.requests import OperatorError
from robot_sim.driven import NS_PER_S
from robot_sim.faults import starting
from robot_sim.trace import Trace

_log = logging.getLogger(__name__)
S = TypeVar("S", bound="Stack")
TURN_S = 20.0
_ANSWER_S = 30.0
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_LEAD_S = 0.3
_ROBOT_PRIORITY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of the emulated host; see `robot_sim.robot_host.HostEvent`.

    Attributes:
        time_s: Time on the emulated robot's clock.
        unix_ns: Time of the event on the system clock, ns.
        event, who: The event and its cause.
    """

    time_s: float
    unix_ns: int
    event: str
    who: str


class Stack:
    """All processes around a robot. Use it in a `with` block. Subclasses add the robot.

    Attributes:
        emulator, driver, policy: The processes.
        operator: Requests modes and velocities.
        driver_status: Newest status of the driver; None before the first one.
    """

    driver_command: ClassVar[str]
    """Name of the driver's command and node."""
    bundle: str
    """Bundle with the policy."""
    policy_command: ClassVar[str] = "joint_policy_node"
    estop_listeners: ClassVar[int] = 2
    """Number of subscribers to `estop`: the policy node and the driver."""
    emulator: LoggedProcess

    def __init__(
        self,
        folder: Path,
        *,
        emulator: Mapping[str, Any] | None = None,
        driver: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        priority: int = 20,
    ) -> None:
        """Start everything; nothing moves yet.

        The emulator gets the highest priority, if the kernel allows it, because it stands for a
        robot with a computer of its own.

        Args:
            folder: Folder for logs, the trace and the events.
            emulator: Parameters of the emulator, other than those with which it and the driver find
                each other.
            driver: Parameters of the driver, with the same exceptions.
            policy: Parameters of the policy node.
            priority: `realtime.priority` of driver and policy node; ignored if the kernel refuses.
        """
        self.trace_file, self._event_file = folder / "trace.npz", folder / "events.jsonl"
        self._folder, self._started = folder, itertools.count()
        self._common = {"status_rate_hz": 20.0, "realtime.priority": priority}
        self._policy_parameters = {"bundle": self.bundle, **self._common, **(policy or {})}
        self.driver_status: RobotStatus | None
        with ExitStack() as opened:
            self._nodes = opened.enter_context(Processes())
            files = {"trace_file": str(self.trace_file), "event_file": str(self._event_file)}
            self._driver_parameters = {
                **self._common,
                **self._emulate({**files, **(emulator or {})}),
                **(driver or {}),
            }
            self.driver, self.policy = self.start_driver(), self.start_policy()
            self.operator = opened.enter_context(
                Operator(
                    policy_node=self.policy_command,
                    answer_timeout_s=_ANSWER_S,
                    watch=self._nodes.check,
                )
            )
            self._listen()
            for refused in prefer(self.emulator.pid):
                _log.warning("%s", refused)
            self._opened = opened.pop_all()

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Start the emulator as `emulator`; return the driver parameters that connect to it."""
        raise NotImplementedError

    def set_faults(self, *faults: str) -> None:
        raise NotImplementedError

    def turn_by_hand(self) -> None:
        """Turn the robot by 90 degrees as a person would, within 2 s."""
        raise NotImplementedError

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End everything, which writes the trace."""
        for process in self._nodes.running:
            process.send(signal.SIGCONT)  # a hanging process would not end on its own
        self._opened.close()

    def trace(self) -> Trace:
        """End everything and return the ground truth."""
        self.end()
        return Trace.load(self.trace_file)

    def start_driver(self) -> LoggedProcess:
        """Start a driver as `driver`."""
        self.driver_status = None
        self.driver = self._start(self.driver_command, self._driver_parameters)
        return self.driver

    def start_policy(self) -> LoggedProcess:
        """Start a policy node as `policy`."""
        self.policy = self._start(self.policy_command, self._policy_parameters)
        return self.policy

    def start_second_policy(self) -> LoggedProcess:
        """Start a second policy node alongside `policy`, on the same topics."""
        return self._start(
            self.policy_command,
            self._policy_parameters,
            remappings={"__node": "second_policy_node"},
        )

    @property
    def phase(self) -> str:
        """Newest state of the driver, such as `FOLLOWING`."""
        return STATES[self.driver_status.state] if self.driver_status else ""

    def details(self) -> dict[str, str]:
        """Return the newest details of the driver's status."""
        entries = self.driver_status.details if self.driver_status else ()
        return {entry.key: entry.value for entry in entries}

    def ask_driver(self, service: str) -> tuple[bool, str]:
        """Request `take_control`, `release_control`, `damp` or `reset`; return the answer."""
        return self.operator.ask(self._clients[service], service, Trigger.Request(), _ANSWER_S)

    def take_control(self) -> None:
        """Wait until the driver has no reason to refuse, then take control."""
        self.wait_until(
            lambda: (
                self.driver_status is not None
                and not self.driver_status.obstacles
                and self.driver_status.state == RobotStatus.LISTENING
            ),
            "the driver to see no obstacle",
        )
        taken, message = self.ask_driver("take_control")
        if not taken:
            raise OperatorError(f"take_control: {message}")

    def walk(self, vx_mps: float = 0.5, for_s: float = 1.5) -> None:
        """Take control, stand up, run the policy, and walk for a while."""
        self.operator.wait_for_robot()
        self.take_control()
        # The driver damps first; a policy that stands up during that time is sent back. The policy
        # node may learn later that the driver no longer damps: several statuses must report that it
        # follows.
        for _ in range(4):
            before = self.driver_status
            self.wait_until(partial(self._follows_since, before), "the driver to follow")
        self.set_off(vx_mps, for_s)

    def stand_up(self) -> None:
        """Stand up and run the policy; the robot is already under control."""
        self.operator.stand_up()

    def set_off(self, vx_mps: float = 0.5, for_s: float = 1.5) -> None:
        """Stand up, run the policy, and walk for a while; the robot is already under control."""
        self.stand_up()
        self.operator.move(vx_mps)
        self.operator.wait(for_s)
        self.require_walking()

    def set_off_again(self) -> None:
        """Walk again after a fault that has ended."""
        self.operator.move()
        self.operator.demand("reset")
        self.operator.wait_for_robot()
        self.set_off()

    def require_walking(self) -> None:
        """Raise OperatorError unless the robot follows the policy."""
        newest = [event.event for event in self.events() if event.event != "faults"][-1]
        if newest != "following":
            raise OperatorError(
                f"walk: expected a robot that walks, found the host {newest}, the "
                f"driver {self.phase} and the policy node {self.operator.mode} "
                f"({self.operator.status.reason})"
            )

    def _follows_since(self, before: RobotStatus | None) -> bool:
        return self.driver_status is not before and self.phase == "FOLLOWING"

    def fail(self, *faults: str) -> int:
        """Plan faults, written without a start, to begin in a moment.

        Returns:
            Their start time, ns on the system clock.
        """
        asked_ns = time.time_ns()
        self.set_faults()
        self.wait_until(lambda: bool(self.events_since(asked_ns)), "the emulator's clock")
        now = self.events_since(asked_ns)[0]
        self.set_faults(*(starting(fault, now.time_s + _LEAD_S) for fault in faults))
        return now.unix_ns + round(_LEAD_S * NS_PER_S)

    def events(self) -> list[Event]:
        """Return the events of the emulated host so far."""
        if not self._event_file.is_file():
            return []
        # the last line may be incomplete
        whole, _, _ = self._event_file.read_text("utf-8").rpartition("\n")
        return [Event(**json.loads(line)) for line in whole.splitlines()]

    def events_since(self, start_ns: int) -> list[Event]:
        """Return the events since a time on the system clock, ns."""
        return [event for event in self.events() if event.unix_ns >= start_ns]

    def wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float = TURN_S) -> None:
        self.operator.wait_until(reached, what, timeout_s)

    def expect_deaths(self) -> None:
        """From now on, do not treat the end of a process as an error while waiting."""
        self.operator.watch = _look_away

    def kill(self, *pids: int) -> int:
        """Kill only these processes; return the time, ns on the system clock."""
        return self.signal(signal.SIGKILL, *pids)

    def signal(self, number: signal.Signals, *pids: int) -> int:
        """Send a signal to these processes only; return the time, ns on the system clock."""
        self.expect_deaths()
        now_ns = time.time_ns()
        for pid in pids:
            os.kill(pid, number)
        return now_ns

    def link_pid(self) -> int:
        """Return the id of the driver's process that communicates with the robot."""
        (child,) = self._children()
        return child

    def _children(self) -> list[int]:
        """Return the ids of the driver's child processes."""
        threads = Path(f"/proc/{self.driver.pid}/task").iterdir()
        return [
            int(word) for thread in threads for word in (thread / "children").read_text().split()
        ]

    def _start(self, command: str, parameters: Mapping[str, Any], **more: Any) -> LoggedProcess:
        return self._nodes.start(command, parameters, self._log(command), **more)

    def _log(self, command: str) -> Path:
        return self._folder / f"{next(self._started)}_{command}.log"

    def _listen(self) -> None:
        node = self.operator.node
        status = f"{self.driver_command}/status"
        node.create_subscription(RobotStatus, status, self._on_status, _LATCHED)
        self._clients = {
            name: node.create_client(Trigger, f"{self.driver_command}/{name}")
            for name in ("take_control", "release_control", "damp", "reset")
        }

    def _on_status(self, message: RobotStatus) -> None:
        self.driver_status = message
        self.operator.notify()


def prefer(process: int) -> list[str]:
    """Give a process the highest priority; return a warning if the kernel refuses."""
    return set_realtime_priority(_ROBOT_PRIORITY, "robot_faults: priority", list_threads(process))


def _look_away() -> None:
    """Check nothing."""
