# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles whose models another machine serves, and what is served there."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from model_tools.cli import main
from policy_inference.backends.registry import open_models
from policy_inference.backends.remote.oip_model import read_oip_model
from policy_inference.bundle.bundle import ChunkBundle, JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.parity import require_parity

from ..tiny_bundle import make_bundle

SO101 = Path(__file__).resolve().parents[4] / "config" / "bundles" / "so101_reach"
ENCODER, TRANSFORMER = (
    f"so101_reach_BPU_ACTPolicy_{name}" for name in ("VisionEncoder", "TransformerLayers")
)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return so101_reach for a remote server."""
    output = tmp_path_factory.mktemp("compiled") / "so101_remote"
    compile_oip(SO101, output)
    return output


def compile_oip(bundle: Path, output: Path, *more: str, precision: str = "fp32") -> None:
    arguments = ["--bundle", str(bundle), "--precision", precision, "--output", str(output)]
    assert main(["compile", "oip", *arguments, *more]) == 0


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


def test_tolerance_that_is_no_share_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--bundle", str(make_bundle(tmp_path / "tiny")), "--precision", "fp32"]
    output = ["--output", str(tmp_path / "made"), "--option", "tolerance=all"]

    assert main(["compile", "oip", *arguments, *output]) == 4
    assert "expected a share between 0 and 1, found 'all'" in caplog.text


@pytest.fixture
def served() -> Iterator[int]:
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
        endpoint = server.GrpcEndpoint(place=("127.0.0.1", 0))
        with closing(server.OpenInferenceServer(endpoint, graphs)) as running:
            yield running.port


def test_chunk_policy_on_a_server_gives_its_golden_chunks(remote: Path, served: int) -> None:
    bundle, kind = load_bundle(remote, kind=ChunkBundle), ChunkKind()
    options = {"oip": {"endpoint": f"127.0.0.1:{served}"}}

    with open_models(bundle.models, ["oip"], options) as models:
        require_parity(kind, bundle, models, kind.golden_rows(bundle))

        assert "deadline 5000 ms" in models.runs_on


def test_repository_has_a_model_per_graph_and_an_ensemble(tmp_path: Path) -> None:
    repository = tmp_path / "repository"

    arguments = ["--output", str(repository), "--device", "cpu", "--instances", "2"]
    assert main(["deploy", "triton", str(SO101), *arguments, "--model-version", "3"]) == 0

    bundle = load_bundle(SO101, kind=ChunkBundle)
    for name, model in zip((ENCODER, TRANSFORMER), bundle.models, strict=True):
        entry, file = model.artifact("onnx")
        assert (repository / name / "3" / "model.onnx").read_bytes() == file.read_bytes()
        config = (repository / name / "config.pbtxt").read_text()
        assert f'key: "policy_sha256" value {{ string_value: "{entry.sha256}" }}' in config
        assert "count: 2 kind: KIND_CPU" in config
    encoder = (repository / ENCODER / "config.pbtxt").read_text()
    assert 'input [ { name: "images" data_type: TYPE_FP32 dims: [ 1, 3, 96, 128 ] } ]' in encoder
    ensemble = (repository / "so101_reach" / "config.pbtxt").read_text()
    assert re.findall(r'input \[ \{ name: "(\w+)"', ensemble) == [
        "front_image",
        "wrist_image",
        "states",
    ]
    assert ensemble.count(f'model_name: "{ENCODER}"') == 2
    kserve = yaml.safe_load((repository / "kserve.yaml").read_text())
    assert kserve["metadata"]["name"] == "so101-reach"
    assert kserve["spec"]["predictor"]["model"]["protocolVersion"] == "v2"


def test_repository_that_exists_is_replaced_with_force_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle, repository = make_bundle(tmp_path / "tiny"), tmp_path / "repository"
    arguments = ["deploy", "triton", str(bundle), "--output", str(repository)]
    assert main(arguments) == 0

    assert main(arguments) == 4
    assert str(repository) in caplog.text
    assert main([*arguments, "--force", "--storage-uri", "s3://fleet/tiny"]) == 0
    assert "s3://fleet/tiny" in (repository / "kserve.yaml").read_text()


@pytest.mark.parametrize("option", ["--instances", "--model-version"])
def test_number_below_one_is_refused(
    option: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    output = ["--output", str(tmp_path / "repository")]

    assert main(["deploy", "triton", str(bundle), *output, option, "0"]) == 4
    assert f"{option}: expected 1 or more, found 0" in caplog.text
