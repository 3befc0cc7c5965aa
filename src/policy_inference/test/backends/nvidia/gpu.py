# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A GPU that is not there: memory of its own, streams that run when waited for, faults.

What TensorRT's and CUDA's doubles share. It is as strict as the real one where that crashes.
"""

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Operation = Callable[[], None]
_FIRST_ADDRESS = 0x7_0000_0000
_ALIGNED = 256


class CudaError(Exception):
    """A CUDA call fails with this code."""


@dataclass
class Stream:
    """Operations that wait for their turn, or are recorded."""

    waiting: list[Operation] = field(default_factory=list)
    recorded: list[Operation] | None = None


@dataclass
class Gpu:
    """The machine, and what shall go wrong.

    Attributes:
        failing: Code by call; "*" stands for every call.
        warning: What TensorRT warns of when it builds.
    """

    name: str = "Orin"
    capability: tuple[int, int] = (8, 7)
    driver: int = 12060
    runtime: int = 12060
    failing: dict[str, str] = field(default_factory=dict)
    warning: str = ""
    memory: dict[int, Bytes] = field(default_factory=dict)
    pinned: dict[int, Any] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    engines: WeakSet[Any] = field(default_factory=WeakSet)
    """Engines of TensorRT and their contexts that were not destroyed yet: they hold memory."""
    plugins: bool = False
    """Whether TensorRT's own plugins were registered."""
    lock: Any = field(default_factory=threading.RLock)
    """Calls of several threads come one after another."""
    _next: int = _FIRST_ADDRESS

    def enter(self, call: str) -> None:
        """Note a call; raise where it shall fail."""
        self.calls.append(call)
        fault = self.failing.get(call, self.failing.get("*"))
        if fault is not None:
            raise CudaError(fault)

    def allocate(self, size: int) -> int:
        """Return an address that no host program may touch."""
        assert size > 0
        self._next += -(-size // _ALIGNED) * _ALIGNED
        self.memory[self._next] = np.full(size, 0xA5, np.uint8)
        return self._next

    def free(self, address: int) -> None:
        del self.memory[address]

    def pin(self, size: int) -> tuple[int, Any]:
        """Return page-locked host memory, which holds anything but zeros, and its owner."""
        block = (ctypes.c_byte * size)(*([0x5A] * size))
        self.pinned[ctypes.addressof(block)] = block
        return ctypes.addressof(block), block

    def unpin(self, address: int) -> None:
        del self.pinned[address]

    def new_stream(self) -> int:
        handle = 1 + max(self.streams, default=0)
        self.streams[handle] = Stream()
        return handle

    def put(self, stream: int, operation: Operation) -> None:
        """Put an operation into a stream: it is done when it is waited for."""
        if not stream:
            raise CudaError("cudaErrorInvalidResourceHandle")
        found = self.streams[stream]
        (found.waiting if found.recorded is None else found.recorded).append(operation)

    def wait(self, stream: int) -> None:
        found = self.streams[stream]
        if found.recorded is not None:
            raise CudaError("cudaErrorStreamCaptureUnsupported")
        waiting, found.waiting = found.waiting, []
        for operation in waiting:
            operation()

    def copy_in(self, address: int, host: int, size: int) -> Operation:
        self._require_pinned(host, size)

        def operation() -> None:
            self.memory[address][:size] = _host(host, size)

        return operation

    def copy_out(self, host: int, address: int, size: int) -> Operation:
        self._require_pinned(host, size)

        def operation() -> None:
            _host(host, size)[:] = self.memory[address][:size]

        return operation

    def _require_pinned(self, host: int, size: int) -> None:
        """Copies from other memory are staged and waited for: the back end promises not to."""
        if not any(
            start <= host and host + size <= start + len(block)
            for start, block in self.pinned.items()
        ):
            raise CudaError("cudaErrorInvalidValue")


def _host(address: int, size: int) -> Bytes:
    found: Bytes = np.frombuffer(
        memoryview((ctypes.c_ubyte * size).from_address(address)), np.uint8
    )
    return found
