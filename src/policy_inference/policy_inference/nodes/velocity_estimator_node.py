# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the base velocity for a policy whose contract takes it from the estimator.

    velocity_estimator_node --ros-args -p bundle:=my_policy

Subscribes (best effort, depth 1): `joint_states` (sensor_msgs/JointState) and `imu/data`
(sensor_msgs/Imu, with orientation and acceleration), at 200 Hz or faster. Publishes (reliable,
depth 1): `odom` (nav_msgs/Odometry) for each joint message: the velocity in the base_link frame
with its variance, and, as the pose's z, the height of the base above its feet; the rest of the pose
is unknown. While the estimate is too uncertain, the node publishes nothing, and the policy node
treats the odometry as too old.
"""
# run: ready: ready

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, JointState

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.bundle.state_fields import require_orientation
from policy_core.errors import PolicyError, RobotError
from policy_core.estimation.velocity_estimator import SUPPORTED, VelocityEstimator
from policy_core.interfaces import F64
from policy_core.plan import plan_bytes
from policy_inference.kinds.opening import NATIVE
from policy_inference.messages.readers import JointOrder, stamp_ns
from policy_inference.nodes import qos
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.process import ServedNode, serve_node
from policy_inference.nodes.settings import LOOP, POLICY

LONGEST_APART_S = 0.02
"""Maximum time between a joint message and the newest IMU message."""
LARGEST_STD_MPS = 0.3
"""Maximum standard deviation of a usable estimate, m/s."""
LARGEST_MPS, LARGEST_ACCELERATION_MPS2 = 10.0, 400.0
"""No legged robot is faster, and no legged robot's IMU measures more; 24 g per axis is usual."""
_log = logging.getLogger("policy_inference")


