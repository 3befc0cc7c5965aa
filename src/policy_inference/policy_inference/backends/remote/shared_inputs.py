# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs in memory that a Triton on this machine reads, its extension `system_shared_memory`.

https://github.com/triton-inference-server/server, docs/protocol/extension_shared_memory.md. The
outputs come as bytes all the same: they are small, and a late answer must not be written over a
later one. Inputs that a late request still reads are those of the next one; its answer is dropped.
"""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.interfaces import TensorSpec
from policy_inference.backends.remote.link import Arrays

_FOLDER = Path("/dev/shm")  # where the C library keeps what shm_open names


class SharedInputs:
    """A block for the inputs of a model, with a name until the server has opened it.

    Attributes:
        name: Of the block, for the server.
        size: In bytes.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        """Make it; only this user and root may open it.

        Raises:
            OSError: There is no such memory, or not enough.
        """
        self.name = f"policy_inference-{secrets.token_hex(8)}"
        layout = np.dtype([(one.name, one.dtype, one.shape) for one in specs], align=True)
        assert layout.fields is not None  # it has names
        self._fields, self.size = layout.fields, layout.itemsize
        file = os.open(_FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(file, 0, self.size)
            self._inputs = np.ndarray((), layout, mmap.mmap(file, self.size))
        except BaseException:
            self.hide()
            raise
        finally:
            os.close(file)

    @property
    def key(self) -> str:
        """By which another process opens it, with shm_open."""
        return f"/{self.name}"

    def hide(self) -> None:
        """Take its name away; it ends with the last process that has it open."""
        (_FOLDER / self.name).unlink()

    def describe(self, tensors: Any) -> None:
        """Say in a request where its inputs are."""
        for one in tensors:
            field, start, *_ = self._fields[one.name]
            one.parameters["shared_memory_region"].string_param = self.name
            one.parameters["shared_memory_byte_size"].int64_param = field.itemsize
            if start:  # a parameter that is 0 is none on the wire
                one.parameters["shared_memory_offset"].int64_param = start

    def write(self, inputs: Arrays) -> None:
        """Put the inputs of the next request there."""
        for name in self._fields:
            self._inputs[name] = inputs[name]
