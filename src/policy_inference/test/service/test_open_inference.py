# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `serve --open-inference` answers, to its client and to requests that make no sense."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.commands.main import main
from policy_inference.errors import BackendError, PolicyError
from policy_inference.interfaces import TensorSpec
from policy_inference.open_inference import METHODS, SERVICE, WireTensors, message_classes
from policy_inference.service.open_inference_server import (
    GraphService,
    GrpcEndpoint,
    OpenInferenceServer,
)
from policy_inference.testing.models import save_linear

grpc: Any = pytest.importorskip("grpc", reason="grpcio is not installed")
OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
Ask = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Iterator[GraphService]:
    file = save_linear(tmp_path / "policy.onnx", 5, 3)
    with closing(OnnxBackend(file, [OBS], [ACTIONS])) as backend:
        yield GraphService(name="tiny", version="1.0.0", sha256=64 * "a", backend=backend)


@pytest.fixture
def server(model: GraphService) -> Iterator[OpenInferenceServer]:
    endpoint = GrpcEndpoint(place=("127.0.0.1", 0))
    with closing(OpenInferenceServer(endpoint, {"tiny": model})) as running:
        yield running


@pytest.fixture
def ask(server: OpenInferenceServer) -> Iterator[Ask]:
    """Ask the server: a method, and the fields of its request."""
    with asking(server.port) as apply:
        yield apply


class asking:  # noqa: N801  # used like a function
    def __init__(self, port: int) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)])

    def __enter__(self) -> Ask:
        classes = message_classes()

        def apply(method: str, **fields: Any) -> Any:
            call = self._channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=classes[f"{method}Request"].SerializeToString,
                response_deserializer=classes[f"{method}Response"].FromString,
            )
            return call(classes[f"{method}Request"](**fields), timeout=10.0, wait_for_ready=True)

        return apply

    def __exit__(self, *_: object) -> None:
        self._channel.close()


def infer(ask: Ask, arrays: dict[str, Any], **fields: Any) -> Any:
    request = message_classes()["ModelInferRequest"]()
    specs = [
        TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
        for name, array in arrays.items()
    ]
    WireTensors(specs).describe(request.inputs)
    WireTensors(specs).write(request.raw_input_contents, arrays)
    return ask(
        "ModelInfer",
        **{"model_name": "tiny", **fields},
        inputs=request.inputs,
        raw_input_contents=request.raw_input_contents,
    )


