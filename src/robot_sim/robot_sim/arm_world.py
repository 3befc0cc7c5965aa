# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""An SO-101 arm at a table with a cube and two cameras: deterministic, without ROS."""

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.arm_figures import SO101
from robot_sim.arm_model import CAMERAS, CUBE_HALF_M, build_arm_model
from robot_sim.driven import DrivenWorld
from robot_sim.drives import DriveCommand, position_command
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.offscreen import Frame, Offscreen, fixed_view

JOINTS = len(SO101.joint_names)
IMAGE_SIZE = (96, 128)
"""Default height and width of the policy's images."""
CUBE_DISTANCE_M = (0.15, 0.26)
"""Range of the cube's distance from the shoulder-pan axis."""
CUBE_BEARING_RAD = (-0.7, 0.7)
"""Range of the cube's direction from the shoulder-pan axis; positive is left as seen from the base.
"""
HOME_JITTER_RAD = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSensors:
    """Arm sensor readings, and ground truth, at one time. The arrays are copies.

    Attributes:
        time_ns: Simulated time.
        joint_names: Order of the joint arrays.
        joint_pos: Positions [6], rad.
        joint_vel: Velocities [6], rad/s.
        joint_effort: Torques of the drives [6], N m.
        tip_world: Point between the jaws' ends [3], m.
        cube_world: Center of the cube [3], m.
    """

    time_ns: int
    joint_names: tuple[str, ...]
    joint_pos: Array
    joint_vel: Array
    joint_effort: Array
    tip_world: Array
    cube_world: Array


class ArmWorld(DrivenWorld):
    """A simulated SO-101. The same calls give bit-identical results on one machine.

    Until the first command, the servos hold the start pose, as position servos do; once the latest
    command has expired, they damp.
    """

    def __init__(self, *, seed: int = 0, image_size: tuple[int, int] = IMAGE_SIZE) -> None:
        """Set up the table.

        Args:
            seed: Same as for `reset`.
            image_size: Height and width of the policy's images.
        """
        super().__init__(build_arm_model())
        limit = self.model.vis.global_.offheight, self.model.vis.global_.offwidth
        if not (0 < image_size[0] <= limit[0] and 0 < image_size[1] <= limit[1]):
            raise SimError(
                f"image_size: expected a height of 1 to {limit[0]} and a width of 1 to "
                f"{limit[1]}, found {image_size[0]} and {image_size[1]}"
            )
        self.image_size = image_size
        self._views = {name: fixed_view(self.model, name) for name in CAMERAS}
        self._offscreen: Offscreen | None = None
        self._tip = self.model.site("tip").id
        self._cube = self.model.body("cube").id
        self.reset(seed=seed)

    def reset(self, *, seed: int = 0) -> None:
        """Start an episode at time 0, with the arm near its home pose and the cube within reach.

        Args:
            seed: Seed for both poses; 0 gives the exact home pose and a cube straight ahead.
        """
        self._start_again()
        home, cube = _places(self.model, seed)
        self._data.qpos[:] = [*home, *cube]
        self._drives.hold(home, stiffness=SO101.servo.stiffness, damping=SO101.servo.damping)
        mujoco.mj_forward(self.model, self._data)

    def move_cube(self, seed: int) -> None:
        """Put the cube where `reset` with this seed would put it; time and the arm continue."""
        _, self._data.qpos[JOINTS:] = _places(self.model, seed)
        self._data.qvel[JOINTS:] = 0.0
        mujoco.mj_forward(self.model, self._data)

    def show(self, pose: npt.ArrayLike) -> None:
        """Put the arm and the cube in a `pose`, at rest, for `render` and `sense`."""
        self._data.qpos[:], self._data.qvel[:] = pose, 0.0
        mujoco.mj_forward(self.model, self._data)

    def sense(self) -> ArmSensors:
        data = self._data
        return ArmSensors(
            time_ns=self.time_ns,
            joint_names=SO101.joint_names,
            joint_pos=data.qpos[:JOINTS].copy(),
            joint_vel=data.qvel[:JOINTS].copy(),
            joint_effort=data.qfrc_actuator[:JOINTS].copy(),
            tip_world=data.site_xpos[self._tip].copy(),
            cube_world=data.xpos[self._cube].copy(),
        )

    def render(self, camera: str, size: tuple[int, int] | None = None) -> Frame:
        """Return the current image of a camera; the first call opens OpenGL for the calling thread.

        Args:
            camera: One of `arm_model.CAMERAS`.
            size: Height and width; `image_size` by default.

        Returns:
            Image [height, width, 3], uint8, RGB.
        """
        if camera not in self._views:
            raise SimError(f"camera: expected one of {', '.join(CAMERAS)}, found '{camera}'")
        if self._offscreen is None:
            self._offscreen = Offscreen(self.model, shadows=False)
        height, width = size or self.image_size
        return self._offscreen.image(self._data, self._views[camera], width=width, height=height)

    def close(self) -> None:
        """Free the resources used by `render`; call this on the thread that called `render`."""
        if self._offscreen is not None:
            self._offscreen.close()
            self._offscreen = None


def arm_command(position: npt.ArrayLike, *, valid_for_ns: int = 200_000_000) -> DriveCommand:
    """Return a command to hold `position` (rad, [6]) with the servos' gains."""
    return position_command(
        position,
        stiffness=SO101.servo.stiffness,
        damping=SO101.servo.damping,
        joint_names=SO101.joint_names,
        valid_for_ns=valid_for_ns,
    )


def _places(model: mujoco.MjModel, seed: int) -> tuple[Array, Array]:
    """Return the joint positions [6], and the cube's position and orientation (w x y z) [7]."""
    home, distance_m = SO101.home_rad, float(np.mean(CUBE_DISTANCE_M))
    bearing_rad = turn_rad = 0.0
    if seed:
        random = np.random.default_rng(seed)
        home = np.clip(
            SO101.home_rad + random.uniform(-HOME_JITTER_RAD, HOME_JITTER_RAD, JOINTS),
            SO101.lower_rad,
            SO101.upper_rad,
        )
        # uniform over the area, not over the distance
        distance_m = float(np.sqrt(random.uniform(*np.square(CUBE_DISTANCE_M))))
        bearing_rad = random.uniform(*CUBE_BEARING_RAD)
        turn_rad = random.uniform(0.0, np.pi / 2.0)
    pan_x = model.body("shoulder").pos[0]
    return home, np.array(
        [
            pan_x + distance_m * np.cos(bearing_rad),
            distance_m * np.sin(bearing_rad),
            CUBE_HALF_M,
            np.cos(turn_rad / 2.0),
            0.0,
            0.0,
            np.sin(turn_rad / 2.0),
        ]
    )
