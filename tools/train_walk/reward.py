# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reward terms used in training, with one row per robot; the task defines the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_sim.figures import Array
from tools.train_walk.definition import LEG_JOINTS, Task, TrainedRobot, at
from tools.train_walk.physics import POLICY_DT_S

# The guard clips targets beyond the joint's range, and a policy must not rely on clipping.
_MARGIN_RAD = 0.05
# A robot that is commanded at least this fast, and moves at less than this share of it, stands
# before a step.
_SLOWEST_MPS, _STALLED_SHARE = 0.15, 0.3
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """One policy period of all robots.

    Attributes:
        command: vx, vy (m/s), wz (rad/s) [robots, 3].
        velocity: vx, vy (m/s), wz (rad/s) of the base, in its yaw-aligned frame [robots, 3].
        drift: Velocity minus command in steady walking, smoothed over half a second [robots, 3].
        lin_vel_z: Vertical velocity of the base [robots], m/s.
        ang_vel_xy: Roll and pitch rates [robots, 2], rad/s.
        floor_normal_xy: Horizontal part of the floor's normal in the body frame [robots, 2].
        height_m: Height of the base above the ground below the feet [robots].
        joint_pos: [robots, 12], rad.
        joint_vel, joint_vel_before: [robots, 12], rad/s, now and a period ago.
        expected_normal_xy, expected_height_m, expected_pos: References for `floor_normal_xy`,
            `height_m` and `joint_pos`.
        torque_squared: Mean square torque of each joint in the period [robots, 12], (N m)^2.
        target: Joint position targets of the latest action [robots, 12], rad.
        action, action_before, action_two_before: Outputs of the policy [robots, 12].
        touch: True for each foot that touched the ground [robots, 4].
        landed: True for each foot that has just landed after a swing [robots, 4].
        air_s: Time in the air, for `landed` feet until landing [robots, 4], s.
        foot_height_m: Height of the feet above the highest ground below and just ahead of them
            [robots, 4], m.
        foot_speed: Horizontal speed of the feet [robots, 4], m/s.
    """

    command: Array
    velocity: Array
    drift: Array
    lin_vel_z: Array
    ang_vel_xy: Array
    floor_normal_xy: Array
    height_m: Array
    joint_pos: Array
    joint_vel: Array
    joint_vel_before: Array
    expected_normal_xy: Array
    expected_height_m: Array
    expected_pos: Array
    torque_squared: Array
    target: Array
    action: Array
    action_before: Array
    action_two_before: Array
    touch: Bools
    landed: Bools
    air_s: Array
    foot_height_m: Array
    foot_speed: Array


def mean_square_torque(
    robot: TrainedRobot, targets: Array, joint_pos: Array, joint_vel: Array
) -> Array:
    """Return mean square torques [robots, 12], from values per physics step [robots, steps, 12]."""
    torque = robot.stiffness * (targets - joint_pos) - robot.damping * joint_vel
    limit_nm = robot.body.effort_limit_nm
    return np.asarray(np.mean(np.clip(torque, -limit_nm, limit_nm) ** 2, axis=1))


def tracking(motion: Motion) -> tuple[Array, Array]:
    """Return the tracking quality [robots] in the plane and in turning, each from 0 to 1."""
    error = (motion.velocity - motion.command) ** 2
    return _nearness(error[:, :2].sum(axis=1)), _nearness(error[:, 2])


def following(task: Task, motion: Motion) -> dict[str, Array]:
    """Return the measures of how well robots follow [robots], by name, each from 0 to 1."""
    if task.motion:
        return {"follow_joints": _near_joints(motion)}
    follow_xy, follow_wz = tracking(motion)
    found = {"follow_xy": follow_xy, "follow_wz": follow_wz}
    if any(task.rewards.stalled):
        found["advancing"] = 1.0 - _stalled(motion).astype(np.float64)
    return found


def _near_joints(motion: Motion) -> Array:
    """Return the proximity of all joints to the reference [robots], from 0 to 1."""
    return _nearness(((motion.joint_pos - motion.expected_pos) ** 2).sum(axis=1))


def _nearness(squared: Array) -> Array:
    """Map squared errors [robots] to 1 for no error, falling to 0."""
    # the wide bell gives a gradient from afar, the narrow one rewards accuracy
    return np.asarray((2.0 * np.exp(-squared / 0.25) + np.exp(-squared / 0.04)) / 3.0)


