# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policies behind the WebSocket protocol of openpi's servers.

The client sends images and state, and receives actions. The server handles tokens and
normalization, so the contract has no statistics (`identity`). Answers arrive in order but are not
numbered, so a late answer could be mistaken for the next one; the connection is therefore closed
after a late answer.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.contract import Artifact
from policy_core.bundle.schema import Reader, entry, load_yaml
from policy_core.errors import BackendError, BundleError, PolicyError
from policy_core.interfaces import Tensor
from policy_inference.backends.remote.link import (
    CONNECT_WITHIN_S,
    Arrays,
    LateError,
    LostError,
    RemoteBackend,
    ServerConnection,
)
from policy_inference.backends.remote.msgpack_arrays import packed, unpacked
from policy_inference.machine.machine import Finding, Machine
from policy_store.registry.connection import within

_PACKAGES = "pip install websockets msgpack pillow, or policy_inference[remote]"
_OTHER_BYTES = 1 << 18
"""Maximum number of bytes in an answer besides the chunk (names, times, or an error text), or in
the metadata.
"""
_BYTES_PER_VALUE = 16
"""Bytes per chunk value: float64, and as much again for extra data from the server, such as the
state.
"""
_CLOSE_WITHIN_S = 0.5
_IMAGE_AXES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenpiModel:
    """The artifact for the `openpi` back end, a YAML file: the server's inputs and identity."""

    images: dict[str, str] = entry(
        "map from each of the policy's image keys to the name of the tensor that supplies it; a "
        "dot in a key denotes a nested map",
        default={},
    )
    state: dict[str, str] = entry(
        "map from each of the policy's vector keys to the name of the tensor that supplies it",
        default={},
    )
    prompt: str = entry("the task in words; none if empty", default="")
    prompt_key: str = entry("the policy's key for the prompt", default="prompt")
    actions: str = entry("key of the chunk in the answer", default="actions")
    channels_first: bool = entry(
        "whether images are sent as [3, height, width] instead of [height, width, 3]",
        default=False,
    )
    image_size: int = entry(
        "side (in pixels) of the square to which images are padded with black bars, not stretched, "
        "before they are sent; 0: they are sent unchanged",
        default=0,
        minimum=0,
    )
    metadata: dict[str, str] = entry(
        "entries that the server's metadata must have, to distinguish this policy from others",
        default={},
    )
    endpoint: str = entry("ws://HOST:PORT, unless the option `endpoint` is given", default="")


class PaddedSquare:
    """Pads camera images to a square with black bars, without stretching, as openpi requires.

    The result is identical, pixel for pixel, to `resize_with_pad` in openpi's client.
    """

    def __init__(self, height: int, width: int, size: int) -> None:
        """Set the sizes of the images and of the result, in pixels.

        Raises:
            ImportError: Pillow is not installed.
        """
        from PIL import Image

        self._pillow, self._size, longest = Image, size, max(height, width)
        self._height, self._width = height * size // longest, width * size // longest

    def __call__(self, image: Tensor) -> Tensor:
        """Return an image padded to a square; input and result are uint8 [height, width, 3]."""
        new, how = (self._width, self._height), self._pillow.Resampling.BILINEAR
        small = np.asarray(self._pillow.fromarray(np.ascontiguousarray(image)).resize(new, how))
        square = np.zeros((self._size, self._size, 3), np.uint8)
        top, left = (self._size - self._height) // 2, (self._size - self._width) // 2
        square[top : top + self._height, left : left + self._width] = small
        return square


