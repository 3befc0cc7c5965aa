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


def model_of_nodes(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3)) for name in ("obs", "action")
    ]
    graph = helper.make_graph(list(nodes), "tiny", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("vendor", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_operators_of_a_vendor_are_refused_by_name() -> None:
    refuse_custom_operators(model_of_nodes(helper.make_node("Elu", ["obs"], ["action"])))
    custom = model_of_nodes(helper.make_node("Magic", ["obs"], ["action"], domain="vendor"))
    with refusal(ToolError):
        refuse_custom_operators(custom)


def test_what_does_nothing_is_dropped_by_a_simplifier_that_keeps_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = model_of_nodes(
        helper.make_node("Identity", ["obs"], ["same"]),
        helper.make_node("Elu", ["same"], ["action"]),
    )
    assert [node.op_type for node in simplified(chain).graph.node] == ["Elu"]
    with refusal(ToolError):
        simplified(model_of_nodes(helper.make_node("Elu", ["nowhere"], ["action"])))
    monkeypatch.setattr(onnxsim, "simplify", lambda given: (given, False))
    with refusal(ToolError):
        simplified(chain)
    monkeypatch.setitem(sys.modules, "onnxsim", None)
    with refusal(ToolError):
        simplified(chain)
