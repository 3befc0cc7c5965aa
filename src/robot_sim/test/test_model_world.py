# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robots from small model files, which the tests write."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_sim.drives import position_command
from robot_sim.errors import SimError
from robot_sim.model_world import ModelWorld
from robot_sim.walk import walk
from testkit.wording import refusal

LEGS = ("fl", "fr", "rl", "rr")
JOINTS = tuple(f"{leg}_hip" for leg in LEGS)
LEG_M, FOOT_M = 0.3, 0.02
PERIOD_NS = 20_000_000
_LEG = """
<body name="{leg}" pos="{x} {y} 0">
  <inertial pos="0 0 -0.1" mass="0.3" diaginertia="1e-3 1e-3 1e-3"/>
  <joint name="{leg}_hip" axis="0 1 0" range="-1 1"/>
  <geom name="{leg}_foot" type="sphere" size="0.02" pos="0 0 -0.3"/>
</body>"""
QUADRUPED = """
<mujoco model="four legs">
  <compiler angle="radian"/>
  <option timestep="0.01"/>
  <default><geom contype="2" conaffinity="2"/><position kp="50"/></default>
  <worldbody>{floor}
    <body name="trunk" pos="0 0 1">
      {base}<inertial pos="0 0 0" mass="4" diaginertia="0.05 0.1 0.1"/>
      <site name="leaning" pos="0 0 0.1" quat="0.70710678 0 -0.70710678 0"/>
      <geom name="hull" type="box" size="0.2 0.1 0.02" mass="0"/>
      <geom name="seen" type="mesh" mesh="not there" contype="0" conaffinity="0"/>
      <body name="tail" pos="-0.2 0 0">
        <inertial pos="-0.05 0 0" mass="0.05" diaginertia="1e-4 1e-4 1e-4"/>
        <joint name="wag" axis="0 0 1"/>
      </body>{legs}
    </body>
  </worldbody>
  <asset><mesh name="not there" file="nowhere.stl"/></asset>
  <actuator><position name="fl_hip" joint="fl_hip"/><position name="w" joint="wag"/></actuator>
  <sensor><jointpos joint="wag"/><actuatorfrc actuator="w"/></sensor>
</mujoco>"""
ARM = """
<robot name="two links">
  <link name="stand"/>
  <joint name="yaw" type="revolute">
    <parent link="stand"/><child link="upper"/><axis xyz="0 0 1"/>
    <limit lower="-2" upper="2" effort="{effort}" velocity="5"/>
  </joint>
  <link name="upper"><inertial><mass value="1"/><origin xyz="0.1 0 0"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>{shape}</link>
  <joint name="roll" type="continuous">
    <parent link="upper"/><child link="lower"/><axis xyz="1 0 0"/><origin xyz="0.2 0 0"/>
  </joint>
  <link name="lower"><inertial><mass value="0.2"/>
    <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial></link>
</robot>"""


def quadruped(folder: Path, *, floor: str = "", base: str = "<freejoint/>", **words: str) -> Path:
    legs = "".join(
        _LEG.format(leg=leg, x=0.15 if leg[0] == "f" else -0.15, y=0.1 if leg[1] == "l" else -0.1)
        for leg in LEGS
    )
    text = QUADRUPED.format(floor=floor, base=base, legs=legs)
    for before, after in words.items():
        assert before in text
        text = text.replace(before, after)
    file = folder / "robot.xml"
    file.write_text(text, "utf-8")
    return file


def write_arm_model(folder: Path, *, shape: str = "", effort: float = 100.0) -> Path:
    file = folder / "robot.urdf"
    file.write_text(ARM.format(shape=shape, effort=effort), "utf-8")
    return file


def world_of(file: Path, joints: tuple[str, ...] = JOINTS, **how: Any) -> ModelWorld:
    settings = {
        "standing_rad": np.zeros(len(joints)),
        "effort_limit_nm": np.full(len(joints), 9.0),
        "free_base": True,
        "rate_hz": 50.0,
        **how,
    }
    return ModelWorld(file, joints, **settings)


def hold_ticks(world: ModelWorld, position: Any, ticks: int, stiffness: float = 40.0) -> None:
    for _ in range(ticks):
        names = world.joint_names
        world.apply(position_command(position, stiffness=stiffness, damping=2.0, joint_names=names))
        world.step(PERIOD_NS)


