# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the policies of a bundle perceive of the ground, from an elevation map.

    perception_node --ros-args -p bundle:=go2_stairs -r elevation_map:=/elevation_map_raw

Subscribes (best effort, depth 1): with `source` grid_map `elevation_map` (grid_map_msgs/GridMap)
and `odom` (nav_msgs/Odometry), the pose of the base in the frame of the map; with points or array
`sampled_points` (sensor_msgs/PointCloud2 or std_msgs/Float32MultiArray) of another program.
Publishes (reliable, depth 1): the topics of the contract's height scans (policy_msgs/Perceived),
once for each pose, at most twice in a period of the policy. A scan that cannot be made says why.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from policy_msgs.msg import Perceived
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32MultiArray

from policy_core.bundle.bundle import Bundle, policies_of
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import PolicyError, RobotError
from policy_core.interfaces import F64
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.parameters import ParameterTable, Spec, refuse_arguments
from policy_inference.nodes.process import serve_node
from policy_inference.nodes.settings import POLICY
from policy_inference.perception import FROZEN_AFTER_M, ScanSource, pose_of, scans_of

GRID_MAP, POINTS, ARRAY = "grid_map", "points", "array"
PARAMETERS = (
    *(spec for spec in POLICY if spec.name in ("bundle", "public_key")),
    Spec(
        name="source",
        type=str,
        default=GRID_MAP,
        choices=(GRID_MAP, POINTS, ARRAY),
        doc="grid_map: a grid_map_msgs/GridMap; points, array: what another program has sampled, "
        "as sensor_msgs/PointCloud2 or std_msgs/Float32MultiArray",
    ),
    Spec(
        name="frozen_after_m",
        type=float,
        default=FROZEN_AFTER_M,
        minimum=0.0,
        maximum=1000.0,
        doc="Way of the robot after which a map that is still the same is refused, m; 0: any way, "
        "for a map that is known beforehand",
    ),
)


class PerceptionNode(PeerGuard, Node):
    """Publishes the height scans of a bundle."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read the parameters, these before the process's, and the contracts; subscribe.

        Raises:
            PolicyError: The bundle cannot be used, or has no height scan.
        """
        super().__init__(
            "perception_node",
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=list(overrides),
        )
        self._table = ParameterTable(self, PARAMETERS, lambda: hasattr(self, "_scans"))
        values = self._table.read()
        bundle = load_bundle(values["bundle"], trusted_keys(values["public_key"]), kind=Bundle)
        contracts = [one.contract for one in policies_of(bundle)]
        self._scans = scans_of(contracts, values["frozen_after_m"])
        if not self._scans:
            raise PolicyError(
                f"bundle: expected a policy with a term height_scan, found none in "
                f"{values['bundle']}"
            )
        self._least_ns = min(contract.period_ns for contract in contracts) // 2
        self._seen_ns: int | None = None
        self._publishers_of = {
            scan.topic: self.create_publisher(Perceived, scan.topic, qos.COMMAND)
            for scan in self._scans
        }
        if values["source"] == GRID_MAP:
            from grid_map_msgs.msg import GridMap

            self.create_subscription(GridMap, "elevation_map", self._on_map, qos.SAMPLE)
            self.create_subscription(Odometry, "odom", self._on_pose, qos.SAMPLE)
        else:
            kind = PointCloud2 if values["source"] == POINTS else Float32MultiArray
            self.create_subscription(kind, "sampled_points", self._on_points, qos.SAMPLE)

    @property
    def _now_ns(self) -> int:
        now: int = self.get_clock().now().nanoseconds
        return now

    def _on_map(self, message: Any) -> None:
        for scan in self._scans:
            scan.take_map(message, self._now_ns)

    def _on_pose(self, message: Odometry) -> None:
        try:
            pose = pose_of(message)
        except RobotError as error:
            self.get_logger().warning(f"odom: {error}", throttle_duration_sec=1.0)
            return
        before_ns, now_ns = self._seen_ns, self._now_ns
        if not pose.stamp_ns:
            pose = replace(pose, stamp_ns=now_ns)
        if before_ns is not None and 0 <= pose.stamp_ns - before_ns < self._least_ns:
            return
        self._seen_ns = pose.stamp_ns
        for scan in self._scans:
            self._publish(scan, message.header, partial(scan.see, pose, now_ns))

    def _on_points(self, message: Any) -> None:
        header = getattr(message, "header", None)
        for scan in self._scans:
            self._publish(scan, header, partial(scan.take_points, message))

    def _publish(self, scan: ScanSource, header: Any, see: Callable[[], F64]) -> None:
        message = Perceived()
        if header is not None:
            message.header = header
        message.map_stamp = Time(
            sec=scan.map_stamp_ns // 1_000_000_000, nanosec=scan.map_stamp_ns % 1_000_000_000
        )
        try:
            message.data = array("d", see().tobytes())
            message.invalid = scan.scanner.invalid
        except RobotError as error:
            message.problem = str(error)
            self.get_logger().warning(f"{scan.topic}: {error}", throttle_duration_sec=1.0)
        self._publishers_of[scan.topic].publish(message)

    @property
    def problem(self) -> str:
        """Nothing: a scan that cannot be made says why itself."""
        return ""

    def close(self) -> None:
        """Do nothing: no thread and no file is its own."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `perception_node`."""
    refuse_arguments("perception_node", __doc__, PARAMETERS, args)
    sys.exit(serve_node("perception_node", PerceptionNode, args))


if __name__ == "__main__":
    main()
