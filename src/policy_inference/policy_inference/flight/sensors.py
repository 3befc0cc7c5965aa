# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert sensor values to robot messages, for runs without ROS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from policy_core.bundle import state_fields
from policy_core.interfaces import F64
from policy_inference.flight.description import Topic

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

JOINT_STATES, IMU, ODOMETRY, TWIST = (
    Topic(topic.name, topic.types[0])
    for topic in (
        state_fields.JOINT_STATES,
        state_fields.IMU,
        state_fields.ODOMETRY,
        state_fields.VELOCITY_COMMAND,
    )
)
CONTACT_FORCES = Topic("contact_forces", "policy_msgs/msg/ContactForces")

_NS_PER_S = 1_000_000_000


class SensorMessages:
    """Creates CDR messages (bytes) from values in SI units and time stamps in ns."""

    def __init__(self, types: Typestore) -> None:
        self._types = types

    def joint_states(
        self, stamp_ns: int, names: Sequence[str], position: F64, velocity: F64, effort: F64
    ) -> bytes:
        """Return a JointState with positions (rad), velocities (rad/s) and efforts (N·m)."""
        return self._bytes(
            JOINT_STATES,
            header=self._header(stamp_ns, ""),
            name=list(names),
            position=position,
            velocity=velocity,
            effort=effort,
        )

    def imu(self, stamp_ns: int, quat_xyzw: F64, ang_vel_body: F64, lin_acc_body: F64) -> bytes:
        """Return an Imu.

        Args:
            stamp_ns: Time of the sample.
            quat_xyzw: Rotation from body to world.
            ang_vel_body: Angular velocity, rad/s, in the body frame.
            lin_acc_body: Accelerometer reading, m/s^2, in the body frame: +9.81 on z at rest.
        """
        unknown = np.zeros(9)
        return self._bytes(
            IMU,
            header=self._header(stamp_ns, "imu_link"),
            orientation=self._make("geometry_msgs/msg/Quaternion", **_named("xyzw", quat_xyzw)),
            orientation_covariance=unknown,
            angular_velocity=self._vector(ang_vel_body),
            angular_velocity_covariance=unknown,
            linear_acceleration=self._vector(lin_acc_body),
            linear_acceleration_covariance=unknown,
        )

    def odometry(
        self, stamp_ns: int, pos_world: F64, quat_xyzw: F64, lin_vel_body: F64, ang_vel_body: F64
    ) -> bytes:
        """Return an Odometry: pose in `odom` (m), velocities in `base_link` (m/s, rad/s)."""
        pose = self._make(
            "geometry_msgs/msg/Pose",
            position=self._make("geometry_msgs/msg/Point", **_named("xyz", pos_world)),
            orientation=self._make("geometry_msgs/msg/Quaternion", **_named("xyzw", quat_xyzw)),
        )
        twist = self._twist(lin_vel_body, ang_vel_body)
        unknown = np.zeros(36)
        return self._bytes(
            ODOMETRY,
            header=self._header(stamp_ns, "odom"),
            child_frame_id="base_link",
            pose=self._make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=unknown),
            twist=self._make(
                "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=unknown
            ),
        )

    def twist(self, velocity: Sequence[float]) -> bytes:
        """Return a Twist of vx, vy (m/s) and yaw rate (rad/s)."""
        vx, vy, yaw_rate = velocity
        message = self._twist(np.array([vx, vy, 0.0]), np.array([0.0, 0.0, yaw_rate]))
        return bytes(self._types.serialize_cdr(message, TWIST.type))

    def contact_forces(self, stamp_ns: int, names: Sequence[str], forces_world: F64) -> bytes:
        """Return a ContactForces message; forces [contacts, 3] are in N, in the world frame."""
        forces = [self._vector(force) for force in forces_world]
        return self._bytes(
            CONTACT_FORCES, header=self._header(stamp_ns, "world"), names=list(names), forces=forces
        )

    def _twist(self, linear: F64, angular: F64) -> Any:
        return self._make(
            "geometry_msgs/msg/Twist", linear=self._vector(linear), angular=self._vector(angular)
        )

    def _vector(self, values: F64) -> Any:
        return self._make("geometry_msgs/msg/Vector3", **_named("xyz", values))

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        sec, nanosec = divmod(stamp_ns, _NS_PER_S)
        stamp = self._make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _make(self, name: str, /, **fields: Any) -> Any:
        return self._types.types[name](**fields)

    def _bytes(self, topic: Topic, /, **fields: Any) -> bytes:
        return bytes(self._types.serialize_cdr(self._make(topic.type, **fields), topic.type))


def _named(axes: str, values: F64) -> dict[str, float]:
    return dict(zip(axes, values.tolist(), strict=True))
