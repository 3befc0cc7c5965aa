# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What training rewards is what walking well means."""

from __future__ import annotations

import numpy as np
import pytest

from robot_sim.figures import Array
from tools.train_walk.definition import TrainedRobot, load_task, load_trained_robot
from tools.train_walk.reward import Motion, reward_terms

ROBOT, TASK = load_trained_robot("lite3"), load_task("walk")
LITE3 = ROBOT.body

FORWARD = np.array([[0.5, 0.0, 0.0]])
STOP = np.zeros((1, 3))


def walking_motion(command: Array = FORWARD, **changed: Array) -> Motion:
    """Return a robot that follows without effort, on two feet; in stop, on four."""
    zeros, moving = np.zeros((1, 12)), command.any()
    touch = np.array([[True, not moving, not moving, True]])
    values = {
        "command": command,
        "velocity": command,
        "drift": np.zeros((1, 3)),
        "lin_vel_z": np.zeros(1),
        "ang_vel_xy": np.zeros((1, 2)),
        "floor_normal_xy": np.zeros((1, 2)),
        "height_m": np.full(1, ROBOT.walking_height_m),
        "joint_pos": LITE3.standing_rad[None],
        "joint_vel": zeros,
        "joint_vel_before": zeros,
        "expected_normal_xy": np.zeros((1, 2)),
        "expected_height_m": np.full(1, ROBOT.walking_height_m),
        "expected_pos": LITE3.standing_rad[None],
        "torque_squared": zeros,
        "target": LITE3.standing_rad[None],
        "action": zeros,
        "action_before": zeros,
        "action_two_before": zeros,
        "touch": touch,
        "landed": np.zeros((1, 4), dtype=bool),
        "air_s": np.where(touch, 0.0, 0.1),
        "foot_height_m": np.full((1, 4), 0.02),
        "foot_speed": np.zeros((1, 4)),
    }
    return Motion(**values | changed)


def reward(of: Motion, robot: TrainedRobot = ROBOT) -> float:
    return float(np.sum([term[0] for term in reward_terms(robot, TASK, of, 1.0).values()]))


CHANGES_FOR_THE_WORSE = {
    "too slow": {"velocity": np.array([[0.2, 0.0, 0.0]])},
    "drifting aside": {"velocity": np.array([[0.5, 0.1, 0.0]])},
    "turning unasked": {"velocity": np.array([[0.5, 0.0, 0.2]])},
    "off in the mean": {"drift": np.array([[0.05, 0.0, 0.0]])},
    "turning off in the mean": {"drift": np.array([[0.0, 0.0, 0.05]])},
    "bobbing": {"lin_vel_z": np.array([0.2])},
    "rocking": {"ang_vel_xy": np.array([[1.0, 0.0]])},
    "tilted": {"floor_normal_xy": np.array([[0.1, 0.0]])},
    "crouching": {"height_m": np.array([ROBOT.walking_height_m - 0.1])},
    "straining": {"torque_squared": np.full((1, 12), 100.0)},
    "jerking its joints": {"joint_vel": np.full((1, 12), 5.0)},
    "jerking its commands": {"action": np.full((1, 12), 1.0)},
    "commanding beyond the joints' range": {"target": LITE3.standing_rad[None] + 1.0},
    "dragging a foot": {"foot_speed": np.full((1, 4), 1.0)},
    "hanging a foot in the air": {"air_s": np.array([[0.0, 0.5, 0.1, 0.0]])},
    "on one side": {"touch": np.array([[True, False, True, False]])},
    "straddling": {"joint_pos": LITE3.standing_rad[None] + np.tile([0.3, 0.0, 0.0], 4)},
    "far from its pose": {"joint_pos": LITE3.standing_rad[None] + np.tile([0.0, 0.5, 0.0], 4)},
}


@pytest.mark.parametrize("change", CHANGES_FOR_THE_WORSE)
def test_walking_is_worth_less_when(change: str) -> None:
    assert reward(walking_motion(**CHANGES_FOR_THE_WORSE[change])) < reward(walking_motion()) - 1e-3


@pytest.mark.parametrize(
    "restless",
    [
        {"touch": np.array([[True, True, True, False]])},
        {"action": np.full((1, 12), 0.5)},
        {"joint_vel": np.full((1, 12), 1.0), "joint_vel_before": np.full((1, 12), 1.0)},
        {"joint_pos": LITE3.standing_rad[None] + 0.2},
    ],
)
def test_standing_is_worth_less_when_restless(restless: dict[str, Array]) -> None:
    assert reward(walking_motion(STOP, **restless)) < reward(walking_motion(STOP)) - 1e-3
