# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model's arrays in memory shared by two processes, and a signal pipe in each direction."""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import select
from collections.abc import Sequence

import numpy as np

from policy_core.errors import printable
from policy_core.interfaces import Tensor, TensorSpec

_ALIGNED, _TEXT_SIZE = 64, 4096
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
"""Seals that fix the block's size: if the other process truncated it, access would raise SIGBUS.
"""
_CUT = b" [...]"
OK, FAILED = b"o", b"f"


class SharedArrays:
    """Tensor arrays in an anonymous memory block, which exists as long as any process has it open.

    The block begins with space for an error text of up to 4 KiB.
    """

    def __init__(self, specs: Sequence[TensorSpec], fd: int | None = None) -> None:
        """Create a block for the tensors, or open the block behind a file descriptor."""
        sizes = [_rounded(_bytes(spec)) for spec in specs]
        whole = _TEXT_SIZE + sum(sizes)
        if fd is None:
            fd = os.memfd_create("policy_inference", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, whole)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        self.fd = fd
        self._block = mmap.mmap(self.fd, whole)
        starts = np.cumsum([_TEXT_SIZE, *sizes])[:-1].tolist()
        self._free = iter(
            [self._array(spec, start) for spec, start in zip(specs, starts, strict=True)]
        )

    def place(self, spec: TensorSpec) -> Tensor:
        """Return the array of the next tensor, in the order given on creation."""
        array = next(self._free)
        assert (array.shape, array.dtype.name) == (spec.shape, spec.dtype)
        return array

    def _array(self, spec: TensorSpec, start: int) -> Tensor:
        count = math.prod(spec.shape)
        return np.frombuffer(self._block, spec.dtype, count, start).reshape(spec.shape)

    @property
    def text(self) -> str:
        """The error text, made safe to print on a terminal; a long text is truncated."""
        content, _, _ = self._block[:_TEXT_SIZE].partition(b"\0")
        return printable(content.decode("utf-8", "replace"))

    @text.setter
    def text(self, text: str) -> None:
        content = text.encode("utf-8", "replace")
        if len(content) >= _TEXT_SIZE:  # whole characters only
            head = content[: _TEXT_SIZE - 1 - len(_CUT)].decode("utf-8", "ignore")
            content = head.encode() + _CUT
        self._block[: len(content) + 1] = content + b"\0"


class Bell:
    """Exchanges one-byte signals with another process, and detects when that process ends."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.fds = read_fd, write_fd
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)

    def ring(self, what: bytes) -> None:
        """Send one byte.

        Raises:
            BrokenPipeError: The other process has ended.
        """
        os.write(self.fds[1], what)

    def wait(self, timeout_s: float | None = None) -> bytes | None:
        """Return the received byte; empty if the other end is closed, None on time-out."""
        if timeout_s is not None and not self._poll.poll(timeout_s * 1000.0):
            return None
        return os.read(self.fds[0], 1)

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def _bytes(spec: TensorSpec) -> int:
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def _rounded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
