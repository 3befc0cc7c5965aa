# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `export` reads, makes and holds against its reference."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import pytest
from onnx import TensorProto, helper

from model_tools.errors import ToolError
from model_tools.make.checkpoints.network_config import read_config
from model_tools.make.parity import difference, read_rows
from model_tools.make.portable import refuse_custom_operators, simplified
from policy_core.interfaces import F32
from testkit.wording import refusal

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def summing() -> bytes:
    """Return a model whose action, which is also its new state, is obs + state, [batch, 3]."""

    def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Squeeze", ["h_in", "axes"], ["h"]),
        helper.make_node("Add", ["obs", "h"], ["action"]),
        helper.make_node("Unsqueeze", ["action", "axes"], ["h_out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("obs", "n", 3), value("h_in", 1, "n", 3)],
        [value("action", "n", 3), value("h_out", 1, "n", 3)],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [0])],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def sums(wrong_call: int = -1, by: float = 0.0) -> Callable[[F32], F32]:
    """Return the same in numpy, wrong at one call."""
    total, calls = np.zeros(3, np.float32), 0

    def step(obs: F32) -> F32:
        nonlocal total, calls
        total = total + obs
        calls += 1
        return np.asarray(total + by * (calls - 1 == wrong_call), np.float32)

    return step


def same(obs: F32) -> F32:
    return obs


@pytest.mark.parametrize("batch", [1, 3])
def test_state_is_fed_back(batch: int) -> None:
    found = difference(summing(), sums(), ROWS, same, batch)
    assert not found
    assert (found.rows, found.largest) == (4, 0.0)
    assert difference(summing(), sums(1, by=float("nan")), ROWS, same, batch)


def test_the_worst_row_is_named() -> None:
    found = difference(summing(), sums(2, by=0.5), ROWS, same)
    assert found
    assert (found.row, found.largest) == (2, 0.5)
    assert "row 2" in str(found)


def test_a_difference_is_judged_by_the_size_of_actions() -> None:
    assert not difference(summing(), sums(3, by=1e-4), ROWS, same)  # of 26
    assert difference(summing(), sums(3, by=1e-3), ROWS, same)


@pytest.mark.parametrize(
    "arrays",
    [
        {"observations": ROWS},
        {"obs": ROWS[:, :2]},
        {"obs": ROWS[:0]},
        {"obs": np.where(ROWS == 7, np.nan, ROWS)},
        {"obs": ROWS, "action": ROWS},
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, F32]) -> None:
    file = tmp_path / "rows.npz"
    np.savez(file, allow_pickle=False, **arrays)
    with refusal(ToolError):
        read_rows(file, 3, 2)


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


EXAMPLE = "obs_dim: 108\nact_dim: 12\nhidden_sizes: [512, 256]\nactivation: tanh\n"


@pytest.fixture
def network_yaml(tmp_path: Path) -> Path:
    return tmp_path / "cfg.yaml"


def test_the_four_keys_of_a_perceptron_are_enough(network_yaml: Path) -> None:
    network_yaml.write_text(EXAMPLE)
    config = read_config(network_yaml)
    assert (config.obs_dim, config.act_dim, config.hidden_sizes) == (108, 12, (512, 256))
    assert (config.activation, config.rnn, config.normaliser) == ("tanh", None, None)


def test_everything_that_is_wrong_is_said_at_once(network_yaml: Path) -> None:
    network_yaml.write_text(
        "obs_dim: forty\nhidden_sizes: [64, 0]\nactivation: eluu\nunits: 3\nrnn: {type: rnn}\n"
    )
    with refusal(ToolError):
        read_config(network_yaml)
