# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models are read without being believed: damaged ones are refused, whatever is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from testkit.wording import refusal

from ..tiny_bundle import save_model, weights


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    save_model(tmp_path / "policy.onnx", weights())
    return tmp_path / "policy.onnx"


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: setattr(graph.initializer[0], "data_type", 99),
        lambda graph: graph.initializer[0].dims.append(2),
        lambda graph: setattr(graph.input[0].type.tensor_type, "elem_type", 99),
    ],
    ids=["type", "shape", "input"],
)
def test_a_damaged_model_is_refused(
    saved_model: Path, damage: Callable[[onnx.GraphProto], object]
) -> None:
    model = onnx.load(saved_model)
    damage(model.graph)
    onnx.save(model, str(saved_model))
    with refusal(ToolError):
        read_onnx(saved_model).require_finite()


def test_a_model_that_is_cut_off_anywhere_is_refused(saved_model: Path) -> None:
    content = saved_model.read_bytes()
    for length in range(0, len(content) - 20, 17):
        saved_model.write_bytes(content[:length])
        with refusal(ToolError):
            read_onnx(saved_model)
