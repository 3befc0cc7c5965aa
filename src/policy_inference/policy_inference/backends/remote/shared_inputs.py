# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs in memory shared with a Triton on this machine (extension `system_shared_memory`).

https://github.com/triton-inference-server/server, docs/protocol/extension_shared_memory.md. Outputs
are still sent as bytes: they are small, and a late answer must not overwrite a later one. A late
request may read the inputs of the next one; its answer is dropped.
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

_FOLDER = Path("/dev/shm")  # where the C library stores names of shm_open


class SharedInputs:
    """A memory block for the inputs of a model, with a name until the server has opened it.

    Attributes:
        name: Name of the block, for the server.
        size: In bytes.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        """Create it; only this user and root may open it.

        Raises:
            OSError: There is no shared memory, or not enough.
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
        """Key with which another process opens it through shm_open."""
        return f"/{self.name}"

    def hide(self) -> None:
        """Remove its name; it ends with the last process that has it open."""
        (_FOLDER / self.name).unlink()

    def describe(self, tensors: Any) -> None:
        """Set the location of the inputs in a request."""
        for one in tensors:
            field, start, *_ = self._fields[one.name]
            one.parameters["shared_memory_region"].string_param = self.name
            one.parameters["shared_memory_byte_size"].int64_param = field.itemsize
            if start:  # protobuf omits a parameter of 0
                one.parameters["shared_memory_offset"].int64_param = start

    def write(self, inputs: Arrays) -> None:
        """Write the inputs of the next request."""
        for name in self._fields:
            self._inputs[name] = inputs[name]
