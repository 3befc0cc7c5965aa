# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All that is random about the task, from one generator: the same seed draws the same.

`difficulty` in [0, 1] scales it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robot_sim.figures import LITE3, Array
from tools.train_lite3.layout import ACTION_SIZE, ANG_VEL_SCALE, JOINT_VEL_SCALE
from tools.train_lite3.physics import DECIMATION, Dynamics

# Half of the robots are nearly the one that is built, on level ground: a policy that cannot feel
# what it carries walks at the right speed on the robot that it meets most.
NEAR_SHARE, NEAR_REACH = 0.5, 0.3
# A robot is handed over as it stood up: still, knees a little bent, feet a little wide. One that
# stops walking stands otherwise, and a policy that knows only those lets this one tip over.
HANDED_OVER_SHARE, BENT_RAD, WIDE_RAD = 0.7, 0.1, 0.15
# Rotor inertia calms the twitching of first attempts.
BEGINNERS_ARMATURE_KGM2 = 0.004
SLOPED_SHARE, SLOPE_RAD = 0.6, 0.14
# Uniform noise: gyro 0.2 rad/s, gravity's direction 0.03, joints 0.01 rad and 1 rad/s.
NOISE: Array = np.repeat(
    [0.2 * ANG_VEL_SCALE, 0.03, 0.0, 0.01, 1.0 * JOINT_VEL_SCALE, 0.0], [3, 3, 3, 12, 12, 12]
)
_BENDING: Array = np.tile([0.0, -0.5, 1.0], len(LITE3.legs))
_WIDENING: Array = np.array([[-np.sign(leg.mount[1]), 0.0, 0.0] for leg in LITE3.legs]).ravel()
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int_]


def standing_height_m(joint_pos: Array) -> Array:
    """Return how high the bases of level robots are [robots] that stand like this [robots, 12]."""
    hip_x, hip_y, knee = np.moveaxis(joint_pos.reshape(-1, len(LITE3.legs), 3), -1, 0)
    below_hip = LITE3.thigh_length_m * np.cos(hip_y) + LITE3.shank_length_m * np.cos(hip_y + knee)
    sideways = np.array([leg.thigh_offset[1] for leg in LITE3.legs])
    feet = below_hip * np.cos(hip_x) + sideways * np.sin(hip_x)
    return np.asarray(LITE3.foot.radius_m + feet.max(axis=1))


class Draws:
    """Draws for `count` robots, or for some of them."""

    def __init__(self, count: int, *, seed: int) -> None:
        """Begin; half of the robots stay near the nominal one."""
        self._count, self._random = count, np.random.default_rng(seed)
        self._near = np.arange(count) < NEAR_SHARE * count
        self._reach = np.where(self._near, NEAR_REACH, 1.0)[:, None]

    def seed(self) -> int:
        """Draw a seed for something that has a generator of its own."""
        return int(self._random.integers(1 << 30))

    def ages(self, longest: int) -> Rows:
        """Draw how far each robot is in its episode, in ticks below `longest` [count]."""
        return self._random.integers(0, longest, self._count)

    def dynamics(self, difficulty: float) -> Dynamics:
        """Draw the dynamics of every robot."""
        spread = self._random.uniform(-1.0, 1.0, (self._count, 8)) * (difficulty * self._reach)
        return Dynamics(
            friction=0.85 + 0.45 * spread[:, 0],
            payload_kg=2.5 * spread[:, 1],
            com_offset_m=spread[:, 2:5] * [0.03, 0.02, 0.02],
            stiffness=1.0 + 0.15 * spread[:, 5],
            damping=1.0 + 0.15 * spread[:, 6],
            armature_kgm2=BEGINNERS_ARMATURE_KGM2 * (1.0 - difficulty)
            + 0.005 * np.abs(spread[:, 7]),
            gravity_unit=self._slopes(difficulty),
        )

    def _slopes(self, difficulty: float) -> Array:
        """Draw directions of gravity [count, 3] in the floor's frame: down, or aslant."""
        sloped = ~self._near & (self._random.random(self._count) < SLOPED_SHARE)
        angle = sloped * difficulty * SLOPE_RAD * self._random.random(self._count)
        heading = self._random.uniform(-np.pi, np.pi, self._count)
        x, y = np.sin(angle) * np.cos(heading), np.sin(angle) * np.sin(heading)
        return np.stack([x, y, -np.cos(angle)], axis=1)

    def noise(self, difficulty: float) -> Array:
        """Draw what the sensors of every robot add to its observation [count, 45]."""
        largest = difficulty * self._reach * NOISE
        return largest * self._random.uniform(-1.0, 1.0, largest.shape)

    def kicks(self, n: int, difficulty: float) -> Array:
        """Draw jumps in velocity: linear in the world, m/s, and angular, rad/s [n, 6]."""
        kick = difficulty * self._random.uniform(-1.0, 1.0, (n, 6))
        return kick * [1.1, 1.1, 0.0, 0.4, 0.4, 0.4]

    def commands(self, n: int, difficulty: float) -> Array:
        """Draw commands [n, 3]: in the end 20 % zero, 40 % on one axis only, the rest on all.

        A beginner is asked to go nearly always: one that may stand learns to stand.
        """
        limit, still = 0.6 + 0.25 * difficulty, 0.05 + 0.15 * difficulty
        command = self._random.uniform(-limit, limit, (n, 3))
        kind = self._random.random(n)
        axis = np.eye(3)[self._random.integers(0, 3, n)]
        single = axis * np.sign(command) * np.maximum(np.abs(command), 0.3 * limit)
        command = np.where((kind < still + 0.4)[:, None], single, command)
        command[(kind < still) | (np.abs(command).max(axis=1) < 0.08)] = 0.0
        return command

    def delays(self, n: int, difficulty: float) -> Rows:
        """Draw latencies in physics steps [n]: up to 20 ms, for one robot in four up to 40 ms."""
        longest = np.where(self._random.random(n) < 0.25, 2 * DECIMATION, DECIMATION)
        return np.floor(self._random.random(n) * (1 + difficulty * longest)).astype(int)

    def handed_over(self, n: int, difficulty: float) -> Bools:
        """Draw which robots begin as one that has just stood up [n]; the others are thrown."""
        return self._random.random(n) < HANDED_OVER_SHARE * difficulty

    def poses(self, handed: Bools) -> tuple[Array, Array]:
        """Draw where robots begin: positions [n, 19] and velocities [n, 18]."""
        n, random = len(handed), self._random
        reach = np.where(handed, 0.1, 1.0)[:, None]
        qpos, qvel = np.zeros((n, 19)), np.zeros((n, 18))
        lean, yaw = reach * random.uniform(-0.05, 0.05, (n, 2)), random.uniform(-1.0, 1.0, n)
        quat_wxyz = np.column_stack([np.cos(yaw * np.pi / 2), lean, np.sin(yaw * np.pi / 2)])
        qpos[:, 3:7] = quat_wxyz / np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
        bent, wide = handed * random.uniform(0.0, 1.0, (2, n))
        qpos[:, 7:] = LITE3.standing_rad + reach * random.uniform(-0.15, 0.15, (n, ACTION_SIZE))
        qpos[:, 7:] += np.outer(bent, BENT_RAD * _BENDING) + np.outer(wide, WIDE_RAD * _WIDENING)
        thrown_m = 0.35 + random.uniform(-0.02, 0.02, n)
        qpos[:, 2] = np.where(handed, standing_height_m(qpos[:, 7:]), thrown_m)
        qvel[:, :6] = reach * random.uniform(-0.4, 0.4, (n, 6))
        return qpos, qvel
