# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The workspace is what the vendor's compilers want, for one graph and for several."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import helper

from model_tools.errors import ToolError
from model_tools.files.bpu_files import MARCHES, RECORD
from model_tools.ship.compilers.bpu_graph import BpuGraph
from model_tools.ship.compilers.bpu_workspace import (
    BpuSettings,
    write_workspace,
)
from policy_core.interfaces import TensorSpec
from testkit.wording import refusal

from . import vendor_tool
from .graphs import (
    bpu_graph,
    bpu_settings,
    lstm_graph,
    mlp_graph,
    read_config,
    save_nodes,
    transformer_graph,
)


@pytest.fixture
def write_bpu_graphs(tmp_path: Path) -> Callable[..., Path]:
    def apply(graphs: Sequence[BpuGraph], given: BpuSettings) -> Path:
        folder = tmp_path / "workspace"
        folder.mkdir()
        write_workspace(folder, graphs, given)
        return folder

    return apply


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("march", MARCHES)
def test_settings_and_samples_are_what_the_tool_wants(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path, march: str, precision: str
) -> None:
    graphs = [mlp_graph(tmp_path), transformer_graph(tmp_path)]

    folder = write_bpu_graphs(graphs, bpu_settings(march, precision))

    for one in graphs:
        shapes = vendor_tool.check_settings(
            MARCHES[march].tool, folder / one.name, read_config(folder / one.name / "config.yaml")
        )
        assert len(shapes) == len(one.inputs)
        int16 = read_config(folder / one.name / "config.yaml")["calibration_parameters"].get(
            "optimization", ""
        )
        assert ("set_all_nodes_int16" in int16) is (precision == "int16")
        assert read_config(folder / one.name / "config.yaml")["model_parameters"]["march"] == march
    found = yaml.safe_load((folder / RECORD).read_text("utf-8"))
    assert (found["march"], found["precision"]) == (march, precision)
    assert list(found["graphs"]) == [one.name for one in graphs]


def test_lists_are_in_the_order_of_the_inputs(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_bpu_graphs([transformer_graph(tmp_path)], bpu_settings("nash-e"))
    found = read_config(folder / "transformer" / "config.yaml")

    parameters = found["compiler_parameters"]
    assert parameters["extra_params"] == {"input_no_padding": True, "output_no_padding": True}
    assert parameters["optimize_level"] == "O2"
    assert found["input_parameters"]["input_name"] == "states;laptop/features;phone"
    assert found["input_parameters"]["input_shape"] == "1x6x1x1;1x4x2x3;1x4x2x3"
    assert found["calibration_parameters"]["cal_data_dir"] == (
        "calibration/0_states;calibration/1_laptop_features;calibration/2_phone"
    )


@pytest.mark.parametrize("opset", [9, 13, 20])
@pytest.mark.parametrize("march", ["bayes-e", "nash-e"])
def test_model_in_the_workspace_is_the_same_function_of_four_axes(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path, march: str, opset: int
) -> None:
    one = mlp_graph(tmp_path, opset=opset)

    folder = write_bpu_graphs([one], bpu_settings(march))

    prepared = onnxruntime.InferenceSession(str(folder / "policy" / "policy.onnx"))
    original = onnxruntime.InferenceSession(str(one.model))
    obs = one.samples["obs"][:1]
    (found,) = prepared.run(None, {"obs": obs.reshape(1, 6, 1, 1)})
    np.testing.assert_allclose(found, original.run(None, {"obs": obs})[0], atol=1e-6)
    made = onnx.load(folder / "policy" / "policy.onnx")
    assert made.opset_import[0].version == 11


@pytest.mark.parametrize("make", [lstm_graph, transformer_graph])
@pytest.mark.parametrize("march", ["bayes-e", "nash-e"])
def test_models_of_several_inputs_are_the_same_functions_in_opset_11(
    write_bpu_graphs: Callable[..., Path],
    tmp_path: Path,
    march: str,
    make: Callable[[Path], BpuGraph],
) -> None:
    one = make(tmp_path)

    file = write_bpu_graphs([one], bpu_settings(march)) / one.name / f"{one.name}.onnx"

    samples = {name: array[:1] for name, array in one.samples.items()}
    expected = onnxruntime.InferenceSession(str(one.model)).run(None, samples)
    four = {
        name: array.reshape(array.shape + (1,) * (4 - array.ndim))
        for name, array in samples.items()
    }
    found = onnxruntime.InferenceSession(str(file)).run(None, four)
    assert onnx.load(file).opset_import[0].version == 11
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def layer_norm_graph(folder: Path) -> BpuGraph:
    """Make a model with an operator that opset 11 does not have."""
    nodes = [helper.make_node("LayerNormalization", ["obs", "scale"], ["actions"])]
    file = save_nodes(
        folder / "norm.onnx",
        nodes,
        {"obs": (1, 6)},
        {"actions": (1, 6)},
        scale=np.ones(6, np.float32),
    )
    return bpu_graph("policy", file, {"obs": (1, 6)}, {"actions": (1, 6)})


def test_model_that_opset_11_does_not_have_stays_where_the_compiler_reads_it(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_bpu_graphs([layer_norm_graph(tmp_path)], bpu_settings("nash-e"))
    assert onnx.load(folder / "policy" / "policy.onnx").opset_import[0].version == 17
    shutil.rmtree(folder)
    with refusal(ToolError):
        write_bpu_graphs([layer_norm_graph(tmp_path)], bpu_settings("bayes-e"))


def test_softmax_over_another_axis_than_the_last_is_not_taken_for_the_old_one(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path
) -> None:
    nodes = [helper.make_node("Softmax", ["image"], ["actions"], axis=1)]
    inputs = {"image": (1, 4, 2, 3)}
    file = save_nodes(tmp_path / "softmax.onnx", nodes, inputs, {"actions": (1, 4, 2, 3)})
    one = bpu_graph("policy", file, inputs, {"actions": (1, 4, 2, 3)})

    folder = write_bpu_graphs([one], bpu_settings("nash-e"))

    image = one.samples["image"][:1]
    prepared = onnxruntime.InferenceSession(str(folder / "policy" / "policy.onnx"))
    (found,) = prepared.run(None, {"image": image})
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec(name="obs", shape=(1, 6), dtype="int64"),
        TensorSpec(name="obs", shape=(2, 6)),
        TensorSpec(name="obs", shape=(1, 2, 3, 4, 5)),
        TensorSpec(name="a;b", shape=(1, 6)),
    ],
    ids=str,
)
def test_inputs_that_a_bpu_does_not_take_are_refused(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path, spec: TensorSpec
) -> None:
    one = mlp_graph(tmp_path)
    bad = dataclasses.replace(one, inputs=(spec,), samples={spec.name: one.samples["obs"]})

    with refusal(ToolError):
        write_bpu_graphs([bad], bpu_settings("nash-e"))


@pytest.mark.parametrize(
    "names",
    [("policy", "policy"), ("../policy",), ("bpu_output",), ("",)],
    ids=["twice", "outside", "of the results", "no name"],
)
def test_graphs_whose_folders_would_clash_are_refused(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path, names: tuple[str, ...]
) -> None:
    one = mlp_graph(tmp_path)
    graphs = [dataclasses.replace(one, name=name) for name in names]

    with refusal(ToolError):
        write_bpu_graphs(graphs, bpu_settings("nash-e"))
