# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import (
    ImportRequest,
    import_bundle,
    make_draft,
)
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from testkit.wording import refusal

from .conftest import ANSWERS
from .small_models import save, save_policy
from .small_runs import urdf

COMMAS = {
    "joint_names": "hip,knee",
    "joint_stiffness": "20.000,40.000",
    "joint_damping": "0.500,1.500",
    "default_joint_pos": "0.100,-0.800",
    "action_scale": "0.250,0.500",
    "run_path": "runs/walk",
    "observation_names": "command,base_ang_vel,joint_pos,actions",
}
JSON = {
    "dof_names": '["hip", "knee"]',
    "kp": "[20.0, 40.0]",
    "kd": "[0.5, 1.5]",
    "action_scale": "0.25",
    "command_ranges": '{"lin_vel_x": [-1, 1], "lin_vel_y": [0, 0], "ang_vel_yaw": [-2, 2]}',
}


@pytest.mark.parametrize("metadata", [COMMAS, {**JSON, "observation_names": '["base_ang_vel"]'}])
def test_lists_with_commas_and_json_say_the_same(tmp_path: Path, metadata: dict[str, str]) -> None:
    width = 3 if metadata is not COMMAS else 11
    model = save_policy(tmp_path / "policy.onnx", width, 2, metadata=metadata)
    draft = make_draft(ImportRequest(source=model))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.stiffness") == [20.0, 40.0]
    assert draft.find("joints.damping") == [0.5, 1.5]


def test_what_names_do_not_say_is_asked_for(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=COMMAS)
    draft = make_draft(ImportRequest(source=model))
    todos = draft.todos()
    assert {"rate_hz", "action.terms[0].kind", "action.terms[0].offset"} <= set(todos)
    assert all(f"observations.obs.terms[{i}].scale" in todos for i in range(4))
    assert "joint_pos_rel, if" in todos["observations.obs.terms[2].term"]
    assert draft.find("observations.obs.terms")[0]["size"] == 4
    assert draft.find("action.terms")[0]["scale"] == [0.25, 0.5]


def test_a_counter_of_ticks_and_reference_outputs_are_distinguished(tmp_path: Path) -> None:
    model = save_policy(
        tmp_path / "policy.onnx",
        11,
        2,
        metadata=COMMAS,
        extra_inputs={"time_step": (1, 1)},
        extra_outputs={"joint_pos": (1, 2)},
    )
    draft = make_draft(ImportRequest(source=model))
    assert draft.find("observations.time_step.terms") == [{"term": "tick"}]
    assert draft.find("action.output") == "actions"


def test_ranges_of_commands_are_taken_where_a_term_may_read_them(tmp_path: Path) -> None:
    metadata = {**JSON, "observation_names": '["command", "base_ang_vel"]'}
    model = save_policy(tmp_path / "policy.onnx", 6, 2, metadata=metadata)
    request = ImportRequest(
        source=model, answers=["observations.obs.terms[0].term=velocity_command"]
    )
    draft = make_draft(request)
    assert draft.find("velocity_command") == {"min": [-1.0, 0.0, -2.0], "max": [1.0, 0.0, 2.0]}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({**COMMAS, "joint_stiffness": "20,40,60"}, "joint_stiffness: expected 2 joints, found 3"),
        ({**COMMAS, "joint_damping": "a,b"}, r"joint_damping\[0\]: expected a number, found 'a'"),
        ({**JSON, "kp": "[20.0, "}, "kp: expected JSON"),
        ({**JSON, "kp": "[" * 5000}, "kp: expected JSON"),
        (
            {**COMMAS, "observation_history_lengths": "1,2"},
            "observation_history_lengths: expected 4 values, one for each of observation_names",
        ),
        ({**COMMAS, "action_scale": "1,2,3"}, "action_scale: expected one value or 2"),
    ],
)
def test_wrong_metadata_are_refused_with_their_key(
    tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=metadata)
    with pytest.raises(ToolError, match=message):
        make_draft(ImportRequest(source=model))


def test_a_second_model_beside_the_one_with_the_metadata_is_refused(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=COMMAS)
    with refusal(ToolError):
        make_draft(ImportRequest(source=model, model=tmp_path / "other.onnx"))


def test_joints_of_the_user_are_refused(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=COMMAS)
    with refusal(ToolError):
        make_draft(ImportRequest(source=model, joints="knee,hip"))


def test_names_that_may_be_parts_of_a_term_are_asked_about(tmp_path: Path) -> None:
    metadata = {
        **JSON,
        "observation_names": json.dumps(
            ["command_lin_vel", "command_ang_vel", "sin_phase", "cos_phase", "phase"]
        ),
    }
    model = save_policy(tmp_path / "policy.onnx", 7, 2, metadata=metadata)
    draft = make_draft(ImportRequest(source=model))
    questions = [draft.todos()[f"observations.obs.terms[{i}].term"] for i in range(5)]
    for question, parts in zip(
        questions, ("[vx, vy]", "[wz]", "[sin]", "[cos]", "[cos, sin]"), strict=True
    ):
        assert f"parts: {parts}" in question
    assert draft.find("observations.obs.terms")[0].keys() == {"term", "scale"}
    answers = ["observations.obs.terms[2].term=phase", "observations.obs.terms[2].parts=[sin]"]
    todos = make_draft(ImportRequest(source=model, answers=answers)).todos()
    assert "observations.obs.terms[2].period_s" in todos
    assert "observations.obs.terms[2].term" not in todos


