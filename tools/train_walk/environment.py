# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The task: walk as commanded or track a motion, with varying mass, terrain and disturbances.

`difficulty` in [0, 1] scales everything that makes walking harder; all randomness is in `draws`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_sim.figures import Array
from robot_sim.rotation import place_level, rotate, rotate_inverse, turn, yaw_rad
from tools.train_walk.definition import LEGS, Task, TrainedRobot
from tools.train_walk.draws import Bools, Draws, Rows
from tools.train_walk.layout import (
    ACTION_SIZE,
    JOINT_VEL_SCALE,
    make_layout,
    observe,
    observe_ground,
)
from tools.train_walk.physics import DECIMATION, POLICY_DT_S, Robots
from tools.train_walk.reference import make_reference
from tools.train_walk.reward import Motion, following, mean_square_torque, reward_terms

TOUCH_N = 1.0
AHEAD_S = (0.15, 0.3)
"""A swinging foot must clear the ground as far ahead as the base travels in these times."""
RANDOMISE_TICKS = 1200
"""Ticks from one draw of all dynamics to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Results of a policy period; arrays have one row per robot.

    Attributes:
        obs: Next observation of the policy [robots, obs_size].
        critic_obs: Next observation of the critic [robots, critic_size].
        reward: Reward of the period [robots].
        terminated: Robots that were reset because they fell.
        truncated: Robots that were reset because their time was over or their terrain changed.
    """

    obs: Array
    critic_obs: Array
    reward: Array
    terminated: Bools
    truncated: Bools


