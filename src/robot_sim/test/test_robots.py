# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robots that come with the package are those of their published figures, and stand."""

import mujoco
import numpy as np
import pytest
import yaml

from robot_sim.drives import DriveCommand, position_command
from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan
from robot_sim.figures import FILE, ROBOTS, Array, BodyFigures, LeggedRobot, Vec3, load_robot
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


def matrix_about(axis: Array, angle_rad: float) -> Array:
    return matrix_of_quat(np.array([np.cos(angle_rad / 2), *(np.sin(angle_rad / 2) * axis)]))


def inertia_matrix(body: BodyFigures) -> Array:
    xx, yy, zz, xy, xz, yz = (*body.inertia, 0.0, 0.0, 0.0)[:6]
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


class Limbs:
    """A robot with a level base at the origin, computed from its figures alone."""

    def __init__(self, robot: LeggedRobot, joint_pos: Array) -> None:
        self.frames: dict[str, tuple[Array, Array]] = {"": (np.zeros(3), np.eye(3))}
        self.moved_by: dict[str, list[tuple[int, Array, Array]]] = {"": []}
        values = dict(zip(robot.joint_names, joint_pos, strict=True))
        for body in robot.bodies:
            origin, axes = self.frames[body.parent]
            origin, axes = origin + axes @ body.pos, axes @ matrix_of_quat(np.array(body.quat_wxyz))
            moved_by = self.moved_by[body.parent]
            if body.joint is not None:
                axis = np.array(body.joint.axis)
                index = 6 + robot.joint_names.index(body.joint.name)
                moved_by = [*moved_by, (index, axes @ axis, origin)]
                axes = axes @ matrix_about(axis, values[body.joint.name])
            self.frames[body.name], self.moved_by[body.name] = (origin, axes), moved_by

    def place(self, body: str, point: Vec3) -> Array:
        origin, axes = self.frames[body]
        placed: Array = origin + axes @ np.array(point)
        return placed

    def jacobians(self, body: str, point: Array, count: int) -> tuple[Array, Array]:
        """Return how a point of a body moves and turns with each degree of freedom, [3, count]."""
        linear, angular = np.zeros((2, 3, count))
        linear[:, :3], angular[:, 3:6] = np.eye(3), np.eye(3)
        linear[:, 3:6] = np.cross(np.eye(3), point).T
        for index, axis, origin in self.moved_by[body]:
            linear[:, index], angular[:, index] = np.cross(axis, point - origin), axis
        return linear, angular


def mass_matrix(robot: LeggedRobot, joint_pos: Array) -> Array:
    """Return the mass matrix [6 + n, 6 + n], from the figures."""
    limbs, count = Limbs(robot, joint_pos), 6 + len(joint_pos)
    found = np.diag([*np.zeros(6), *(joint.armature_kgm2 for joint in robot.joints)])
    for body in robot.bodies:
        axes = limbs.frames[body.name][1]
        linear, angular = limbs.jacobians(body.name, limbs.place(body.name, body.com), count)
        inertia = axes @ inertia_matrix(body) @ axes.T
        found += body.mass_kg * linear.T @ linear + angular.T @ inertia @ angular
    for foot in robot.feet:
        linear, angular = limbs.jacobians(foot.body, limbs.place(foot.body, foot.pos), count)
        found += foot.mass_kg * linear.T @ linear
        found += 0.4 * foot.mass_kg * foot.radius_m**2 * angular.T @ angular
    return found


def posed(robot: LeggedRobot, seed: int) -> tuple[Array, mujoco.MjModel, mujoco.MjData]:
    """Return joints somewhere in their ranges, and the model like that at the origin."""
    lower, upper = robot.range_rad.T
    joint_pos = np.random.default_rng(seed).uniform(lower, upper)
    model = build_model(robot)
    data = mujoco.MjData(model)
    data.qpos[:3], data.qpos[7:] = 0.0, joint_pos
    mujoco.mj_forward(model, data)
    return joint_pos, model, data


def test_every_robot_on_legs_is_tried_here() -> None:
    files = ROBOTS.glob(f"*/{FILE}")
    on_legs = {file.parent.name for file in files if "feet" in yaml.safe_load(file.read_text())}

    assert on_legs == MASSES_KG.keys() == GAINS.keys()


def test_the_masses_are_the_published_ones(name: str, legged_robot: LeggedRobot) -> None:
    assert build_model(legged_robot).body_mass.sum() == pytest.approx(MASSES_KG[name], abs=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_mass_matrix_is_that_of_the_figures(legged_robot: LeggedRobot, seed: int) -> None:
    joint_pos, model, data = posed(legged_robot, seed)
    found = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, found)
    expected = mass_matrix(legged_robot, joint_pos)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_feet_are_where_the_figures_have_them(legged_robot: LeggedRobot) -> None:
    joint_pos, _, data = posed(legged_robot, 3)
    limbs = Limbs(legged_robot, joint_pos)
    for foot in legged_robot.feet:
        expected = limbs.place(foot.body, foot.pos)
        np.testing.assert_allclose(data.body(foot.name).xpos, expected, atol=1e-9)


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
        world.apply(holding_drive(legged_robot, legged_robot.start(pose).joint_pos, 300.0, 5.0))
        world.step(TICK_NS)
        assert world.sense().pos_world[2] == pytest.approx(before_m, abs=0.01)


def holding_drive(
    robot: LeggedRobot, target: Array, stiffness: float, damping: float
) -> DriveCommand:
    return position_command(
        target, stiffness=stiffness, damping=damping, joint_names=robot.joint_names
    )


def test_a_robot_that_is_held_stands_on_its_feet(name: str, legged_robot: LeggedRobot) -> None:
    world = World(legged_robot, pose="standing")
    for _ in range(150):
        world.apply(holding_drive(legged_robot, legged_robot.standing_rad, *GAINS[name]))
        world.step(TICK_NS)
    sensed = world.sense()
    assert not world.fallen
    assert np.degrees(world.tilt_rad) < 5.0
    assert sensed.pos_world[2] == pytest.approx(legged_robot.poses.standing.height_m, abs=0.02)
    np.testing.assert_allclose(sensed.joint_pos, legged_robot.standing_rad, atol=0.1)
    weight_n = 9.81 * float(world.model.body_mass.sum())
    assert sensed.foot_force_world[:, 2].sum() == pytest.approx(weight_n, rel=0.02)


def test_a_robot_whose_drives_damp_goes_down(legged_robot: LeggedRobot) -> None:
    world = World(legged_robot, pose="standing")
    world.step(4_000_000_000)
    assert world.fallen


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


def test_parts_are_what_joints_are_called_in_every_leg() -> None:
    assert {load_robot("lite3").part(name) for name in load_robot("lite3").joint_names} == {
        "HipX",
        "HipY",
        "Knee",
    }
    assert load_robot("go2").part("FR_calf_joint") == "calf"
    assert load_robot("g1").part("waist_yaw_joint") == "waist_yaw"


def test_joint_values_part_by_part_are_a_fault_of_legs_with_three_joints() -> None:
    with refusal(SimError):
        FaultPlan.parse(["order:joint_states"], joint_names=load_robot("g1").joint_names)
