# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the back end `oip` does when servers, networks and answers are not what they should be."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import load, save_model
from onnx.numpy_helper import from_array, to_array

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote import link
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel
from policy_inference.open_inference import SERVICE, message_classes
from policy_inference.service.credentials import read_certificate
from policy_inference.service.open_inference_server import GraphService, OpenInferenceServer
from policy_inference.testing.models import save_linear, weights
from testkit.waiting import until
from testkit.wording import check_wording, refusal

from ...service.certificates import make_certificate
from .conftest import run_succeeds
from .open_inference_peer import Peer, artifact, write_rows

grpc: Any = pytest.importorskip("grpc", reason="grpcio is not installed")
Open = Callable[..., OipBackend]
OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
TOKEN = b"0123456789abcdef"


@pytest.fixture(scope="module")
def served_peer() -> Iterator[Peer]:
    served = Peer()
    yield served
    served.kill()


@pytest.fixture
def open_oip() -> Iterator[Open]:
    with ExitStack() as stack:

        def apply(file: Path, **options: str) -> OipBackend:
            backend = OipBackend(file, [OBS], [ACTIONS], options=options)
            return stack.enter_context(closing(backend))

        yield apply


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return save_linear(tmp_path / "policy.onnx", 5, 3)


def test_server_that_hangs_is_an_error_after_the_deadline_and_is_used_again(
    served_peer: Peer, onnx: Path, open_oip: Open
) -> None:
    backend = open_oip(artifact(served_peer, onnx), deadline_ms="150")
    served_peer.pause()
    try:
        began_s = time.monotonic()
        for _ in range(link.MOST_LATE):
            with pytest.raises(BackendError, match="within"):
                backend.run()
        assert time.monotonic() - began_s < link.MOST_LATE * 0.15 + 2.0
        with refusal(BackendError):
            backend.run()
    finally:
        served_peer.go_on()
    until(lambda: run_succeeds(backend))


def test_other_model_behind_the_right_name_is_refused_after_a_restart(
    served_peer: Peer, onnx: Path, open_oip: Open
) -> None:
    backend = open_oip(artifact(served_peer, onnx, "replaced", sha256=""))
    served_peer.kill()
    # The same tensors and names, and another function.
    model = load(onnx)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(from_array(2.0 * to_array(tensor), tensor.name))
    save_model(model, onnx)
    served_peer.load("replaced", onnx)
    until(lambda: "another model" in backend.problem() or "sha256" in backend.problem())
    assert not run_succeeds(backend)


@pytest.mark.parametrize(
    "changed",
    [{"model": "another"}, {"sha256": 64 * "0"}, {"tolerance": -1.0}],
    ids=["name", "hash", "golden rows"],
)
def test_model_that_is_not_the_one_of_the_bundle_is_refused(
    served_peer: Peer, onnx: Path, open_oip: Open, changed: Mapping[str, object]
) -> None:
    artifact(served_peer, onnx)
    model = OipModel(model="tiny", endpoint=served_peer.endpoint)
    file = write_rows(
        onnx,
        onnx.with_suffix(".oip.npz"),
        replace(model, **changed),  # type: ignore[arg-type]
    )
    with refusal(BackendError):
        open_oip(file)


