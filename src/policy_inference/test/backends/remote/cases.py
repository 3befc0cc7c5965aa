# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The back end `oip` for the conformance suite, against our own service."""

import atexit
import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest

from policy_inference.backends.remote.oip import OipBackend
from policy_inference.testing.case import BackendCase

from .open_inference_peer import Peer, artifact

HAS_GRPC = find_spec("grpc") is not None
_PEER, _NUMBERS = Peer(), itertools.count()
atexit.register(_PEER.kill)


def _prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_GRPC:
        pytest.skip("grpcio is not installed")
    _PEER.serve()


def _compile(onnx: Path) -> Path:
    return artifact(_PEER, onnx, f"model{next(_NUMBERS)}")


OIP = BackendCase(
    name="oip",
    backend=OipBackend,
    package="grpc",
    prepare=_prepare,
    compile=_compile,
    dtypes=("float32", "float16", "int64", "int32"),
    without_device={"127.0.0.1.*refused": lambda monkeypatch: _PEER.kill()},
    failing_runs={"killed": lambda monkeypatch: _PEER.kill()},
)
