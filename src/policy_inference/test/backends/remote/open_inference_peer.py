# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The server of `serve --open-inference` in another process, which loads ONNX files on request.

Run with a port, it reads lines `NAME FILE` and answers each with one line.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from policy_core.bundle.verified import sha256_file
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model
from policy_inference.service.open_inference_server import GraphService, OpenInferenceServer

ROWS = 4


class Peer:
    """A server that can be killed, stopped and started again, always on the same port."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self._loaded = dict[str, Path]()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def serve(self) -> None:
        """Start, unless it runs, with all that it served before."""
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said()
        for name, file in self._loaded.items():
            if file.exists():
                self._load(name, file)

    def load(self, name: str, file: Path) -> None:
        """Serve a file; one of the same name is replaced."""
        self._loaded[name] = file
        self.serve()
        self._load(name, file)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _load(self, name: str, file: Path) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        print(name, file, file=self._process.stdin, flush=True)
        self._said()

    def _said(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"


def closed(specs: list[TensorSpec]) -> list[TensorSpec]:
    """Return specs whose open axes have size 1."""
    return [replace(one, shape=tuple(max(1, size) for size in one.shape)) for one in specs]


def write_rows(onnx: Path, file: Path, model: OipModel) -> Path:
    session, rng = onnxruntime.InferenceSession(str(onnx)), np.random.default_rng(7)
    inputs, outputs = ([*specs] for specs in OnnxBackend.tensors(onnx))
    rows: list[dict[str, Tensor]] = []
    for _ in range(ROWS):
        given = {
            one.name: (10 * rng.normal(size=one.shape)).astype(one.dtype) for one in closed(inputs)
        }
        names = [one.name for one in outputs]
        rows.append({**given, **dict(zip(names, session.run(names, given), strict=True))})
    of_all = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    write_oip_model(
        file,
        model,
        {one.name: of_all[one.name] for one in inputs},
        {one.name: of_all[one.name] for one in outputs},
    )
    return file


def artifact(peer: Peer, onnx: Path, name: str = "tiny", **changed: object) -> Path:
    """Serve an ONNX file, and write the artifact of the back end beside it."""
    peer.load(name, onnx)
    model = OipModel(model=name, endpoint=peer.endpoint, sha256=sha256_file(onnx))
    file = onnx.with_suffix(".oip.npz")
    return write_rows(onnx, file, replace(model, **changed))  # type: ignore[arg-type]


def serve_models(port: int) -> None:
    models = dict[str, GraphService]()
    server = OpenInferenceServer(("127.0.0.1", port), models)
    sys.stdout.write("done\n")
    sys.stdout.flush()
    for line in sys.stdin:
        name, _, path = line.strip().partition(" ")
        file = Path(path)
        inputs, outputs = (closed([*specs]) for specs in OnnxBackend.tensors(file))
        models[name] = GraphService(
            name=name,
            version="1.0.0",
            sha256=sha256_file(file),
            backend=OnnxBackend(file, inputs, outputs),
        )
        sys.stdout.write("done\n")
        sys.stdout.flush()
    server.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve_models(int(sys.argv[1]))
    os._exit(0)
