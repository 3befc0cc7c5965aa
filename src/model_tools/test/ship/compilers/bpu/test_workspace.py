# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The workspace is what the vendor's compilers want, for one graph and for several."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    container_command,
    result,
    write_workspace,
)
from policy_inference.interfaces import TensorSpec

from . import vendor_tool
from .graphs import graph, lstm, mlp, save, settings, transformer


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    def apply(graphs: Sequence[BpuGraph], given: BpuSettings) -> Path:
        folder = tmp_path / "workspace"
        folder.mkdir()
        write_workspace(folder, graphs, given)
        return folder

    return apply


def config(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(
        (folder / name / "config.yaml").read_text("utf-8")
    )
    return loaded


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("march", MARCHES)
def test_settings_and_samples_are_what_the_tool_wants(
    written: Callable[..., Path], tmp_path: Path, march: str, precision: str
) -> None:
    graphs = [mlp(tmp_path), transformer(tmp_path)]

    folder = written(graphs, settings(march, precision))

    for one in graphs:
        shapes = vendor_tool.check(MARCHES[march].tool, folder / one.name, config(folder, one.name))
        assert len(shapes) == len(one.inputs)
        int16 = config(folder, one.name)["calibration_parameters"].get("optimization", "")
        assert ("set_all_nodes_int16" in int16) is (precision == "int16")
        assert config(folder, one.name)["model_parameters"]["march"] == march


def test_lists_are_in_the_order_of_the_inputs(written: Callable[..., Path], tmp_path: Path) -> None:
    folder = written([transformer(tmp_path)], settings("nash-e"))
    found = config(folder, "transformer")

    assert found["input_parameters"]["input_name"] == "states;laptop/features;phone"
    assert found["input_parameters"]["input_shape"] == "1x6x1x1;1x4x2x3;1x4x2x3"
    assert found["calibration_parameters"]["cal_data_dir"] == (
        "calibration/0_states;calibration/1_laptop_features;calibration/2_phone"
    )


def test_extra_params_keep_outputs_unpadded_on_nash_only(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    folder = written([mlp(tmp_path)], settings("nash-m"))

    parameters = config(folder, "policy")["compiler_parameters"]
    assert parameters["extra_params"] == {"input_no_padding": True, "output_no_padding": True}
    assert parameters["optimize_level"] == "O2"


@pytest.mark.parametrize(("march", "suffix"), [("bayes-e", ".bin"), ("nash-e", ".npy")])
def test_samples_are_those_that_were_given_in_their_order(
    written: Callable[..., Path], tmp_path: Path, march: str, suffix: str
) -> None:
    one = transformer(tmp_path)

    folder = written([one], settings(march)) / "transformer" / "calibration" / "1_laptop_features"

    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"{row:06d}{suffix}" for row in range(40)]
    read = np.load if suffix == ".npy" else lambda file: np.fromfile(file, np.float32)
    for file, sample in zip(files, one.samples["laptop/features"], strict=True):
        np.testing.assert_array_equal(read(file).reshape(4, 2, 3), sample)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 20])
@pytest.mark.parametrize("march", ["bayes-e", "nash-e"])
def test_model_in_the_workspace_is_the_same_function_of_four_axes(
    written: Callable[..., Path], tmp_path: Path, march: str, opset: int
) -> None:
    one = mlp(tmp_path, opset=opset)

    folder = written([one], settings(march))

    prepared = onnxruntime.InferenceSession(str(folder / "policy" / "policy.onnx"))
    original = onnxruntime.InferenceSession(str(one.model))
    obs = one.samples["obs"][:1]
    (found,) = prepared.run(None, {"obs": obs.reshape(1, 6, 1, 1)})
    np.testing.assert_allclose(found, original.run(None, {"obs": obs})[0], atol=1e-6)
    made = onnx.load(folder / "policy" / "policy.onnx")
    assert made.opset_import[0].version == 11


@pytest.mark.parametrize("make", [lstm, transformer])
@pytest.mark.parametrize("march", ["bayes-e", "nash-e"])
def test_models_of_several_inputs_are_the_same_functions_in_opset_11(
    written: Callable[..., Path], tmp_path: Path, march: str, make: Callable[[Path], BpuGraph]
) -> None:
    one = make(tmp_path)

    file = written([one], settings(march)) / one.name / f"{one.name}.onnx"

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


def test_open_batch_is_closed_to_one(written: Callable[..., Path], tmp_path: Path) -> None:
    folder = written([mlp(tmp_path, batch="batch")], settings("bayes-e"))

    model = onnx.load(folder / "policy" / "policy.onnx")
    (output,) = model.graph.output
    assert [axis.dim_value for axis in output.type.tensor_type.shape.dim] == [1, 2]


def normalised(folder: Path) -> BpuGraph:
    """Make a model with an operator that opset 11 does not have."""
    nodes = [helper.make_node("LayerNormalization", ["obs", "scale"], ["actions"])]
    file = save(
        folder / "norm.onnx",
        nodes,
        {"obs": (1, 6)},
        {"actions": (1, 6)},
        scale=np.ones(6, np.float32),
    )
    return graph("policy", file, {"obs": (1, 6)}, {"actions": (1, 6)})


