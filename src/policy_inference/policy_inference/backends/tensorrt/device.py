# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""GPU memory, a stream and copies through cuda-python, which TensorRT leaves to its caller.

Like TensorRT, the CUDA runtime uses the GPU's primary context in every thread.
"""

from __future__ import annotations

import ctypes
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec

INSTALL = (
    "install it: JetPack 6 `pip install 'cuda-python==12.*'`, JetPack 7 "
    "`pip install 'cuda-python==13.*'`"
)
_REMEDIES = {
    "cudaErrorInsufficientDriver": "there is no CUDA driver, or it is older than this CUDA "
    "package; install a driver, or the package for the driver's CUDA version (JetPack 6: "
    "cuda-python 12, JetPack 7: cuda-python 13)",
    "cudaErrorNoDevice": "no GPU is visible; check CUDA_VISIBLE_DEVICES, and in a container that "
    "it runs with the NVIDIA runtime",
    "cudaErrorMemoryAllocation": "memory is full; stop other programs (on a Jetson, CPU and GPU "
    "share it), or set a smaller workspace_mib",
    "cudaErrorStreamCaptureUnsupported": "the model does something that cannot be captured",
    "cudaErrorStreamCaptureInvalidated": "the model does something that cannot be captured",
}
_LOST = (
    "after most such errors the process can no longer use the GPU; restart it, and see `dmesg` "
    "for the cause"
)
_FIRST = 0
_log = logging.getLogger("policy_inference")


class GraphError(Exception):
    """A run cannot be recorded as a CUDA graph; the message gives the reason."""


class Device:
    """The first GPU, one stream on it, and memory; `close` releases everything.

    Arrays from `host` live as long as they are referenced, so late reads of an output are safe.

    Attributes:
        gpu: GPU name.
        compute_capability: Compute capability, such as 8.7.
        driver: CUDA version that the driver supports.
        cuda: CUDA version of the Python package.
        stream: Handle of the stream, for TensorRT.
    """

    def __init__(self) -> None:
        """Open the first GPU and create a stream.

        Raises:
            BackendError: The package, its libraries, the driver or the GPU is missing.
        """
        try:
            from cuda.bindings import runtime
        except ModuleNotFoundError as error:
            raise BackendError(
                f"tensorrt: expected cuda-python, found no such package ({error}); {INSTALL}"
            ) from error
        except (ImportError, OSError) as error:
            raise BackendError(
                f"tensorrt: cuda-python is installed but does not load: {error}; if "
                "libcuda.so is missing, there is no driver (in a container: run it with the NVIDIA "
                "runtime); if another library is missing, install the cuda-python for the driver's "
                "CUDA version"
            ) from error
        self._cuda: Any = runtime
        self._ok = runtime.cudaError_t.cudaSuccess
        self._memory, self._graphs = list[int](), list[Any]()
        self._stream: Any = None
        try:
            self._call("cudaGetDeviceCount")
        except RuntimeError as error:  # how releases before 12.9 report a missing driver
            raise _cuda_error(
                "cudaGetDeviceCount", "cudaErrorInsufficientDriver", str(error)
            ) from error
        self._call("cudaSetDevice", _FIRST)
        properties = self._call("cudaGetDeviceProperties", _FIRST)
        self.gpu: str = properties.name.decode("utf-8", "replace").rstrip("\0")
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self.driver = _version_text(int(self._call("cudaDriverGetVersion")))
        self.cuda = _version_text(int(self._call("cudaRuntimeGetVersion")))
        self._stream = self._call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    def host(self, spec: TensorSpec) -> Tensor:
        """Return a zeroed array in page-locked memory, which the GPU can copy without staging."""
        count = math.prod(spec.shape)
        size = max(1, count * np.dtype(spec.dtype).itemsize)
        address = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        block = (ctypes.c_byte * size).from_address(address)
        # At exit the driver may already be gone, and has freed the memory.
        weakref.finalize(block, self._cuda.cudaFreeHost, address).atexit = False
        array: Tensor = np.frombuffer(memoryview(block), spec.dtype, count).reshape(spec.shape)
        array.fill(0)
        return array

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes on the GPU; return their address."""
        self._memory.append(int(self._call("cudaMalloc", max(1, size))))
        return self._memory[-1]

    def upload(self, array: Tensor, address: int) -> Callable[[], None]:
        """Return a function that enqueues a copy of an array from `host` to the GPU."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        return self._copy(address, array.ctypes.data, array.nbytes, kind)

    def download(self, address: int, array: Tensor) -> Callable[[], None]:
        """Return a function that enqueues a copy from the GPU to an array from `host`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        return self._copy(array.ctypes.data, address, array.nbytes, kind)

    def _copy(self, to: int, source: int, size: int, kind: Any) -> Callable[[], None]:
        copy, stream = self._cuda.cudaMemcpyAsync, self._stream

        def run() -> None:
            self._checked("cudaMemcpyAsync", copy(to, source, size, kind, stream))

        return run

    def synchronise(self) -> None:
        """Wait until the stream is idle.

        Raises:
            BackendError: A queued operation failed, or the GPU was lost.
        """
        self._checked("cudaStreamSynchronize", self._cuda.cudaStreamSynchronize(self._stream))

    def record(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record the work that `enqueue` puts on the stream; return a function to replay it.

        Raises:
            GraphError: Recording is not possible.
        """
        cuda = self._cuda
        # This thread's calls only: others may use CUDA meanwhile.
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            graph = self._captured(enqueue, mode)
            executable = self._call("cudaGraphInstantiateWithFlags", graph, 0)
            self._graphs.append(executable)
            self._call("cudaGraphDestroy", graph)
        except BackendError as error:
            cuda.cudaGetLastError()  # clear this error, so that the next call does not report it
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
            self._cuda.cudaStreamEndCapture(self._stream)  # else the stream keeps recording
            raise
        return self._call("cudaStreamEndCapture", self._stream)

    def close(self) -> None:
        """Release the stream, graphs and GPU memory; failures are only logged."""
        for name, things in (
            ("cudaGraphExecDestroy", self._graphs),
            ("cudaFree", self._memory),
            ("cudaStreamDestroy", [self._stream] if self._stream else []),
        ):
            for thing in things:
                try:
                    self._call(name, thing)
                except BackendError as error:
                    _log.warning("while closing: %s", str(error))

    def _call(self, name: str, *args: Any) -> Any:
        """Call a CUDA function that returns at most one value."""
        result = getattr(self._cuda, name)(*args)
        self._checked(name, result)
        return result[1] if len(result) > 1 else None

    def _checked(self, name: str, result: tuple[Any, ...]) -> None:
        error = result[0]
        if error != self._ok:
            text = self._cuda.cudaGetErrorString(error)[1]
            raise _cuda_error(name, error.name, text.decode("utf-8", "replace"))


def _cuda_error(what: str, name: str, text: str) -> BackendError:
    """Return the error for a failed call, with its cause and the remedy for its error name."""
    return BackendError(f"tensorrt: {what}: {text} ({name}); {_REMEDIES.get(name, _LOST)}")


def _version_text(number: int) -> str:
    """Format a CUDA version number, e.g. 12060 as 12.6."""
    return f"{number // 1000}.{number % 1000 // 10}"
