# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy's inputs and outputs, ordered and scaled as in the bundle's contract."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.rotation import rotate_inverse
from tools.train_walk.definition import LEG_JOINTS, LEGS, Task, TrainedRobot

ANG_VEL_SCALE, JOINT_VEL_SCALE = 0.25, 0.05
ACTION_SIZE = LEGS * LEG_JOINTS
# A robot is its own mirror image: left and right legs are exchanged, and sideways values and
# rotations about x or z change sign.
MIRRORED_LEGS = (3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8)
LEG_SIGNS = (-1.0, 1.0, 1.0) * LEGS
_EXTRA_SIZE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The inputs of a policy, one part of which is the goal.

    Attributes:
        mirrored: Index from which the mirrored robot takes each value of the goal.
        signs: Factor for each value of the mirrored robot's goal.
        seen: Index from which the mirrored robot takes each of the last inputs: points of a height
            scan, or the velocity of the base.
        seen_signs: Factor for each of the mirrored robot's last inputs.
    """

    mirrored: tuple[int, ...]
    signs: tuple[float, ...]
    seen: tuple[int, ...] = ()
    seen_signs: tuple[float, ...] = ()

    @property
    def goal_size(self) -> int:
        """Number of values in the goal."""
        return len(self.mirrored)

    @property
    def obs_size(self) -> int:
        """Number of inputs to the policy."""
        return self.own_size + len(self.seen)

    @property
    def own_size(self) -> int:
        """Number of inputs except those in `seen`."""
        return 6 + self.goal_size + 3 * ACTION_SIZE

    @property
    def critic_size(self) -> int:
        """Number of inputs to the critic."""
        return self.obs_size + _EXTRA_SIZE

    @property
    def mirrored_obs(self) -> tuple[list[int], list[float]]:
        """Index from which the mirrored robot takes each input, and the factor for it."""
        places, signs = [*range(6)], [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]
        for mirrored, own in (
            (self.mirrored, self.signs),
            *[(MIRRORED_LEGS, LEG_SIGNS)] * 3,
        ):
            places += [len(signs) + place for place in mirrored]
            signs += own
        places += [len(signs) + place for place in self.seen]
        return places, [*signs, *self.seen_signs]


COMMAND = Layout(mirrored=(0, 1, 2), signs=(1.0, -1.0, -1.0))
"""The goal is a velocity: vx, vy (m/s), yaw rate (rad/s)."""
FRAME = Layout(
    mirrored=(*MIRRORED_LEGS, *(ACTION_SIZE + leg for leg in MIRRORED_LEGS)), signs=LEG_SIGNS * 2
)
"""The goal is a frame of a motion: joint positions (rad) and scaled joint velocities."""


def make_layout(robot: TrainedRobot, task: Task) -> Layout:
    """Return the layout of a task's policy."""
    layout = FRAME if task.motion else COMMAND
    if robot.sees_velocity:
        return replace(layout, seen=(0, 1, 2), seen_signs=(1.0, -1.0, 1.0))
    if robot.scan is None:
        return layout
    points = robot.scan.points
    apart = np.linalg.norm(points[:, None] - points * [1.0, -1.0], axis=2)
    mirrored = tuple(apart.argmin(axis=1).tolist())
    return replace(layout, seen=mirrored, seen_signs=(1.0,) * len(mirrored))


def observe_ground(robot: TrainedRobot, base_z: Array, ground_z: Array) -> Array:
    """Return the policy's observation of the ground [robots, points].

    Args:
        robot: The robot, whose contract defines the values.
        base_z: Heights of the bases [robots], m.
        ground_z: Heights of the ground at the points of the scan [robots, points], m.
    """
    assert robot.scan is not None
    assert robot.scan_term is not None
    if robot.scan.value != "frame_minus_ground" or any(robot.scan.origin_m):
        raise SimError(f"{robot.bundle}: expected a scan of the base's height over the ground")
    over = base_z[:, None] - ground_z - robot.scan.offset_m
    low, high = robot.scan_term.clip or (-np.inf, np.inf)
    return np.clip(over, low, high) * np.asarray(robot.scan_term.scale)


def observe(
    quat_xyzw: Array,
    gravity_unit: Array,
    ang_vel_body: Array,
    goal: Array,
    joint_pos_rel: Array,
    joint_vel: Array,
    last_action: Array,
) -> Array:
    """Return the inputs [robots, own_size]; `joint_pos_rel` is relative to the default pose."""
    parts = [
        ang_vel_body * ANG_VEL_SCALE,
        rotate_inverse(quat_xyzw, gravity_unit),
        goal,
        joint_pos_rel,
        joint_vel * JOINT_VEL_SCALE,
        last_action,
    ]
    return np.concatenate(parts, axis=-1)