def without(key: str, metadata: Mapping[str, str] = COMMAS) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name != key}


def test_frames_of_the_past_are_those_of_each_term(tmp_path: Path) -> None:
    metadata = {
        **COMMAS,
        "observation_names": "base_ang_vel,joint_vel,actions",
        "observation_history_lengths": "5,5,5",
    }
    model = save_policy(tmp_path / "policy.onnx", 35, 2, metadata=metadata)
    draft = make_draft(ImportRequest(source=model))
    assert draft.find("observations.obs.history") == {
        "length": 5,
        "layout": "per_term",
        "order": "oldest_first",
        "init": "repeat",
    }
    metadata["observation_history_lengths"] = "0,1,3"
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=metadata)
    terms = make_draft(ImportRequest(source=model)).find("observations.obs.terms")
    assert [term["history_length"] for term in terms] == [1, 1, 3]


def test_a_scale_that_the_metadata_lack_is_asked_for(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=without("action_scale"))
    todos = make_draft(ImportRequest(source=model)).todos()
    assert todos["action.terms[0].scale"].startswith("what the training multiplies the model's")
    draft = make_draft(ImportRequest(source=model, answers=["action.terms[0].scale=0.25"]))
    assert "action.terms[0].scale" not in draft.todos()


def test_an_observation_that_the_metadata_do_not_name_is_asked_for(tmp_path: Path) -> None:
    metadata = {**JSON, "default_joint_pos": "[0.1, -0.8]"}
    model = save_policy(tmp_path / "policy.onnx", 6, 2, metadata=metadata)
    question = make_draft(ImportRequest(source=model)).todos()["observations.obs.terms"]
    assert "the terms that fill its 6 values" in question
    assert "joint_pos, joint_vel, base_ang_vel" in question
    terms = "observations.obs.terms=[{term: base_ang_vel, scale: 0.25}, {term: velocity_command}]"
    answers = [
        *ANSWERS,
        terms,
        "rate_hz=50",
        "action.terms[0].kind=position",
        "action.terms[0].offset=default_position",
    ]
    import_bundle(ImportRequest(source=model, answers=answers), tmp_path / "bundle")
    contract = load_bundle(tmp_path / "bundle", kind=JointBundle).contract
    assert contract.velocity_command is not None
    assert contract.velocity_command.min == (-1.0, 0.0, -2.0)


@pytest.mark.parametrize("written", [json.dumps(urdf(["hip", "knee"])), urdf(["knee", "hip"])])
def test_limits_come_from_the_robot_inside_the_metadata(tmp_path: Path, written: str) -> None:
    model = save_policy(tmp_path / "p.onnx", 11, 2, metadata={**COMMAS, "robot_urdf": written})
    draft = make_draft(ImportRequest(source=model))
    assert draft.find("joints.position_min") == [-3.0, -3.0]
    assert draft.find("joints.effort_limit") == [30.0, 30.0]


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("<robot", "robot_urdf: expected a URDF"),
        ('"<robot', "robot_urdf: expected JSON"),
        (urdf(["hip"]), "found none named knee"),
        ("<mujoco/>", "robot_urdf: expected a URDF, found the element mujoco"),
    ],
)
def test_limits_are_asked_for_where_the_robot_inside_is_of_no_use(
    tmp_path: Path, written: str, found: str
) -> None:
    model = save_policy(tmp_path / "p.onnx", 11, 2, metadata={**COMMAS, "robot_urdf": written})
    draft = make_draft(ImportRequest(source=model))
    assert "joints.position_min" in draft.todos()
    assert any(found in remark for remark in draft.remarks)


def test_questions_about_the_action_say_what_the_graph_does_already(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["obs", "w"], ["layer"]),
        helper.make_node("Tanh", ["layer"], ["bounded"]),
        helper.make_node("Mul", ["bounded", "scale"], ["scaled"], name="/actor/Mul"),
        helper.make_node("Add", ["scaled", "bias"], ["actions"], name="/actor/Add"),
    ]
    constants = [
        numpy_helper.from_array(np.array(values, np.float32), name)
        for name, values in {
            "w": np.ones((11, 2)),
            "scale": [0.25, 0.5],
            "bias": [0.0, 0.0],
        }.items()
    ]
    model = save(
        tmp_path / "p.onnx", nodes, {"obs": (1, 11)}, {"actions": (1, 2)}, constants, COMMAS
    )
    todos = make_draft(ImportRequest(source=model)).todos()
    scale = "this scale is the metadata's action_scale, so the contract's must be 1; the term"
    assert scale in todos["action.terms[0].scale"]
    assert "Add /actor/Add right before the output actions" in todos["action.terms[0].offset"]
    assert "no offset is baked in" in todos["action.terms[0].offset"]
