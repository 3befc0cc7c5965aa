# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from safetensors.numpy import save_file

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import make_draft
from testkit.wording import refusal

from .conftest import MakeRequest
from .small_models import save
from .small_runs import LEAPP


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with the tensors of the small LEAPP file."""
    nodes = [helper.make_node("Add", ["q", "previous"], ["targets"])]
    return save(
        tmp_path / "policy.onnx",
        nodes,
        {"rotation": (1, 4), "q": (1, 2), "previous": (1, 2)},
        {"targets": (1, 2)},
    )


def test_each_input_is_one_term_of_raw_values(request_for: MakeRequest, model: Path) -> None:
    draft = make_draft(request_for(LEAPP, 0, model=model))
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
    def raw(source: Any) -> None:
        policy = source["models"]["policy"]
        policy["outputs"].append({"name": "raw", "shape": [1, 2]})
        del source["pipeline"]["feedback_connections"]
        source["pipeline"]["feedback_flow"] = {"policy/raw": ["policy/previous"]}

    nodes = [
        helper.make_node("Add", ["q", "previous"], ["targets"]),
        helper.make_node("Identity", ["q"], ["raw"]),
    ]
    model = save(
        tmp_path / "policy.onnx",
        nodes,
        {"rotation": (1, 4), "q": (1, 2), "previous": (1, 2)},
        {"targets": (1, 2), "raw": (1, 2)},
    )
    draft = make_draft(request_for(LEAPP, 0, edit=raw, model=model))
    assert draft.find("state") == [{"input": "previous", "output": "raw"}]
    assert "previous" not in draft.find("observations")


@pytest.mark.parametrize(
    ("order", "entry"),
    [
        (["w", "x", "y", "z"], {"term": "base_quat_wxyz"}),
        (["z", "y", "x", "w"], {"term": "external", "topic": "rotation", "size": 4}),
        (["qx", "qy", "qz", "qw"], {"term": "base_quat_xyzw"}),
    ],
)
def test_a_quaternion_is_taken_in_its_own_order_only(
    request_for: MakeRequest, model: Path, order: list[str], entry: dict[str, Any]
) -> None:
    def reorder(source: Any) -> None:
        source["models"]["policy"]["inputs"][0]["element_names"] = [order]

    draft = make_draft(request_for(LEAPP, 0, edit=reorder, model=model))
    assert draft.find("observations.rotation.terms") == [entry]


@pytest.mark.parametrize(
    ("kind", "order", "term"),
    [
        (
            "command/body/velocity",
            ["ang_vel_z", "lin_vel_x"],
            {"term": "velocity_command", "parts": ["wz", "vx"]},
        ),
        ("state/body/angular_velocity", ["z"], {"term": "base_ang_vel", "parts": ["z"]}),
        ("state/body/linear_velocity", ["x", "y", "z"], {"term": "base_lin_vel"}),
        (
            "state/body/angular_velocity",
            ["z", "z"],
            {"term": "external", "topic": "rotation", "size": 2},
        ),
    ],
)
def test_some_values_of_a_vector_are_its_parts(
    request_for: MakeRequest, tmp_path: Path, kind: str, order: list[str], term: dict[str, Any]
) -> None:
    def narrow(source: Any) -> None:
        source["models"]["policy"]["inputs"][0] |= {
            "kind": kind,
            "element_names": [order],
            "shape": [1, len(order)],
        }

    nodes = [helper.make_node("Add", ["q", "previous"], ["targets"])]
    model = save(
        tmp_path / "policy.onnx",
        nodes,
        {"rotation": (1, len(order)), "q": (1, 2), "previous": (1, 2)},
        {"targets": (1, 2)},
    )
    draft = make_draft(request_for(LEAPP, 0, edit=narrow, model=model))
    assert draft.find("observations.rotation.terms") == [term]


def test_joints_of_the_user_are_refused(request_for: MakeRequest, model: Path) -> None:
    with refusal(ToolError):
        make_draft(request_for(LEAPP, 0, model=model, joints="hip,knee"))


def test_a_quaternion_without_order_is_asked_about(request_for: MakeRequest, model: Path) -> None:
    draft = make_draft(
        request_for(
            LEAPP,
            0,
            model=model,
            edit=lambda s: s["models"]["policy"]["inputs"][0].pop("element_names"),
        )
    )
    assert "observations.rotation.terms[0].term" in draft.todos()


def test_first_values_that_are_not_zero_are_a_todo(
    request_for: MakeRequest, model: Path, tmp_path: Path
) -> None:
    first = {"policy/previous": np.array([[0.0, 0.3]], np.float32)}
    save_file(first, tmp_path / "first.safetensors")
    draft = make_draft(
        request_for(
            LEAPP,
            0,
            model=model,
            edit=lambda s: s["pipeline"].update(initial_values="first.safetensors"),
        )
    )
    assert "previous: first values that are not 0" in draft.todos()["action"]


def test_a_second_command_is_a_todo_that_names_it(request_for: MakeRequest, model: Path) -> None:
    draft = make_draft(
        request_for(
            LEAPP,
            0,
            model=model,
            edit=lambda s: s["pipeline"]["outputs"]["policy"].append("velocities"),
        )
    )
    assert "also commands velocities" in draft.todos()["action"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s["models"].update(second={}), "models: expected one.*found policy, second"),
        (
            lambda s: s["models"]["policy"]["parameters"].update(sha256sum="0" * 64),
            "policy.onnx: expected sha256 000",
        ),
        (lambda s: s["models"]["policy"]["inputs"].pop(), "expected the tensors of policy.onnx"),
        (
            lambda s: s["pipeline"].update(feedback_connections={"other/a": ["policy/q"]}),
            "expected a tensor of the model, like policy/x, found 'other/a'",
        ),
        (
            lambda s: s["models"]["policy"]["outputs"][0].update(kind="target/body/pose"),
            "expected an output of one of the kinds",
        ),
        (lambda s: s["models"]["policy"].pop("parameters"), "parameters: expected a value"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(
    request_for: MakeRequest, model: Path, edit: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ToolError, match=message):
        make_draft(request_for(LEAPP, 0, edit=edit, model=model))


def test_initial_values_that_were_cut_off_are_refused(
    request_for: MakeRequest, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "first.safetensors").write_bytes(b"\x10\x00")
    with refusal(ToolError):
        make_draft(
            request_for(
                LEAPP,
                0,
                model=model,
                edit=lambda s: s["pipeline"].update(initial_values="first.safetensors"),
            )
        )


def test_initial_values_outside_of_the_folder_are_refused(
    request_for: MakeRequest, model: Path, tmp_path: Path
) -> None:
    outside = tmp_path.parent / "outside.safetensors"
    save_file({"x": np.zeros(1)}, outside)
    for path in (str(outside), f"../{outside.name}"):
        with refusal(ToolError):
            make_draft(
                request_for(
                    LEAPP,
                    0,
                    model=model,
                    edit=lambda s, path=path: s["pipeline"].update(initial_values=path),
                )
            )
