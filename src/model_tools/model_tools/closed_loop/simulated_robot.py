# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Which robot is simulated: a Lite3, or one of a model file of the user's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_tools.closed_loop.case import Case, Velocity
from model_tools.errors import ToolError
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.core.state import RobotState
from robot_sim.figures import JOINT_NAMES
from robot_sim.ground import LEVEL
from robot_sim.model_world import ModelWorld
from robot_sim.world import WalkingWorld, World

_BODY_INPUTS = ("imu/data", "odom", "cmd_vel")
"""A policy that reads one of these moves its base, and so its robot's is free."""
_LITE3_MOST = 0.8
"""Largest component of the commands that a Lite3 walks, m/s and rad/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRobot:
    """A robot to simulate.

    Attributes:
        model: Its model, MJCF or URDF; None for the Lite3 of `robot_sim.world`.
        imu: Site or body of that model whose frame is the IMU's; its base if empty.
    """

    model: Path | None = None
    imu: str = ""

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        return "robot_sim" if self.model is None else f"robot_sim, {self.model.name}"

    def require(self, contract: JointContract) -> None:
        """Check that the joints of a policy are those of the Lite3; `world` checks a model's.

        Raises:
            ToolError: Some are not.
        """
        if self.model is not None:
            return
        others = [name for name in contract.joints.on_robot() if name not in JOINT_NAMES]
        if others:
            raise ToolError(f"{contract.name}: expected joints of the simulated Lite3, found "
                            f"{', '.join(others)}; give the model of the robot with --robot-model "
                            "(MJCF or URDF), or use a recording of it (compare --rows; --rollout "
                            "or --bag where a bundle is made)")

    def world(self, contract: JointContract, case: Case | None = None) -> WalkingWorld:
        """Return the robot in a world, where a walk begins: a Lite3 lies, others stand.

        Raises:
            ToolError: The case asks for what only the Lite3's world has.
            SimError: The model cannot be simulated.
        """
        if self.model is None:
            return World() if case is None else World(
                friction=case.friction, ground=case.ground, payload_kg=case.payload_kg)
        if case and (case.friction, case.ground, case.payload_kg, case.push) != (
            1.0, LEVEL, 0.0, None
        ):
            raise ToolError(f"{case.name}: expected level ground without payload and pushes, which "
                            "is what there is for models of robots, found others")
        return self._of_model(self.model, contract)

    def velocity(self, contract: JointContract, of_lite3: Velocity) -> Velocity:
        """Return a command of a Lite3's walk as one within what another policy was trained for."""
        trained = contract.velocity_command
        if self.model is None:
            return of_lite3
        if trained is None:
            return 0.0, 0.0, 0.0
        ends = zip(of_lite3, trained.min, trained.max, strict=True)
        vx, vy, wz = (abs(value) / _LITE3_MOST * (high if value > 0.0 else low) + 0.0
                      for value, low, high in ends)
        return vx, vy, wz

    def _of_model(self, model: Path, contract: JointContract) -> ModelWorld:
        names = contract.joints.names
        inputs = RobotState(contract, orientation=contract.safety.max_tilt_rad is not None).inputs
        standing, effort_limit = (np.asarray(per_joint(values, names), np.float64) for values in
                                  (contract.stand.position, contract.joints.effort_limit))
        return ModelWorld(model, contract.joints.on_robot(), standing, effort_limit,
                          free_base=any(name in _BODY_INPUTS for name in inputs),
                          rate_hz=contract.rate_hz, imu=self.imu)  # fmt: skip


LITE3 = SimulatedRobot()
"""The robot of `robot_sim.world`."""

