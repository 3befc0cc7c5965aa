# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trace of a walk, row by row: the simulator's ground truth and the commands."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.world import NS_PER_S, Sensors

StoredT = TypeVar("StoredT", bound="StoredArrays")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredArrays:
    """Arrays that are stored by name in a NumPy file (`.npz`)."""

    def save(self, path: Path) -> None:
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls: type[StoredT], path: Path) -> StoredT:
        names = {field.name for field in dataclasses.fields(cls)}
        with np.load(path, allow_pickle=False) as stored:
            if missing := names - set(stored.files):
                raise SimError(
                    f"{path}: expected a trace, found a file without {', '.join(sorted(missing))}"
                )
            return cls(**{name: stored[name] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(StoredArrays):
    """Rows of a walk, one per tick of the policy; all arrays are float64.

    Attributes:
        time_s: Simulated time [T].
        pos_world: Base position [T, 3], m.
        quat_xyzw: Orientation [T, 4], body to world.
        lin_vel_body: Base velocity [T, 3], m/s, body frame.
        ang_vel_body: Angular velocity [T, 3], rad/s, body frame.
        lin_acc_body: Accelerometer readings [T, 3], m/s^2, body frame.
        joint_pos: Joint positions [T, n], rad; n is 12 in a quadruped.
        joint_vel: Joint velocities [T, n], rad/s.
        joint_effort: Torques of the drives [T, n], N m.
        foot_force_world: Force of the floor on each foot [T, feet, 3], N.
        command: Velocity command [T, 3]: vx, vy in m/s, wz in rad/s.
        target: Joint position targets of the tick [T, n], rad; NaN where there was none.
        mode: Mode of the latest command [T], as numbered in policy_msgs/JointCommand; NaN where
            there was none.
    """

    time_s: Array
    pos_world: Array
    quat_xyzw: Array
    lin_vel_body: Array
    ang_vel_body: Array
    lin_acc_body: Array
    joint_pos: Array
    joint_vel: Array
    joint_effort: Array
    foot_force_world: Array
    command: Array
    target: Array
    mode: Array

    def rows(self, chosen: slice) -> "Trace":
        """Return a part of the walk; its arrays are views."""
        fields = (field.name for field in dataclasses.fields(self))
        return Trace(**{name: getattr(self, name)[chosen] for name in fields})

    @property
    def qpos(self) -> Array:
        """Rows [T, 7 + n] in MuJoCo's order: position, orientation w x y z, joint positions."""
        quat_wxyz = np.roll(self.quat_xyzw, 1, axis=1)
        return np.concatenate([self.pos_world, quat_wxyz, self.joint_pos], axis=1)


class TraceRecorder:
    """Collects the rows of a `Trace`."""

    def __init__(self) -> None:
        self._rows: list[tuple[Sensors, Array, Array, float]] = []

    def append(
        self,
        sensors: Sensors,
        *,
        command: Array,
        target: Array | None = None,
        mode: float = math.nan,
    ) -> None:
        """Add a row; the arrays are copied.

        Args:
            sensors: The ground truth.
            command: Velocity command [3]: m/s, m/s, rad/s.
            target: Joint position targets [n], rad, in the order of `sensors.joint_names`.
            mode: Mode of the command, as numbered in policy_msgs/JointCommand.
        """
        if target is None:
            target = np.full(len(sensors.joint_names), np.nan)
        self._rows.append((sensors, np.array(command, float), np.array(target, float), mode))

    def trace(self) -> Trace:
        if not self._rows:
            raise SimError("trace: expected at least one recorded row, found none")
        sensed, command, target, mode = zip(*self._rows, strict=True)
        names = {field.name for field in dataclasses.fields(Trace)}
        columns = {
            field.name: np.stack([getattr(row, field.name) for row in sensed])
            for field in dataclasses.fields(Sensors)
            if field.name in names
        }
        return Trace(
            time_s=np.array([row.time_ns for row in sensed]) / NS_PER_S,
            command=np.stack(command),
            target=np.stack(target),
            mode=np.array(mode),
            **columns,
        )


class WalkRecord:
    """Collects the rows of a walk if a file is given; otherwise does nothing.

    Attributes:
        velocity: Newest velocity command [3]: m/s, m/s, rad/s.
        target: Newest position targets [n], rad; None if there are none.
        mode: Mode of the newest command; NaN if unknown.
    """

    def __init__(self, trace_file: str) -> None:
        self.velocity = np.zeros(3)
        self.target: Array | None = None
        self.mode = math.nan
        self._file = trace_file
        self._recorder = TraceRecorder() if trace_file else None
        self._rows = 0

    def append(self, truth: Sensors) -> None:
        if self._recorder is not None:
            self._rows += 1
            self._recorder.append(truth, command=self.velocity, target=self.target, mode=self.mode)

    def save(self) -> None:
        if self._recorder is not None and self._rows > 0:
            self._recorder.trace().save(Path(self._file))
