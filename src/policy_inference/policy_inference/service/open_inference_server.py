# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models behind the Open Inference Protocol over gRPC: tensors in, tensors out.

Requests are stateless: the client keeps the recurrent state, and no robot waits for another robot's
state.
"""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, NoReturn

from policy_core.errors import BackendError, PolicyError
from policy_core.interfaces import Tensor
from policy_inference.backends.base import BackendBase
from policy_inference.open_inference import (
    METHODS,
    POLICY_SHA256,
    SERVICE,
    WireTensors,
    message_bytes,
    message_classes,
)
from policy_inference.peers import listen_tcp
from policy_inference.service.credentials import ServerCertificate

_THREADS = 4
"""Number of threads: enough to answer requests about the server while a model runs."""
_SMALLEST_LIMIT = 1 << 20
"""Lower bound on the maximum message size, bytes."""
_GRACE_S = 1.0
_log = logging.getLogger("policy_inference")


@dataclass(slots=True, kw_only=True, eq=False)
class GraphService:
    """A served model.

    Attributes:
        name: Model name, for clients.
        version: Version of the model, which clients may request.
        sha256: Hash of the model file.
        backend: The opened back end; used by one request at a time.
        inputs: The model's inputs in messages.
        outputs: The model's outputs in messages.
    """

    name: str
    version: str
    sha256: str
    backend: BackendBase
    lock: threading.Lock = field(default_factory=threading.Lock)
    inputs: WireTensors = field(init=False)
    outputs: WireTensors = field(init=False)

    def __post_init__(self) -> None:
        self.inputs, self.outputs = map(WireTensors, self.backend.specs)

    def answers_within(self, time_s: float) -> bool:
        """Wait up to this long for the current inference; return whether the model is free."""
        if not self.lock.acquire(timeout=time_s):
            return False
        self.lock.release()
        return True

    def run(self, write: Callable[[Mapping[str, Tensor]], None]) -> dict[str, Tensor]:
        """Let `write` fill the inputs, run the model, and return copies of the outputs."""
        with self.lock:
            write(self.backend.inputs)
            self.backend.run()
            return {name: array.copy() for name, array in self.backend.outputs.items()}


class OpenInferenceServer:
    """Serves models over the Open Inference Protocol until closed."""

    def __init__(
        self,
        place: tuple[str, int],
        models: Mapping[str, GraphService],
        *,
        certificate: ServerCertificate | None = None,
        token: bytes = b"",
        clients: int = 64,
        failed: Callable[[BackendError], None] = lambda error: None,
    ) -> None:
        """Listen, and start serving.

        Args:
            place: Host and port; port 0 selects a free one.
            models: Models by name; more may be added later.
            certificate: TLS certificate; None for no TLS.
            token: Token that clients must send as `authorization: Bearer TOKEN`; empty for none.
            clients: Maximum number of simultaneous requests.
            failed: Called when a model can no longer answer any client.
        """
        try:
            import grpc

            self._classes = message_classes()
        except ImportError as error:
            raise PolicyError(
                f"--open-inference: {error}; run `pip install grpcio protobuf` or `pip install "
                "'policy_inference[remote]'`"
            ) from error
        self._grpc, self._models, self._failed = grpc, models, failed
        self._token = b"Bearer " + token if token else b""
        self._pool = ThreadPoolExecutor(_THREADS, "open inference")
        self._server = grpc.server(
            self._pool,
            options=[
                ("grpc.max_receive_message_length", self._longest()),
                ("grpc.max_send_message_length", -1),
                # Two services on one port would silently share its clients.
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=clients,
        )
        handlers = {method: self._handler(method) for method in METHODS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.where, self.port = self._listen(place, certificate)
        self._server.start()

    def close(self) -> None:
        self._server.stop(_GRACE_S).wait()
        self._pool.shutdown()

    def _longest(self) -> int:
        lengths = [message_bytes([*one.backend.specs[0]]) for one in self._models.values()]
        return max(_SMALLEST_LIMIT, *lengths) if lengths else _SMALLEST_LIMIT

    def _listen(self, place: tuple[str, int], tls: ServerCertificate | None) -> tuple[str, int]:
        knows_clients = tls is not None and bool(tls.client_ca or self._token)
        where, listening, _ = listen_tcp(
            "--open-inference",
            place,
            needs_secret=not knows_clients,
            remedy="add --tls-cert and --tls-key, and --tls-client-ca or --token-file",
        )
        port: int = listening.getsockname()[1]
        listening.close()  # gRPC opens its own socket
        try:
            if tls is not None:
                credentials = self._grpc.ssl_server_credentials(
                    [(tls.key, tls.chain)], tls.client_ca, tls.client_ca is not None
                )
                self._server.add_secure_port(where, credentials)
            else:
                self._server.add_insecure_port(where)
        except RuntimeError as error:
            raise PolicyError(
                f"--open-inference {where}: expected an available address and a free port, "
                f"found: {error}"
            ) from error
        return where, port

    def _handler(self, method: str) -> Any:
        answer: Callable[[Any, Any, Any], None] = {
            "ServerLive": lambda request, context, into: setattr(into, "live", True),
            "ServerReady": lambda request, context, into: setattr(into, "ready", True),
            "ServerMetadata": self._describe_server,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._describe_model,
            "ModelInfer": self._infer,
        }[method]
        response = self._classes[f"{method}Response"]

        def handle(request: Any, context: Any) -> Any:
            self._require_allowed(context)
            into = response()
            answer(request, context, into)
            return into

        return self._grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=self._classes[f"{method}Request"].FromString,
            response_serializer=response.SerializeToString,
        )

    def _require_allowed(self, context: Any) -> None:
        if not self._token:
            return
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(given.encode(), self._token):
            self._refuse(
                context,
                "UNAUTHENTICATED",
                "expected `authorization: Bearer` with the token of this service, found "
                + ("a different one" if given else "none"),
            )

    def _describe_server(self, request: Any, context: Any, into: Any) -> None:
        into.name, into.version = "policy_inference", version("policy_inference")

    def _model_ready(self, request: Any, context: Any, into: Any) -> None:
        into.ready = not self._model(request.name, request.version, context).backend.problem()

    def _describe_model(self, request: Any, context: Any, into: Any) -> None:
        model = self._model(request.name, request.version, context)
        into.name, into.platform = model.name, f"policy_inference {model.backend.name}"
        if model.version:
            into.versions.append(model.version)
        model.inputs.describe(into.inputs)
        model.outputs.describe(into.outputs)

    def _infer(self, request: Any, context: Any, into: Any) -> None:
        model = self._model(request.model_name, request.model_version, context)

        def write(inputs: Mapping[str, Tensor]) -> None:
            left_s = context.time_remaining()
            if left_s is not None and left_s <= 0.0:
                self._refuse(context, "DEADLINE_EXCEEDED", "the client's deadline has passed")
            model.inputs.read(request.inputs, request.raw_input_contents, inputs)

        outputs: Mapping[str, Tensor] = {}
        try:
            outputs = model.run(write)
        except BackendError as error:
            if (problem := model.backend.problem()) and not model.backend.is_remote:
                self._failed(BackendError(problem))
            self._refuse(context, "INTERNAL", str(error))
        except PolicyError as error:
            self._refuse(context, "INVALID_ARGUMENT", f"model {model.name}: {error}")
        asked = {one.name for one in request.outputs} or {*outputs}
        if unknown := ", ".join(sorted(asked - {*outputs})):
            self._refuse(
                context,
                "INVALID_ARGUMENT",
                f"model {model.name}: expected only outputs from [{', '.join(outputs)}], "
                f"found {unknown}",
            )
        into.model_name, into.model_version, into.id = model.name, model.version, request.id
        into.parameters[POLICY_SHA256].string_param = model.sha256
        model.outputs.describe(into.outputs, asked)
        model.outputs.write(into.raw_output_contents, outputs, asked)

    def _model(self, name: str, wanted: str, context: Any) -> GraphService:
        model = self._models.get(name)
        if model is None:
            self._refuse(
                context,
                "NOT_FOUND",
                f"expected a model among {', '.join(self._models) or 'none'}, found {name!r}",
            )
        elif wanted not in ("", model.version):
            self._refuse(
                context,
                "NOT_FOUND",
                f"model {name}: expected version {model.version or 'none'}, found {wanted!r}",
            )
        assert model is not None
        return model

    def _refuse(self, context: Any, code: str, text: str) -> NoReturn:
        _log.debug("refused %s: %s: %s", context.peer(), code, text)
        context.abort(getattr(self._grpc.StatusCode, code), text)
        raise AssertionError("abort raises")
