# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Loops whose turns depend on an input are refused; those with constant turns are counted."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model_tools.errors import ToolError
from model_tools.files.control_flow import (
    MOST_TURNS,
    count_control_flow,
    require_bounded_turns,
)
from model_tools.files.onnx_model import OnnxModel, read_onnx
from policy_inference.testing.models import save, save_endless
from testkit.wording import check_wording

SHAPE = (1, 3)
Nodes = Sequence[onnx.NodeProto]


def loop(turns: str, *inside: onnx.NodeProto, result: str = "actions") -> onnx.NodeProto:
    """Return a loop that passes `obs` on, with these nodes in its body."""
    value = helper.make_tensor_value_info
    flag, number = (TensorProto.BOOL, ()), (TensorProto.FLOAT, SHAPE)
    body = helper.make_graph(
        [
            *inside,
            helper.make_node("Identity", ["goes_on"], ["goes_on_out"]),
            helper.make_node("Identity", ["carried"], ["carried_out"]),
        ],
        "body",
        [value("turn", TensorProto.INT64, ()), value("goes_on", *flag), value("carried", *number)],
        [value("goes_on_out", *flag), value("carried_out", *number)],
    )
    return helper.make_node("Loop", [turns, "", "obs"], [result], body=body)


def scan(axis: str = "obs") -> onnx.NodeProto:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["row"], ["row_out"])],
        "body",
        [value("row", TensorProto.FLOAT, (3,))],
        [value("row_out", TensorProto.FLOAT, (3,))],
    )
    return helper.make_node("Scan", [axis], ["actions"], body=body, num_scan_inputs=1)


def from_input() -> Nodes:
    """Return nodes that compute a number of turns from the input."""
    return [
        helper.make_node("ReduceMax", ["obs"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["computed"], to=TensorProto.INT64),
    ]


def picked_rows() -> Nodes:
    """Return nodes that make a tensor with as many rows as the input has positive numbers."""
    return [
        helper.make_node("NonZero", ["obs"], ["places"]),
        helper.make_node("Transpose", ["places"], ["pairs"]),
        helper.make_node("Cast", ["pairs"], ["rows"], to=TensorProto.FLOAT),
    ]


ACCEPTED: dict[str, tuple[Nodes, dict[str, int]]] = {
    "constant turns": ([loop("ten")], {"Loop": 1}),
    "a copy of constant turns": (
        [helper.make_node("Identity", ["ten"], ["copy"]), loop("copy")],
        {"Loop": 1},
    ),
    "a loop in a loop": ([loop("ten", loop("ten", result="unused"))], {"Loop": 2}),
    "a scan of an input": ([scan()], {"Scan": 1}),
    "none": ([helper.make_node("Identity", ["obs"], ["actions"])], {}),
}
REFUSED: dict[str, Nodes] = {
    "no turns": [loop("")],
    "turns from the input": [*from_input(), loop("computed")],
    "too many turns": [loop("many")],
    "too many turns in a loop": [loop("hundred", loop("hundred_one", result="unused"))],
    "a scan of as many rows as the input has": [*picked_rows(), scan("rows")],
}


@pytest.fixture
def read_model(tmp_path: Path) -> Callable[[Nodes], OnnxModel]:
    def read(nodes: Nodes) -> OnnxModel:
        numbers = {"ten": 10, "many": MOST_TURNS + 1, "hundred": 100, "hundred_one": 101}
        constants = {name: np.int64(number) for name, number in numbers.items()}
        file = save(
            tmp_path / "m.onnx", nodes, {"obs": SHAPE}, {"actions": SHAPE}, constants=constants
        )
        return read_onnx(file)

    return read


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_bounded_number_of_turns_is_accepted_and_counted(
    read_model: Callable[[Nodes], OnnxModel], name: str
) -> None:
    nodes, counts = ACCEPTED[name]
    model = read_model(nodes)
    require_bounded_turns(model)
    assert count_control_flow(model) == counts


@pytest.mark.parametrize("name", REFUSED)
def test_turns_that_depend_on_an_input_or_are_too_many_are_refused(
    read_model: Callable[[Nodes], OnnxModel], name: str
) -> None:
    with pytest.raises(ToolError) as refusal:
        require_bounded_turns(read_model(REFUSED[name]))
    check_wording(str(refusal.value))


def test_a_loop_without_an_end_behind_a_condition_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError):
        require_bounded_turns(read_onnx(save_endless(tmp_path / "endless.onnx", 15, 2)))


@pytest.mark.parametrize(("turns", "is_refused"), [(100, False), (101, True)])
def test_turns_multiply_through_calls_of_functions(
    tmp_path: Path, turns: int, is_refused: bool
) -> None:
    """A function that loops is called in the loop of another, and that one twice."""
    model = helper.make_model(
        helper.make_graph(
            [calling("outer", "obs", "once"), calling("outer", "once", "actions")],
            "main",
            [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 4])],
            [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 4])],
        ),
        functions=[looping("inner", turns, None), looping("outer", 100, "inner")],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ToolError) if is_refused else nullcontext():
        require_bounded_turns(read_onnx(tmp_path / "model.onnx"))


def calling(function: str | None, given: str, result: str) -> onnx.NodeProto:
    if function is None:
        return helper.make_node("Sin", [given], [result])
    return helper.make_node(function, [given], [result], domain="own")


def looping(name: str, turns: int, called: str | None) -> onnx.FunctionProto:
    """Return a function whose loop calls another one, or none."""
    tensor = onnx.numpy_helper.from_array
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes"], ["goes_on"]), calling(called, "before", "after")],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Constant", [], ["turns"], value=tensor(np.array(turns, np.int64))),
        helper.make_node("Constant", [], ["true"], value=tensor(np.array(True))),
        helper.make_node("Loop", ["turns", "true", "x"], ["y"], body=body),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x"], ["y"], nodes, opsets)