def test_model_that_opset_11_does_not_have_stays_where_the_compiler_reads_it(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    folder = written([normalised(tmp_path)], settings("nash-e"))

    assert onnx.load(folder / "policy" / "policy.onnx").opset_import[0].version == 17


def test_model_that_opset_11_does_not_have_is_refused_for_bayes(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(
        ToolError,
        match=r"norm.onnx: .* \(to 11\), found opset 17; "
        r"export it again with --opset 11 .*LayerNorm",
    ):
        written([normalised(tmp_path)], settings("bayes-e"))


def test_softmax_over_another_axis_than_the_last_is_not_taken_for_the_old_one(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes = [helper.make_node("Softmax", ["image"], ["actions"], axis=1)]
    inputs = {"image": (1, 4, 2, 3)}
    file = save(tmp_path / "softmax.onnx", nodes, inputs, {"actions": (1, 4, 2, 3)})
    one = graph("policy", file, inputs, {"actions": (1, 4, 2, 3)})

    folder = written([one], settings("nash-e"))

    image = one.samples["image"][:1]
    prepared = onnxruntime.InferenceSession(str(folder / "policy" / "policy.onnx"))
    (found,) = prepared.run(None, {"image": image})
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)


def test_scripts_compile_every_graph_and_collect_the_results(
    written: Callable[..., Path], tmp_path: Path, put_on_path: Callable[..., None]
) -> None:
    put_on_path("hb_compile")
    graphs, given = [mlp(tmp_path), transformer(tmp_path)], settings("nash-p")
    folder = written(graphs, given)

    subprocess.run([str(folder / "build_all.sh")], check=True, capture_output=True)

    for one in graphs:
        made = result(folder, one.name, given).read_text("utf-8")
        assert made.startswith("\0made by hb_compile")


def test_scripts_stop_at_the_first_graph_that_fails(
    written: Callable[..., Path], tmp_path: Path, put_on_path: Callable[..., None]
) -> None:
    put_on_path("hb_mapper", "exit 7")
    folder = written([mlp(tmp_path)], settings("bayes"))

    done = subprocess.run([str(folder / "build_all.sh")], check=False, capture_output=True)

    assert done.returncode == 7


def test_container_command_quotes_the_folder() -> None:
    command = container_command(Path("/tmp/my work"), "image:v1")

    assert "-v '/tmp/my work':/workspace -w /workspace image:v1 bash build_all.sh" in command


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "obs": s["obs"][:, :5]}, r"the same number of samples .*obs \[40, 5\]"),
        (lambda s: {**s, "obs": s["obs"][:0]}, r"the same number of samples .*obs \[0, 6\]"),
        (lambda s: {}, "the same number of samples .*, found none"),
        (lambda s: {**s, "more": s["obs"]}, r"more \[40, 6\]"),
        (lambda s: {"obs": s["obs"] * np.nan}, "samples of obs: expected finite values"),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    written: Callable[..., Path], tmp_path: Path, change: Callable[..., Any], message: str
) -> None:
    one = mlp(tmp_path)
    bad = BpuGraph(
        name="policy",
        model=one.model,
        inputs=one.inputs,
        outputs=one.outputs,
        samples=change(one.samples),
    )

    with pytest.raises(ToolError, match=message):
        written([bad], settings("nash-e"))


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec(name="obs", shape=(1, 6), dtype="int64"),
        TensorSpec(name="obs", shape=(2, 6)),
        TensorSpec(name="obs", shape=(1, 2, 3, 4, 5)),
    ],
    ids=str,
)
def test_inputs_that_a_bpu_does_not_take_are_refused(
    written: Callable[..., Path], tmp_path: Path, spec: TensorSpec
) -> None:
    one = mlp(tmp_path)
    bad = BpuGraph(
        name="policy", model=one.model, inputs=(spec,), outputs=one.outputs, samples=one.samples
    )

    with pytest.raises(ToolError, match=f"expected float32 with .* found {re.escape(str(spec))}"):
        written([bad], settings("nash-e"))


def test_name_that_separates_inputs_is_refused(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    one = mlp(tmp_path)
    bad = BpuGraph(
        name="policy",
        model=one.model,
        inputs=(TensorSpec(name="a;b", shape=(1, 6)),),
        outputs=one.outputs,
        samples={"a;b": one.samples["obs"]},
    )

    with pytest.raises(ToolError, match="input a;b: expected a name without ';'"):
        written([bad], settings("nash-e"))


@pytest.mark.parametrize("names", [("policy", "policy"), ("../policy",), ("bpu_output",), ("",)])
def test_graphs_whose_folders_would_clash_are_refused(
    written: Callable[..., Path], tmp_path: Path, names: tuple[str, ...]
) -> None:
    one = mlp(tmp_path)
    graphs = [
        BpuGraph(
            name=name, model=one.model, inputs=one.inputs, outputs=one.outputs, samples=one.samples
        )
        for name in names
    ]

    with pytest.raises(ToolError, match="expected graphs with different names"):
        written(graphs, settings("nash-e"))


def test_record_says_what_the_workspace_was_made_of(
    written: Callable[..., Path], tmp_path: Path
) -> None:
    folder = written([mlp(tmp_path)], settings("nash-e", "int16"))

    found = yaml.safe_load((folder / RECORD).read_text("utf-8"))
    assert (found["march"], found["precision"]) == ("nash-e", "int16")
    assert list(found["graphs"]) == ["policy"]
