# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""GPU memory, a stream and copies: what TensorRT leaves to its caller, over either CUDA package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec

_REMEDIES = {
    "cudaErrorInsufficientDriver": "no CUDA driver is there, or one older than this CUDA package; "
    "install a driver, or the package for the driver's CUDA version "
    "(JetPack 6: cuda-python 12, JetPack 7: cuda-python 13)",
    "cudaErrorNoDevice": "no GPU is visible; check CUDA_VISIBLE_DEVICES, and in a container that "
    "it runs with the NVIDIA runtime",
    "cudaErrorMemoryAllocation": "memory is full; end other programs (on a Jetson CPU and GPU "
    "share it), or set a smaller workspace_mib",
    "cudaErrorStreamCaptureUnsupported": "the model does something that cannot be recorded",
    "cudaErrorStreamCaptureInvalidated": "the model does something that cannot be recorded",
}
_LOST = (
    "after most such errors the process cannot use the GPU any more; restart it, and see `dmesg` "
    "for the cause"
)


def cuda_error(what: str, name: str, text: str) -> BackendError:
    """Return the error of a CUDA call: cause and remedy in one sentence.

    Args:
        what: The call.
        name: The code's name, cudaErrorMemoryAllocation; that of the driver is like it.
        text: CUDA's own description.
    """
    return BackendError(f"tensorrt: {what}: {text} ({name}); {_REMEDIES.get(name, _LOST)}")


class GraphError(Exception):
    """A run cannot be recorded as a CUDA graph, for this reason."""


class Device(ABC):
    """The first GPU, one stream on it, and memory; everything is released by `close`.

    Arrays of `host` live as long as they are referenced: reading an output late is no crash.

    Attributes:
        gpu: Its name.
        compute_capability: As 8.7.
        driver: CUDA version of the driver.
        cuda: CUDA version of the package.
        package: Name of the CUDA package.
        stream: Handle of the stream, for TensorRT.
        current: Makes the GPU's context that of the calling thread while it is entered. Every other
            member is used inside of it. Which thread that is does not matter: a node opens the
            model on its executor's thread, runs it on the control thread, and closes it on the
            first one.
    """

    gpu: str
    compute_capability: str
    driver: str
    cuda: str
    package: str
    stream: int
    current: AbstractContextManager[Any]

    @abstractmethod
    def host(self, spec: TensorSpec) -> Tensor:
        """Return a zeroed array in page-locked memory, which copies to the GPU need not stage."""

    @abstractmethod
    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU."""

    @abstractmethod
    def upload(self, array: Tensor, address: int) -> Callable[[], None]:
        """Return what puts a copy of an array of `host` to the GPU into the stream."""

    @abstractmethod
    def download(self, address: int, array: Tensor) -> Callable[[], None]:
        """Return what puts a copy from the GPU into an array of `host` into the stream."""

    @abstractmethod
    def synchronise(self) -> None:
        """Wait until the stream has done everything.

        Raises:
            BackendError: Something in it failed, or the GPU was lost.
        """

    @abstractmethod
    def record(self, enqueue: Callable[[], None]) -> Callable[[], None]:
        """Record what `enqueue` puts into the stream; return what puts all of it there at once.

        Raises:
            GraphError: This cannot be recorded, or the CUDA package cannot do it.
        """

    @abstractmethod
    def close(self) -> None:
        """Release stream, graphs and memory on the GPU; what fails is logged, for it is lost."""


def version_text(number: int) -> str:
    """Return CUDA's 12060 as 12.6."""
    return f"{number // 1000}.{number % 1000 // 10}"
