# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The estimated base velocity, from joint and IMU messages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from policy_core.bundle.body import AnyContract
from policy_core.bundle.state_fields import require_orientation
from policy_core.errors import PolicyError, RobotError
from policy_core.estimation.velocity_estimator import VelocityEstimator
from policy_core.interfaces import F64
from policy_inference.messages.readers import JointOrder, stamp_ns

LONGEST_APART_S = 0.02
"""Largest age difference between the joints and the newest IMU message."""
LARGEST_STD_MPS = 0.3
"""A less certain estimate is not used."""


class VelocitySource:
    """An estimator for messages: of the IMU, then of the joints, for each sample.

    Attributes:
        estimator: The estimator.
    """

    def __init__(self, contract: AnyContract) -> None:
        """Begin before the first message.

        Raises:
            PolicyError: The policy uses no estimated velocity.
        """
        if contract.estimation is None:
            raise PolicyError(
                f"{contract.name}: expected a term base_lin_vel with source: estimator, found none"
            )
        joints = contract.joints
        self.estimator = VelocityEstimator(contract.estimation, joints.names)
        self._order = JointOrder(joints.on_robot())
        self._pos, self._vel = np.zeros(len(joints.names)), np.zeros(len(joints.names))
        self._imu: tuple[F64, F64, F64] | None = None
        self._imu_ns = self._joints_ns = 0

    def take_imu(self, message: Any, now_ns: int) -> None:
        """Take a sensor_msgs/Imu.

        Raises:
            RobotError: The message has no orientation or no acceleration.
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
            raise RobotError("expected finite numbers, found NaN or infinite ones")
        quat = np.array(values[:4])
        self._imu = quat / np.linalg.norm(quat), np.array(values[4:7]), np.array(values[7:])
        self._imu_ns = now_ns

    def take_joints(self, message: Any, now_ns: int) -> F64:
        """Take a sensor_msgs/JointState, and return the velocity [3], m/s, body frame.

        Raises:
            RobotError: The joints do not match the contract, the IMU is too old, or the estimate is
                too uncertain.
        """
        self._order.take(message.name, np.asarray(message.position, float), self._pos)
        self._order.take(message.name, np.asarray(message.velocity, float), self._vel)
        if not (np.isfinite(self._pos).all() and np.isfinite(self._vel).all()):
            raise RobotError("expected finite numbers, found NaN or infinite ones")
        if self._imu is None or now_ns - self._imu_ns > LONGEST_APART_S * 1e9:
            raise RobotError("expected an IMU's message as new as the joints', found none")
        at_ns = stamp_ns(message) or now_ns
        step_s, self._joints_ns = (at_ns - self._joints_ns) / 1e9, at_ns
        self.estimator.update(step_s, self._pos, self._vel, *self._imu)
        std = math.sqrt(self.estimator.variance)
        if std > LARGEST_STD_MPS:
            raise RobotError(
                f"expected a velocity that is known to {LARGEST_STD_MPS:g} m/s, found a standard "
                f"deviation of {std:.2g} m/s; no foot stands"
            )
        return self.estimator.lin_vel_body
