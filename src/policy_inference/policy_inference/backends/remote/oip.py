# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models behind the Open Inference Protocol: Triton, KServe, OpenVINO Model Server, our service.

This module uses grpcio directly. The package tritonclient is a layer on top of grpcio, with its own
copy of the messages and its own version limits, and adds nothing that is needed here.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError, PolicyError
from policy_core.interfaces import Tensor
from policy_inference.backends.remote.link import (
    CONNECT_WITHIN_S,
    PROOF_WITHIN_S,
    Arrays,
    LateError,
    LostError,
    RemoteBackend,
    ServerConnection,
)
from policy_inference.backends.remote.oip_model import OipModel, read_oip_model
from policy_inference.machine.machine import Finding, Machine
from policy_inference.open_inference import (
    METHODS,
    MODEL_CONFIG,
    POLICY_SHA256,
    SERVICE,
    WireTensors,
    described,
    message_bytes,
    message_classes,
)

_PACKAGES = "pip install grpcio protobuf, or policy_inference[remote]"
_OTHER_PROTOCOL = (
    "expected the Open Inference Protocol, found a gRPC server without it (LeRobot's policy server "
    "is not supported: it exchanges pickled Python objects, which lets each side execute arbitrary "
    "code in the other); serve the policy with openpi's protocol (backend:=openpi), or its "
    "exported graphs with `policy_inference serve --open-inference`"
)
_NEVER_MS = 2**31 - 1
_LARGEST_METADATA = 1 << 20
_WATCH_ENDS_S = 1.0


