# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A board without BPU, for the doubles of its runtimes: files that hold an ONNX model, run by ORT.

A child process imports it by name, so it needs nothing of the tests. The environment variable
`BPU_BOARD` (JSON) says what the board is like.
"""

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

Array = npt.NDArray[Any]
_HEAD = struct.Struct("<4sII")


def board_state() -> dict[str, Any]:
    """Return how this board is: march, extensions, version, what fails, what is written."""
    described: dict[str, Any] = json.loads(os.environ.get("BPU_BOARD", "{}"))
    return described


def print_as_library(text: str) -> None:
    """Write as a native library does, past Python."""
    os.write(2, f"{text}\n".encode())


@dataclass
class Tensor:
    """As the file describes it."""

    name: str
    shape: list[int]
    onnx_shape: list[int]
    dtype: str = "float32"
    memory: list[int] = field(default_factory=list)
    layout: str = "NCHW"
    scale: list[float] = field(default_factory=list)
    zero_point: list[int] = field(default_factory=list)
    axis: int = 0

    def __post_init__(self) -> None:
        """Without padding, memory is what counts."""
        self.memory = self.memory or self.shape

    @property
    def valid(self) -> tuple[slice, ...]:
        """What counts in memory."""
        return tuple(map(slice, self.shape))

    def to_onnx(self, array: Array) -> Array:
        """Return real numbers in the shape of the ONNX model."""
        values: Array = array
        if self.scale:
            values = (array.astype(np.float64) - self._along(self.zero_point or [0])) * (
                self._along(self.scale)
            )
        if self.layout == "NHWC" and len(self.shape) == 4:
            values = values.transpose(0, 3, 1, 2)
        return values.reshape(self.onnx_shape)

    def from_onnx(self, array: Array) -> Array:
        """Return an array in memory, whose padding is not zero, seen from its valid part."""
        values = array
        if self.layout == "NHWC" and len(self.shape) == 4:
            padded = (*array.shape, *[1] * (4 - array.ndim))
            values = array.reshape(padded).transpose(0, 2, 3, 1)
        values = values.reshape(self.shape)
        if self.scale:
            limits = np.iinfo(self.dtype)
            values = np.clip(
                np.rint(values / self._along(self.scale)) + self._along(self.zero_point or [0]),
                limits.min,
                limits.max,
            )
        memory = np.full(self.memory, 99, self.dtype)
        memory[self.valid] = values
        return memory

    def _along(self, values: list[float] | list[int]) -> Array:
        sizes = [1] * len(self.shape)
        if len(values) > 1:
            sizes[self.axis] = len(values)
        return np.asarray(values, np.float64).reshape(sizes if len(values) > 1 else ())


class Model:
    """A file's model and the session that computes it."""

    def __init__(self, file: str) -> None:
        """Read a file; what is none of these raises ValueError."""
        content = Path(file).read_bytes()
        try:
            magic, head, size = _HEAD.unpack_from(content)
        except struct.error:
            raise ValueError("too short") from None
        if magic != b"BPUD" or len(content) != _HEAD.size + head + size:
            raise ValueError("a different kind of file")
        described = json.loads(content[_HEAD.size : _HEAD.size + head])
        self.name, self.march = described["name"], described["march"]
        self.inputs = [Tensor(**tensor) for tensor in described["inputs"]]
        self.outputs = [Tensor(**tensor) for tensor in described["outputs"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            content[_HEAD.size + head :], options, providers=["CPUExecutionProvider"]
        )

    def infer(self, arrays: list[Array]) -> list[Array]:
        """Return the outputs in memory; inputs are the valid parts."""
        if board_state().get("march", self.march) != self.march:
            print_as_library(
                "[BPU_PLAT]Incompatible Platform!! Please check the march of the model"
            )
            raise RuntimeError("hbDNNInferV2 failed")
        kinds = {node.name: node.type for node in self._session.get_inputs()}
        feed = {
            t.name: t.to_onnx(array).astype(_NUMPY[kinds[t.name]])
            for t, array in zip(self.inputs, arrays, strict=True)
        }
        found = self._session.run([tensor.name for tensor in self.outputs], feed)
        return [t.from_onnx(array) for t, array in zip(self.outputs, found, strict=True)]


def write_bpu_model(
    onnx: Path,
    file: Path,
    *,
    name: str = "policy",
    march: str = "nash-e",
    tensors: dict[str, dict[str, Any]] | None = None,
) -> Path:
    """Write a model file; tensors of fewer than four axes get ones behind, as the compilers want.

    Args:
        onnx: The model.
        file: Where to.
        name: Of the model in the file.
        march: BPU that it is for.
        tensors: By name, what is special about some: fields of `Tensor`.
    """
    session = onnxruntime.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])

    def described(node: Any) -> dict[str, Any]:
        shape = [axis if isinstance(axis, int) else 1 for axis in node.shape]
        four = shape + [1] * (4 - len(shape))
        return {
            "name": node.name,
            "shape": four,
            "onnx_shape": shape,
            "dtype": _NUMPY[node.type],
            **(tensors or {}).get(node.name, {}),
        }

    head = json.dumps(
        {
            "name": name,
            "march": march,
            "inputs": [described(n) for n in session.get_inputs()],
            "outputs": [described(n) for n in session.get_outputs()],
        }
    ).encode()
    content = onnx.read_bytes()
    file.write_bytes(_HEAD.pack(b"BPUD", len(head), len(content)) + head + content)
    return file


_NUMPY = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
