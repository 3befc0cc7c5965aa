# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""All random numbers of the task, from one generator: the same seed gives the same numbers.

`difficulty` in [0, 1] scales them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from robot_sim.figures import Array
from tools.train_walk.definition import LEG_JOINTS, LEGS, Task, TrainedRobot, at
from tools.train_walk.layout import ACTION_SIZE, ANG_VEL_SCALE, JOINT_VEL_SCALE, make_layout
from tools.train_walk.physics import DECIMATION, Dynamics

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int_]


class Draws:
    """Draws random numbers for `count` robots, or for some of them."""

    def __init__(self, robot: TrainedRobot, task: Task, count: int, *, seed: int) -> None:
        """Start; some of the robots stay close to the nominal dynamics."""
        self._robot, self._task, self._hard = robot, task, task.disturbances
        self._count, self._random = count, np.random.default_rng(seed)
        self._near = np.arange(count) < self._hard.near_share * count
        self._reach = np.where(self._near, self._hard.near_reach, 1.0)[:, None]
        noise = self._hard.noise
        self._noise = np.repeat(
            [
                noise.ang_vel_radps * ANG_VEL_SCALE,
                noise.gravity,
                0.0,
                noise.joint_pos_rad,
                noise.joint_vel_radps * JOINT_VEL_SCALE,
                0.0,
            ],
            [3, 3, make_layout(robot, task).goal_size, ACTION_SIZE, ACTION_SIZE, ACTION_SIZE],
        )
        bend, wide = robot.backward, robot.outward
        legs = np.zeros((2, LEGS, LEG_JOINTS))
        legs[0, :, 1], legs[0, :, 2], legs[1, :, 0] = 0.5 * bend, -1.0 * bend, wide
        self._bending, self._widening = legs.reshape(2, ACTION_SIZE)

    def seed(self) -> int:
        """Draw a seed for an object that has its own generator."""
        return int(self._random.integers(1 << 30))

    def ages(self, longest: int) -> Rows:
        """Draw how far into its episode each robot is, in ticks [count], less than `longest`."""
        return self._random.integers(0, longest, self._count)

    def dynamics(self, difficulty: float) -> Dynamics:
        hard = self._hard
        spread = self._random.uniform(-1.0, 1.0, (self._count, 8)) * (difficulty * self._reach)
        rubs = self._random.uniform(0.0, 1.0, (self._count, 2)) * (difficulty * self._reach)
        return Dynamics(
            friction=hard.friction[0] + hard.friction[1] * spread[:, 0],
            payload_kg=self._robot.payload_kg * spread[:, 1],
            com_offset_m=spread[:, 2:5] * hard.com_offset_m,
            stiffness=1.0 + hard.gains * spread[:, 5],
            damping=1.0 + hard.gains * spread[:, 6],
            armature_kgm2=hard.beginners_armature_kgm2 * (1.0 - difficulty)
            + hard.armature_kgm2 * np.abs(spread[:, 7]),
            joint_friction_nm=hard.joint_friction_nm * rubs[:, 0],
            joint_damping=hard.joint_damping * rubs[:, 1],
            gravity_unit=self._slopes(difficulty),
        )

    def _slopes(self, difficulty: float) -> Array:
        """Draw directions of gravity [count, 3] in the floor's frame: down, or tilted."""
        sloped = ~self._near & (self._random.random(self._count) < self._hard.slope_share)
        angle = sloped * difficulty * self._hard.slope_rad * self._random.random(self._count)
        heading = self._random.uniform(-np.pi, np.pi, self._count)
        x, y = np.sin(angle) * np.cos(heading), np.sin(angle) * np.sin(heading)
        return np.stack([x, y, -np.cos(angle)], axis=1)

    def noise(self, difficulty: float) -> Array:
        """Draw the sensor noise of each robot's observation [count, own_size]."""
        largest = difficulty * self._reach * self._noise
        return np.asarray(largest * self._random.uniform(-1.0, 1.0, largest.shape))

    def velocity_noise(self, difficulty: float) -> Array:
        """Draw the error in each robot's base velocity [count, 3], m/s."""
        largest = difficulty * self._hard.noise.lin_vel_mps
        return largest * self._random.uniform(-1.0, 1.0, (self._count, 3))

    @property
    def latest_map(self) -> int:
        """Maximum age of a scan, in ticks."""
        return self._hard.map.late_ticks

    def map_errors(self, n: int, difficulty: float) -> tuple[Array, Rows]:
        """Draw the shift of the map [n, 3], m, and the delay of the scan, in ticks [n]."""
        wrong = self._hard.map
        shift = difficulty * wrong.drift_m * self._random.uniform(-1.0, 1.0, (n, 3))
        late = np.floor(self._random.random(n) * (1 + difficulty * wrong.late_ticks))
        return shift, late.astype(int)

    def with_map_errors(self, ground_z: Array, difficulty: float) -> Array:
        """Return heights [robots, points] with noise; unknown ones are replaced by a neighbor's."""
        wrong = self._hard.map
        noise = difficulty * wrong.noise_m * self._random.uniform(-1.0, 1.0, ground_z.shape)
        share = difficulty * wrong.unknown_share * self._random.random((len(ground_z), 1))
        unknown = self._random.random(ground_z.shape) < share
        return np.where(unknown, np.roll(ground_z, 1, axis=1), ground_z) + noise

    def kicks(self, n: int, difficulty: float) -> Array:
        """Draw jumps in velocity [n, 6]: linear, world frame, m/s, and angular, rad/s."""
        kick = difficulty * self._random.uniform(-1.0, 1.0, (n, 6))
        mps, radps = self._hard.kick_mps, self._hard.kick_radps
        return kick * [mps, mps, 0.0, radps, radps, radps]

    def commands(self, n: int, difficulty: float) -> Array:
        """Draw commands [n, 3]: some zero, some on one axis only, the rest on all."""
        asked = self._task.commands
        limit, still = at(asked.largest, difficulty), at(asked.still_share, difficulty)
        command = self._random.uniform(-limit, limit, (n, 3))
        kind = self._random.random(n)
        axis = np.eye(3)[self._random.integers(0, 3, n)]
        single = (
            axis * np.sign(command) * np.maximum(np.abs(command), asked.single_axis_least * limit)
        )
        command = np.where((kind < still + asked.single_axis_share)[:, None], single, command)
        forward = np.abs(command) * [1.0, 0.0, 0.0] + command * [0.0, 0.2, 0.5]
        forward[:, 0] = np.maximum(forward[:, 0], asked.single_axis_least * limit)
        ahead = self._random.random(n) < asked.forward_share
        command = np.where(ahead[:, None], forward, command)
        command[(kind < still) | (np.abs(command).max(axis=1) < asked.deadband)] = 0.0
        return command

    def delays(self, n: int, difficulty: float) -> Rows:
        """Draw latencies in physics steps [n]: up to one period, or two for some robots."""
        late = self._random.random(n) < self._hard.late_share
        longest = np.where(late, 2 * DECIMATION, DECIMATION)
        return np.floor(self._random.random(n) * (1 + difficulty * longest)).astype(int)

    def handed_over(self, n: int, difficulty: float) -> Bools:
        """Choose at random which robots [n] start as if just stood up; the others are dropped."""
        return self._random.random(n) < self._task.handed_over.share * difficulty

    def poses(self, handed: Bools) -> tuple[Array, Array]:
        """Draw the start states of robots: positions [n, 19] and velocities [n, 18]."""
        n, random, robot = len(handed), self._random, self._robot
        given = self._task.handed_over
        reach = np.where(handed, 0.1, 1.0)[:, None]
        qpos, qvel = np.zeros((n, 19)), np.zeros((n, 18))
        lean, yaw = reach * random.uniform(-0.05, 0.05, (n, 2)), random.uniform(-1.0, 1.0, n)
        quat_wxyz = np.column_stack([np.cos(yaw * np.pi / 2), lean, np.sin(yaw * np.pi / 2)])
        qpos[:, 3:7] = quat_wxyz / np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
        bent, wide = handed * random.uniform(0.0, 1.0, (2, n))
        apart = reach * random.uniform(-0.15, 0.15, (n, ACTION_SIZE))
        qpos[:, 7:] = robot.pose_rad + apart
        if robot.default_rad is not None:
            # After standing up, or under another policy: a pose between the standing and the
            # default pose.
            higher = handed * random.uniform(0.0, 1.0, n)
            qpos[:, 7:] += np.outer(higher, robot.body.standing_rad - robot.pose_rad)
        bend, spread = given.bent_rad * self._bending, given.wide_rad * self._widening
        qpos[:, 7:] += np.outer(bent, bend) + np.outer(wide, spread)
        thrown_m = robot.thrown_height_m + random.uniform(-0.02, 0.02, n)
        qpos[:, 2] = np.where(handed, robot.standing_height_m(qpos[:, 7:]), thrown_m)
        qvel[:, :6] = reach * random.uniform(-0.4, 0.4, (n, 6))
        return qpos, qvel
