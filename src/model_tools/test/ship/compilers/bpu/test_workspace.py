# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The workspace is what the vendor's compilers want, for one graph and for several."""

import dataclasses
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import helper

from model_tools.errors import ToolError
from model_tools.files.bpu_files import MARCHES
from model_tools.ship.compilers.bpu_graph import BpuGraph
from model_tools.ship.compilers.bpu_workspace import BpuSettings, prepare_workspace, write_workspace
from model_tools.ship.compilers.compile_request import CompileRequest
from model_tools.ship.compilers.compiled_bundle import compile_bundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import TensorSpec
from policy_inference.testing.models import save
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.wording import refusal

from ..conftest import SIZES

TRANSFORMER_INPUTS = {"states": (1, 6), "laptop/features": (1, 4, 2, 3), "phone": (1, 4, 2, 3)}


def bpu_settings(march: str, precision: str = "int8", **changes: Any) -> BpuSettings:
    given = {"calibration": "default", "optimize_level": MARCHES[march].levels[-1], "jobs": 4}
    return BpuSettings(march=march, precision=precision, **{**given, **changes})


def bpu_graph(
    name: str, model: Path, inputs: dict[str, Any], outputs: dict[str, Any], rows: int = 40
) -> BpuGraph:
    random = np.random.default_rng(1)
    return BpuGraph(
        name=name,
        model=model,
        inputs=tuple(TensorSpec(name=n, shape=s) for n, s in inputs.items()),
        outputs=tuple(TensorSpec(name=n, shape=s) for n, s in outputs.items()),
        samples={
            n: random.normal(size=(rows, *s[1:])).astype(np.float32) for n, s in inputs.items()
        },
    )


def mlp_graph(folder: Path, opset: int = 17) -> BpuGraph:
    weights = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["obs", "w", "b"], ["product"]),
        helper.make_node("Elu", ["product"], ["actions"]),
    ]
    inputs, outputs = {"obs": (1, 6)}, {"actions": (1, 2)}
    file = save(folder / "policy.onnx", nodes, inputs, outputs, {"w": weights, "b": weights[0]})
    model = onnx.load(file)
    model.opset_import[0].version = opset
    onnx.save(model, str(file))
    return bpu_graph("policy", file, inputs, outputs)


