# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what `identify` needs from a recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag
from model_tools.files.bags.topics import find_topics
from model_tools.prove.replaying.recording import COMMAND_ROWS
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import IMU, JOINT_STATES, ODOMETRY
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Mode, Times
from policy_inference.messages.readers import JointOrder, stamp_ns
from policy_inference.messages.wire import JOINT_COMMAND

COMMANDS = "joint_command"
CAPTURE = "motion_capture"
_TYPES = {
    JOINT_STATES.name: JOINT_STATES.types,
    COMMANDS: (JOINT_COMMAND,),
    IMU.name: IMU.types,
    ODOMETRY.name: ODOMETRY.types,
    CAPTURE: tuple(
        f"{package}/msg/{name}"
        for package, name in (
            ("geometry_msgs", "PoseStamped"),
            ("geometry_msgs", "PoseWithCovarianceStamped"),
            ("geometry_msgs", "TransformStamped"),
            ("nav_msgs", "Odometry"),
        )
    ),
}
_OTHER_CLOCK_NS = 1_000_000_000
_OPTIONAL = (IMU.name, ODOMETRY.name, CAPTURE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputTiming:
    """Times of an input's messages.

    Attributes:
        name: Name of the input.
        measured_ns: Stamps of the messages [messages]; log times if they have none.
        logged_ns: Log times of the messages [messages].
    """

    name: str
    measured_ns: Times
    logged_ns: Times


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedMotion:
    """A recording in the contract's joint order; times in s since the first message.

    Attributes:
        joints: The robot's joint names [joints].
        command_s: Measurement time of the state on which each command is based [commands].
        running: True while the policy ran [commands].
        commands: Position, velocity, effort, stiffness, damping and effort limit [commands, 6,
            joints], see `JointTargets.block`.
        state_s: Measurement times of the joints [states].
        state: Position, velocity and effort [states, 3, joints].
        imu_s: Measurement times of the IMU [measurements].
        imu: Orientation x y z w, angular velocity, acceleration [measurements, 10].
        estimate_s: Measurement times of the estimated base velocity.
        estimate: Velocity in the base frame, and the variance of each axis [estimates, 6].
        capture_s: Times of the motion capture, on the clock of the recording.
        capture: Position and orientation x y z w of a body on the robot [captures, 7].
        timings: Timing of every input.
    """

    joints: tuple[str, ...]
    command_s: F64
    running: np.ndarray[Any, np.dtype[np.bool_]]
    commands: F64
    state_s: F64
    state: F64
    imu_s: F64
    imu: F64
    estimate_s: F64
    estimate: F64
    capture_s: F64
    capture: F64
    timings: tuple[InputTiming, ...]


def read_motion(
    path: Path, contract: JointContract, topics: Mapping[str, str] | None = None
) -> RecordedMotion:
    """Return the motion in a recording.

    Args:
        path: A rosbag2 recording with joint_states, joint_command and, if available, imu/data, odom
            and motion_capture.
        contract: Contract that lists the joints.
        topics: Renamed topics, by input.
    """
    if not is_bag(path):
        raise ToolError(
            f"{path}: expected a rosbag2 recording, found another kind of file or folder"
        )
    bag = Bag(path)
    found = find_topics(bag, _TYPES, topics or {}, optional=_OPTIONAL)
    names = contract.joints.on_robot()
    rows = _Rows(path, names)
    inputs = {topic: name for name, topic in found.items()}
    for log_ns, topic, message in bag.all_messages(list(inputs)):
        rows.add(inputs[topic], log_ns, message)
    return rows.motion()


class _Rows:
    """Collects the values of messages."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._names = path, tuple(names)
        self._order = {name: JointOrder(names) for name in (JOINT_STATES.name, COMMANDS)}
        self._times: dict[str, list[tuple[int, int]]] = {name: [] for name in _TYPES}
        self._values: dict[str, list[F64]] = {name: [] for name in _TYPES}
        self._running = list[bool]()
        self._read: dict[str, Callable[[Any], F64]] = {
            JOINT_STATES.name: self._joints,
            COMMANDS: self._command,
            IMU.name: _imu,
            ODOMETRY.name: _velocity,
            CAPTURE: _pose,
        }

    def add(self, name: str, log_ns: int, message: Any) -> None:
        try:
            values = self._read[name](message)
        except RobotError as error:
            raise ToolError(f"{self._path}: {name} at {log_ns * 1e-9:.3f} s: {error}") from error
        if name in _OPTIONAL and not np.isfinite(values).all():
            return  # such as a body that the cameras do not see
        stamp = getattr(message, "stamp", None)
        own_ns = stamp_ns(message) if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec
        self._times[name].append((own_ns or log_ns, log_ns))
        self._values[name].append(values)

    def motion(self) -> RecordedMotion:
        times = {
            name: np.array(each, np.int64).reshape(-1, 2) for name, each in self._times.items()
        }
        timings = tuple(
            InputTiming(name=name, measured_ns=each[:, 0].copy(), logged_ns=each[:, 1])
            for name, each in times.items()
            if len(each)
        )
        if len(captured := times[CAPTURE]):
            early_ns = int(np.median(captured[:, 1] - captured[:, 0]))
            if abs(early_ns) > _OTHER_CLOCK_NS:  # another computer's clock
                captured[:, 0] += early_ns
        first_ns = min(int(each[:, 0].min()) for each in times.values() if len(each))
        order = {name: np.argsort(each[:, 0], kind="stable") for name, each in times.items()}

        def seconds(name: str) -> F64:
            found: F64 = (times[name][order[name], 0] - first_ns) * 1e-9
            return found

        def values(name: str, *shape: int) -> F64:
            each = self._values[name]
            return np.array(each)[order[name]] if each else np.zeros((0, *shape))

        joints = len(self._names)
        return RecordedMotion(
            joints=self._names,
            command_s=seconds(COMMANDS),
            running=np.array(self._running, bool)[order[COMMANDS]],
            commands=values(COMMANDS, 6, joints),
            state_s=seconds(JOINT_STATES.name),
            state=values(JOINT_STATES.name, 3, joints),
            imu_s=seconds(IMU.name),
            imu=values(IMU.name, 10),
            estimate_s=seconds(ODOMETRY.name),
            estimate=values(ODOMETRY.name, 6),
            capture_s=seconds(CAPTURE),
            capture=values(CAPTURE, 7),
            timings=timings,
        )

    def _joints(self, message: Any) -> F64:
        if not len(message.effort):
            raise RobotError(
                "expected joint torques (effort; they show when a command arrives), found none"
            )
        return self._taken(JOINT_STATES.name, message.name, message, COMMAND_ROWS[:3])

    def _command(self, message: Any) -> F64:
        self._running.append(message.mode == Mode.RUN)
        return self._taken(COMMANDS, message.names, message, COMMAND_ROWS)

    def _taken(self, name: str, names: list[str], message: Any, fields: Sequence[str]) -> F64:
        found: F64 = np.empty((len(fields), len(self._names)))
        for row, field in zip(found, fields, strict=True):
            self._order[name].take(names, np.asarray(getattr(message, field), float), row)
        return found


def _imu(message: Any) -> F64:
    return np.array(
        [
            *_axes(message.orientation, "xyzw"),
            *_axes(message.angular_velocity),
            *_axes(message.linear_acceleration),
        ]
    )


def _velocity(message: Any) -> F64:
    variances = (message.twist.covariance[7 * axis] for axis in range(3))
    return np.array([*_axes(message.twist.twist.linear), *variances])


def _pose(message: Any) -> F64:
    if hasattr(message, "transform"):
        place, turned = message.transform.translation, message.transform.rotation
    else:
        pose = getattr(message.pose, "pose", message.pose)  # some types add a covariance
        place, turned = pose.position, pose.orientation
    return np.array([*_axes(place), *_axes(turned, "xyzw")])


def _axes(vector: Any, axes: str = "xyz") -> tuple[float, ...]:
    return tuple(getattr(vector, axis) for axis in axes)