def refusal(ask: Ask, arrays: dict[str, Any], **fields: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        infer(ask, arrays, **fields)
    return caught.value.code().name, caught.value.details()


def zeros(shape: tuple[int, ...] = (1, 5), dtype: str = "float32") -> Any:
    return np.zeros(shape, dtype)


def test_server_and_model_describe_themselves(ask: Ask) -> None:
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ServerMetadata").name == "policy_inference"
    assert ask("ModelReady", name="tiny", version="1.0.0").ready
    found = ask("ModelMetadata", name="tiny")
    assert [*found.versions] == ["1.0.0"]
    assert (found.inputs[0].name, found.inputs[0].datatype) == ("obs", "FP32")
    assert [*found.outputs[0].shape] == [1, 3]


def test_answer_has_the_models_outputs_its_version_and_its_hash(
    ask: Ask, model: GraphService
) -> None:
    obs = np.arange(5, dtype=np.float32)[None]

    answer = infer(ask, {"obs": obs}, id="42")

    assert (answer.id, answer.model_name, answer.model_version) == ("42", "tiny", "1.0.0")
    assert answer.parameters["policy_sha256"].string_param == 64 * "a"
    found = np.frombuffer(answer.raw_output_contents[0], np.float32)
    np.testing.assert_array_equal(found, model.backend.outputs["actions"][0])
    assert found.any()


def test_request_in_typed_contents_is_the_same(ask: Ask) -> None:
    raw = infer(ask, {"obs": zeros() + 2.0})
    one = {"name": "obs", "datatype": "FP32", "shape": [1, 5]}

    typed = ask(
        "ModelInfer", model_name="tiny", inputs=[{**one, "contents": {"fp32_contents": 5 * [2.0]}}]
    )

    assert typed.raw_output_contents == raw.raw_output_contents


@pytest.mark.parametrize(
    ("arrays", "fields", "code", "says"),
    [
        ({"obs": zeros()}, {"model_name": "other"}, "NOT_FOUND", "a model among tiny"),
        ({"obs": zeros()}, {"model_version": "2.0.0"}, "NOT_FOUND", "expected version 1.0.0"),
        ({"state": zeros()}, {}, "INVALID_ARGUMENT", "each once, found 'state'"),
        ({}, {}, "INVALID_ARGUMENT", "expected the tensors obs, found "),
        ({"obs": zeros((1, 6))}, {}, "INVALID_ARGUMENT", "expected FP32[1, 5], found FP32[1, 6]"),
        ({"obs": zeros(dtype="int64")}, {}, "INVALID_ARGUMENT", "found INT64[1, 5]"),
        (
            {"obs": zeros()},
            {"outputs": [{"name": "value"}]},
            "INVALID_ARGUMENT",
            "expected outputs among actions, found value",
        ),
    ],
)
def test_request_that_makes_no_sense_is_refused_by_its_reason(
    ask: Ask, arrays: dict[str, Any], fields: dict[str, Any], code: str, says: str
) -> None:
    found, text = refusal(ask, arrays, **fields)

    assert found == code
    assert says in text
    assert infer(ask, {"obs": zeros()}).outputs[0].name == "actions"


def test_values_that_are_not_finite_pass_as_in_a_local_model(ask: Ask) -> None:
    answer = infer(ask, {"obs": zeros() + np.nan})

    assert np.isnan(np.frombuffer(answer.raw_output_contents[0], np.float32)).all()


def test_failing_model_is_an_error_of_the_request(
    ask: Ask, model: GraphService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise BackendError("the device was lost")

    monkeypatch.setattr(model.backend, "run", lost)

    assert refusal(ask, {"obs": zeros()}) == ("INTERNAL", "the device was lost")


def test_server_answers_that_it_is_there_while_a_model_runs(ask: Ask, model: GraphService) -> None:
    with model.lock:
        assert ask("ServerReady").ready
        assert not model.answers_within(0.01)
    assert model.answers_within(0.01)


def test_port_that_is_taken_is_an_error(server: OpenInferenceServer) -> None:
    with pytest.raises(PolicyError, match="expected an address and a port that are free"):
        OpenInferenceServer(GrpcEndpoint(place=("127.0.0.1", server.port)), {})


def test_other_machines_need_a_secret_to_connect() -> None:
    with pytest.raises(PolicyError, match="found one that others reach; add --tls-cert"):
        OpenInferenceServer(GrpcEndpoint(place=("0.0.0.0", 0)), {})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--framed-tcp", "127.0.0.1:0"], "expected no other endpoint"),
        (["--metrics", "127.0.0.1:0"], "neither --metrics nor --spin-us"),
    ],
)
def test_option_that_contradicts_it_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--bundle", "x", "--open-inference", "127.0.0.1:0", *arguments])

    assert caught.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--batch", "4"], ["--obs-stats", "stats.npz"]])
def test_option_of_the_other_protocols_is_refused(
    option: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = save_linear(tmp_path / "policy.onnx", 5, 3)
    given = ["serve", "--model", str(file), "--open-inference", "127.0.0.1:0", *option]

    assert main(given) == 2
    assert f"{option[0]}: expected none with --open-inference" in caplog.text


@pytest.mark.parametrize(
    ("bundle", "names"),
    [
        ("lite3_walk", ["lite3_walk"]),
        (
            "so101_reach",
            [
                "so101_reach_BPU_ACTPolicy_VisionEncoder",
                "so101_reach_BPU_ACTPolicy_TransformerLayers",
            ],
        ),
    ],
)
def test_command_serves_each_model_of_a_bundle_until_sigterm(bundle: str, names: list[str]) -> None:
    command = [sys.executable, "-m", "policy_inference.commands.main", "serve"]
    arguments = ["--bundle", str(BUNDLES / bundle), "--open-inference", "127.0.0.1:0"]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = list[str]()
        while "ready" not in (line := process.stderr.readline()):
            assert line, lines
            lines.append(line)
        where = next(line for line in lines if "Open Inference Protocol" in line)
        port = int(where.partition("127.0.0.1:")[2].partition(":")[0])
        with asking(port) as ask:
            assert all(ask("ModelReady", name=name).ready for name in names)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20.0) == 0


def test_every_method_of_the_protocol_is_served(ask: Ask) -> None:
    named = {"ModelReady", "ModelMetadata"}
    for method in METHODS:
        if method == "ModelInfer":
            infer(ask, {"obs": zeros()})
        else:
            ask(method, **({"name": "tiny"} if method in named else {}))
