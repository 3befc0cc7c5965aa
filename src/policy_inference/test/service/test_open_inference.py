# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What `serve --open-inference` answers, to its client and to requests that make no sense."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.open_inference import SERVICE, WireTensors, message_classes
from policy_inference.service.open_inference_server import GraphService, OpenInferenceServer
from policy_inference.testing.models import save_linear
from testkit.wording import check_wording

grpc: Any = pytest.importorskip("grpc", reason="grpcio is not installed")
OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
Ask = Callable[..., Any]


@pytest.fixture
def tiny_model(tmp_path: Path) -> Iterator[GraphService]:
    file = save_linear(tmp_path / "policy.onnx", 5, 3)
    with closing(OnnxBackend(file, [OBS], [ACTIONS])) as backend:
        yield GraphService(name="tiny", version="1.0.0", sha256=64 * "a", backend=backend)


@pytest.fixture
def ask_server(tiny_model: GraphService) -> Iterator[Ask]:
    """Ask a server of the model: a method, and the fields of its request."""
    classes = message_classes()

    def apply(method: str, **fields: Any) -> Any:
        call = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=classes[f"{method}Request"].SerializeToString,
            response_deserializer=classes[f"{method}Response"].FromString,
        )
        return call(classes[f"{method}Request"](**fields), timeout=10.0, wait_for_ready=True)

    with closing(OpenInferenceServer(("127.0.0.1", 0), {"tiny": tiny_model})) as server:
        options = [("grpc.enable_http_proxy", 0)]
        with closing(grpc.insecure_channel(f"127.0.0.1:{server.port}", options)) as channel:
            yield apply


def infer(ask_server: Ask, arrays: dict[str, Any], **fields: Any) -> Any:
    observation_frame = message_classes()["ModelInferRequest"]()
    specs = [
        TensorSpec(name=name, shape=array.shape, dtype=array.dtype.name)
        for name, array in arrays.items()
    ]
    WireTensors(specs).describe(observation_frame.inputs)
    WireTensors(specs).write(observation_frame.raw_input_contents, arrays)
    return ask_server(
        "ModelInfer",
        **{"model_name": "tiny", **fields},
        inputs=observation_frame.inputs,
        raw_input_contents=observation_frame.raw_input_contents,
    )


def grpc_refusal(ask_server: Ask, arrays: dict[str, Any], **fields: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        infer(ask_server, arrays, **fields)
    return caught.value.code().name, caught.value.details()


def zero_obs(shape: tuple[int, ...] = (1, 5), dtype: str = "float32") -> Any:
    return np.zeros(shape, dtype)


def test_server_and_model_describe_themselves(ask_server: Ask) -> None:
    assert ask_server("ServerLive").live
    assert ask_server("ServerReady").ready
    assert ask_server("ServerMetadata").name == "policy_inference"
    assert ask_server("ModelReady", name="tiny", version="1.0.0").ready
    found = ask_server("ModelMetadata", name="tiny")
    assert [*found.versions] == ["1.0.0"]
    assert (found.inputs[0].name, found.inputs[0].datatype) == ("obs", "FP32")
    assert [*found.outputs[0].shape] == [1, 3]


def test_answer_has_the_models_outputs_its_version_and_its_hash(
    ask_server: Ask, tiny_model: GraphService
) -> None:
    obs = np.arange(5, dtype=np.float32)[None]
    answer = infer(ask_server, {"obs": obs}, id="42")
    assert (answer.id, answer.model_name, answer.model_version) == ("42", "tiny", "1.0.0")
    assert answer.parameters["policy_sha256"].string_param == 64 * "a"
    found = np.frombuffer(answer.raw_output_contents[0], np.float32)
    np.testing.assert_array_equal(found, tiny_model.backend.outputs["actions"][0])
    assert found.any()


def test_request_in_typed_contents_is_the_same(ask_server: Ask) -> None:
    raw = infer(ask_server, {"obs": zero_obs() + 2.0})
    one = {"name": "obs", "datatype": "FP32", "shape": [1, 5]}
    typed = ask_server(
        "ModelInfer", model_name="tiny", inputs=[{**one, "contents": {"fp32_contents": 5 * [2.0]}}]
    )
    assert typed.raw_output_contents == raw.raw_output_contents


@pytest.mark.parametrize(
    ("arrays", "fields", "code"),
    [
        ({"obs": zero_obs()}, {"model_name": "other"}, "NOT_FOUND"),
        ({"obs": zero_obs()}, {"model_version": "2.0.0"}, "NOT_FOUND"),
        ({"state": zero_obs()}, {}, "INVALID_ARGUMENT"),
        ({}, {}, "INVALID_ARGUMENT"),
        ({"obs": zero_obs((1, 6))}, {}, "INVALID_ARGUMENT"),
        ({"obs": zero_obs(dtype="int64")}, {}, "INVALID_ARGUMENT"),
        ({"obs": zero_obs()}, {"outputs": [{"name": "value"}]}, "INVALID_ARGUMENT"),
    ],
    ids=["model", "version", "other tensor", "no tensor", "size", "type", "output"],
)
def test_request_that_makes_no_sense_is_refused_by_its_reason(
    ask_server: Ask, arrays: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    found, text = grpc_refusal(ask_server, arrays, **fields)
    assert found == code
    check_wording(text)
    assert infer(ask_server, {"obs": zero_obs()}).outputs[0].name == "actions"


def test_failing_model_is_an_error_of_the_request(
    ask_server: Ask, tiny_model: GraphService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise BackendError("lost")

    monkeypatch.setattr(tiny_model.backend, "run", lost)
    assert grpc_refusal(ask_server, {"obs": zero_obs()}) == ("INTERNAL", "lost")


def test_server_answers_that_it_is_there_while_a_model_runs(
    ask_server: Ask, tiny_model: GraphService
) -> None:
    with tiny_model.lock:
        assert ask_server("ServerReady").ready
        assert not tiny_model.answers_within(0.01)
    assert tiny_model.answers_within(0.01)
