# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Double of `hobot_dnn.pyeasy_dnn`: names and refusals as in the vendor's wheel."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from bpu_board import Model as Content  # type: ignore[import-not-found]  # lies beside it
from bpu_board import Tensor, board, say

if "pyeasy_import" in board():
    raise ImportError(board()["pyeasy_import"])


class pyDNNTensor:  # noqa: N801  # the vendor's name
    """A tensor, with its memory where it is an output."""

    def __init__(self, tensor: Tensor, buffer: Any = None) -> None:
        """Describe it."""
        self.name, self.buffer = tensor.name, buffer
        self.properties = SimpleNamespace(
            tensor_type="TENSOR", dtype=tensor.dtype, layout=tensor.layout,
            shape=tuple(tensor.shape))
        if "old" not in board():
            vars(self.properties).update(
                validShape=tuple(tensor.shape), alignedShape=tuple(tensor.memory),
                scale_data=np.array(tensor.scale, np.float32) if tensor.scale else None)


class Model:
    """A loaded model, which nothing unloads."""

    def __init__(self, content: Content) -> None:
        """Describe it."""
        self.name, self._content = content.name, content
        self.inputs = [pyDNNTensor(tensor) for tensor in content.inputs]
        self.outputs = [pyDNNTensor(tensor) for tensor in content.outputs]

    def forward(self, arg: Any, core_id: int = 0, priority: int = 0) -> list[pyDNNTensor]:
        """Run; of the inputs only the size in bytes is checked."""
        arrays = arg if isinstance(arg, list | tuple) else [arg]
        if core_id >= board().get("cores", 1):
            raise RuntimeError("forward execution failed.")
        valid = [self._input(i, array) for i, array in enumerate(arrays)]
        found = self._content.infer(valid)
        say(f"core_id={core_id} priority={priority}")
        return [pyDNNTensor(*pair) for pair in zip(self._content.outputs, found, strict=True)]

    def _input(self, index: int, array: Any) -> Any:
        if index >= len(self._content.inputs):
            say("Error: Too many inputs for the model!")
            raise RuntimeError("forward execution failed.")
        tensor = self._content.inputs[index]
        size = int(np.prod(tensor.memory)) * np.dtype(tensor.dtype).itemsize
        if array.nbytes != size:
            say(f"Error: Invalid data size ({array.nbytes}) for input {index}")
            raise RuntimeError("forward execution failed.")
        return array.view(tensor.dtype).reshape(tensor.memory)[tensor.valid]


def load(model_file: str | list[str]) -> list[Model]:
    """Load the models of files."""
    files = [model_file] if isinstance(model_file, str) else model_file
    try:
        return [Model(Content(file)) for file in files]
    except ValueError:
        say("hbDNNInitializeFromFiles failed")
        raise RuntimeError("Failed to load the model.") from None
