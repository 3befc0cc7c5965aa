# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models are read without being believed: damaged ones are refused, whatever is wrong in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from model_tools.errors import ToolError
from model_tools.files.onnx_model import read_onnx
from testkit.wording import refusal

from ..tiny_bundle import save_model, weights


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_model(tmp_path / "policy.onnx", weights(), 17)
    return tmp_path / "policy.onnx"


def no_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def other_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] += 1


def strange_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 99


@pytest.mark.parametrize("damage", [no_type, other_shape, strange_input])
def test_a_damaged_model_is_refused(file: Path, damage: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(file)
    damage(model)
    onnx.save(model, str(file))
    with refusal(ToolError):
        read_onnx(file).require_finite()


def test_a_model_that_is_cut_off_anywhere_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for length in range(0, len(content) - 20, 17):
        file.write_bytes(content[:length])
        with refusal(ToolError):
            read_onnx(file)


def test_finite_weights_are_accepted(file: Path) -> None:
    read_onnx(file).require_finite()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(file: Path, value: float) -> None:
    arrays = weights()
    arrays["b1"][0] = value
    save_model(file, arrays, 17)
    with refusal(ToolError):
        read_onnx(file).require_finite()
