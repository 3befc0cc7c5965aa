# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Doubles of cuda-python's runtime and of pycuda's driver over a `Gpu`.

Recorded from cuda-python 13.4 and pycuda 2026.1: names, results, what must be current where.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from .gpu import CudaFault, Gpu


class cudaError_t(IntEnum):  # noqa: N801  the vendor's name
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorDeviceUninitialized = 201
    cudaErrorInvalidResourceHandle = 400
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901


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


class _Runtime:
    """The functions of cuda-python's runtime: each returns a tuple that begins with the error."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._graphs: list[Any] = []

    def _result(self, name: str, work: Callable[[], Any]) -> tuple[Any, ...]:
        try:
            self._gpu.enter(name)
            value = work()
        except CudaFault as fault:
            code = cudaError_t[str(fault)]
            return (code,) if name in _WITHOUT_VALUE else (code, None)
        return (cudaError_t.cudaSuccess,) if name in _WITHOUT_VALUE else (
            cudaError_t.cudaSuccess, value)

    def cudaGetDeviceCount(self) -> Any:
        return self._result("cudaGetDeviceCount", lambda: 1)

    def cudaSetDevice(self, device: int) -> Any:
        return self._result("cudaSetDevice", lambda: None)

    def cudaGetDeviceProperties(self, device: int) -> Any:
        major, minor = self._gpu.capability
        found = SimpleNamespace(name=self._gpu.name.encode(), major=major, minor=minor)
        return self._result("cudaGetDeviceProperties", lambda: found)

    def cudaDriverGetVersion(self) -> Any:
        return (cudaError_t.cudaSuccess, self._gpu.driver)

    def cudaRuntimeGetVersion(self) -> Any:
        return (cudaError_t.cudaSuccess, self._gpu.runtime)

    def cudaGetErrorString(self, error: Any) -> Any:
        return (cudaError_t.cudaSuccess, _TEXTS.get(error.name, error.name).encode())

    def cudaGetLastError(self) -> Any:
        return (cudaError_t.cudaSuccess,)

    def cudaMalloc(self, size: int) -> Any:
        return self._result("cudaMalloc", lambda: self._gpu.allocate(size))

    def cudaFree(self, address: int) -> Any:
        return self._result("cudaFree", lambda: self._gpu.free(address))

    def cudaHostAlloc(self, size: int, flags: int) -> Any:
        return self._result("cudaHostAlloc", lambda: self._gpu.pin(size)[0])

    def cudaFreeHost(self, address: int) -> Any:
        return self._result("cudaFreeHost", lambda: self._gpu.unpin(address))

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == 1
        return self._result("cudaStreamCreateWithFlags", self._gpu.new_stream)

    def cudaStreamDestroy(self, stream: int) -> Any:
        return self._result("cudaStreamDestroy", lambda: self._gpu.streams.pop(stream))

    def cudaStreamSynchronize(self, stream: int) -> Any:
        return self._result("cudaStreamSynchronize", lambda: self._gpu.wait(stream))

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: str, stream: int) -> Any:
        def work() -> None:
            make = self._gpu.copy_in if kind == "in" else self._gpu.copy_out
            self._gpu.put(stream, make(to, source, size))

        return self._result("cudaMemcpyAsync", work)

    def cudaStreamBeginCapture(self, stream: int, mode: str) -> Any:
        def work() -> None:
            assert mode == "this thread"
            self._gpu.streams[stream].recorded = []

        return self._result("cudaStreamBeginCapture", work)

    def cudaStreamEndCapture(self, stream: int) -> Any:
        found = self._gpu.streams[stream]
        recorded, found.recorded = found.recorded, None
        return self._result("cudaStreamEndCapture", lambda: recorded)

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> Any:
        return self._result("cudaGraphInstantiateWithFlags", lambda: list(graph))

    def cudaGraphDestroy(self, graph: Any) -> Any:
        return self._result("cudaGraphDestroy", graph.clear)

    def cudaGraphExecDestroy(self, executable: Any) -> Any:
        return self._result("cudaGraphExecDestroy", executable.clear)

    def cudaGraphLaunch(self, executable: Any, stream: int) -> Any:
        def work() -> None:
            assert executable, "a graph that was destroyed"
            for operation in executable:
                self._gpu.put(stream, operation)

        return self._result("cudaGraphLaunch", work)


_WITHOUT_VALUE = {
    "cudaFree", "cudaFreeHost", "cudaGraphDestroy", "cudaGraphExecDestroy", "cudaGraphLaunch",
    "cudaMemcpyAsync", "cudaSetDevice", "cudaStreamBeginCapture", "cudaStreamDestroy",
    "cudaStreamSynchronize",
}  # fmt: skip


def cuda_python(gpu: Gpu, name: str = "cuda.bindings.runtime") -> ModuleType:
    """Return the module `cuda.bindings.runtime`."""
    module, runtime = ModuleType(name), _Runtime(gpu)
    for function in (each for each in dir(runtime) if each.startswith("cuda")):
        setattr(module, function, getattr(runtime, function))
    vars(module).update(
        cudaError_t=cudaError_t, cudaStreamNonBlocking=1, cudaHostAllocDefault=0,
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out"),
        cudaStreamCaptureMode=SimpleNamespace(cudaStreamCaptureModeThreadLocal="this thread"),
    )  # fmt: skip
    return module


class PyCudaError(Exception):
    """`pycuda.driver.Error`."""


class _Driver:
    """The functions of `pycuda.driver`: they raise, and need a context that is current."""

    Error = PyCudaError

    def __init__(self, gpu: Gpu, *, primary_context: bool) -> None:
        self._gpu, self._primary_context = gpu, primary_context

    def _done(self, name: str, work: Callable[[], Any], *, context: bool = True) -> Any:
        needs, self._gpu.needs_context = self._gpu.needs_context, context
        try:
            self._gpu.enter(name)
            return work()
        except CudaFault as fault:
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
        return SimpleNamespace(handle=handle, synchronize=lambda: self._done(
            "cuStreamSynchronize", lambda: self._gpu.wait(handle)))

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: str) -> Any:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        _, block = self._done("cuMemHostAlloc", lambda: self._gpu.pin(size))
        return np.frombuffer(block, dtype).reshape(shape)

    def mem_alloc(self, size: int) -> Any:
        return _Allocation(self, self._done("cuMemAlloc", lambda: self._gpu.allocate(size)))

    def memcpy_htod_async(self, to: int, source: Any, stream: Any) -> None:
        self._done("cuMemcpyHtoDAsync", lambda: self._gpu.put(stream.handle, self._gpu.copy_in(
            to, source.ctypes.data, source.nbytes)))

    def memcpy_dtoh_async(self, to: Any, source: int, stream: Any) -> None:
        self._done("cuMemcpyDtoHAsync", lambda: self._gpu.put(stream.handle, self._gpu.copy_out(
            to.ctypes.data, source, to.nbytes)))

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