@pytest.mark.parametrize(("angle_rad", "ground_m"), [(0.4, None), (0.0, 0.0), (0.4, 0.5)])
def test_the_robot_stands_on_the_model_s_ground_or_on_one_that_is_added(
    tmp_path: Path, angle_rad: float, ground_m: float | None
) -> None:
    plane = f'<geom name="own" type="plane" size="5 5 1" pos="0 0 {ground_m}"/>'
    floor = "" if ground_m is None else plane
    angles = angle_rad * np.array([1.0, 1.0, -1.0, -1.0])
    world = world_of(quadruped(tmp_path, floor=floor), standing_rad=angles)
    above_m = world.sense().pos_world[2] - (ground_m or 0.0)
    assert above_m == pytest.approx(LEG_M * np.cos(angle_rad) + FOOT_M, abs=2e-3)
    hold_ticks(world, angles, 50, stiffness=200.0)
    sensors = world.sense()
    assert sensors.pos_world[2] - (ground_m or 0.0) == pytest.approx(above_m, abs=0.01)
    np.testing.assert_allclose(sensors.joint_pos, angles, atol=0.05)
    np.testing.assert_allclose(sensors.lin_acc_body, [0.0, 0.0, 9.81], atol=0.2)
    assert not world.fallen


def test_a_robot_without_a_command_falls_and_that_is_seen(tmp_path: Path) -> None:
    world = world_of(quadruped(tmp_path), standing_rad=np.array([0.3] * 4))
    given = position_command([1.0] * 4, stiffness=40.0, damping=1.0, joint_names=JOINTS)
    walk(world, lambda *_: given, [], duration_s=3.0)
    assert world.fallen
    assert world.sense().pos_world[2] < 0.16


def test_joints_are_found_by_name_and_those_without_a_drive_are_fixed(tmp_path: Path) -> None:
    names = ("rr_hip", "fl_hip", "rl_hip", "fr_hip")
    world = world_of(quadruped(tmp_path), names, standing_rad=np.array([0.1, 0.2, 0.3, 0.4]))
    assert world.joint_names == names
    assert world.sense().joint_names == names
    np.testing.assert_allclose(world.sense().joint_pos, [0.1, 0.2, 0.3, 0.4])
    assert world.model.joint("fl_hip").qposadr[0] == 7
    assert [world.model.joint(i).name for i in range(world.model.njnt)][1:] == list(JOINTS)


@pytest.mark.parametrize(
    ("imu", "up"), [("", [0.0, 0.0, 1.0]), ("trunk", [0.0, 0.0, 1.0]), ("leaning", [1.0, 0.0, 0.0])]
)
def test_the_imu_is_in_the_frame_that_is_named(tmp_path: Path, imu: str, up: list[float]) -> None:
    world = world_of(quadruped(tmp_path), imu=imu)
    hold_ticks(world, np.zeros(4), 50)
    np.testing.assert_allclose(world.sense().lin_acc_body, np.multiply(9.81, up), atol=0.2)


@pytest.mark.parametrize("base", ["<freejoint/>", ""])
def test_a_base_is_free_where_the_model_or_the_caller_says_so(tmp_path: Path, base: str) -> None:
    world = world_of(quadruped(tmp_path, base=base), free_base=True)
    assert world.sense().pos_world[2] == pytest.approx(LEG_M + FOOT_M, abs=2e-3)
    fixed = world_of(quadruped(tmp_path, base=""), free_base=False)
    hold_ticks(fixed, np.full(4, 0.5), 50)
    assert fixed.sense().pos_world.tolist() == [0.0, 0.0, 1.0]
    assert not fixed.fallen


def test_another_free_body_in_the_scene_does_not_free_the_robot(tmp_path: Path) -> None:
    sphere = '<geom type="sphere" size="0.1" mass="1"/>'
    ball = f'<body name="ball" pos="3 0 2"><freejoint/>{sphere}</body>'
    world = world_of(quadruped(tmp_path, base="", floor=ball), free_base=False)
    hold_ticks(world, np.zeros(4), 5)
    assert world.sense().pos_world.tolist() == [0.0, 0.0, 1.0]
    np.testing.assert_allclose(world.sense().joint_pos, np.zeros(4), atol=0.05)


