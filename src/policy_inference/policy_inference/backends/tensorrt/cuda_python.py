# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""CUDA through cuda-python. Its runtime works on the GPU's primary context, from any thread."""

from __future__ import annotations

import ctypes
import logging
import math
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.tensorrt.device import Device, GraphError, cuda_error, version_text

_log = logging.getLogger("policy_inference")
_FIRST = 0


class CudaPython(Device):
    """Over `cuda.bindings.runtime`, which older releases call `cuda.cudart`."""

    package = "cuda-python"

    def __init__(self, runtime: Any) -> None:
        """Take the first GPU and make a stream.

        Raises:
            BackendError: There is no driver or no GPU.
        """
        self._cuda, self._ok = runtime, runtime.cudaError_t.cudaSuccess
        self._memory, self._graphs = list[int](), list[Any]()
        self._stream: Any = None
        self.current = nullcontext()
        try:
            self._call("cudaGetDeviceCount")
        except RuntimeError as error:  # how releases before 12.9 say that the driver is missing
            raise cuda_error(
                "cudaGetDeviceCount", "cudaErrorInsufficientDriver", str(error)
            ) from error
        self._call("cudaSetDevice", _FIRST)
        properties = self._call("cudaGetDeviceProperties", _FIRST)
        self.gpu = properties.name.decode("utf-8", "replace").rstrip("\0")
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self.driver = version_text(int(self._call("cudaDriverGetVersion")))
        self.cuda = version_text(int(self._call("cudaRuntimeGetVersion")))
        self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    def host(self, spec: TensorSpec) -> Tensor:
        """See `Device`."""
        count = math.prod(spec.shape)
        size = max(1, count * np.dtype(spec.dtype).itemsize)
        address = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        block = (ctypes.c_byte * size).from_address(address)
        # At exit the driver may be gone already, and takes the memory with it.
        weakref.finalize(block, self._cuda.cudaFreeHost, address).atexit = False
        array: Tensor = np.frombuffer(memoryview(block), spec.dtype, count).reshape(spec.shape)
        array.fill(0)
        return array

    def allocate(self, size: int) -> int:
        """See `Device`."""
        self._memory.append(int(self._call("cudaMalloc", max(1, size))))
        return self._memory[-1]

    def upload(self, array: Tensor, address: int) -> Callable[[], None]:
        """See `Device`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        return self._copy(address, array.ctypes.data, array.nbytes, kind)

    def download(self, address: int, array: Tensor) -> Callable[[], None]:
        """See `Device`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        return self._copy(array.ctypes.data, address, array.nbytes, kind)

    def _copy(self, to: int, source: int, size: int, kind: Any) -> Callable[[], None]:
        copy, stream = self._cuda.cudaMemcpyAsync, self._stream

        def run() -> None:
            self._checked("cudaMemcpyAsync", copy(to, source, size, kind, stream))

        return run

    def synchronise(self) -> None:
        """See `Device`."""
        self._checked("cudaStreamSynchronize", self._cuda.cudaStreamSynchronize(self._stream))

    def record(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """See `Device`."""
        cuda = self._cuda
        # This thread's calls only: others may use CUDA meanwhile.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            graph = self._captured(enqueue, mode)
            executable = self._call("cudaGraphInstantiateWithFlags", graph, 0)
            self._graphs.append(executable)
            self._call("cudaGraphDestroy", graph)
        except BackendError as error:
            cuda.cudaGetLastError()  # what failed here is not to be found by the next call
            raise GraphError(str(error)) from error
        launch, stream = cuda.cudaGraphLaunch, self._stream

        def run() -> None:
            self._checked("cudaGraphLaunch", launch(executable, stream))

        return run

    def _captured(self, enqueue: Callable[[], None], mode: Any) -> Any:
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            enqueue()
        except BackendError:
            self._cuda.cudaStreamEndCapture(self._stream)  # else the stream stays in recording
            raise
        return self._call("cudaStreamEndCapture", self._stream)

    def close(self) -> None:
        """See `Device`."""
        for name, things in (
            ("cudaGraphExecDestroy", self._graphs),
            ("cudaFree", self._memory),
            ("cudaStreamDestroy", [self._stream] if self._stream else []),
        ):
            for thing in things:
                self._release(name, thing)

    def _release(self, name: str, thing: Any) -> None:
        try:
            self._call(name, thing)
        except BackendError as error:
            _log.warning("while closing: %s", str(error))

    def _call(self, name: str, *args: Any) -> Any:
        """Call a function; return its one value.

        Raises:
            BackendError: It returned an error.
        """
        result = getattr(self._cuda, name)(*args)
        self._checked(name, result)
        return result[1] if len(result) > 1 else None

    def _checked(self, name: str, result: tuple[Any, ...]) -> None:
        error = result[0]
        if error != self._ok:
            text = self._cuda.cudaGetErrorString(error)[1]
            raise cuda_error(name, error.name, text.decode("utf-8", "replace"))
