# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `tensorrt` back end: runs models with TensorRT on an NVIDIA GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_core.bundle.contract import Artifact
from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.tensorrt.device import Device, GraphError
from policy_inference.backends.tensorrt.examination import examine_gpu, read_gpu
from policy_inference.backends.tensorrt.library import TensorRtLog, load_tensorrt, trt_log
from policy_inference.backends.tensorrt.plans import OPTIONS, EngineOptions, find_plan
from policy_inference.machine.machine import Finding, Machine

_log = logging.getLogger("policy_inference")
# Types that a contract can state, by TensorRT's names.
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64"}


class TensorRtBackend(BackendBase):
    """Runs an engine on the first GPU: page-locked arrays, one stream, asynchronous copies.

    Opens either an ONNX file, from which it builds an engine that it caches in the user's cache
    folder, or a plan with its JSON file next to it.
    """

    name = "tensorrt"
    builds_from = "onnx"
    options = OPTIONS

    _device: Device | None = None
    _runtime: Any = None
    _engine: Any = None
    _context: Any = None
    _enqueue: Callable[[], None] | None = None

    @classmethod
    def check_options(cls, given: Mapping[str, str]) -> None:
        super().check_options(given)
        EngineOptions.read(given)

    @classmethod
    def read_device(cls, machine: Machine) -> Mapping[str, str]:
        """Return the load, clock and temperature of a Jetson's GPU, and the module's power."""
        return read_gpu(machine)

    @classmethod
    def examine(cls, machine: Machine, artifact: Artifact | None) -> Sequence[Finding]:
        """Return findings about the GPU, the driver, the libraries, the clocks and the engine."""
        return list(examine_gpu(machine, artifact))

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        self._engine_options = EngineOptions.read(self._given)
        trt = load_tensorrt()
        self._said = trt_log(trt)
        self._device = device = Device()
        plan, origin = find_plan(
            trt,
            self._said,
            device,
            self._engine_options,
            self.file,
            content=file,
            precision=self._precision,
            inputs=self.specs[0],
        )
        self._runtime, self._engine = _loaded(trt, self._said, plan, file)
        tensors = _tensors(trt, self._engine, file)
        mode = trt.TensorIOMode.INPUT
        details = {
            "runtime": f"TensorRT {trt.__version__}",
            "device": f"{device.gpu} (compute capability {device.compute_capability})",
            "precision": self._precision,
            "engine": origin,
            "cuda": f"cuda-python {device.cuda}, driver {device.driver}",
        }
        return (
            [spec for spec, kind in tensors if kind == mode],
            [spec for spec, kind in tensors if kind != mode],
            details,
        )

    def _array(self, spec: TensorSpec) -> Tensor:
        return self._opened().host(spec)

    def _bind(self) -> None:
        device = self._opened()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failure(
                "create_execution_context returned none: memory is full; stop other programs, or "
                "set a smaller workspace_mib"
            )
        uploads, downloads = self._addressed(device)
        self._enqueue, graph = self._with_graph(device, self._enqueuer(uploads, downloads))
        self.details = {**self.details, "cuda_graph": graph}
        self._said.forget()  # messages from opening do not explain a failed run

    def _addressed(
        self, device: Device
    ) -> tuple[list[Callable[[], None]], list[Callable[[], None]]]:
        """Bind each tensor's shape and memory; return the copies to and from the GPU."""
        places = {
            name: device.allocate(array.nbytes)
            for name, array in {**self.inputs, **self.outputs}.items()
        }
        for name, array in self.inputs.items():
            self._require(self._context.set_input_shape(name, array.shape), f"the shape of {name}")
        for name, array in self.outputs.items():
            found = tuple(self._context.get_tensor_shape(name))
            if found != array.shape:
                raise BackendError(
                    f"{self.file}: output {name}: expected {list(array.shape)} as "
                    f"in policy.yaml, found {list(found)}; export the model with "
                    "the expected sizes"
                )
        for name, address in places.items():
            self._require(self._context.set_tensor_address(name, address), f"the address of {name}")
        return (
            [device.upload(array, places[name]) for name, array in self.inputs.items()],
            [device.download(places[name], array) for name, array in self.outputs.items()],
        )

    def _enqueuer(
        self, uploads: list[Callable[[], None]], downloads: list[Callable[[], None]]
    ) -> Callable[[], None]:
        execute, stream = self._context.execute_async_v3, self._opened().stream

        def enqueue() -> None:
            for copy in uploads:
                copy()
            if not execute(stream):
                raise self._failure("execute_async_v3 failed")
            for copy in downloads:
                copy()

        return enqueue

    def _with_graph(
        self, device: Device, enqueue: Callable[[], None]
    ) -> tuple[Callable[[], None], str]:
        """Record a run as a CUDA graph if requested; return the enqueue function and a remark."""
        if self._engine_options.cuda_graph == "no":
            return enqueue, "no"
        enqueue()  # the first run makes preparations that cannot be recorded
        device.synchronise()
        try:
            recorded = device.record(enqueue)
            recorded()
            device.synchronise()
        except GraphError as error:
            if self._engine_options.cuda_graph == "yes":
                raise BackendError(
                    f"tensorrt: option cuda_graph: expected a model whose run can "
                    f"be captured, found: {error}; set cuda_graph to auto"
                ) from error
            # Only the text: a handler that keeps records would keep the engine alive with the
            # error.
            _log.info("runs without a CUDA graph: %s", str(error))
            return enqueue, f"no: {error}"
        return recorded, "yes"

    def _run(self) -> None:
        device, enqueue = self._device, self._enqueue
        assert device is not None
        assert enqueue is not None
        enqueue()
        device.synchronise()

    def _close(self) -> None:
        # In this order: each needs the one after it.
        self._enqueue = None
        self._context = None
        self._engine = None
        self._runtime = None
        if self._device is not None:
            self._device.close()

    def _opened(self) -> Device:
        assert self._device is not None
        return self._device

    def _require(self, worked: bool, what: str) -> None:
        if not worked:
            raise self._failure(f"TensorRT does not accept {what}")

    def _failure(self, what: str) -> BackendError:
        return BackendError(f"tensorrt: {self.file}: {what}{self._said.reasons()}")


def _loaded(trt: Any, said: TensorRtLog, plan: bytes, file: Path) -> tuple[Any, Any]:
    runtime = said.made(trt.Runtime)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BackendError(
            f"{file}: expected a plan that TensorRT {trt.__version__} loads on this "
            f"GPU, found one that it rejects{said.reasons()}; delete the plan, and build it "
            "here from the ONNX file"
        )
    return runtime, engine


def _tensors(trt: Any, engine: Any, file: Path) -> list[tuple[TensorSpec, Any]]:
    """Return each tensor (-1 for dynamic axes) and its mode, input or output."""
    found = []
    for place in range(engine.num_io_tensors):
        name = engine.get_tensor_name(place)
        dtype = engine.get_tensor_dtype(name)
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise BackendError(
                f"{file}: tensor {name}: expected a data tensor, found a shape tensor; export "
                "the model with fixed sizes"
            )
        if dtype.name not in _DTYPES:
            raise BackendError(
                f"{file}: tensor {name}: expected one of {', '.join(_DTYPES)}, found {dtype.name}"
            )
        shape = tuple(int(axis) for axis in engine.get_tensor_shape(name))
        spec = TensorSpec(name=name, shape=shape, dtype=_DTYPES[dtype.name])
        found.append((spec, engine.get_tensor_mode(name)))
    return found
