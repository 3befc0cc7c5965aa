# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot, and the walks on which a policy is tested.

The velocity error of a command is |mean velocity - command| from 2 s after its start, in the
yaw-aligned base frame; for several commands it is averaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.simulation.estimated import NO_ERRORS, SensorErrors
from policy_core.bundle.contract import JointContract
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.state_fields import JOINT_STATES, STATE_TOPICS
from policy_core.observation.state import RobotState
from robot_sim.faults import Fault
from robot_sim.figures import LeggedRobot, load_robot
from robot_sim.ground import LEVEL, Ground
from robot_sim.model_world import ModelWorld
from robot_sim.walk import Schedule, evenly_timed
from robot_sim.world import WalkingWorld, World

_BODY_INPUTS = STATE_TOPICS.keys() - {JOINT_STATES.name}
"""Inputs about the base. If a policy reads one, a robot model is simulated with a free base."""
_LITE3_MOST = 0.8
"""Largest component of the commands in a Lite3's walk, m/s and rad/s."""
_FIXED: Mapping[str, object] = {
    "friction": 1.0,
    "ground": LEVEL,
    "payload_kg": 0.0,
    "joint_friction_nm": 0.0,
    "faults": (),
}
"""The only fields of a case that a robot model supports."""
PUSHED_AT_S, PUSH_S, PUSH_N = 5.0, 0.1, 100.0
MIXED_EACH_S, MIXED_LARGEST = 4.0, 0.8
Velocity = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRobot:
    """A robot to simulate.

    Attributes:
        figures: Name of one of robot_sim's robots, or a folder with a `figures.yaml`.
        model: MJCF or URDF model to simulate instead.
        imu: Site or body in that model whose frame is the IMU's; the model's base if empty.
    """

    figures: str = "lite3"
    model: Path | None = None
    imu: str = ""

    @property
    def name(self) -> str:
        """Name for reports: robot_sim and, except for the Lite3, the name of robot or model."""
        if self.model is not None:
            return f"robot_sim, {self.model.name}"
        return "robot_sim" if self == LITE3 else f"robot_sim, {self.body.name}"

    @property
    def body(self) -> LeggedRobot:
        """The robot that `figures` describes."""
        return load_robot(self.figures)

    def require(self, contract: HostedContract) -> None:
        """Raise unless `figures` has all of a policy's joints; for a model, `world` checks this."""
        if self.model is not None:
            return
        body = self.body
        others = [name for name in contract.joints.on_robot() if name not in body.joint_names]
        if others:
            raise ToolError(
                f"{contract.name}: expected joints of the simulated {body.name}, found "
                f"{', '.join(others)}; name the robot with --robot-model, or `robot` in a "
                "plan (go2, g1, a folder of figures, MJCF or URDF), or use a recording of it "
                "(compare --rows; --rollout or --bag to make a bundle)"
            )

    def world(self, contract: JointContract, case: WalkCase | None = None) -> WalkingWorld:
        """Return the robot in the world at the start of a walk: lying, or in its model's pose."""
        if self.model is None:
            if case is None:
                return World(self.body)
            return World(
                self.body,
                friction=case.friction,
                ground=case.ground,
                payload_kg=case.payload_kg,
                joint_friction_nm=case.joint_friction_nm,
                seed=case.seed,
            )
        if case and (others := [key for key in _FIXED if getattr(case, key) != _FIXED[key]]):
            raise ToolError(
                f"{case.name}: expected level ground with friction 1.0 and no payload, joint "
                "friction or faults (robot models support nothing else), found other values of "
                f"{', '.join(others)}"
            )
        inputs = RobotState(contract, orientation=contract.safety.max_tilt_rad is not None).inputs
        return ModelWorld(
            self.model,
            contract.joints.on_robot(),
            contract.stand.position,
            contract.joints.effort_limit,
            free_base=any(name in _BODY_INPUTS for name in inputs),
            rate_hz=contract.rate_hz,
            imu=self.imu,
        )

    def velocity(self, contract: JointContract, of_lite3: Velocity) -> Velocity:
        """Adapt a velocity command from the Lite3's test walks to another policy's trained range.

        For a robot of the suite, the command is clipped to this range; for a robot model, scaled to
        it.
        """
        trained = contract.velocity_command
        if trained is None:
            return of_lite3 if self.model is None else (0.0, 0.0, 0.0)
        if self.model is None:
            vx, vy, wz = np.clip(of_lite3, trained.min, trained.max).tolist()
            return vx, vy, wz
        ends = zip(of_lite3, trained.min, trained.max, strict=True)
        vx, vy, wz = (
            abs(value) / _LITE3_MOST * (high if value > 0.0 else low) + 0.0
            for value, low, high in ends
        )
        return vx, vy, wz


