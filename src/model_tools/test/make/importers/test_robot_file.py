# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.robot_file import (
    JointFigures,
    breadth_first,
    read_robot,
)
from testkit.wording import refusal

from .small_runs import urdf

MJCF = """<mujoco>
  <default><joint limited="true"/></default>
  <worldbody><body><freejoint/><geom size="1"/>
    <body><joint name="hip" range="-90 90"/><geom size="1"/></body>
    <body><joint name="knee" range="-45 0" actuatorfrcrange="-40 40"/><geom size="1"/></body>
    <body><joint name="toe" limited="false"/><geom size="1"/></body>
  </body></worldbody>
  <actuator>
    <motor joint="hip" gear="2" ctrllimited="true" ctrlrange="-15 15"/>
    <position joint="knee" kp="10" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
</mujoco>"""


def test_figures_of_a_robot_of_the_simulation_give_all_limits() -> None:
    joints = read_robot(Path("go2"))
    assert len(joints) == 12
    assert joints["RL_calf_joint"] == JointFigures(
        parent="RL_thigh_joint",
        position_min=-2.7227,
        position_max=-0.83776,
        velocity_limit=15.7,
        effort_limit=45.43,
    )
    assert joints["FR_hip_joint"].parent is None


def write(folder: Path, text: str) -> Path:
    file = folder / "robot.xml"
    file.write_text(text, encoding="utf-8")
    return file


def test_mujoco_s_defaults_units_and_gears_count(tmp_path: Path) -> None:
    joints = read_robot(write(tmp_path, MJCF))
    assert list(joints) == ["hip", "knee", "toe"]
    assert joints["hip"].position_max == pytest.approx(1.5708, abs=1e-4)
    assert joints["hip"].effort_limit == 30.0
    # The control of a position drive is an angle, which bounds no torque.
    assert joints["knee"].effort_limit == 40.0
    assert joints["toe"] == JointFigures()


@pytest.mark.parametrize(
    "text",
    [
        "<robot",
        "<svg/>",
        "<robot/>",
        "<mujoco><worldbody><body/></worldbody><wrong/></mujoco>",
        '<mujoco><worldbody><replicate count="1000000000"/></worldbody></mujoco>',
        '<robot><joint name="hip" type="revolute"><limit lower="low"/></joint></robot>',
    ],
)
def test_another_file_is_refused_with_the_reason(tmp_path: Path, text: str) -> None:
    with refusal(ToolError):
        read_robot(write(tmp_path, text))


def test_joints_are_numbered_level_by_level_from_the_base(tmp_path: Path) -> None:
    text = urdf(
        ["left_hip", "left_knee"],
        ["right_hip", "plate", "right_knee"],
        ["waist", "arm", "hand"],
        fixed=["plate"],
    )
    robot = read_robot(write(tmp_path, text))
    assert breadth_first(robot) == [
        "left_hip",
        "right_hip",
        "waist",
        "left_knee",
        "right_knee",
        "arm",
        "hand",
    ]


def test_meshes_and_textures_need_not_be_there(tmp_path: Path) -> None:
    assets = """<asset>
    <texture name="skin" type="2d" file="skin.png"/><material name="skin" texture="skin"/>
    <mesh name="thigh" file="thigh.obj"/>
  </asset>"""
    drawn = '<geom type="mesh" mesh="thigh" material="skin"/><site name="foot" material="skin"/>'
    text = MJCF.replace("<worldbody>", f"{assets}<worldbody>")
    joint = text.index("<joint", text.index("<worldbody>"))
    joints = read_robot(write(tmp_path, text[:joint] + drawn + text[joint:]))
    assert joints == read_robot(write(tmp_path, MJCF))


def test_levels_of_an_mjcf_file_are_those_of_its_bodies(tmp_path: Path) -> None:
    nested = MJCF.replace(
        '<geom size="1"/></body>\n    <body><joint name="knee"',
        '<geom size="1"/><body><joint name="foot" limited="false"/><geom size="1"/></body></body>\n'
        '    <body><joint name="knee"',
    )
    robot = read_robot(write(tmp_path, nested))
    assert list(robot) == ["hip", "foot", "knee", "toe"]
    assert breadth_first(robot) == ["hip", "knee", "toe", "foot"]
