# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated depth camera sees the ground ahead, less its faults."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_sim.depth_camera import CameraFault, DepthCamera, DepthCameraFigures, DepthFrame
from robot_sim.errors import SimError
from robot_sim.ground import Ground
from robot_sim.world import World
from testkit.wording import refusal

FIGURES = DepthCameraFigures(size=(12, 20), position_m=(0.4, 0.0, 0.1))


def seen(world: World, figures: DepthCameraFigures = FIGURES, *faults: str) -> DepthFrame:
    camera = DepthCamera(figures)
    camera.faults = CameraFault.parse_all(faults)
    frame = camera.look(world)
    assert frame is not None
    return frame


def test_depth_of_level_ground_is_along_the_optical_axis() -> None:
    world = World(pose="standing")
    height_m = world.sense().pos_world[2] + 0.1
    rows = (np.arange(12) + 0.5 - 6.0) / FIGURES.focal_px
    # The depth at which a ray of this row is down by the height of the camera.
    expected = height_m / (math.sin(math.radians(30)) + rows * math.cos(math.radians(30)))
    expected[(expected < 0.0) | (expected > FIGURES.far_m)] = np.inf
    depth = seen(world).metres
    np.testing.assert_allclose(depth[:, 10], expected, rtol=1e-4)
    np.testing.assert_allclose(depth[:, 0], depth[:, 19], rtol=1e-6)


def test_a_step_on_the_left_is_on_the_left_of_the_image() -> None:
    world = World(ground=Ground(terrain="stairs", step_m=0.1), pose="standing")
    figures = DepthCameraFigures(size=(12, 20), position_m=(0.0, 0.5, 0.3), pitch_deg=60.0)
    depth = seen(world, figures).metres
    assert depth[6, 2] < depth[6, 17] - 0.05


@pytest.mark.parametrize(("fault", "share"), [("covered:", 1.0), ("unknown:", 0.3)])
def test_pixels_may_be_unknown(fault: str, share: float) -> None:
    value = "=0.3" if share < 1.0 else ""
    depth = seen(World(pose="standing"), FIGURES, f"{fault}depth_camera{value}").metres
    assert np.isnan(depth).mean() == pytest.approx(share, abs=0.1)


def test_images_come_at_their_rate_and_less_often_when_the_camera_is_slow() -> None:
    world, camera = World(pose="standing"), DepthCamera(FIGURES)
    camera.faults = CameraFault.parse_all(
        ["slow:depth_camera@0.4+0.4=2", "drop:depth_camera@0.8+0.2", "freeze:depth_camera@1.0"]
    )
    came = {}
    for _ in range(60):
        if (frame := camera.look(world)) is not None:
            came[world.time_ns // 1_000_000] = frame.time_ns // 1_000_000
        world.step(20_000_000)
    assert came == {0: 0, 100: 100, 200: 200, 300: 300, 400: 400, 600: 600, 1000: 600, 1100: 600}


def test_a_camera_without_pixels_is_refused() -> None:
    with refusal(SimError):
        DepthCamera(DepthCameraFigures(size=(0, 10)))
