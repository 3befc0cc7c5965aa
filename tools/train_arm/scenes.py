# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Single images of random scenes: the arm at any point on its way to any cube."""

from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.arm_expert import CLEARANCE_M, solve
from robot_sim.arm_figures import SO101
from robot_sim.arm_model import CUBE_HALF_M
from robot_sim.arm_world import CUBE_BEARING_RAD, CUBE_DISTANCE_M, IMAGE_SIZE, JOINTS, ArmWorld
from robot_sim.errors import SimError
from robot_sim.offscreen import Offscreen, fixed_view

CAMERAS = ("front", "wrist")
_NEAR_SHARE, _NEAR_M, _POSE_RAD, _WIDER = 0.7, 0.03, 0.06, 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """Images, and the positions to be found from them.

    Attributes:
        images: By camera, uint8 [scenes, 3, height, width], RGB.
        places: Positions of the cube [scenes, 3], m, by camera: in the world frame for the front
            camera, in the frame of the tip for the wrist camera.
        goals: Center of the cube's top face in the frame of the tip [scenes, 3], m.
    """

    images: dict[str, npt.NDArray[np.uint8]]
    places: dict[str, npt.NDArray[np.float32]]
    goals: npt.NDArray[np.float32]


def random_scenes(count: int, seed: int, *, begin: float = 0.0) -> Scenes:
    """Draw and render scenes.

    Args:
        count: Number of scenes.
        seed: Seed for the draw.
        begin: Minimum fraction of its way that the arm has covered.
    """
    random, model = np.random.default_rng(seed), ArmWorld().model
    data, camera = mujoco.MjData(model), Offscreen(model, shadows=False)
    height, width = IMAGE_SIZE
    images = {name: np.empty((count, 3, height, width), np.uint8) for name in CAMERAS}
    places = {name: np.empty((count, 3), np.float32) for name in CAMERAS}
    tip, goals = model.site("tip").id, np.empty((count, 3), np.float32)
    top = np.array([0.0, 0.0, CUBE_HALF_M])
    pan = np.array([model.body("shoulder").pos[0], 0.0])
    for row in range(count):
        cube = pan + _place(random)
        data.qpos[:JOINTS] = _pose(model, random, cube, pan, begin)
        turn = random.uniform(0.0, np.pi)
        data.qpos[JOINTS:] = [*cube, CUBE_HALF_M, np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2)]
        mujoco.mj_forward(model, data)
        at = data.body("cube").xpos
        places["front"][row] = at
        to_tip = data.site_xmat[tip].reshape(3, 3).T
        places["wrist"][row] = to_tip @ (at - data.site_xpos[tip])
        goals[row] = to_tip @ (at + top - data.site_xpos[tip])
        for name in CAMERAS:
            view = fixed_view(model, name)
            image = camera.image(data, view, width=width, height=height)
            images[name][row] = image.transpose(2, 0, 1)
    camera.close()
    return Scenes(images=images, places=places, goals=goals)


def _place(random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a cube's position [2], m, drawn from a slightly wider range than in the task."""
    distance_m = random.uniform(CUBE_DISTANCE_M[0] - _WIDER, CUBE_DISTANCE_M[1] + _WIDER)
    bearing_rad = random.uniform(CUBE_BEARING_RAD[0] - 0.1, CUBE_BEARING_RAD[1] + 0.1)
    return distance_m * np.array([np.cos(bearing_rad), np.sin(bearing_rad)])


def _pose(
    model: mujoco.MjModel,
    random: np.random.Generator,
    cube: npt.NDArray[np.float64],
    pan: npt.NDArray[np.float64],
    begin: float,
) -> npt.NDArray[np.float64]:
    """Return a pose [6], rad, at least `begin` of the way to this cube or to another one."""
    near = random.random() < _NEAR_SHARE
    goal = cube + random.normal(0.0, _NEAR_M, 2) if near else pan + _place(random)
    start = SO101.home_rad + random.uniform(-0.15, 0.15, JOINTS)
    height_m = 2 * CUBE_HALF_M + CLEARANCE_M + abs(random.normal(0.0, 0.02))
    try:
        end = solve(model, np.array([*goal, height_m]), start_rad=start)
    except SimError:  # out of reach: such a scene ends where it began
        end = start
    pose = start + random.uniform(begin, 1.0) * (end - start) + random.normal(0, _POSE_RAD, JOINTS)
    return np.clip(pose, SO101.lower_rad, SO101.upper_rad)
