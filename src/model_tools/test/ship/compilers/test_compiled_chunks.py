# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compiling a chunk policy: every graph is compiled, and the chunks stay nearly the same."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from model_tools.errors import ToolError
from model_tools.files.observation_sources import DatasetSource
from model_tools.make.act.act_contract import ActRequest as ExportRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.checkpoint import read_checkpoint
from model_tools.prove.calibration.graph_samples import GraphSamples, collect_samples
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import F64
from policy_inference.backends.registry import open_models
from testkit.chunk_bundles import ENCODER, POLICY, write_chunk_bundle
from testkit.edits import reword
from testkit.wording import refusal

from .conftest import SIZES, compiled

Compile = Callable[..., ChunkBundle]
Worst = Callable[[ChunkBundle], float]


@pytest.fixture
def arm_source(tmp_path: Path) -> Path:
    return write_chunk_bundle(tmp_path / "bundle", sizes=SIZES, limits={"onnx": {"max_abs": 1e-5}})


@pytest.fixture
def compile_arm(arm_source: Path, arm_dataset: Path, tmp_path: Path) -> Compile:
    def apply(precision: str = "int8", compiler: str = "onnx", **changes: object) -> ChunkBundle:
        given = {
            "bundle": arm_source,
            "samples": 36,
            "rows": arm_dataset,
            "output": tmp_path / "made",
            **changes,
        }
        return compiled(ChunkBundle, compiler, precision=precision, **given)

    return apply


@pytest.fixture
def worst(arm_source: Path, arm_dataset: Path, tmp_path: Path) -> Worst:
    """Return the largest difference of a bundle's normalised chunks from those of the source."""
    reference = load_bundle(arm_source, kind=ChunkBundle)
    folder = tmp_path / "seen"
    folder.mkdir()
    samples = collect_samples(reference, DatasetSource(reference.contract, arm_dataset), 30, folder)

    expected = chunks_of(reference, samples)
    return lambda bundle: float(np.abs(chunks_of(bundle, samples) - expected).max())


def chunks_of(bundle: ChunkBundle, samples: Mapping[str, GraphSamples]) -> F64:
    opened = open_models(bundle.models, ["onnx"])
    encoder, policy = opened[f"graphs.{ENCODER}"], opened[f"graphs.{POLICY}"]
    images, states = samples[ENCODER].inputs["images"], samples[POLICY].inputs["states"]
    found = []
    for row, state in enumerate(states):
        for place, name in enumerate(("laptop_features", "phone_features")):
            encoder.inputs["images"][0] = images[2 * row + place]
            encoder.run()
            policy.inputs[name][:] = encoder.outputs["Vision_Features"]
        policy.inputs["states"][0] = state
        policy.run()
        found.append(np.array(policy.outputs["Actions"][0], np.float64))
    opened.close()
    return np.stack(found)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 3e-3), ("int8", 0.05)])
def test_all_graphs_are_compiled_and_answer_nearly_the_same(
    compile_arm: Compile, worst: Worst, arm_source: Path, precision: str, tolerance: float
) -> None:
    (arm_source / ENCODER / "notes.txt").touch()
    bundle = compile_arm(precision)
    files = {str(f.relative_to(bundle.path)) for f in bundle.path.rglob("*") if f.is_file()}
    graphs = {f"{name}/{name}.{precision}.onnx" for name in (POLICY, ENCODER)}
    assert files == {*graphs, "golden.npz", "policy.yaml"}

    for name in (ENCODER, POLICY):
        artifact = bundle.contract.graphs[name].artifacts["onnx"]
        assert artifact.precision == precision
        assert artifact.file == f"{name}/{name}.{precision}.onnx"
    assert 0.0 < worst(bundle) < tolerance
    assert not bundle.contract.limits
    bundle.verify()


def test_another_back_ends_graphs_stand_beside_the_reference(
    compile_arm: Compile, worst: Worst
) -> None:
    bundle = compile_arm(compiler="tensorrt")

    for name in (ENCODER, POLICY):
        assert list(bundle.contract.graphs[name].artifacts) == ["onnx", "tensorrt"]
        assert (bundle.path / name / f"{name}.int8.tensorrt.onnx").is_file()
    assert worst(bundle) < 1e-5


def test_calibrating_needs_a_dataset(compile_arm: Compile, tmp_path: Path) -> None:
    with refusal(ToolError):
        compile_arm(rows=None)
    with refusal(ToolError):
        compile_arm(rows=tmp_path / "nowhere")
    (tmp_path / "rollout.npz").touch()
    with refusal(ToolError):
        compile_arm(rows=tmp_path / "rollout.npz")


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_checkpoint_in_int8_stays_near_its_float32(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "so100"
    export_checkpoint(
        ExportRequest(
            checkpoint=read_checkpoint(shared_data / "act/so100_new"),
            output=folder,
            robot="so100",
            units="degrees",
            rate_hz=30.0,
            name="so100",
        )
    )
    # The dataset's images are smaller than those of training.
    reword(folder / "policy.yaml", ("resize: false", "resize: true"))

    made = compiled(
        ChunkBundle,
        "onnx",
        bundle=folder,
        precision="int8",
        samples=6,
        rows=shared_data / "act/dataset_v3",
        output=tmp_path / "int8",
    )

    reference = load_bundle(folder, kind=ChunkBundle)
    source = DatasetSource(reference.contract, shared_data / "act/dataset_v3")
    (tmp_path / "seen").mkdir()
    samples = collect_samples(reference, source, 3, tmp_path / "seen")
    errors = np.abs(chunks_of(made, samples) - chunks_of(reference, samples))
    assert errors.mean() < 0.08
    assert errors.max() < 0.4
