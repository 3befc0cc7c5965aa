# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the back end `oip` adds to a request, against the least that gRPC's own client does for it.

Both ask the same server, in turns: 45 numbers, and two images of 640 x 480 in float16. The model
takes one number of each input. `python -m bench.remote` measures these figures alone; with a folder
more it is the server.
"""

import logging
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, save

from bench.figures import Figure, Summary, summarise, table
from bench.processes import BenchError, running
from bench.timing import in_turns_us
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.remote.oip import OipBackend
from policy_inference.backends.remote.oip_model import OipModel, write_oip_model
from policy_inference.interfaces import TensorSpec
from policy_inference.open_inference import SERVICE, message_classes
from policy_inference.service.open_inference_server import (
    GraphService,
    GrpcEndpoint,
    OpenInferenceServer,
)

_CASES: Mapping[str, tuple[dict[str, tuple[int, ...]], str, int]] = {
    "floats": ({"obs": (1, 45)}, "float32", 500),
    "images": ({"front": (1, 3, 480, 640), "wrist": (1, 3, 480, 640)}, "float16", 50),
}
"""Inputs, their type, and how often each is asked."""
_REPETITIONS, _WANTED = 5, 1.2


def measure() -> list[Figure]:
    """Measure the ratio of both for each case."""
    try:
        import grpc  # noqa: F401  # the client and the server need it
    except ImportError as error:
        raise BenchError(f"{error}; pip install grpcio") from error
    with tempfile.TemporaryDirectory() as name, _serving(Path(name)) as port:
        return [_figure(case, Path(name), port) for case in _CASES]


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
    ours, baseline = list[Summary](), list[Summary]()
    bare = _BareClient(case, inputs, port)
    with closing(OipBackend(file, inputs, [output])) as backend, closing(bare):
        for _ in range(_REPETITIONS):
            through, beside = in_turns_us(calls, 0.0, [backend.run, bare])
            ours.append(summarise(through))
            baseline.append(summarise(beside))
    return Figure(
        name=f"remote_{case}_ratio", unit="us", ours=ours, baseline=baseline, wanted=_WANTED
    )


class _BareClient:
    """Asks as a program does that knows gRPC and the protocol's messages, and checks nothing."""

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
def _serving(folder: Path) -> Iterator[int]:
    file = folder / "port"
    with running([sys.executable, "-m", "bench.remote", str(folder)]) as child:
        while not file.exists():
            child.check()
            time.sleep(0.01)
        yield int(file.read_text())


def serve(folder: Path) -> None:
    """Serve the model of each case until the process is ended; write the port into the folder."""
    models = dict[str, GraphService]()
    for case, (shapes, dtype, _) in _CASES.items():
        inputs = [TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape in shapes.items()]
        output = TensorSpec(name="first", shape=(len(inputs),), dtype=dtype)
        backend = OnnxBackend(_model(folder / f"{case}.onnx", inputs, output), inputs, [output])
        models[case] = GraphService(name=case, version="", sha256="", backend=backend)
    server = OpenInferenceServer(GrpcEndpoint(place=("127.0.0.1", 0)), models)
    unfinished = folder / "port.unfinished"
    unfinished.write_text(str(server.port))
    unfinished.rename(folder / "port")
    signal.pause()


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
    if len(sys.argv) > 1:
        serve(Path(sys.argv[1]))
    else:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
        logging.getLogger("bench").info("%s", table(measure()))
