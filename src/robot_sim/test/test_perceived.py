# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the simulated depth camera and mapper show of the ground, and their faults."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest

from robot_sim.depth_camera import CameraFault, DepthCamera, DepthCameraFigures, DepthFrame
from robot_sim.errors import SimError
from robot_sim.figures import Array
from robot_sim.ground import Ground
from robot_sim.mapper import CELLS, RESOLUTION_M, MadeMap, MapFault, Mapper
from robot_sim.world import Sensors, World
from testkit.wording import refusal

STAIRS = Ground(terrain="stairs", step_m=0.1)
MS = 1_000_000
AT = np.array([0.83, -0.21, 0.4])

STANDING = World(pose="standing").sense()


def sensors_at(place: Array = AT, time_ms: int = 0) -> Sensors:
    return dataclasses.replace(STANDING, pos_world=place, time_ns=time_ms * MS)


def first_map(*faults: str) -> MadeMap:
    mapper = Mapper(STAIRS, seed=1)
    mapper.faults = MapFault.parse_all(faults)
    made = mapper.look(sensors_at())
    assert made is not None
    return made


def centres(made: MadeMap) -> Array:
    along = RESOLUTION_M * (CELLS / 2.0 - 0.5 - np.arange(CELLS))
    x, y = np.meshgrid(*(along + middle for middle in made.elevation.centre), indexing="ij")
    return np.stack([x, y], axis=-1)


def test_each_cell_has_the_height_of_the_ground_below_its_centre() -> None:
    made = first_map()
    np.testing.assert_allclose(
        made.elevation.heights, STAIRS.height_m(centres(made)), rtol=0, atol=1e-6
    )
    assert np.abs(np.array(made.elevation.centre) - AT[:2]).max() <= RESOLUTION_M / 2 + 1e-9
    assert np.unique(made.elevation.heights).size >= 5


def test_a_map_comes_as_late_as_its_latency_and_has_the_stamp_of_its_measurement() -> None:
    mapper, came = Mapper(STAIRS), dict[int, int]()
    mapper.faults = MapFault.parse_all(["latency:elevation_map=0.25"])
    for time_ms in range(0, 600, 10):
        made = mapper.look(sensors_at(time_ms=time_ms))
        if made is not None:
            came[time_ms] = made.time_ns // MS
    assert came == {250: 0, 350: 100, 450: 200, 550: 300}


def test_drift_shifts_the_map_on_each_axis() -> None:
    made = first_map("drift:elevation_map=0.05")
    found, places = made.elevation.heights, centres(made)
    drifts = 0.05 * np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    drifted = [STAIRS.height_m(places + drift[:2]) + drift[2] for drift in drifts]
    assert sum(np.allclose(found, each, atol=1e-6) for each in drifted) == 1


def test_cells_below_the_robot_and_a_share_of_the_others_are_unknown() -> None:
    made = first_map("unknown:elevation_map=0.2", "blind:elevation_map=0.3")
    unknown = np.isnan(made.elevation.heights)
    near = np.linalg.norm(centres(made) - AT[:2], axis=-1) < 0.3
    assert unknown[near].all()
    assert abs(unknown[~near].mean() - 0.2) < 0.02


def test_faults_of_the_map_begin_and_end_by_the_clock() -> None:
    mapper = Mapper(STAIRS)
    planned = ("stuck@0.2+0.2", "freeze@0.4+0.2", "drop@0.6+0.2", "unknown@0.8=1.0")
    mapper.faults = MapFault.parse_all([each.replace("@", ":elevation_map@") for each in planned])
    came = {}
    for time_ms in range(0, 1000, 100):
        place = AT + np.array([time_ms / 1000.0, 0.0, 0.0])
        came[time_ms] = mapper.look(sensors_at(place, time_ms))
    stamps_ms = {when: made and made.time_ns // MS for when, made in came.items()}
    assert stamps_ms == {
        **{when: when for when in (0, 100, 200, 300, 800, 900)},
        **{400: 300, 500: 300, 600: None, 700: None},
    }
    centres_x = [made and made.elevation.centre[0] for made in came.values()]
    assert centres_x[0] != centres_x[1] == centres_x[2] == centres_x[5] != centres_x[8]
    assert came[900] is not None
    assert np.isnan(came[900].elevation.heights).all()


FIGURES = DepthCameraFigures(size=(12, 20), position_m=(0.4, 0.0, 0.1), noise_m=0.0)


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
    # The depth at which a ray of this row meets the ground.
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
    planned = ("slow@0.4+0.4=2", "drop@0.8+0.2", "freeze@1.0")
    camera.faults = CameraFault.parse_all([each.replace("@", ":depth_camera@") for each in planned])
    came = {}
    for _ in range(60):
        if (frame := camera.look(world)) is not None:
            came[world.time_ns // 1_000_000] = frame.time_ns // 1_000_000
        world.step(20_000_000)
    assert came == {0: 0, 100: 100, 200: 200, 300: 300, 400: 400, 600: 600, 1000: 600, 1100: 600}


def test_images_differ_by_their_noise_unless_the_camera_is_stuck() -> None:
    world, camera = World(pose="standing"), DepthCamera(replace(FIGURES, noise_m=0.002))
    exact, first = seen(world).metres, camera.look(world)
    world.step(100_000_000)
    second = camera.look(world)
    camera.faults = CameraFault.parse_all(["stuck:depth_camera"])
    world.step(100_000_000)
    third = camera.look(world)
    assert first is not None
    assert second is not None
    assert third is not None
    near = np.isfinite(exact)
    assert np.std(first.metres[near] - exact[near]) == pytest.approx(0.002, rel=0.2)
    assert (second.metres != first.metres)[near].all()
    assert (third.time_ns, third.metres is second.metres) == (200_000_000, True)


@pytest.mark.parametrize(
    "figures",
    [
        DepthCameraFigures(size=(0, 10)),
        DepthCameraFigures(vertical_deg=0.0),
        DepthCameraFigures(vertical_deg=180.0),
    ],
    ids=["pixels", "narrow", "wide"],
)
def test_a_camera_that_sees_nothing_is_refused(figures: DepthCameraFigures) -> None:
    with refusal(SimError):
        DepthCamera(figures)