def delayed(targets: Array, delay: Rows) -> Array:
    """Return the targets that reach the drives at each physics step of a period.

    Args:
        targets: Targets of this period and the previous ones, newest first [periods, robots, 12].
        delay: Latency of each robot in physics steps [robots], less than the duration of all these
            periods.

    Returns:
        Targets [robots, DECIMATION, 12].
    """
    late = np.maximum(delay[:, None] - np.arange(DECIMATION), 0)
    periods_ago = -(-late // DECIMATION)
    return np.asarray(targets[periods_ago, np.arange(len(delay))[:, None]])


class Environment:
    """Robots that learn to walk.

    Attributes:
        difficulty: 0 to 1, set by the trainer.
        layout: Layout of the observation.
        means: Means of each reward term and of the tracking quality in the latest step.
    """

    def __init__(
        self, robot: TrainedRobot, task: Task, count: int, *, seed: int, threads: int = 1
    ) -> None:
        """Create `count` robots; `seed` determines all randomness."""
        self.robot, self.task = robot, task
        self.count, self.difficulty, self.layout = count, 0.0, make_layout(robot, task)
        self.means: dict[str, float] = {}
        self._reference = make_reference(robot, task)
        self._draws = Draws(robot, task, count, seed=seed)
        rough = {
            terrain: round(share * count) for terrain, (share, _) in task.disturbances.rough.items()
        }
        self._rough = np.arange(count - sum(rough.values()), count)
        self._robots = Robots(robot, count, rough=rough, threads=threads)
        points = 0 if robot.scan is None else len(robot.scan.points)
        self._shift, self._late = self._draws.map_errors(count, 0.0)
        # the latest scans, newest first: NaN if there was none yet
        self._scans: Array = np.full((1 + self._draws.latest_map, count, points), np.nan)
        # the latest three outputs, newest first: a late command is an earlier one
        self._actions: Array = np.zeros((3, count, ACTION_SIZE))
        self._targets: Array = np.tile(robot.pose_rad, (3, count, 1))
        self._command, self._drift = np.zeros((2, count, 3))
        self._air_s: Array = np.zeros((count, LEGS))
        self._touch: Bools = np.ones((count, LEGS), dtype=bool)
        self._delay, self._age = np.zeros((2, count), dtype=int)
        self._ticks = 0

    def reset(self) -> tuple[Array, Array]:
        """Draw all dynamics, and start all episodes at random ages, so that their ends differ."""
        self._draw_dynamics()
        self._start(np.arange(self.count))
        self._age = self._draws.ages(self.task.episode_ticks)
        return self._observations()

    def step(self, action: npt.NDArray[np.floating]) -> Step:
        """Apply the policy's outputs [robots, 12] for a period; restart finished robots."""
        robots = self._robots
        self._actions = np.stack([action.astype(np.float64), *self._actions[:2]])
        targets = self.robot.pose_rad + self._actions[0] * self.robot.scale_rad
        self._targets = np.stack([targets, *self._targets[:2]])
        sent = delayed(self._targets, self._delay)
        joint_vel_before = robots.qvel[:, 6:].copy()
        robots.step(sent)
        self._age += 1
        motion = self._motion(sent, joint_vel_before)
        fallen = self._fallen()
        reward = np.where(fallen, self.task.fall_reward, self._reward(motion))
        truncated = (self._age >= self.task.episode_ticks) & ~fallen
        self._disturb()
        robots.wrap()
        self._ticks += 1
        if self._ticks % RANDOMISE_TICKS == 0:
            self._draw_dynamics()
            truncated[self._rough] = ~fallen[self._rough]
        self._start(np.flatnonzero(fallen | truncated))
        obs, critic_obs = self._observations()
        return Step(
            obs=obs,
            critic_obs=critic_obs,
            reward=reward,
            terminated=fallen,
            truncated=truncated,
        )

    def _draw_dynamics(self) -> None:
        """Draw the dynamics of each robot, and the rough ground."""
        self._dynamics = self._draws.dynamics(self.difficulty)
        self._robots.randomise(
            self._dynamics,
            steps_m={
                terrain: (lowest_m * self.difficulty, highest_m * self.difficulty)
                for terrain, (_, (lowest_m, highest_m)) in self.task.disturbances.rough.items()
            },
            seed=self._draws.seed(),
        )

    def _motion(self, sent: Array, joint_vel_before: Array) -> Motion:
        """Collect the inputs of the reward, and record contacts and drift."""
        robots, quat = self._robots, self._quat_xyzw()
        expected, frame = self._reference, self._frame()
        feet, foot_vel = robots.foot_pos_world, robots.foot_vel_world
        ground = robots.ground_m(feet[..., :2])
        going = turn(self._command * [1.0, 1.0, 0.0], yaw_rad(quat))[:, None, :2]
        ahead = [robots.ground_m(feet[..., :2] + going * time_s) for time_s in AHEAD_S]
        touch = np.asarray((robots.foot_force_n > TOUCH_N).any(axis=1))
        landed, air_s = touch & ~self._touch, self._air_s
        self._air_s, self._touch = np.where(touch, 0.0, air_s + POLICY_DT_S), touch
        lin_vel = turn(robots.qvel[:, :3], -yaw_rad(quat))
        turning = rotate(quat, robots.qvel[:, 3:6])[:, 2:]
        velocity = np.concatenate([lin_vel[:, :2], turning], axis=1)
        self._update_drift(velocity)
        up = np.broadcast_to([0.0, 0.0, 1.0], lin_vel.shape)
        return Motion(
            command=self._command,
            velocity=velocity,
            drift=self._drift,
            lin_vel_z=lin_vel[:, 2],
            ang_vel_xy=robots.qvel[:, 3:5],
            floor_normal_xy=rotate_inverse(quat, up)[:, :2],
            height_m=robots.qpos[:, 2] - ground.mean(axis=1),
            joint_pos=robots.qpos[:, 7:],
            joint_vel=robots.qvel[:, 6:],
            joint_vel_before=joint_vel_before,
            expected_normal_xy=expected.floor_normal_xy[frame],
            expected_height_m=expected.base_z_m[frame],
            expected_pos=expected.joint_pos[frame],
            torque_squared=mean_square_torque(self.robot, sent, *robots.joint_path),
            target=self._targets[0],
            action=self._actions[0],
            action_before=self._actions[1],
            action_two_before=self._actions[2],
            touch=touch,
            landed=landed,
            air_s=np.where(landed, air_s, self._air_s),
            foot_height_m=feet[..., 2] - np.max([ground, *ahead], axis=0),
            foot_speed=np.linalg.norm(foot_vel[..., :2], axis=2),
        )

    def _update_drift(self, velocity: Array) -> None:
        """Low-pass filter the velocity error during steady walking.

        The result is kept at 0 after a kick, and until the robot has settled on a new command. If
        the acceleration phase were included, the robot would learn to make up for its lag by
        walking too fast later.
        """
        task, phase = self.task, self._age % self.task.command_ticks
        steady = (phase >= task.settled_ticks) & (phase < task.kick_phase_ticks)
        self._drift += (velocity - self._command - self._drift) * (POLICY_DT_S / task.drift_time_s)
        self._drift *= steady[:, None]

    def _reward(self, motion: Motion) -> Array:
        """Return the reward for the period [robots], and store the means of its terms."""
        terms = reward_terms(self.robot, self.task, motion, self.difficulty)
        shown = terms | following(self.task, motion)
        self.means = {name: float(np.nanmean(value)) for name, value in shown.items()}
        return np.asarray(POLICY_DT_S * np.sum(list(terms.values()), axis=0))

    def _fallen(self) -> Bools:
        """Return which robots are tilted over 60 degrees, on their bellies, or not finite."""
        qpos = self._robots.qpos
        up = 1.0 - 2.0 * (qpos[:, 4] ** 2 + qpos[:, 5] ** 2)
        finite = np.isfinite(qpos).all(axis=1) & np.isfinite(self._robots.qvel).all(axis=1)
        over_m = qpos[:, 2] - self._below()
        return np.asarray((up < 0.5) | (over_m < self.robot.fallen_height_m) | ~finite)

    def _below(self) -> Array:
        """Return the height of the ground under each base [robots], m."""
        xy = np.nan_to_num(self._robots.qpos[:, None, :2])
        return np.asarray(self._robots.ground_m(xy)[:, 0])

    def _frame(self) -> Rows:
        """Return the current frame of the reference for each robot."""
        return np.minimum(self._age, len(self._reference.joint_pos) - 1)

    def _goal(self) -> Array:
        """Return the part of the policy's observation that states its goal."""
        if not self.task.motion:
            return self._command
        frame, reference = self._frame(), self._reference
        return np.concatenate(
            [reference.joint_pos[frame], reference.joint_vel[frame] * JOINT_VEL_SCALE], axis=1
        )

    def _observations(self) -> tuple[Array, Array]:
        """Return the policy's observation (noisy) and the critic's (exact, with extras)."""
        robots, quat = self._robots, self._quat_xyzw()
        exact = observe(
            quat,
            robots.gravity_unit,
            robots.qvel[:, 3:6],
            self._goal(),
            robots.qpos[:, 7:] - self.robot.pose_rad,
            robots.qvel[:, 6:],
            self._actions[0],
        )
        up = np.broadcast_to([0.0, 0.0, 1.0], (self.count, 3))
        extras = [
            rotate_inverse(quat, robots.qvel[:, :3]),
            rotate_inverse(quat, up)[:, :2],
            robots.qpos[:, 2:3] - self._below()[:, None],
            self._touch,
            self._drift,
            self._dynamics.friction[:, None],
            self._dynamics.payload_kg[:, None],
            self._delay[:, None] / DECIMATION,
        ]
        noisy = exact + self._draws.noise(self.difficulty)
        # last for both, so that a policy without it can be the start of the training
        if self.robot.scan is not None:
            ground, wrong = self._scanned(quat)
            noisy, extras = np.concatenate([noisy, wrong], axis=1), [*extras, ground]
        elif self.robot.sees_velocity:
            lin_vel = rotate_inverse(quat, robots.qvel[:, :3])
            wrong = lin_vel + self._draws.velocity_noise(self.difficulty)
            noisy, extras = np.concatenate([noisy, wrong], axis=1), [*extras, lin_vel]
        return noisy, np.concatenate([exact, *extras], axis=1)

    def _scanned(self, quat_xyzw: Array) -> tuple[Array, Array]:
        """Return scans of the true ground and of a map with errors [robots, points]."""
        robots, shift = self._robots, self._shift
        assert self.robot.scan is not None
        points = place_level(self.robot.scan.points, robots.qpos[:, :3], quat_xyzw)[..., :2]
        base_z = robots.qpos[:, 2]
        there = observe_ground(self.robot, base_z, robots.ground_m(points))
        shown = robots.ground_m(points + shift[:, None, :2]) + shift[:, 2:]
        shown = self._draws.with_map_errors(shown, self.difficulty)
        newest = observe_ground(self.robot, base_z, shown)
        self._scans = np.stack([newest, *self._scans[:-1]])
        late = self._scans[self._late, np.arange(self.count)]
        return there, np.where(np.isnan(late), newest, late)

    def _disturb(self) -> None:
        """Apply the commands and kicks that are due."""
        phase = self._age % self.task.command_ticks
        self._command_anew(np.flatnonzero(phase == 0))
        due = np.flatnonzero(phase == self.task.kick_phase_ticks)
        self._robots.qvel[due, :6] += self._draws.kicks(len(due), self.difficulty)

    def _command_anew(self, rows: Rows) -> None:
        self._command[rows] = self._draws.commands(len(rows), self.difficulty)
        self._drift[rows] = 0.0

    def _start(self, rows: Rows) -> None:
        """Reset the given robots: each is handed over standing, or thrown in a similar pose."""
        draws, n = self._draws, len(rows)
        handed = draws.handed_over(n, self.difficulty)
        qpos, qvel = draws.poses(handed)
        self._robots.place(rows, qpos, qvel)
        self._actions[:, rows] = self._air_s[rows] = 0.0
        self._targets[:, rows], self._touch[rows] = qpos[:, 7:], True
        self._delay[rows], self._age[rows] = draws.delays(n, self.difficulty), 0
        self._shift[rows], self._late[rows] = draws.map_errors(n, self.difficulty)
        self._scans[:, rows] = np.nan
        self._command_anew(rows)
        self._command[rows[handed]] = 0.0
        self._age[rows[handed]] = self.task.command_ticks - self.task.handed_over.ticks

    def _quat_xyzw(self) -> Array:
        return np.roll(self._robots.qpos[:, 3:7], -1, axis=1)
