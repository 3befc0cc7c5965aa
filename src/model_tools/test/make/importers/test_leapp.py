# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

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
from .small_models import save
from .small_runs import LEAPP


def model_of(folder: Path, rotation: int = 4, raw: bool = False) -> Path:
    """Save a model with the tensors of the small LEAPP file."""
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
        (QUATERNION, "z y x w", {"term": "external", "topic": "rotation", "size": 4}),
        (QUATERNION, "qx qy qz qw", {"term": "base_quat_xyzw"}),
        (COMMAND, "ang_vel_z lin_vel_x", {"term": "velocity_command", "parts": ["wz", "vx"]}),
        (f"state/body/{TURNING}", "z", {"term": "base_ang_vel", "parts": ["z"]}),
        ("state/body/linear_velocity", "x y z", {"term": "base_lin_vel"}),
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
        ("models.policy.inputs.2", MISSING),
        ("pipeline.feedback_connections", {"other/a": ["policy/q"]}),
        ("models.policy.outputs.0.kind", "target/body/pose"),
        ("models.policy.parameters", MISSING),
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
