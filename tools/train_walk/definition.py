# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The two files that define a training run: the robot, and the task that it learns.

The files in `robots` and `tasks` explain each value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from policy_core.bundle.bundle import CONTRACT_FILE
from policy_core.bundle.contract import JointContract, Term
from policy_core.bundle.height_scan import HeightScan
from policy_core.bundle.load import parse_contract
from robot_sim.errors import SimError
from robot_sim.figures import Array, LeggedRobot, Vec3, load_robot, read_figures
from robot_sim.ground import Terrain

_FOLDER = Path(__file__).parent
BUNDLES = _FOLDER.parents[1] / "config" / "bundles"
LEGS, LEG_JOINTS = 4, 3
Growing = tuple[float, float]
"""a and b in a + b * difficulty."""


def at(growing: Growing, difficulty: float) -> float:
    """Return the value at a difficulty from 0 to 1."""
    return growing[0] + growing[1] * difficulty


@dataclass(frozen=True, kw_only=True)
class TrainedRobot:
    """A quadruped in training; each leg has abduction, hip and knee joints."""

    figures: str
    bundle: str
    stiffness: float
    damping: float
    action_scale_rad: Vec3
    walking_height_m: float
    swing_height_m: float
    thrown_height_m: float
    fallen_height_m: float
    payload_kg: float
    default_rad: Vec3 | None = None
    """Default pose of each leg's joints; if absent, the robot's standing pose."""

    def __post_init__(self) -> None:
        """Check that the robot is a quadruped."""
        found = len(self.body.feet), len(self.body.joint_names)
        if found != (LEGS, LEGS * LEG_JOINTS):
            raise SimError(
                f"{self.figures}: expected {LEGS} legs of {LEG_JOINTS} joints, found "
                f"{found[0]} legs and {found[1]} joints"
            )

    @cached_property
    def body(self) -> LeggedRobot:
        """The robot's figures in `robot_sim`."""
        return load_robot(self.figures)

    @cached_property
    def contract(self) -> JointContract:
        """The contract of the bundle named `bundle`."""
        file = BUNDLES / self.bundle / CONTRACT_FILE
        return parse_contract(file.read_bytes(), file, kind=JointContract)

    @property
    def sees_velocity(self) -> bool:
        """True if the last term of the contract's observation is the velocity of the base."""
        return self.contract.observations["obs"].terms[-1].term == "base_lin_vel"

    @property
    def tracks_motion(self) -> bool:
        """True if the contract's policy tracks a motion, instead of following a velocity."""
        terms = self.contract.observations["obs"].terms
        return any(term.term.startswith("motion_") for term in terms)

    @property
    def scan_term(self) -> Term | None:
        """The contract's height-scan term, always the last in the observation; None without one."""
        last = self.contract.observations["obs"].terms[-1]
        return last if last.scan is not None else None

    @property
    def scan(self) -> HeightScan | None:
        """Height scan in the policy's observation; None if there is none."""
        return None if self.scan_term is None else self.scan_term.scan

    @cached_property
    def pose_rad(self) -> Array:
        """The default pose [12], rad, which is the target for an action of 0."""
        if self.default_rad is None:
            return self.body.standing_rad
        return np.tile(self.default_rad, LEGS)

    @cached_property
    def scale_rad(self) -> Array:
        """Change of the targets for an action of 1 [12], rad."""
        return np.tile(self.action_scale_rad, LEGS)

    @cached_property
    def outward(self) -> Array:
        """Sign of motion in each leg's first joint that moves the foot outward [4]: 1 or -1."""
        return np.sign(self._hips[:, 1]) * self._axes[0::LEG_JOINTS, 0]

    @cached_property
    def backward(self) -> Array:
        """Sign of motion that swings each leg's thigh and shank backward [4]: 1 or -1."""
        return self._axes[1::LEG_JOINTS, 1]

    def standing_height_m(self, joint_pos: Array) -> Array:
        """Return the base heights [robots], m, of level robots that stand in these poses.

        Args:
            joint_pos: Joint positions [robots, 12], rad.
        """
        hip_x, hip_y, knee = np.moveaxis(joint_pos.reshape(-1, LEGS, LEG_JOINTS), -1, 0)
        bodies = self.body.bodies[1:]
        thigh = np.array([-body.pos[2] for body in bodies[2::LEG_JOINTS]])
        shank = np.array([-foot.pos[2] for foot in self.body.feet])
        sideways = np.array([body.pos[1] for body in bodies[1::LEG_JOINTS]])
        forward = np.array([foot.pos[0] for foot in self.body.feet])
        below_hip = thigh * np.cos(hip_y) + shank * np.cos(hip_y + knee)
        below_hip = below_hip + forward * self.backward * np.sin(hip_y + knee)
        right = -self._axes[0::LEG_JOINTS, 0]
        feet = below_hip * np.cos(hip_x) + sideways * right * np.sin(hip_x)
        return np.asarray(self.body.feet[0].radius_m + feet.max(axis=1))

    @property
    def _hips(self) -> Array:
        return np.array([body.pos for body in self.body.bodies[1::LEG_JOINTS]])

    @property
    def _axes(self) -> Array:
        return np.array([joint.axis for joint in self.body.joints])


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """Ranges and shares of the commands."""

    largest: Growing
    still_share: Growing
    single_axis_share: float
    single_axis_least: float
    deadband: float
    forward_share: float = 0.0
    """Share of forward commands (at least `single_axis_least` of the range) with little turning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPose:
    """Pose of the base at one time in a motion, relative to that of the standing robot."""

    name: str
    at_s: float
    forward_m: float = 0.0
    up_m: float = 0.0
    pitch_rad: float = 0.0
    """Positive means nose down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """Parameters of robots that start as if they had just stood up."""

    share: float
    ticks: int
    bent_rad: float
    wide_rad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Maximum noise of the sensors."""

    ang_vel_radps: float
    gravity: float
    joint_pos_rad: float
    joint_vel_radps: float
    lin_vel_mps: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNoise:
    """Maximum errors of an elevation map."""

    drift_m: float = 0.0
    """Shift along each axis, drawn per episode."""
    noise_m: float = 0.0
    """Noise of each point, drawn at every tick."""
    unknown_share: float = 0.0
    """Share of unknown points, each of which is replaced by its neighbor."""
    late_ticks: int = 0
    """Age of the scan, in ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbances:
    """Everything that makes walking harder."""

    near_share: float
    near_reach: float
    friction: tuple[float, float]
    com_offset_m: Vec3
    gains: float
    armature_kgm2: float
    beginners_armature_kgm2: float
    joint_friction_nm: float
    joint_damping: float
    slope_share: float
    slope_rad: float
    tile_share: float
    tile_m: tuple[float, float]
    stairs_share: float = 0.0
    stairs_m: tuple[float, float] = (0.0, 0.0)
    late_share: float
    kick_mps: float
    kick_radps: float
    noise: Noise
    map: MapNoise = MapNoise()

    @property
    def rough(self) -> dict[Terrain, tuple[float, tuple[float, float]]]:
        """For each terrain: share of robots that walk on it, and its lowest and highest step, m."""
        every: dict[Terrain, tuple[float, tuple[float, float]]] = {
            "tiles": (self.tile_share, self.tile_m),
            "stairs": (self.stairs_share, self.stairs_m),
        }
        return {terrain: figures for terrain, figures in every.items() if figures[0]}


