# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.joints import given_joints
from model_tools.make.importers.robot_file import (
    JointFigures,
    breadth_first,
    put_estimation,
    read_robot,
)
from policy_core.bundle.contract import Estimation
from policy_core.bundle.schema import Reader
from robot_sim.figures import load_robot
from robot_sim.legs import make_estimation
from robot_sim.urdf import write_urdf
from testkit.wording import check_wording, refusal

from .small_runs import save_policy, urdf

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


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """A draft of a policy that calls the joints of a Go2 without their ending."""
    made = Draft("a test", read_onnx(save_policy(tmp_path / "policy.onnx", 3, 12)))
    names = [name.removesuffix("_joint") for name in load_robot("go2").joint_names]
    made.put("joints.names", names)
    made.put("joints.robot_names", {".*": "{name}_joint"})
    made.put("observations.obs.terms", [{"term": "joint_pos"}, {"term": "base_lin_vel"}])
    return made


def test_legs_of_a_robot_s_figures_have_the_names_of_the_policy(draft: Draft) -> None:
    put_estimation(draft, Path("go2"))
    assert [term.get("source") for _, term in draft.terms()] == [None, "estimator"]
    reader = Reader("policy.yaml")
    found = reader.section(Estimation, draft.values["estimation"])
    assert reader.problems == []
    assert found is not None
    expected = make_estimation(load_robot("go2"))
    assert (found.error_mps, found.imu_m) == (expected.error_mps, expected.imu_m)
    for leg, other in zip(found.legs, expected.legs, strict=True):
        assert (leg.name, leg.points) == (other.name, other.points)
        for link, on_robot in zip(leg.chain, other.chain, strict=True):
            own = on_robot.joint and on_robot.joint.removesuffix("_joint")
            assert link == replace(on_robot, joint=own)


@pytest.mark.parametrize("robot", [None, Path("robot.urdf"), Path("go2")])
def test_an_estimator_without_figures_or_velocity_is_refused(
    draft: Draft, robot: Path | None
) -> None:
    if robot == Path("go2"):
        draft.put("observations.obs.terms", [{"term": "joint_pos"}])
    with refusal(ToolError):
        put_estimation(draft, robot)


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


ISAAC_LAB_ORDER = {
    "go2": "FL_hip FR_hip RL_hip RR_hip FL_thigh FR_thigh RL_thigh RR_thigh "
    "FL_calf FR_calf RL_calf RR_calf",
    "g1": "left_hip_pitch right_hip_pitch waist_yaw left_hip_roll right_hip_roll waist_roll "
    "left_hip_yaw right_hip_yaw waist_pitch left_knee right_knee left_shoulder_pitch "
    "right_shoulder_pitch left_ankle_pitch right_ankle_pitch left_shoulder_roll "
    "right_shoulder_roll left_ankle_roll right_ankle_roll left_shoulder_yaw right_shoulder_yaw "
    "left_elbow right_elbow left_wrist_roll right_wrist_roll left_wrist_pitch right_wrist_pitch "
    "left_wrist_yaw right_wrist_yaw",
}
"""As `joint_ids_map` of Unitree's own policies, trained in Isaac Lab, has them."""


@pytest.mark.parametrize("robot", ISAAC_LAB_ORDER)
def test_siblings_are_in_the_order_of_isaac_sim_whatever_the_order_in_the_urdf(
    tmp_path: Path, robot: str
) -> None:
    file = tmp_path / "robot.urdf"
    file.write_text(write_urdf(load_robot(robot)), "utf-8")
    given = given_joints(str(file), "breadth_first")
    names = [f"{name}_joint" for name in ISAAC_LAB_ORDER[robot].split()]
    assert given.in_simulator_order() == names
    is_sorted = given.siblings_in_file_order == names
    assert is_sorted == (robot == "g1")
    assert ("the file has" in given.describe_order(names)) != is_sorted


def test_siblings_of_an_mjcf_file_that_are_sorted_have_one_order(tmp_path: Path) -> None:
    given = given_joints(str(write(tmp_path, MJCF)), "breadth_first")
    assert given.in_simulator_order() == ["hip", "knee", "toe"]
    check_wording(given.describe_order(given.names))


def test_siblings_of_an_mjcf_file_in_another_order_are_a_question(tmp_path: Path) -> None:
    given = given_joints(str(write(tmp_path, MJCF.replace("hip", "shin"))), "breadth_first")
    with refusal(ToolError):
        given.in_simulator_order()


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
