# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The velocity of the base for a policy whose contract takes it from the estimator.

    velocity_estimator_node --ros-args -p bundle:=my_policy

Subscribes (best effort, depth 1): `joint_states` (sensor_msgs/JointState) and `imu/data`
(sensor_msgs/Imu, with orientation and acceleration), at 200 Hz or faster.
Publishes (reliable, depth 1): `odom` (nav_msgs/Odometry) for each message of the joints: the
velocity in the frame base_link with its variance, and as z of the pose the height of the base above
its feet; the rest of the pose is unknown. While the estimate is too uncertain it publishes nothing,
and the policy's node treats the odometry as too old.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, JointState

from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.errors import RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.lifecycle import PeerGuard
from policy_inference.nodes.parameters import ParameterTable, refuse_arguments
from policy_inference.nodes.process import serve_node
from policy_inference.nodes.settings import POLICY
from policy_inference.velocity_source import VelocitySource

PARAMETERS = tuple(spec for spec in POLICY if spec.name in ("bundle", "public_key"))
_UNKNOWN = 1e6
"""Variance of values that are not estimated."""


class VelocityEstimatorNode(PeerGuard, Node):
    """Publishes the estimated velocity of the base."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read the parameters (these before the process's) and the contract; subscribe.

        Raises:
            PolicyError: The bundle cannot be used, or its policy uses no estimated velocity.
        """
        super().__init__(
            "velocity_estimator_node",
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=list(overrides),
        )
        self._table = ParameterTable(self, PARAMETERS, lambda: hasattr(self, "_odometry"))
        values = self._table.read()
        bundle = load_bundle(values["bundle"], trusted_keys(values["public_key"]), kind=Bundle)
        contracts = [one.contract for one in list_policies(bundle)]
        self._source = VelocitySource(
            next((each for each in contracts if each.estimation), contracts[0])
        )
        self._odometry = self.create_publisher(Odometry, "odom", qos.COMMAND)
        self.create_subscription(Imu, "imu/data", self._on_imu, qos.SAMPLE)
        self.create_subscription(JointState, "joint_states", self._on_joints, qos.SAMPLE)

    def _on_imu(self, message: Imu) -> None:
        try:
            self._source.take_imu(message, self._now_ns)
        except RobotError as error:
            self._warn("imu/data", error)

    def _on_joints(self, message: JointState) -> None:
        try:
            velocity = self._source.take_joints(message, self._now_ns)
        except RobotError as error:
            self._warn("joint_states", error)
            return
        known, found = self._source.estimator, Odometry(header=message.header)
        found.header.frame_id, found.child_frame_id = "odom", "base_link"
        linear: Any = found.twist.twist.linear
        linear.x, linear.y, linear.z = velocity.tolist()
        found.pose.pose.position.z = float(known.height_m)
        for axis in range(6):
            is_known = axis < 3
            found.twist.covariance[7 * axis] = known.variance if is_known else _UNKNOWN
            found.pose.covariance[7 * axis] = _UNKNOWN
        self._odometry.publish(found)

    @property
    def _now_ns(self) -> int:
        now: int = self.get_clock().now().nanoseconds
        return now

    def _warn(self, topic: str, error: Exception) -> None:
        self.get_logger().warning(f"{topic}: {error}", throttle_duration_sec=1.0)

    @property
    def problem(self) -> str:
        """Empty: failures to estimate are logged."""
        return ""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `velocity_estimator_node`."""
    refuse_arguments("velocity_estimator_node", __doc__, PARAMETERS, args)
    sys.exit(serve_node("velocity_estimator_node", VelocityEstimatorNode, args))


if __name__ == "__main__":
    main()