def test_a_urdf_on_its_base_is_driven_by_gains_in_closed_loop(tmp_path: Path) -> None:
    at = {"free_base": False, "standing_rad": np.array([0.2, -0.1])}
    world = world_of(write_arm_model(tmp_path), ("roll", "yaw"), **at)
    np.testing.assert_allclose(world.sense().joint_pos, [0.2, -0.1])
    hold_ticks(world, [0.5, 0.3], 150)
    np.testing.assert_allclose(world.sense().joint_pos, [0.5, 0.3], atol=1e-3)


@pytest.mark.parametrize(
    ("of_model", "of_contract", "expected"), [(100.0, 0.5, 0.5), (0.25, 9.0, 0.25)]
)
def test_the_lower_effort_limit_of_contract_and_model_holds(
    tmp_path: Path, of_model: float, of_contract: float, expected: float
) -> None:
    file, limit = write_arm_model(tmp_path, effort=of_model), np.array([of_contract])
    world = world_of(file, ("yaw",), free_base=False, effort_limit_nm=limit)
    world.apply(position_command([1.5], stiffness=1000.0, damping=0.0, joint_names=("yaw",)))
    world.step(PERIOD_NS)
    assert world.sense().joint_effort.tolist() == [expected]


def test_a_period_is_a_whole_number_of_steps_at_any_rate(tmp_path: Path) -> None:
    world = world_of(quadruped(tmp_path), rate_hz=60.0)
    for _ in range(3):
        world.step(round(1e9 / 60.0))
    assert world.time_ns == 50_000_000
    assert world.model.opt.timestep <= 0.001


def test_links_that_overlap_where_the_robot_stands_do_not_push_each_other(tmp_path: Path) -> None:
    file = quadruped(tmp_path, **{'size="0.02" pos="0 0 -0.3"/>': 'size="0.12" pos="0 0 -0.3"/>'})
    world = world_of(file)
    assert world.model.nexclude == 2
    hold_ticks(world, np.zeros(4), 50)
    np.testing.assert_allclose(world.sense().joint_pos, np.zeros(4), atol=0.02)


SOLID = 'contype="2" conaffinity="2"'
COLLISION = '<collision><geometry><mesh filename="package://x/hull.stl"/></geometry></collision>'


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (lambda folder: folder / "none.xml", {}),
        (lambda folder: folder, {}),
        (lambda folder: folder / "figures.yaml", {}),
        (lambda folder: quadruped(folder, **{"</mujoco>": ""}), {}),
        (quadruped, {"joints": ("fl_hip", "fl_knee")}),
        (quadruped, {"imu": "head"}),
        (lambda folder: quadruped(folder, **{SOLID: SOLID.replace("2", "0")}), {}),
        (lambda folder: write_arm_model(folder, shape=COLLISION), {"joints": ("yaw",)}),
    ],
)
def test_a_model_that_cannot_be_used_gets_one_clear_error(
    tmp_path: Path, make: Any, how: dict[str, Any]
) -> None:
    with refusal(SimError):
        world_of(make(tmp_path), **how)


def test_the_lines_of_the_guide_put_a_model_behind_a_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = Path(__file__).parents[3] / "docs" / "bring_your_robot.md"
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", guide.read_text("utf-8"), re.DOTALL)
        if "ModelWorld" in block
    )
    quadruped(tmp_path).rename(tmp_path / "my_dog.xml")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "JOINT_NAMES": JOINTS,
        "STANDING_RAD": np.zeros(len(JOINTS)),
        "FIGURES": SimpleNamespace(largest_torque_nm=np.full(len(JOINTS), 9.0)),
        "STATE_RATE_HZ": 500.0,
    }
    exec(code, names)
    world: ModelWorld = names["world"]
    standing_m = world.sense().pos_world[2]
    world.advance(6 * world.steps_per_s)
    sensed = world.sense()
    assert world.joint_names == JOINTS
    assert sensed.pos_world[2] < standing_m
    assert np.abs(sensed.joint_vel).max() < 0.2