LITE3 = SimulatedRobot()
"""Robot of the suite's own policy, and the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkLimits:
    """Limits for a case, in addition to the rule that the robot must not fall.

    Attributes:
        error: Velocity error on any axis, m/s and rad/s.
        tilt_deg: Largest tilt.
        torque_limit_share: Share of samples (joint x physics step) at the torque limit.
        action_change: Mean |change of the action per tick|.
        altered_share: Share of ticks in which the guard changes a target.
    """

    error: float = np.inf
    tilt_deg: float = np.inf
    torque_limit_share: float = np.inf
    action_change: float = np.inf
    altered_share: float = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkCase:
    """One simulated walk, and its limits.

    Attributes:
        name: Name of the case.
        group: Row of the case in the summary.
        schedule: Commands, by time since the start.
        duration_s: Length of the walk.
        faults: Pushes and other faults, timed from the start.
        friction, latency_ms, ground, payload_kg, joint_friction_nm: Parameters of the world.
        stiffness_scale, damping_scale: The drives' gains, relative to the commanded ones.
        seed: Seed of the initial lying pose (0: the exact pose) and of noise.
        estimator: True to run the base velocity estimator as well and measure its error; always
            done if the policy needs the estimator.
        sensor_errors: Errors of the estimator's sensors.
        velocity_error_mps: Size of the `VelocityError` that is added to base_lin_vel, a term that
            the policy must have; 0 for none.
        limits: Limits for the walk; None if it is only measured.
    """

    name: str
    group: str
    schedule: Schedule
    duration_s: float = 20.0
    faults: tuple[Fault, ...] = ()
    friction: float = 1.0
    latency_ms: float = 0
    ground: Ground = LEVEL
    payload_kg: float = 0.0
    joint_friction_nm: float = 0.0
    stiffness_scale: float = 1.0
    damping_scale: float = 1.0
    seed: int = 0
    estimator: bool = False
    sensor_errors: SensorErrors = NO_ERRORS
    velocity_error_mps: float = 0.0
    limits: WalkLimits | None = WalkLimits()

    def faults_from(self, start_s: float) -> list[Fault]:
        """Return the faults of a case that begins at `start_s` on the world's clock."""
        return [replace(fault, start_s=start_s + fault.start_s) for fault in self.faults]


def push_from(side: str, *, newton: float = PUSH_N, at_s: float = PUSHED_AT_S) -> Fault:
    """Return a push from a side of the robot, `at_s` after the case begins."""
    return Fault(kind="push", target=side, start_s=at_s, duration_s=PUSH_S, value=newton)


def steady(*velocity: float) -> Schedule:
    """Return a schedule with one command for the whole case."""
    vx, vy, wz = velocity
    return [(0.0, (vx, vy, wz))]


def mixed(duration_s: float, seed: int) -> Schedule:
    """Return a schedule of commands that change on all axes simultaneously; one in ten is zero."""
    count = int(np.ceil(duration_s / MIXED_EACH_S))
    random = np.random.default_rng(seed)
    commands = random.uniform(-MIXED_LARGEST, MIXED_LARGEST, (count, 3))
    commands[9::10] = 0.0
    return evenly_timed(commands.tolist(), each_s=MIXED_EACH_S)
