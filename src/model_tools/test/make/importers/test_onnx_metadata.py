# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import ImportRequest, import_bundle, make_draft
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import check_wording, lines_with, refusal

from .conftest import ANSWERS
from .small_runs import save_policy, urdf

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


TERMS = ("observations", "obs", "terms")


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


@pytest.mark.parametrize(
    ("metadata", "asked"),
    [
        ({**COMMAS, "joint_stiffness": "20,40,60"}, {}),
        ({**JSON, "kp": "[20.0, "}, {}),
        ({**JSON, "kp": "[" * 5000}, {}),
        ({**COMMAS, "observation_history_lengths": "1,2"}, {}),
        (COMMAS, {"model": Path("other.onnx")}),
        (COMMAS, {"joints": "knee,hip"}),
    ],
    ids=range(6),
)
def test_wrong_metadata_and_what_they_say_already_are_refused(
    tmp_path: Path, metadata: dict[str, str], asked: dict[str, Any]
) -> None:
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=metadata)
    with refusal(ToolError):
        make_draft(ImportRequest(source=model, **asked))


def test_names_that_may_be_parts_of_a_term_are_asked_about(tmp_path: Path) -> None:
    names = ["command_lin_vel", "command_ang_vel", "sin_phase", "cos_phase", "phase"]
    metadata = {**JSON, "observation_names": json.dumps(names)}
    model = save_policy(tmp_path / "policy.onnx", 7, 2, metadata=metadata)
    draft, term = make_draft(ImportRequest(source=model)), "observations.obs.terms"
    check_wording(*(draft.todos()[f"{term}[{i}].term"] for i in range(5)))
    assert draft.find(term)[0].keys() == {"term", "scale"}
    answers = [f"{term}[2].term=phase", f"{term}[2].parts=[sin]"]
    todos = make_draft(ImportRequest(source=model, answers=answers)).todos()
    assert f"{term}[2].period_s" in todos
    assert f"{term}[2].term" not in todos


def test_frames_of_the_past_are_those_of_each_term(tmp_path: Path) -> None:
    metadata = {**COMMAS, "observation_names": "base_ang_vel,joint_vel,actions"}
    metadata["observation_history_lengths"] = "5,5,5"
    model = save_policy(tmp_path / "policy.onnx", 35, 2, metadata=metadata)
    history = make_draft(ImportRequest(source=model)).find("observations.obs.history")
    kept = {"layout": "per_term", "order": "oldest_first", "init": "repeat"}
    assert history == {"length": 5, **kept}
    metadata["observation_history_lengths"] = "0,1,3"
    model = save_policy(tmp_path / "policy.onnx", 11, 2, metadata=metadata)
    terms = make_draft(ImportRequest(source=model)).find("observations.obs.terms")
    assert [term["history_length"] for term in terms] == [1, 1, 3]


def test_an_observation_that_the_metadata_do_not_name_is_asked_for(tmp_path: Path) -> None:
    metadata = {**JSON, "default_joint_pos": "[0.1, -0.8]"}
    model = save_policy(tmp_path / "policy.onnx", 6, 2, metadata=metadata)
    check_wording(make_draft(ImportRequest(source=model)).todos()["observations.obs.terms"])
    answers = [
        *ANSWERS,
        "observations.obs.terms=[{term: base_ang_vel, scale: 0.25}, {term: velocity_command}]",
        "rate_hz=50",
        "action.terms[0].kind=position",
        "action.terms[0].offset=default_position",
    ]
    import_bundle(ImportRequest(source=model, answers=answers), tmp_path / "bundle")
    ranges = load_bundle(tmp_path / "bundle", kind=JointBundle).contract.velocity_command
    assert ranges is not None
    assert (ranges.min, ranges.max) == ((-1.0, 0.0, -2.0), (1.0, 0.0, 2.0))


@pytest.mark.parametrize("written", [json.dumps(urdf(["hip", "knee"])), urdf(["knee", "hip"])])
def test_limits_come_from_the_robot_inside_the_metadata(tmp_path: Path, written: str) -> None:
    model = save_policy(tmp_path / "p.onnx", 11, 2, metadata={**COMMAS, "robot_urdf": written})
    draft = make_draft(ImportRequest(source=model))
    assert draft.find("joints.position_min") == [-3.0, -3.0]
    assert draft.find("joints.effort_limit") == [30.0, 30.0]


@pytest.mark.parametrize("written", ["<robot", '"<robot', urdf(["hip"]), "<mujoco/>"])
def test_limits_are_asked_for_where_the_robot_inside_is_of_no_use(
    tmp_path: Path, written: str
) -> None:
    model = save_policy(tmp_path / "p.onnx", 11, 2, metadata={**COMMAS, "robot_urdf": written})
    draft = make_draft(ImportRequest(source=model))
    assert "joints.position_min" in draft.todos()
    check_wording(*lines_with(draft.remarks, "robot_urdf"))
