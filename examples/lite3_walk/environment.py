# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A MuJoCo environment with gymnasium's API, for trying lite3_walk before the node runs it.

    model_tools run my_bundle --env examples.lite3_walk.environment:make

The environment computes the observation itself, as training code does, and so checks the bundle
independently. Only `robot_sim` is needed, not gymnasium.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_sim.drives import DriveCommand
from robot_sim.figures import LITE3, Array
from robot_sim.world import NS_PER_S, World

DEFAULT = np.array([0.0, -0.65, 1.3] * 4)
ACTION_SCALE = np.array([0.125, 0.25, 0.25] * 4)
PERIOD_NS, EPISODE_TICKS = NS_PER_S // 50, 500


def make() -> Lite3Walking:
    return Lite3Walking()


class Lite3Walking:
    """A Lite3 on a flat floor; in each episode, it must walk at a new random velocity."""

    def __init__(self) -> None:
        """Create the floor and the robot; call `reset` next."""
        self._random, self._world = np.random.default_rng(), World()

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        """Put the robot on its feet; return the observation [45] and an empty info dict."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self._command = self._random.uniform(-0.8, 0.8, 3)
        self._action, self._ticks = np.zeros(12), 0
        self._world.reset(pose="standing")
        return self._observe(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Drive the joints for 20 ms.

        Args:
            action: Output of the policy [12]; the targets are the default positions + scale x
                action.

        Returns:
            The observation [45], the velocity reward, whether the robot fell, whether the episode
            is over, and an empty info dict.
        """
        self._action = np.asarray(action, float)
        self._drive(DEFAULT + ACTION_SCALE * self._action)
        self._ticks += 1
        sensed = self._world.sense()
        moved = np.append(sensed.lin_vel_body[:2], sensed.ang_vel_body[2])
        reward = float(np.exp(-4.0 * np.square(moved - self._command).sum()))
        return self._observe(), reward, self._world.fallen, self._ticks >= EPISODE_TICKS, {}

    def _drive(self, position: Array) -> None:
        self._world.apply(
            DriveCommand(
                joint_names=LITE3.joint_names,
                position=position,
                velocity=np.zeros(12),
                effort=np.zeros(12),
                stiffness=np.full(12, 30.0),
                damping=np.full(12, 1.0),
                effort_limit=np.full(12, 36.0),
                valid_for_ns=2 * PERIOD_NS,
            )
        )
        self._world.step(PERIOD_NS)

    def _observe(self) -> Array:
        sensed = self._world.sense()
        x, y, z, w = sensed.quat_xyzw
        gravity = np.array([2 * (w * y - x * z), -2 * (w * x + y * z), 2 * (x * x + y * y) - 1])
        return np.concatenate(
            [
                0.25 * sensed.ang_vel_body,
                gravity,
                self._command,
                sensed.joint_pos - DEFAULT,
                0.05 * sensed.joint_vel,
                self._action,
            ]
        )
