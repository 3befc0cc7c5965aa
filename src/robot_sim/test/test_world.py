# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: what it senses, how it follows commands, when it damps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array
from robot_sim.ground import TERRAINS, Ground, Terrain
from robot_sim.world import Sensors, World, position_command
from testkit.wording import refusal

MS = 1_000_000
TICK_NS = 20 * MS
WEIGHT_N = 11.9376 * 9.81


def hold_pose(world: World, duration_ns: int, position: np.ndarray = LITE3.standing_rad) -> None:
    for _ in range(duration_ns // TICK_NS):
        world.apply(position_command(position, stiffness=100.0, damping=2.5))
        world.step(TICK_NS)


def stand_up(world: World) -> None:
    """Move from the measured pose to the stance within 1.5 s, then hold it for half a second."""
    start = world.sense().joint_pos
    for share in np.linspace(0.0, 1.0, 75):
        hold_pose(world, TICK_NS, start + share * (LITE3.standing_rad - start))
    hold_pose(world, 500 * MS)


def test_a_lying_robot_stays_where_it_is() -> None:
    world = World()
    before = world.sense()
    world.step(1_000 * MS)
    after = world.sense()
    assert np.abs(after.pos_world - before.pos_world).max() < 0.005
    assert np.abs(after.joint_pos - before.joint_pos).max() < 0.01
    assert after.lin_acc_body == pytest.approx([0.0, 0.0, 9.81], abs=0.05)


def test_an_imu_of_the_base_shows_what_the_robots_own_shows() -> None:
    world = World(pose="standing")
    world.push([60.0, 40.0, 0.0], 0.1)
    world.step(100 * MS)
    quat_xyzw, ang_vel, lin_acc = world.sense_body(LITE3.base.name)
    own = world.sense()
    np.testing.assert_allclose(quat_xyzw, own.quat_xyzw, atol=1e-12)
    np.testing.assert_allclose(ang_vel, own.ang_vel_body, atol=1e-12)
    np.testing.assert_allclose(lin_acc, own.lin_acc_body, atol=1e-9)


def test_standing_up_lifts_the_robot_from_its_belly() -> None:
    world = World()
    world.step(200 * MS)
    assert world.sense().pos_world[2] < 0.06
    stand_up(world)
    sensors = world.sense()
    assert sensors.pos_world[2] == pytest.approx(0.33, abs=0.02)
    assert np.degrees(world.tilt_rad) < 3.0
    assert world.upright
    assert world.saturated_share < 0.001


def test_feet_in_the_air_feel_nothing() -> None:
    world = World(pose="standing")
    world.push([0.0, 0.0, 3.0 * WEIGHT_N], 0.2)
    hold_pose(world, 200 * MS)
    force = world.sense().foot_force_world
    np.testing.assert_array_equal(force, np.zeros_like(force))


def test_angular_velocity_is_in_the_body_frame() -> None:
    world = World(pose="standing")
    world.push([0.0, 250.0, 0.0], 0.15)
    hold_pose(world, 160 * MS)
    before = world.sense()
    hold_pose(world, TICK_NS)
    after = world.sense()
    # A push to the left rolls the robot to the left: negative about x, in pose and velocity.
    turned = 2.0 * (after.quat_xyzw[0] - before.quat_xyzw[0])
    mean = 0.5 * (after.ang_vel_body[0] + before.ang_vel_body[0])
    assert mean < -0.1
    assert turned / 0.02 == pytest.approx(mean, rel=0.15)


def test_same_calls_give_the_same_bits() -> None:
    ends = []
    for sense_often in (False, True):
        world = World(seed=3)
        start = world.sense().joint_pos
        for _ in range(50):
            world.apply(position_command(0.9 * start, stiffness=60.0, damping=1.0))
            world.step(TICK_NS)
            if sense_often:
                world.sense()
        ends.append(world.sense())
    for field in dataclasses.fields(ends[0]):
        np.testing.assert_array_equal(getattr(ends[0], field.name), getattr(ends[1], field.name))


def test_seeds_vary_the_start() -> None:
    poses = [World(seed=seed).sense().joint_pos for seed in (0, 1, 2)]
    assert 0.001 < np.abs(poses[0] - poses[1]).max() < 0.011
    assert np.abs(poses[1] - poses[2]).max() > 0.001


@pytest.mark.parametrize("ground", [Ground(slope_rad=0.2), Ground()])
def test_robot_that_lies_on_its_back_is_set_upright_where_it_is(ground: Ground) -> None:
    world = World(ground=ground, pose="standing")
    world.push([0.0, 900.0, 0.0], 0.3)
    world.step(3_000 * MS)
    assert not world.upright
    before = world.sense()
    world.set_upright()
    after = world.sense()
    assert after.time_ns == before.time_ns
    np.testing.assert_allclose(after.pos_world[:2], before.pos_world[:2], atol=0.1)
    np.testing.assert_array_equal(after.joint_pos, World(pose="standing").sense().joint_pos)
    assert world.tilt_rad == pytest.approx(ground.slope_rad)
    world.step(TICK_NS)
    assert not world.fallen


@pytest.mark.slow
def test_robot_whose_simulation_has_diverged_is_set_upright_at_the_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for MuJoCo's log
    world = World(pose="standing")
    world.push([0.0, 1e9, 0.0], 0.3)
    world.step(300 * MS)
    assert not np.isfinite(world.sense().joint_pos).all()
    world.set_upright()
    world.step(TICK_NS)
    assert np.isfinite(world.sense().joint_vel).all()
    np.testing.assert_allclose(world.sense().pos_world[:2], 0.0, atol=0.1)


def test_reset_starts_again_exactly() -> None:
    world = World(pose="standing")
    world.motor_off("FL_Knee_joint")
    world.push([50.0, 0.0, 0.0], 10.0)
    hold_pose(world, 200 * MS)
    world.reset(pose="standing")
    hold_pose(world, 200 * MS)
    fresh = World(pose="standing")
    hold_pose(fresh, 200 * MS)
    assert world.time_ns == fresh.time_ns == 200 * MS
    np.testing.assert_array_equal(world.sense().joint_pos, fresh.sense().joint_pos)


def test_an_expired_command_lets_the_drives_damp() -> None:
    world = World(pose="standing")
    command = position_command(
        LITE3.standing_rad, stiffness=100.0, damping=2.5, valid_for_ns=100 * MS
    )
    world.apply(command)
    world.step(100 * MS)
    assert not world.damped
    height = world.sense().pos_world[2]
    world.step(1 * MS)
    assert world.damped
    world.step(2_000 * MS)
    assert world.sense().pos_world[2] < height - 0.1


def test_expire_damps_at_once_and_forgets_commands_on_the_way() -> None:
    world = World(pose="standing")
    world.latency_ns = 20 * MS
    world.apply(position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5))
    world.expire()
    world.step(50 * MS)
    assert world.damped


