# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Double of `hobot_dnn.pyeasy_dnn`: names and refusals as in the vendor's wheel 3.0.6.

With `old` the board has the release of D-Robotics' published source: it casts inputs to uint8.
Both load a text so that it is freed while in use, which is refused here; a forward that fails gives
None in one, and raises or does the same in the other.

Not known without a board, and taken at its worst here: whether the memory of outputs is that of the
run before (it is). That it keeps Python's lock cannot be shown here.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from bpu_board import Model as Content  # type: ignore[import-not-found]  # lies beside it
from bpu_board import Tensor, board_state, print_as_library

if "pyeasy_import" in board_state():
    raise ImportError(board_state()["pyeasy_import"])


class pyDNNTensor:  # noqa: N801  # the vendor's name
    """A tensor, with its memory where it is an output."""

    def __init__(self, tensor: Tensor, buffer: Any = None) -> None:
        self.name, self.buffer = tensor.name, buffer
        self.properties = SimpleNamespace(
            tensor_type="TENSOR",
            dtype=tensor.dtype,
            layout=tensor.layout,
            shape=tuple(tensor.shape),
        )
        if "old" not in board_state():
            vars(self.properties).update(
                validShape=tuple(tensor.shape),
                alignedShape=tuple(tensor.memory),
                scale_data=np.array(tensor.scale, np.float32) if tensor.scale else None,
            )


class Model:
    """A loaded model, which nothing unloads."""

    def __init__(self, content: Content) -> None:
        self.name, self._content = content.name, content
        self.inputs = [pyDNNTensor(tensor) for tensor in content.inputs]
        self.outputs = [
            pyDNNTensor(tensor, np.zeros(tensor.memory, tensor.dtype)) for tensor in content.outputs
        ]

    def forward(self, arg: Any, core_id: int = 0, priority: int = 0) -> list[pyDNNTensor] | None:
        """Run; of the inputs only the size in bytes is checked."""
        arrays = arg if isinstance(arg, list | tuple) else [arg]
        if core_id >= board_state().get("cores", 1):
            raise RuntimeError("forward execution failed.")
        if "none" in board_state():
            print_as_library(board_state()["none"])
            return None
        if "old" in board_state():
            arrays = [array.astype(np.uint8).astype(array.dtype) for array in arrays]
        valid = [self._input(i, array) for i, array in enumerate(arrays)]
        found = self._content.infer(valid)
        print_as_library(f"core_id={core_id} priority={priority}")
        for output, memory in zip(self.outputs, found, strict=True):
            output.buffer[...] = memory
        return list(self.outputs)

    def _input(self, index: int, array: Any) -> Any:
        if index >= len(self._content.inputs):
            print_as_library("Error: Too many inputs for the model!")
            raise RuntimeError("forward execution failed.")
        if not isinstance(array, np.ndarray):
            raise TypeError("Each element in arg_obj must be a NumPy array.")
        assert array.flags.c_contiguous, "it is copied byte by byte, whatever its strides"
        tensor = self._content.inputs[index]
        size = int(np.prod(tensor.memory)) * np.dtype(tensor.dtype).itemsize
        if array.nbytes != size:
            print_as_library(f"Error: Invalid data size ({array.nbytes}) for input {index}")
            raise RuntimeError("forward execution failed.")
        return array.view(tensor.dtype).reshape(tensor.memory)[tensor.valid]


def load(model_file: str | list[str]) -> list[Model]:
    assert isinstance(model_file, list)
    try:
        return [Model(Content(file)) for file in model_file]
    except ValueError:
        raise RuntimeError("hbDNNInitializeFromFiles failed") from None
