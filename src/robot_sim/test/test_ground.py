# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ground that is not a level plane, and robots that carry something."""

import mujoco
import numpy as np
import pytest

from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array
from robot_sim.ground import TERRAINS, Ground, Terrain
from robot_sim.world import Sensors, World, position_command
from testkit.wording import refusal

MS = 1_000_000


def stand_on_ground(world: World, duration_ms: int = 400) -> Sensors:
    for _ in range(duration_ms // 20):
        world.apply(position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5))
        world.step(20 * MS)
    return world.sense()


def test_a_slope_rises_along_x() -> None:
    angle_rad = 0.15
    sensors = stand_on_ground(World(ground=Ground(slope_rad=angle_rad), pose="standing"), 2000)
    # Gravity pulls the robot backward, down the slope; the IMU sees that it is pitched up.
    pitch_rad = 2.0 * np.arcsin(sensors.quat_xyzw[1])
    assert pitch_rad == pytest.approx(-angle_rad, abs=0.1)
    assert sensors.lin_acc_body[0] == pytest.approx(-9.81 * np.sin(pitch_rad), abs=0.1)
    feet_n = sensors.foot_force_world[:, 2]
    assert feet_n[2:].sum() > feet_n[:2].sum() > 0.0


def test_a_robot_starts_on_even_ground_amid_tiles() -> None:
    rough = stand_on_ground(World(ground=Ground(step_m=0.05), pose="standing"))
    even = stand_on_ground(World(pose="standing"))
    np.testing.assert_allclose(rough.pos_world, even.pos_world, atol=1e-6)
    np.testing.assert_allclose(rough.foot_force_world, even.foot_force_world, atol=1e-3)


@pytest.mark.parametrize("terrain", TERRAINS)
@pytest.mark.parametrize("slope_rad", [0.0, 0.1])
def test_the_ground_is_as_high_as_rays_find_it(terrain: Terrain, slope_rad: float) -> None:
    ground = Ground(slope_rad=slope_rad, step_m=0.1, terrain=terrain, seed=3, reach_m=3.0)
    world = World(ground=ground, pose="standing")
    data = mujoco.MjData(world.model)
    mujoco.mj_forward(world.model, data)
    points = np.random.default_rng(1).uniform(-2.5, 2.5, (400, 2))
    found = np.array([ray_height_m(world.model, data, xy) for xy in points])
    apart = np.abs(ground.height_m(points) - found)
    # On a slope the edges of tiles lean over.
    assert (apart < 1e-9).mean() > (0.93 if slope_rad else 0.999)
    assert found.max() - found.min() > 0.09


def ray_height_m(model: mujoco.MjModel, data: mujoco.MjData, xy: Array) -> float:
    above_m, hit, floor = 5.0, np.zeros(1, np.int32), np.array([1, 0, 0, 0, 0, 0], np.uint8)
    place, down, base = np.array([*xy, above_m]), np.array([0.0, 0.0, -1.0]), 1
    distance_m = mujoco.mj_ray(model, data, place, down, floor, 1, base, hit)
    return float(above_m - distance_m)


@pytest.mark.parametrize("terrain", ["stones", "gaps"])
def test_a_robot_starts_above_what_is_missing(terrain: Terrain) -> None:
    sunk = stand_on_ground(World(ground=Ground(step_m=0.1, terrain=terrain), pose="standing"))
    even = stand_on_ground(World(pose="standing"))
    assert sunk.pos_world[2] == pytest.approx(even.pos_world[2] + 0.1, abs=1e-4)


def test_payload_is_carried_by_the_feet() -> None:
    plain, loaded = (
        stand_on_ground(World(pose="standing", payload_kg=kg), 1000) for kg in (0.0, 2.0)
    )
    added_n = (loaded.foot_force_world - plain.foot_force_world)[:, 2].sum()
    assert added_n == pytest.approx(2.0 * 9.81, rel=0.05)


def test_a_payload_that_takes_too_much_is_refused() -> None:
    with refusal(SimError):
        World(payload_kg=-5.0)
