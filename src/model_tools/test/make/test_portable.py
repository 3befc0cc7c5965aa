# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models that other runtimes could not run are refused."""

import sys

import onnx
import onnxsim
import pytest
from onnx import TensorProto, helper

from model_tools.errors import ToolError
from model_tools.make.portable import refuse_custom_operators, simplified
from testkit.wording import refusal


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3)) for name in ("obs", "action")
    ]
    graph = helper.make_graph(list(nodes), "tiny", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("vendor", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_operators_of_a_vendor_are_refused_by_name() -> None:
    custom = model(helper.make_node("Magic", ["obs"], ["action"], domain="vendor"))
    with refusal(ToolError):
        refuse_custom_operators(custom)


def test_operators_of_onnx_are_accepted() -> None:
    refuse_custom_operators(model(helper.make_node("Elu", ["obs"], ["action"])))


def test_what_does_nothing_is_dropped() -> None:
    chain = model(
        helper.make_node("Identity", ["obs"], ["same"]),
        helper.make_node("Elu", ["same"], ["action"]),
    )
    assert [node.op_type for node in simplified(chain).graph.node] == ["Elu"]


def test_a_model_that_cannot_be_simplified_is_refused() -> None:
    broken = model(helper.make_node("Elu", ["nowhere"], ["action"]))
    with pytest.raises(ToolError, match="onnxsim fails"):
        simplified(broken)


def test_a_simplifier_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    with refusal(ToolError):
        simplified(model(helper.make_node("Elu", ["obs"], ["action"])))


def test_a_simplifier_that_changes_the_function_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnxsim, "simplify", lambda given: (given, False))
    with refusal(ToolError):
        simplified(model(helper.make_node("Elu", ["obs"], ["action"])))
