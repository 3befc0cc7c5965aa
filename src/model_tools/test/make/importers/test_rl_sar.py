# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import ImportRequest, make_draft
from testkit.wording import refusal

from .conftest import WriteRobot
from .small_runs import save_policy, urdf

ROBOT = ["right_hip", "left_hip", "right_wheel", "left_wheel"]
BASE: dict[str, Any] = yaml.safe_load("""
{dt: 0.005, decimation: 4, joint_names: [right_hip, left_hip, right_wheel, left_wheel],
 joint_mapping: [0, 1, 2, 3], default_dof_pos: [9.0, 9.0, 9.0, 9.0], fixed_kp: [9.0, 9.0, 9.0, 9.0]}
""")
CONFIG: dict[str, Any] = yaml.safe_load("""
{model_name: policy.pt, num_observations: 21, num_of_dofs: 4,
 observations: [commands, ang_vel, gravity_vec, dof_pos, dof_vel, actions],
 observations_history: [0, 1], observations_history_priority: time, clip_obs: 50.0,
 clip_actions_lower: [-8.0, -8.0, -8.0, -8.0], clip_actions_upper: [9.0, 9.0, 9.0, 9.0],
 rl_kp: [20.0, 0.0, 21.0, 0.0], rl_kd: [0.5, 0.6, 0.7, 0.8], fixed_kp: [60.0, 0.0, 61.0, 0.0],
 fixed_kd: [5.0, 0.1, 5.0, 0.1], action_scale: [0.125, 5.0, 0.25, 5.0], wheel_indices: [1, 3],
 ang_vel_scale: 0.25, dof_pos_scale: 2.0, dof_vel_scale: 0.05, commands_scale: [2.0, 2.0, 0.5],
 torque_limits: [30.0, 10.0, 31.0, 11.0], default_dof_pos: [0.1, 0.0, -0.2, 0.0],
 joint_mapping: [1, 3, 0, 2]}
""")
WIDTH = 2 * (9 + 3 * 4)


def rover_request(
    folder: Path, base: dict[str, Any] | None = BASE, **changed: Any
) -> ImportRequest:
    """Write both files, changed, and the model; keys of None are left out."""
    policy = folder / "rover" / "walk"
    policy.mkdir(parents=True)
    config = {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}
    file = policy / "config.yaml"
    file.write_text(yaml.safe_dump({"rover/walk": config}, sort_keys=False), "utf-8")
    if base is not None:
        (folder / "rover" / "base.yaml").write_text(yaml.safe_dump({"rover": base}), "utf-8")
    return ImportRequest(source=file, model=save_policy(folder / "policy.onnx", WIDTH, 4))


def test_values_are_in_the_policy_s_order_and_wheels_have_velocities_and_no_position(
    tmp_path: Path,
) -> None:
    draft = make_draft(rover_request(tmp_path))
    assert draft.find("rate_hz") == 50.0
    assert draft.find("joints.names") == ["left_hip", "left_wheel", "right_hip", "right_wheel"]
    assert draft.find("joints.default_position") == CONFIG["default_dof_pos"]
    assert draft.find("joints.stiffness") == CONFIG["rl_kp"]
    assert draft.find("joints.effort_limit") == CONFIG["torque_limits"]
    assert draft.find("stand.stiffness") == CONFIG["fixed_kp"]
    clip = [-8.0, 9.0]
    leg = {"kind": "position", "offset": "default_position", "clip": clip}
    wheel = {"kind": "velocity", "scale": 5.0, "clip": clip}
    assert draft.find("action.terms") == [
        {"joints": ["left_hip"], "scale": 0.125, **leg},
        {"joints": ["left_wheel"], **wheel},
        {"joints": ["right_hip"], "scale": 0.25, **leg},
        {"joints": ["right_wheel"], **wheel},
    ]
    assert draft.find("observations.obs.terms") == [
        {"term": "velocity_command", "scale": [2.0, 2.0, 0.5]},
        {"term": "base_ang_vel", "scale": 0.25},
        {"term": "projected_gravity"},
        {"term": "joint_pos_rel", "scale": [2.0, 0.0, 2.0, 0.0]},
        {"term": "joint_vel", "scale": 0.05},
        {"term": "last_action", "clip": clip},
    ]


@pytest.mark.parametrize(
    ("places", "priority", "order", "layout"),
    [
        ([0, 1], "time", "newest_first", "per_frame"),
        ([1, 0], "time", "oldest_first", "per_frame"),
        ([1, 0], "term", "oldest_first", "per_term"),
    ],
)
def test_frames_begin_with_zeros_in_the_order_of_the_file(
    tmp_path: Path, places: list[int], priority: str, order: str, layout: str
) -> None:
    frames: dict[str, Any] = {
        "observations_history": places,
        "observations_history_priority": priority,
    }
    draft = make_draft(rover_request(tmp_path, **frames))
    expected = {"length": 2, "layout": layout, "order": order, "init": "zero"}
    assert draft.find("observations.obs.history") == expected
    assert draft.find("observations.obs.clip") == 50.0


@pytest.mark.parametrize(
    "changed",
    [
        {"model_name": "policy.onnx", "rl_kd": [0.5]},
        {"observations_history": [0, 2]},
        {"wheel_indices": [4]},
        {"ang_vel_scale": None},
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, changed: dict[str, Any]) -> None:
    with refusal(ToolError):
        make_draft(rover_request(tmp_path, **changed))


def test_another_format_or_a_torchscript_model_is_refused(tmp_path: Path) -> None:
    asked = rover_request(tmp_path)
    with refusal(ToolError):
        make_draft(ImportRequest(source=asked.source))
    asked.source.write_text("{sim: {}, decimation: 4}", "utf-8")
    with refusal(ToolError):
        make_draft(ImportRequest(source=asked.source, model=asked.model, format="rl_sar"))


def test_without_the_robot_s_file_its_joints_are_needed(
    tmp_path: Path, robot_file: WriteRobot
) -> None:
    asked = rover_request(tmp_path, base=None, dt=0.005, decimation=4)
    listed = dataclasses.replace(asked, joints=",".join(ROBOT))
    assert make_draft(listed).find("joints.names")[0] == "left_hip"
    sorted_file = robot_file(urdf(*([name] for name in sorted(ROBOT))))
    for joints in (None, sorted_file):  # whose order is not taken for that of its motors
        with refusal(ToolError):
            make_draft(dataclasses.replace(asked, joints=joints))


def test_actions_that_are_clipped_joint_by_joint_are_a_question(tmp_path: Path) -> None:
    """The policy observes them clipped, where `last_action` is the raw output."""
    upper = copy.copy(CONFIG["clip_actions_upper"])
    upper[0] = 1.0
    asked = rover_request(tmp_path, clip_actions_upper=upper)
    assert "clip_actions_upper" in make_draft(asked).todos()["observations"]
