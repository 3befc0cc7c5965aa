# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a driver's reports on ~/status and /diagnostics, and log changes."""

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from policy_msgs.msg import RobotStatus
from rclpy.node import Node
from std_msgs.msg import Header

from policy_inference.nodes import qos
from robot_driver.interfaces import DriverPhase, DriverReport
from robot_driver.nodes.commands import CommandTopic


class StatusTopics:
    """Publishes the newest report on ~/status and /diagnostics."""

    def __init__(
        self,
        node: Node,
        *,
        kind: str,
        joint_names: Sequence[str],
        other_obstacles: Callable[[], Sequence[str]],
        commands: CommandTopic,
    ) -> None:
        """Create the publishers.

        Args:
            node: Node that owns the publishers.
            kind: Kind of robot, for `hardware_id` of /diagnostics.
            joint_names: Joint names in wire order.
            other_obstacles: Returns the reasons to refuse control that only the ROS side knows.
            commands: Command topic, which counts commands that did not fit the joints, or came from
                another node.
        """
        self._kind, self._joint_names = kind, list(joint_names)
        self._node, self._other_obstacles, self._commands = node, other_obstacles, commands
        self._publishing = threading.Lock()
        self._report: DriverReport | None = None
        self._logged: tuple[DriverPhase, str] | None = None
        self._lost = ""
        self._status = node.create_publisher(RobotStatus, "~/status", qos.STATUS)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)

    @property
    def phase(self) -> DriverPhase:
        return DriverPhase.LISTENING if self._report is None else self._report.phase

    def start(self) -> None:
        self._report, self._logged, self._lost = None, None, ""

    def update(self, report: DriverReport) -> None:
        """Store the newest report; log changes, and publish it at once if the phase changed."""
        changed = self._report is None or report.phase is not self._report.phase
        if self._report is None:
            for refused in report.refused:
                self._node.get_logger().warning(refused)
        self._report = report
        self._log(report)
        if changed:
            self.publish()

    def lose(self, reason: str) -> None:
        """Report that the link process was lost, with the reason."""
        self._lost = reason
        self._node.get_logger().error(reason)
        before = self._report or DriverReport(
            phase=DriverPhase.LISTENING, reason=reason, obstacles=()
        )
        self._report = replace(
            before,
            phase=DriverPhase.LISTENING,
            reason=reason,
            obstacles=(reason,),
            state_rate_hz=0.0,
            command_rate_hz=0.0,
        )
        self.publish()

    def publish(self) -> None:
        """Publish the newest report; callable from any thread."""
        report = self._report
        if report is None:
            return
        status = self._compose(report)
        with self._publishing:
            self._status.publish(status)
            self._diagnostics.publish(self._diagnose(status))

    def close(self) -> None:
        self._node.destroy_publisher(self._status)
        self._node.destroy_publisher(self._diagnostics)

    def _log(self, report: DriverReport) -> None:
        """Log changes in the phase, and in the reason why the drives damp."""
        shown = report.phase, report.reason if report.phase is DriverPhase.DAMPING else ""
        if shown == self._logged:
            return
        self._logged = shown
        # rclpy does not allow two severities at one call site
        text = f"{report.phase.name}: {report.reason}"
        if report.phase is DriverPhase.DAMPING:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)

    def _compose(self, report: DriverReport) -> RobotStatus:
        commands = self._commands
        counts = {"command_unfit": commands.unfit, "command_ignored": commands.ignored}
        details = {**report.details, **counts}
        return RobotStatus(
            stamp=self._node.get_clock().now().to_msg(),
            state=int(report.phase),
            reason="; ".join(filter(None, [report.reason, commands.ignored_problem()])),
            obstacles=[*report.obstacles, *self._other_obstacles()],
            state_rate_hz=report.state_rate_hz,
            command_rate_hz=report.command_rate_hz,
            largest_gap_s=report.largest_gap_s,
            latency_p50_s=report.latency_p50_s,
            latency_p99_s=report.latency_p99_s,
            joint_names=self._joint_names if report.temperature_c else [],
            temperature_c=list(report.temperature_c),
            details=[KeyValue(key=key, value=_text(value)) for key, value in details.items()],
        )

    def _diagnose(self, status: RobotStatus) -> DiagnosticArray:
        level, text = DiagnosticStatus.OK, status.reason
        if status.state == DriverPhase.LISTENING and status.obstacles:
            level, text = DiagnosticStatus.WARN, "; ".join([status.reason, *status.obstacles])
        elif (
            status.state == DriverPhase.DAMPING
            or self._commands.ignored_problem()
            or any(entry.key == "warning" for entry in status.details)
        ):
            level = DiagnosticStatus.WARN
        if self._lost:
            level, text = DiagnosticStatus.ERROR, self._lost
        values = {
            "state": DriverPhase(status.state).name,
            "state_rate_hz": f"{status.state_rate_hz:.1f}",
            "command_rate_hz": f"{status.command_rate_hz:.1f}",
            "largest_gap_s": f"{status.largest_gap_s:.6f}",
            "latency_p99_s": f"{status.latency_p99_s:.6f}",
            "hottest_c": f"{_hottest(status.temperature_c):.1f}",
        }
        return DiagnosticArray(
            header=Header(stamp=status.stamp),
            status=[
                DiagnosticStatus(
                    level=level,
                    name=f"{self._node.get_fully_qualified_name()}: robot",
                    message=text,
                    hardware_id=self._kind,
                    values=[
                        *(KeyValue(key=key, value=value) for key, value in values.items()),
                        *status.details,
                    ],
                )
            ],
        )


def _hottest(temperature_c: Iterable[float]) -> float:
    """Return the highest temperature; NaN if none is known."""
    return max(filter(math.isfinite, temperature_c), default=math.nan)


def _text(value: str | int | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