class OipBackend(RemoteBackend):
    """A model on a server that speaks the Open Inference Protocol over gRPC."""

    name = "oip"
    options: Mapping[str, str] = {
        "endpoint": "HOST:PORT of the gRPC server",
        "deadline_ms": "longest wait for an answer; by default, what the policy's rate allows",
        "token_file": "file with a token to send with each request",
        "token_header": "header for the token; `authorization: Bearer TOKEN` if absent",
        "tls": "yes or no (default)",
        "ca_file": "CA certificates that verify the server's, PEM; gRPC's own if absent",
        "cert_file": "certificate of this client, PEM",
        "key_file": "private key of this client's certificate, PEM",
    }

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        """Check option names, and options that depend on each other."""
        super().check_options(given)
        if (found := given.get("tls", "no")) not in ("yes", "no"):
            raise BackendError(f"{cls.name}: tls: expected yes or no, found {found!r}")
        if given.get("tls") != "yes" and {"ca_file", "cert_file", "key_file"} & given.keys():
            raise BackendError(
                f"{cls.name}: ca_file, cert_file, key_file: expected tls=yes with these options"
            )
        if ("cert_file" in given) != ("key_file" in given):
            raise BackendError(f"{cls.name}: expected both cert_file and key_file, or neither")

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> list[Finding]:
        """Check that the packages are installed."""
        try:
            import grpc

            message_classes()
        except ImportError as error:
            return [Finding.error("grpcio", str(error), _PACKAGES)]
        return [Finding(name="grpcio", found=grpc.__version__)]

    def _prepare(self, file: Path) -> None:
        try:
            import grpc

            message_classes()
        except ImportError as error:
            raise BackendError(f"{self.name}: {error}; {_PACKAGES}") from error
        self._model, self._golden_inputs, self._golden_outputs = read_oip_model(file)
        self.where = self._given.get("endpoint", "") or self._model.endpoint
        host, _, port = self.where.rpartition(":")
        if not host or not port.isdecimal():
            raise BackendError(
                f"{self.name}: endpoint: expected HOST:PORT (such as backend_options:="
                f"{self.name}.endpoint=192.168.1.20:8001), found {self.where or 'nothing'}"
            )
        is_encrypted = self._given.get("tls") == "yes"
        self._require_private(host.strip("[]"), is_encrypted=is_encrypted, option="token_file")
        self._headers, self._credentials = [], None
        if token := self._secret("token_file"):
            header = self._given.get("token_header", "")
            self._headers = [(header.lower(), token) if header else _bearer(token)]
        if is_encrypted:
            self._credentials = grpc.ssl_channel_credentials(
                *(self._read_option(name) or None for name in ("ca_file", "key_file", "cert_file"))
            )

    def _connect(self, lose: Callable[[ServerConnection], None]) -> ServerConnection:
        return _OipConnection(self, lose)

    @property
    def served(self) -> OipModel:
        return self._model

    def golden(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Return the inputs and reference outputs for verifying servers, by tensor [rows, *shape].

        Raises:
            BackendError: The rows do not match the contract's tensors.
        """
        for specs, rows in zip(
            self.specs, (self._golden_inputs, self._golden_outputs), strict=True
        ):
            expected = {spec.name: (spec.shape, spec.dtype) for spec in specs}
            found = {name: (array.shape[1:], array.dtype.name) for name, array in rows.items()}
            if found != expected:
                raise BackendError(
                    f"{self.file}: expected rows of {', '.join(map(str, specs))}, found "
                    + ", ".join(f"{n} {dtype}{[*shape]}" for n, (shape, dtype) in found.items())
                )
        return self._golden_inputs, self._golden_outputs

    def channel(self) -> Any:
        """Return a gRPC channel that is not connected yet."""
        import grpc

        largest = max(message_bytes(self.specs[1]), _LARGEST_METADATA)
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", largest),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.client_idle_timeout_ms", _NEVER_MS),
            # Otherwise a new channel first waits for an old channel's reconnection pause to end.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._credentials is None:
            return grpc.insecure_channel(self.where, options)
        return grpc.secure_channel(self.where, self._credentials, options)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return self._headers


class _OipConnection(ServerConnection):
    def __init__(self, backend: OipBackend, lose: Callable[[ServerConnection], None]) -> None:
        import grpc

        self._backend, self._served, self._lose = backend, backend.served, lose
        self._session, self._number = secrets.token_hex(4), 0
        self._version, self._sha256 = self._served.version, self._served.sha256
        self._is_closed = self._is_watched = False
        self._ready = grpc.ChannelConnectivity.READY
        self._channel = backend.channel()
        classes = message_classes()
        self._methods = {
            method: self._channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=classes[f"{method}Request"].SerializeToString,
                response_deserializer=classes[f"{method}Response"].FromString,
            )
            for method in (*METHODS, MODEL_CONFIG)
        }
        self._new_request = classes["ModelInferRequest"]
        self._template = self._new_request(
            model_name=self._served.model, model_version=self._served.version
        )
        self._wire_inputs, self._wire_outputs = map(WireTensors, backend.specs)
        self._wire_inputs.describe(self._template.inputs)
        try:
            self._look()
            self._is_watched = True
            self._channel.subscribe(self._changed)
        except BaseException:
            self.close()
            raise

    def ask(self, inputs: Arrays, outputs: Arrays, within_s: float) -> None:
        self._number += 1
        # A new message each time, since a message keeps the memory of its old content.
        request = self._new_request()
        request.CopyFrom(self._template)
        request.id = f"{self._session}-{self._number}"
        self._wire_inputs.write(request.raw_input_contents, inputs)
        answer = self._call("ModelInfer", request, within_s)
        self._require_own(answer, request.id)
        try:
            self._wire_outputs.read(answer.outputs, answer.raw_output_contents, outputs)
        except PolicyError as error:
            raise BackendError(f"answer {request.id}: {error}") from error

    def prove(self, inputs: Arrays, outputs: Arrays) -> None:
        rows, expected = self._backend.golden()
        worst, where = 0.0, ""
        for number in range(len(next(iter(rows.values())))):
            for name, array in inputs.items():
                array[...] = rows[name][number]
            self.ask(inputs, outputs, PROOF_WITHIN_S)
            for name, array in outputs.items():
                wrong = _difference(array, expected[name][number], expected[name])
                if not wrong <= worst:
                    worst, where = wrong, f"{name} in row {number}"
        if not worst <= self._served.tolerance:
            raise BackendError(
                f"model {self._served.model}: expected answers within {self._served.tolerance:g} "
                f"of the reference (relative to its largest value), found {worst:.3g} for {where}:"
                " another model is served under this name; serve the right one, or compile the "
                "bundle again"
            )

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_watched:
            self._channel.close()
            return
        self._channel.unsubscribe(self._changed)
        # gRPC's watcher thread, which ends soon, raises an exception if its channel is closed
        # before.
        timer = threading.Timer(_WATCH_ENDS_S, self._channel.close)
        timer.daemon = True
        timer.start()

    def _look(self) -> None:
        """Check that the server has the required model.

        Raises:
            BackendError: The server has a different model.
        """
        served, classes = self._served, message_classes()
        if not self._call("ServerReady", classes["ServerReadyRequest"](), CONNECT_WITHIN_S).ready:
            raise BackendError("expected a ready server, found one that is not ready yet")
        of_model = {"name": served.model, "version": served.version}
        named = f"model {served.model}" + (f" version {served.version}" if served.version else "")
        try:
            ready = self._call("ModelReady", classes["ModelReadyRequest"](**of_model))
            found = self._call("ModelMetadata", classes["ModelMetadataRequest"](**of_model))
        except LostError:
            raise
        except BackendError as error:
            raise BackendError(f"expected {named}, found: {error}") from error
        if not ready.ready:
            raise BackendError(f"expected {named} to be ready, found it not loaded")
        if served.version and found.versions and served.version not in found.versions:
            raise BackendError(f"expected {named}, found versions {', '.join(found.versions)}")
        try:
            self.inputs, self.outputs = described(found.inputs), described(found.outputs)
        except PolicyError as error:
            raise BackendError(f"{named}: {error}") from error
        self._check_config(classes["ModelConfigRequest"](**of_model))
        self.details = {"runtime": found.platform or "unknown", "model": named}

    def _check_config(self, request: Any) -> None:
        """Check the hash in the model's Triton parameters, if they contain one."""
        try:
            parameters = self._call(MODEL_CONFIG, request).config.parameters
        except LostError:
            raise
        except BackendError:  # other servers lack this method
            return
        if POLICY_SHA256 in parameters:
            self._check_hash(parameters[POLICY_SHA256].string_value)

    def _call(self, method: str, request: Any, within_s: float = PROOF_WITHIN_S) -> Any:
        import grpc

        try:
            return self._methods[method](request, timeout=within_s, metadata=self._backend.headers)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
        except ValueError as error:  # the channel was closed meanwhile
            raise LostError(self.lost or str(error)) from error
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise LateError(f"{method}: no answer within {within_s * 1e3:g} ms")
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise LostError(f"{method}: {details}")
        if method == "ServerReady" and code is grpc.StatusCode.UNIMPLEMENTED:
            raise BackendError(_OTHER_PROTOCOL)
        raise BackendError(f"{method}: {code.name}: {details}")

    def _require_own(self, answer: Any, number: str) -> None:
        """Raise an error unless an answer is for this request and from the verified model."""
        if answer.id != number:
            raise LostError(
                f"expected the answer to request {number}, found one to {answer.id or 'none'!r}: "
                "the server mixes up the answers to its requests"
            )
        for what, expected, found in (
            ("model", self._served.model, answer.model_name),
            ("version", self._version, answer.model_version),
        ):
            if expected and found and found != expected:
                raise LostError(
                    f"expected an answer from {what} {expected}, found one from {found}"
                )
        self._version = self._version or answer.model_version
        if POLICY_SHA256 in answer.parameters:
            self._check_hash(answer.parameters[POLICY_SHA256].string_param)

    def _check_hash(self, found: str) -> None:
        """Raise an error unless a hash is the file's or, if that is unknown, the first reported."""
        if self._sha256 and found != self._sha256:
            raise LostError(
                f"model {self._served.model}: expected sha256 {self._sha256}, found {found}: "
                "serve the right model, or compile the bundle again"
            )
        self._sha256 = found

    def _changed(self, state: Any) -> None:
        """Abandon a disconnected channel, which would reconnect on its own without verification."""
        if state is not self._ready and not self._is_closed:
            self.lost = "the connection ended"
            self._lose(self)


def _bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def _difference(found: Tensor, expected: Tensor, all_rows: Tensor) -> float:
    """Return the largest difference relative to the largest of `all_rows`; NaN for NaN values."""
    largest = max(float(np.abs(all_rows.astype(np.float64)).max(initial=0.0)), 1e-6)
    wrong = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    return float(wrong.max(initial=0.0)) / largest
