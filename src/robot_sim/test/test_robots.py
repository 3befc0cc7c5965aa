# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robots in this package match their published figures, and can stand."""

import numpy as np
import pytest
import yaml

from robot_sim.drives import DriveCommand, position_command
from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import FILE, ROBOTS, Array, BodyFigures, LeggedRobot, load_robot
from robot_sim.model import build_model
from robot_sim.world import World
from testkit.wording import refusal

TICK_NS = 20_000_000
MASSES_KG = {"lite3": 11.9376, "go2": 15.206408, "g1": 33.341142}
"""As their makers' files sum up."""
GAINS = {"lite3": (100.0, 2.5), "go2": (80.0, 4.0), "g1": (500.0, 10.0)}


@pytest.fixture(params=MASSES_KG)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def legged_robot(name: str) -> LeggedRobot:
    return load_robot(name)


def matrix_of_quat(quat_wxyz: Array) -> Array:
    w, x, y, z = quat_wxyz / np.linalg.norm(quat_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def inertia_matrix(body: BodyFigures) -> Array:
    xx, yy, zz, xy, xz, yz = (*body.inertia, 0.0, 0.0, 0.0)[:6]
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def test_every_robot_on_legs_is_tried_here() -> None:
    files = ROBOTS.glob(f"*/{FILE}")
    on_legs = {file.parent.name for file in files if "feet" in yaml.safe_load(file.read_text())}
    assert on_legs == MASSES_KG.keys() == GAINS.keys()


def test_the_masses_are_the_published_ones(name: str, legged_robot: LeggedRobot) -> None:
    assert build_model(legged_robot).body_mass.sum() == pytest.approx(MASSES_KG[name], abs=1e-6)


def test_bodies_joints_and_feet_are_those_of_the_figures(legged_robot: LeggedRobot) -> None:
    model = build_model(legged_robot)
    for figures in legged_robot.bodies:
        body = model.body(figures.name)
        own = matrix_of_quat(body.iquat)
        np.testing.assert_allclose(body.mass, figures.mass_kg)
        np.testing.assert_allclose(body.ipos, figures.com, atol=1e-12)
        np.testing.assert_allclose(
            own @ np.diag(body.inertia) @ own.T, inertia_matrix(figures), rtol=1e-5, atol=1e-9
        )
        if figures.joint is None:
            continue
        np.testing.assert_allclose(body.pos, figures.pos, atol=1e-12)
        np.testing.assert_allclose(
            matrix_of_quat(body.quat), matrix_of_quat(np.array(figures.quat_wxyz)), atol=1e-9
        )
        assert model.body(int(body.parentid[0])).name == figures.parent
        joint = model.joint(figures.joint.name)
        np.testing.assert_allclose(joint.axis, figures.joint.axis, atol=1e-12)
        assert joint.bodyid == body.id
        assert model.dof_armature[joint.dofadr] == figures.joint.armature_kgm2
    for foot in legged_robot.feet:
        body = model.body(foot.name)
        assert model.body(int(body.parentid[0])).name == foot.body
        np.testing.assert_allclose(body.pos, foot.pos, atol=1e-12)
        np.testing.assert_allclose(body.mass, foot.mass_kg)


def test_joints_and_drives_have_the_order_and_limits_of_the_figures(
    legged_robot: LeggedRobot,
) -> None:
    model = build_model(legged_robot)
    assert tuple(model.joint(1 + i).name for i in range(model.nu)) == legged_robot.joint_names
    assert tuple(model.actuator(i).name for i in range(model.nu)) == legged_robot.joint_names
    np.testing.assert_allclose(model.jnt_range[1:], legged_robot.range_rad)
    np.testing.assert_allclose(model.actuator_forcerange[:, 1], legged_robot.effort_limit_nm)


def test_a_start_pose_touches_the_floor_and_is_within_the_ranges(legged_robot: LeggedRobot) -> None:
    for pose in ("lying", "standing"):
        world = World(legged_robot, pose=pose)
        lower, upper = legged_robot.range_rad.T
        assert (legged_robot.start(pose).joint_pos >= lower).all()
        assert (legged_robot.start(pose).joint_pos <= upper).all()
        before_m = world.sense().pos_world[2]
        world.apply(holding_drive(legged_robot, legged_robot.start(pose).joint_pos, (300.0, 5.0)))
        world.step(TICK_NS)
        assert world.sense().pos_world[2] == pytest.approx(before_m, abs=0.01)


def holding_drive(robot: LeggedRobot, target: Array, gains: tuple[float, float]) -> DriveCommand:
    names = robot.joint_names
    return position_command(target, stiffness=gains[0], damping=gains[1], joint_names=names)


def test_a_robot_that_is_held_stands_on_its_feet(name: str, legged_robot: LeggedRobot) -> None:
    world = World(legged_robot, pose="standing")
    for _ in range(150):
        world.apply(holding_drive(legged_robot, legged_robot.standing_rad, GAINS[name]))
        world.step(TICK_NS)
    sensed = world.sense()
    assert not world.fallen
    assert np.degrees(world.tilt_rad) < 5.0
    assert sensed.pos_world[2] == pytest.approx(legged_robot.poses.standing.height_m, abs=0.02)
    np.testing.assert_allclose(sensed.joint_pos, legged_robot.standing_rad, atol=0.1)
    weight_n = 9.81 * float(world.model.body_mass.sum())
    assert sensed.foot_force_world[:, 2].sum() == pytest.approx(weight_n, rel=0.02)


def test_a_robot_that_is_dropped_comes_to_rest_where_it_lies(legged_robot: LeggedRobot) -> None:
    world = World(legged_robot, pose="lying")
    world.step(4_000_000_000)
    before = world.sense()
    world.step(1_000_000_000)
    after = world.sense()
    assert world.fallen
    np.testing.assert_allclose(after.joint_pos, before.joint_pos, atol=0.02)
    np.testing.assert_allclose(after.pos_world, before.pos_world, atol=0.005)


def test_the_imu_is_where_the_figures_have_it(legged_robot: LeggedRobot) -> None:
    world = World(legged_robot, pose="standing")
    assert world.model.site("imu").pos == pytest.approx(legged_robot.imu)


def test_joint_values_part_by_part_are_a_fault_of_legs_with_three_joints() -> None:
    with refusal(SimError):
        FaultPlan.parse(["order:joint_states"], joint_names=load_robot("g1").joint_names)
