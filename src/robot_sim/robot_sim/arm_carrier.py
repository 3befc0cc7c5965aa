# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Lite3 that carries an SO-101 and its table on its back: deterministic, without ROS.

The arm's links have mass and move with the robot that carries them; the table, the cube, the
cameras and the arm's base are massless. The cameras render only the arm's own scene, because all of
it moves with the robot; only things beyond the table would look different.
"""

import dataclasses

import mujoco
import numpy as np

from robot_sim.arm_figures import SO101
from robot_sim.arm_model import COLOURS, SERVO, SHELL, add_arm
from robot_sim.arm_world import IMAGE_SIZE, ArmSensors, ArmWorld
from robot_sim.figures import LITE3, LeggedRobot, Pose, Vec3
from robot_sim.ground import Ground, add_ground
from robot_sim.model import build_spec
from robot_sim.offscreen import Frame
from robot_sim.world import World

ARM_AT: Vec3 = (0.0, 0.0, 0.08)
"""Position of the arm's base in the torso frame, m: on the robot's back, toward its front."""
_LEG_JOINTS = len(LITE3.joint_names)


class ArmCarrier(World):
    """A simulated Lite3 with an arm: joint arrays are [18], legs first.

    All drives damp until the first command.
    """

    def __init__(
        self,
        *,
        friction: float = 1.0,
        seed: int = 0,
        pose: Pose | None = None,
        image_size: tuple[int, int] = IMAGE_SIZE,
    ) -> None:
        """Put the robot on the floor, with the arm near its home pose.

        Args:
            friction: Same as for `World`.
            seed: Same as for `World`; also sets the cube's position, as in `ArmWorld`.
            pose: Same as for `World`.
            image_size: Height and width of the cameras' images.
        """
        self._table = ArmWorld(seed=seed, image_size=image_size)
        super().__init__(friction=friction, seed=seed, pose=pose)
        stall_nm = np.full(len(SO101.joint_names), SO101.servo.stall_nm)
        self.effort_limit_nm = np.concatenate([LITE3.effort_limit_nm, stall_nm])

    def _build_model(self, robot: LeggedRobot, friction: float, ground: Ground) -> mujoco.MjModel:
        spec = build_spec(robot, friction=friction)
        add_ground(spec, ground, friction=friction)
        for name in (SHELL, SERVO):
            spec.add_material(name=name, rgba=COLOURS[name], specular=0.2, shininess=0.3)
        add_arm(spec, spec.body(robot.base.name), ARM_AT)
        return spec.compile()

    def reset(self, *, pose: Pose | None = None, seed: int = 0) -> None:
        """Restart at time 0, like `World` and `ArmWorld`."""
        super().reset(pose=pose, seed=seed)
        self._table.reset(seed=seed)
        self._data.qpos[7 + _LEG_JOINTS :] = self._table.sense().joint_pos
        mujoco.mj_forward(self.model, self._data)

    def move_cube(self, seed: int) -> None:
        """Put the cube where `reset` with this seed would put it; leave everything else as is."""
        self._table.move_cube(seed)

    def sense_arm(self) -> ArmSensors:
        self._show()
        legs, data = _LEG_JOINTS, self._data
        return dataclasses.replace(
            self._table.sense(),
            time_ns=self.time_ns,
            joint_vel=data.qvel[6 + legs :].copy(),
            joint_effort=data.qfrc_actuator[6 + legs :].copy(),
        )

    def render(self, camera: str) -> Frame:
        self._show()
        return self._table.render(camera)

    def close(self) -> None:
        self._table.close()

    def _show(self) -> None:
        cube = self._table.pose[len(SO101.joint_names) :]
        self._table.show([*self._data.qpos[7 + _LEG_JOINTS :], *cube])
