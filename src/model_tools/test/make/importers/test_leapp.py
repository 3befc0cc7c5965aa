# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LEAPP's files and Isaac Lab's descriptors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from safetensors.numpy import save_file

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import make_draft
from testkit.edits import MISSING
from testkit.wording import check_wording, refusal

from .conftest import MakeRequest
from .small_runs import DESCRIPTOR, DESCRIPTOR_WIDTH, LEAPP, save


def model_of(folder: Path, rotation: int = 4, raw: bool = False) -> Path:
    nodes = [helper.make_node("Add", ["q", "previous"], ["targets"])]
    outputs = {"targets": (1, 2)}
    if raw:
        nodes.append(helper.make_node("Identity", ["q"], ["raw"]))
        outputs["raw"] = (1, 2)
    inputs = {"rotation": (1, rotation), "q": (1, 2), "previous": (1, 2)}
    return save(folder / "policy.onnx", nodes, inputs, outputs)


@pytest.fixture
def leapp_model(tmp_path: Path) -> Path:
    return model_of(tmp_path)


def test_each_input_is_one_term_of_raw_values(request_for: MakeRequest, leapp_model: Path) -> None:
    draft = make_draft(request_for(LEAPP, 0, model=leapp_model))
    assert {name: entry["terms"] for name, entry in draft.find("observations").items()} == {
        "rotation": [{"term": "base_quat_xyzw"}],
        "q": [{"term": "joint_pos", "joints": ["knee", "hip"]}],
        "previous": [{"term": "last_action"}],
    }
    assert draft.find("action") == {
        "output": "targets",
        "terms": [{"joints": ["hip", "knee"], "kind": "position"}],
    }
    assert draft.find("rate_hz") == 100.0