def reward_terms(
    robot: TrainedRobot, task: Task, motion: Motion, difficulty: float
) -> dict[str, Array]:
    """Return all terms [robots], weighted; their sum is the reward per second."""
    moving = (np.abs(motion.command).max(axis=1) > 0.0).astype(float)
    terms = (
        _following(motion)
        | _smoothness(robot, motion)
        | _gait(robot, task, motion, moving)
        | {"pose": _from_pose(motion).sum(axis=1), "joints": _near_joints(motion)}
    )
    weighted = {
        name: at(getattr(task.rewards, name), difficulty) * term for name, term in terms.items()
    }
    calm = max(-1.0, at(task.rewards.stand, difficulty))
    return weighted | {"stand": calm * (1.0 - moving) * _unrest(motion)}


def _from_pose(motion: Motion) -> Array:
    """Return the distance of each joint from the expected pose [robots, 12], rad."""
    return np.abs(motion.joint_pos - motion.expected_pos)


def _following(motion: Motion) -> dict[str, Array]:
    """Reward following the command, also on average, with a level base at the right height."""
    follow_xy, follow_wz = tracking(motion)
    drift = motion.drift**2
    aim = _accuracy(drift[:, :2].sum(axis=1)) + _accuracy(drift[:, 2])
    return {
        "stalled": _stalled(motion),
        "track_xy": follow_xy,
        "track_wz": follow_wz,
        "drift": aim - 2.0,
        "lin_z": motion.lin_vel_z**2,
        "ang_xy": (motion.ang_vel_xy**2).sum(axis=1),
        "tilt": ((motion.floor_normal_xy - motion.expected_normal_xy) ** 2).sum(axis=1),
        "height": (motion.height_m - motion.expected_height_m) ** 2,
    }


def _stalled(motion: Motion) -> Bools:
    asked = np.linalg.norm(motion.command[:, :2], axis=1)
    along = (motion.velocity[:, :2] * motion.command[:, :2]).sum(axis=1)
    return np.asarray((asked > _SLOWEST_MPS) & (along < _STALLED_SHARE * asked**2))


def _accuracy(squared: Array) -> Array:
    """Map squared errors [robots] to 1 for no error, falling steeply to 0."""
    return np.asarray((np.exp(-squared / 0.01) + np.exp(-squared / 0.0025)) / 2.0)


def _smoothness(robot: TrainedRobot, motion: Motion) -> dict[str, Array]:
    """Penalize strain on the drives."""
    change = motion.action - motion.action_before
    bend = change - (motion.action_before - motion.action_two_before)
    acceleration = (motion.joint_vel - motion.joint_vel_before) / POLICY_DT_S
    return {
        "torque": motion.torque_squared.sum(axis=1),
        "joint_acc": (acceleration**2).sum(axis=1),
        "action_rate": (change**2).sum(axis=1),
        "range": _beyond_range(robot, motion.target).sum(axis=1),
        "action_bend": (bend**2).sum(axis=1),
    }


def _beyond_range(robot: TrainedRobot, target: Array) -> Array:
    """Return by how much targets [robots, 12] exceed the joints' range less a margin, rad."""
    lower, upper = robot.body.range_rad.T
    below, above = lower + _MARGIN_RAD - target, target - (upper - _MARGIN_RAD)
    return np.asarray(np.maximum(below, 0.0) + np.maximum(above, 0.0))


def _gait(robot: TrainedRobot, task: Task, motion: Motion, moving: Array) -> dict[str, Array]:
    """Reward a trot in which the feet clear the ground and the legs stay below the hips."""
    touch = motion.touch
    pairs = (touch[:, :2] == touch[:, [3, 2]]).all(axis=1) & (touch[:, 0] != touch[:, 1])
    hips = _from_pose(motion)[:, 0::LEG_JOINTS]
    # a foot that a step has stopped is too low as well
    asked = np.linalg.norm(motion.command[:, :2], axis=1)[:, None]
    speed = np.where(touch, motion.foot_speed, np.maximum(motion.foot_speed, asked))
    clearance = (motion.foot_height_m - robot.swing_height_m) ** 2 * speed
    hanging = (motion.air_s > task.longest_swing_s) & ~touch
    return {
        "air_time": moving * (motion.landed * (np.minimum(motion.air_s, 0.3) - 0.1)).sum(axis=1),
        "swing": moving * clearance.sum(axis=1),
        "slip": (touch * motion.foot_speed**2).sum(axis=1),
        "trot": moving * pairs,
        "hop": moving * hanging.sum(axis=1),
        "hip": hips.sum(axis=1),
    }


def _unrest(motion: Motion) -> Array:
    """Return the deviation of each robot from standing still in the expected pose."""
    change = motion.action - motion.action_before
    return np.asarray(
        0.4 * _from_pose(motion).sum(axis=1)
        + 1.0 * (~motion.touch).sum(axis=1)
        + 0.15 * (change**2).sum(axis=1)
        + 0.005 * np.minimum((motion.joint_vel**2).sum(axis=1), 400.0)
    )
