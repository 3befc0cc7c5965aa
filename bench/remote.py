# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Time that the back ends `oip` and `openpi` add to a request, against a minimal client.

Both ask the same server, in turns: 45 numbers, and two images of 640 x 480, in float16 by `oip`, in
uint8 by `openpi`. The models return the first numbers of their inputs. `python -m bench.remote`
measures only these figures; with a folder as argument it is the servers.
"""

import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from onnx import TensorProto, helper, save

from bench.figures import Figure, in_turns
from bench.processes import BenchError, running
from policy_core.interfaces import TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model
from policy_inference.backends.remote.openpi import OpenpiBackend
from policy_inference.open_inference import SERVICE, message_classes
from policy_inference.service.open_inference_server import (
    GraphService,
    OpenInferenceServer,
)

_CASES: Mapping[str, tuple[dict[str, tuple[int, ...]], str, int]] = {
    "floats": ({"obs": (1, 45)}, "float32", 500),
    "images": ({"front": (1, 3, 480, 640), "wrist": (1, 3, 480, 640)}, "float16", 50),
}
"""Inputs, their type, and the number of requests."""
_REPETITIONS, _WANTED = 5, 1.2
_CHUNK = TensorSpec(name="actions", shape=(1, 50, 6))
"""Answer of an openpi policy."""


def measure() -> list[Figure]:
    """Measure the ratio of both for each back end and case."""
    try:
        import grpc  # noqa: F401  # the client and the server need them
        import msgpack  # noqa: F401
        import websockets.sync.server  # noqa: F401
    except ImportError as error:
        raise BenchError(f"{error}; pip install grpcio websockets msgpack") from error
    with tempfile.TemporaryDirectory() as name, _serving(Path(name)) as (grpc_port, openpi_port):
        return [
            *(_figure(case, Path(name), grpc_port) for case in _CASES),
            *(_openpi_figure(case, Path(name), openpi_port) for case in _CASES),
        ]


def _figure(case: str, folder: Path, port: int) -> Figure:
    shapes, dtype, calls = _CASES[case]
    inputs = [TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape in shapes.items()]
    output = TensorSpec(name="first", shape=(len(inputs),), dtype=dtype)
    file = folder / f"{case}.oip.npz"
    zeros: dict[str, npt.NDArray[Any]] = {
        spec.name: np.zeros((1, *spec.shape), dtype) for spec in inputs
    }
    model = OipModel(model=case, endpoint=f"127.0.0.1:{port}")
    write_oip_model(file, model, zeros, {"first": np.zeros((1, len(inputs)), dtype)})
    backend, bare = OipBackend(file, inputs, [output]), _BareClient(case, inputs, port)
    with closing(backend), closing(bare):
        return in_turns(
            f"remote_{case}_ratio",
            backend.run,
            bare,
            blocks=_REPETITIONS,
            turns=calls,
            wanted=_WANTED,
        )


def _openpi_figure(case: str, folder: Path, port: int) -> Figure:
    shapes, _, calls = _CASES[case]
    images = [*shapes] if case == "images" else []
    dtype = "uint8" if images else "float32"
    inputs = [TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape in shapes.items()]
    file = folder / f"{case}.openpi.yaml"
    served = {
        "endpoint": f"ws://127.0.0.1:{port}",
        "images": {name: name for name in images},
        "state": {name: name for name in shapes if name not in images},
        "metadata": {"policy": "first"},
    }
    file.write_text(yaml.safe_dump(served))
    backend = OpenpiBackend(file, inputs, [_CHUNK])
    with closing(backend), _bare_openpi(port, backend.inputs) as bare:
        return in_turns(
            f"openpi_{case}_ratio",
            backend.run,
            bare,
            blocks=_REPETITIONS,
            turns=calls,
            wanted=_WANTED,
        )


@contextmanager
def _bare_openpi(port: int, arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[Callable[[], None]]:
    """Request like a program that knows websockets, msgpack and openpi's arrays."""
    import msgpack
    from websockets.sync.client import connect

    seen = {name: array[0] for name, array in arrays.items()}
    seen = {name: one.transpose(1, 2, 0) if one.ndim > 1 else one for name, one in seen.items()}
    where = f"ws://127.0.0.1:{port}"
    with connect(where, compression=None, max_size=None, ping_interval=None, proxy=None) as socket:
        socket.recv()

        def ask() -> None:
            socket.send(msgpack.packb(seen, default=_plain))
            msgpack.unpackb(socket.recv(), object_hook=_array)

        yield ask


