# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Example of a custom back end: runs ONNX models in numpy with the `onnx` package; slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase


class OnnxReferenceBackend(BackendBase):
    """Runs a model with the ONNX reference implementation."""

    name = "onnx_reference"
    """The back end's name in pyproject.toml and its artifact's name in policy.yaml."""
    builds_from = "onnx"
    """Format of the artifact that the back end opens if a bundle has none for this back end."""
    warm_up_runs = 3

    def _open(self, file: Path) -> tuple[list[TensorSpec], list[TensorSpec], dict[str, str]]:
        try:  # imported here, so that other back ends do not need this runtime
            import onnx
            from onnx.reference import ReferenceEvaluator
        except ImportError as error:
            raise BackendError(f"{self.name}: {error}; install the onnx package") from error
        try:
            model = onnx.load(str(file))
            self._evaluator: Any = ReferenceEvaluator(model)
        except Exception as error:
            raise BackendError(
                f"{file}: expected an ONNX model, found: {error}; copy it again"
            ) from error
        inputs, outputs = (
            [_spec(value) for value in side] for side in (model.graph.input, model.graph.output)
        )
        return inputs, outputs, {"runtime": f"onnx {onnx.__version__}", "device": "CPU"}

    def _bind(self) -> None:
        """Do nothing, because this runtime takes its inputs at each run and returns new arrays."""

    def _run(self) -> None:
        try:
            results = self._evaluator.run(None, dict(self.inputs))
        except Exception as error:
            raise BackendError(f"{self.name}: {error}") from error
        for name, result in zip(self._evaluator.output_names, results, strict=True):
            np.copyto(self.outputs[name], result)

    def _close(self) -> None:
        self._evaluator = None


def _spec(value: Any) -> TensorSpec:
    """Describe a tensor; axes without a fixed size are -1."""
    import onnx

    kind = value.type.tensor_type
    shape = tuple(a.dim_value if a.HasField("dim_value") else -1 for a in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return TensorSpec(name=value.name, shape=shape, dtype=dtype)
