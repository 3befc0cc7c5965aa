# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the back end `oip` does when servers, networks and answers are not what they should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote import link
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec
from policy_inference.open_inference import SERVICE, message_classes
from policy_inference.service.open_inference_server import (
    GraphService,
    GrpcEndpoint,
    OpenInferenceServer,
)
from policy_inference.testing.models import save_linear

from ...service.certificates import DAY, make_certificate
from .open_inference_peer import Peer, artifact, write_rows
from .slow_network import slow_network

grpc: Any = pytest.importorskip("grpc", reason="grpcio is not installed")
OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
TOKEN = b"0123456789abcdef"


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    served = Peer()
    yield served
    served.kill()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(link, "LONGEST_PAUSE_S", 0.1)


@pytest.fixture
def opened() -> Iterator[Callable[..., OipBackend]]:
    with ExitStack() as stack:

        def apply(file: Path, **options: str) -> OipBackend:
            backend = OipBackend(file, [OBS], [ACTIONS], options=options)
            return stack.enter_context(closing(backend))

        yield apply


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    return save_linear(tmp_path / "policy.onnx", 5, 3)


def until(condition: Callable[[], bool]) -> None:
    given_up = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < given_up
        time.sleep(0.005)


def runs(backend: OipBackend) -> bool:
    try:
        backend.run()
    except BackendError:
        return False
    return True


def test_killed_server_fails_runs_at_once_and_is_used_again_when_it_is_back(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    backend = opened(artifact(peer, onnx))
    backend.inputs["obs"][:] = 1.0
    backend.run()
    expected = backend.outputs["actions"].copy()
    assert backend.problem() == ""

    peer.kill()
    until(lambda: backend.problem() != "")
    began_s = time.monotonic()
    with pytest.raises(BackendError, match=rf"^oip: {peer.endpoint}: no connection to "):
        backend.run()
    assert time.monotonic() - began_s < 0.5
    peer.serve()
    until(lambda: backend.problem() == "")
    backend.run()

    np.testing.assert_array_equal(backend.outputs["actions"], expected)


def test_server_that_hangs_is_an_error_after_the_deadline_and_is_used_again(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    backend = opened(artifact(peer, onnx), deadline_ms="150")
    peer.pause()
    try:
        began_s = time.monotonic()
        for _ in range(link.MOST_LATE):
            with pytest.raises(BackendError, match="no answer within 150 ms"):
                backend.run()
        assert time.monotonic() - began_s < link.MOST_LATE * 0.15 + 2.0
        with pytest.raises(BackendError, match="no connection"):
            backend.run()
    finally:
        peer.go_on()

    until(lambda: runs(backend))


def test_other_model_behind_the_right_name_is_refused_after_a_restart(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend], tmp_path: Path
) -> None:
    backend = opened(artifact(peer, onnx, "replaced", sha256=""))
    peer.kill()
    # The same tensors and names, and another function.
    other = save_linear(tmp_path / "other.onnx", 5, 3)
    content = other.read_bytes()
    changed = content.replace(np.float32(0.5).tobytes(), np.float32(0.25).tobytes())
    onnx.write_bytes(changed if changed != content else _scaled(content))
    peer.load("replaced", onnx)

    until(lambda: "another model" in backend.problem() or "sha256" in backend.problem())
    assert not runs(backend)


def _scaled(content: bytes) -> bytes:
    import onnx as library

    model = library.load_from_string(content)
    for tensor in model.graph.initializer:
        values = 2.0 * library.numpy_helper.to_array(tensor)
        tensor.CopyFrom(library.numpy_helper.from_array(values, tensor.name))
    changed: bytes = model.SerializeToString()
    return changed


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"model": "another"}, "expected model another, found: .*NOT_FOUND"),
        ({"version": "2.0.0"}, "version 2.0.0, found: .*NOT_FOUND"),
        ({"sha256": 64 * "0"}, f"expected sha256 {64 * '0'}, found"),
        ({"tolerance": -1.0}, "another model is served"),
    ],
    ids=["name", "version", "hash", "golden rows"],
)
def test_model_that_is_not_the_one_of_the_bundle_is_refused(
    peer: Peer,
    onnx: Path,
    opened: Callable[..., OipBackend],
    changed: Mapping[str, object],
    says: str,
) -> None:
    artifact(peer, onnx)
    model = OipModel(model="tiny", endpoint=peer.endpoint)
    file = write_rows(
        onnx,
        onnx.with_suffix(".oip.npz"),
        replace(model, **changed),  # type: ignore[arg-type]
    )

    with pytest.raises(BackendError, match=says):
        opened(file)