@pytest.mark.parametrize("latency_ms", [5, 40])
def test_commands_arrive_after_the_latency(latency_ms: int) -> None:
    world = World(pose="standing")
    world.latency_ns = latency_ms * MS
    world.apply(position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5))
    world.step(latency_ms * MS)
    assert world.damped
    world.step(1 * MS)
    assert not world.damped


def test_joints_are_matched_by_name() -> None:
    ends = []
    for order in (slice(None), slice(None, None, -1)):
        world = World(pose="standing")
        target = LITE3.standing_rad + np.linspace(-0.1, 0.1, 12)
        names = LITE3.joint_names[order]
        world.apply(position_command(target[order], joint_names=names, stiffness=60.0, damping=2.0))
        world.step(TICK_NS)
        ends.append(world.sense().joint_pos)
    np.testing.assert_array_equal(ends[0], ends[1])


def test_effort_limits_of_the_command_bound_the_torque() -> None:
    world = World(pose="standing")
    command = position_command(LITE3.standing_rad + 0.5, stiffness=100.0, damping=1.0)
    world.apply(dataclasses.replace(command, effort_limit=np.full(12, 3.0)))
    world.step(1 * MS)
    assert np.abs(world.sense().joint_effort).max() == pytest.approx(3.0)
    assert world.saturated_share > 0.9