def test_feedback_of_another_output_is_a_recurrent_state(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    changes = {
        "models.policy.outputs.+": {"name": "raw", "shape": [1, 2]},
        "pipeline.feedback_connections": MISSING,
        "pipeline.feedback_flow": {"policy/raw": ["policy/previous"]},
    }
    draft = make_draft(request_for(LEAPP, 0, changes, model=model_of(tmp_path, raw=True)))
    assert draft.find("state") == [{"input": "previous", "output": "raw"}]
    assert "previous" not in draft.find("observations")


QUATERNION, COMMAND, TURNING = "state/body/rotation", "command/body/velocity", "angular_velocity"


@pytest.mark.parametrize(
    ("kind", "order", "term"),
    [
        (QUATERNION, "w x y z", {"term": "base_quat_wxyz"}),
        (QUATERNION, "qx qy qz qw", {"term": "base_quat_xyzw"}),
        (COMMAND, "ang_vel_z lin_vel_x", {"term": "velocity_command", "parts": ["wz", "vx"]}),
        (f"state/body/{TURNING}", "z", {"term": "base_ang_vel", "parts": ["z"]}),
        (f"state/body/{TURNING}", "z z", {"term": "external", "topic": "rotation", "size": 2}),
    ],
)
def test_values_of_a_vector_are_taken_in_the_order_of_their_names(
    request_for: MakeRequest, tmp_path: Path, kind: str, order: str, term: dict[str, Any]
) -> None:
    names = order.split()
    stated = {"kind": kind, "element_names": [names], "shape": [1, len(names)]}
    changes = {f"models.policy.inputs.0.{key}": value for key, value in stated.items()}
    leapp_model = model_of(tmp_path, len(names))
    draft = make_draft(request_for(LEAPP, 0, changes, model=leapp_model))
    assert draft.find("observations.rotation.terms") == [term]


@pytest.mark.parametrize(
    ("place", "value", "key"),
    [
        ("models.policy.inputs.0.element_names", MISSING, "observations.rotation.terms[0].term"),
        ("pipeline.initial_values", "first.safetensors", "action"),
        ("pipeline.outputs.policy.+", "velocities", "action"),
    ],
)
def test_what_the_contract_cannot_say_is_asked_for(
    request_for: MakeRequest, leapp_model: Path, tmp_path: Path, place: str, value: object, key: str
) -> None:
    first = {"policy/previous": np.array([[0.0, 0.3]], np.float32)}
    save_file(first, tmp_path / "first.safetensors")
    check_wording(make_draft(request_for(LEAPP, 0, {place: value}, model=leapp_model)).todos()[key])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("models.second", {}),
        ("models.policy.parameters.sha256sum", "0" * 64),
        ("pipeline.feedback_connections", {"other/a": ["policy/q"]}),
        ("models.policy.outputs.0.kind", "target/body/pose"),
        ("pipeline.initial_values", "cut.safetensors"),
        ("pipeline.initial_values", "/tmp/outside.safetensors"),
        ("pipeline.initial_values", "../outside.safetensors"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, leapp_model: Path, tmp_path: Path, place: str, value: object
) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    save_file({"x": np.zeros(1)}, tmp_path.parent / "outside.safetensors")
    with refusal(ToolError):
        make_draft(request_for(LEAPP, 0, {place: value}, model=leapp_model))


def test_values_per_joint_are_in_the_articulation_s_order_and_terms_keep_their_own(
    request_for: MakeRequest,
) -> None:
    draft = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH))
    assert draft.find("joints.names") == ["hip", "knee"]
    assert draft.find("joints.position_max") == [1.0, 0.0]
    assert draft.find("joints.effort_limit") == [30.0, 40.0]
    assert draft.find("rate_hz") == 50.0
    swapped = {"joints": ["knee", "hip"]}
    assert draft.find("action.terms") == [
        {**swapped, "kind": "position", "scale": 0.5, "offset": "default_position"}
    ]
    assert draft.find("observations.obs.terms") == [
        {"term": "base_ang_vel", "scale": 0.25, "history_length": 1},
        {"term": "joint_pos_rel", **swapped, "clip": [-5.0, 5.0], "history_length": 3},
    ]
    assert "joints.stiffness" not in draft.todos()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("scene.dt", MISSING),
        ("articulations.robot.default_joint_pos", [0.0]),
        ("articulations.second", {}),
        ("actions.0.joint_names.1", MISSING),
        ("observations.policy.1.joint_pos_offsets", [0.0, 0.0]),
    ],
)
def test_a_wrong_descriptor_is_refused_with_its_place(
    request_for: MakeRequest, place: str, value: object
) -> None:
    with refusal(ToolError):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH, {place: value}))


def test_a_descriptor_without_the_height_scan_is_refused_with_the_file_that_has_it(
    request_for: MakeRequest,
) -> None:
    with refusal(ToolError):
        make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + 187))


def term_of(function: str, width: int) -> dict[str, object]:
    overloads = {"scale": None, "clip": None, "history_length": 0}
    return {"name": "own", "full_path": function, "shape": [width], "overloads": overloads}


OWN = "observations.obs.terms[2]"
MODIFIERS = {"modifiers": [{"func": "bias"}]}
COMMANDS = "isaaclab.envs.mdp.observations.generated_commands"


@pytest.mark.parametrize(
    ("place", "value", "more", "keys"),
    [
        ("scene.decimation", 4, 0, ["joints.damping"]),  # the actuator model replaced it
        ("observations.policy.+", term_of("my_lab.mdp.gait_phase", 2), 2, [f"{OWN}.standing"]),
        ("observations.policy.+", term_of(COMMANDS, 3), 3, [f"{OWN}.term"]),
        ("actions", [{"full_path": "my_lab.mdp.GaitAction", "gaits": 3}], 0, ["action.terms"]),
        ("observations.policy.0.extras", MODIFIERS, 0, ["observations"]),
    ],
)
def test_what_the_descriptor_does_not_state_is_asked_for(
    request_for: MakeRequest, place: str, value: object, more: int, keys: list[str]
) -> None:
    todos = make_draft(request_for(DESCRIPTOR, DESCRIPTOR_WIDTH + more, {place: value})).todos()
    check_wording(*(todos[key] for key in keys))
