# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The task: walk as commanded, whatever the robot weighs, stands on, and is hit by.

`difficulty` in [0, 1] scales all that makes walking harder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_sim.figures import (
    FOOT_NAMES,
    FOOT_RADIUS,
    JOINT_NAMES,
    LEGS,
    SHANK_LENGTH,
    STANDING_RAD,
    THIGH_LENGTH,
    Array,
)
from robot_sim.rotation import rotate, rotate_inverse, turn, yaw_rad
from tools.train_lite3.physics import DECIMATION, POLICY_DT_S, Dynamics, Robots
from tools.train_lite3.reward import Motion, mean_square_torque, reward_terms, tracking

ACTION_SCALE_RAD: Array = np.tile([0.125, 0.25, 0.25], 4)
ANG_VEL_SCALE, JOINT_VEL_SCALE = 0.25, 0.05
ACTION_SIZE, OBS_SIZE = len(JOINT_NAMES), 9 + 3 * len(JOINT_NAMES)
CRITIC_SIZE = OBS_SIZE + 16
# Within the time of a command: when a robot should follow, and when it is kicked.
EPISODE_TICKS, COMMAND_TICKS, SETTLED_TICKS, KICK_PHASE_TICKS = 600, 200, 75, 150
DRIFT_TIME_S = 0.5
# Half of the robots are nearly the one that is built, on level ground: a policy that cannot feel
# what it carries walks at the right speed on the robot that it meets most.
NEAR_SHARE, NEAR_REACH = 0.5, 0.3
# A robot is handed over as it stood up: still, knees a little bent, feet a little wide, for a while
# without a command. One that stops walking stands otherwise, and a policy that knows only those
# lets this one tip over.
HANDED_OVER_SHARE, HANDED_OVER_TICKS, BENT_RAD, WIDE_RAD = 0.7, 100, 0.1, 0.15
# Rotor inertia calms the twitching of first attempts.
BEGINNERS_ARMATURE_KGM2 = 0.004
ROUGH_SHARE, SLOPED_SHARE = 0.3, 0.6
STEP_M, SLOPE_RAD = 0.035, 0.14
TOUCH_N, FALL_REWARD = 1.0, -2.0
# Uniform noise: gyro 0.2 rad/s, gravity's direction 0.03, joints 0.01 rad and 1 rad/s.
NOISE: Array = np.repeat(
    [0.2 * ANG_VEL_SCALE, 0.03, 0.0, 0.01, 1.0 * JOINT_VEL_SCALE, 0.0], [3, 3, 3, 12, 12, 12]
)
_BENDING: Array = np.tile([0.0, -0.5, 1.0], len(LEGS))
_WIDENING: Array = np.array([[-np.sign(leg.mount[1]), 0.0, 0.0] for leg in LEGS]).ravel()
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a policy period brought; arrays have a row per robot.

    Attributes:
        obs: What the policy sees next [robots, 45].
        critic_obs: What the critic sees next [robots, CRITIC_SIZE].
        reward: Of the period [robots].
        terminated: Robots that fell, and started anew.
        truncated: Robots whose time was over, and started anew.
        final_critic_obs: As `critic_obs`, but before any new start.
    """

    obs: Array
    critic_obs: Array
    reward: Array
    terminated: Bools
    truncated: Bools
    final_critic_obs: Array


def observe(
    quat_xyzw: Array, gravity_unit: Array, ang_vel_body: Array, command: Array, joint_pos: Array,
    joint_vel: Array, last_action: Array,
) -> Array:  # fmt: skip
    """Return the policy's inputs [robots, 45], as the contract of `lite3_walk` orders them."""
    parts = [
        ang_vel_body * ANG_VEL_SCALE, rotate_inverse(quat_xyzw, gravity_unit), command,
        joint_pos - STANDING_RAD, joint_vel * JOINT_VEL_SCALE, last_action,
    ]  # fmt: skip
    return np.concatenate(parts, axis=-1)


