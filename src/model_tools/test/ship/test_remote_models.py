# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles whose models another machine serves, and what is served there."""

import importlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_models
from policy_inference.backends.remote.oip_model import read_oip_model
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.parity import require_parity
from testkit.store import tool, tool_refused
from testkit.wording import check_wording

from ..tiny_bundle import make_bundle
from .conftest import compile_oip

SO101 = Path(__file__).resolve().parents[4] / "config" / "bundles" / "so101_reach"
ENCODER, TRANSFORMER = (
    f"so101_reach_BPU_ACTPolicy_{name}" for name in ("VisionEncoder", "TransformerLayers")
)


@pytest.fixture(scope="module")
def remote_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("compiled") / "so101_remote"
    compile_oip(SO101, output)
    return output


def test_compiled_file_has_name_hash_and_golden_rows(tmp_path: Path) -> None:
    source = make_bundle(tmp_path / "tiny")
    compile_oip(source, tmp_path / "made")

    bundle, before = (
        load_bundle(folder, kind=JointBundle) for folder in (tmp_path / "made", source)
    )
    model, inputs, outputs = read_oip_model(bundle.artifact("oip")[1])

    assert (model.model, model.version, model.tolerance) == ("tiny", "", 1e-3)
    assert model.sha256 == before.entry("onnx").sha256
    golden = before.golden()
    np.testing.assert_array_equal(inputs["obs"][:, 0], golden["obs"][:8])
    found, expected = outputs["actions"][:, 0], golden["actions"][:8]
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), atol=1e-6)


def test_options_state_what_the_server_calls_it(tmp_path: Path) -> None:
    options = {"model": "walk", "version": "3", "endpoint": "h:8001", "tolerance": "0.05"}
    compile_oip(
        make_bundle(tmp_path / "tiny"),
        tmp_path / "made",
        *(word for name, value in options.items() for word in ("--option", f"{name}={value}")),
        precision="int8",
    )

    bundle = load_bundle(tmp_path / "made", kind=JointBundle)
    model, _, _ = read_oip_model(bundle.artifact("oip")[1])

    assert (model.model, model.version, model.endpoint) == ("walk", "3", "h:8001")
    assert (model.tolerance, model.sha256) == (0.05, "")
    given = ("--bundle", tmp_path / "tiny", "--precision", "fp32", "--output", tmp_path / "wrong")
    tool_refused("compile", "oip", *given, "--option", "tolerance=all")


@pytest.fixture
def served_graphs() -> Iterator[int]:
    """Serve the graphs of so101_reach in this process; return the port."""
    pytest.importorskip("grpc", reason="grpcio is not installed")
    server: Any = importlib.import_module("policy_inference.service.open_inference_server")
    bundle = load_bundle(SO101, kind=ChunkBundle)
    with open_models(bundle.models, ["onnx"]) as models:
        graphs = {
            name: server.GraphService(name=name, version="0.1.0", sha256=sha256, backend=backend)
            for name, backend, sha256 in zip(
                (ENCODER, TRANSFORMER),
                models.values(),
                (model.entry("onnx").sha256 for model in bundle.models),
                strict=True,
            )
        }
        endpoint = ("127.0.0.1", 0)
        with closing(server.OpenInferenceServer(endpoint, graphs)) as running:
            yield running.port


def test_chunk_policy_on_a_server_gives_its_golden_chunks(
    remote_arm: Path, served_graphs: int
) -> None:
    bundle, kind = load_bundle(remote_arm, kind=ChunkBundle), ChunkKind()
    options = {"oip": {"endpoint": f"127.0.0.1:{served_graphs}"}}

    with open_models(bundle.models, ["oip"], options) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))

        check_wording(models.runs_on)


def test_repository_has_a_model_per_graph_and_an_ensemble(tmp_path: Path) -> None:
    repository = tmp_path / "repository"

    options = ("--device", "cpu", "--instances", "2", "--model-version", "3")
    assert tool("deploy", "triton", SO101, "--output", repository, *options) == 0

    bundle = load_bundle(SO101, kind=ChunkBundle)
    for name, model in zip((ENCODER, TRANSFORMER), bundle.models, strict=True):
        entry, file = model.artifact("onnx")
        assert (repository / name / "3" / "model.onnx").read_bytes() == file.read_bytes()
        config = (repository / name / "config.pbtxt").read_text()
        assert f'"{entry.sha256}"' in config
        check_wording(config)
    ensemble = (repository / "so101_reach" / "config.pbtxt").read_text()
    inputs = re.findall(r'input \[ \{ name: "(\w+)"', ensemble)
    assert inputs == ["front_image", "wrist_image", "states"]
    assert ensemble.count(f'model_name: "{ENCODER}"') == 2
    kserve = yaml.safe_load((repository / "kserve.yaml").read_text())
    assert kserve["metadata"]["name"] == "so101-reach"
    assert kserve["spec"]["predictor"]["model"]["protocolVersion"] == "v2"