class VelocitySource:
    """An estimator fed with messages: for each sample, the IMU message, then the joint message.

    Attributes:
        estimator: The estimator; in C++ or in Python, with bit-identical results.
    """

    def __init__(self, contract: AnyContract, loop: str) -> None:
        """Start with no messages.

        Args:
            contract: The policy's contract.
            loop: Value of `realtime.loop`; "native" selects the C++ estimator, if it is built.

        Raises:
            PolicyError: The policy uses no estimated velocity.
        """
        if contract.estimation is None:
            raise PolicyError(
                f"{contract.name}: expected a base_lin_vel term with source: estimator, found none"
            )
        joints = contract.joints
        self.estimator: Any = VelocityEstimator(contract.estimation, joints.names)
        if loop == NATIVE:
            try:
                from policy_core_native import VelocityEstimator as NativeEstimator
            except ImportError as error:
                _log.warning("estimates in Python: %s", error)
            else:
                plan = {"estimation": self.estimator.plan()}
                self.estimator = NativeEstimator(plan_bytes(plan, bytes(32)))
        self._order = JointOrder(joints.on_robot())
        self._pos, self._vel = np.zeros(len(joints.names)), np.zeros(len(joints.names))
        self._imu: tuple[F64, F64, F64] | None = None
        self._imu_ns = self._joints_ns = 0

    def take_imu(self, message: Any, now_ns: int) -> None:
        """Store a sensor_msgs/Imu for the next joint message.

        Raises:
            RobotError: The message has no orientation, no acceleration, or impossible values.
        """
        self._imu = None
        require_orientation(message)
        q, w, a = message.orientation, message.angular_velocity, message.linear_acceleration
        values = (q.x, q.y, q.z, q.w, w.x, w.y, w.z, a.x, a.y, a.z)
        if message.linear_acceleration_covariance[0] == -1.0:
            raise RobotError(
                "expected an acceleration, found none (its covariance begins with -1); the "
                "estimator needs an IMU with an accelerometer"
            )
        if not all(map(math.isfinite, values)):
            raise RobotError("expected finite numbers, found NaN or infinity")
        if (length := math.hypot(a.x, a.y, a.z)) > LARGEST_ACCELERATION_MPS2:
            raise RobotError(
                f"expected an acceleration of at most {LARGEST_ACCELERATION_MPS2:g} m/s^2, found "
                f"{length:.4g}"
            )
        quat = np.array(values[:4])
        self._imu = quat / np.linalg.norm(quat), np.array(values[4:7]), np.array(values[7:])
        self._imu_ns = now_ns

    def take_joints(self, message: Any, now_ns: int) -> F64:
        """Update with a sensor_msgs/JointState; return the velocity [3], m/s, in the body frame.

        Raises:
            RobotError: The joints do not match the contract, the stamp is that of the last message,
                the IMU is too old, or the estimate is too uncertain or impossible.
        """
        self._order.take(message.name, np.asarray(message.position, float), self._pos)
        self._order.take(message.name, np.asarray(message.velocity, float), self._vel)
        if not (np.isfinite(self._pos).all() and np.isfinite(self._vel).all()):
            raise RobotError("expected finite numbers, found NaN or infinity")
        if self._imu is None or now_ns - self._imu_ns > LONGEST_APART_S * 1e9:
            raise RobotError("expected an IMU message as recent as the joint message, found none")
        at_ns = stamp_ns(message) or now_ns
        step_s, self._joints_ns = (at_ns - self._joints_ns) / 1e9, at_ns
        if step_s == 0.0:
            raise RobotError("expected a later stamp than that of the last message, found the same")
        self.estimator.update(step_s, self._pos, self._vel, *self._imu)
        std = math.sqrt(self.estimator.variance)
        if not std <= LARGEST_STD_MPS:  # also if NaN, after values that overflow
            raise RobotError(
                f"expected a velocity known to within {LARGEST_STD_MPS:g} m/s, found a standard "
                f"deviation of {std:.2g} m/s; no foot is on the ground"
            )
        support = self.estimator.support
        if not support >= SUPPORTED:
            raise RobotError(
                f"expected feet at rest on the ground (on average {SUPPORTED:g} or more), found "
                f"{support:.3g}; the estimator starts again until it finds them"
            )
        velocity: F64 = self.estimator.lin_vel_body
        if not (speed := math.hypot(*velocity.tolist())) <= LARGEST_MPS:
            raise RobotError(
                f"expected a velocity of at most {LARGEST_MPS:g} m/s, found {speed:.4g}"
            )
        return velocity


PARAMETERS = (
    *(spec for spec in POLICY if spec.name in ("bundle", "public_key")),
    replace(LOOP, doc="Language of the estimator: C++ (if built) or Python"),
)
_UNKNOWN = 1e6
"""Variance for values that are not estimated."""


class VelocityEstimatorNode(ServedNode):
    """Publishes the estimated base velocity."""

    def __init__(self, overrides: Sequence[Parameter] = ()) -> None:
        """Read parameters (overrides take precedence) and the contract; subscribe.

        Raises:
            PolicyError: The bundle cannot be used, or its policy uses no estimated velocity.
        """
        super().__init__("velocity_estimator_node", PARAMETERS, overrides)
        keys = trusted_keys(self.values["public_key"])
        bundle = load_bundle(self.values["bundle"], keys, kind=Bundle)
        contracts = [one.contract for one in list_policies(bundle)]
        self._source = VelocitySource(
            next((each for each in contracts if each.estimation), contracts[0]),
            self.values[LOOP.name],
        )
        self._odometry = self.create_publisher(Odometry, "odom", qos.COMMAND)
        self.create_subscription(Imu, "imu/data", self._on_imu, qos.SAMPLE)
        self.create_subscription(JointState, "joint_states", self._on_joints, qos.SAMPLE)
        self.get_logger().info(
            "ready; odom is published after each joint_states message once imu/data arrives"
        )

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


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the `velocity_estimator_node` command."""
    refuse_arguments("velocity_estimator_node", __doc__, PARAMETERS, args)
    sys.exit(serve_node("velocity_estimator_node", VelocityEstimatorNode, args))


if __name__ == "__main__":
    main()
