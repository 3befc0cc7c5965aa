# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end that every machine computes alike: numpy, no runtime, a fixed order of additions.

It takes names and shapes from a bundle's ONNX file and ignores the weights: each output is a sum of
the inputs times small binary fractions, and every input element changes an output. It is registered
like any third-party back end, see docs/backends.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_core.errors import BackendError
from policy_core.interfaces import Tensor, TensorSpec
from policy_inference.backends.base import BackendBase

TAP = "DIGESTS_TAP"
"""Environment: file to which each run appends a line of JSON, where it is set; see `_noted`."""
FAULT = "DIGESTS_FAULT"
"""Environment: file whose text says what goes wrong: `raise`, or `nan`; nothing where absent."""
_WEIGHTS = np.array([1.0, -0.5, 0.25, -0.125, 0.5, -0.25, 0.125])
_GAIN, _GAIN_OF_MANY = 2.0, 1 / 16
"""Of outputs of up to 64 values, which are actions of a tick, and of larger ones: a chunk may not
jump from step to step, or the guard ends the run."""
_LARGEST_NOTED, _SAMPLES = 512, 64


def outputs_of(inputs: Sequence[Tensor], size: int) -> npt.NDArray[np.float64]:
    """Return `size` output values.

    Args:
        inputs: Arrays of any shape, in a fixed order.
        size: How many values there are.
    """
    flat = np.concatenate([array.astype(np.float64).ravel() for array in inputs])
    rows = -(-flat.size // size)
    table = np.resize(flat, rows * size).reshape(rows, size)
    total = np.zeros(size)
    # Row after row: numpy's sums and BLAS add in an order that depends on the processor.
    for number, row in enumerate(table):
        total += _WEIGHTS[number % len(_WEIGHTS)] * row
    gain = _GAIN if size <= 64 else _GAIN_OF_MANY
    return np.asarray(gain * total / max(1.0, rows / len(_WEIGHTS)))


class SeededBackend(BackendBase):
    """Computes `outputs_of` its inputs."""

    name = "seeded"
    builds_from = "onnx"
    warm_up_runs = 3

    def _open(
        self, file: Path
    ) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec], Mapping[str, str]]:
        import onnx

        model = onnx.load(str(file), load_external_data=False)
        inputs, outputs = (
            [_spec(value) for value in side] for side in (model.graph.input, model.graph.output)
        )
        return inputs, outputs, {"runtime": "numpy", "device": "any"}

    def _bind(self) -> None:
        self._given_inputs = [self.inputs[name] for name in sorted(self.inputs)]

    def _run(self) -> None:
        fault = _fault()
        if fault == "raise":
            raise BackendError("seeded: asked to fail")
        for name in sorted(self.outputs):
            array = self.outputs[name]
            values = outputs_of(self._given_inputs, array.size).reshape(array.shape)
            np.copyto(array, np.nan if fault == "nan" else values, casting="same_kind")
        self._tap()

    def _close(self) -> None:
        """Nothing is held."""

    def _tap(self) -> None:
        file = os.environ.get(TAP)
        if file:
            line = {**_noted(self.inputs), **_noted(self.outputs)}
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def _noted(tensors: Mapping[str, Tensor]) -> dict[str, list[object]]:
    """Return by name the SHA-256 of each tensor and its values, of large ones every nth."""
    return {
        name: [
            hashlib.sha256(array.tobytes()).hexdigest(),
            array.ravel()[
                :: 1 if array.size <= _LARGEST_NOTED else array.size // _SAMPLES
            ].tolist(),
        ]
        for name, array in sorted(tensors.items())
    }


def _fault() -> str:
    file = os.environ.get(FAULT)
    return Path(file).read_text("utf-8") if file and Path(file).exists() else ""


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:  # type: ignore[name-defined]  # noqa: F821
    """Describe a tensor; axes without a fixed size are -1."""
    import onnx

    kind = value.type.tensor_type
    shape = tuple(a.dim_value if a.HasField("dim_value") else -1 for a in kind.shape.dim)
    return TensorSpec(
        name=value.name,
        shape=shape,
        dtype=onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name,
    )
