# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of a robot in motion as arrays: commands, and what joints and IMU measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag
from model_tools.files.bags.topics import find_topics
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import IMU, JOINT_STATES
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Mode, Times
from policy_inference.messages.readers import JointOrder, stamp_ns
from policy_inference.messages.wire import JOINT_COMMAND

COMMANDS = "joint_command"
_TYPES = {JOINT_STATES.name: JOINT_STATES.types, COMMANDS: (JOINT_COMMAND,), IMU.name: IMU.types}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputTiming:
    """When the messages of an input came.

    Attributes:
        name: Of the input.
        measured_ns: Their stamps [messages]; times in the log where they have none.
        logged_ns: Their times in the log [messages].
    """

    name: str
    measured_ns: Times
    logged_ns: Times


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedMotion:
    """What was recorded, in the joint order of the contract; times in s since the first message.

    Attributes:
        joints: Names, as the robot has them [joints].
        command_s: When what a command answers was measured [commands].
        running: Whether the policy ran [commands].
        commands: Position, velocity, effort, stiffness, damping and effort limit
            [commands, 6, joints], as `JointTargets.block`.
        state_s: When the joints were measured [states].
        state: Position, velocity and effort [states, 3, joints].
        imu_s: When the IMU measured [measurements].
        imu: Orientation x y z w, angular velocity, acceleration [measurements, 10].
        timings: Of every input.
    """

    joints: tuple[str, ...]
    command_s: F64
    running: np.ndarray[Any, np.dtype[np.bool_]]
    commands: F64
    state_s: F64
    state: F64
    imu_s: F64
    imu: F64
    timings: tuple[InputTiming, ...]


def read_motion(
    path: Path, contract: JointContract, topics: Mapping[str, str] | None = None
) -> RecordedMotion:
    """Read a recording.

    Args:
        path: A rosbag2 recording with joint_states, joint_command and, if it has one, imu/data.
        contract: Says which joints there are.
        topics: Topics by input, where they have other names.
    """
    if not is_bag(path):
        raise ToolError(f"{path}: expected a rosbag2 recording, found something else")
    bag = Bag(path)
    found = find_topics(bag, _TYPES, topics or {}, optional=(IMU.name,))
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

    def add(self, name: str, log_ns: int, message: Any) -> None:
        """Take a message of an input."""
        read = {JOINT_STATES.name: self._joints, COMMANDS: self._command, IMU.name: _imu}[name]
        try:
            values = read(message)
        except RobotError as error:
            raise ToolError(f"{self._path}: {name} at {log_ns * 1e-9:.3f} s: {error}") from error
        stamp = getattr(message, "stamp", None)
        own_ns = stamp_ns(message) if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec
        self._times[name].append((own_ns or log_ns, log_ns))
        self._values[name].append(values)

    def motion(self) -> RecordedMotion:
        """Return all of it, by time."""
        times = {
            name: np.array(each, np.int64).reshape(-1, 2) for name, each in self._times.items()
        }
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
            timings=tuple(
                InputTiming(name=name, measured_ns=each[:, 0], logged_ns=each[:, 1])
                for name, each in times.items()
                if len(each)
            ),
        )

    def _joints(self, message: Any) -> F64:
        if not len(message.effort):
            raise RobotError(
                "expected torques (effort) of the joints, which show when a command has arrived, "
                "found none"
            )
        return self._taken(JOINT_STATES.name, message.name, message, _STATE)

    def _command(self, message: Any) -> F64:
        self._running.append(message.mode == Mode.RUN)
        return self._taken(COMMANDS, message.names, message, _COMMAND)

    def _taken(self, name: str, names: list[str], message: Any, fields: Sequence[str]) -> F64:
        found: F64 = np.empty((len(fields), len(self._names)))
        for row, field in zip(found, fields, strict=True):
            self._order[name].take(names, np.asarray(getattr(message, field), float), row)
        return found


_STATE = ("position", "velocity", "effort")
_COMMAND = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")


def _imu(message: Any) -> F64:
    turned, rate, acceleration = (
        message.orientation,
        message.angular_velocity,
        message.linear_acceleration,
    )
    return np.array(
        [
            *(getattr(turned, axis) for axis in "xyzw"),
            *(getattr(rate, axis) for axis in "xyz"),
            *(getattr(acceleration, axis) for axis in "xyz"),
        ]
    )