class OpenpiBackend(RemoteBackend):
    """A policy on a server that speaks openpi's protocol."""

    name = "openpi"
    options: Mapping[str, str] = {
        "endpoint": "ws://HOST:PORT or wss://HOST:PORT of the server",
        "deadline_ms": "longest wait for a chunk; by default, the duration of its steps",
        "prompt": "the task in words, instead of the bundle's",
        "key_file": "file with the API key for a proxy in front of the server",
        "ca_file": "CA certificates that verify the server's (wss), PEM",
        "unproven": "yes: accept whatever policy is served, if the bundle states no metadata",
    }

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> list[Finding]:
        """Check that the packages are installed."""
        try:
            import msgpack
            import websockets.sync.client
        except ImportError as error:
            return [Finding.error("websockets, msgpack", str(error), _PACKAGES)]
        versions = f"{websockets.__version__}, {'.'.join(map(str, msgpack.version))}"
        return [Finding(name="websockets, msgpack", found=versions)]

    def _prepare(self, file: Path) -> None:
        try:
            import msgpack  # noqa: F401  # must be found missing now, not in a run
            import websockets.sync.client  # noqa: F401
        except ImportError as error:
            raise BackendError(f"{self.name}: {error}; {_PACKAGES}") from error
        self.served = _read(file)
        self._check_tensors(self.served)
        self.shrinks = self._make_shrinks(self.served)
        self.where = self._given.get("endpoint", "") or self.served.endpoint
        scheme, _, rest = self.where.partition("://")
        host = rest.partition("/")[0].rpartition(":")[0]
        if scheme not in ("ws", "wss") or not host:
            raise BackendError(
                f"{self.name}: endpoint: expected ws://HOST:PORT or wss://HOST:PORT (such as "
                f"backend_options:={self.name}.endpoint=ws://192.168.1.20:8000), found "
                f"{self.where or 'nothing'}"
            )
        self._require_private(host.strip("[]"), is_encrypted=scheme == "wss", option="key_file")
        self.is_unproven = self._given.get("unproven") == "yes"
        if not self.served.metadata and not self.is_unproven:
            raise BackendError(
                f"{self.file}: metadata: expected entries of the server's metadata that "
                f"distinguish this policy from others, found none; add some, or accept whatever "
                f"policy is served ({self.name}.unproven=yes)"
            )
        self._tls = self._tls_context() if scheme == "wss" else None
        key = self._secret("key_file")
        self._headers = {"Authorization": f"Api-Key {key}"} if key else {}
        self.prompt = self._given.get("prompt", self.served.prompt)

    def _make_shrinks(self, served: OpenpiModel) -> dict[str, PaddedSquare]:
        """Return the image converters by tensor; empty if images are sent unchanged."""
        if not served.image_size:
            return {}
        images = [spec for spec in self.specs[0] if spec.name in served.images.values()]
        try:
            return {
                spec.name: PaddedSquare(spec.shape[2], spec.shape[3], served.image_size)
                for spec in images
            }
        except ImportError as error:
            raise BackendError(f"{self.file}: image_size: {error}; {_PACKAGES}") from error

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(
                cadata=self._read_option("ca_file").decode("ascii", "replace") or None
            )
        except ssl.SSLError as error:
            raise BackendError(
                f"{self.name}: ca_file: expected certificates in PEM, found: {error.reason}"
            ) from error

    def _check_tensors(self, served: OpenpiModel) -> None:
        inputs, outputs = self.specs
        stated = sorted([*served.images.values(), *served.state.values()])
        if stated != sorted(spec.name for spec in inputs) or len(outputs) != 1:
            raise BackendError(
                f"{self.file}: images and state: expected each input of the graph once "
                f"({', '.join(map(str, inputs))}) and one output, found {', '.join(stated)} and "
                f"{len(outputs)} outputs"
            )
        for spec in inputs:
            is_image = spec.dtype == "uint8" and len(spec.shape) == _IMAGE_AXES
            if (spec.name in served.images.values()) != is_image:
                raise BackendError(
                    f"{self.file}: expected images uint8[1, 3, height, width], and vectors "
                    f"of any type except uint8, found {spec}"
                )

    def _connect(self, lose: Callable[[ServerConnection], None]) -> ServerConnection:
        return _OpenpiConnection(self)

    def _largest_answer(self) -> int:
        """Return the maximum size of a server message, in bytes."""
        return _OTHER_BYTES + sum(
            _BYTES_PER_VALUE * math.prod(spec.shape) for spec in self.specs[1]
        )

    def open_socket(self) -> Any:
        """Return a connected WebSocket.

        Raises:
            OSError: The connection failed.
            websockets.exceptions.WebSocketException: The server uses a different protocol.
        """
        from websockets.sync.client import connect

        socket = connect(
            self.where,
            ssl=self._tls,
            additional_headers=self._headers,
            compression=None,
            proxy=None,
            max_size=self._largest_answer(),
            # A busy server does not answer pings, so only the deadline applies.
            ping_interval=None,
            open_timeout=CONNECT_WITHIN_S,
            close_timeout=_CLOSE_WITHIN_S,
        )
        # From websockets 17.1 on, using a connection outside its context causes a warning.
        return socket.__enter__()


