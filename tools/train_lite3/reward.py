# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the training rewards, term by term, per second. Arrays have a row per robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_sim.figures import LITE3, Array
from tools.train_lite3.physics import KD, KP, POLICY_DT_S

HEIGHT_TARGET_M, SWING_TARGET_M = 0.32, 0.085
LONGEST_SWING_S = 0.4
# A guard would clip targets beyond the joint's range, and a policy shall not need to be clipped.
_MARGIN_RAD = 0.05
_RANGES = [(joint.lower + _MARGIN_RAD, joint.upper - _MARGIN_RAD) for joint in LITE3.joints]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """One policy period of all robots.

    Attributes:
        command: vx, vy (m/s), wz (rad/s) [robots, 3].
        velocity: The same three of the base, in its yaw-aligned frame [robots, 3].
        drift: Velocity less command in steady walking, smoothed over half a second [robots, 3].
        lin_vel_z: Vertical velocity of the base [robots], m/s.
        ang_vel_xy: Roll and pitch rates [robots, 2], rad/s.
        floor_normal_xy: Horizontal part of the floor's normal in the body frame [robots, 2].
        height_m: Base over the ground below the feet [robots].
        joint_pos: [robots, 12], rad.
        joint_vel, joint_vel_before: [robots, 12], rad/s, now and a period ago.
        torque_squared: Mean square of the torque of each joint in the period [robots, 12], (N m)^2.
        target: Joint position targets of the latest action [robots, 12], rad.
        action, action_before, action_two_before: Outputs of the policy [robots, 12].
        touch: Whether each foot touched the ground [robots, 4].
        landed: Whether it did so after a swing [robots, 4].
        air_s: How long it has been in the air, of `landed` ones before they landed [robots, 4].
        foot_height_m: Feet over the ground below them [robots, 4].
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


def mean_square_torque(targets: Array, joint_pos: Array, joint_vel: Array) -> Array:
    """Return mean squares [robots, 12] of the torques at each physics step, [robots, steps, 12]."""
    torque = KP * (targets - joint_pos) - KD * joint_vel
    return np.asarray(
        np.mean(np.clip(torque, -LITE3.effort_limit_nm, LITE3.effort_limit_nm) ** 2, axis=1)
    )


def tracking(motion: Motion) -> tuple[Array, Array]:
    """Return how well the robots follow, 0 to 1 each: in the plane and in turning [robots]."""
    error = (motion.velocity - motion.command) ** 2
    return _nearness(error[:, :2].sum(axis=1)), _nearness(error[:, 2])


def _nearness(squared: Array) -> Array:
    """Return 1 for no error, falling to 0; [robots], of squared errors."""
    # The wide bell shows the way from afar, the narrow one asks for accuracy.
    return np.asarray((2.0 * np.exp(-squared / 0.25) + np.exp(-squared / 0.04)) / 3.0)


def reward_terms(motion: Motion, difficulty: float) -> dict[str, Array]:
    """Return all terms [robots], weighted; their sum is the reward per second.

    Penalties that a beginner cannot avoid grow with `difficulty` (0 to 1).
    """
    moving = (np.abs(motion.command).max(axis=1) > 0.0).astype(float)
    return (
        _following(motion, difficulty)
        | _smoothness(motion, difficulty)
        | _gait(motion, moving, difficulty)
        | {"pose": -0.1 * difficulty * np.abs(motion.joint_pos - LITE3.standing_rad).sum(axis=1)}
        | {"stand": -(1.0 - moving) * min(1.0, 0.2 + 2.0 * difficulty) * _unrest(motion)}
    )


def _following(motion: Motion, difficulty: float) -> dict[str, Array]:
    """Follow the command, in the mean too; torso level and at its height."""
    follow_xy, follow_wz = tracking(motion)
    drift = motion.drift**2
    aim = _accuracy(drift[:, :2].sum(axis=1)) + _accuracy(drift[:, 2])
    return {
        "track_xy": 1.5 * follow_xy,
        "track_wz": (0.75 + 0.75 * difficulty) * follow_wz,
        "drift": 1.2 * difficulty * (aim - 2.0),
        "lin_z": -2.0 * motion.lin_vel_z**2,
        "ang_xy": -0.1 * (motion.ang_vel_xy**2).sum(axis=1),
        "tilt": -(5.0 + 25.0 * difficulty) * (motion.floor_normal_xy**2).sum(axis=1),
        "height": -15.0 * (motion.height_m - HEIGHT_TARGET_M) ** 2,
    }


def _accuracy(squared: Array) -> Array:
    """Return 1 for no error, falling steeply to 0; [robots], of squared errors."""
    return np.asarray((np.exp(-squared / 0.01) + np.exp(-squared / 0.0025)) / 2.0)


def _smoothness(motion: Motion, difficulty: float) -> dict[str, Array]:
    """Spare the drives."""
    change = motion.action - motion.action_before
    bend = change - (motion.action_before - motion.action_two_before)
    acceleration = (motion.joint_vel - motion.joint_vel_before) / POLICY_DT_S
    return {
        "torque": -2e-4 * motion.torque_squared.sum(axis=1),
        "joint_acc": -2.5e-7 * (acceleration**2).sum(axis=1),
        "action_rate": -(0.005 + 0.045 * difficulty) * (change**2).sum(axis=1),
        "range": -5.0 * difficulty * _beyond_range(motion.target).sum(axis=1),
        "action_bend": -0.02 * difficulty * (bend**2).sum(axis=1),
    }


def _beyond_range(target: Array) -> Array:
    """Return how far targets [robots, 12] are beyond where the joints may go, rad."""
    lower, upper = (np.tile(limit, len(LITE3.legs)) for limit in zip(*_RANGES, strict=True))
    return np.asarray(np.maximum(lower - target, 0.0) + np.maximum(target - upper, 0.0))


def _gait(motion: Motion, moving: Array, difficulty: float) -> dict[str, Array]:
    """Trot with feet that clear the ground, legs below their hips."""
    touch = motion.touch
    pairs = (touch[:, :2] == touch[:, [3, 2]]).all(axis=1) & (touch[:, 0] != touch[:, 1])
    hips = np.abs(motion.joint_pos - LITE3.standing_rad)[:, 0::3]
    clearance = (motion.foot_height_m - SWING_TARGET_M) ** 2 * motion.foot_speed
    return {
        "air_time": 5.0
        * moving
        * (motion.landed * (np.minimum(motion.air_s, 0.3) - 0.1)).sum(axis=1),
        "swing": -10.0 * moving * clearance.sum(axis=1),
        "slip": -0.05 * (touch * motion.foot_speed**2).sum(axis=1),
        "trot": (1.0 - 0.5 * difficulty) * moving * pairs,
        "hop": -1.0 * moving * ((motion.air_s > LONGEST_SWING_S) & ~touch).sum(axis=1),
        "hip": -0.2 * hips.sum(axis=1),
    }


def _unrest(motion: Motion) -> Array:
    """Return how far from standing still in the default pose each robot is."""
    change = motion.action - motion.action_before
    return np.asarray(
        0.4 * np.abs(motion.joint_pos - LITE3.standing_rad).sum(axis=1)
        + 1.0 * (~motion.touch).sum(axis=1)
        + 0.15 * (change**2).sum(axis=1)
        + 0.005 * np.minimum((motion.joint_vel**2).sum(axis=1), 400.0)
    )
