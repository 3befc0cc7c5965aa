# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One robot's metrics, served to Prometheus over HTTP.

    robot_metrics --ros-args -r __ns:=/lite3_1 -p port:=9464

The node runs in its own process, so that no scrape shares the GIL with the thread that commands the
robot. Subscribes, within its namespace: `~/status` of each policy node (policy_msgs/PolicyStatus)
and driver (policy_msgs/RobotStatus), `/diagnostics`, `battery_state` (sensor_msgs/BatteryState). A
node that starts later is discovered within a second.
"""
# run: ready: metrics

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from policy_msgs.msg import PolicyStatus, RobotStatus
from prometheus_client.core import Metric
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState

from policy_core.errors import RobotError
from policy_core.interfaces import Mode
from policy_inference.messages.statuses import require_usable
from policy_inference.metrics_server import Families, MetricsServer
from policy_inference.nodes import qos
from policy_inference.nodes.parameters import Spec, refuse_arguments
from policy_inference.nodes.process import ServedNode, serve_node
from policy_inference.status_fields import (
    BATTERY,
    DIAGNOSED,
    DRIVER,
    EXPORTED,
    POLICY,
    UP,
    MetricKind,
    StatusField,
    StatusGroup,
)


class RobotMetrics:
    """Keeps each node's newest status; for a silent node, only `up` and the age are shown.

    Messages arrive on one thread; `collect` is called on another.
    """

    def __init__(
        self, robot: str, stale_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with no nodes.

        Args:
            robot: Label for all samples.
            stale_after_s: Age of a node's newest status beyond which the node counts as down.
            clock: Steady clock, s.
        """
        self._robot, self._stale_after_s, self._clock = robot, stale_after_s, clock
        self._lock = threading.Lock()
        self._policies, self._drivers = dict[str, _Reports](), dict[str, _Reports]()
        self._battery = _Reports()

    def expect(self, node: str, message_type: type[Any]) -> None:
        """Show a node from now on, even before its first report.

        Args:
            node: Full name of the node.
            message_type: Type of the node's `~/status`: PolicyStatus or RobotStatus.
        """
        with self._lock:
            nodes = self._policies if message_type is PolicyStatus else self._drivers
            nodes.setdefault(node, _Reports())

    def take_status(self, node: str, message: PolicyStatus | RobotStatus) -> None:
        with self._lock:
            nodes = self._policies if isinstance(message, PolicyStatus) else self._drivers
            nodes[node].take(message, self._clock(), self._stale_after_s)

    def take_diagnostics(self, message: DiagnosticArray) -> None:
        """Process the diagnostics of the expected policy nodes."""
        with self._lock:
            for status in message.status:
                node, _, part = status.name.partition(": ")
                if part == "policy" and node in self._policies:
                    values = {entry.key: entry.value for entry in status.values}
                    level = float(ord(status.level))
                    self._policies[node].diagnosis = SimpleNamespace(**{**values, "level": level})

    def take_battery(self, message: BatteryState) -> None:
        with self._lock:
            self._battery.take(message, self._clock(), self._stale_after_s)

    def collect(self) -> Iterable[Metric]:
        made, now_s = Families(robot=self._robot), self._clock()
        with self._lock:
            text = "Policy nodes seen since the exporter started"
            made.gauge("policy_nodes", text, len(self._policies))
            for node, reports in self._policies.items():
                if self._is_up(made, node, reports, now_s):
                    _show(made, POLICY, reports.newest, node=node)
                    _show(made, EXPORTED, reports, node=node)
                    made.telemetry(
                        {entry.key: entry.value for entry in reports.newest.telemetry}, node=node
                    )
                    if reports.diagnosis is not None:
                        _show(made, DIAGNOSED, reports.diagnosis, node=node)
            for node, reports in self._drivers.items():
                if self._is_up(made, node, reports, now_s):
                    _show(made, DRIVER, reports.newest, node=node)
            if self._battery.age_s(now_s) <= 30.0 * self._stale_after_s:
                _show(made, BATTERY, self._battery.newest)
        return made

    def _is_up(self, made: Families, node: str, reports: _Reports, now_s: float) -> bool:
        age_s = reports.age_s(now_s)
        up = age_s <= self._stale_after_s
        _show(made, UP, SimpleNamespace(up=up, age_s=age_s), node=node)
        return up


class _Reports:
    """A node's newest message, and the values derived from its sequence of messages."""

    def __init__(self) -> None:
        self.newest: Any = None
        self.diagnosis: SimpleNamespace | None = None
        self.modes = [mode.name for mode in Mode]
        self.mode_s = [0.0] * len(Mode)
        self.version_since_s = 0.0
        self._received_s = float("-inf")

    def age_s(self, now_s: float) -> float:
        return now_s - self._received_s

    def take(self, message: Any, now_s: float, stale_after_s: float) -> None:
        before, age_s = self.newest, self.age_s(now_s)
        if isinstance(message, PolicyStatus):
            if before is not None and age_s <= stale_after_s and before.mode < len(Mode):
                self.mode_s[before.mode] += age_s
            if before is None or before.bundle_sha256 != message.bundle_sha256:
                self.version_since_s, self.mode_s = time.time(), [0.0] * len(Mode)
        self.newest, self._received_s = message, now_s


