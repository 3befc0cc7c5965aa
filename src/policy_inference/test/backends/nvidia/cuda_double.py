# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A double of cuda-python's runtime over a `Gpu`.

Written down from cuda-python 12.2 and 13.4 without a driver: names and results.
"""

from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

from .gpu import CudaError, Gpu

CUDA_ERRORS = IntEnum(
    "CUDA_ERRORS",
    {  # cudaError_t
        "cudaSuccess": 0,
        "cudaErrorInvalidValue": 1,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorInvalidResourceHandle": 400,
        "cudaErrorLaunchFailure": 719,
        "cudaErrorStreamCaptureUnsupported": 900,
        "cudaErrorStreamCaptureInvalidated": 901,
    },
)
_TEXTS = {
    "cudaErrorInvalidValue": "invalid argument",
    "cudaErrorMemoryAllocation": "out of memory",
    "cudaErrorInsufficientDriver": "CUDA driver version is insufficient for CUDA runtime version",
    "cudaErrorNoDevice": "no CUDA-capable device is detected",
    "cudaErrorLaunchFailure": "unspecified launch failure",
    "cudaErrorStreamCaptureUnsupported": "operation not permitted when stream is capturing",
    "cudaErrorStreamCaptureInvalidated": "operation failed due to a previous error during capture",
}

_SILENT = (
    "Free FreeHost GetLastError GraphDestroy GraphExecDestroy GraphLaunch MemcpyAsync SetDevice "
    "StreamBeginCapture StreamDestroy StreamSynchronize"
)
_WITHOUT_VALUE = {f"cuda{name}" for name in _SILENT.split()}
_ANY_TIME = "DriverGetVersion RuntimeGetVersion GetErrorString GetLastError"
_ALWAYS_WORK = {f"cuda{name}" for name in _ANY_TIME.split()}
_WORK_FIRST = {"cudaStreamEndCapture"}
"""A recording has ended also where that is an error."""


class _Stream:
    """`cudaStream_t`: no number, but turned into one by `int`; functions take either."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __int__(self) -> int:
        return self._handle


class _Runtime:
    """What the functions of cuda-python's runtime do, by name."""

    def __init__(self, gpu: Gpu, *, old: bool) -> None:
        self._gpu, self._old = gpu, old
        major, minor = gpu.capability
        self.functions: dict[str, Callable[..., Any]] = {
            "cudaGetDeviceCount": lambda: 1,
            "cudaSetDevice": lambda device: None,
            "cudaGetDeviceProperties": lambda device: SimpleNamespace(
                name=gpu.name.encode(), major=major, minor=minor
            ),
            "cudaDriverGetVersion": lambda: gpu.driver,
            "cudaRuntimeGetVersion": lambda: gpu.runtime,
            "cudaGetErrorString": lambda error: _TEXTS.get(error.name, error.name).encode(),
            "cudaGetLastError": lambda: None,
            "cudaMalloc": gpu.allocate,
            "cudaFree": gpu.free,
            "cudaHostAlloc": lambda size, flags: gpu.pin(size)[0],
            "cudaFreeHost": gpu.unpin,
            "cudaStreamCreateWithFlags": lambda flags: _Stream(gpu.new_stream()),
            "cudaStreamDestroy": lambda stream: gpu.streams.pop(int(stream)),
            "cudaStreamSynchronize": lambda stream: gpu.wait(int(stream)),
            "cudaMemcpyAsync": self._copy,
            "cudaStreamBeginCapture": self._begin,
            "cudaStreamEndCapture": self._end,
            "cudaGraphInstantiateWithFlags": lambda graph, flags: list(graph),
            "cudaGraphDestroy": lambda graph: graph.clear(),
            "cudaGraphExecDestroy": lambda executable: executable.clear(),
            "cudaGraphLaunch": self._launch,
        }

    def function(self, name: str) -> Callable[..., tuple[Any, ...]]:
        """Return the function: its result is a tuple that begins with the error."""
        act, empty = self.functions[name], name in _WITHOUT_VALUE

        def done(*args: Any) -> tuple[Any, ...]:
            try:
                if name in _WORK_FIRST:
                    value = act(*args)
                if name not in _ALWAYS_WORK:
                    self._gpu.enter(name)
                if name not in _WORK_FIRST:
                    value = act(*args)
            except CudaError as fault:
                if self._old and str(fault) == "cudaErrorInsufficientDriver":
                    raise RuntimeError("Failed to dlopen libcuda.so.1") from None
                code = CUDA_ERRORS[str(fault)]
                return (code,) if empty else (code, None)
            return (CUDA_ERRORS.cudaSuccess,) if empty else (CUDA_ERRORS.cudaSuccess, value)

        def call(*args: Any) -> tuple[Any, ...]:
            with self._gpu.lock:
                return done(*args)

        return call

    def _copy(self, to: int, source: int, size: int, kind: str, stream: _Stream) -> None:
        make = self._gpu.copy_in if kind == "in" else self._gpu.copy_out
        self._gpu.put(int(stream), make(to, source, size))

    def _begin(self, stream: _Stream, mode: str) -> None:
        assert mode == "this thread"
        self._gpu.streams[int(stream)].recorded = []

    def _end(self, stream: _Stream) -> list[Any] | None:
        found = self._gpu.streams[int(stream)]
        recorded, found.recorded = found.recorded, None
        return recorded

    def _launch(self, executable: list[Any], stream: _Stream) -> None:
        assert executable, "a graph that was destroyed"
        for operation in executable:
            self._gpu.put(int(stream), operation)


def cuda_python(gpu: Gpu, *, old: bool = False) -> ModuleType:
    """Return the module `cuda.bindings.runtime`; an old one raises where the driver is missing."""
    module = ModuleType("cuda.bindings.runtime")
    runtime = _Runtime(gpu, old=old)
    vars(module).update({function: runtime.function(function) for function in runtime.functions})
    vars(module).update(
        cudaError_t=CUDA_ERRORS,
        cudaStreamNonBlocking=1,
        cudaHostAllocDefault=0,
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out"),
        cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal="this thread"),
    )
    return module
