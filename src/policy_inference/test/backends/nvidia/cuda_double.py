# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Doubles of cuda-python's runtime and of pycuda's driver over a `Gpu`.

Written down from cuda-python 12.2 and 13.4 without a driver, and from pycuda's sources of 2026:
names, results, what must be current where.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .gpu import CudaError, Gpu

CUDA_ERRORS = IntEnum(
    "CUDA_ERRORS",
    {  # cudaError_t
        "cudaSuccess": 0,
        "cudaErrorInvalidValue": 1,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorNoDevice": 100,
        "cudaErrorDeviceUninitialized": 201,
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
    "cudaErrorDeviceUninitialized": "invalid device context",
    "cudaErrorLaunchFailure": "unspecified launch failure",
    "cudaErrorStreamCaptureUnsupported": "operation not permitted when stream is capturing",
    "cudaErrorStreamCaptureInvalidated": "operation failed due to a previous error during capture",
}


_WITHOUT_VALUE = {
    "cudaFree",
    "cudaFreeHost",
    "cudaGetLastError",
    "cudaGraphDestroy",
    "cudaGraphExecDestroy",
    "cudaGraphLaunch",
    "cudaMemcpyAsync",
    "cudaSetDevice",
    "cudaStreamBeginCapture",
    "cudaStreamDestroy",
    "cudaStreamSynchronize",
}
_ALWAYS_WORK = {
    "cudaDriverGetVersion",
    "cudaRuntimeGetVersion",
    "cudaGetErrorString",
    "cudaGetLastError",
}


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
    """Return the module `cuda.bindings.runtime`, or `cuda.cudart` of 12.2."""
    module = ModuleType("cuda.cudart" if old else "cuda.bindings.runtime")
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


class PyCudaError(Exception):
    """`pycuda.driver.Error`."""


class _Driver:
    """The functions of `pycuda.driver`: they raise, and need a context that is current."""

    Error = PyCudaError

    def __init__(self, gpu: Gpu, *, primary_context: bool) -> None:
        self._gpu, self._primary_context = gpu, primary_context

    def _done(self, name: str, work: Callable[[], Any], *, context: bool = True) -> Any:
        with self._gpu.lock:
            return self._done_alone(name, work, context=context)

    def _done_alone(self, name: str, work: Callable[[], Any], *, context: bool) -> Any:
        needs, self._gpu.needs_context = self._gpu.needs_context, context
        try:
            self._gpu.enter(name)
            return work()
        except CudaError as fault:
            raise PyCudaError(f"{name} failed: {_TEXTS.get(str(fault), str(fault))}") from None
        finally:
            self._gpu.needs_context = needs

    def init(self) -> None:
        self._done("cuInit", lambda: None, context=False)

    def get_version(self) -> tuple[int, int, int]:
        return (self._gpu.runtime // 1000, self._gpu.runtime % 1000 // 10, 0)

    def get_driver_version(self) -> int:
        return self._gpu.driver

    def Device(self, number: int) -> Any:  # noqa: N802  the vendor's name
        gpu = self._gpu
        device = SimpleNamespace(name=lambda: gpu.name, compute_capability=lambda: gpu.capability)
        if self._primary_context:
            device.retain_primary_context = lambda: _Context(self)
        return self._done("cuDeviceGet", lambda: device, context=False)

    def Stream(self) -> Any:  # noqa: N802  the vendor's name
        handle = self._done("cuStreamCreate", self._gpu.new_stream)
        return SimpleNamespace(
            handle=handle,
            synchronize=lambda: self._done("cuStreamSynchronize", lambda: self._gpu.wait(handle)),
        )

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        _, block = self._done("cuMemHostAlloc", lambda: self._gpu.pin(size))
        return np.frombuffer(block, dtype).reshape(shape)

    def mem_alloc(self, size: int) -> Any:
        return _Allocation(self, self._done("cuMemAlloc", lambda: self._gpu.allocate(size)))

    def memcpy_htod_async(self, to: int, source: Any, stream: Any) -> None:
        self._done(
            "cuMemcpyHtoDAsync",
            lambda: self._gpu.put(
                stream.handle, self._gpu.copy_in(to, source.ctypes.data, source.nbytes)
            ),
        )

    def memcpy_dtoh_async(self, to: Any, source: int, stream: Any) -> None:
        self._done(
            "cuMemcpyDtoHAsync",
            lambda: self._gpu.put(
                stream.handle, self._gpu.copy_out(to.ctypes.data, source, to.nbytes)
            ),
        )

    def push(self) -> None:
        def work() -> None:
            self._gpu.contexts[threading.get_ident()] += 1

        self._done("cuCtxPushCurrent", work, context=False)

    def pop(self) -> None:
        self._gpu.contexts[threading.get_ident()] -= 1
        assert self._gpu.contexts[threading.get_ident()] >= 0

    def free(self, address: int) -> None:
        self._done("cuMemFree", lambda: self._gpu.free(address))


class _Context:
    def __init__(self, driver: _Driver) -> None:
        self.push, self.pop = driver.push, driver.pop


class _Allocation:
    def __init__(self, driver: _Driver, address: int) -> None:
        self._driver, self._address = driver, address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._driver.free(self._address)


def pycuda(gpu: Gpu, *, primary_context: bool = True) -> tuple[ModuleType, ModuleType]:
    """Return the modules `pycuda` and `pycuda.driver`; TensorRT then needs a context too."""
    gpu.needs_context = True
    package, module = ModuleType("pycuda"), ModuleType("pycuda.driver")
    driver = _Driver(gpu, primary_context=primary_context)
    for name in (each for each in dir(driver) if not each.startswith("_")):
        setattr(module, name, getattr(driver, name))
    package.__path__ = []
    vars(package)["driver"] = module
    return package, module