def test_rated_torque_holds_whatever_the_command_allows() -> None:
    world = World(pose="standing")
    command = position_command(LITE3.standing_rad + 3.0, stiffness=500.0, damping=1.0)
    world.apply(dataclasses.replace(command, effort_limit=np.full(12, 1000.0)))
    world.step(1 * MS)
    np.testing.assert_allclose(np.abs(world.sense().joint_effort), LITE3.effort_limit_nm)


def test_feed_forward_and_velocity_targets_add_torque() -> None:
    world = World(pose="standing")
    zeros = np.zeros(12)
    command = position_command(LITE3.standing_rad, stiffness=0.0, damping=0.0)
    world.apply(
        dataclasses.replace(command, effort=zeros + 2.0, damping=zeros + 1e-3, velocity=zeros + 1e3)
    )
    world.step(1 * MS)
    assert world.sense().joint_effort == pytest.approx(zeros + 3.0, abs=0.01)


def test_a_motor_that_is_off_gives_no_torque() -> None:
    world = World(pose="standing")
    world.motor_off("HR_Knee_joint")
    hold_pose(world, 100 * MS)
    effort = dict(zip(LITE3.joint_names, world.sense().joint_effort, strict=True))
    assert effort["HR_Knee_joint"] == 0.0
    assert abs(effort["HL_Knee_joint"]) > 1.0
    world.motors_on()
    hold_pose(world, 100 * MS)
    assert abs(world.sense().joint_effort[-1]) > 1.0


def test_a_push_moves_the_robot_its_way_and_ends() -> None:
    world = World(pose="standing")
    hold_pose(world, 1_000 * MS)
    world.push([0.0, 100.0, 0.0], 0.1)
    hold_pose(world, 100 * MS)
    speed = world.sense().lin_vel_body[1]
    assert speed > 0.1
    hold_pose(world, 1_000 * MS)
    assert abs(world.sense().lin_vel_body[1]) < 0.05


def test_a_slippery_floor_lets_the_robot_slide() -> None:
    travelled = []
    for friction in (0.1, 1.0):
        world = World(friction=friction, pose="standing")
        hold_pose(world, 500 * MS)
        start = world.sense().pos_world[1]
        world.push([0.0, 40.0, 0.0], 0.5)
        hold_pose(world, 500 * MS)
        travelled.append(world.sense().pos_world[1] - start)
    assert travelled[0] > travelled[1] + 0.05


NAMES = LITE3.joint_names[:-1]
BAD: dict[str, dict[str, Any]] = {
    "missing": {"joint_names": LITE3.joint_names[1:]},
    "doubled": {"joint_names": (*NAMES, "FL_HipX_joint")},
    "unknown": {"joint_names": (*NAMES, "tail_joint")},
    "shape": {"position": np.zeros(11)},
    "finite": {"velocity": np.full(12, np.nan)},
    "negative": {"stiffness": np.full(12, -1.0)},
    "duration": {"valid_for_ns": 0},
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_commands_are_refused_and_change_nothing(bad: str) -> None:
    good = position_command(LITE3.standing_rad, stiffness=100.0, damping=2.5)
    command = dataclasses.replace(good, **BAD[bad])
    world = World(pose="standing")
    with refusal(SimError):
        world.apply(command)
    world.step(TICK_NS)
    assert world.damped


@pytest.mark.parametrize("duration_ns", [0, -MS, MS // 2])
def test_steps_that_do_not_fit_are_refused(duration_ns: int) -> None:
    with refusal(SimError):
        World().step(duration_ns)


@pytest.mark.parametrize("latency_ns", [-1, 41 * MS])
def test_latencies_out_of_range_are_refused(latency_ns: int) -> None:
    with refusal(SimError):
        World().latency_ns = latency_ns


@pytest.mark.parametrize("options", [{"pose": "handstand"}, {"friction": -1.0}])
def test_a_world_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with refusal(SimError):
        World(**options)


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
    # On a slope, a tile's edges are not vertical.
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