def _show(made: Families, group: StatusGroup, message: Any, **labels: str) -> None:
    words = dict[str, str]()
    for each in group.fields:
        value = getattr(message, each.name, None)
        if each.part is not None:
            for entry in value or ():
                _show(made, each.part, entry, **labels)
        elif each.kind is MetricKind.LABEL:
            words[each.metric] = str(value)
        elif each.kind is not MetricKind.NONE:
            _show_field(made, each, message, value, labels)
    if group.info is not None:
        made.info(*group.info, words, **labels)


def _show_field(
    made: Families, each: StatusField, message: Any, value: Any, labels: Mapping[str, str]
) -> None:
    make = made.counter if each.kind.is_counter else made.gauge
    fixed = {**labels, **each.labels}
    if each.kind is MetricKind.STATE:
        own = {label: getattr(message, name) for label, name in each.labels_from.items()}
        for number, state in enumerate(each.states or message.states):
            made.gauge(
                each.metric,
                each.doc,
                value in (number, state),
                **{**fixed, **own, each.name: state},
            )
        return
    if each.kind is MetricKind.COUNTS:
        entries = [
            (one.count, {label: getattr(one, name) for label, name in each.labels_from.items()})
            for one in value
        ]
    elif isinstance(value, float | int | str | None):
        own = {label: getattr(message, name) for label, name in each.labels_from.items()}
        entries = [(value, own)]
    else:
        ((label, name),) = each.labels_from.items()
        names = getattr(message, name)
        entries = [(found, {label: word}) for found, word in zip(value, names, strict=False)]
    for found, own in entries:
        if (sample := each.number(found)) is not None:
            make(each.metric, each.doc, sample, **fixed, **own)


PARAMETERS = (
    Spec(
        name="address",
        type=str,
        default="127.0.0.1",
        doc="Address to listen on; if it is not 127.0.0.1, every machine that reaches it can read "
        "the metrics",
    ),
    Spec(
        name="port",
        type=int,
        default=9464,
        minimum=0,
        maximum=65535,
        doc="Port to listen on; 0: any free port, which is logged",
    ),
    Spec(
        name="robot",
        type=str,
        default="",
        doc="Label `robot` of all metrics; empty: the namespace, or the machine's name",
    ),
    Spec(
        name="stale_after_s",
        type=float,
        default=2.0,
        minimum=0.1,
        maximum=60.0,
        doc="Age of a node's newest status above which the node counts as down [s]",
    ),
)
_STATUS_TYPES = {
    "policy_msgs/msg/PolicyStatus": PolicyStatus,
    "policy_msgs/msg/RobotStatus": RobotStatus,
}
_MOST_NODES = 16
"""Maximum number of nodes; any others are only logged, since any program may publish a status."""
_LOOKED_EVERY_S = 1.0


class RobotMetricsNode(ServedNode):
    """Follows a robot's nodes, and serves their reports as metrics.

    Attributes:
        port: Port on which the node listens.
    """

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read the parameters (overrides take precedence), and listen."""
        super().__init__("robot_metrics", PARAMETERS, overrides)
        values = self.values
        robot = values["robot"] or self.get_namespace().strip("/") or socket.gethostname()
        self._metrics = RobotMetrics(robot, values["stale_after_s"])
        place = values["address"], values["port"]
        self._server = MetricsServer("parameters address and port", place, self._metrics)
        self.port = self._server.port
        self.get_logger().info(f"metrics of {robot}: http://{place[0]}:{self.port}/metrics")
        if self._server.is_beyond:
            self.get_logger().warning(
                "metrics: other machines can read them, without encryption and without a password"
            )
        self._followed = dict[str, Any]()
        take = self._metrics.take_diagnostics
        self.create_subscription(DiagnosticArray, "/diagnostics", take, qos.DIAGNOSTICS)
        take = self._metrics.take_battery
        self.create_subscription(BatteryState, "battery_state", take, qos.SAMPLE)
        # The node's own clock would stand still with a simulator.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_LOOKED_EVERY_S, self._look, clock=steady)
        self._look()

    def close(self) -> None:
        self._server.close()

    def _look(self) -> None:
        inside = f"{self.get_namespace().rstrip('/')}/"
        for topic, types in sorted(self.get_topic_names_and_types()):
            kind = _STATUS_TYPES.get(types[0]) if topic.startswith(inside) else None
            if kind is None or topic in self._followed or not self.count_publishers(topic):
                continue
            if len(self._followed) == _MOST_NODES:
                self.get_logger().warning(
                    f"{topic}: {_MOST_NODES} nodes are followed already; this node is ignored",
                    throttle_duration_sec=60.0,
                )
                return
            node = topic.removesuffix("/status")
            self._metrics.expect(node, kind)
            take = partial(self._take_status, node)
            self._followed[topic] = self.create_subscription(kind, topic, take, qos.STATUS)
            self.get_logger().info(f"{node}: its metrics are served")

    def _take_status(self, node: str, message: PolicyStatus | RobotStatus) -> None:
        try:
            require_usable(message)
        except RobotError as error:
            self.get_logger().error(f"{node}/status: {error}", throttle_duration_sec=60.0)
        else:
            self._metrics.take_status(node, message)


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("robot_metrics", __doc__, PARAMETERS, args)
    sys.exit(serve_node("robot_metrics", RobotMetricsNode, args))


if __name__ == "__main__":
    main()