@dataclass(frozen=True, kw_only=True)
class RewardWeights:
    """Weights of the reward terms, per second."""

    track_xy: Growing
    track_wz: Growing
    drift: Growing
    lin_z: Growing
    ang_xy: Growing
    tilt: Growing
    height: Growing
    torque: Growing
    joint_acc: Growing
    action_rate: Growing
    range: Growing
    action_bend: Growing
    air_time: Growing
    swing: Growing
    slip: Growing
    trot: Growing
    hop: Growing
    hip: Growing
    pose: Growing
    stand: Growing
    joints: Growing
    stalled: Growing = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the robots learn, and under which conditions."""

    commands: Commands
    episode_ticks: int
    command_ticks: int
    settled_ticks: int
    kick_phase_ticks: int
    drift_time_s: float
    longest_swing_s: float
    fall_reward: float
    handed_over: HandedOver
    disturbances: Disturbances
    rewards: RewardWeights
    started_difficulty: float = 0.5
    """Initial difficulty for a policy that can already walk or track a motion."""
    difficulty_step: float = 0.0012
    """Increase in difficulty after an update in which the robots followed."""
    motion: tuple[KeyPose, ...] = ()
    """The motion that robots track; if empty, they walk as commanded."""


def load_trained_robot(name: str) -> TrainedRobot:
    """Return the robot of `robots/NAME.yaml`."""
    return read_figures(TrainedRobot, _file("robots", name))


def load_task(name: str) -> Task:
    """Return the task of `tasks/NAME.yaml`."""
    return read_figures(Task, _file("tasks", name))


def load_training(robot_name: str, task_name: str) -> tuple[TrainedRobot, Task]:
    """Return a robot and the task that it learns.

    Raises:
        SimError: A file is missing, or the robot's bundle lacks the task's kind of goal.
    """
    robot, task = load_trained_robot(robot_name), load_task(task_name)
    if robot.tracks_motion != bool(task.motion):
        goal, other = ("a motion", "a velocity") if task.motion else ("a velocity", "a motion")
        suitable = sorted(
            file.stem
            for file in (_FOLDER / "robots").glob("*.yaml")
            if load_trained_robot(file.stem).tracks_motion == bool(task.motion)
        )
        raise SimError(
            f"task {task_name}: expected a robot with a bundle that follows {goal} "
            f"({', '.join(suitable)}), found {robot_name}, whose bundle follows {other}"
        )
    return robot, task


def _file(folder: str, name: str) -> Path:
    file = _FOLDER / folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(each.stem for each in file.parent.glob("*.yaml")))
        raise SimError(f"{file}: expected a file, found none; known names: {known}")
    return file