def delayed(targets: Array, delay: Rows) -> Array:
    """Return what reaches the drives at each physics step of a period.

    Args:
        targets: Of this period and of those before it, newest first [periods, robots, 12].
        delay: Latency of each robot in physics steps [robots], less than all the periods.

    Returns:
        Targets [robots, DECIMATION, 12].
    """
    late = np.maximum(delay[:, None] - np.arange(DECIMATION), 0)
    periods_ago = -(-late // DECIMATION)
    return np.asarray(targets[periods_ago, np.arange(len(delay))[:, None]])


def standing_height_m(joint_pos: Array) -> Array:
    """Return how high the bases of level robots are [robots] that stand like this [robots, 12]."""
    hip_x, hip_y, knee = np.moveaxis(joint_pos.reshape(-1, len(LEGS), 3), -1, 0)
    below_hip = THIGH_LENGTH * np.cos(hip_y) + SHANK_LENGTH * np.cos(hip_y + knee)
    sideways = np.array([leg.thigh_offset[1] for leg in LEGS])
    feet = below_hip * np.cos(hip_x) + sideways * np.sin(hip_x)
    return np.asarray(FOOT_RADIUS + feet.max(axis=1))


class Environment:
    """Robots that learn to walk.

    Attributes:
        difficulty: 0 to 1, set by the trainer.
        means: Mean of each reward term and of the tracking quality in the latest step.
    """

    def __init__(self, count: int, *, seed: int, threads: int = 1) -> None:
        """Make `count` robots; all that is random follows from `seed`."""
        self.count, self.difficulty = count, 0.0
        self.means: dict[str, float] = {}
        self._random = np.random.default_rng(seed)
        rough = round(ROUGH_SHARE * count)
        self._rough = np.arange(count - rough, count)
        self._near = np.arange(count) < NEAR_SHARE * count
        self._reach = np.where(self._near, NEAR_REACH, 1.0)[:, None]
        self._robots = Robots(count, rough=rough, threads=threads)
        # The latest three outputs, newest first: a late command is an earlier one.
        self._actions: Array = np.zeros((3, count, ACTION_SIZE))
        self._targets: Array = np.tile(STANDING_RAD, (3, count, 1))
        self._command, self._drift = np.zeros((2, count, 3))
        self._air_s: Array = np.zeros((count, len(FOOT_NAMES)))
        self._touch: Bools = np.ones((count, len(FOOT_NAMES)), dtype=bool)
        self._delay, self._age = np.zeros((2, count), dtype=int)
        self._draw_dynamics()

    def reset(self) -> tuple[Array, Array]:
        """Start all episodes, at random ages so that they do not end together."""
        self._start(np.arange(self.count))
        self._age = self._random.integers(0, EPISODE_TICKS, self.count)
        return self._observations()

    def randomise(self) -> tuple[Array, Array]:
        """Draw the dynamics of every robot anew; those on rough ground, which moves, start again.

        Returns:
            What policy and critic see now.
        """
        self._draw_dynamics()
        self._start(self._rough)
        return self._observations()

    def step(self, action: npt.NDArray[np.floating]) -> Step:
        """Apply the policy's outputs [robots, 12] for a period; finished robots start again."""
        robots = self._robots
        self._actions = np.stack([action.astype(np.float64), *self._actions[:2]])
        targets = STANDING_RAD + self._actions[0] * ACTION_SCALE_RAD
        self._targets = np.stack([targets, *self._targets[:2]])
        sent = delayed(self._targets, self._delay)
        joint_vel_before = robots.qvel[:, 6:].copy()
        robots.step(sent)
        self._age += 1
        motion = self._motion(sent, joint_vel_before)
        fallen = self._fallen()
        reward = np.where(fallen, FALL_REWARD, self._reward(motion))
        truncated = (self._age >= EPISODE_TICKS) & ~fallen
        self._disturb()
        robots.wrap()
        final = self._observations()[1]
        self._start(np.flatnonzero(fallen | truncated))
        obs, critic_obs = self._observations()
        return Step(
            obs=obs, critic_obs=critic_obs, reward=reward, terminated=fallen,
            truncated=truncated, final_critic_obs=np.nan_to_num(final),
        )  # fmt: skip

    def _draw_dynamics(self) -> None:
        """Draw the dynamics of every robot and the rough ground."""
        spread = self._random.uniform(-1.0, 1.0, (self.count, 8))
        spread *= self.difficulty * self._reach
        self._dynamics = Dynamics(
            friction=0.85 + 0.45 * spread[:, 0],
            payload_kg=2.5 * spread[:, 1],
            com_offset_m=spread[:, 2:5] * [0.03, 0.02, 0.02],
            stiffness=1.0 + 0.15 * spread[:, 5],
            damping=1.0 + 0.15 * spread[:, 6],
            armature_kgm2=BEGINNERS_ARMATURE_KGM2 * (1.0 - self.difficulty)
            + 0.005 * np.abs(spread[:, 7]),
            gravity_unit=self._draw_slopes(),
        )
        self._robots.randomise(
            self._dynamics,
            step_m=STEP_M * self.difficulty,
            seed=int(self._random.integers(1 << 30)),
        )

    def _motion(self, sent: Array, joint_vel_before: Array) -> Motion:
        """Gather what the reward judges, and take note of contacts and drift."""
        robots, quat = self._robots, self._quat_xyzw()
        feet, foot_vel = robots.foot_pos_world, robots.foot_vel_world
        ground = robots.ground_m(feet[..., :2])
        touch = np.asarray((robots.foot_force_n > TOUCH_N).any(axis=1))
        landed, air_s = touch & ~self._touch, self._air_s
        self._air_s, self._touch = np.where(touch, 0.0, air_s + POLICY_DT_S), touch
        lin_vel = turn(robots.qvel[:, :3], -yaw_rad(quat))
        turning = rotate(quat, robots.qvel[:, 3:6])[:, 2:]
        velocity = np.concatenate([lin_vel[:, :2], turning], axis=1)
        self._update_drift(velocity)
        up = np.broadcast_to([0.0, 0.0, 1.0], lin_vel.shape)
        return Motion(
            command=self._command, velocity=velocity, drift=self._drift,
            lin_vel_z=lin_vel[:, 2], ang_vel_xy=robots.qvel[:, 3:5],
            floor_normal_xy=rotate_inverse(quat, up)[:, :2],
            height_m=robots.qpos[:, 2] - ground.mean(axis=1),
            joint_pos=robots.qpos[:, 7:], joint_vel=robots.qvel[:, 6:],
            joint_vel_before=joint_vel_before,
            torque_squared=mean_square_torque(sent, *robots.joint_path),
            target=self._targets[0], action=self._actions[0], action_before=self._actions[1],
            action_two_before=self._actions[2], touch=touch, landed=landed,
            air_s=np.where(landed, air_s, self._air_s), foot_height_m=feet[..., 2] - ground,
            foot_speed=np.linalg.norm(foot_vel[..., :2], axis=2),
        )  # fmt: skip

    def _update_drift(self, velocity: Array) -> None:
        """Smooth the error of steady walking; until a robot has settled, and when kicked, it is 0.

        What a robot lacks while it speeds up would else be made good by walking too fast.
        """
        phase = self._age % COMMAND_TICKS
        steady = (phase >= SETTLED_TICKS) & (phase < KICK_PHASE_TICKS)
        self._drift += (velocity - self._command - self._drift) * (POLICY_DT_S / DRIFT_TIME_S)
        self._drift *= steady[:, None]

    def _reward(self, motion: Motion) -> Array:
        """Return the reward of the period [robots] and keep the means of its terms."""
        terms = reward_terms(motion, self.difficulty)
        follow_xy, follow_wz = tracking(motion)
        shown = terms | {"follow_xy": follow_xy, "follow_wz": follow_wz}
        self.means = {name: float(np.nanmean(value)) for name, value in shown.items()}
        return np.asarray(POLICY_DT_S * np.sum(list(terms.values()), axis=0))

    def _fallen(self) -> Bools:
        """Return which robots are tilted by 60 degrees, on their bellies, or numerically lost."""
        qpos = self._robots.qpos
        up = 1.0 - 2.0 * (qpos[:, 4] ** 2 + qpos[:, 5] ** 2)
        finite = np.isfinite(qpos).all(axis=1) & np.isfinite(self._robots.qvel).all(axis=1)
        return np.asarray((up < 0.5) | (qpos[:, 2] < 0.18) | ~finite)

    def _observations(self) -> tuple[Array, Array]:
        """Return what the policy sees (noisy) and what the critic sees (exact, with extras)."""
        robots, quat = self._robots, self._quat_xyzw()
        exact = observe(
            quat, robots.gravity_unit, robots.qvel[:, 3:6], self._command, robots.qpos[:, 7:],
            robots.qvel[:, 6:], self._actions[0],
        )  # fmt: skip
        noise = self.difficulty * self._reach * NOISE
        noise *= self._random.uniform(-1.0, 1.0, exact.shape)
        up = np.broadcast_to([0.0, 0.0, 1.0], (self.count, 3))
        extras = [
            rotate_inverse(quat, robots.qvel[:, :3]), rotate_inverse(quat, up)[:, :2],
            robots.qpos[:, 2:3] - robots.ground_m(robots.qpos[:, None, :2]), self._touch,
            self._drift, self._dynamics.friction[:, None], self._dynamics.payload_kg[:, None],
            self._delay[:, None] / DECIMATION,
        ]  # fmt: skip
        return exact + noise, np.concatenate([exact, *extras], axis=1)

    def _disturb(self) -> None:
        """Give the commands and kicks that are due."""
        self._draw_commands(np.flatnonzero(self._age % COMMAND_TICKS == 0))
        due = np.flatnonzero(self._age % COMMAND_TICKS == KICK_PHASE_TICKS)
        kick = self.difficulty * self._random.uniform(-1.0, 1.0, (len(due), 6))
        self._robots.qvel[due, :6] += kick * [1.1, 1.1, 0.0, 0.4, 0.4, 0.4]

    def _draw_commands(self, rows: Rows) -> None:
        """Draw commands: in the end 20 % zero, 40 % on one axis only, the rest on all three.

        A beginner is asked to go nearly always: one that may stand learns to stand.
        """
        limit, still = 0.6 + 0.25 * self.difficulty, 0.05 + 0.15 * self.difficulty
        command = self._random.uniform(-limit, limit, (len(rows), 3))
        kind = self._random.random(len(rows))
        axis = np.eye(3)[self._random.integers(0, 3, len(rows))]
        single = axis * np.sign(command) * np.maximum(np.abs(command), 0.3 * limit)
        command = np.where((kind < still + 0.4)[:, None], single, command)
        command[(kind < still) | (np.abs(command).max(axis=1) < 0.08)] = 0.0
        self._command[rows], self._drift[rows] = command, 0.0

    def _draw_slopes(self) -> Array:
        """Draw directions of gravity [robots, 3] in the floor's frame: down, or aslant."""
        sloped = ~self._near & (self._random.random(self.count) < SLOPED_SHARE)
        angle = sloped * self.difficulty * SLOPE_RAD * self._random.random(self.count)
        heading = self._random.uniform(-np.pi, np.pi, self.count)
        x, y = np.sin(angle) * np.cos(heading), np.sin(angle) * np.sin(heading)
        return np.stack([x, y, -np.cos(angle)], axis=1)

    def _draw_delays(self, count: int) -> Rows:
        """Draw latencies in physics steps: up to 20 ms, for one robot in four up to 40 ms."""
        longest = np.where(self._random.random(count) < 0.25, 2 * DECIMATION, DECIMATION)
        return np.floor(self._random.random(count) * (1 + self.difficulty * longest)).astype(int)

    def _start(self, rows: Rows) -> None:
        """Let the given robots begin anew: handed over standing, or thrown near the same pose."""
        n = len(rows)
        handed = self._random.random(n) < HANDED_OVER_SHARE * self.difficulty
        qpos, qvel = self._draw_poses(handed)
        self._robots.place(rows, qpos, qvel)
        self._actions[:, rows] = self._air_s[rows] = 0.0
        self._targets[:, rows], self._touch[rows] = qpos[:, 7:], True
        self._delay[rows], self._age[rows] = self._draw_delays(n), 0
        self._draw_commands(rows)
        self._command[rows[handed]] = 0.0
        self._age[rows[handed]] = COMMAND_TICKS - HANDED_OVER_TICKS

    def _draw_poses(self, handed: Bools) -> tuple[Array, Array]:
        """Draw positions [n, 19] and velocities [n, 18] of robots that are handed over or not."""
        n, random = len(handed), self._random
        reach = np.where(handed, 0.1, 1.0)[:, None]
        qpos, qvel = np.zeros((n, 19)), np.zeros((n, 18))
        lean, yaw = reach * random.uniform(-0.05, 0.05, (n, 2)), random.uniform(-1.0, 1.0, n)
        quat_wxyz = np.column_stack([np.cos(yaw * np.pi / 2), lean, np.sin(yaw * np.pi / 2)])
        qpos[:, 3:7] = quat_wxyz / np.linalg.norm(quat_wxyz, axis=1, keepdims=True)
        bent, wide = handed * random.uniform(0.0, 1.0, (2, n))
        qpos[:, 7:] = STANDING_RAD + reach * random.uniform(-0.15, 0.15, (n, ACTION_SIZE))
        qpos[:, 7:] += np.outer(bent, BENT_RAD * _BENDING) + np.outer(wide, WIDE_RAD * _WIDENING)
        thrown_m = 0.35 + random.uniform(-0.02, 0.02, n)
        qpos[:, 2] = np.where(handed, standing_height_m(qpos[:, 7:]), thrown_m)
        qvel[:, :6] = reach * random.uniform(-0.4, 0.4, (n, 6))
        return qpos, qvel

    def _quat_xyzw(self) -> Array:
        return np.roll(self._robots.qpos[:, 3:7], -1, axis=1)
