# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Measured and commanded fields of the robot state, one row each.

Observation terms, message readers, subscriptions, recordings, rollouts and simulations all use
these rows, so adding a field means adding one row.

No ROS package is needed: a message can be any object with the attributes of the ROS type, whether
from rclpy, a decoder or a bag reader.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from policy_core.errors import RobotError
from policy_core.interfaces import F64

COMMAND = "cmd_vel"
"""Velocity command topic; a command that is too old fades out."""
TWIST, TWIST_STAMPED = "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped"
_XYZ = ("x", "y", "z")
# An unset quaternion is 0, 0, 0, 0; rounding changes the length by less than 1 %.
_NORM_RANGE = (0.9, 1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTopic:
    """A topic that carries robot state.

    Its newest message is valid for the contract's state time-out, counted from the header stamp if
    the type has one. A velocity command that is too old fades out instead.

    Attributes:
        name: Name relative to the robot's namespace; launch files remap it.
        types: Accepted ROS types, the usual one first.
    """

    name: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StateField:
    """A field of the robot state.

    Attributes:
        name: Name in `RobotState`, in rollouts (`.npz`) and in recordings.
        term: Observation term that holds the field's values unchanged; may be empty.
        doc: Short description.
        unit: Unit of the values; empty if dimensionless.
        frame: Coordinate frame of the values; empty if none applies.
        size: Number of values; `joints` if there is one per joint, in contract order.
        parts: Names of the values; a contract may select some.
        topic: Topic that carries the field.
        read: Returns the values [size] in a message, or one per joint in the message; None for a
            field that `RobotState.derive` computes from another field on the same topic.
        require: Raises RobotError if a message does not contain the field.
        aliases: Other names for the field in rollouts, with the index of each value.
        simulated: Returns the values [size] in `robot_sim.world.Sensors`; None if no simulated
            robot measures the field.
        at_rest: Values for a robot that stands still and upright; zeros if empty.
        drawn_std: Standard deviation of the values in random states.
    """

    name: str
    term: str = ""
    doc: str
    unit: str
    frame: str = ""
    size: Literal["joints"] | int
    parts: tuple[str, ...] = ()
    topic: StateTopic
    read: Callable[[Any], Sequence[float]] | None = None
    require: Callable[[Any], None] | None = None
    aliases: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    simulated: Callable[[Any], F64] | None = None
    at_rest: tuple[float, ...] = ()
    drawn_std: float = 1.0

    @property
    def recorded_as(self) -> dict[str, tuple[int, ...] | None]:
        """Index of each value in the recorded array, by the field's name in rollouts.

        None instead of indices if the field is per joint; empty if the field is not recorded.
        """
        if self.read is None:
            return {}
        order = None if self.size == "joints" else tuple(range(self.size))
        return {self.name: order, **self.aliases}


def read_velocity(message: Any) -> tuple[float, float, float]:
    """Return vx, vy (m/s) and yaw rate (rad/s) from a stamped or unstamped command."""
    twist = getattr(message, "twist", message)
    return (twist.linear.x, twist.linear.y, twist.angular.z)


def require_orientation(message: Any) -> None:
    """Raise RobotError if a sensor_msgs/Imu has no orientation; the guard handles NaN."""
    q = message.orientation
    norm = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    is_known = message.orientation_covariance[0] != -1.0
    if not is_known or (not _NORM_RANGE[0] < norm < _NORM_RANGE[1] and math.isfinite(norm)):
        raise RobotError(
            f"expected an orientation, found none (the quaternion is {q.x:g}, {q.y:g}, {q.z:g}, "
            f"{q.w:g}); the IMU's driver must provide one"
        )


def require_pose(message: Any) -> None:
    """Raise RobotError unless a geometry_msgs/PoseStamped has a finite, valid pose."""
    p, q = message.pose.position, message.pose.orientation
    if not all(map(math.isfinite, (p.x, p.y, p.z, q.x, q.y, q.z, q.w))):
        raise RobotError("expected finite numbers, found NaN or infinity")
    norm = math.sqrt(q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w)
    if not _NORM_RANGE[0] < norm < _NORM_RANGE[1]:
        raise RobotError(
            f"expected an orientation of length 1, found {q.x:g}, {q.y:g}, {q.z:g}, {q.w:g}"
        )


def _at(part: str, names: Sequence[str]) -> Callable[[Any], Sequence[float]]:
    """Return a function that reads two or more named values from one part of a message."""
    return attrgetter(*(f"{part}.{name}" for name in names))


JOINT_STATES = StateTopic(name="joint_states", types=("sensor_msgs/msg/JointState",))
IMU = StateTopic(name="imu/data", types=("sensor_msgs/msg/Imu",))
ODOMETRY = StateTopic(name="odom", types=("nav_msgs/msg/Odometry",))
MOTION_JOINTS = StateTopic(name="motion/joints", types=("sensor_msgs/msg/JointState",))
MOTION_ANCHOR = StateTopic(name="motion/anchor", types=("geometry_msgs/msg/PoseStamped",))
LEADER = StateTopic(name="leader/joint_states", types=("sensor_msgs/msg/JointState",))
"""Leader arm for taking over from a chunk policy by hand; policies do not observe it."""
LEADER_POS = "leader_joint_pos"
"""State field with the leader arm's joint positions."""
MOTION_TOPICS = (MOTION_JOINTS.name, MOTION_ANCHOR.name)
"""Topics of a live reference motion; only a policy that tracks it needs them."""
VELOCITY_COMMAND = StateTopic(name=COMMAND, types=(TWIST, TWIST_STAMPED))

_ROWS = (
    StateField(
        name="joint_pos",
        term="joint_pos",
        doc="Joint positions",
        unit="rad",
        size="joints",
        topic=JOINT_STATES,
        read=attrgetter("position"),
        simulated=attrgetter("joint_pos"),
        drawn_std=0.1,
    ),
    StateField(
        name="joint_vel",
        term="joint_vel",
        doc="Joint velocities",
        unit="rad/s",
        size="joints",
        topic=JOINT_STATES,
        read=attrgetter("velocity"),
        simulated=attrgetter("joint_vel"),
        drawn_std=1.0,
    ),
    StateField(
        name="ang_vel_body",
        term="base_ang_vel",
        doc="Angular velocity",
        unit="rad/s",
        frame="body",
        size=3,
        parts=_XYZ,
        topic=IMU,
        read=_at("angular_velocity", _XYZ),
        simulated=attrgetter("ang_vel_body"),
        drawn_std=0.3,
    ),
    StateField(
        name="lin_vel_body",
        term="base_lin_vel",
        doc="Linear velocity",
        unit="m/s",
        frame="body",
        size=3,
        parts=_XYZ,
        topic=ODOMETRY,
        read=_at("twist.twist.linear", _XYZ),
        aliases={"base_lin_vel_body": (0, 1, 2)},
        simulated=attrgetter("lin_vel_body"),
        drawn_std=0.3,
    ),
    StateField(
        name="pos_world",
        term="base_pos",
        doc="Position of the base",
        unit="m",
        frame="that of the odometry",
        size=3,
        parts=_XYZ,
        topic=ODOMETRY,
        read=_at("pose.pose.position", _XYZ),
        simulated=attrgetter("pos_world"),
        drawn_std=0.3,
    ),
    StateField(
        name="quat_xyzw",
        term="base_quat_xyzw",
        doc="Orientation",
        unit="quaternion",
        frame="body to world",
        size=4,
        topic=IMU,
        read=_at("orientation", "xyzw"),
        require=require_orientation,
        aliases={"quat_wxyz": (1, 2, 3, 0)},
        simulated=attrgetter("quat_xyzw"),
        at_rest=(0.0, 0.0, 0.0, 1.0),
        drawn_std=0.05,
    ),
    StateField(
        name="gravity_body",
        term="projected_gravity",
        doc="Direction of gravity; upright is 0, 0, -1",
        unit="",
        frame="body",
        size=3,
        parts=_XYZ,
        topic=IMU,
    ),
    StateField(
        name="velocity_command",
        term="velocity_command",
        doc="Commanded vx, vy and yaw rate",
        unit="m/s, m/s, rad/s",
        frame="body",
        size=3,
        parts=("vx", "vy", "wz"),
        topic=VELOCITY_COMMAND,
        read=read_velocity,
        aliases={"command": (0, 1, 2)},
    ),
    StateField(
        name="live_joint_pos",
        doc="Joint positions of a live reference motion",
        unit="rad",
        size="joints",
        topic=MOTION_JOINTS,
        read=attrgetter("position"),
        drawn_std=0.1,
    ),
    StateField(
        name="live_joint_vel",
        doc="Joint velocities of a live reference motion",
        unit="rad/s",
        size="joints",
        topic=MOTION_JOINTS,
        read=attrgetter("velocity"),
        drawn_std=1.0,
    ),
    StateField(
        name="live_anchor_pos",
        doc="Position of the anchor of a live reference motion",
        unit="m",
        frame="that of the reference",
        size=3,
        parts=_XYZ,
        topic=MOTION_ANCHOR,
        read=_at("pose.position", _XYZ),
        require=require_pose,
        drawn_std=0.3,
    ),
    StateField(
        name="live_anchor_quat_xyzw",
        doc="Orientation of the anchor of a live reference motion",
        unit="quaternion",
        frame="anchor to that of the reference",
        size=4,
        topic=MOTION_ANCHOR,
        read=_at("pose.orientation", "xyzw"),
        at_rest=(0.0, 0.0, 0.0, 1.0),
        drawn_std=0.05,
    ),
    StateField(
        name=LEADER_POS,
        doc="Joint positions of a leader arm",
        unit="rad",
        size="joints",
        topic=LEADER,
        read=attrgetter("position"),
        drawn_std=0.1,
    ),
)

STATE_FIELDS: Mapping[str, StateField] = {row.name: row for row in _ROWS}
"""State fields by name."""
STATE_TOPICS: Mapping[str, StateTopic] = {row.topic.name: row.topic for row in _ROWS}
"""State topics by name."""


def is_per_joint(field: str) -> bool:
    """Return True if a state field has one value for each joint in the contract."""
    return field in STATE_FIELDS and STATE_FIELDS[field].size == "joints"


def topic_fields(topic: str) -> list[StateField]:
    """Return the fields that a topic carries; empty for an external vector."""
    return [row for row in _ROWS if row.topic.name == topic]
