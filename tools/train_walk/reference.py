# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reference for training: the pose in which a robot walks, or a motion defined by key poses.

In a motion, the feet stay in place; key poses define the base, and the joints follow from the
geometry of the legs. Between two key poses, the base moves with minimum jerk (Flash and Hogan
1985); it is at rest in each key pose.

    python -m tools.train_walk.reference --robot lite3_bow --task bow --output motion.npz
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.files.arrays import write_arrays
from model_tools.files.outputs import new_file
from policy_core.errors import PolicyError
from policy_core.interfaces import Tensor
from robot_sim.errors import SimError
from robot_sim.figures import Array
from tools.train_walk.definition import (
    LEG_JOINTS,
    LEGS,
    KeyPose,
    Task,
    TrainedRobot,
    load_task,
    load_trained_robot,
)
from tools.train_walk.physics import POLICY_DT_S

_log = logging.getLogger("reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One frame per tick; a single frame for walking.

    Attributes:
        joint_pos, joint_vel: [frames, 12], rad and rad/s.
        base_x_m: Distance of the base ahead of its position when the robot stands [frames], m.
        base_z_m: Height of the base above the ground [frames], m.
        pitch_rad: Pitch [frames], rad; positive means nose down.
    """

    joint_pos: Array
    joint_vel: Array
    base_x_m: Array
    base_z_m: Array
    pitch_rad: Array

    @property
    def floor_normal_xy(self) -> Array:
        """Horizontal part of the floor's normal in the body frame [frames, 2]."""
        return np.column_stack([-np.sin(self.pitch_rad), np.zeros_like(self.pitch_rad)])

    def arrays(self, robot: TrainedRobot) -> dict[str, Tensor]:
        """Return a clip's arrays, with the robot's names; docs/motion.md lists the arrays."""
        frames = len(self.joint_pos)
        half, zero = 0.5 * self.pitch_rad, np.zeros(frames)
        pos = np.column_stack([self.base_x_m, zero, self.base_z_m])
        quat_wxyz = np.column_stack([np.cos(half), zero, np.sin(half), zero])
        return {
            "fps": np.array(round(1.0 / POLICY_DT_S, 6)),
            "joint_names": np.array(robot.body.joint_names),
            "joint_pos": self.joint_pos,
            "joint_vel": self.joint_vel,
            "body_names": np.array([robot.body.base.name]),
            "body_pos_w": pos[:, None],
            "body_quat_w": quat_wxyz[:, None],
        }


def make_reference(robot: TrainedRobot, task: Task) -> Reference:
    """Return the reference for a task's robots."""
    if task.motion:
        return _between(robot, task.motion)
    still = np.zeros(1)
    return Reference(
        joint_pos=robot.pose_rad[None],
        joint_vel=np.zeros((1, LEGS * LEG_JOINTS)),
        base_x_m=still,
        base_z_m=np.array([robot.walking_height_m]),
        pitch_rad=still,
    )


def _between(robot: TrainedRobot, keys: Sequence[KeyPose]) -> Reference:
    times_s = np.array([key.at_s for key in keys])
    if len(keys) < 2 or times_s[0] != 0.0 or (np.diff(times_s) <= 0.0).any():
        raise SimError(f"motion: expected times that rise from 0, found {times_s.tolist()}")
    time_s = np.arange(round(times_s[-1] / POLICY_DT_S) + 1) * POLICY_DT_S
    before = np.clip(np.searchsorted(times_s, time_s, "right") - 1, 0, len(keys) - 2)
    share = (time_s - times_s[before]) / np.diff(times_s)[before]
    share = np.clip(share, 0.0, 1.0)
    eased = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
    poses = np.array([(key.forward_m, key.up_m, key.pitch_rad) for key in keys])
    forward, up, pitch = (poses[before] + eased[:, None] * (poses[before + 1] - poses[before])).T
    standing = robot.standing_height_m(robot.pose_rad[None])[0]
    joint_pos = _joints(robot, forward, up, pitch)
    lower, upper = robot.body.range_rad.T
    if not ((lower <= joint_pos) & (joint_pos <= upper)).all():
        raise SimError(
            "motion: expected key poses that the robot reaches, found poses outside its range"
        )
    return Reference(
        joint_pos=joint_pos,
        joint_vel=np.gradient(joint_pos, POLICY_DT_S, axis=0),
        base_x_m=forward,
        base_z_m=standing + up,
        pitch_rad=pitch,
    )


def _joints(robot: TrainedRobot, forward: Array, up: Array, pitch: Array) -> Array:
    """Return the joint positions [frames, 12] that keep the feet where the default pose has them.

    A leg's first joint turns the leg's plane about an x axis at a distance from that plane. Thigh
    and shank lie in the plane; the law of cosines gives the knee. NaN if a leg is too short.
    """
    bodies, backward = robot.body.bodies[1:], robot.backward
    hip = np.array([body.pos for body in bodies[0::LEG_JOINTS]])
    aside = np.array([body.pos[1] for body in bodies[1::LEG_JOINTS]])
    thigh = np.array([-body.pos[2] for body in bodies[2::LEG_JOINTS]])
    foot = np.array([foot.pos for foot in robot.body.feet])
    shank, bend = np.hypot(foot[:, 0], foot[:, 2]), np.arctan2(-foot[:, 0], -foot[:, 2])
    roll, hip_y, knee = robot.pose_rad.reshape(LEGS, LEG_JOINTS).T
    about_x = robot.outward * np.sign(hip[:, 1])

    def in_plane(first: Array, second: Array) -> tuple[Array, Array]:
        """Return x and z of the foot from the hip; angles about y are positive backward."""
        x = -thigh * np.sin(first) - shank * np.sin(first + second)
        return x, -thigh * np.cos(first) - shank * np.cos(first + second)

    roll = about_x * roll
    begin_x, below = in_plane(backward * hip_y, backward * knee + bend)
    y = aside * np.cos(roll) - below * np.sin(roll)
    x = hip[:, 0] + begin_x - forward[:, None]
    z = aside * np.sin(roll) + below * np.cos(roll) - up[:, None]
    sine, cosine = np.sin(pitch)[:, None], np.cos(pitch)[:, None]
    x, z = cosine * x - sine * z - hip[:, 0], sine * x + cosine * z
    with np.errstate(invalid="ignore"):
        below = -np.sqrt(y**2 + z**2 - aside**2)
        inner = np.arccos((x**2 + below**2 - thigh**2 - shank**2) / (2.0 * thigh * shank))
    roll = np.arctan2(z, y) - np.arctan2(below, aside)
    second = np.sign(backward * knee + bend) * inner
    straight_x, straight_z = in_plane(np.zeros(LEGS), second)
    first = np.arctan2(-x, -below) - np.arctan2(-straight_x, -straight_z)
    joints = np.stack([about_x * roll, backward * first, backward * (second - bend)], axis=2)
    return (joints + np.pi).reshape(len(joints), -1) % (2.0 * np.pi) - np.pi


def main(args: Sequence[str] | None = None) -> int:
    """Write the clip for a task; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        prog="reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--robot", default="lite3_bow", help="name of a file in tools/train_walk/robots"
    )
    parser.add_argument("--task", default="bow", help="name of a file in tools/train_walk/tasks")
    parser.add_argument("--output", type=Path, required=True, help="clip to write, .npz")
    given = parser.parse_args(args)
    try:
        robot = load_trained_robot(given.robot)
        with new_file(given.output, force=False) as growing:
            write_arrays(growing, make_reference(robot, load_task(given.task)).arrays(robot))
    except (PolicyError, SimError, OSError) as error:
        _log.error("reference: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
