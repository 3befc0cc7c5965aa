# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Health of a running policy: slow ticks, unusual observations, telemetry, revocation, driver.

Subscribes: `<driver>/status` (policy_msgs/RobotStatus) of the node that receives the commands, if
it publishes one; simulators do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policy_msgs.msg import RobotStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from policy_core.bundle.store import RevocationWatch
from policy_core.control.controller import ControllerStatus
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_core.latency import LatencyWindow, TickSlowness
from policy_core.observation.distribution import DistributionWatch
from policy_inference.backends.base import BackendBase
from policy_inference.machine.machine import Machine
from policy_inference.machine.telemetry import Host, TelemetryReader, likely_causes
from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import Logger, full_name


class Health:
    """Checks latency, observation and telemetry once per report, and logs changes.

    Attributes:
        telemetry: Telemetry of machine and device, with the unit in the key.
        problems: Present problems, a sentence each.
        drifted: Observation terms that differ from training.
        revoked: Message that the version is revoked; empty if it is not.
    """

    def __init__(
        self,
        rate_hz: float,
        backend: BackendBase,
        latency: LatencyWindow,
        observed: DistributionWatch | None,
        revocation: RevocationWatch,
        logger: Logger,
    ) -> None:
        """Connect the sources.

        Args:
            rate_hz: Expected rate of the ticks.
            backend: Reads the telemetry of its device.
            latency: Durations of the ticks.
            observed: Watch of the observation, if there are statistics to compare with.
            revocation: Watch of the running version.
            logger: Logs the begin and end of problems.
        """
        self._latency, self._logger, self._observed = latency, logger, observed
        self._revocation, self.revoked = revocation, ""
        self._slowness = TickSlowness(1.0 / rate_hz)
        self._reader = TelemetryReader(
            {"machine": Host(Machine()).read, backend.name: backend.telemetry}
        )
        self.telemetry: Mapping[str, str] = {}
        self.start()

    def start(self) -> None:
        self._slowness.restart()
        if self._observed is not None:
            self._observed.restart()
        self._counted, self._late, self._mode = self._latency.count, -1, Mode.DAMP
        self._logged: set[str] = set()
        self._reader.forget()
        self.problems: list[str] = []
        self.drifted: list[str] = []

    def update(self, snapshot: ControllerStatus) -> None:
        """Check once, and log what has begun or ended since the last check."""
        self.telemetry, problems = self._reader.look()
        for text in problems:
            self._logger.warning(text)
        causes = likely_causes(self.telemetry)
        slow, late, odd = self._slow(snapshot), self._came_late(snapshot), self._odd(snapshot.mode)
        self.revoked = self._revocation.look()
        found = {
            "revoked": self.revoked,
            "slow": slow and f"{slow}: {causes}",
            "late": late and f"{late}: {causes}",
            "odd": odd,
        }
        found = {kind: text for kind, text in found.items() if text}
        for kind in [kind for kind in found if kind not in self._logged]:
            self._logger.warning(found[kind])
        if "slow" in self._logged and not slow:
            self._logger.info("ticks are no longer slow")
        self._logged, self.problems, self._mode = set(found), list(found.values()), snapshot.mode

    def close(self) -> None:
        self._reader.close()

    def _slow(self, snapshot: ControllerStatus) -> str:
        since, self._counted = self._counted, self._latency.count
        self._slowness.add(self._latency.since(since), snapshot.mode)
        return self._slowness.text

    def _came_late(self, snapshot: ControllerStatus) -> str:
        before, self._late = self._late, snapshot.counters[Rule.INFERENCE_LATE.value]
        return "inference came too late" if 0 <= before < self._late else ""

    def _odd(self, mode: Mode) -> str:
        """Return the observation terms that differ from training."""
        self.drifted = []
        if self._observed is None or mode not in (Mode.RUN, Mode.HOLD):
            return ""
        if self._mode not in (Mode.RUN, Mode.HOLD):
            # The inputs may still hold the last observation of an earlier run.
            self._observed.restart()
        elif mode is Mode.RUN:
            self._observed.look()
        self.drifted = list(self._observed.outside)
        return "; ".join(self._observed.problems)


_TYPE = "policy_msgs/msg/RobotStatus"
_STATES = {
    getattr(RobotStatus, name): name
    for name in ("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING")
}


class DriverWatch:
    """Searches for the driver until it is found, then monitors its status.

    Attributes:
        drives_c: Last reported temperatures of the drives, degrees Celsius.
    """

    def __init__(self, node: Node, command_topic: str, stopped: Callable[[str], None]) -> None:
        """Start without a subscription.

        Args:
            node: Subscribes.
            command_topic: Full name of the topic that the driver receives.
            stopped: Called with the driver's state and reason for each status in which it follows
                no commands, except for a driver that has never taken control.
        """
        self._node, self._command_topic, self._stopped = node, command_topic, stopped
        self._subscription: Any = None
        self._refused = self._has_control = False
        self.drives_c: Sequence[float] = ()

    def look(self) -> None:
        if self._subscription is not None or self._refused:
            return
        try:
            self._subscription = self._found()
        except Exception as error:  # noqa: BLE001  without the permission for it, as in SROS 2
            self._refused = True
            self._node.get_logger().warning(f"the driver's status is not received: {error}")

    def close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _found(self) -> Any:
        for receiver in self._node.get_subscriptions_info_by_topic(self._command_topic):
            topic = f"{full_name(receiver)}/status"
            if any(
                info.topic_type == _TYPE for info in self._node.get_publishers_info_by_topic(topic)
            ):
                return self._node.create_subscription(
                    RobotStatus,
                    topic,
                    self._hear,
                    qos.STATUS,
                    callback_group=MutuallyExclusiveCallbackGroup(),
                )
        return None

    def _hear(self, status: RobotStatus) -> None:
        self.drives_c = list(status.temperature_c)
        had_control, self._has_control = self._has_control, status.state != RobotStatus.LISTENING
        # With a driver that never took control, a policy may run without a robot, for inspection.
        if status.state != RobotStatus.FOLLOWING and (self._has_control or had_control):
            self._stopped(f"{_STATES.get(status.state, status.state)}, {status.reason}")