def _plain(array: npt.NDArray[Any]) -> dict[bytes, Any]:
    known = {b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}
    return {b"__ndarray__": True, **known}


def _array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in value:
        return value
    return np.ndarray(value[b"shape"], value[b"dtype"], value[b"data"])


class _BareClient:
    """Requests like a program that knows gRPC and the protocol's messages, without checks."""

    def __init__(self, model: str, inputs: list[TensorSpec], port: int) -> None:
        import grpc

        classes = message_classes()
        self._request_class, self._model = classes["ModelInferRequest"], model
        self._arrays = {spec.name: spec.empty() for spec in inputs}
        options = [("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options)
        self._infer = self._channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=self._request_class.SerializeToString,
            response_deserializer=classes["ModelInferResponse"].FromString,
        )
        self._datatypes = {"float32": "FP32", "float16": "FP16"}

    def __call__(self) -> None:
        request = self._request_class(model_name=self._model)
        for name, array in self._arrays.items():
            datatype = self._datatypes[array.dtype.name]
            request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            request.raw_input_contents.append(array.tobytes())
        answer = self._infer(request, timeout=5.0)
        np.frombuffer(answer.raw_output_contents[0], next(iter(self._arrays.values())).dtype)

    def close(self) -> None:
        self._channel.close()


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[int, int]]:
    """Start the servers; yield the ports of gRPC and of openpi."""
    file = folder / "ports"
    with running([sys.executable, "-m", "bench.remote", str(folder)]) as child:
        while not file.exists():
            child.check()
            time.sleep(0.01)
        grpc_port, openpi_port = json.loads(file.read_text())
        yield grpc_port, openpi_port


def serve(folder: Path) -> None:
    """Serve the model of each case until the process is ended; write the ports into the folder."""
    models = dict[str, GraphService]()
    for case, (shapes, dtype, _) in _CASES.items():
        inputs = [TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape in shapes.items()]
        output = TensorSpec(name="first", shape=(len(inputs),), dtype=dtype)
        backend = OnnxBackend(_model(folder / f"{case}.onnx", inputs, output), inputs, [output])
        models[case] = GraphService(name=case, version="", sha256="", backend=backend)
    server = OpenInferenceServer(("127.0.0.1", 0), models)
    with ExitStack() as stack:
        ports = [server.port, stack.enter_context(_openpi_server())]
        unfinished = folder / "ports.unfinished"
        unfinished.write_text(json.dumps(ports))
        unfinished.rename(folder / "ports")
        signal.pause()


@contextmanager
def _openpi_server() -> Iterator[int]:
    """Answer each observation with a chunk of its first number, as openpi's server does."""
    import msgpack
    from websockets.sync.server import ServerConnection, serve

    def handle(connection: ServerConnection) -> None:
        connection.send(msgpack.packb({"policy": "first"}))
        for content in connection:
            seen = msgpack.unpackb(content, object_hook=_array)
            first = next(iter(seen.values())).flat[0]
            chunk = np.full(_CHUNK.shape[1:], first, np.float32)
            connection.send(msgpack.packb({"actions": chunk}, default=_plain))

    with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.socket.getsockname()[1]


def _model(file: Path, inputs: list[TensorSpec], output: TensorSpec) -> Path:
    """Save a model that takes the first number of each input."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(output.dtype))
    nodes = [helper.make_node("Concat", [f"{s.name}_first" for s in inputs], ["first"], axis=0)]
    for spec in inputs:
        nodes.insert(
            0, helper.make_node("Gather", [f"{spec.name}_flat", "0"], [f"{spec.name}_first"])
        )
        nodes.insert(0, helper.make_node("Reshape", [spec.name, "all"], [f"{spec.name}_flat"]))
    graph = helper.make_graph(
        nodes,
        "first",
        [helper.make_tensor_value_info(spec.name, kind, spec.shape) for spec in inputs],
        [helper.make_tensor_value_info("first", kind, output.shape)],
        [
            helper.make_tensor("all", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("0", TensorProto.INT64, [1], [0]),
        ],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
