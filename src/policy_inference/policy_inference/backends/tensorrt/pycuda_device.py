# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""CUDA through pycuda, for machines where only that is installed (JetPack 5).

pycuda's calls need a context that is current on the calling thread, and its threads must not end
with one: it aborts the process. So each use pushes the context and pops it again. It is the GPU's
primary context, which is TensorRT's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.tensorrt.device import Device, GraphError, cuda_error, version_text

_FIRST = 0
_AS_RUNTIME = {
    "no CUDA-capable device is detected": "cudaErrorNoDevice",
    "out of memory": "cudaErrorMemoryAllocation",
    "system driver mismatch": "cudaErrorInsufficientDriver",
}


class PyCuda(Device):
    """Over `pycuda.driver`."""

    package = "pycuda"

    def __init__(self, driver: Any) -> None:
        """Take the first GPU and make a stream.

        Raises:
            BackendError: There is no driver or no GPU, or pycuda is too old.
        """
        self._cuda, self._memory = driver, list[Any]()
        self._checked("cuInit", driver.init)
        device = self._checked("cuDeviceGet", driver.Device, _FIRST)
        if not hasattr(device, "retain_primary_context"):
            raise BackendError(
                "tensorrt: expected pycuda 2020.1 or newer, which shares its "
                "context with TensorRT, found an older one; `pip install --upgrade "
                "pycuda`"
            )
        self.gpu = device.name()
        self.compute_capability = ".".join(map(str, device.compute_capability()))
        self.driver = version_text(driver.get_driver_version())
        self.cuda = ".".join(map(str, driver.get_version()[:2]))
        context = self._checked("cuDevicePrimaryCtxRetain", device.retain_primary_context)
        self.current = _Current(
            partial(self._checked, "cuCtxPushCurrent", context.push), context.pop
        )
        with self.current:
            self._stream: Any = self._checked("cuStreamCreate", driver.Stream)
            self.stream = int(self._stream.handle)

    def host(self, spec: TensorSpec) -> Tensor:
        """See `Device`."""
        array: Tensor = self._checked(
            "cuMemHostAlloc", self._cuda.pagelocked_empty, spec.shape, spec.dtype
        )
        array.fill(0)
        return array

    def allocate(self, size: int) -> int:
        """See `Device`."""
        self._memory.append(self._checked("cuMemAlloc", self._cuda.mem_alloc, max(1, size)))
        return int(self._memory[-1])

    def upload(self, array: Tensor, address: int) -> Callable[[], None]:
        """See `Device`."""
        copy = self._cuda.memcpy_htod_async
        return lambda: self._checked("cuMemcpyHtoDAsync", copy, address, array, self._stream)

    def download(self, address: int, array: Tensor) -> Callable[[], None]:
        """See `Device`."""
        copy = self._cuda.memcpy_dtoh_async
        return lambda: self._checked("cuMemcpyDtoHAsync", copy, array, address, self._stream)

    def synchronise(self) -> None:
        """See `Device`."""
        self._checked("cuStreamSynchronize", self._stream.synchronize)

    def record(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """See `Device`."""
        raise GraphError("pycuda has no CUDA graphs; install cuda-python where it has wheels")

    def close(self) -> None:
        """See `Device`; pycuda itself says nothing of what fails here."""
        for allocation in self._memory:
            allocation.free()
        self._memory, self._stream = [], None

    def _checked(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except self._cuda.Error as error:
            text = str(error).partition("failed: ")[2] or str(error)
            code = next((code for part, code in _AS_RUNTIME.items() if part in text), "CUDA driver")
            raise cuda_error(name, code, text) from error


class _Current:
    """Pushes a context on the calling thread while it is entered."""

    def __init__(self, push: Callable[[], Any], pop: Callable[[], Any]) -> None:
        self._push, self._pop = push, pop

    def __enter__(self) -> None:
        self._push()

    def __exit__(self, *_: object) -> None:
        self._pop()
