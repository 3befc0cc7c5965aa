# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot and a policy node as two real processes, and the one who operates them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nav_msgs.msg import Odometry
from policy_msgs.msg import JointCommand
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile

from examples.demos.runner import LoggedProcess, Processes
from robot_operator.nodes.client import Operator
from robot_operator.nodes.words import MODES
from robot_sim.driven import NS_PER_S
from robot_sim.faults import starting
from robot_sim.nodes.messages import nanoseconds
from robot_sim.trace import Trace
from testkit import watching

SECONDS_TO_REACH = 20.0
_EVERY_ONE = QoSProfile(depth=1000)
_LEAD_S, _LEADS_PER_CALL = 1.0, 4
"""A fault is planned so far ahead, or farther where the machine is slow to plan anything."""
_SPEED = 5.0
"""While a test looks at what came, or runs a command, the simulation leaves it the machine."""


class Rig:
    """Sim, policy node and operator in one ROS 2 domain, in lockstep unless real time is set."""

    def __init__(
        self,
        folder: Path,
        *,
        bundle: str = "lite3_walk",
        lockstep: bool = True,
        sim: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        beside: Mapping[str, Mapping[str, Any]] | None = None,
        remappings: Mapping[str, str] | None = None,
        drives: bool = True,
    ) -> None:
        """Start both processes.

        Args:
            folder: For logs and the trace.
            bundle: What the policy node runs.
            lockstep: Whether the simulation waits for each command.
            sim: Further parameters of the sim node.
            policy: Further parameters of the policy node.
            beside: Parameters of further nodes, by their commands.
            remappings: Names that the policy node uses for topics, by the topics.
            drives: Whether the operator here is to publish `cmd_vel`.
        """
        self.trace_file = folder / "trace.npz"
        self.commands: list[JointCommand] = []
        self._remappings = remappings or {}
        self._odometry = Odometry()
        with ExitStack() as opened:
            nodes = self._nodes = opened.enter_context(Processes())
            self.sim = nodes.start(
                "sim_node",
                {
                    "lockstep": lockstep,
                    "lockstep_speed": _SPEED,
                    "trace_file": str(self.trace_file),
                    **(sim or {}),
                },
                folder / "sim_node.log",
            )
            for node, parameters in (beside or {}).items():
                nodes.start(node, parameters, folder / f"{node}.log")
            self._folder = folder
            self._environment = dict(os.environ)  # with the ROS 2 domain that all processes use
            self._policy = {
                "bundle": bundle,
                "use_sim_time": lockstep,
                "status_rate_hz": 50.0,
                **(policy or {}),
            }
            self.policy = self.start_policy("joint_policy_node")
            operator = Operator(use_sim_time=lockstep, watch=nodes.check, drives=drives)
            self.operator = opened.enter_context(operator)
            self._listen()
            operator.wait_for_robot()
            self.wait_until(lambda: self.height_m > 0.0, "odometry")
            self._opened = opened.pop_all()
            watching.hold_against(self.commands)

    def start_policy(self, node: str) -> LoggedProcess:
        """Start a policy node with this name, on the same topics as any other."""
        return self._nodes.start(
            "joint_policy_node",
            self._policy,
            self._folder / f"{node}.log",
            remappings={"__node": node, **self._remappings},
            environment=self._environment,
        )

    def _listen(self) -> None:
        node = self.operator.node
        node.create_subscription(JointCommand, "joint_command", self._on_command, _EVERY_ONE)
        node.create_subscription(Odometry, "odom", self._on_odometry, QoSProfile(depth=1))

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End everything; the trace is written by then."""
        self._opened.close()
        watching.hold_against(())

    def trace(self) -> Trace:
        """End everything and return the simulator's ground truth."""
        self.end()
        return Trace.load(self.trace_file)

    def expect_deaths(self) -> None:
        """Let a node that ends be no reason to stop waiting."""
        self.operator.watch = _look_away

    @property
    def height_m(self) -> float:
        return float(self._odometry.pose.pose.position.z)

    @property
    def position_m(self) -> tuple[float, float]:
        position = self._odometry.pose.pose.position
        return float(position.x), float(position.y)

    @property
    def forward_mps(self) -> float:
        return float(self._odometry.twist.twist.linear.x)

    @property
    def counters(self) -> dict[str, int]:
        """Guard counters of the newest status that are not zero."""
        counters = self.operator.status.guard_counters
        return {entry.name: entry.count for entry in counters if entry.count}

    def fail(self, *faults: str) -> int:
        """Plan faults written without a start, to begin soon; return when, in ns."""
        before_ns = self.operator.now_ns
        self.set_faults()
        now_ns = self.operator.now_ns
        start_ns = now_ns + max(round(_LEAD_S * NS_PER_S), _LEADS_PER_CALL * (now_ns - before_ns))
        self.set_faults(*(starting(fault, start_ns / NS_PER_S) for fault in faults))
        return start_ns

    def set_faults(self, *faults: str, node: str = "sim_node") -> None:
        value = ParameterValue(
            type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=list(faults) or [""]
        )
        request = SetParameters.Request(parameters=[Parameter(name="faults", value=value)])
        setting = self.operator.node.create_client(SetParameters, f"{node}/set_parameters")
        self.wait_until(setting.service_is_ready, f"the parameter service of {node}")
        future = setting.call_async(request)
        self.wait_until(future.done, "the new faults")
        result = future.result().results[0]
        assert result.successful, result.reason

    def wait_until(self, reached: Any, what: str) -> None:
        self.operator.wait_until(reached, what, SECONDS_TO_REACH)

    def wait_until_granted(self, request: str) -> None:
        """Send a request until the policy node grants it.

        Its checks use the samples of the newest tick. In real time, a sample with a fault that has
        just been removed counts until the next one arrives.
        """
        ends_s = time.monotonic() + SECONDS_TO_REACH
        while True:
            is_granted, answer = self.operator.request(request)
            if is_granted:
                return
            assert time.monotonic() < ends_s, answer
            status = self.operator.status
            self.wait_until(lambda refused=status: self.operator.status is not refused, "a status")

    def edges_since(self, start_ns: int) -> list[tuple[str, int]]:
        """Return each change of mode in the commands stamped after `start_ns`, with its stamp."""
        seen = [(MODES[command.mode], nanoseconds(command.stamp)) for command in [*self.commands]]
        pairs = itertools.pairwise(seen)
        return [now for before, now in pairs if now[0] != before[0] and now[1] > start_ns]

    def wait_for_commanded(self, mode: int) -> None:
        """Wait until a command of this mode has come here, where they may come late."""
        self.wait_until(lambda: self.commands[-1].mode == mode, f"{MODES[mode]} commanded")

    def wait_for_latched_damp(self) -> None:
        """Wait for DAMP by a fault, in the status and in the commands."""
        self.wait_until(
            lambda: self.operator.status.latched and self.operator.mode == "DAMP", "DAMP, latched"
        )
        self.wait_for_commanded(JointCommand.MODE_DAMP)

    def _on_command(self, message: JointCommand) -> None:
        self.commands.append(message)
        self.operator.notify()

    def _on_odometry(self, message: Odometry) -> None:
        self._odometry = message
        self.operator.notify()


def _look_away() -> None:
    """Watch nothing."""