def test_endpoint_comes_from_the_option_first_and_no_proxy_is_used(
    served_peer: Peer, onnx: Path, open_oip: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    backend = open_oip(
        artifact(served_peer, onnx, endpoint="192.0.2.1:1"), endpoint=served_peer.endpoint
    )
    assert run_succeeds(backend)
    check_wording(backend.details["round_trip"])


@pytest.mark.parametrize(
    "options",
    [
        {"tls": "perhaps"},
        {"ca_file": "ca.pem"},
        {"tls": "yes", "cert_file": "a.pem"},
        {"deadline_ms": "0.001"},  # shorter than an answer takes
        {"token_file": "/nowhere"},
        {"token_file": "token", "endpoint": "192.0.2.1:1"},  # a secret without TLS
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(
    served_peer: Peer,
    onnx: Path,
    open_oip: Open,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
) -> None:
    monkeypatch.chdir(onnx.parent)
    Path("token").write_bytes(TOKEN)
    with refusal(BackendError):
        open_oip(artifact(served_peer, onnx), **options)


@pytest.fixture
def serve_here(onnx: Path) -> Iterator[Callable[..., OpenInferenceServer]]:
    with ExitStack() as stack:

        def apply(**changed: Any) -> OpenInferenceServer:
            backend = stack.enter_context(closing(OnnxBackend(onnx, [OBS], [ACTIONS])))
            model = GraphService(name="tiny", version="1.0.0", sha256="", backend=backend)
            server = OpenInferenceServer(("127.0.0.1", 0), {"tiny": model}, **changed)
            return stack.enter_context(closing(server))

        yield apply


def file_for(onnx: Path, port: int) -> Path:
    model = OipModel(model="tiny", endpoint=f"127.0.0.1:{port}")
    return write_rows(onnx, onnx.with_suffix(".oip.npz"), model)


def test_certificates_and_token_are_checked(
    serve_here: Callable[..., OpenInferenceServer], open_oip: Open, onnx: Path, tmp_path: Path
) -> None:
    ca = make_certificate(tmp_path, "ca")
    own = make_certificate(tmp_path, "server", ca)
    robot = make_certificate(tmp_path, "robot", ca)
    server = serve_here(certificate=read_certificate(own.cert, own.key, ca.cert), token=TOKEN)
    file, token, wrong = file_for(onnx, server.port), tmp_path / "token", tmp_path / "wrong"
    token.write_bytes(TOKEN)
    wrong.write_bytes(TOKEN[::-1])
    tls = {"tls": "yes", "ca_file": str(ca.cert)}
    client = {**tls, "cert_file": str(robot.cert), "key_file": str(robot.key)}
    assert run_succeeds(open_oip(file, **client, token_file=str(token)))
    with refusal(BackendError):
        open_oip(file, **client)
    with refusal(BackendError):
        open_oip(file, **client, token_file=str(wrong))
    for given in ({}, tls):  # no TLS; no certificate of the client
        with pytest.raises(BackendError, match="ServerReady"):
            open_oip(file, **given, token_file=str(token))


class OddServer:
    """A server that answers what a test wants: `change` gets the request and the right answer."""

    def __init__(self, matrix: Any) -> None:
        self.change: Callable[[Any, Any], None] = lambda request, answer: None
        self._classes, self._matrix = message_classes(), matrix
        self._server = grpc.server(ThreadPoolExecutor(2))
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                getattr(self, method),
                request_deserializer=self._classes[f"{method}Request"].FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for method in vars(OddServer)
            if method[0].isupper()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self.parameters: dict[str, str] = {}
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802  # the protocol's
        return self._classes["ServerReadyResponse"](ready=True)

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._classes["ModelReadyResponse"](ready=True)

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = self._classes["ModelConfigResponse"]()
        for name, value in self.parameters.items():
            answer.config.parameters[name].string_value = value
        return answer

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = self._classes["ModelMetadataResponse"](name="tiny", versions=["1"])
        answer.inputs.add(name="obs", datatype="FP32", shape=[-1, 5])
        answer.outputs.add(name="actions", datatype="FP32", shape=[-1, 3])
        return answer

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        obs = np.frombuffer(request.raw_input_contents[0], np.float32)[None]
        answer = self._classes["ModelInferResponse"](
            model_name="tiny", model_version="1", id=request.id
        )
        answer.outputs.add(name="actions", datatype="FP32", shape=[1, 3])
        answer.raw_output_contents.append((obs @ self._matrix).astype(np.float32).tobytes())
        self.change(request, answer)
        return answer


@pytest.fixture
def odd() -> Iterator[OddServer]:
    with closing(OddServer(weights(5, 3))) as server:
        yield server


def spoil_answer(answer: Any, how: str) -> None:
    if how == "half":
        answer.raw_output_contents[0] = answer.raw_output_contents[0][:6]
    elif how == "request":
        answer.id = "another-1"
    elif how == "tensor":
        answer.outputs[0].name = "value"
    else:
        answer.parameters["policy_sha256"].string_param = 64 * "f"


@pytest.mark.parametrize("how", ["half", "request", "tensor", "hash"])
def test_answer_that_cannot_be_right_is_refused_and_the_next_right_one_is_taken(
    odd: OddServer, onnx: Path, open_oip: Open, how: str
) -> None:
    odd.parameters["policy_sha256"] = 64 * "e"
    backend = open_oip(file_for(onnx, odd.port))
    odd.change = lambda request, answer: spoil_answer(answer, how)
    with refusal(BackendError):
        backend.run()
    odd.change = lambda request, answer: None
    until(lambda: run_succeeds(backend))


def test_answers_that_come_too_late_are_not_taken_for_later_requests(
    odd: OddServer, onnx: Path, open_oip: Open
) -> None:
    backend = open_oip(file_for(onnx, odd.port), deadline_ms="100")
    backend.inputs["obs"][:] = 1.0
    backend.run()
    right = backend.outputs["actions"].copy()
    odd.change = lambda request, answer: time.sleep(0.25)
    backend.inputs["obs"][:] = -1.0
    with refusal(BackendError):
        backend.run()
    odd.change = lambda request, answer: None
    backend.inputs["obs"][:] = 1.0
    until(lambda: run_succeeds(backend))
    np.testing.assert_array_equal(backend.outputs["actions"], right)