class _OpenpiConnection(ServerConnection):
    survives_late = False

    def __init__(self, backend: OpenpiBackend) -> None:
        from websockets.exceptions import WebSocketException

        self._served, self._prompt = backend.served, backend.prompt
        self._shrinks = backend.shrinks
        self._is_unproven, self._metadata = backend.is_unproven, dict[str, Any]()
        self._is_sent = True  # the server begins
        self.inputs, self.outputs = backend.specs
        try:
            self._socket = backend.open_socket()
        except (OSError, WebSocketException) as error:
            text = str(error) or type(error).__name__
            raise BackendError(f"expected a server of openpi, found: {text}") from error
        try:
            found = self._within(CONNECT_WITHIN_S, self._receive)
            if not isinstance(found, dict):
                raise BackendError(f"metadata: expected a map, found {type(found).__name__}")
            self._metadata = found
        except BaseException:
            self.close()
            raise
        policy = "not proven (option unproven)" if self._is_unproven else "as stated in metadata"
        self.details = {"runtime": "openpi protocol", "policy": policy}

    def prove(self, inputs: Arrays, outputs: Arrays) -> None:
        for key, expected in self._served.metadata.items():
            found = self._metadata.get(key, "nothing")
            if str(found) != expected:
                raise BackendError(
                    f"metadata: {key}: expected {expected}, found {found}: another policy is "
                    "served there"
                )
        self.ask(inputs, outputs, 10 * CONNECT_WITHIN_S)

    def ask(self, inputs: Arrays, outputs: Arrays, within_s: float) -> None:
        begun_s, request = time.monotonic(), packed(self._request(inputs))
        self._is_sent = False
        self._take(self._within(within_s, partial(self._exchange, request), begun_s), outputs)

    def close(self) -> None:
        with suppress(TimeoutError):
            within(_CLOSE_WITHIN_S, self._socket.close, self._shut_down)

    def _exchange(self, request: bytes) -> bytes | str:
        try:
            # Nothing was asked yet, so a message would belong to no request.
            self._socket.recv(timeout=0)
        except TimeoutError:
            pass
        else:
            raise LostError("expected no answer before a request, found one")
        self._socket.send(request)
        self._is_sent = True
        return self._receive()

    def _receive(self) -> bytes | str:
        message: bytes | str = self._socket.recv()
        return message

    def _within(
        self, within_s: float, act: Callable[[], bytes | str], begun_s: float | None = None
    ) -> Any:
        """Return the value of the message that `act` returns, or raise an error.

        Each function of a WebSocket can wait longer than its time limit: until the server reads
        what is sent, until it closes a connection with an invalid message, or as long as it sends
        fragments. So the caller waits for another thread instead.

        Args:
            within_s: Time limit for messages in both directions.
            act: Function that sends and receives.
            begun_s: Beginning of the time limit; None for now.
        """
        from websockets.exceptions import WebSocketException

        spent_s = 0.0 if begun_s is None else time.monotonic() - begun_s
        try:
            message = within(max(within_s - spent_s, 0.0), act, self._shut_down)
        except TimeoutError as error:
            text = "no answer" if self._is_sent else "the request was not read"
            raise LateError(f"{text} within {within_s * 1e3:g} ms") from error
        except (OSError, UnicodeError, WebSocketException) as error:
            raise LostError(f"the connection ended: {error}") from error
        if isinstance(message, str):
            last = message.strip().rpartition("\n")[2][:300]
            raise LostError(f"the server failed: {last}")
        try:
            return unpacked(message)
        except PolicyError as error:
            raise LostError(*error.args) from error

    def _shut_down(self) -> None:
        # Not the TLS socket's method: another thread would then continue unencrypted.
        socket.socket.shutdown(self._socket.socket, socket.SHUT_RDWR)

    def _request(self, inputs: Arrays) -> dict[str, Any]:
        request = dict[str, Any]()
        for key, tensor in self._served.images.items():
            image = inputs[tensor][0].transpose(1, 2, 0)
            if tensor in self._shrinks:
                image = self._shrinks[tensor](image)
            _put(request, key, image.transpose(2, 0, 1) if self._served.channels_first else image)
        for key, tensor in self._served.state.items():
            _put(request, key, inputs[tensor][0])
        if self._prompt:
            _put(request, self._served.prompt_key, self._prompt)
        return request

    def _take(self, answer: Any, outputs: Arrays) -> None:
        ((name, chunk),) = outputs.items()
        found = answer.get(self._served.actions) if isinstance(answer, dict) else None
        if not isinstance(found, np.ndarray) or found.shape != chunk.shape[1:]:
            what = f"{found.dtype}{list(found.shape)}" if isinstance(found, np.ndarray) else "none"
            raise BackendError(
                f"answer: {self._served.actions}: expected an array {list(chunk.shape[1:])} for "
                f"{name}, found {what}"
            )
        if found.dtype.kind != "f":
            raise BackendError(
                f"answer: {self._served.actions}: expected floats, found {found.dtype}"
            )
        chunk[0] = found


def _put(into: dict[str, Any], key: str, value: Any) -> None:
    """Write an entry; each dot in the key leads into a nested map."""
    *maps, last = key.split(".")
    for one in maps:
        into = into.setdefault(one, {})
    into[last] = value


def _read(file: Path) -> OpenpiModel:
    try:
        content = load_yaml(file)
        reader = Reader(str(file))
        model = reader.section(OpenpiModel, content, "")
    except (OSError, BundleError) as error:
        text = f"{file}: expected a file of this back end, found: {error}"
        raise BackendError(*text.split("\n")) from error
    if reader.problems:
        raise BackendError(*map(str, reader.problems))
    found: OpenpiModel = model
    return found