def test_endpoint_comes_from_the_option_first(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    file = artifact(peer, onnx, endpoint="192.0.2.1:1")

    assert runs(opened(file, endpoint=peer.endpoint))


def test_missing_endpoint_names_the_option(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    with pytest.raises(BackendError, match=r"backend_options:=oip\.endpoint=.*, found nothing"):
        opened(artifact(peer, onnx, endpoint=""))


def test_proxy_of_the_environment_is_not_used(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert runs(opened(artifact(peer, onnx)))


def test_deadline_shorter_than_an_answer_takes_is_refused_when_it_is_opened(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    with pytest.raises(BackendError, match=r"expected answers within the deadline of 0.001 ms"):
        opened(artifact(peer, onnx), deadline_ms="0.001")


def test_round_trip_is_reported(peer: Peer, onnx: Path, opened: Callable[..., OipBackend]) -> None:
    assert "deadline 5000 ms" in opened(artifact(peer, onnx)).details["round_trip"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tls": "perhaps"}, "tls: expected yes or no"),
        ({"shared_memory": "on"}, "shared_memory: expected yes or no"),
        (
            {"shared_memory": "yes", "endpoint": "192.0.2.1:1"},
            r"shared_memory: expected a server on this machine, found 192\.0\.2\.1",
        ),
        ({"ca_file": "ca.pem"}, "expected tls=yes"),
        ({"tls": "yes", "cert_file": "a.pem"}, "expected cert_file and key_file"),
        ({"deadline_ms": "soon"}, "expected a positive number, found 'soon'"),
        ({"token_file": "/nowhere"}, "token_file: expected a file that can be read"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    peer: Peer,
    onnx: Path,
    opened: Callable[..., OipBackend],
    options: dict[str, str],
    says: str,
) -> None:
    with pytest.raises(BackendError, match=says):
        opened(artifact(peer, onnx), **options)


def test_token_is_not_sent_to_another_machine_without_tls(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend], tmp_path: Path
) -> None:
    (tmp_path / "token").write_bytes(TOKEN)

    with pytest.raises(BackendError, match=r"expected TLS to 192\.0\.2\.1"):
        opened(artifact(peer, onnx), endpoint="192.0.2.1:1", token_file=str(tmp_path / "token"))


def test_server_that_reads_no_shared_memory_is_refused_and_nothing_is_left(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    with pytest.raises(BackendError, match=r"shared_memory: expected a Triton .*UNIMPLEMENTED"):
        opened(artifact(peer, onnx), shared_memory="yes")

    assert not [*Path("/dev/shm").glob("policy_inference-*")]  # where it would be


@pytest.fixture
def serve(onnx: Path) -> Iterator[Callable[..., OpenInferenceServer]]:
    """Serve the linear model in this process."""
    with ExitStack() as stack:

        def apply(**changed: Any) -> OpenInferenceServer:
            backend = stack.enter_context(closing(OnnxBackend(onnx, [OBS], [ACTIONS])))
            model = GraphService(name="tiny", version="1.0.0", sha256="", backend=backend)
            endpoint = GrpcEndpoint(place=("127.0.0.1", 0), **changed)
            server = OpenInferenceServer(endpoint, {"tiny": model})
            return stack.enter_context(closing(server))

        yield apply


def file_for(onnx: Path, port: int) -> Path:
    model = OipModel(model="tiny", endpoint=f"127.0.0.1:{port}")
    return write_rows(onnx, onnx.with_suffix(".oip.npz"), model)


def test_certificates_and_token_are_checked(
    serve: Callable[..., OpenInferenceServer],
    opened: Callable[..., OipBackend],
    onnx: Path,
    tmp_path: Path,
) -> None:
    ca = make_certificate(tmp_path, "ca")
    own = make_certificate(tmp_path, "server", ca)
    robot = make_certificate(tmp_path, "robot", ca)
    server = serve(
        certificate=own.cert.read_bytes(),
        key=own.key.read_bytes(),
        client_ca=ca.cert.read_bytes(),
        token=TOKEN,
    )
    file, token, wrong = file_for(onnx, server.port), tmp_path / "token", tmp_path / "wrong"
    token.write_bytes(TOKEN)
    wrong.write_bytes(TOKEN[::-1])
    tls = {"tls": "yes", "ca_file": str(ca.cert)}
    client = {**tls, "cert_file": str(robot.cert), "key_file": str(robot.key)}

    assert runs(opened(file, **client, token_file=str(token)))
    with pytest.raises(BackendError, match=r"UNAUTHENTICATED: .*found none"):
        opened(file, **client)
    with pytest.raises(BackendError, match=r"UNAUTHENTICATED: .*found another"):
        opened(file, **client, token_file=str(wrong))
    for given in ({}, tls):  # no TLS; no certificate of the client
        with pytest.raises(BackendError, match="ServerReady"):
            opened(file, **given, token_file=str(token))


def test_expired_certificate_of_the_server_is_named(
    serve: Callable[..., OpenInferenceServer],
    opened: Callable[..., OipBackend],
    onnx: Path,
    tmp_path: Path,
) -> None:
    ca = make_certificate(tmp_path, "ca")
    old = make_certificate(tmp_path, "server", ca, begins=-3 * DAY, ends=-DAY)
    server = serve(certificate=old.cert.read_bytes(), key=old.key.read_bytes())

    with pytest.raises(BackendError, match="certificate has expired"):
        opened(file_for(onnx, server.port), tls="yes", ca_file=str(ca.cert))


class OddServer:
    """A server that answers what a test wants: `change` gets the request and the right answer."""

    def __init__(self, weights: Any) -> None:
        self.change: Callable[[Any, Any], None] = lambda request, answer: None
        self._classes, self._weights = message_classes(), weights
        self._server = grpc.server(ThreadPoolExecutor(2))
        handlers = {
            method: grpc.unary_unary_rpc_method_handler(
                getattr(self, method),
                request_deserializer=self._classes[f"{method}Request"].FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )
            for method in (
                "ServerReady",
                "ModelReady",
                "ModelMetadata",
                "ModelInfer",
                "ModelConfig",
            )
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
        answer.raw_output_contents.append((obs @ self._weights).astype(np.float32).tobytes())
        self.change(request, answer)
        return answer


@pytest.fixture
def odd(onnx: Path) -> Iterator[OddServer]:
    with closing(OnnxBackend(onnx, [OBS], [ACTIONS])) as reference:
        weights = []
        for row in np.eye(5, dtype=np.float32):
            reference.inputs["obs"][:] = row
            reference.run()
            weights.append(reference.outputs["actions"][0].copy())
    with closing(OddServer(np.stack(weights))) as server:
        yield server


def _half(request: Any, answer: Any) -> None:
    answer.raw_output_contents[0] = answer.raw_output_contents[0][:6]


def _other_request(request: Any, answer: Any) -> None:
    answer.id = "another-1"


def _other_version(request: Any, answer: Any) -> None:
    answer.model_version = "2"


def _other_shape(request: Any, answer: Any) -> None:
    del answer.outputs[:]
    answer.outputs.add(name="actions", datatype="FP32", shape=[1, 4])


def _other_type(request: Any, answer: Any) -> None:
    answer.outputs[0].datatype = "FP64"


def _other_tensor(request: Any, answer: Any) -> None:
    answer.outputs[0].name = "value"


def _nothing(request: Any, answer: Any) -> None:
    del answer.outputs[:], answer.raw_output_contents[:]


def _twice(request: Any, answer: Any) -> None:
    answer.outputs.add().CopyFrom(answer.outputs[0])
    answer.raw_output_contents.append(answer.raw_output_contents[0])


def _other_hash(request: Any, answer: Any) -> None:
    answer.parameters["policy_sha256"].string_param = 64 * "f"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_half, "expected 12 bytes, found 6"),
        (_other_request, "expected the answer to request .*, found one to 'another-1'"),
        (_other_version, "expected an answer of version 1, found one of 2"),
        (_other_shape, r"expected FP32\[1, 3\], found FP32\[1, 4\]"),
        (_other_type, r"expected FP32\[1, 3\], found FP64\[1, 3\]"),
        (_other_tensor, "expected the tensors actions, each once, found 'value'"),
        (_nothing, "expected the tensors actions, found "),
        (_twice, "each once, found 'actions'"),
        (_other_hash, f"expected sha256 {64 * 'e'}, found {64 * 'f'}"),
    ],
)
def test_answer_that_cannot_be_right_is_refused_and_the_next_right_one_is_taken(
    odd: OddServer,
    onnx: Path,
    opened: Callable[..., OipBackend],
    change: Callable[[Any, Any], None],
    says: str,
) -> None:
    odd.parameters["policy_sha256"] = 64 * "e"
    backend = opened(file_for(onnx, odd.port))
    odd.change = change

    with pytest.raises(BackendError, match=says):
        backend.run()
    odd.change = lambda request, answer: None

    until(lambda: runs(backend))


def test_answer_in_typed_contents_is_read(
    odd: OddServer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    def typed(request: Any, answer: Any) -> None:
        values = np.frombuffer(answer.raw_output_contents[0], np.float32)
        answer.outputs[0].contents.fp32_contents.extend(values.tolist())
        del answer.raw_output_contents[:]

    odd.change = typed

    assert runs(opened(file_for(onnx, odd.port)))


def test_answers_that_come_too_late_are_not_taken_for_later_requests(
    odd: OddServer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    backend = opened(file_for(onnx, odd.port), deadline_ms="100")
    backend.inputs["obs"][:] = 1.0
    backend.run()
    right = backend.outputs["actions"].copy()
    odd.change = lambda request, answer: time.sleep(0.25)
    backend.inputs["obs"][:] = -1.0
    with pytest.raises(BackendError, match="no answer within 100 ms"):
        backend.run()
    odd.change = lambda request, answer: None
    backend.inputs["obs"][:] = 1.0

    until(lambda: runs(backend))

    np.testing.assert_array_equal(backend.outputs["actions"], right)


def test_hash_that_triton_states_is_compared(
    odd: OddServer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    odd.parameters["policy_sha256"] = 64 * "a"
    model = OipModel(model="tiny", endpoint=f"127.0.0.1:{odd.port}", sha256=64 * "b")
    file = write_rows(onnx, onnx.with_suffix(".oip.npz"), model)

    with pytest.raises(BackendError, match=f"expected sha256 {64 * 'b'}, found {64 * 'a'}"):
        opened(file)


def test_server_that_speaks_another_protocol_is_named(
    onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    """LeRobot's server of policies: gRPC with pickled Python objects, which are never read."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(BackendError, match="pickle"):
            opened(file_for(onnx, port))
    finally:
        server.stop(0).wait()


def test_slow_network_that_loses_packets_gives_each_request_its_own_answer(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    file = artifact(peer, onnx)
    with slow_network(peer.port, delay_s=0.03, jitter_s=0.01, loss=0.05) as port:
        backend = opened(file, endpoint=f"127.0.0.1:{port}", deadline_ms="2000")
        weights = []
        for value in (1.0, -2.0, 3.0, -4.0):
            backend.inputs["obs"][:] = value
            backend.run()
            weights.append(backend.outputs["actions"][0] / value)

    np.testing.assert_allclose(weights, [weights[0]] * 4, rtol=1e-5)


def test_texts_of_a_server_do_not_control_a_terminal(
    peer: Peer, onnx: Path, opened: Callable[..., OipBackend]
) -> None:
    def abort(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.INTERNAL, "\x1b]52;c;cm0=\x07\x1b[2J\rready\nready" * 100)

    class Hostile(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(abort)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Hostile()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with pytest.raises(BackendError) as caught:
            opened(artifact(peer, onnx), endpoint=f"127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
