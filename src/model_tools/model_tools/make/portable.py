# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Simplifies ONNX models and checks that runtimes know their operators."""

from __future__ import annotations

import importlib.util

import onnx

from model_tools.errors import ToolError

STANDARD_DOMAINS = ("", "ai.onnx")


def refuse_custom_operators(model: onnx.ModelProto) -> None:
    """Raise unless all operators are standard ONNX."""
    custom = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in model.graph.node
            if node.domain not in STANDARD_DOMAINS
        }
    )
    if custom:
        raise ToolError(
            f"model: expected standard ONNX operators, found {', '.join(custom)}, which other "
            "runtimes do not support; replace them in the network"
        )


def require_onnxsim() -> None:
    """Raise unless onnxsim is installed, which training environments may lack."""
    if importlib.util.find_spec("onnxsim") is None:
        raise ToolError(
            "onnxsim: expected this package (to simplify models), found no such package; run "
            "`pip install onnxsim` in the environment of model_tools"
        )


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with constants folded and unused parts removed."""
    require_onnxsim()
    import onnxsim

    result: onnx.ModelProto
    try:
        result, same = onnxsim.simplify(model)
        onnx.checker.check_model(result, full_check=True)
    except (
        RuntimeError,
        ValueError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        raise ToolError(
            f"model: expected a model that onnxsim can simplify, found an error: {error}"
        ) from error
    if not same:
        raise ToolError("model: expected the same outputs after simplifying, found different ones")
    result.ir_version = model.ir_version
    return result