def lstm_graph(folder: Path) -> BpuGraph:
    """Make a recurrent model with its state as tensors."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "LSTM",
            ["obs", "w", "r", "", "", "h_in", "c_in"],
            ["y", "h_out", "c_out"],
            hidden_size=4,
        ),
        helper.make_node("Squeeze", ["y", "axis"], ["action"]),
    ]
    inputs = {"obs": (1, 1, 6), "h_in": (1, 1, 4), "c_in": (1, 1, 4)}
    outputs = {"action": (1, 1, 4), "h_out": (1, 1, 4), "c_out": (1, 1, 4)}
    weights = {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in {"w": (1, 16, 6), "r": (1, 16, 4)}.items()
    }
    constants: dict[str, Any] = {**weights, "axis": np.array([1], np.int64)}
    file = save(folder / "lstm.onnx", nodes, inputs, outputs, constants)
    return bpu_graph("lstm", file, inputs, outputs)


def transformer_graph(folder: Path) -> BpuGraph:
    """Make a model of a vector and two feature maps."""
    flat = [
        helper.make_node("Flatten", [name], [f"flat{i}"])
        for i, name in enumerate(TRANSFORMER_INPUTS)
    ]
    nodes = [
        *flat,
        helper.make_node("Concat", ["flat0", "flat1", "flat2"], ["all"], axis=1),
        helper.make_node("Softmax", ["all"], ["shares"]),
        helper.make_node("Unsqueeze", ["shares", "axes"], ["Actions"]),
    ]
    outputs, axes = {"Actions": (1, 1, 54)}, np.array([1], np.int64)
    file = save(folder / "transformer.onnx", nodes, TRANSFORMER_INPUTS, outputs, {"axes": axes})
    return bpu_graph("transformer", file, TRANSFORMER_INPUTS, outputs)


def read_config(file: Path) -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))
    return loaded


@pytest.fixture
def write_bpu_graphs(tmp_path: Path) -> Callable[..., Path]:
    def apply(graphs: Sequence[BpuGraph], given: BpuSettings) -> Path:
        folder = tmp_path / "workspace"
        folder.mkdir()
        write_workspace(folder, graphs, given)
        return folder

    return apply


def test_lists_are_in_the_order_of_the_inputs(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_bpu_graphs([transformer_graph(tmp_path)], bpu_settings("nash-e"))
    found = read_config(folder / "transformer" / "config_transformer.yaml")

    parameters = found["compiler_parameters"]
    assert parameters["extra_params"] == {"input_no_padding": True, "output_no_padding": True}
    assert parameters["optimize_level"] == "O2"
    assert found["input_parameters"]["input_name"] == "states;laptop/features;phone"
    assert found["input_parameters"]["input_shape"] == "1x6x1x1;1x4x2x3;1x4x2x3"
    assert found["calibration_parameters"]["cal_data_dir"] == (
        "calibration_data_transformer/0_states;calibration_data_transformer/1_laptop_features;"
        "calibration_data_transformer/2_phone"
    )


@pytest.mark.parametrize(("march", "opset"), [("bayes-e", 17), ("nash-e", 20), ("nash-e", 9)])
def test_opset_that_the_compiler_does_not_read_is_refused(
    write_bpu_graphs: Callable[..., Path], tmp_path: Path, march: str, opset: int
) -> None:
    with refusal(ToolError):
        write_bpu_graphs([mlp_graph(tmp_path, opset=opset)], bpu_settings(march))


@pytest.mark.parametrize(
    ("make", "march", "opset"),
    [
        (partial(mlp_graph, opset=11), "bayes-e", 11),
        (lstm_graph, "nash-e", 17),
        (transformer_graph, "nash-e", 17),
    ],
)
def test_models_in_the_workspace_are_the_same_functions_of_four_axes(
    write_bpu_graphs: Callable[..., Path],
    tmp_path: Path,
    make: Callable[[Path], BpuGraph],
    march: str,
    opset: int,
) -> None:
    one = make(tmp_path)

    file = write_bpu_graphs([one], bpu_settings(march)) / one.name / f"{one.name}.onnx"

    assert onnx.load(file).opset_import[0].version == opset

    samples = {name: array[:1] for name, array in one.samples.items()}
    expected = onnxruntime.InferenceSession(str(one.model)).run(None, samples)
    four = {
        name: array.reshape(array.shape + (1,) * (4 - array.ndim))
        for name, array in samples.items()
    }
    found = onnxruntime.InferenceSession(str(file)).run(None, four)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


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


Prepare = Callable[..., Path]
Tool = Callable[..., None]


@pytest.fixture
def prepared(tmp_path: Path, arm_dataset: Path) -> Prepare:
    folder = write_chunk_bundle(tmp_path / "arm", sizes=SIZES)

    def apply(march: str = "nash-e", count: int = 6, jobs: int = 6) -> Path:
        prepare_workspace(folder, march, arm_dataset, count, jobs)
        return folder

    return apply


def graph_config(folder: Path, graph: str) -> dict[str, dict[str, Any]]:
    return read_config(folder / graph / f"config_{graph}.yaml")


def test_names_are_those_of_the_vendors_exporter(prepared: Prepare) -> None:
    folder = prepared()

    encoder, policy = (folder / graph / f"calibration_data_{graph}" for graph in (ENCODER, POLICY))
    assert sorted(file.name for file in encoder.iterdir()) == [
        f"{camera}_{i:010d}.npy" for camera in SIZES for i in range(6)
    ]
    assert sorted(place.name for place in policy.iterdir()) == ["laptop", "phone", "state"]
    assert {len(list(place.iterdir())) for place in policy.iterdir()} == {6}
    assert graph_config(folder, POLICY)["calibration_parameters"]["cal_data_dir"] == ";".join(
        f"calibration_data_{POLICY}/{name}" for name in ("state", "laptop", "phone")
    )
    assert (folder / "build_all.sh").read_text("utf-8").count("bash BPU_ACTPolicy_") == 2
    for graph in (ENCODER, POLICY):
        assert (folder / graph / f"build_{graph}.sh").is_file()
    assert (folder / "bpu_output").is_dir()


@pytest.mark.parametrize(
    "given", [{"march": "nash-x"}, {"jobs": 0}, {"count": 37}], ids=["march", "jobs", "count"]
)
def test_what_cannot_be_leaves_nothing_behind(
    prepared: Prepare, tmp_path: Path, given: dict[str, Any]
) -> None:
    before = sorted((tmp_path / "arm").rglob("*"))

    with refusal(ToolError):
        prepared(**given)

    assert sorted((tmp_path / "arm").rglob("*")) == before


def test_build_all_runs_the_compiler_of_an_x5(
    write_bpu_graphs: Callable[..., Path], put_on_path: Tool, tmp_path: Path
) -> None:
    folder = write_bpu_graphs([mlp_graph(tmp_path, opset=11)], bpu_settings("bayes-e", "int16"))
    put_on_path("hb_mapper")
    subprocess.run(["bash", str(folder / "build_all.sh")], check=True, capture_output=True)
    assert (folder / "bpu_output" / "policy.bin").is_file()


def test_build_all_compiles_and_the_bundle_takes_what_it_made(
    prepared: Prepare, put_on_path: Tool, arm_dataset: Path, tmp_path: Path
) -> None:
    folder = prepared("nash-e", 8)
    put_on_path("hb_compile")
    subprocess.run(["bash", str(folder / "build_all.sh")], check=True, capture_output=True)

    request = CompileRequest(
        compiler="bpu",
        bundle=folder,
        precision="int16",
        target="nash-e",
        rows=arm_dataset,
        samples=8,
        output=tmp_path / "made",
        options={"compiled": str(folder)},
    )
    bundle = load_bundle(compile_bundle(request), kind=ChunkBundle)

    for graph in (ENCODER, POLICY):
        artifact = bundle.contract.graphs[graph].artifacts["bpu"]
        assert artifact.file == f"{graph}/{graph}.int16.hbm"
        assert (artifact.precision, artifact.target) == ("int16", "nash-e")
        assert (folder / "bpu_output" / f"{graph}.hbm").is_file()
    assert not (bundle.path / "build_all.sh").exists()
    bundle.verify()
