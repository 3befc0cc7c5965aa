# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of one robot for Prometheus, over HTTP.

    robot_metrics --ros-args -r __ns:=/lite3_1 -p port:=9464

It is a process of its own, so that no scrape shares the GIL with the thread that commands the
robot. Subscribes, within its namespace: `~/status` of each policy node (policy_msgs/PolicyStatus)
and driver (policy_msgs/RobotStatus), `/diagnostics`, `battery_state` (sensor_msgs/BatteryState). A
node that starts later is found within a second.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from policy_msgs.msg import PolicyStatus, RobotStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState

from policy_inference.metrics_server import MetricsServer
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.parameters import ParameterTable, Spec, refuse_arguments
from policy_inference.nodes.process import serve_node
from policy_inference.nodes.status_metrics import RobotMetrics

PARAMETERS = (
    Spec(
        name="address",
        type=str,
        default="127.0.0.1",
        doc="Address to listen at; beyond 127.0.0.1 every machine that reaches it may read",
    ),
    Spec(
        name="port",
        type=int,
        default=9464,
        minimum=0,
        maximum=65535,
        doc="Port to listen at; 0: a free one, which the log names",
    ),
    Spec(
        name="robot",
        type=str,
        default="",
        doc="Label `robot` of all metrics; empty: the namespace, or the name of the machine",
    ),
    Spec(
        name="stale_after_s",
        type=float,
        default=2.0,
        minimum=0.1,
        maximum=60.0,
        doc="A node whose newest status is older is not up [s]",
    ),
)
_STATUS_TYPES = {
    "policy_msgs/msg/PolicyStatus": PolicyStatus,
    "policy_msgs/msg/RobotStatus": RobotStatus,
}
_MOST_NODES = 16
"""Any program may publish a status; further nodes are logged and left out."""
_LOOKED_EVERY_S = 1.0


class RobotMetricsNode(PeerGuard, Node):
    """Follows the nodes of a robot, and serves their reports as metrics.

    Attributes:
        port: Port that it listens on.
        problem: Always empty.
    """

    problem = ""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read the parameters (these before the process's), and listen."""
        super().__init__(
            "robot_metrics",
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=list(overrides),
        )
        table = ParameterTable(self, PARAMETERS, lambda: hasattr(self, "_metrics"))
        values = table.read()
        robot = values["robot"] or self.get_namespace().strip("/") or socket.gethostname()
        self._metrics = RobotMetrics(robot, values["stale_after_s"])
        place = values["address"], values["port"]
        self._server = MetricsServer("parameters address and port", place, self._metrics)
        self.port = self._server.port
        self.get_logger().info(f"metrics of {robot}: http://{place[0]}:{self.port}/metrics")
        if self._server.is_beyond:
            self.get_logger().warning(
                "metrics: other machines may read them: no encryption, no password"
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
                    f"{topic}: {_MOST_NODES} nodes are followed already; this one is left out",
                    throttle_duration_sec=60.0,
                )
                return
            node = topic.removesuffix("/status")
            self._metrics.expect(node, kind)
            take = partial(self._metrics.take_status, node)
            self._followed[topic] = self.create_subscription(kind, topic, take, qos.STATUS)
            self.get_logger().info(f"{node}: its metrics are served")


def main(args: Sequence[str] | None = None) -> None:
    refuse_arguments("robot_metrics", __doc__, PARAMETERS, args)
    sys.exit(serve_node("robot_metrics", RobotMetricsNode, args))


if __name__ == "__main__":
    main()
